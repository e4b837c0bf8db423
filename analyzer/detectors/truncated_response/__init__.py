"""`truncated_response`: an answer ended at its token limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.detector import Detector, Sight, between, plural
from analyzer.frames import Frames
from instrument.policy import Policy

CUT: Final = "coalesce(lower(finish_reason) IN ('max_tokens', 'length', 'max_output_tokens', 'token_limit', 'model_length'), false)"
"""As SQL: the model stopped at the limit on its output. Words of Anthropic, OpenAI, Google, Vercel, Mistral."""
_ON_PURPOSE_TOKENS: Final = 16
"""Who allows no more output than this wants a label, or warms a cache; a cut answer of that length is no accident."""


def find(frames: Frames, _: Policy) -> pl.DataFrame:
    """One row is the answers of one run that were cut, those that were continued apart from those that were not."""
    runs = frames.rows(f"kind = 'model' AND {CUT}", [])["run_key"].unique()
    if runs.is_empty():
        return pl.DataFrame()
    turn, cut_call = pl.col("turn"), pl.col("cut_call")
    return (
        answers(frames, runs)
        .filter("cut", pl.min_horizontal("output_tokens", "max_tokens").fill_null(2**31) > _ON_PURPOSE_TOKENS)
        .with_columns(continued=pl.col("answered_later") & ~cut_call)
        .group_by("run_key", "continued", maintain_order=True)
        .agg(
            pl.col("max_tokens", "output_tokens").max(),
            tool_name=pl.col("cut_tool").drop_nulls().first(),
            steps=pl.col("step"),
            cut_answers=pl.len(),
            cut_calls=cut_call.sum(),
            first_turn=turn.first(),
            last_turn=turn.last(),
        )
        .with_columns(
            severity=pl.when("continued").then(pl.lit("info")).otherwise(pl.lit("warning")),
            # Of unknown length, it may have been cut on purpose.
            confidence=pl.when(pl.max_horizontal("output_tokens", "max_tokens").is_null()).then(0.7).otherwise(0.95),
        )
    )


def answers(frames: Frames, runs: pl.Series) -> pl.DataFrame:
    """One row is one answer of the `runs`, with `answered_later` and `cut_call`: its last tool call, cut off where it
    was, ran all the same."""
    columns = [
        "kind: kind::VARCHAR",
        f"cut: kind = 'model' AND {CUT}",
        "answered: kind = 'model' AND NOT coalesce(failed, false) AND end_ns IS NOT NULL",
        "output_tokens",
        "max_tokens",
        "tool_name",
        "worked: rejected IS NULL AND NOT coalesce(failed, false) AND (result_key IS NOT NULL OR NOT inferred)",
    ]
    rows = frames.rows("kind IN ('model', 'tool')", columns, runs)
    calls = (
        rows.filter(kind="tool")
        .group_by("run_key", "turn", maintain_order=True)
        .agg(cut_tool=pl.col("tool_name").last(), ran=pl.col("worked").last())
    )
    step = pl.col("step")
    return (
        rows.filter(kind="model")
        .drop("tool_name", "worked")
        .with_columns(answered_later=(step < step.filter("answered").last().over("run_key")).fill_null(False))
        .join(calls, on=["run_key", "turn"], how="left", maintain_order="left")
        .with_columns(cut_call=pl.col("cut") & pl.col("ran").fill_null(False))
        .with_columns(cut_tool=pl.when("cut_call").then("cut_tool"))
    )


def message(facts: Mapping[str, Any]) -> str:
    """The last answer ended at its limit of 4,096 tokens ..."""
    count, limit = facts["cut_answers"], facts["max_tokens"]
    of = f" of {limit:,} tokens" if limit else " of tokens"
    if facts["continued"]:
        return f"{plural(count, 'answer')} ended at the limit{of} {between(facts)}; the run went on from there."
    if facts["cut_calls"]:
        return f"A call of `{facts['tool_name']}` was cut off at the limit{of} {between(facts)}, and was run as far as it went."
    return f"The last answer ended at its limit{of} {between(facts)}, and nobody continued it."


def sight(frames: Frames, _: Policy) -> Sight:
    """Model calls that say why the model stopped, or that failed; of those that were cut, also at how many tokens: a few are on purpose."""
    uncounted = f"({CUT}) AND output_tokens IS NULL AND coalesce(max_tokens > {_ON_PURPOSE_TOKENS}, true)"
    silent = frames.rows(
        f"kind = 'model' AND ((finish_reason IS NULL AND NOT coalesce(failed, false)) OR ({uncounted}))", []
    )
    return Sight(len(frames.model_calls), len(frames.model_calls) - len(silent))


DETECTOR = Detector(
    slug="truncated_response",
    failure_mode="stuck states",
    title="An answer cut at its token limit",
    finds="The model's answer ended at `max_tokens` and nobody continued it: it was the run's last one, or it was a "
    "tool call, which then ran with half its arguments. Where the run went on, it is only mentioned.",
    matters="The user reads half an answer, or half a file is written, and nothing says so: the call counts as a success.",
    wrong="An answer can be cut on purpose, to have its first words alone; up to 16 tokens are taken for that. A run "
    "that went on after the cut is taken to have continued it, though it may have started anew. Parallel calls of"
    " one answer end in any order, so which of them was the cut one is a guess.",
    advice="Raise `max_tokens`, or continue an answer that stopped at it, as the guarded runner does "
    "(`stuck.continuations`). Never run a tool call of an answer that was cut.",
    params="stuck",
    evidence={
        "cut_answers": "Answers that ended at the limit.",
        "cut_calls": "Of these, ended within a tool call that was run.",
        "tool_name": "The tool of the first of these calls.",
        "max_tokens": "The limit, in tokens; null where it was not recorded.",
        "output_tokens": "Tokens of the longest of them.",
        "continued": "Whether the run went on after them.",
    },
    reads={"model_calls": ()},
    message=message,
    sight=sight,
    unseen="why the model stopped, or after how many tokens, was not recorded",
    find=find,
)
