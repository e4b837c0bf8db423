"""Frames made safe to show."""

from __future__ import annotations

import polars as pl

from analyzer.pages import words

_TEXT_CHARS = 80


def safe(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """`frame` with the recorded text of `columns` cut and made visible; null stays null."""
    shown = (pl.col(c).str.slice(0, _TEXT_CHARS).map_elements(words.visible, return_dtype=pl.String) for c in columns)
    return frame.with_columns(shown)
