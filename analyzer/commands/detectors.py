"""`flyball detectors` and `flyball explain`: what there is, and what it means."""

from __future__ import annotations

import argparse
import shutil
import sys
from typing import Any

from analyzer.commands import exits


def register(commands: Any) -> None:
    """Adds both commands to argparse's sub-commands."""
    listing = commands.add_parser(
        "detectors", help="list the detectors", description="Lists every detector and what it finds."
    )
    listing.set_defaults(run=run_list)
    page = commands.add_parser(
        "explain",
        help="what a detector finds, and when it is wrong",
        description="Prints a detector's page: what it finds, why that matters, when it is wrong, what to do.",
    )
    page.add_argument("slug", metavar="SLUG", help="name of the detector, as findings and `flyball detectors` give it")
    page.set_defaults(run=run_explain)


def run_list(_: argparse.Namespace) -> int:
    """One line per detector."""
    from analyzer.detectors import DETECTORS

    width = max(map(len, DETECTORS))
    for slug, detector in DETECTORS.items():
        print(f"{slug:<{width}}  {detector.title} ({detector.failure_mode})")
    print("\nflyball explain SLUG prints the page of one.")
    return exits.FINE


def run_explain(args: argparse.Namespace) -> int:
    """The page of one detector. Raises `UnknownDetector`."""
    from rich.console import Console
    from rich.markdown import Markdown

    from analyzer.detectors import find
    from analyzer.report.detector_page import detector_page

    width = min(shutil.get_terminal_size((80, 24)).columns, 100)
    Console(file=sys.stdout, width=width).print(Markdown(detector_page(find(args.slug))))
    return exits.FINE
