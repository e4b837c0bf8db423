"""`null_input`: a tool is called with nothing but empty values, several times in a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import polars as pl

from analyzer.detectors.detector import Detector, Sight, between, plural
from analyzer.frames import Frames
from instrument.policy import Policy
from instrument.runner.validation import is_null_input

_UNREAD: Final = (
    "kind = 'tool' AND (call_key IS NULL OR content_state IS NULL OR content_state NOT IN ('full', 'clipped'))"
)
_COUNTED: Final = "rejected IS NULL OR rejected NOT IN ('unknown_tool', 'invalid_arguments')"
"""As SQL: what other checks of the input reject is theirs, as in `instrument.guards.stuck.NullInput`."""


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one tool of one run that was called with nothing but empty values in turns between which no call had
    real input."""
    params = policy.stuck
    runs = suspects(frames)
    if runs.is_empty():
        return pl.DataFrame()
    calls = frames.calls(["span_key", "tool_name", "call_key"], runs, _COUNTED)
    blank, turn = pl.col("blank"), pl.col("turn")
    return (
        blanks(frames, calls)
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


def suspects(frames: Frames) -> pl.Series:
    """Runs in which a call with nothing but empty values was made and made again, at once or after one other call.

    Only what is made again is read: of ten million calls few hundred. A row of empty calls in which each differs from the two before it
    goes unseen.
    """
    key, run = pl.col("call_key"), pl.col("run_key")
    again = pl.any_horizontal((key == key.shift(n)) & (run == run.shift(n)) for n in (1, 2))
    made = frames.tool_calls.filter(again.fill_null(False)).select("run_key", "step", "call_key")
    samples = blanks(frames, made.unique("call_key", keep="first", maintain_order=True))
    keys = samples.filter("blank")["call_key"]
    return made.filter(pl.col("call_key").is_in(keys.implode()))["run_key"].unique().sort()


def blanks(frames: Frames, calls: pl.DataFrame) -> pl.DataFrame:
    """`calls` with `blank`: there were arguments, and every one of them is empty. Each distinct call is read once."""
    once = frames.said(calls.drop_nulls("call_key").unique("call_key", keep="first"), ["arguments"])
    # What is longer than this holds more than names and empty values.
    short = once.filter(pl.col("arguments").str.len_chars() <= 2_000)
    keys = [key for key, text in short.select("call_key", "arguments").iter_rows() if _is_blank(text)]
    return calls.with_columns(
        blank=pl.col("call_key").is_in(pl.Series(keys, dtype=pl.UInt64).implode()).fill_null(False)
    )


def _is_blank(arguments: str) -> bool:
    try:
        return is_null_input(msgspec.json.decode(arguments))
    except msgspec.DecodeError:  # arguments that are no JSON are words, and words are input
        return False


def message(facts: Mapping[str, Any]) -> str:
    """`search` was called with nothing but empty values 4 times ..."""
    return (
        f"`{facts['tool_name']}` was called with nothing but empty values in {plural(facts['in_turns'], 'turn')} in a row, "
        f"{between(facts)}."
    )


def sight(frames: Frames, _: Policy) -> Sight:
    """Tool calls whose arguments can be read."""
    return Sight(len(frames.tool_calls), len(frames.tool_calls) - len(frames.rows(_UNREAD, [])))


DETECTOR = Detector(
    slug="null_input",
    failure_mode="stuck states",
    title="Called with nothing",
    finds="A tool was called in several turns in a row with arguments every one of which was empty: null, an empty "
    "text, list or map.",
    matters="The model has lost what it was going to pass, or never had it. The tool can only fail, or answer everything "
    "at once.",
    wrong="A tool all of whose arguments are optional may be meant to be called so, as a poll for example. Calls "
    "without any argument are not counted. A row in which no call is made again within the next two goes unseen.",
    advice="Declare what is required in the tool's schema, so that an empty call is refused with what is missing, and "
    "say in the refusal which values to fill in; the guard does so after `stuck.null_input_calls` turns.",
    params="stuck",
    evidence={
        "tool_name": "Tool that was called.",
        "in_turns": "Turns in a row in which it was.",
        "calls": "Calls in these.",
        "arguments": "Arguments of the first one.",
    },
    reads={"tool_calls": ("call_key",)},
    message=message,
    sight=sight,
    unseen="arguments of tool calls were not recorded",
    find=find,
)
