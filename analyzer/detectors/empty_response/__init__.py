"""`empty_response`: the model answers nothing, several times in a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from analyzer.detectors.detector import Detector, Sight, between, plural, seen
from analyzer.detectors.empty_response.empty import answers
from analyzer.frames import Frames
from instrument.policy import Policy


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one row of answers with neither words nor tool calls, and nothing said by the user in between."""
    least = policy.stuck.empty_answers
    silent = frames.model_calls.filter(
        pl.col("output_key").is_null(), pl.col("output_chars").is_not_null(), pl.col("requested_calls") == 0
    )
    runs = silent["run_key"].value_counts().filter(pl.col("count") >= least)["run_key"].sort()
    if runs.is_empty():
        return pl.DataFrame()
    spoken = frames.questions(runs).with_columns(spoken=pl.int_range(1, pl.len() + 1).over("run_key"))
    empty, turn = pl.col("empty"), pl.col("turn")
    return (
        answers(frames, runs)
        .join_asof(spoken, on="step", by="run_key", check_sortedness=False)
        .with_columns(pl.col("spoken").fill_null(0))
        .with_columns(said=(~empty).cast(pl.Int32).cum_sum().over("run_key"))
        .filter(empty)
        .group_by("run_key", "said", "spoken", maintain_order=True)
        .agg(
            steps=pl.col("step"),
            answers=pl.len(),
            first_turn=turn.first(),
            last_turn=turn.last(),
            useless_turns=turn.cast(pl.Int32),
        )
        .filter(pl.col("answers") >= least)
        .with_columns(severity=pl.lit("warning"), confidence=pl.lit(0.9))
    )


def message(facts: Mapping[str, Any]) -> str:
    """The model gave 3 empty answers in a row ..."""
    return f"The model gave {plural(facts['answers'], 'empty answer')} in a row {between(facts)}: no words and no tool call."


def sight(frames: Frames, _: Policy) -> Sight:
    """Model calls whose answer was recorded: its words, that it had none but asked for tools, or that it failed."""
    return seen(
        frames.model_calls, pl.col("output_chars").is_not_null() | (pl.col("requested_calls") > 0) | pl.col("failed")
    )


DETECTOR = Detector(
    slug="empty_response",
    failure_mode="stuck states",
    title="Nothing answered",
    finds="The model gave several answers in a row that held neither words nor a tool call; thinking alone is empty, a "
    "refusal is not.",
    matters="The loop asks again with nothing new and is answered nothing again: it pays for the whole context each time.",
    wrong="A model that has done everything may rightly say nothing more, and a loop that asks once too often gets a "
    "second empty answer. An answer that was recorded without its words is told by its output tokens: what was "
    "billed more than a few and shows no thinking is not taken for empty.",
    advice="After an empty answer say what is missing; end the run after `stuck.empty_answers` of them. Do not send "
    "empty text back, and do not put words for the user after a tool's result: both teach the model to end its "
    "turn.",
    params="stuck",
    evidence={"answers": "Empty answers in a row."},
    reads={"model_calls": ("output_key", "output_chars", "requested_calls", "failed")},
    message=message,
    sight=sight,
    unseen="what the model answered was not recorded",
    find=find,
)
