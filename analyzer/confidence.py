"""How much less sure a finding is because of what was lost, cut off, or worked out instead of measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.frames import Frames

LEFT: Final[Mapping[str, float]] = {"times": 0.7, "order": 0.7, "usage": 0.8, "content": 0.8}
"""What is left of the confidence where all that a finding rests on is in doubt; where a part is, the loss is that part of it. Judged, not
measured: no collection says how often findings on such traces are right."""

RESTS_ON: Final[Mapping[str, tuple[str, ...]]] = {
    "error_cascade": ("order", "content"),
    "retry_storm": ("times",),
    "tool_timeout": ("times",),
    "ignored_error": ("order", "content"),
    "repeated_call": ("order", "content"),
    "call_cycle": ("order", "content"),
    "near_repeat": ("order", "content"),
    "context_growth": ("usage",),
    "context_overflow": (),
    "oversized_tool_result": ("content",),
    "cache_bust": ("order", "usage", "content"),
    "unknown_tool": ("content",),
    "invalid_arguments": ("content",),
    "repeated_output": ("order", "content"),
    "empty_response": ("content",),
    "null_input": ("order",),
    "silent_gap": ("times",),
    "no_final_answer": ("order", "content"),
    "truncated_response": (),
    "cost_outlier": ("usage",),
    "over_budget": ("usage",),
}
"""By detector, what its findings rest on beside the spans themselves."""

COLUMNS: Final = (
    "turn",
    "source_key",
    "untimed: start_ns IS NULL OR (inferred_times IS NOT NULL AND NOT inferred)",
    "unordered: start_ns IS NULL",
    "clipped: coalesce(content_state = 'clipped', false)",
)
"""What has to be known of the spans that prove a pattern, named as for `Frames.rows`, beside `start_ns`. A call known only from messages
lies where the answer that asked for it ended, and detectors of time that take it know that."""
# Spans of two turns with one start: which came first was guessed.
_TIED: Final = pl.struct("start_ns", "turn").n_unique() > pl.col("start_ns").n_unique()
SHARES: Final = (
    pl.col("untimed").mean().alias("times"),
    pl.max_horizontal(pl.col("unordered").mean(), _TIED.cast(pl.Float64)).alias("order"),
    pl.col("clipped").mean().alias("content"),
)
"""Shares (0..1) of these spans that are in doubt, by what is."""

_UNMEASURED: Final = """
SELECT run_key, avg((usage_state IS DISTINCT FROM 'complete')::INTEGER) AS share FROM spans
WHERE kind = 'model' AND duplicate_of IS NULL AND NOT coalesce(failed, false) AND run_key IN (SELECT run_key FROM wanted) GROUP BY run_key
"""
# A file that was not read at all has no source, and no finding rests on it.
_LOST: Final = """
WITH lost AS MATERIALIZED (
    SELECT s.source_key, sum(i.count)::BIGINT AS lost FROM issues i JOIN sources s ON s.name = i.source WHERE i.error GROUP BY ALL
)
SELECT lost.source_key, lost.lost, count(spans.source_key) AS arrived FROM lost LEFT JOIN spans USING (source_key)
GROUP BY lost.source_key, lost.lost
"""


class Doubts:
    """What there is to doubt in the runs of one partition."""

    def __init__(self, frames: Frames, runs: pl.Series) -> None:
        self._unmeasured = dict(frames.ask(_UNMEASURED, wanted=pl.DataFrame({"run_key": runs.unique()})).iter_rows())
        self._lost = {key: lost / (lost + arrived) for key, lost, arrived in frames.ask(_LOST).iter_rows() if lost}

    def left(self, slug: str, label: Mapping[str, Any]) -> float:
        """Share (0..1) of its confidence that a finding keeps; `label` holds `run_key`, `source_key` and `SHARES` of its spans."""
        shares = {**label, "usage": self._unmeasured.get(label["run_key"])}
        left = 1 - self._lost.get(label["source_key"], 0.0)
        for what in RESTS_ON.get(slug, ()):
            left *= 1 - (shares[what] or 0.0) * (1 - LEFT[what])
        return float(left)
