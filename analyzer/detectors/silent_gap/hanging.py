"""Calls that never ended: what was under way all the time, as far as anyone can tell."""

from __future__ import annotations

from typing import Final

import polars as pl

from analyzer.detectors.error_cascade import RAN
from analyzer.detectors.tool_timeout.slow import excused, last_heard
from analyzer.frames import Frames

MODEL: Final = "the model"
_NS: Final = 1_000_000_000
_PENDING: Final = (
    f"kind IN ('model', 'tool') AND {RAN} AND end_ns IS NULL AND start_ns IS NOT NULL AND NOT coalesce(inferred, false)"
)
NEWEST: Final = "SELECT max(coalesce(end_ns, start_ns)) AS newest_ns FROM spans"
"""The last time that anything in the database is known of."""
_COLUMNS: Final = ("kind: kind::VARCHAR", "span_key", "tool_name", "start_ns")


def never_ended(frames: Frames, least_ns: int, tool_seconds: float) -> pl.DataFrame:
    """One row is one call without an end that was waited for at least `least_ns`: until the model was asked again, the run ended, or the
    newest span of the database. Tools that held up their run for more than `tool_seconds` are `tool_timeout`'s."""
    calls = frames.rows(_PENDING, _COLUMNS)
    if calls.is_empty():
        return pl.DataFrame()
    calls = _until(frames, calls).filter(pl.col("until_ns") - pl.col("start_ns") >= least_ns)
    tool, held = pl.col("kind") == "tool", pl.coalesce("next_ns", "last_ns") - pl.col("start_ns")
    tools = calls.filter(tool, pl.col("tool_name").is_not_null(), held <= tool_seconds * _NS)
    kept = pl.concat([calls.filter(~tool), excused(frames, tools).select(calls.columns) if len(tools) else tools])
    return kept.sort("run_key", "step").select(
        "run_key",
        from_ns="start_ns",
        severity=pl.lit("warning"),
        # The process that would have written the end may have been killed, and the end lost with it.
        confidence=pl.lit(0.7),
        gap_seconds=(pl.col("until_ns") - pl.col("start_ns")) / _NS,
        never_ended=pl.coalesce("tool_name", pl.lit(MODEL)),
        went_on=pl.col("next_ns").is_not_null(),
        first_step="step",
        last_step="step",
        first_turn="turn",
        last_turn="turn",
    )


def _until(frames: Frames, calls: pl.DataFrame) -> pl.DataFrame:
    """`calls` plus `next_ns`, when the model was asked next, `last_ns`, when the run was last heard of, and `until_ns`."""
    runs = calls["run_key"].unique()
    asked = frames.rows("kind = 'model'", ["next_ns: start_ns"], runs).select("run_key", "step", "next_ns")
    ended = frames.rows("kind = 'agent' AND span_id = run_id", ["ended_ns: end_ns"], runs)
    newest_ns = frames.ask(NEWEST).item()
    return (
        calls.join_asof(
            asked, on="step", by="run_key", strategy="forward", allow_exact_matches=False, check_sortedness=False
        )
        .join(ended.select("run_key", "ended_ns").unique("run_key"), on="run_key", how="left", maintain_order="left")
        .join(last_heard(frames, runs), on="run_key", how="left", maintain_order="left")
        .with_columns(until_ns=pl.coalesce("next_ns", "ended_ns", pl.lit(newest_ns)))
    )
