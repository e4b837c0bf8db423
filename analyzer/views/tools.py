"""Tools: how often each was called, how it failed, how long it took, and whether it was called rightly."""

from __future__ import annotations

from typing import Final

import duckdb
import polars as pl

from analyzer.detectors.tool_timeout import TIMED_OUT

SPARK_COLUMNS: Final = 30
"""Stretches of time that a sparkline shows at most."""
FAILURES_SHOWN: Final = 100
CALLS_SHOWN: Final = 200

_CALLS: Final = "kind = 'tool' AND duplicate_of IS NULL"
# A call that a guard blocked never ran, so it neither failed nor took time.
_RAN: Final = "rejected IS DISTINCT FROM 'blocked'"
_TIMED: Final = f"inferred IS DISTINCT FROM true AND inferred_times IS NULL AND rejected IS NULL AND end_ns >= start_ns AND {_CALLS}"

_SUMMARIES: Final = f"""
WITH counts AS MATERIALIZED (
    SELECT tool_name, count(*) AS calls, count(DISTINCT run_key) AS runs,
        count(*) FILTER ({_RAN} AND failed IS NOT NULL) AS judged_calls,
        count(*) FILTER ({_RAN} AND failed) AS failed_calls,
        count(*) FILTER ({TIMED_OUT}) AS timed_out_calls,
        count(*) FILTER (end_ns IS NULL AND inferred IS DISTINCT FROM true) AS pending_calls,
        count(*) FILTER (rejected = 'invalid_arguments') AS invalid_calls,
        count(*) FILTER (declared IS FALSE OR rejected = 'unknown_tool') AS unknown_calls,
        count(*) FILTER (rejected = 'blocked') AS blocked_calls
    FROM spans WHERE {_CALLS} GROUP BY tool_name
), times AS MATERIALIZED (
    SELECT tool_name, count(*) AS timed_calls, quantile_cont((end_ns - start_ns) / 1e9, [0.5, 0.95]) AS seconds
    FROM spans WHERE {_TIMED} GROUP BY tool_name
)
SELECT counts.*, failed_calls / nullif(judged_calls, 0) AS error_share, coalesce(timed_calls, 0) AS timed_calls,
    seconds[1] AS median_seconds, seconds[2] AS p95_seconds
FROM counts LEFT JOIN times ON counts.tool_name IS NOT DISTINCT FROM times.tool_name
ORDER BY calls DESC, counts.tool_name
"""

_TREND: Final = f"""
SELECT tool_name, (start_ns - $first) // $size AS place, count(*) FILTER (failed) AS failed_calls, count(*) AS calls
FROM spans WHERE {_CALLS} AND {_RAN} AND failed IS NOT NULL AND start_ns IS NOT NULL GROUP BY ALL ORDER BY ALL
"""

_FAILURES: Final = f"""
SELECT coalesce(failure_kind, error_type) AS failure, count(*) AS calls, count(DISTINCT run_key) AS runs,
    count(*) FILTER (failure_inferred) AS inferred_calls, bool_or({TIMED_OUT}) AS timed_out,
    max(start_ns) AS last_ns, arg_max(error_message, start_ns) AS said,
    arg_max(run_id, coalesce(start_ns, 0)) AS run_id, arg_max(span_id, coalesce(start_ns, 0)) AS span_id
FROM spans WHERE {_CALLS} AND {_RAN} AND failed AND tool_name IS NOT DISTINCT FROM $tool
GROUP BY failure ORDER BY calls DESC, failure LIMIT {FAILURES_SHOWN}
"""

_FAILED_CALLS: Final = f"""
SELECT start_ns, run_id, span_id, agent_name, coalesce(failure_kind, error_type) AS failure, error_message AS said,
    (end_ns - start_ns) / 1e9 AS seconds, rejected
FROM spans WHERE {_CALLS} AND {_RAN} AND failed AND tool_name IS NOT DISTINCT FROM $tool
ORDER BY start_ns DESC NULLS LAST, run_key, step LIMIT {CALLS_SHOWN}
"""


def summaries(con: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """One row is one tool (null: no name was recorded), the most called first.

    `calls`, `runs`; `failed_calls` of the `judged_calls` whose outcome is known, and their `error_share` (null: none is known);
    `timed_out_calls` (they say so), `pending_calls` (without an end), `invalid_calls` (arguments that were refused), `unknown_calls` (of a
    tool that was not declared), `blocked_calls` (by a guard: never run, so none that failed); `median_seconds` and `p95_seconds` of the
    `timed_calls` whose times were measured. Calls reported twice count once.
    """
    frame: pl.DataFrame = con.sql(_SUMMARIES).pl()
    return frame


def trends(con: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """One row is one tool: `tool_name` and `error_trend`, its error share (0..1) in each of at most `SPARK_COLUMNS` equal stretches of time
    from the first to the last tool call of the store; null where it was not called.
    """
    ((first, last),) = con.execute(f"SELECT min(start_ns), max(start_ns) FROM spans WHERE {_CALLS}").fetchall()
    if first is None:
        return pl.DataFrame(schema={"tool_name": pl.String, "error_trend": pl.List(pl.Float64)})
    size = max(1, -(-(last - first + 1) // SPARK_COLUMNS))
    places = (last - first) // size + 1
    counts = con.sql(_TREND, params={"first": first, "size": size}).pl()
    every = counts.select(pl.col("tool_name").unique()).join(
        pl.DataFrame({"place": range(places)}, schema={"place": pl.Int64}), how="cross"
    )
    return (
        every.join(
            counts.with_columns(pl.col("place").cast(pl.Int64)), on=["tool_name", "place"], how="left", nulls_equal=True
        )
        .sort("tool_name", "place")
        .group_by("tool_name", maintain_order=True)
        .agg(error_trend=pl.col("failed_calls") / pl.col("calls"))
    )


def failures(con: duckdb.DuckDBPyConnection, tool: str | None) -> pl.DataFrame:
    """One row is one kind of failure of `tool`, the most frequent first: `failure`, `calls`, `runs`, `inferred_calls` (nobody flagged them:
    only the text says so), `timed_out`, and of its last call `last_ns`, `said`, `run_id`, `span_id`.
    """
    frame: pl.DataFrame = con.sql(_FAILURES, params={"tool": tool}).pl()
    return frame


def failed_calls(con: duckdb.DuckDBPyConnection, tool: str | None) -> pl.DataFrame:
    """One row is one failed call of `tool`, the newest first, at most `CALLS_SHOWN`: `start_ns`, `run_id`, `span_id`, `agent_name`,
    `failure`, `said`, `seconds`, `rejected`.
    """
    frame: pl.DataFrame = con.sql(_FAILED_CALLS, params={"tool": tool}).pl()
    return frame
