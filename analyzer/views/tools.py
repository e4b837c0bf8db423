"""Tools: how often each was called, how it failed, how long it took, and whether it was called rightly."""

from __future__ import annotations

from typing import Final

import duckdb
import polars as pl

from analyzer.detectors.tool_timeout import TIMED_OUT
from analyzer.views.known_times import END_NS, KNOWN, START_NS

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
FROM spans WHERE {_CALLS} AND {_RAN} AND failed IS NOT NULL AND {KNOWN} GROUP BY ALL ORDER BY ALL
"""

_FAILURES: Final = f"""
SELECT coalesce(failure_kind, error_type) AS failure, count(*) AS calls, count(DISTINCT run_key) AS runs,
    count(*) FILTER (failure_inferred) AS inferred_calls, bool_or({TIMED_OUT}) AS timed_out,
    max({START_NS}) AS last_ns, arg_max(error_message, start_ns) AS said,
    arg_max(run_id, coalesce(start_ns, 0)) AS run_id, arg_max(span_id, coalesce(start_ns, 0)) AS span_id
FROM spans WHERE {_CALLS} AND {_RAN} AND failed AND tool_name IS NOT DISTINCT FROM $tool
GROUP BY failure ORDER BY calls DESC, failure LIMIT {FAILURES_SHOWN}
"""

_FAILED_CALLS: Final = f"""
SELECT {START_NS} AS start_ns, run_id, span_id, agent_name, coalesce(failure_kind, error_type) AS failure, error_message AS said,
    ({END_NS} - start_ns) / 1e9 AS seconds, rejected
FROM spans WHERE {_CALLS} AND {_RAN} AND failed AND tool_name IS NOT DISTINCT FROM $tool
ORDER BY {START_NS} DESC NULLS LAST, run_key, step LIMIT {CALLS_SHOWN}
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
    from the first to the last tool call of the store; stretches in which it was not called are left out.
    """
    ((first, last),) = con.execute(
        f"SELECT min(start_ns), max(start_ns) FROM spans WHERE {_CALLS} AND {KNOWN}"
    ).fetchall()
    if first is None:
        return pl.DataFrame(schema={"tool_name": pl.String, "error_trend": pl.List(pl.Float64)})
    size = max(1, -(-(last - first + 1) // SPARK_COLUMNS))
    counts: pl.DataFrame = con.sql(_TREND, params={"first": first, "size": size}).pl()
    return (
        counts.sort("tool_name", "place")
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


def with_findings(tools: pl.DataFrame, trends: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """`tools` (from `summaries`) with `error_trend` (from `trends`) and `findings`: how many name the tool (`views.failures.found`)."""
    named = found.group_by("tool_name").agg(findings=pl.len())
    return (
        tools.join(trends, on="tool_name", how="left", nulls_equal=True, maintain_order="left")
        .join(named, on="tool_name", how="left", maintain_order="left")
        .with_columns(pl.col("findings").fill_null(0))
    )


def together(tools: pl.DataFrame) -> dict[str, int]:
    """Sums over `tools`, with `unjudged_calls`: those that ran and of which nobody knows how they ended."""
    counts = [c for c in tools.columns if c.endswith("calls")]
    sums = tools.select(pl.col(counts).sum()).row(0, named=True)
    return {**sums, "unjudged_calls": sums["calls"] - sums["judged_calls"] - sums["blocked_calls"]}


def in_ms(tools: pl.DataFrame) -> pl.DataFrame:
    """`tools` with `median_ms` and `p95_ms`, to a hundredth."""
    return tools.with_columns(
        median_ms=(pl.col("median_seconds") * 1_000).round(2), p95_ms=(pl.col("p95_seconds") * 1_000).round(2)
    )


def worst(tools: pl.DataFrame) -> str | None:
    """The named tool with the most failed calls; None where none failed."""
    failing = tools.filter(pl.col("failed_calls") > 0, pl.col("tool_name").is_not_null())
    if failing.is_empty():
        return None
    return str(failing.sort("failed_calls", "tool_name", descending=[True, False])["tool_name"][0])


def newest(calls: pl.DataFrame) -> pl.DataFrame:
    """`calls` (from `failed_calls`) as a table shows them: `start` (UTC), `agent_name`, `failure`, `said`, `seconds`, `rejected`."""
    start = pl.from_epoch("start_ns", time_unit="ns").dt.cast_time_unit("ms").dt.replace_time_zone("UTC")
    return calls.select(start.alias("start"), "agent_name", "failure", "said", "seconds", "rejected")
