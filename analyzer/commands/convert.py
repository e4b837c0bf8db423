"""`flyball convert`: traces of any format into one that other tools read."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from analyzer.commands import exits
from analyzer.commands.export import output_arguments, refuse_to_overwrite, written
from analyzer.report.amounts import counted
from instrument.policy import policy_tables

_ISSUES_SHOWN = 10


def register(commands: Any) -> None:
    """Adds the command to argparse's sub-commands."""
    parser = commands.add_parser(
        "convert",
        help="write traces of any format as OTLP",
        description="Reads traces of any format flyball knows and writes them as OTLP JSON Lines in current GenAI conventions, or as "
        "Parquet with one row per span. Reading the file gives the same rows.",
        epilog="Exit status: 0 all was read, 2 something could not be read (the rest is written) or bad usage.",
    )
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="file, folder, glob, .duckdb database, or - for standard input"
    )
    output_arguments(parser)
    parser.add_argument("--policy", metavar="FILE", type=Path, help="policy file, for the prices in it")
    parser.set_defaults(run=run, fail=parser.error)


def run(args: argparse.Namespace) -> int:
    """Writes, and says on standard error what could not be read. Raises `FlyballError`."""
    from analyzer.commands.store import opened
    from instrument.prices import parse_prices

    refuse_to_overwrite(args, args.paths)
    prices = parse_prices(policy_tables(args.policy)[0])
    with opened(args.paths, None, prices) as store:
        for refusal in store.refusals:
            print(f"flyball: {refusal}", file=sys.stderr)
        query = "SELECT source, line, message, error FROM issues ORDER BY error DESC, source, line NULLS FIRST"
        issues = [*((i.source, i.line, i.message, i.error) for i in store.issues), *store.con.execute(query).fetchall()]
        for source, line, message, _ in issues[:_ISSUES_SHOWN]:
            print(f"flyball: {source}{f', line {line}' if line else ''}: {message}", file=sys.stderr)
        if len(issues) > _ISSUES_SHOWN:
            print(f"flyball: and {counted(len(issues) - _ISSUES_SHOWN, 'further issue')}", file=sys.stderr)
        spans = written(store.con, args.out, args.format)
    unread = bool(store.refusals) or any(error for *_, error in issues)
    return exits.UNUSABLE if unread or not spans else exits.FINE
