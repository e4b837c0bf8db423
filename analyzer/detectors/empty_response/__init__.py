"""`empty_response`: the model answers nothing, several times in a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.detector import Detector, Sight, between, plural, seen
from analyzer.frames import Frames
from instrument.policy import Policy

_OTHERWISE: Final = (
    "('refusal', 'content_filter', 'safety', 'pause_turn', 'compaction', 'tool_use', 'tool_call', 'tool_calls', 'tool-calls', "
    "'function_call', 'max_tokens', 'length', 'max_output_tokens', 'model_context_window_exceeded', 'error')"
)
"""Reasons to stop that explain why there are no words, or that are another detector's."""
_EMPTY: Final = f"""kind = 'model' AND output_chars IS NOT NULL AND output_key IS NULL AND requested_calls = 0
    AND NOT coalesce(failed, false) AND coalesce(lower(finish_reason), '') NOT IN {_OTHERWISE}"""
# Images, files and what tools on the server found are answers too.
_SHOWN: Final = """
SELECT DISTINCT w.run_key, w.step FROM wanted w JOIN contents c ON c.span_key = w.span_key, unnest(c.output_keys) AS k(message_key)
    JOIN messages m ON m.message_key = k.message_key
WHERE len(list_filter(json_extract_string(m.body, '$.parts[*].type'), lambda t: t NOT IN ('text', 'reasoning', 'thinking'))) > 0
"""


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one row of answers with neither words nor tool calls, and nothing said by the user in between."""
    least = policy.stuck.empty_answers
    silent = frames.model_calls.filter(
        pl.col("loose_output_key").is_null(), pl.col("output_chars").is_not_null(), pl.col("requested_calls") == 0
    )
    runs = silent["run_key"].value_counts().filter(pl.col("count") >= least)["run_key"].sort()
    if runs.is_empty():
        return pl.DataFrame()
    answers = frames.rows(
        "kind = 'model' AND NOT coalesce(failed, false) AND end_ns IS NOT NULL", ["span_key", f"empty: {_EMPTY}"], runs
    )
    shown = frames.ask(_SHOWN, wanted=answers.filter("empty").select("run_key", "step", "span_key"))
    spoken = frames.questions(runs).with_columns(spoken=pl.int_range(1, pl.len() + 1).over("run_key"))
    empty, turn = pl.col("empty"), pl.col("turn")
    return (
        answers.join(shown.with_columns(shown=True), on=["run_key", "step"], how="left", maintain_order="left")
        .join_asof(spoken, on="step", by="run_key", check_sortedness=False)
        .with_columns(empty=empty & pl.col("shown").is_null(), spoken=pl.col("spoken").fill_null(0))
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
    finds="The model gave several answers in a row that held neither words nor a tool call; thinking alone is empty, a refusal is not.",
    matters="The loop asks again with nothing new and is answered nothing again: it pays for the whole context each time.",
    wrong="A model that has done everything may rightly say nothing more, and a loop that asks once too often gets a second empty answer. "
    "Where what the model showed was recorded as text alone, an answer of images looks empty.",
    advice="After an empty answer say what is missing; end the run after `stuck.empty_answers` of them. Do not send empty text back, "
    "and do not put words for the user after a tool's result: both teach the model to end its turn.",
    params="stuck",
    evidence={"answers": "Empty answers in a row."},
    reads={"model_calls": ("loose_output_key", "output_chars", "requested_calls", "failed")},
    message=message,
    sight=sight,
    unseen="what the model answered was not recorded",
    find=find,
)
