"""How the parts of a terminal report are laid out."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from analyzer.findings import Severity

COLOURS: Final = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
WIDEST: Final = 110
"""Lines longer than this are hard to read, however wide the terminal."""


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


def drawn(parts: Iterable[RenderableType], look: Look) -> str:
    """The parts one below the other, as lines of at most `look.width` columns; text in them is never read as markup."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=max(40, min(look.width, WIDEST)),
        force_terminal=look.colour,
        color_system="standard" if look.colour else None,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in out.getvalue().split("\n"))


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
