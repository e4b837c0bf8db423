"""Sums over everything that was judged, and what could not be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import polars as pl

from analyzer.findings import Totals
from instrument.otlp import Issue
from instrument.store.schema import ISSUES

_COUNTS = """
SELECT count(DISTINCT run_key) AS runs,
    count(DISTINCT run_key) FILTER (step = 0 AND end_ns IS NULL) AS unfinished_runs,
    count(*) FILTER (NOT coalesce(inferred, false)) AS spans,
    count(*) FILTER (kind = 'model' AND duplicate_of IS NULL) AS model_calls,
    count(*) FILTER (kind = 'model' AND duplicate_of IS NOT NULL) AS duplicate_model_calls,
    count(*) FILTER (kind = 'tool' AND duplicate_of IS NULL) AS tool_calls,
    coalesce(sum(input_tokens) FILTER (kind = 'model' AND duplicate_of IS NULL), 0)::BIGINT AS input_tokens,
    coalesce(sum(output_tokens) FILTER (kind = 'model' AND duplicate_of IS NULL), 0)::BIGINT AS output_tokens,
    sum(cost_usd) FILTER (kind = 'model' AND duplicate_of IS NULL) AS cost_usd,
    count(*) FILTER (kind = 'model' AND duplicate_of IS NULL AND cost_usd IS NULL) AS unpriced_calls,
    count(*) FILTER (kind = 'model' AND duplicate_of IS NULL AND input_tokens IS NULL AND output_tokens IS NULL) AS unmeasured_calls
FROM spans
"""


def totals_of(con: duckdb.DuckDBPyConnection, useless: Sequence[pl.DataFrame]) -> Totals:
    """Totals of the store; `useless` holds the useless turns (each once) with what they cost."""
    (counts,) = con.sql(_COUNTS).pl().iter_rows(named=True)
    turns = [u for u in useless if len(u)]
    wasted: dict[str, Any] = {"tokens": 0, "cost_usd": 0.0, "seconds": 0.0}
    if turns:
        every = pl.concat(turns)
        wasted = {c: every[c].sum() if every[c].count() else None for c in wasted}
    return Totals(**counts, **{f"wasted_{name}": value for name, value in wasted.items()})


def issues_of(con: duckdb.DuckDBPyConnection) -> tuple[Issue, ...]:
    """What could not be read, was lost, or had to be inferred."""
    columns = ", ".join(f"{c.name}" for c in ISSUES.columns)
    rows = con.sql(f"SELECT {columns} FROM issues ORDER BY error DESC, source, line NULLS FIRST, kind").pl()
    return tuple(Issue(**row) for row in rows.iter_rows(named=True))


def lost_share(con: duckdb.DuckDBPyConnection) -> float:
    """Share (0..1) of what was recorded that never arrived: lost spans and broken lines against spans."""
    ((lost, spans),) = con.execute(
        "SELECT (SELECT coalesce(sum(count), 0) FROM issues WHERE error)::BIGINT, (SELECT count(*) FROM spans)"
    ).fetchall()
    return lost / (lost + spans) if lost else 0.0
