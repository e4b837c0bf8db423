"""Whether a question in several wordings is in truth a list of questions: one id after another."""

from __future__ import annotations

from typing import Final

import polars as pl

_PASSING: Final = (
    r"(?:[\w-]*(?:nonce|time|stamp|random|seed|salt|attempt|retry|request|trace|span|correlation|session|idempoten)[\w-]*"
    r"|ts|t|_|now|at|date|since|until|rev|cb)"
)
"""Names whose values are new each time and ask for nothing."""
_ID: Final = r'(?:"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"|"[0-9a-f]{8,64}"|"?\d{10,}"?)'
"""A value that is nothing but a UUID, a hash or a long number; other ids are kept apart by `loose_call_key` itself."""
_NAMED_ID: Final = rf'(?i)"[\w-]+"\s*:\s*{_ID}'
_NAMED_PASSING: Final = rf'(?i)^"{_PASSING}"'
_DATE: Final = r"\d{4}[-/]\d\d?[-/]\d\d?"


def batches(calls: pl.DataFrame) -> pl.DataFrame:
    """One row is one `number` of `calls` (`number`, `arguments`): `batch`, whether named ids differ among its calls, and `dated`, whether
    dates do. Null where arguments were not recorded.
    """
    ids = pl.col("arguments").str.extract_all(_NAMED_ID)
    asked_for = ids.list.filter(~pl.element().str.contains(_NAMED_PASSING)).list.sort().list.join(",")
    dates = pl.col("arguments").str.extract_all(_DATE).list.join(",")
    known = pl.col("arguments").is_not_null().all()
    return (
        calls.with_columns(ids=asked_for, dates=dates)
        .group_by("number", maintain_order=True)
        .agg(
            batch=pl.when(known).then(pl.col("ids").n_unique() > 1),
            dated=pl.when(known).then(pl.col("dates").n_unique() > 1),
        )
    )
