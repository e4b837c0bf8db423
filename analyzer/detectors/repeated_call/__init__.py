"""`repeated_call`: the same call, asked again and again, with the same answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.changes import Effect
from analyzer.detectors.detector import Detector, Sight, between, plural, seen, turns
from analyzer.detectors.stories import CALL, stories
from analyzer.detectors.written import with_words
from analyzer.frames import Frames, recurring
from instrument.policy import Policy

_ODD: Final = pl.lit(0x9E3779B97F4A7C15, pl.UInt64)


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one stretch of a run in which one call kept giving one result, and nothing had happened that could have changed it."""
    params = policy.loops
    # A blocked call's result is the runner's words, new each time: which result it repeats shows in the story.
    blocked = frames.rows("kind = 'tool' AND rejected = 'blocked'", [])["run_key"]
    often = recurring(frames.tool_calls, ("call_key", "result_key"), params.same_call_repeats)
    very_often = recurring(frames.tool_calls, ("call_key",), params.same_call_error_repeats)
    story = stories(frames, pl.concat([often, very_often, blocked.unique()]).unique())
    story = with_words(frames, story, params.same_call_error_repeats).with_columns(
        answer="result_key", result_key=pl.coalesce("words_key", "result_key")
    )
    result, turn = pl.col("result_key"), pl.col("turn")
    # Clicking "next" answers "ok" each time; whether it gets anywhere shows in what other calls then see.
    happened = pl.col("events") + pl.when(effect=Effect.CHANGES).then("news").otherwise(0)
    stretches = (
        story.filter(
            ~pl.col("failed"), pl.col("call_key").is_not_null(), result.is_not_null(), pl.col("effect") != Effect.WAITS
        )
        .filter(pl.len().over(CALL) >= params.same_call_repeats)
        .with_columns(
            starts=(result != result.shift()).over(CALL).fill_null(True)
            | (happened.diff() != 0).over(CALL)
            | (turn.diff() > params.same_call_gap_turns).over(CALL),
            # Polling whose answer changed in the end, with nothing done in between, was waiting.
            arrived=(
                (result != result.shift(-1))
                & (happened == happened.shift(-1))
                & (turn.shift(-1) - turn <= params.same_call_gap_turns)
            )
            .over(CALL)
            .fill_null(False),
        )
        .with_columns(stretch=pl.col("starts").cum_sum().over(CALL))
        .group_by(*CALL, "stretch", maintain_order=True)
        .agg(
            result.first(),
            answers=pl.col("answer").n_unique(),
            steps=pl.col("step"),
            repeats=turn.n_unique(),
            blocked_calls=pl.col("blocked").sum(),
            first_turn=turn.first(),
            second_turn=turn.filter(turn > turn.first()).first(),
            last_turn=turn.last(),
            arrived=pl.col("arrived").last(),
        )
        .filter(
            pl.col("repeats")
            >= pl.when(pl.col("answers") > 1).then(params.same_call_error_repeats).otherwise(params.same_call_repeats),
            ~pl.col("arrived"),
        )
    )
    found = alone(stretches, story.filter(pl.col("effect") != Effect.WAITS), params.cycle_calls)
    return interleaved(found).with_columns(
        severity=pl.when(pl.col("explained_by").is_not_null())
        .then(pl.lit("info"))
        .when(pl.col("repeats") >= params.same_call_error_repeats)
        .then(pl.lit("error"))
        .otherwise(pl.lit("warning")),
        confidence=pl.when(pl.col("other_calls") == 0).then(0.97).otherwise(0.85),
        useless_turns=turns("second_turn", "last_turn"),
    )


def alone(stretches: pl.DataFrame, story: pl.DataFrame, longest_cycle: int) -> pl.DataFrame:
    """Those stretches that are no part of a cycle, with `other_calls`, the number of other calls in between.

    A, B, A, B, ... is one pattern of two calls, not two patterns: where all calls from first to last repeat with a
    period of two calls or more, a cycle is what happened.
    """
    # By place in the story and not by run: a long run has many stretches, and each is short.
    run = pl.col("run_key").cast(pl.Int64) * 2**32
    places = story.select(run + pl.col("step")).to_series()
    first = places.search_sorted(stretches.select(run + pl.col("steps").list.first()).to_series(), "left")
    after = places.search_sorted(stretches.select(run + pl.col("steps").list.last()).to_series(), "right")
    within = (
        stretches.select(own="call_key", row=pl.int_ranges(first, after)).with_row_index("stretch_key").explode("row")
    )
    # Two keys as one number; a call that is not known whole equals none.
    # A failure ends a cycle (`call_cycle`), so a call that came round with one is no part of any.
    whole = pl.when(~pl.col("failed")).then(pl.col("call_key") * _ODD + pl.col("result_key"))
    calls = story.select("step", "turn", "call_key", same=whole)
    within = (
        within.hstack(calls[within["row"]])
        # Parallel calls of one turn come in any order, and twice the same is once.
        .unique(["stretch_key", "turn", "same"], keep="first", maintain_order=True)
    )
    same, place = pl.col("same"), pl.int_range(pl.len()).over("stretch_key")
    periods = range(1, longest_cycle + 1)
    comes_round = [pl.col(f"every_{p}").all() & (pl.len() > 2 * p) for p in periods]
    shape = within.with_columns(
        ((same == same.shift(p)).fill_null(False) | (place < p)).alias(f"every_{p}") for p in periods
    )
    shape = shape.group_by("stretch_key").agg(
        cycle=pl.any_horizontal(comes_round[1:]) & ~comes_round[0],
        other_calls=(pl.col("call_key").ne_missing(pl.col("own"))).sum(),
    )
    return stretches.with_row_index("stretch_key").join(shape, on="stretch_key").filter(~pl.col("cycle"))


def interleaved(found: pl.DataFrame) -> pl.DataFrame:
    """`found` with `explained_by`: of calls that came again while others of them did, all but the one that came most often are its.

    A run that goes round without an order (A, B, C, B, A ...) is one failure, whatever the number of calls in it.
    """
    first, last = pl.col("steps").list.first(), pl.col("steps").list.last()
    after_all = first > last.cum_max().shift().over("run_key")
    together = (
        found.sort("run_key", first, last)
        .with_columns(round_about=after_all.fill_null(True).cast(pl.Int32).cum_sum().over("run_key"))
        .sort("run_key", "round_about", "repeats", first, descending=[False, False, True, False])
    )
    head = pl.int_range(pl.len()).over("run_key", "round_about") == 0
    return together.with_columns(explained_by=pl.when(~head).then(pl.lit("repeated_call"))).sort("run_key", first, last)


def message(facts: Mapping[str, Any]) -> str:
    """`search` was called with the same arguments in 6 turns ..."""
    others = f", with {plural(facts['other_calls'], 'other call')} in between" if facts["other_calls"] else ""
    often = f"{plural(facts['repeats'], 'time')} {between(facts)}"
    same = "the same result" if facts["answers"] == 1 else "a result of the same words, numbers aside,"
    ran, kept = ("", "")
    why = facts["explained_by"]
    told = f" (part of what another `{why}` tells)" if why == DETECTOR.slug else f" (`{why}` says why)" if why else ""
    if facts["blocked_calls"]:
        ran, kept = " it ran", f"; a guard refused it {plural(facts['blocked_calls'], 'time')}"
    return (
        f"`{facts['tool_name']}` was called with the same arguments {often} and gave {same} each time{ran}"
        f"{others}{kept}{told}."
    )


def sight(frames: Frames, policy: Policy) -> Sight:
    """Tool calls whose arguments and result are known, or that failed: those are another detector's."""
    known = pl.col("call_key").is_not_null() & pl.col("result_key").is_not_null()
    doubtful = _perhaps_told_anew(frames, policy)
    return seen(frames.tool_calls, pl.col("failed") | (known & ~pl.col("run_key").is_in(doubtful.implode())))


def _perhaps_told_anew(frames: Frames, policy: Policy) -> pl.Series:
    """Runs with a call that repeats and several prompts known by their keys only: the user's words, or one prompt put together again."""
    prompts = frames.rows("kind = 'model' AND content_state <> 'full' AND asked_key IS NOT NULL", ["asked_key"])
    several = prompts.filter(pl.col("asked_key").n_unique().over("run_key") > 1)["run_key"].unique()
    often = recurring(frames.tool_calls, ("call_key", "result_key"), policy.loops.same_call_repeats)
    return several.filter(several.is_in(often.implode()))


DETECTOR = Detector(
    slug="repeated_call",
    failure_mode="infinite loops",
    title="The same call, again and again",
    finds="One tool was called with the same arguments in several turns and gave the same result each time, while "
    "nothing happened that could have changed it.",
    matters="Every repeat pays for the whole context once more and teaches the model nothing. Recorded loops go on for "
    "60 to 100 identical calls.",
    wrong="A tool can depend on something that no call shows: a check that waits for a person or another process looks "
    "like a loop until its answer changes. "
    "What changes the world is judged by the names of tools and by shell commands, so a tool that changes things "
    "under a harmless name (`apply_fix.py`) makes "
    "the check after it look idle. Calls that merely wait (`sleep`) are left out. A new question of the user is a new reason to ask; "
    "where each request "
    "is one prompt put together anew, it counts as the same question as long as it says every word of the one before, numbers aside, and a "
    "prompt that drops some looks like a new question. A call that is part of a cycle, or of several that come again without an order, "
    "is only mentioned beside that finding. A user who says the very same words again is not noticed. Where one text is written again and "
    "again, results of the same words count as the same, whatever their numbers, from `loops.same_call_error_repeats` on. "
    "A run that a guard stopped is reported too: the loop was there, and what it cost until then.",
    advice="In the agent's loop, answer a repeated call with a note that its result will be the same, and refuse it after "
    "`loops.same_call_repeats` repeats. If the tool is a poll, let it wait inside the call.",
    params="loops",
    evidence={
        "tool_name": "Tool that was called.",
        "repeats": "Turns in which the call was asked for, those in which a guard blocked it included.",
        "blocked_calls": "Calls among these that a guard blocked: they never ran.",
        "answers": "How many different results these were; more than one where one text was written again and again.",
        "other_calls": "Other calls between the first and the last repeat.",
        "explained_by": "Detector that tells of the same going round, in a finding as severe; null where none does.",
        "arguments": "Its arguments, the first 300 characters.",
        "result": "Its result, the first 300 characters.",
    },
    reads={"tool_calls": ("call_key", "result_key", "failed")},
    message=message,
    sight=sight,
    unseen="arguments or results of tool calls were not recorded",
    find=find,
)
