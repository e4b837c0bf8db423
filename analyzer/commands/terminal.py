"""How reports look on the terminal at hand."""

from __future__ import annotations

import os
import shutil
import sys

from analyzer.report.layout import Look


def look(*, everything: bool = False) -> Look:
    """As wide as the terminal; colour only for one that has it and a user who wants it (https://no-color.org)."""
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Look(width=shutil.get_terminal_size((80, 24)).columns, colour=colour, everything=everything)
