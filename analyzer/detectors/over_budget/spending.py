"""What runs spent, call by call, their sub-agents included; and what users spent in a day."""

from __future__ import annotations

from typing import Final

import polars as pl

from analyzer.frames import Frames

_TRACES: Final = """
WITH own AS (SELECT DISTINCT trace_id FROM runs WHERE run_key IN (SELECT run_key FROM wanted))
SELECT run_key, runs.trace_id FROM runs JOIN own USING (trace_id) ORDER BY ALL
"""
_COSTS: Final = """
SELECT run_key, sum(cost_usd) AS cost_usd FROM spans
WHERE run_key IN (SELECT run_key FROM wanted) AND kind = 'model' AND duplicate_of IS NULL GROUP BY ALL
"""
_LIMITS: Final = """
SELECT run_key, max(g.run_limit_usd) AS limit_usd FROM guarded_runs g JOIN spans s USING (span_key)
WHERE g.run_limit_usd IS NOT NULL GROUP BY ALL
"""
# UNION keeps each pair once, so that a ring of parents comes to an end.
_FAMILY: Final = """
WITH RECURSIVE parents AS (
    SELECT r.run_key, p.run_key AS parent_key FROM spans r JOIN spans p ON p.trace_id = r.trace_id AND p.span_id = r.parent_span_id
    WHERE r.run_key IN (SELECT run_key FROM wanted) AND r.kind = 'agent' AND r.span_id = r.run_id AND p.run_key <> r.run_key
        AND p.run_key IN (SELECT run_key FROM wanted)
), family AS (
    SELECT run_key AS head, run_key FROM wanted
    UNION
    SELECT family.head, parents.run_key FROM family JOIN parents ON parents.parent_key = family.run_key
)
SELECT head, run_key, head IN (SELECT run_key FROM parents) AS below FROM family ORDER BY ALL
"""
_CALLS: Final = """
SELECT run_key, step, turn, start_ns, cost_usd, cost_usd IS NULL AND NOT coalesce(failed, false) AS unpriced FROM spans
WHERE run_key IN (SELECT run_key FROM wanted) AND kind = 'model' AND duplicate_of IS NULL ORDER BY run_key, step
"""
_USER_DAYS: Final = """
WITH calls AS (
    SELECT run_key, step, turn, user_id, start_ns, cost_usd, start_ns // 86_400_000_000_000 AS day FROM spans
    WHERE kind = 'model' AND duplicate_of IS NULL AND user_id IS NOT NULL AND cost_usd IS NOT NULL AND start_ns IS NOT NULL
), spent AS (
    SELECT *, sum(cost_usd) OVER (PARTITION BY user_id, day ORDER BY start_ns, run_key, step) AS spent_usd,
        sum(cost_usd) OVER (PARTITION BY user_id, day) AS cost_usd_of_day
    FROM calls SEMI JOIN (SELECT user_id, day FROM calls GROUP BY ALL HAVING sum(cost_usd) > {limit}) USING (user_id, day)
)
SELECT run_key, step, turn, user_id, cost_usd_of_day AS cost_usd, cost_usd_of_day - spent_usd AS after_usd
FROM spent WHERE spent_usd > {limit} QUALIFY row_number() OVER (PARTITION BY user_id, day ORDER BY start_ns, run_key, step) = 1
ORDER BY run_key, step
"""


def limits(frames: Frames, run_limit_usd: float | None) -> tuple[pl.DataFrame, float | None]:
    """Limits recorded on runs (`run_key`, `limit_usd`), and the lowest limit there is, that of the policy included."""
    recorded = frames.ask(_LIMITS)
    known = [*recorded["limit_usd"].to_list(), *([run_limit_usd] if run_limit_usd is not None else [])]
    return recorded, min(known, default=None)


def suspects(frames: Frames, least_usd: float) -> pl.DataFrame:
    """Runs (`run_key`) of the traces all of whose runs together cost more than `least_usd`."""
    calls = frames.model_calls.select(pl.col("run_key").set_sorted(), "cost_usd")
    own = calls.group_by("run_key", maintain_order=True).agg(pl.col("cost_usd").sum())
    if own.is_empty():
        return own.select("run_key")
    runs = frames.ask(_TRACES, wanted=own.select("run_key"))
    # A trace may go on beyond this partition.
    beyond = runs.join(own, on="run_key", how="anti").select("run_key")
    costs = own if beyond.is_empty() else pl.concat([own, frames.ask(_COSTS, wanted=beyond)])
    priced = runs.join(costs, on="run_key", how="left")
    return priced.filter(pl.col("cost_usd").sum().over("trace_id") > least_usd).select("run_key").sort("run_key")


def spending(frames: Frames, runs: pl.DataFrame) -> pl.DataFrame:
    """One row is one model call that counts towards the run `head`, its own or a sub-agent's, in order of time, with `spent_usd` up to it.

    `below`: the head is itself a sub-agent of another run.
    """
    family = frames.ask(_FAMILY, wanted=runs)
    calls = frames.ask(_CALLS, wanted=runs)
    return (
        family.join(calls, on="run_key")
        .sort("head", "start_ns", "run_key", "step", nulls_last=False)
        .with_columns(spent_usd=pl.col("cost_usd").fill_null(0.0).cum_sum().over("head"))
    )


def user_days(frames: Frames, limit_usd: float) -> pl.DataFrame:
    """One row is one user and UTC day over `limit_usd`: the call that crossed it, what the day cost, and what came
    after. Of the whole store."""
    return frames.ask(_USER_DAYS.format(limit=float(limit_usd)))
