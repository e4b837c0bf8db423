"""`flyball demo`: a small agent, recorded and judged before your eyes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from analyzer.commands import check
from instrument.errors import StoreForeign

DATABASE = Path("flyball-demo.duckdb")


def register(commands: Any) -> None:
    """Adds the command to argparse's sub-commands."""
    parser = commands.add_parser(
        "demo",
        help="record a small agent, judge it and show the report",
        description="Records a small agent against a model server on this machine, judges it together with the "
        "bundled samples and shows the report. Needs no key and no network.",
    )
    parser.add_argument(
        "--db", metavar="FILE", type=Path, default=DATABASE, help=f"database to make anew; without it {DATABASE}"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the demonstration. Raises `FlyballError`."""
    from analyzer.demo import prepare

    print(f"Recording an agent into {args.db} and loading the samples beside it …\n", flush=True)
    _make_room(args.db)
    prepare(args.db)
    return check.run(check.arguments([str(args.db), "--fail-on", check.NEVER]))


def _make_room(database: Path) -> None:
    """Removes the last demonstration, and nothing but a database of flyball's."""
    from instrument.store.connect import reading

    if not database.exists():
        return
    try:
        with reading(database):
            pass
    except StoreForeign as e:
        raise StoreForeign(database, "exists and is no demonstration's; name another file with --db") from e
    database.unlink()
