"""What happened in a run, call by call: what each call did, and whether anything new had come to light since."""

from __future__ import annotations

from typing import Final

import polars as pl

from analyzer.detectors.changes import Effect, effects
from analyzer.frames import ASKED, Frames

CALL: Final = ("run_key", "call_key")
"""One call of one run, however often it was made."""
BLOCKED: Final = "coalesce(rejected = 'blocked', false)"
"""As SQL: a guard kept the call from running, and the runner's words stand where its result would."""
_ODD: Final = pl.lit(0xC2B2AE3D27D4EB4F, pl.UInt64)


def stories(frames: Frames, runs: pl.Series) -> pl.DataFrame:
    """One row is one tool call of the `runs`, ordered, with `effect` and two counters that stand still as long as nothing happens.

    `events`: how many calls had changed something, and how often the user had spoken; `news`: how many results had
    never been seen before in the run. Neither counts what the same call did itself, so a call that finds them where its
    last repeat left them had no reason to be made.

    A call that a guard blocked (`blocked`) did nothing and found nothing: it has the result, and the failure, that the same call had
    when it last ran; null where it never did.
    """
    return frames.by_run("stories", runs, lambda new: _stories(frames, new))


def _stories(frames: Frames, runs: pl.Series) -> pl.DataFrame:
    columns = [
        "span_key",
        ASKED,
        "tool_name",
        "call_key",
        "result_key",
        "failed: coalesce(failed, false)",
        f"blocked: {BLOCKED}",
    ]
    calls = _as_when_it_last_ran(frames.calls(columns, runs))
    spoken = frames.questions(runs).with_columns(spoken=pl.int_range(1, pl.len() + 1).over("run_key"))
    changed = ((pl.col("effect") == Effect.CHANGES) & ~pl.col("failed") & ~pl.col("blocked")).cast(pl.Int32)
    # The key is a hash already: an odd multiple of the run's number keeps runs apart.
    result = pl.col("result_key") + pl.col("run_key").cast(pl.UInt64) * _ODD
    new = (result.is_not_null() & result.is_first_distinct()).cast(pl.Int32)
    return (
        effects(frames, calls)
        # A row follows the last question before it; `by` groups are ordered by step, which Polars cannot check itself.
        .join_asof(spoken, on="step", by="run_key", check_sortedness=False)
        .with_columns(
            events=pl.col("spoken").fill_null(0) + _of_others(changed),
            news=_of_others(new),
        )
        .drop("spoken", "asked")
    )


def _as_when_it_last_ran(calls: pl.DataFrame) -> pl.DataFrame:
    """`calls` in which those that were blocked have `result_key` and `failed` of the same call's last run."""
    if not calls["blocked"].any():
        return calls
    ran = pl.when(~pl.col("blocked") & pl.col("call_key").is_not_null())
    last = {name: ran.then(name).forward_fill().over(CALL) for name in ("result_key", "failed")}
    return calls.with_columns(
        result_key=pl.when("blocked").then(last["result_key"]).otherwise("result_key"),
        failed=pl.when("blocked").then(last["failed"].fill_null(True)).otherwise("failed"),
    )


def _of_others(happened: pl.Expr) -> pl.Expr:
    """How often it had happened in the run, less what the same call did."""
    # Most calls are made once: groups only for those that come again.
    again = pl.col("call_key").is_not_null() & pl.col("call_key").is_duplicated()
    own = happened.cum_sum().over("run_key", pl.when(again).then("call_key"))
    return happened.cum_sum().over("run_key") - pl.when(again).then(own).otherwise(happened)
