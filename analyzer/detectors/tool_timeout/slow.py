"""What is known of tool calls that took long: until when a pending one held up its run, and which of them may take
their time.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from analyzer.detectors.changes import Effect, effects
from analyzer.frames import Frames

_WORDS: Final = "[A-Z]?[a-z]+|[A-Z]+"
_PEOPLE: Final = (
    "ask",
    "human",
    "approve",
    "approval",
    "question",
    "confirm",
    "confirmation",
    "feedback",
    "elicit",
    "input",
)
"""In the name of a tool: a person answers it."""
_AGENTS: Final = (
    "SELECT DISTINCT w.run_key, w.step FROM wanted w JOIN spans s ON s.trace_id = w.trace_id AND s.parent_span_id = w.span_id "
    "WHERE s.kind IN ('agent', 'model')"
)
_LAST: Final = """
SELECT run_key, max(coalesce(end_ns, start_ns)) AS last_ns FROM spans
WHERE run_key IN (SELECT run_key FROM wanted) GROUP BY run_key
"""


def pending_until(frames: Frames, calls: pl.DataFrame) -> pl.DataFrame:
    """`calls` plus `until_ns`: for those that are `pending`, when the model was asked next, else when the run was last
    heard of.
    """
    runs = calls.filter("pending")["run_key"].unique()
    if runs.is_empty():
        return calls.with_columns(until_ns=pl.lit(None, pl.Int64))
    asked = frames.rows("kind = 'model'", ["next_ns: start_ns"], runs).select("run_key", "step", "next_ns")
    return (
        calls.join_asof(asked, on="step", by="run_key", strategy="forward", check_sortedness=False)
        .join(last_heard(frames, runs), on="run_key", how="left", maintain_order="left")
        .with_columns(until_ns=pl.when("pending").then(pl.coalesce("next_ns", "last_ns")))
        .drop("next_ns", "last_ns")
    )


def last_heard(frames: Frames, runs: pl.Series) -> pl.DataFrame:
    """One row is one of `runs` (`run_key`) with `last_ns`, the last time that anything in it began or ended."""
    return frames.ask(_LAST, wanted=pl.DataFrame({"run_key": runs})).with_columns(pl.col("run_key").cast(pl.Int32))


def excused(frames: Frames, calls: pl.DataFrame) -> pl.DataFrame:
    """`calls` without those that wait on purpose, that ask a person, or inside which an agent or a model was at work."""
    words = pl.col("tool_name").str.extract_all(_WORDS).list.eval(pl.element().str.to_lowercase())
    waits = (pl.col("effect") == Effect.WAITS) | words.list.eval(pl.element().is_in(_PEOPLE)).list.any()
    left = effects(frames, calls).filter(~waits)
    if left.is_empty():
        return left
    places = frames.at(left.select("run_key", "step"), ["trace_id", "span_id"])
    agents = frames.ask(_AGENTS, wanted=places).with_columns(pl.col("run_key", "step").cast(pl.Int32))
    return left.join(agents, on=["run_key", "step"], how="anti", maintain_order="left")
