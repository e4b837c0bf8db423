"""`flyball demo`: a small agent, recorded and judged before your eyes."""

from __future__ import annotations

import argparse
from typing import Any


def register(commands: Any) -> None:
    """Adds the command to argparse's sub-commands."""
    parser = commands.add_parser(
        "demo",
        help="record a small agent, judge it and show the report",
        description="Records a small agent against a model server on this machine, judges it together with the "
        "bundled samples and shows the report. Needs no key and no network.",
    )
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Runs the demonstration."""
    from analyzer.demo import main

    return main([])
