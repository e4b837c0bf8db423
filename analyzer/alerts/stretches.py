"""What the metrics of single runs were, and when: stretches of time in which one run had one value.

The counts are those of the live guards: the recorded steps are told to the very same code, which speaks up at the first sign of
anything. So a gauge and the guard that it warns of cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import duckdb
import polars as pl
from msgspec import structs

from analyzer.alerts import metrics
from analyzer.alerts.windows import SECOND, bounded
from analyzer.detectors.context_growth.growing import growing
from analyzer.frames import Frames
from analyzer.replay import WATCHFUL, spoken
from instrument.policy import Policy
from instrument.windows import window_of

HOLD_SECONDS: Final = 300.0
"""For so long a value stands after it was measured, or after its run has ended: a run that began and ended between two scrapes
is still seen. It is also for how long Prometheus itself looks back for a sample."""
ABANDONED_SECONDS: Final = 7200.0
"""After so long without a sign of life nobody waits any more for a run that never ended: its process was killed."""
_PLAYED_RUNS: Final = 500
"""Runs whose steps are told to the guards at a time; they lie in memory one by one."""

SCHEMA: Final[dict[str, type[pl.DataType]]] = {
    "run_key": pl.Int32,
    "metric": pl.String,
    "at_ns": pl.Int64,
    "until_ns": pl.Int64,
    "value": pl.Float64,
    "since_ns": pl.Int64,
}
"""One row is one run having one value of one metric from `at_ns` until `until_ns`; with `since_ns`, the value is the seconds since then."""

_GUARDS: Final = {
    "repeated_call": metrics.REPEATED_CALLS,
    "call_cycle": metrics.CYCLE_ROUNDS,
    "near_repeat": metrics.NEAR_REPEATS,
    "error_cascade": metrics.SAME_FAILURES,
    "unknown_tool": metrics.UNKNOWN_TOOL_CALLS,
    "invalid_arguments": metrics.INVALID_CALLS,
    "repeated_output": metrics.REPEATED_OUTPUTS,
}
"""Metric by the guard that counts it."""
_COUNTING: Final = structs.replace(WATCHFUL, tool_errors=structs.replace(WATCHFUL.tool_errors, failed_calls=10**9))
"""Failures in a row, of whatever tools, are counted by `_failures`: the guard speaks of them only where they differ."""

_RUNS: Final = """
WITH r AS MATERIALIZED (
    SELECT run_key, any_value(trace_id) AS trace_id, any_value(run_id) AS run_id,
        coalesce(arg_min(coalesce(agent_name, name), step), '') AS agent_name,
        coalesce(arg_min(coalesce(response_model, request_model), step) FILTER (kind = 'model'), '') AS model,
        any_value(user_id) AS user_id, min(start_ns) AS start_ns, max(coalesce(end_ns, start_ns)) AS last_ns,
        bool_or(end_ns IS NULL AND NOT coalesce(inferred, false)) AS pending, bool_or(kind = 'agent') AS has_agent,
        sum(cost_usd) FILTER (kind = 'model' AND duplicate_of IS NULL) AS cost_usd,
        count(*) FILTER (kind = 'model' AND duplicate_of IS NULL AND cost_usd IS NULL AND NOT coalesce(failed, false)) AS unpriced_calls
    FROM spans GROUP BY run_key)
FROM r WHERE start_ns IS NOT NULL AND last_ns >= ? AND start_ns <= ? ORDER BY run_key
"""


def runs_between(
    con: duckdb.DuckDBPyConnection, first_ns: int, last_ns: int, hold_seconds: float = HOLD_SECONDS
) -> pl.DataFrame:
    """One row is one run that showed a sign of life between two instants, ordered by `run_key`; agents and models are bounded names.

    `until_ns` is when it ceases to be active: a while after its end, or after its last sign of life where it never ended.
    """
    runs: pl.DataFrame = con.sql(_RUNS, params=[first_ns, last_ns]).pl()
    after = pl.when("pending").then(ABANDONED_SECONDS).otherwise(hold_seconds)
    return runs.with_columns(
        bounded(runs["agent_name"]),
        bounded(runs["model"]),
        until_ns=pl.col("last_ns") + (after * SECOND).cast(pl.Int64),
    )


def stretches(
    con: duckdb.DuckDBPyConnection, runs: pl.DataFrame, policy: Policy, hold_seconds: float = HOLD_SECONDS
) -> pl.DataFrame:
    """What the metrics of `runs` (of `runs_between`) were, in the shape of `SCHEMA`, in no order."""
    found = [_activity(con, runs)]
    for part in runs.iter_slices(_PLAYED_RUNS):
        frames = Frames.of(con, part["run_key"])
        found += [
            _held(_patterns(frames), hold_seconds),
            _held(_failures(frames), hold_seconds),
            *_contexts(frames, part, policy),
            _costs(frames, part),
        ]
    return pl.concat([_shaped(f) for f in found])


def _shaped(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())


def _patterns(frames: Frames) -> pl.DataFrame:
    columns = ("run_key", "metric", "at_ns", "value")
    return pl.DataFrame(list(_spoken(frames)), {name: SCHEMA[name] for name in columns}, orient="row")


def _spoken(frames: Frames) -> Iterator[tuple[int, str, int, float]]:
    for run_key, at_ns, act in spoken(frames, _COUNTING):
        metric = _GUARDS.get(act.guard)
        if metric is not None and act.value is not None:
            yield run_key, metric.name, at_ns, act.value


def _held(rows: pl.DataFrame, hold_seconds: float) -> pl.DataFrame:
    """A count stands for a while; the next one, higher or not, stands beside it."""
    hold = int(hold_seconds * SECOND)
    return rows.with_columns(until_ns=pl.col("at_ns") + hold, since_ns=pl.lit(None, pl.Int64))


def _failures(frames: Frames) -> pl.DataFrame:
    """Turns with failures since the last success of any tool."""
    calls = frames.calls(
        ["failed", "at_ns: coalesce(end_ns, start_ns)"], where="failed IS NOT NULL AND rejected IS NULL"
    )
    block = calls.with_columns(block=(~pl.col("failed")).cum_sum().over("run_key")).filter(pl.col("failed"))
    new_turn = (pl.col("turn") != pl.col("turn").shift()).fill_null(True)
    counted = block.with_columns(value=new_turn.cum_sum().over("run_key", "block").cast(pl.Float64))
    return counted.drop_nulls("at_ns").with_columns(metric=pl.lit(metrics.FAILED_CALLS.name))


def _contexts(frames: Frames, runs: pl.DataFrame, policy: Policy) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The share of the window from each request to the next, and the turns that are left at the rate of its context."""
    columns = ["model: coalesce(response_model, request_model)", "input_tokens", "at_ns: coalesce(end_ns, start_ns)"]
    requests = frames.rows(
        "kind = 'model' AND input_tokens IS NOT NULL AND coalesce(end_ns, start_ns) IS NOT NULL", columns
    )
    models = requests["model"].drop_nulls().unique().to_list()
    windows = pl.DataFrame(
        {"model": models, "window_tokens": [window_of(m, policy.context.windows) for m in models]},
        schema={"model": pl.String, "window_tokens": pl.Int64},
    ).drop_nulls()
    sized = growing(requests.join(windows, on="model", how="inner", maintain_order="left"))
    lasting = _until_next(sized, runs, ("run_key", "model"))
    share = lasting.with_columns(metric=pl.lit(metrics.CONTEXT_SHARE.name), value=pl.col("share"))
    left = lasting.drop_nulls("turns_left").with_columns(
        metric=pl.lit(metrics.CONTEXT_TURNS_LEFT.name), value=pl.col("turns_left")
    )
    return share, left


def _costs(frames: Frames, runs: pl.DataFrame) -> pl.DataFrame:
    """What a run has cost from each model call to the next."""
    calls = frames.rows("kind = 'model' AND cost_usd IS NOT NULL", ["cost_usd", "at_ns: coalesce(end_ns, start_ns)"])
    summed = calls.drop_nulls("at_ns").with_columns(value=pl.col("cost_usd").cum_sum().over("run_key"))
    return _until_next(summed, runs, ("run_key",)).with_columns(metric=pl.lit(metrics.RUN_COST.name))


def _until_next(rows: pl.DataFrame, runs: pl.DataFrame, of: tuple[str, ...]) -> pl.DataFrame:
    """Each row until the next of the same kind, the last until its run ceases to be active."""
    ordered = rows.sort(*of, "at_ns", "step").join(
        runs.select("run_key", ended_ns="until_ns"), on="run_key", how="left", maintain_order="left"
    )
    following = pl.col("at_ns").shift(-1).over(of) - 1
    return ordered.with_columns(until_ns=pl.coalesce(following, "ended_ns"), since_ns=pl.lit(None, pl.Int64))


_SIGNS: Final = """
SELECT trace_id, at_ns FROM (
    SELECT trace_id, unnest([start_ns, end_ns]) AS at_ns FROM spans WHERE trace_id IN (SELECT trace_id FROM wanted)
) WHERE at_ns IS NOT NULL GROUP BY ALL ORDER BY ALL
"""


def _activity(con: duckdb.DuckDBPyConnection, runs: pl.DataFrame) -> pl.DataFrame:
    """That a run is active, how old it is and how long nothing happened in its trace: a sub-agent's work is a sign of life, too."""
    active = runs.select(
        "run_key", "until_ns", metric=pl.lit(metrics.ACTIVE_RUNS.name), at_ns="start_ns", value=1.0, since_ns=None
    )
    # Only an agent's own span says that it has not ended; without one, the last call was the end.
    open_runs = runs.filter(pl.col("has_agent") | pl.col("pending")).with_columns(
        open_until_ns=pl.when("pending").then("until_ns").otherwise(pl.col("last_ns") - 1)
    )
    aged = open_runs.select(
        "run_key", metric=pl.lit(metrics.RUN_SECONDS.name), at_ns="start_ns", until_ns="open_until_ns", value=None, since_ns="start_ns"
    )  # fmt: skip
    con.register("wanted", open_runs.select("trace_id").unique().to_arrow())
    try:
        signs: pl.DataFrame = con.sql(_SIGNS).pl()
    finally:
        con.unregister("wanted")
    silent = (
        signs.with_columns(next_ns=pl.col("at_ns").shift(-1).over("trace_id") - 1)
        .join(open_runs, on="trace_id", how="inner")
        .filter(pl.col("at_ns") >= pl.col("start_ns"), pl.col("at_ns") <= pl.col("open_until_ns"))
        .select(
            "run_key",
            "at_ns",
            metric=pl.lit(metrics.SILENT_SECONDS.name),
            until_ns=pl.min_horizontal("next_ns", "open_until_ns"),
            value=None,
            since_ns="at_ns",
        )
    )
    return pl.concat([_shaped(f) for f in (active, aged, silent)])
