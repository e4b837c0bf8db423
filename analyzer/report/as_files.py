"""Tables as files that people take away: CSV and Parquet."""

from __future__ import annotations

import io
from typing import Final

import polars as pl

_ACTING: Final = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
"""First characters that make a spreadsheet run a cell as a formula, in either width, or that hide one (OWASP, "CSV Injection")."""


def as_csv(frame: pl.DataFrame) -> bytes:
    """`frame` as CSV in UTF-8 with a heading; unknown is empty, a list is its parts with blanks between.

    What is text and would act as a formula in a spreadsheet is given a leading `'`, headings too. Numbers stay numbers.
    """
    listed = [c for c, kind in frame.schema.items() if isinstance(kind, pl.List)]
    flat = frame.with_columns(pl.col(c).list.eval(pl.element().cast(pl.String)).list.join(" ") for c in listed)
    quiet = flat.with_columns(_harmless(pl.col(c)).alias(c) for c, kind in flat.schema.items() if kind == pl.String)
    named = quiet.rename({c: f"'{c}" for c in quiet.columns if c.startswith(tuple(_ACTING))})
    return named.write_csv().encode()


def _harmless(text: pl.Expr) -> pl.Expr:
    return pl.when(text.str.slice(0, 1).is_in([*_ACTING])).then(pl.concat_str(pl.lit("'"), text)).otherwise(text)


def as_parquet(frame: pl.DataFrame) -> bytes:
    """`frame` as Parquet, every column with its type."""
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()
