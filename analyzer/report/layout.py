"""How the parts of a terminal report are laid out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from analyzer.findings import Severity

COLOURS: Final = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a report is to look."""

    width: int = 80
    """Columns there are."""
    colour: bool = False
    everything: bool = False
    """Every group of findings and every issue, not only the first."""
    groups_shown: int = 10
    runs_shown: int = 3
    """Further runs named under a finding that several have."""


def titled(title: str) -> RenderableType:
    """A heading with a blank line above it."""
    return Text(f"\n{title}", style="bold")


def rows(pairs: Iterable[tuple[str, str]], label: str = "dim") -> RenderableType:
    """Labels in the style `label`, and text beside them that keeps to its column."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=label, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in pairs:
        grid.add_row(Text(name), Text(text))
    return Padding(grid, (0, 0, 0, 2))
