"""`flyball diff`: what changed from one set of runs to another."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzer.commands import exits
from analyzer.commands.store import opened
from instrument.errors import FlyballError

if TYPE_CHECKING:
    import polars as pl

    from analyzer.findings import Finding
    from instrument.policy import Policy
    from instrument.prices import Prices


def register(commands: Any) -> None:
    """Adds the command to argparse's sub-commands."""
    parser = commands.add_parser(
        "diff",
        help="compare two databases or sets of traces",
        description="Compares two sets of runs: findings that are new or gone, and tokens, cost, turns and time per run, agent by agent.",
        epilog="Exit status: 0 no new finding at warning or above, 1 there is one, 2 unreadable input or bad usage.",
    )
    add = parser.add_argument
    add("before", metavar="BEFORE", help="database, trace file, folder or glob")
    add("after", metavar="AFTER", help="the same, to compare with it")
    add(
        "--policy", metavar="FILE", type=Path, help="policy file; without it the nearest flyball.toml or pyproject.toml"
    )
    add("--format", choices=("text", "json"), default="text", help="how the result is written")
    add("--all", action="store_true", help="every kind of finding, not only the first")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the difference. Raises `FlyballError`."""
    from analyzer.diff import difference
    from analyzer.report import diff_text
    from instrument.policy import parse_policy, policy_tables
    from instrument.prices import parse_prices

    tables, path = policy_tables(args.policy)
    policy, prices = parse_policy(tables, path), parse_prices(tables)
    (runs_before, old), (runs_after, new) = (_judged(place, policy, prices) for place in (args.before, args.after))
    found = difference(runs_before, runs_after, old, new)
    if args.format == "json":
        sys.stdout.write(diff_text.as_json(found))
    else:
        from analyzer.commands.terminal import look

        sys.stdout.write(diff_text.as_text(found, look(everything=args.all)))
    return exits.FINDINGS if any(kind.severity != "info" for kind in found.new) else exits.FINE


def _judged(place: str, policy: Policy, prices: Prices) -> tuple[pl.DataFrame, tuple[Finding, ...]]:
    from analyzer.run import judge
    from analyzer.views.runs import summaries

    with opened([place], None, prices) as store:
        if store.refusals:
            raise _Unreadable(str(store.refusals[0]))
        return summaries(store.con), tuple(judge(store.con, policy).findings)


class _Unreadable(FlyballError):
    """One side of the comparison is missing: there is nothing to compare."""
