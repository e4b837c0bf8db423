"""`flyball checklist`: the ten points that an agent in production needs, ticked with evidence."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from analyzer.commands import exits
from instrument.policy import parse_policy, policy_tables


def register(commands: Any) -> None:
    """Adds the command to argparse's sub-commands."""
    parser = commands.add_parser(
        "checklist",
        help="tick the ten points that an agent in production needs",
        description="Ticks, with evidence from recorded runs, the ten points that an agent in production needs. "
        "Without PATH it says what the policy would do.",
        epilog="Exit status: 0 all that can be seen is met, 1 something is not, 2 unreadable input or bad usage.",
    )
    add = parser.add_argument
    add("paths", nargs="*", metavar="PATH", help="database, or traces as for `flyball check`")
    add(
        "--policy", metavar="FILE", type=Path, help="policy file; without it the nearest flyball.toml or pyproject.toml"
    )
    add("--tests", metavar="DIR", type=Path, help="folder with the agent's tests")
    add("--alerts", metavar="DIR", type=Path, help="folder that `flyball alerts generate` wrote to")
    add("--format", choices=("text", "json"), default="text", help="how the checklist is written")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the checklist and returns the exit status. Raises `FlyballError`."""
    from analyzer.checklist import checked, seen_in, seen_of_policy, shown
    from analyzer.commands.store import opened
    from analyzer.run import judge
    from instrument.prices import parse_prices

    tables, path = policy_tables(args.policy)
    policy = parse_policy(tables, path)
    told = shown(policy, tests=args.tests, alerts=args.alerts)
    unread = False
    if args.paths:
        with opened(args.paths, None, parse_prices(tables)) as store:
            seen = seen_in(store.con, judge(store.con, policy))
            unread = bool(store.refusals) or not seen.runs
            for refusal in store.refusals:
                print(f"flyball: {refusal}", file=sys.stderr)
        if not seen.runs:
            print(f"flyball: {', '.join(args.paths)}: no run was recorded there", file=sys.stderr)
    else:
        seen = seen_of_policy(policy)
    checklist = checked(seen, told)
    _write(checklist, args.format)
    return exits.UNUSABLE if unread else exits.FINE if checklist.met else exits.FINDINGS


def _write(checklist: Any, form: str) -> None:
    if form == "json":
        from analyzer.report.as_json import as_document

        sys.stdout.write(as_document(checklist))
        return
    from analyzer.commands.terminal import look
    from analyzer.report.checklist_text import checklist_as_text

    sys.stdout.write(checklist_as_text(checklist, look()))
