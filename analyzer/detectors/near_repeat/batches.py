"""Whether a question in several wordings is in truth a list of questions: one id, or one day, after another."""

from __future__ import annotations

from typing import Final

import polars as pl

_PASSING: Final = (
    r"[\w-]*(?:nonce|time|stamp|random|seed|salt|attempt|retry|request|trace|span|correlation|session)[\w-]*"
)
_PASSING_NAMES: Final = rf'(?i)^"(?:{_PASSING}|ts|t|_|now|at|date|since|until|rev)"'
"""Names whose values are new each time and ask for nothing."""
_ID: Final = r'(?:"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"|"[0-9a-f]{8,64}"|"?\d{10,}"?)'
"""A value that is nothing but a UUID, a hash or a long number; other ids are kept apart by `loose_call_key` itself."""
_DATE: Final = r"\d{4}[-/]\d\d?[-/]\d\d?"
_NAMED_ID: Final = rf'(?i)"[\w-]+"\s*:\s*{_ID}'
_NAMED_DAY: Final = rf'"[\w-]+"\s*:\s*"{_DATE}"'
_PASSING_DAY: Final = rf'(?i)^"{_PASSING}"'


def batches(calls: pl.DataFrame) -> pl.DataFrame:
    """One row is one `number` of `calls` (`number`, `arguments`): `batch`, whether named ids or days differ among its
    calls, and `dated`, whether dates within words do. Null where arguments were not recorded.
    """
    arguments = pl.col("arguments")
    ids = arguments.str.extract_all(_NAMED_ID).list.filter(~pl.element().str.contains(_PASSING_NAMES))
    days = arguments.str.extract_all(_NAMED_DAY).list.filter(~pl.element().str.contains(_PASSING_DAY))
    known = arguments.is_not_null().all()
    return (
        calls.with_columns(
            asked_for=pl.concat_list(ids, days).list.sort().list.join(","),
            dates=arguments.str.extract_all(_DATE).list.join(","),
        )
        .group_by("number", maintain_order=True)
        .agg(
            batch=pl.when(known).then(pl.col("asked_for").n_unique() > 1),
            dated=pl.when(known).then(pl.col("dates").n_unique() > 1),
        )
    )
