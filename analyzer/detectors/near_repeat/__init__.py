"""`near_repeat`: the same question in other words, and nothing new learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.changes import Effect
from analyzer.detectors.detector import Detector, Sight, between, plural, seen, turns
from analyzer.detectors.near_repeat.batches import batches
from analyzer.detectors.stories import stories
from analyzer.frames import Frames, recurring
from instrument.policy import Loops, Policy

_QUESTION: Final = ("run_key", "loose_call_key")


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one stretch of a run in which one question, in several wordings, kept giving one result while nothing
    had happened.
    """
    params = policy.loops
    runs = suspects(frames, params)
    if runs.is_empty():
        return pl.DataFrame()
    found = stretches(questions(frames, runs), params)
    return without_batches(frames, found).with_columns(
        severity=pl.when(pl.col("repeats") >= params.near_error_repeats)
        .then(pl.lit("error"))
        .otherwise(pl.lit("warning")),
        useless_turns=turns("second_turn", "last_turn"),
    )


def suspects(frames: Frames, params: Loops) -> pl.Series:
    """Runs in which one question had one answer so often, and was asked in more than one wording."""
    answer = ("loose_call_key", "result_key")
    often = recurring(frames.tool_calls, answer, params.near_repeats)
    calls = frames.tool_calls.filter(pl.col("run_key").is_in(often.implode())).drop_nulls(answer)
    varied = pl.col("call_key").min() != pl.col("call_key").max()
    asked = calls.group_by("run_key", *answer).agg(asked=pl.len(), varied=varied)
    return asked.filter("varied", pl.col("asked") >= params.near_repeats)["run_key"].unique()


def questions(frames: Frames, runs: pl.Series) -> pl.DataFrame:
    """One row is one call of the `runs` that looks at something, as in `stories`, with `loose_call_key`. A call that a
    guard blocked has the result that the question had when it was last answered.
    """
    loose = frames.tool_calls.select("run_key", "step", "loose_call_key").filter(
        pl.col("run_key").is_in(runs.implode())
    )
    answer = pl.when(~pl.col("blocked")).then("result_key").forward_fill().over(_QUESTION)
    return (
        stories(frames, runs)
        .join(loose, on=["run_key", "step"], how="left", maintain_order="left")
        .filter(
            pl.col("blocked") | ~pl.col("failed"),
            pl.col("effect") == Effect.LOOKS,
            pl.all_horizontal(pl.col("call_key", "loose_call_key").is_not_null()),
        )
        .with_columns(result_key=answer)
        .filter(pl.col("result_key").is_not_null())
    )


def stretches(asked: pl.DataFrame, params: Loops) -> pl.DataFrame:
    """Stretches of `asked` in which one question had one answer, in several wordings, often enough, and which did not
    end with another answer.
    """
    result, turn = pl.col("result_key"), pl.col("turn")
    same_story = pl.col("events") == pl.col("events").shift()
    soon = turn - turn.shift() <= params.same_call_gap_turns
    return (
        asked.with_columns(
            starts=~((result == result.shift()) & same_story & soon).over(_QUESTION).fill_null(False),
            # Polling whose answer changed in the end, with nothing done in between, was waiting.
            arrived=((result != result.shift()) & same_story & soon).shift(-1).over(_QUESTION).fill_null(False),
        )
        .with_columns(stretch=pl.col("starts").cum_sum().over(_QUESTION))
        .group_by(*_QUESTION, "stretch", maintain_order=True)
        .agg(
            steps=pl.col("step"),
            repeats=turn.n_unique(),
            wordings=pl.col("call_key").n_unique(),
            most=pl.col("call_key").unique_counts().max(),
            blocked_calls=pl.col("blocked").sum(),
            first_turn=turn.first(),
            second_turn=turn.filter(turn > turn.first()).first(),
            last_turn=turn.last(),
            arrived=pl.col("arrived").last(),
        )
        .filter(
            pl.col("repeats") >= params.near_repeats,
            pl.col("wordings") > 1,
            # Where most of it is one call to the letter, that is `repeated_call`.
            (pl.col("most") < params.same_call_repeats) | (2 * pl.col("most") <= pl.col("steps").list.len()),
            ~pl.col("arrived"),
        )
    )


def without_batches(frames: Frames, found: pl.DataFrame) -> pl.DataFrame:
    """`found` without the stretches that went through a list of ids; `confidence` is lower where nobody can tell."""
    numbered = found.with_row_index("number")
    calls = (
        numbered.select("number", "run_key", step="steps").explode("step").with_columns(pl.col("step").cast(pl.Int32))
    )
    told = batches(frames.said(calls, ["arguments"]))
    return (
        numbered.join(told, on="number", how="left", maintain_order="left")
        .filter(~pl.col("batch").fill_null(False))
        .with_columns(confidence=pl.when(pl.col("batch").is_null()).then(0.75).when("dated").then(0.75).otherwise(0.9))
    )


def message(facts: Mapping[str, Any]) -> str:
    """`search` was asked nearly the same 6 times ..."""
    kept = f"; a guard refused it {plural(facts['blocked_calls'], 'time')}" if facts["blocked_calls"] else ""
    return (
        f"`{facts['tool_name']}` was asked nearly the same, in {facts['wordings']} wordings, {plural(facts['repeats'], 'time')} "
        f"{between(facts)} and gave the same result each time{kept}."
    )


def sight(frames: Frames, _: Policy) -> Sight:
    """Tool calls whose arguments and result are known, or that failed."""
    known = pl.col("failed") | (pl.col("call_key").is_not_null() & pl.col("result_key").is_not_null())
    return seen(frames.tool_calls, known)


DETECTOR = Detector(
    slug="near_repeat",
    failure_mode="infinite loops",
    title="The same question in other words",
    finds="One tool was asked the same question in several turns with another nonce, date, page number or order of "
    "words, and gave the same result each time, while nothing happened that could have changed it.",
    matters="A guard against identical calls never sees this loop, and it costs the same: a whole request for each "
    "wording.",
    wrong="What is asked for and what is passing is told by the names and forms of arguments: a list that is worked "
    "off day by day or UUID by UUID is one question to the keys, and is left out where such a value stands alone in "
    "an argument that is not named for time or chance. Where arguments were not recorded (hashed content) nobody can "
    "tell, and confidence is lower; so it is where dates within words differ. Only calls that look are judged, by the "
    "name of the tool. Polling whose answer changes in the end is left out.",
    advice="Leave nonces, time stamps and retries out of the tool's arguments, and answer a question that was "
    "answered before with a note that the result is the same. After `loops.near_repeats` wordings refuse it.",
    params="loops",
    evidence={
        "tool_name": "Tool that was asked.",
        "repeats": "Turns in which it was asked, those in which a guard blocked it included.",
        "wordings": "Different arguments among these.",
        "blocked_calls": "Calls among these that a guard blocked: they never ran.",
        "arguments": "Arguments of the first call, the first 300 characters.",
        "result": "Its result, the first 300 characters.",
    },
    reads={"tool_calls": ("call_key", "loose_call_key", "result_key", "failed")},
    message=message,
    sight=sight,
    unseen="arguments or results of tool calls were not recorded",
    find=find,
)
