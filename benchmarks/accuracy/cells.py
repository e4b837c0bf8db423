"""Numbers as cells of a Markdown table, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.accuracy.score import Share, wilson


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; what would end a cell is escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def percent(value: float | None, hits: int, of: int) -> str:
    """A share with three digits and its interval."""
    if value is None:
        return "none found"
    low, high = wilson(hits, of)
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def short(value: float | None) -> str:
    """A share with two digits."""
    return "-" if value is None else f"{value:.2f}"


def share(told: Share, *, interval: bool = True) -> str:
    """So many of so many."""
    hits, of = told
    if not of:
        return "-"
    low, high = wilson(hits, of)
    return f"{hits} of {of}" + (f" ({low:.2f} to {high:.2f})" if interval else "")


def error_of(error: float | None) -> str:
    """A relative error."""
    return "-" if error is None else f"{error:.1%}"


def share_of(told: Share) -> float | None:
    """As a number; None of nothing."""
    return told[0] / told[1] if told[1] else None


def rounded(value: float | None) -> float | None:
    """To four digits."""
    return None if value is None else round(value, 4)


def interval(hits: int, of: int) -> list[float]:
    """Wilson's, to four digits."""
    return [round(edge, 4) for edge in wilson(hits, of)]
