"""The value of every metric at given instants, from a database: now for Prometheus to scrape, or all along its history for a backtest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import duckdb
import numpy as np
import polars as pl

from analyzer.alerts import metrics
from analyzer.alerts.metrics import Metric
from analyzer.alerts.model_calls import ATTEMPTS, ATTEMPTS_SECONDS, model_calls
from analyzer.alerts.stretches import HOLD_SECONDS, runs_between, stretches
from analyzer.alerts.usual import group_costs, usual_hour
from analyzer.alerts.windows import SECOND, Combine, Instants, bounded, combined, sums
from instrument.policy import Policy

Gauges = Mapping[Metric, pl.DataFrame]
"""By metric: one row is one series at one instant (`at_ns`, the metric's labels, `value`); no row where it has no sample."""

_BACK_SECONDS: Final = metrics.USUAL_DAYS * 86_400 + metrics.HOUR_SECONDS
_RUN_METRICS: Final[dict[Metric, Combine]] = {
    metrics.ACTIVE_RUNS: "sum",
    metrics.REPEATED_CALLS: "max",
    metrics.CYCLE_ROUNDS: "max",
    metrics.NEAR_REPEATS: "max",
    metrics.SAME_FAILURES: "max",
    metrics.FAILED_CALLS: "max",
    metrics.CONTEXT_SHARE: "max",
    metrics.CONTEXT_TURNS_LEFT: "min",
    metrics.UNKNOWN_TOOL_CALLS: "max",
    metrics.INVALID_CALLS: "max",
    metrics.REPEATED_OUTPUTS: "max",
    metrics.SILENT_SECONDS: "max",
    metrics.RUN_SECONDS: "max",
    metrics.RUN_COST: "max",
}
_SPEND: Final = {
    metrics.SPEND_5M: 300.0,
    metrics.SPEND_30M: 1800.0,
    metrics.SPEND_1H: metrics.HOUR_SECONDS,
    metrics.SPEND_6H: 6 * metrics.HOUR_SECONDS,
}
_COSTS: Final = """
SELECT run_key, coalesce(end_ns, start_ns) AS at_ns, cost_usd,
    CASE WHEN cost_usd IS NULL AND NOT coalesce(failed, false) THEN 1 ELSE 0 END AS unpriced
FROM spans WHERE kind = 'model' AND duplicate_of IS NULL AND coalesce(end_ns, start_ns) BETWEEN ? AND ?
"""
_TOOLS: Final = """
SELECT tool_name, coalesce(end_ns, start_ns) AS at_ns, CASE WHEN failed THEN 1 ELSE 0 END AS failures
FROM spans WHERE kind = 'tool' AND duplicate_of IS NULL AND tool_name IS NOT NULL AND failed IS NOT NULL AND rejected IS NULL
    AND coalesce(end_ns, start_ns) BETWEEN ? AND ?
"""
_STOPS: Final = """
SELECT run_key, min(at_ns) AS at_ns, 1 AS amount FROM guard_actions JOIN spans USING (span_key)
WHERE action = 'stop' AND NOT coalesce(observed, false) AND at_ns BETWEEN ? AND ? GROUP BY run_key
"""
_LOST: Final = "SELECT coalesce(sum(count), 0) FROM issues WHERE kind = 'lost_spans'"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Requests that wait for a person, as the ledger has them now."""

    reviews: int
    oldest_seconds: float
    """0 without any."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a database holds about some time: everything that gauges of later instants need, as long as nothing is added to it."""

    runs: pl.DataFrame
    """`stretches.runs_between`."""
    held: pl.DataFrame
    """`stretches.stretches` of the runs of the last hour."""
    costs: pl.DataFrame
    tools: pl.DataFrame
    stops: pl.DataFrame
    attempts: pl.DataFrame
    lost_spans: float


def recorded(
    con: duckdb.DuckDBPyConnection, policy: Policy, first_ns: int, last_ns: int, hold_seconds: float = HOLD_SECONDS
) -> Recorded:
    """For gauges of instants from `first_ns`. For `hold_seconds` a value stands after it was measured, or its run has ended."""
    runs = runs_between(con, first_ns - int(_BACK_SECONDS * SECOND), last_ns, hold_seconds)
    recent = runs.filter(pl.col("until_ns") >= first_ns - int(metrics.HOUR_SECONDS * SECOND))

    def events(sql: str, back_seconds: float) -> pl.DataFrame:
        found: pl.DataFrame = con.sql(sql, params=[first_ns - int(back_seconds * SECOND), last_ns]).pl()
        return found

    ((lost,),) = con.execute(_LOST).fetchall()
    return Recorded(
        runs,
        stretches(con, recent, policy, hold_seconds),
        events(_COSTS, _BACK_SECONDS),
        events(_TOOLS, metrics.RECENT_SECONDS),
        events(_STOPS, metrics.HOUR_SECONDS),
        events(ATTEMPTS, ATTEMPTS_SECONDS),
        float(lost),
    )


def gauges(
    con: duckdb.DuckDBPyConnection,
    policy: Policy,
    instants: Instants,
    waiting: Waiting | None = None,
    hold_seconds: float = HOLD_SECONDS,
) -> Gauges:
    """All metrics at each of `instants`, of what is recorded now; else as `gauges_of`."""
    told = recorded(con, policy, int(instants[0]), int(instants[-1]), hold_seconds)
    return gauges_of(told, policy, instants, waiting)


def gauges_of(told: Recorded, policy: Policy, instants: Instants, waiting: Waiting | None = None) -> Gauges:
    """All metrics at each of `instants`. What has no time in the record (lost spans, waiting reviews) is known at the last one only.

    `waiting` is None where there is no ledger: then the metrics about reviews have no series.
    """
    names = told.runs.select("run_key", "agent_name", "model", "user_id")
    named = told.held.join(names, on="run_key")
    found: dict[Metric, pl.DataFrame] = {
        metric: combined(named.filter(metric=metric.name), metric.labels, instants, how)
        for metric, how in _RUN_METRICS.items()
    }
    found.update(_of_the_hour(told, policy, instants))
    found.update(_spending(told.costs.join(names, on="run_key"), instants))
    found.update(group_costs(told.runs, instants))
    found.update(_tools(told.tools, instants))
    found.update(model_calls(told.attempts, instants))
    found.update(_known_now(told.lost_spans, int(instants[-1]), waiting))
    return found


def _of_the_hour(told: Recorded, policy: Policy, instants: Instants) -> Gauges:
    hour = int(metrics.HOUR_SECONDS * SECOND)
    recent = told.runs.filter(pl.col("until_ns") >= int(instants[0]) - hour)
    seen = recent.select(
        "run_key", "agent_name", at_ns="start_ns", until_ns=pl.col("until_ns") + hour, value=1.0, since_ns=None
    )
    loops = policy.loops
    lines = {
        metrics.REPEATED_CALLS: loops.same_call_repeats,
        metrics.CYCLE_ROUNDS: loops.cycle_repeats,
        metrics.NEAR_REPEATS: loops.near_repeats,
    }
    looping = [pl.col("metric").eq(metric.name) & (pl.col("value") >= line) for metric, line in lines.items()]
    began = told.held.filter(pl.any_horizontal(looping)).group_by("run_key").agg(loop_ns=pl.col("at_ns").min())
    looped = seen.join(began, on="run_key").with_columns(at_ns="loop_ns")
    stops = told.stops.join(recent.select("run_key", "agent_name"), on="run_key")
    labels = metrics.AGENT_LABELS
    return {
        metrics.HOUR_RUNS: combined(seen, labels, instants, "sum"),
        metrics.HOUR_LOOPS: _zeros(combined(seen, labels, instants, "sum"), combined(looped, labels, instants, "sum")),
        metrics.HOUR_STOPS: sums(stops, labels, metrics.HOUR_SECONDS, instants),
    }


def _zeros(all_of_them: pl.DataFrame, some: pl.DataFrame) -> pl.DataFrame:
    """The values of `some`, and 0 where only `all_of_them` has a series: so that a share of them can be 0."""
    joined = all_of_them.drop("value").join(
        some, on=["at_ns", *metrics.AGENT_LABELS], how="left", maintain_order="left"
    )
    return joined.with_columns(pl.col("value").fill_null(0.0))


def _spending(calls: pl.DataFrame, instants: Instants) -> Gauges:
    priced = calls.drop_nulls("cost_usd").with_columns(amount="cost_usd")
    unpriced = calls.with_columns(amount="unpriced")
    return {
        metrics.HOUR_COST: sums(priced, metrics.AGENT_LABELS, metrics.HOUR_SECONDS, instants),
        metrics.HOUR_COST_USUAL: usual_hour(priced, instants),
        **{metric: sums(priced, (), seconds, instants) for metric, seconds in _SPEND.items()},
        metrics.UNPRICED_CALLS: sums(unpriced, (), metrics.HOUR_SECONDS, instants),
        metrics.USER_DAY_COST: combined(_user_days(priced), (), instants, "max"),
    }


def _user_days(priced: pl.DataFrame) -> pl.DataFrame:
    """What each user has spent since midnight UTC, from each call to the next, or to the next midnight."""
    day_ns = 86_400 * SECOND
    of = ("user_id", "day")
    days = priced.drop_nulls("user_id").with_columns(day=pl.col("at_ns") // day_ns).sort("user_id", "at_ns")
    return days.with_columns(
        value=pl.col("cost_usd").cum_sum().over(of),
        until_ns=pl.coalesce(pl.col("at_ns").shift(-1).over(of), (pl.col("day") + 1) * day_ns) - 1,
        since_ns=pl.lit(None, pl.Int64),
    )


def _tools(calls: pl.DataFrame, instants: Instants) -> Gauges:
    calls = calls.with_columns(bounded(calls["tool_name"]))
    of = (metrics.TOOL_LABELS, metrics.RECENT_SECONDS, instants)
    return {
        metrics.TOOL_CALLS: sums(calls.with_columns(amount=pl.lit(1)), *of),
        metrics.TOOL_FAILURES: sums(calls.with_columns(amount="failures"), *of),
    }


def _known_now(lost_spans: float, now_ns: int, waiting: Waiting | None) -> Gauges:
    now = {metrics.LOST_SPANS: lost_spans}
    if waiting is not None:
        now |= {metrics.REVIEWS_WAITING: float(waiting.reviews), metrics.REVIEW_WAIT_SECONDS: waiting.oldest_seconds}
    return {metric: pl.DataFrame({"at_ns": [now_ns], "value": [value]}) for metric, value in now.items()}


def grid(first_ns: int, last_ns: int, seconds: float) -> Instants:
    """Instants `seconds` apart, at whole multiples as Prometheus evaluates rules, from the first after `first_ns` to beyond `last_ns`."""
    step = int(seconds * SECOND)
    return np.arange(-(-first_ns // step), -(-last_ns // step) + 1, dtype=np.int64) * step
