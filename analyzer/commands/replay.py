"""`flyball replay`: what a policy would have done to recorded runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from analyzer.commands import exits
from analyzer.commands.store import opened
from instrument.policy import parse_policy, policy_tables

DEFAULT = "the policy in force"


def register(commands: Any) -> None:
    """Adds the command to argparse's sub-commands."""
    parser = commands.add_parser(
        "replay",
        help="what a policy would have done to recorded runs",
        description="Tells the guards of a policy the steps of recorded runs: which they would have stopped, where, what that had saved, "
        "and which of those runs had gone on to succeed.",
        epilog="Exit status: 0 done, 2 unreadable input or bad usage.",
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="database, trace file, folder or glob")
    add(
        "--policy",
        metavar="FILE",
        type=Path,
        action="append",
        help="policy file; several are shown side by side; without it the nearest flyball.toml or pyproject.toml",
    )
    add(
        "--outcomes",
        metavar="FILE",
        type=Path,
        help="CSV with a run id (or trace id) and success, failure, 1 or 0 per line: which runs did their task",
    )
    add("--format", choices=("text", "json"), default="text", help="how the result is written")
    add("--all", action="store_true", help="every run that is stopped, not only the first")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints what each policy would have done. Raises `FlyballError`."""
    from analyzer.outcomes import read_outcomes
    from analyzer.replay import replay
    from analyzer.report import replay_text
    from instrument.prices import parse_prices

    tables = [policy_tables(path) for path in args.policy or [None]]
    policies = {_name(path): parse_policy(table, path) for table, path in tables}
    outcomes = read_outcomes(args.outcomes) if args.outcomes else {}
    with opened(args.paths, None, parse_prices(tables[0][0])) as store:
        replays = {name: replay(store.con, policy, outcomes) for name, policy in policies.items()}
        refusals = store.refusals
    for refusal in refusals:
        print(f"flyball: {refusal}", file=sys.stderr)
    if args.format == "json":
        sys.stdout.write(replay_text.as_json(replays))
    else:
        from analyzer.commands.terminal import look

        sys.stdout.write(replay_text.as_text(replays, look(everything=args.all)))
    return exits.UNUSABLE if refusals else exits.FINE


def _name(path: Path | None) -> str:
    return str(path) if path is not None else DEFAULT
