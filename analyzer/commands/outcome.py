"""`flyball outcome`: tells a database which runs did their task."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from analyzer.commands import exits
from analyzer.report.clean import one_line

_SHOWN: Final = 5


def register(commands: Any) -> None:
    """Adds the command to argparse's sub-commands."""
    parser = commands.add_parser(
        "outcome",
        help="say which runs did their task",
        description="Tells a database which of its runs did their task, from a file of yours or from an attribute that was recorded on "
        "their spans. Replay and calibrate take it from there, and it goes before what the runs said of themselves.",
        epilog="Without FILE and --attribute it says of how many runs the outcome is known. "
        "Exit status: 0 done, 2 unreadable input or bad usage.",
    )
    add = parser.add_argument
    add("db", metavar="DB", type=Path, help="database that `flyball load` or `record()` wrote")
    add(
        "file",
        metavar="FILE",
        type=Path,
        nargs="?",
        help="CSV or JSON Lines: a run, trace or conversation id, and how it ended",
    )
    add("--id", metavar="NAME", help="column of the id (default: the first of a CSV file, `run_id` of JSON Lines)")
    add("--column", metavar="NAME", help="column of the outcome (default: the second, `outcome`)")
    add("--attribute", metavar="NAME", help="take the outcome from this attribute of the spans, such as `eval.passed`")
    add("--at-least", metavar="NUMBER", type=float, help="the outcome is a score, and this or more is a success")
    parser.set_defaults(run=run, fail=parser.error)


def run(args: argparse.Namespace) -> int:
    """Writes outcomes, and says how many and what they name. Raises `FlyballError`."""
    from analyzer.commands.store import opened
    from analyzer.outcomes import Told, keep, outcomes_of_attribute, read_outcomes, unknown_ids
    from analyzer.replay import outcomes_of_runs
    from instrument.prices import parse_prices
    from instrument.store.connect import writing

    if args.file is not None and args.attribute is not None:
        args.fail("give FILE or --attribute, not both")
    found: Mapping[str, bool] = {}
    if args.file is not None:
        found = read_outcomes(args.file, Told(args.id, args.column, args.at_least))
    # Brings in what was recorded since the last checkpoint, and refuses what is no database of ours.
    with opened([str(args.db)], None, parse_prices({})) as store:
        if args.attribute is not None:
            found = outcomes_of_attribute(store.con, args.attribute, args.at_least)
        strangers = unknown_ids(store.con, found)
    if found:
        with writing(args.db) as con:
            keep(con, found, str(args.file or args.attribute))
    if args.file is not None or args.attribute is not None:
        print(f"{len(found)} outcomes: {sum(found.values())} of success, {len(found) - sum(found.values())} of failure")
    if strangers:
        shown = ", ".join(one_line(one, 40) for one in strangers[:_SHOWN])
        more = f" and {len(strangers) - _SHOWN} more" if len(strangers) > _SHOWN else ""
        print(
            f"flyball: {len(strangers)} of them name no run, trace or conversation here: {shown}{more}", file=sys.stderr
        )
    with opened([str(args.db)], None, parse_prices({})) as store:
        known = list(outcomes_of_runs(store.con).values())
    print(
        f"of {len(known)} runs {known.count(True)} succeeded, {known.count(False)} failed, and of {known.count(None)} nobody says"
    )
    return exits.FINE
