"""`flyball app`: the app, on a database, on trace files or on the samples."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from analyzer.commands import exits
from analyzer.readers import resolve


def register(commands: Any) -> None:
    """Adds the command to argparse's sub-commands."""
    parser = commands.add_parser(
        "app",
        help="look at runs in the browser",
        description="Serves the app on this machine until it is stopped with Ctrl-C. "
        "Without FILE and PATH it opens on the bundled samples.",
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="trace file, folder or database to look at")
    parser.add_argument("--db", metavar="FILE", type=Path, help="database to look at")
    parser.add_argument(
        "--port", metavar="N", type=int, help="port to serve on; without it 8501, or the next one that is free"
    )
    parser.set_defaults(run=run, fail=parser.error)


def run(args: argparse.Namespace, serve: Callable[[Sequence[str]], int] = subprocess.call) -> int:
    """Serves until stopped. `serve` runs a command line and returns its exit status."""
    from analyzer.pages.serve import command

    if args.db and args.paths:
        args.fail("give either --db or PATH, or add the files first: flyball load PATH... --db FILE")
    refusals = resolve([*args.paths, *([str(args.db)] if args.db else [])]).refusals
    for refusal in refusals:
        print(f"flyball: {refusal}", file=sys.stderr)
    return exits.UNUSABLE if refusals else serve(command(args.db, args.paths, port=args.port))
