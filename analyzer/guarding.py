"""What guards did in the runs of a store, and how those runs ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import duckdb
import polars as pl

from analyzer.findings import GuardAction, Stop

COMPLETED: Final = "completed"

# Turns as findings count them: that of the tool call, else that of the last model call begun by then. What the runner counted goes on
# over a resumption, and stands in where times are missing.
_ACTIONS: Final = """
WITH acts AS (
    SELECT a.*, s.run_key, s.run_id, s.trace_id, s.span_id, s.agent_name, s.step, s.kind, s.turn AS span_turn
    FROM guard_actions a JOIN spans s USING (span_key) WHERE {where}
), calls AS (
    SELECT run_key, start_ns, turn FROM spans
    WHERE kind = 'model' AND duplicate_of IS NULL AND start_ns IS NOT NULL AND run_key IN (SELECT run_key FROM acts)
)
SELECT acts.run_key, run_id, trace_id, span_id, agent_name, step,
    (CASE WHEN kind = 'tool' THEN if(span_turn = 0 AND calls.turn IS NULL, step, span_turn)
        ELSE coalesce(calls.turn, acts.turn, span_turn) END)::INTEGER AS turn,
    coalesce(guard, 'unknown') AS guard, coalesce(action, 'unknown') AS action, reason, setting, threshold, value,
    tool_name AS tool, coalesce(observed, false) AS observed
FROM acts ASOF LEFT JOIN calls ON acts.run_key = calls.run_key AND acts.at_ns >= calls.start_ns
ORDER BY acts.run_key, at_ns NULLS FIRST, step, position
"""

_ENDS: Final = """
SELECT s.run_key, s.run_id, s.trace_id, s.agent_name, s.user_id, g.stop_reason, g.status, g.run_cost_usd AS cost_usd,
    g.run_limit_usd AS limit_usd, g.policy
FROM guarded_runs g JOIN spans s USING (span_key) WHERE {where}
QUALIFY row_number() OVER (PARTITION BY s.run_key ORDER BY g.stop_reason IS NULL, s.step) = 1
ORDER BY s.run_key
"""


def guard_actions(con: duckdb.DuckDBPyConnection, run_key: int | None = None) -> pl.DataFrame:
    """One row is one action of a guard, of all runs or of one, ordered by run and time: `run_key`, `run_id`, `trace_id`, `span_id`,
    `agent_name`, `step` and `turn` (of the store), `guard`, `action`, `reason`, `setting`, `threshold`, `value`, `tool`, `observed`.
    """
    frame: pl.DataFrame = con.sql(_ACTIONS.format(where=_of(run_key))).pl()
    return frame


def guarded_runs(con: duckdb.DuckDBPyConnection, run_key: int | None = None) -> pl.DataFrame:
    """One row is one run under a guard, of all or one: `run_key`, `run_id`, `trace_id`, `agent_name`, `user_id`, `stop_reason` (null:
    not ended), `status`, `cost_usd` and `limit_usd` by the runner's account, and `policy` as JSON (null: not recorded).
    """
    frame: pl.DataFrame = con.sql(_ENDS.format(where=_of(run_key))).pl()
    return frame


def actions_of(con: duckdb.DuckDBPyConnection) -> tuple[GuardAction, ...]:
    """Every action in the store, as values."""
    rows = guard_actions(con).drop("run_key")
    return tuple(GuardAction(**row) for row in rows.iter_rows(named=True))


def stops_of(runs: pl.DataFrame) -> tuple[Stop, ...]:
    """Those of `guarded_runs` that ended otherwise than by the model's answer."""
    ended = runs.filter(pl.col("stop_reason") != COMPLETED).drop("run_key", "user_id", "policy")
    return tuple(Stop(**row) for row in ended.iter_rows(named=True))


def by_run(actions: Sequence[GuardAction]) -> dict[str, tuple[GuardAction, ...]]:
    """Run id -> its actions, in order."""
    found: dict[str, list[GuardAction]] = {}
    for action in actions:
        found.setdefault(action.run_id, []).append(action)
    return {run_id: tuple(own) for run_id, own in found.items()}


def _of(run_key: int | None) -> str:
    return "true" if run_key is None else f"s.run_key = {int(run_key)}"
