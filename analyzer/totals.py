"""Sums over everything that was judged, and what could not be read, counted or priced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import polars as pl

from analyzer.accounting import in_several_traces, not_whole, unpriced
from analyzer.findings import Totals
from instrument.otlp import Issue
from instrument.store.schema import ISSUES

# A count of its own for each: DuckDB sieves rows within its scan for WHERE, and after it for FILTER.
_TOTALS = """
SELECT
    (SELECT count(*) FROM spans WHERE step = 0) AS runs,
    (SELECT count(*) FROM spans WHERE step = 0 AND end_ns IS NULL) AS unfinished_runs,
    (SELECT count(*) FROM spans WHERE inferred IS DISTINCT FROM true) AS spans,
    (SELECT {
        'duplicate_model_calls': count(*) FILTER (kind = 'model'),
        'duplicate_calls': count(*),
        'duplicate_tokens': coalesce(sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)), 0)::BIGINT,
        'duplicate_cost_usd': sum(cost_usd)
    } FROM spans WHERE duplicate_of IS NOT NULL) AS duplicates,
    (SELECT count(*) FROM spans WHERE kind = 'tool' AND duplicate_of IS NULL) AS tool_calls,
    count(*) AS model_calls,
    (coalesce(sum(input_tokens), 0) + coalesce(sum(compaction_input_tokens), 0))::BIGINT AS input_tokens,
    (coalesce(sum(output_tokens), 0) + coalesce(sum(compaction_output_tokens), 0))::BIGINT AS output_tokens,
    sum(cost_usd) AS cost_usd,
    count(*) - count(cost_usd) AS unpriced_calls,
    count(*) - count(coalesce(input_tokens, output_tokens)) AS unmeasured_calls
FROM spans WHERE kind = 'model' AND duplicate_of IS NULL
"""


def totals_of(con: duckdb.DuckDBPyConnection, useless: Sequence[pl.DataFrame]) -> Totals:
    """Totals of the store; `useless` holds the useless turns (each once) with what they cost."""
    (sums,) = con.sql(_TOTALS).pl().iter_rows(named=True)
    turns = [u for u in useless if len(u)]
    wasted: dict[str, Any] = {"tokens": 0, "cost_usd": 0.0, "seconds": 0.0}
    if turns:
        every = pl.concat(turns)
        wasted = {c: every[c].sum() if every[c].count() else None for c in wasted}
    return Totals(**sums.pop("duplicates"), **sums, **{f"wasted_{name}": value for name, value in wasted.items()})


def issues_of(con: duckdb.DuckDBPyConnection) -> tuple[Issue, ...]:
    """What could not be read, was lost, or had to be inferred; what has no price, and what was counted wrong when it was recorded."""
    columns = ", ".join(f"{c.name}" for c in ISSUES.columns)
    rows = con.sql(f"SELECT {columns} FROM issues ORDER BY error DESC, source, line NULLS FIRST, kind").pl()
    told = (Issue(**row) for row in rows.iter_rows(named=True))
    return (*told, *unpriced(con), *not_whole(con), *in_several_traces(con))


def lost_share(con: duckdb.DuckDBPyConnection) -> float:
    """Share (0..1) of what was recorded that never arrived: lost spans and broken lines against spans."""
    ((lost, spans),) = con.execute(
        "SELECT (SELECT coalesce(sum(count), 0) FROM issues WHERE error)::BIGINT, (SELECT count(*) FROM spans)"
    ).fetchall()
    return lost / (lost + spans) if lost else 0.0
