"""`call_cycle`: two or more calls that go round and round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.call_cycle.rounds import periodic
from analyzer.detectors.changes import Effect
from analyzer.detectors.detector import Detector, Sight, between, plural, seen, turns
from analyzer.detectors.stories import CALL, stories
from analyzer.frames import Frames, recurring
from instrument.guards.wording import listed
from instrument.policy import Loops, Policy

_TOKEN: Final = ("call_key", "result_key")


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one stretch of a run in which all calls came round again with the same results."""
    params = policy.loops
    rounds = max(2, params.cycle_repeats)
    story = stories(frames, suspects(frames, rounds))
    if story.is_empty():
        return story
    sequence = in_sequence(frames, story)
    found = periodic(sequence, params.cycle_calls, rounds)
    if found.is_empty():
        return found
    return described(found, sequence, params)


def suspects(frames: Frames, rounds: int) -> pl.Series:
    """Runs in which two calls or more came round so often, each with one result."""
    blocked = frames.rows("kind = 'tool' AND rejected = 'blocked'", [])["run_key"].unique()
    often = recurring(frames.tool_calls, _TOKEN, rounds)
    calls = frames.tool_calls.filter(pl.col("run_key").is_in(often.implode())).group_by("run_key", *_TOKEN).len()
    several = calls.filter(pl.col("len") >= rounds).group_by("run_key").len().filter(pl.col("len") > 1)
    return pl.concat([several["run_key"], blocked]).unique()


def in_sequence(frames: Frames, story: pl.DataFrame) -> pl.DataFrame:
    """The calls of which a cycle can consist, in order, with `part` (a new one where a cycle cannot go on) and
    `changed`: whether the same call gave another result when it was next asked, with nothing done in between.

    A call that merely waits, or was blocked before it ever ran, is no part of the sequence and does not end it. A call
    that failed, or is not known whole, ends it; so does a word of the user. Twice the same in one turn is once.
    """
    spoken = frames.questions(story["run_key"].unique()).with_columns(spoken=pl.int_range(1, pl.len() + 1))
    idle = (pl.col("effect") == Effect.WAITS) | (pl.col("blocked") & pl.col("failed"))
    whole = ~pl.col("failed") & pl.all_horizontal(pl.col(_TOKEN).is_not_null())
    later = (pl.col("events") == pl.col("events").shift(-1)) & (pl.col("result_key") != pl.col("result_key").shift(-1))
    next_call = {f"next_{name}": pl.col(name).shift(-1).over(CALL) for name in ("step", "turn")}
    return (
        story.filter(~idle)
        .join_asof(spoken, on="step", by="run_key", check_sortedness=False)
        .with_columns(breaks=(~whole).cum_sum() + pl.col("spoken").fill_null(0))
        .filter(whole)
        .with_columns(changed=later.over(CALL).fill_null(False), **next_call)
        .unique(["run_key", "turn", *_TOKEN], keep="first", maintain_order=True)
        .with_columns(part=pl.struct("run_key", "breaks").rle_id())
    )


def described(found: pl.DataFrame, sequence: pl.DataFrame, params: Loops) -> pl.DataFrame:
    """`found` with what the findings say of each stretch, without those that were waiting for an answer and got it."""
    calls = (
        found.with_row_index("cycle")
        .with_columns(place=pl.int_ranges("first", pl.col("last") + 1))
        .explode("place")
        .join(sequence.with_row_index("place").with_columns(pl.col("place").cast(pl.Int64)), on="place")
        .sort("cycle", "place")
    )
    turn, period = pl.col("turn"), pl.col("period").first()
    soon = (pl.col("next_step") > pl.col("step").last()) & (pl.col("next_turn") - turn <= params.same_call_gap_turns)
    return (
        calls.group_by("cycle", maintain_order=True)
        .agg(
            pl.col("run_key").first(),
            period.alias("calls_per_round"),
            rounds=pl.len() // period,
            tools=pl.col("tool_name").head(period).unique(maintain_order=True),
            steps=pl.col("step"),
            blocked_calls=pl.col("blocked").sum(),
            first_turn=turn.first(),
            second_round=turn.filter(turn > turn.get(period - 1)).first(),
            last_turn=turn.last(),
            arrived=(pl.col("changed") & soon).any(),
            only_acts=(pl.col("effect") == Effect.CHANGES).all(),
        )
        .filter(~pl.col("arrived"))
        .with_columns(
            severity=pl.when(pl.col("rounds") >= params.cycle_error_repeats)
            .then(pl.lit("error"))
            .otherwise(pl.lit("warning")),
            confidence=pl.when("only_acts").then(0.75).otherwise(0.95),
            useless_turns=turns("second_round", "last_turn"),
        )
    )


def message(facts: Mapping[str, Any]) -> str:
    """`a` and `b` were called in turn ..."""
    names = listed(facts["tools"])
    who = f"{names} were called in turn" if len(facts["tools"]) > 1 else f"{names} was called with arguments in turn"
    kept = f"; a guard refused {plural(facts['blocked_calls'], 'call')} of these" if facts["blocked_calls"] else ""
    return f"{who}, with the same results each time, for {plural(facts['rounds'], 'round')} {between(facts)}{kept}."


def sight(frames: Frames, _: Policy) -> Sight:
    """Tool calls whose arguments and result are known, or that failed: a failure ends a cycle."""
    known = pl.col("failed") | pl.all_horizontal(pl.col(_TOKEN).is_not_null())
    return seen(frames.tool_calls, known)


DETECTOR = Detector(
    slug="call_cycle",
    failure_mode="infinite loops",
    title="Calls that go round and round",
    finds="Two or more calls followed each other in the same order, with the same arguments and the same results, "
    "for several rounds.",
    matters="Each round costs as many turns as it has calls and ends where it began. Such loops hide from any check "
    "that only compares a call with the one before it.",
    wrong="Two checks taken in turn until somebody outside acts look like a cycle until an answer changes; where one "
    "does, with nothing done in between, it was waiting and is not reported. Where every call of the round acts and "
    "answers no more than “ok” (clicking, scrolling), the rounds may have had effects that no result shows; "
    "confidence is lower then. A failed call ends a cycle, so a round with a failure in it is left to "
    "`error_cascade`.",
    advice="Tell the model after `loops.cycle_repeats` rounds that another one will bring nothing new, and refuse "
    "the calls from then on. Look for two instructions that contradict each other: they send an agent back and forth.",
    params="loops",
    evidence={
        "tools": "Tools of one round, in order, each once.",
        "calls_per_round": "Calls that one round consists of.",
        "rounds": "Whole rounds.",
        "blocked_calls": "Calls among these that a guard blocked: they never ran.",
        "arguments": "Arguments of the first call, the first 300 characters.",
        "result": "Its result, the first 300 characters.",
    },
    reads={"tool_calls": ("call_key", "result_key", "failed")},
    message=message,
    sight=sight,
    unseen="arguments or results of tool calls were not recorded",
    find=find,
)
