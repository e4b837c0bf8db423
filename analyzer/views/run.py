"""One run: its turns, and where its time went, each as a frame small enough to send to a browser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import duckdb
import polars as pl

from analyzer.findings import Finding
from analyzer.views.known_times import END_NS, KNOWN, START_NS

TURNS_SHOWN: Final = 400
"""Points of a chart over turns; a longer run is cut into so many groups of turns, each shown by its largest value."""
DENSITY_BUCKETS: Final = 160

_MODEL: Final = "kind = 'model' AND duplicate_of IS NULL"

# As detectors number them: where no model call was recorded, each tool call is a turn of its own.
TURN: Final = "CASE WHEN $lonely THEN step ELSE turn END"

_TURNS: Final = f"""
SELECT {TURN} AS turn, min(step) AS first_step, min({START_NS}) AS start_ns, max({END_NS}) AS end_ns,
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


def within(findings: Iterable[Finding]) -> list[Finding]:
    """Findings about a part of the run: one that begins at its very first span is about the whole and marks nothing."""
    return [finding for finding in findings if finding.first_step > 0]


_DENSITY: Final = f"""
SELECT least(floor((start_ns - $start_ns) * $buckets / greatest($end_ns - $start_ns, 1)), $buckets - 1)::INTEGER AS bucket,
       CASE WHEN rejected = 'blocked' THEN rejected WHEN coalesce(failed, false) THEN 'failed' ELSE kind::VARCHAR END AS kind,
       count(*) AS spans
FROM spans WHERE run_key = $run_key AND duplicate_of IS NULL AND kind <> 'agent' AND {KNOWN}
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
