"""`null_input`: a tool is called with nothing but empty values, several times in a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.detector import Detector, Sight, between, plural, seen
from analyzer.frames import Frames
from instrument.policy import Policy

_COUNTED: Final = "(rejected IS NULL OR rejected NOT IN ('unknown_tool', 'invalid_arguments'))"
"""As SQL: what other checks of the input reject is theirs, as in `instrument.guards.stuck.NullInput`."""


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one tool of one run that was called with nothing but empty values in turns between which no call had
    real input."""
    params = policy.stuck
    runs = suspects(frames, params.null_input_calls)
    if runs.is_empty():
        return pl.DataFrame()
    blank, turn = pl.col("null_input").fill_null(False), pl.col("turn")
    return (
        frames.calls(["tool_name", "null_input"], runs, _COUNTED)
        .with_columns(filled=(~blank).cast(pl.Int32).cum_sum().over("run_key"))
        .filter(blank)
        .group_by("run_key", "filled", "tool_name", maintain_order=True)
        .agg(
            steps=pl.col("step"),
            calls=pl.len(),
            in_turns=turn.n_unique(),
            first_turn=turn.first(),
            last_turn=turn.last(),
            useless_turns=turn.unique(maintain_order=True).cast(pl.Int32),
        )
        .filter(pl.col("in_turns") >= params.null_input_calls)
        .with_columns(
            severity=pl.when(pl.col("in_turns") >= params.null_input_error_calls)
            .then(pl.lit("error"))
            .otherwise(pl.lit("warning")),
            confidence=pl.lit(0.9),
        )
    )


def suspects(frames: Frames, calls: int) -> pl.Series:
    """Runs in which so many calls had nothing but empty values."""
    found = frames.rows(f"kind = 'tool' AND null_input AND {_COUNTED}", []).group_by("run_key").agg(calls=pl.len())
    return found.filter(pl.col("calls") >= calls)["run_key"].sort()


def message(facts: Mapping[str, Any]) -> str:
    """`search` was called with nothing but empty values 4 times ..."""
    return (
        f"`{facts['tool_name']}` was called with nothing but empty values in {plural(facts['in_turns'], 'turn')} in a row, "
        f"{between(facts)}."
    )


def sight(frames: Frames, _: Policy) -> Sight:
    """Tool calls of which it is known whether they were asked anything."""
    return seen(frames.tool_calls, pl.col("null_input").is_not_null())


DETECTOR = Detector(
    slug="null_input",
    failure_mode="stuck states",
    title="Called with nothing",
    finds="A tool was called in several turns in a row with arguments every one of which was empty: null, an empty "
    "text, list or map.",
    matters="The model has lost what it was going to pass, or never had it. The tool can only fail, or answer everything "
    "at once.",
    wrong="A tool all of whose arguments are optional may be meant to be called so, as a poll for example. Calls "
    "without any argument are not counted.",
    advice="Declare what is required in the tool's schema, so that an empty call is refused with what is missing, and "
    "say in the refusal which values to fill in; the guard does so after `stuck.null_input_calls` turns.",
    params="stuck",
    evidence={
        "tool_name": "Tool that was called.",
        "in_turns": "Turns in a row in which it was.",
        "calls": "Calls in these.",
        "arguments": "Arguments of the first one.",
    },
    reads={"tool_calls": ("null_input",)},
    message=message,
    sight=sight,
    unseen="arguments of tool calls were not recorded",
    find=find,
)
