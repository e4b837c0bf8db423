"""All runs of a store: one row per run, what the findings say about each, sorting, and sums over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import duckdb
import polars as pl

from analyzer.findings import Finding, Severity
from analyzer.guarding import guarded_runs
from analyzer.views.known_times import END_NS, START_NS, known

_NS: Final = 1_000_000_000
_DAY_SECONDS: Final = 86_400
BUCKETS_SECONDS: Final = (60, 600, 3_600, 6 * 3_600, _DAY_SECONDS, 7 * _DAY_SECONDS, 30 * _DAY_SECONDS)
BUCKETS_SHOWN: Final = 60
"""A chart over time has at most so many columns, beyond which they are too thin to point at; monthly ones may be more."""

OUTCOMES: Final = ("ended", "failed", "unfinished")

_SUMMARIES: Final = f"""
SELECT s.run_key, any_value(r.run_id) AS run_id, any_value(r.trace_id) AS trace_id,
       arg_min(agent_name, step) AS agent_name,
       mode(coalesce(response_model, request_model)) AS model,
       arg_min(user_id, step) AS user_id,
       min({START_NS}) AS start_ns, max(coalesce({END_NS}, {START_NS})) AS end_ns,
       (max(coalesce({END_NS}, {START_NS})) - min({START_NS})) / 1e9 AS seconds,
       CASE WHEN bool_or(end_ns IS NULL) FILTER (step = 0) THEN 'unfinished'
            WHEN coalesce(bool_or(failed) FILTER (kind = 'agent' AND span_id = s.run_id),
                          arg_max(failed, step) FILTER (kind = 'model' AND duplicate_of IS NULL)) THEN 'failed'
            ELSE 'ended' END AS outcome,
       count(*) FILTER (NOT inferred) AS spans,
       count(*) FILTER (kind = 'model' AND duplicate_of IS NULL) AS model_calls,
       count(*) FILTER (kind = 'tool' AND duplicate_of IS NULL) AS tool_calls,
       count(*) FILTER (kind = 'tool' AND duplicate_of IS NULL AND failed AND rejected IS DISTINCT FROM 'blocked')
           AS failed_tool_calls,
       (sum(input_tokens) FILTER (kind = 'model' AND duplicate_of IS NULL))::BIGINT AS input_tokens,
       (sum(output_tokens) FILTER (kind = 'model' AND duplicate_of IS NULL))::BIGINT AS output_tokens,
       sum(cost_usd) FILTER (kind = 'model' AND duplicate_of IS NULL) AS cost_usd,
       count(*) FILTER (kind = 'model' AND duplicate_of IS NULL AND cost_usd IS NULL) AS unpriced_calls,
       max(input_tokens) FILTER (kind = 'model' AND duplicate_of IS NULL) AS peak_input_tokens
FROM spans s JOIN runs r USING (run_key)
GROUP BY s.run_key ORDER BY min({START_NS}) DESC NULLS LAST, s.run_key
"""


def summaries(con: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """One row per run, the newest first. Tokens and cost are of model calls, each counted once; null where not known, as are times before
    1971 (`views.known_times`).

    `outcome` is `unfinished` where the first span never ended, `failed` where the agent span failed (without one: where the last
    model call did), else `ended`. `stop_reason`, `status` and `limit_usd` are those of runs under a guard; null elsewhere.
    A call that a guard blocked is none that failed.
    """
    frame: pl.DataFrame = con.sql(_SUMMARIES).pl()
    guarded = guarded_runs(con).select("run_key", "stop_reason", "status", "limit_usd")
    return frame.join(guarded, on="run_key", how="left", maintain_order="left")


def with_findings(
    runs: pl.DataFrame, findings: Iterable[Finding], wasted_usd: Mapping[int, float] | None = None
) -> pl.DataFrame:
    """`runs` with `findings` (how many), `rank` (of the worst severity, null: none), `detectors` and `wasted_usd`.

    `wasted_usd` is given by `run_key`, as in a `Report`; of all runs together it is what the report's totals say. Null: nothing known.
    """
    rows = [(f.run_id, f.detector, f.severity.rank) for f in findings]
    schema = {"run_id": pl.String, "detector": pl.String, "rank": pl.Int8}
    waste = pl.DataFrame(
        list((wasted_usd or {}).items()), {"run_key": runs.schema["run_key"], "wasted_usd": pl.Float64}, orient="row"
    )
    grouped = (
        pl.DataFrame(rows, schema=schema, orient="row")
        .group_by("run_id")
        .agg(
            findings=pl.len(),
            rank=pl.col("rank").max(),
            detectors=pl.col("detector").unique().sort(),
        )
    )
    return (
        runs.join(grouped, on="run_id", how="left", maintain_order="left")
        .join(waste, on="run_key", how="left", maintain_order="left")
        .with_columns(pl.col("findings").fill_null(0), pl.col("detectors").fill_null([]))
    )


SORTS: Final = {
    "Worst first": ("rank", "wasted_usd", "cost_usd"),
    "Newest first": ("start_ns",),
    "Oldest first": ("start_ns",),
    "Dearest first": ("cost_usd",),
    "Longest first": ("seconds",),
    "Most turns first": ("model_calls",),
    "Most failed calls first": ("failed_tool_calls",),
    "Fullest context first": ("peak_input_tokens",),
}
"""What a list of runs may be sorted by -> the columns that decide."""


def ordered(runs: pl.DataFrame, sort: str) -> pl.DataFrame:
    """`runs` in the order that `SORTS` names; runs of which it is not known come last, equals in order of `run_key`."""
    columns = [*SORTS[sort], "run_key"]
    descending = [sort != "Oldest first"] * len(SORTS[sort]) + [False]
    return runs.sort(columns, descending=descending, nulls_last=True)


def bucket_seconds(first_ns: int, last_ns: int) -> int:
    """The finest of `BUCKETS_SECONDS` that cuts the time into at most `BUCKETS_SHOWN` columns; else the coarsest."""
    span = (last_ns - first_ns) / _NS
    return next((size for size in BUCKETS_SECONDS if span / size <= BUCKETS_SHOWN), BUCKETS_SECONDS[-1])


def spend_over_time(runs: pl.DataFrame) -> pl.DataFrame:
    """One row per stretch of time in which runs started: `start` (UTC), `bucket_seconds`, `runs`, `useful_usd`, `wasted_usd`.

    Runs of unknown cost count as runs and not as money; runs whose start is not known are left out.
    """
    runs = runs.drop_nulls("start_ns")
    if runs.is_empty():
        return runs.select(
            start="start_ns", bucket_seconds="start_ns", runs="findings", useful_usd="cost_usd", wasted_usd="wasted_usd"
        )
    size = bucket_seconds(_lowest(runs), _highest(runs))
    wasted = pl.min_horizontal(pl.col("wasted_usd").fill_null(0), pl.col("cost_usd").fill_null(0))
    return (
        runs.group_by(start=_bucket(size))
        .agg(runs=pl.len(), useful_usd=(pl.col("cost_usd").fill_null(0) - wasted).sum(), wasted_usd=wasted.sum())
        .with_columns(bucket_seconds=pl.lit(size))
        .sort("start")
    )


def findings_over_time(runs: pl.DataFrame, findings: Sequence[Finding]) -> pl.DataFrame:
    """One row per stretch of time and severity: `start` (UTC), `bucket_seconds`, `severity`, `findings`.

    The stretches are those of `spend_over_time(runs)`, so the two charts read side by side; findings of unknown time are left out.
    """
    schema = {"start_ns": pl.Int64, "severity": pl.String}
    rows = [(f.start_ns, f.severity.value) for f in findings]
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(known()).drop_nulls("start_ns")
    if frame.is_empty() or not runs["start_ns"].count():
        return pl.DataFrame(
            schema={
                "start": pl.Datetime("us"),
                "severity": pl.String,
                "findings": pl.UInt32,
                "bucket_seconds": pl.Int32,
            }
        )
    size = bucket_seconds(_lowest(runs), _highest(runs))
    return (
        frame.group_by(start=_bucket(size), severity="severity")
        .agg(findings=pl.len())
        .with_columns(bucket_seconds=pl.lit(size))
        .sort("start", "severity")
    )


def findings_by_mode(findings: Iterable[Finding], detectors: Sequence[str]) -> pl.DataFrame:
    """One row per detector and severity: `detector`, `severity`, `findings`; detectors that found nothing have zeros."""
    counts = {(detector, severity.value): 0 for detector in detectors for severity in Severity}
    for finding in findings:
        key = (finding.detector, finding.severity.value)
        counts[key] = counts.get(key, 0) + 1
    rows = [(detector, severity, count) for (detector, severity), count in counts.items()]
    return pl.DataFrame(rows, schema=["detector", "severity", "findings"], orient="row")


def _bucket(size_seconds: int) -> pl.Expr:
    size_ns = size_seconds * _NS
    return (pl.col("start_ns") // size_ns * (size_seconds * 1_000_000)).cast(pl.Datetime("us"))


def _lowest(runs: pl.DataFrame) -> int:
    return int(runs["start_ns"].min())  # type: ignore[arg-type]  # a BIGINT column that is not empty


def _highest(runs: pl.DataFrame) -> int:
    return int(runs["start_ns"].max())  # type: ignore[arg-type]  # as above
