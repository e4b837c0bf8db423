"""`tool_timeout`: a tool that let the run wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.detector import Detector, Sight, between, plural
from analyzer.detectors.error_cascade import RAN
from analyzer.detectors.tool_timeout.slow import excused, pending_until
from analyzer.frames import Frames
from instrument.policy import Policy

_NS: Final = 1_000_000_000
_TOOL: Final = ("run_key", "tool_name")
_BELIEVED_SHARE: Final = 0.25
"""A call that says it timed out is believed when it took this share of the limit: the tool may have a shorter limit of
its own.
"""
_SAYS: Final = (
    r"timed.?out|deadline.?exceeded|^timeout|timeout.?(error|expired|exceeded|reached)"
    r"|(request|command|operation|execution|gateway|connection|read|connect).?timeout"
)
TIMED_OUT: Final = (
    f"CASE WHEN failed THEN regexp_matches(coalesce(failure_kind, error_type, ''), '{_SAYS}', 'i') ELSE false END"
)
"""Whether a call says that a time limit ended it, as SQL over `spans`."""


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one run and one tool of which calls took too long, did not end, or were cut at a time limit."""
    limit = policy.tool_errors.tool_timeout_seconds
    calls = long_calls(frames, limit)
    if calls.is_empty():
        return calls
    lost, turn = pl.col("failed") | pl.col("pending"), pl.col("turn")
    found = calls.group_by(_TOOL, maintain_order=True).agg(
        steps=pl.col("step"),
        calls=pl.len(),
        timed_out_calls=pl.col("timed_out").sum(),
        pending_calls=pl.col("pending").sum(),
        lost_calls=lost.sum(),
        long_loss=(lost & (pl.col("seconds") > limit)).any(),
        longest_seconds=pl.col("seconds").max(),
        first_turn=turn.first(),
        last_turn=turn.last(),
        last_lost=pl.col("step").filter(lost).last(),
        useless_turns=turn.filter(lost).unique().sort(),
        confidence=pl.when("pending").then(0.7).when("failure_inferred").then(0.75).otherwise(0.95).min(),
    )
    lasting = (pl.col("lost_calls") > 0) & (pl.col("long_loss") | ~pl.col("recovered"))
    return with_recovery(frames, found).with_columns(
        limit_seconds=pl.lit(limit),
        severity=pl.when(lasting).then(pl.lit("warning")).otherwise(pl.lit("info")),
        # What was right in the end may have had to take its time.
        confidence=pl.when(lasting).then("confidence").otherwise(pl.min_horizontal("confidence", pl.lit(0.6))),
    )


def long_calls(frames: Frames, limit_seconds: float) -> pl.DataFrame:
    """One row is one tool call that took longer than the limit (`seconds`), that was cut at a limit of its own
    (`timed_out`), or that is `pending` and held up the run for longer. Times known from messages alone are none.
    """
    took = "(end_ns - start_ns) / 1e9"
    long = (
        f"end_ns IS NULL OR {took} > {limit_seconds} OR ({took} >= {limit_seconds * _BELIEVED_SHARE} AND {TIMED_OUT})"
    )
    columns = [
        "span_key",
        "tool_name",
        "start_ns",
        f"seconds: {took}",
        "pending: end_ns IS NULL",
        "failed: coalesce(failed, false)",
        "failure_inferred: coalesce(failure_inferred, false)",
        f"timed_out: {TIMED_OUT}",
    ]
    told = "NOT coalesce(inferred, false) AND start_ns IS NOT NULL AND tool_name IS NOT NULL"
    calls = frames.calls(columns, where=f"{RAN} AND {told} AND ({long})")
    if calls.is_empty():
        return calls
    held_up = pl.when("pending").then((pl.col("until_ns") - pl.col("start_ns")) / _NS).otherwise("seconds")
    calls = pending_until(frames, calls).with_columns(seconds=held_up)
    calls = calls.filter(~pl.col("pending") | (pl.col("seconds") > limit_seconds))
    return excused(frames, calls)


def with_recovery(frames: Frames, found: pl.DataFrame) -> pl.DataFrame:
    """`found` plus `recovered`: whether the tool worked after the last call that was lost."""
    worked = (
        frames.calls(["tool_name"], found["run_key"], f"{RAN} AND NOT failed")
        .group_by(_TOOL)
        .agg(last_worked=pl.col("step").max())
    )
    return found.join(worked, on=_TOOL, how="left", maintain_order="left").with_columns(
        recovered=(pl.col("last_worked") > pl.col("last_lost")).fill_null(False)
    )


def message(facts: Mapping[str, Any]) -> str:
    """`fetch` took up to 312 s ..."""
    times, limit = plural(facts["calls"], "call"), f"limit {facts['limit_seconds']:g} s"
    ends = [
        f"{facts[name]} {words}"
        for name, words in (("timed_out_calls", "timed out"), ("pending_calls", "never ended"))
        if facts[name]
    ]
    lost = f"; {' and '.join(ends)}" if ends else ""
    long = f"{facts['longest_seconds']:,.0f} s"
    return f"{times} of `{facts['tool_name']}` held up the run for up to {long} {between(facts)} ({limit}){lost}."


def sight(frames: Frames, _: Policy) -> Sight:
    """Tool calls whose start and end were measured."""
    untimed = frames.rows("kind = 'tool' AND (inferred OR start_ns IS NULL OR inferred_times IS NOT NULL)", [])
    every = len(frames.tool_calls)
    return Sight(every, every - len(untimed))


DETECTOR = Detector(
    slug="tool_timeout",
    failure_mode="tool errors that cascade",
    title="A tool that let the run wait",
    finds="A tool call took longer than the limit, was cut at a time limit, or never ended while the run waited for "
    "it.",
    matters="A tool without a limit holds up the run for as long as it likes, and whoever waits for the run with it. "
    "A call that hangs is the most common reason why a run is found dead in the morning.",
    wrong="Some tools take their time and are right to: a build, a test suite. Where such a call ended well it is "
    "only mentioned; give the tool a limit of its own (`timeout_seconds`). Tools that wait by name, that ask a "
    "person, or that run another agent are left out. That a call was cut at a time limit is read from the words of "
    "the error, and believed if it took a quarter of the limit at least; shorter ones are `error_cascade`'s and "
    "`retry_storm`'s. A call that never ended may have ended after its process was killed.",
    advice="Run tools with a time limit (`tool_errors.tool_timeout_seconds`) and in a process of their own where "
    "they hang (`process=True`). Tell the model what took so long, so that it asks for less.",
    params="tool_errors",
    evidence={
        "tool_name": "Tool that was called.",
        "calls": "Its calls that held up the run.",
        "longest_seconds": "The longest of them, in seconds; of one that never ended, until the run went on or was last heard of.",
        "limit_seconds": "The limit of the policy.",
        "timed_out_calls": "Of these, calls that were cut at a time limit.",
        "pending_calls": "Of these, calls that never ended.",
        "recovered": "Whether the tool worked again after the last call that was lost.",
        "arguments": "Arguments of the first call, the first 300 characters.",
    },
    reads={"tool_calls": ()},
    message=message,
    sight=sight,
    unseen="the times of tool calls were not recorded",
    find=find,
)
