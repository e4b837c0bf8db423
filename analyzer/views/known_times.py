"""Which times were recorded. Files without times are read with times that only keep the order of their spans, just after 1970 began."""

from __future__ import annotations

from typing import Final

import polars as pl

KNOWN_FROM_NS: Final = 31_536_000_000_000_000
"""1971 in UTC, nanoseconds: no agent ran earlier. What seems to is on no axis of time, and has no known duration."""
KNOWN: Final = f"start_ns >= {KNOWN_FROM_NS}"
"""The same as a condition in SQL on a span."""
START_NS: Final = f"CASE WHEN {KNOWN} THEN start_ns END"
"""When a span began, in SQL; null: not known."""
END_NS: Final = f"CASE WHEN {KNOWN} THEN end_ns END"
"""When it ended; null: not known, or not yet."""


def known(column: str = "start_ns") -> pl.Expr:
    """A column of such times, null where they are not known."""
    return pl.when(pl.col(column) >= KNOWN_FROM_NS).then(pl.col(column)).alias(column)
