"""`flyball load`: trace files into a database that stays."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from analyzer.commands import exits
from analyzer.commands.progress import reading_progress
from analyzer.readers import load, resolve
from analyzer.report.amounts import counted
from instrument.policy import policy_tables


def register(commands: Any) -> None:
    """Adds the command to argparse's sub-commands."""
    parser = commands.add_parser(
        "load",
        help="read traces into a database",
        description="Reads traces into a flyball database, which is made if it does not exist. "
        "Spans it has already are left as they are.",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="file, folder, glob, or - for standard input")
    parser.add_argument("--db", metavar="FILE", type=Path, required=True, help="the database")
    parser.add_argument("--policy", metavar="FILE", type=Path, help="policy file, for the prices in it")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Loads, and says what came of it. Raises `FlyballError`."""
    from instrument.prices import parse_prices

    prices = parse_prices(policy_tables(args.policy)[0])
    inputs = resolve(args.paths)
    with reading_progress(inputs.sources) as advance:
        loaded, refusals = load(inputs, args.db, prices=prices, advance=advance)
    for refusal in refusals:
        print(f"flyball: {refusal}", file=sys.stderr)
    known = loaded.seen - loaded.spans
    already = f", {known:,} of them known already or further reports of one span" if known > 0 else ""
    print(f"{args.db}: read {counted(loaded.seen, 'span')}{already}; {counted(loaded.issues, 'issue')}")
    return exits.UNUSABLE if refusals or (loaded.issues and not loaded.seen) else exits.FINE
