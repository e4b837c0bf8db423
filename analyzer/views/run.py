"""One run: its turns, a page of its spans, and where its time went, each as a frame small enough to send to a browser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import duckdb
import polars as pl

from analyzer.findings import Finding, Severity

TURNS_SHOWN: Final = 400
"""Points of a chart over turns; a longer run is cut into so many groups of turns, each shown by its largest value."""
DENSITY_BUCKETS: Final = 160

_MODEL: Final = "kind = 'model' AND duplicate_of IS NULL"

# As detectors number them: where no model call was recorded, each tool call is a turn of its own.
TURN: Final = "CASE WHEN $lonely THEN step ELSE turn END"

_TURNS: Final = f"""
SELECT {TURN} AS turn, min(step) AS first_step, min(start_ns) AS start_ns, max(end_ns) AS end_ns,
       any_value(coalesce(response_model, request_model)) FILTER ({_MODEL}) AS model,
       max(input_tokens) FILTER ({_MODEL}) AS input_tokens,
       max(uncached_input_tokens) FILTER ({_MODEL}) AS uncached_input_tokens,
       max(cache_read_tokens) FILTER ({_MODEL}) AS cache_read_tokens,
       max(cache_write_tokens) FILTER ({_MODEL}) AS cache_write_tokens,
       max(output_tokens) FILTER ({_MODEL}) AS output_tokens,
       sum(cost_usd) FILTER ({_MODEL}) AS cost_usd,
       count(*) FILTER ({_MODEL} AND cost_usd IS NULL) AS unpriced_calls,
       count(*) FILTER (kind = 'tool' AND duplicate_of IS NULL) AS tool_calls,
       count(*) FILTER (kind = 'tool' AND duplicate_of IS NULL AND failed AND rejected IS DISTINCT FROM 'blocked') AS failed_tool_calls
FROM spans s WHERE run_key = $run_key AND (NOT $lonely OR kind = 'tool')
GROUP BY 1 HAVING count(*) FILTER (kind IN ('model', 'tool') AND duplicate_of IS NULL) > 0 ORDER BY 1
"""


def turns(con: duckdb.DuckDBPyConnection, run_key: int, *, lonely: bool = False) -> pl.DataFrame:
    """One row per turn of the run, in order; turn 0 holds the tool calls before the first model call, where there are any.

    Counters and cost are those of the turn's model call; null where not known. `lonely` says that the run has no recorded
    model call: each tool call is then a turn of its own, numbered by its step.
    """
    frame: pl.DataFrame = con.sql(_TURNS, params={"run_key": run_key, "lonely": lonely}).pl()
    return frame


def for_charts(frame: pl.DataFrame, findings: Iterable[Finding], points: int = TURNS_SHOWN) -> pl.DataFrame:
    """At most `points` rows of `turns()` for charts, with `severity` of the worst finding that names the turn (null: none).

    Where several turns share a row, `turn` is the first of them, `last_turn` the last, tokens the largest and cost the sum.
    """
    called = _marked(frame.filter(pl.col("turn") > 0), findings)
    group = max(1, -(-called.height // points))
    largest = ("input_tokens", "uncached_input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
    merged = (
        called.with_row_index("at")
        .group_by(pl.col("at") // group)
        .agg(
            pl.col("turn").min(),
            pl.col("turn").max().alias("last_turn"),
            pl.col(largest).max(),
            # A sum of nothing known is not known, never zero.
            pl.when(pl.col("cost_usd").count() > 0).then(pl.col("cost_usd").sum()).alias("cost_usd"),
            pl.col("rank").max(),
        )
    )
    return merged.sort("turn").with_columns(severity=_severity()).drop("at", "rank")


def costs(frame: pl.DataFrame, points: int = TURNS_SHOWN) -> pl.DataFrame:
    """At most `points` rows of `turns()` for the cost chart: `turn`, `last_turn`, `cost_usd` (of these turns; null where no price
    is known), `so_far_usd` (all known costs up to here) and `unpriced_calls`.
    """
    called = frame.filter(pl.col("turn") > 0)
    group = max(1, -(-called.height // points))
    known = pl.when(pl.col("cost_usd").count() > 0).then(pl.col("cost_usd").sum())
    return (
        called.with_row_index("at")
        .group_by(pl.col("at") // group)
        .agg(
            pl.col("turn").min(),
            last_turn=pl.col("turn").max(),
            cost_usd=known,
            unpriced_calls=pl.col("unpriced_calls").sum(),
        )
        .sort("turn")
        .with_columns(so_far_usd=pl.col("cost_usd").fill_null(0).cum_sum())
        .drop("at")
    )


def _marked(frame: pl.DataFrame, findings: Iterable[Finding]) -> pl.DataFrame:
    rank = pl.lit(None, pl.Int8)
    for finding in findings:
        inside = pl.col("turn").is_between(finding.first_turn, finding.last_turn)
        rank = pl.max_horizontal(rank, pl.when(inside).then(pl.lit(finding.severity.rank, pl.Int8)))
    return frame.with_columns(rank=rank)


def within(findings: Iterable[Finding]) -> list[Finding]:
    """Findings about a part of the run: one that begins at its very first span is about the whole and marks nothing."""
    return [finding for finding in findings if finding.first_step > 0]


def edges(page: pl.DataFrame) -> tuple[float, float]:
    """First start and last end, in seconds, on a page of `spans()`; the agent span, which spans all, left out."""
    inside = page.filter(pl.col("kind") != "agent")
    if inside.is_empty():
        return 0.0, 0.0
    return float(inside["start_seconds"].min()), float(inside["end_seconds"].max())  # type: ignore[arg-type]  # not empty


def _severity() -> pl.Expr:
    return pl.col("rank").replace_strict({s.rank: s.value for s in Severity}, default=None, return_dtype=pl.String)


_SPANS: Final = """
SELECT step, turn, kind::VARCHAR AS kind, span_id,
       substr(coalesce(CASE WHEN kind = 'tool' THEN tool_name WHEN kind = 'agent' THEN agent_name
                            WHEN kind = 'model' THEN coalesce(response_model, request_model) END, name, ''), 1, 80) AS label,
       (start_ns - $start_ns) / 1e9 AS start_seconds,
       (coalesce(end_ns, start_ns) - $start_ns) / 1e9 AS end_seconds,
       end_ns IS NULL AND NOT inferred AS pending, coalesce(failed, false) AS failed,
       coalesce(rejected = 'blocked', false) AS blocked, cost_usd
FROM spans WHERE run_key = $run_key AND duplicate_of IS NULL
ORDER BY step LIMIT $limit OFFSET $offset
"""


def spans(
    con: duckdb.DuckDBPyConnection, run_key: int, start_ns: int, findings: Iterable[Finding], *, offset: int, limit: int
) -> pl.DataFrame:
    """One page of the run's spans in order of step, times in seconds since `start_ns`; other reports of a call left out.

    `severity` is that of the worst finding whose steps hold the span's.
    """
    params = {"run_key": run_key, "start_ns": start_ns, "limit": limit, "offset": offset}
    page: pl.DataFrame = con.sql(_SPANS, params=params).pl()
    rank = pl.lit(None, pl.Int8)
    for finding in findings:
        inside = pl.col("step").is_between(finding.first_step, finding.last_step)
        rank = pl.max_horizontal(rank, pl.when(inside).then(pl.lit(finding.severity.rank, pl.Int8)))
    return page.with_columns(rank=rank).with_columns(severity=_severity()).drop("rank")


def span_count(con: duckdb.DuckDBPyConnection, run_key: int, before_step: int | None = None) -> int:
    """How many rows `spans` has in all, or those before a step: the offset at which that step is found."""
    where = "" if before_step is None else f" AND step < {int(before_step)}"
    sql = f"SELECT count(*) FROM spans WHERE run_key = ? AND duplicate_of IS NULL{where}"
    return int(con.sql(sql, params=[run_key]).fetchall()[0][0])


_DENSITY: Final = """
SELECT least(floor((start_ns - $start_ns) * $buckets / greatest($end_ns - $start_ns, 1)), $buckets - 1)::INTEGER AS bucket,
       CASE WHEN rejected = 'blocked' THEN rejected WHEN coalesce(failed, false) THEN 'failed' ELSE kind::VARCHAR END AS kind,
       count(*) AS spans
FROM spans WHERE run_key = $run_key AND duplicate_of IS NULL AND kind <> 'agent'
GROUP BY ALL ORDER BY ALL
"""


def density(
    con: duckdb.DuckDBPyConnection, run_key: int, start_ns: int, end_ns: int, buckets: int = DENSITY_BUCKETS
) -> pl.DataFrame:
    """How many spans of each kind began in each of `buckets` equal parts of the run.

    A span that failed is of kind `failed`, a call that a guard kept from running `blocked`.
    Columns `start_seconds`, `end_seconds` of the part since the run began, `kind`, `spans`.
    """
    params = {"run_key": run_key, "start_ns": start_ns, "end_ns": end_ns, "buckets": buckets}
    part_seconds = (end_ns - start_ns) / 1e9 / buckets
    parts: pl.DataFrame = con.sql(_DENSITY, params=params).pl()
    return parts.with_columns(
        start_seconds=pl.col("bucket") * part_seconds, end_seconds=(pl.col("bucket") + 1) * part_seconds
    ).drop("bucket")


def bands(findings: Iterable[Finding]) -> pl.DataFrame:
    """One row per finding for marking charts: `detector`, `severity`, `first_turn`, `last_turn`."""
    rows = [(f.detector, f.severity.value, f.first_turn, f.last_turn) for f in findings]
    schema = {"detector": pl.String, "severity": pl.String, "first_turn": pl.Int64, "last_turn": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")
