"""`flyball export`: spans of a database into a file that other tools read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzer.commands import exits
from analyzer.commands.progress import counting_progress
from analyzer.report.amounts import counted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def register(commands: Any) -> None:
    """Adds the command to argparse's sub-commands."""
    parser = commands.add_parser(
        "export",
        help="write the spans of a database to a file",
        description="Writes the spans of a database as OTLP JSON Lines in current GenAI conventions, or as Parquet with one row per span. "
        "Reading the file gives the same rows.",
    )
    add = parser.add_argument
    add("--db", metavar="FILE", type=Path, required=True, help="the database")
    add(
        "--run",
        dest="runs",
        metavar="ID",
        action="append",
        default=[],
        help="only this run; may be given several times",
    )
    output_arguments(parser)
    parser.set_defaults(run=run, fail=parser.error)


def output_arguments(parser: argparse.ArgumentParser) -> None:
    """`--out` and `--format`."""
    parser.add_argument("--out", metavar="FILE", required=True, help="file to write, or - for standard output")
    parser.add_argument(
        "--format",
        choices=("jsonl", "parquet"),
        help="form of the file; without it Parquet for names that end so, else JSON Lines",
    )


def run(args: argparse.Namespace) -> int:
    """Writes, and says how much. Raises `FlyballError`."""
    from analyzer.commands.store import opened
    from instrument.prices import Prices

    refuse_to_overwrite(args, [str(args.db)])
    with opened([], args.db, Prices()) as store:
        for issue in store.issues:
            print(f"flyball: {issue.message}; {issue.remedy}", file=sys.stderr)
        spans = written(store.con, args.out, args.format, args.runs)
    if args.runs and not spans:
        print(f"flyball: {args.db}: holds no run {', '.join(args.runs)}", file=sys.stderr)
        return exits.UNUSABLE
    return exits.UNUSABLE if store.issues else exits.FINE


def refuse_to_overwrite(args: argparse.Namespace, paths: Sequence[str]) -> None:
    """Fails where `--out` is a database that is to be read."""
    from analyzer.readers import is_database

    out = Path(args.out)
    if any(is_database(Path(path)) and out.resolve() == Path(path).resolve() for path in paths):
        args.fail("--out is the database itself; give another name")


def written(con: DuckDBPyConnection, out: str, form: str | None, run_ids: Sequence[str] = ()) -> int:
    """Writes the spans of a store, or of some of its runs, to `out`. Returns how many. Raises `CannotWrite`."""
    from analyzer.export.stored import count_spans, stored_spans
    from analyzer.export.writing import STANDARD_OUTPUT, form_of, write

    total = count_spans(con, run_ids)
    if run_ids and not total:
        return 0
    with counting_progress("writing", total) as advance:
        write(_told(stored_spans(con, run_ids), advance), out, form or form_of(out))
    if out != STANDARD_OUTPUT:
        print(f"{out}: wrote {counted(total, 'span')}")
    return total


def _told(batches: Any, advance: Callable[[int], object]) -> Any:
    for batch in batches:
        yield batch
        advance(len(batch))
