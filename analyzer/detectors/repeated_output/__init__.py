"""`repeated_output`: the model says the same thing again, having learned nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.detector import Detector, Sight, between, plural, seen, turns
from analyzer.frames import Frames, recurring
from instrument.policy import Policy

_UNHEARD: Final = (
    "kind = 'model' AND content_state <> 'full' AND asked_key IS NULL AND output_chars IS NOT NULL AND coalesce(requested_calls, 0) = 0 "
    "AND NOT coalesce(failed, false)"
)
_ANSWER: Final = ("run_key", "loose_output_key")


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one stretch of answers that say the same, with no new tool result and no new word of the user in between."""
    params = policy.stuck
    long_enough = frames.model_calls.filter(pl.col("output_chars") >= params.output_chars)
    suspects = recurring(long_enough, ("loose_output_key",), params.same_output_repeats)
    if suspects.is_empty():
        return pl.DataFrame()
    return (
        answers(frames, suspects)
        .filter(pl.col("output_chars") >= params.output_chars, pl.col("loose_output_key").is_not_null())
        .with_columns(starts=(pl.col("heard").diff() != 0).over(_ANSWER).fill_null(True))
        .with_columns(stretch=pl.col("starts").cum_sum().over(_ANSWER))
        .group_by(*_ANSWER, "stretch", maintain_order=True)
        .agg(
            steps=pl.col("step"),
            repeats=pl.len(),
            identical=pl.col("output_key").n_unique() == 1,
            first_turn=pl.col("turn").first(),
            second_turn=pl.col("turn").slice(1).first(),
            last_turn=pl.col("turn").last(),
            output_chars=pl.col("output_chars").max(),
            heard_all=pl.col("input_known").all(),
        )
        .filter(pl.col("repeats") >= params.same_output_repeats)
        .with_columns(
            # Without the messages nobody knows whether the user had asked something new.
            severity=pl.when(~pl.col("heard_all"))
            .then(pl.lit("info"))
            .when(pl.col("repeats") >= params.same_output_error_repeats)
            .then(pl.lit("error"))
            .otherwise(pl.lit("warning")),
            confidence=pl.when(~pl.col("heard_all")).then(0.5).when("identical").then(0.95).otherwise(0.85),
            useless_turns=turns("second_turn", "last_turn"),
        )
    )


def answers(frames: Frames, runs: pl.Series) -> pl.DataFrame:
    """One row is one answer that asked for no tool, with `heard`: how many tool results and words of the user the model had met before it.

    An answer that asks for a tool is judged by its calls, not by the words around them.
    """
    columns = [
        "kind: kind::VARCHAR",
        "failed: coalesce(failed, false)",
        "output_key",
        "loose_output_key",
        "output_chars",
        "result_key",
    ]
    known = "input_known: asked_key IS NOT NULL OR (contents.input_keys IS NOT NULL AND content_state = 'full')"
    rows = frames.rows("kind IN ('model', 'tool')", [*columns, known], runs)
    tool = pl.col("kind") == "tool"
    # A result that was not recorded may have been new.
    new = tool & (pl.col("result_key").is_null() | pl.struct("run_key", "result_key").is_first_distinct())
    spoken = frames.questions(runs).with_columns(spoken=pl.int_range(1, pl.len() + 1).over("run_key"))
    return (
        rows.join_asof(spoken, on="step", by="run_key", check_sortedness=False)
        .with_columns(
            heard=new.cast(pl.Int32).cum_sum().over("run_key") + pl.col("spoken").fill_null(0),
            asked=tool.any().over("run_key", "turn"),
        )
        .filter(~tool, ~pl.col("asked"), ~pl.col("failed"))
    )


def message(facts: Mapping[str, Any]) -> str:
    """The model gave the same answer 4 times ..."""
    same = "the same answer" if facts["identical"] else "nearly the same answer"
    often = f"{plural(facts['repeats'], 'time')} {between(facts)}"
    return f"The model gave {same} {often}, with no new tool result and no new question in between."


def sight(frames: Frames, _: Policy) -> Sight:
    """Model calls whose answer was recorded: its words, that it had none but asked for tools, or that it failed. Of words it must also
    be known what had been asked."""
    told = seen(
        frames.model_calls, pl.col("output_chars").is_not_null() | (pl.col("requested_calls") > 0) | pl.col("failed")
    )
    return Sight(told.checked, told.known - len(frames.rows(_UNHEARD, [])))


DETECTOR = Detector(
    slug="repeated_output",
    failure_mode="stuck states",
    title="The same answer, again and again",
    finds="The model gave the same or nearly the same answer in several turns, and in between learned nothing: no new "
    "tool result, no new message of the user.",
    matters="The run is stuck: it will go on like this until a limit ends it, and every turn is paid for.",
    wrong="Answers are compared without numbers and punctuation, so a counter in an otherwise equal text goes unseen. "
    "Asking one question several times on purpose, to vote on the "
    "answers, looks the same. Where messages were not recorded, a new question of the user cannot be told from "
    "none, and the finding is only mentioned.",
    advice="Nudge once with what is missing, then stop the run after `stuck.same_output_repeats` answers. Give the model a "
    "tool to say that it is done (`task_complete`).",
    params="stuck",
    evidence={
        "repeats": "Answers that say the same.",
        "identical": "Whether they are the same to the letter; otherwise but for numbers, case and punctuation.",
        "output_chars": "Length of the longest, in characters.",
    },
    reads={"model_calls": ("loose_output_key", "output_chars", "requested_calls", "failed")},
    message=message,
    sight=sight,
    unseen="what the model answered, or what it had been asked, was not recorded",
    find=find,
)
