"""`error_cascade`: one failure after another, and nobody changes course."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.detector import Detector, Sight, between, plural, seen, turns
from analyzer.detectors.overflowed import OVERFLOWED
from analyzer.detectors.unknown_tool.unknown import UNKNOWN
from analyzer.frames import Frames
from instrument.policy import Policy, ToolErrors

_TOOL: Final = ("run_key", "tool_name")
_KIND: Final = ("run_key", "tool_name", "failure_kind")
_MODEL: Final = "the model"
RAN: Final = "rejected IS NULL"
"""As SQL: nobody kept the call from running."""


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one cascade: of one tool failing the same way, of whatever tools failing in a row, or of failing model calls."""
    params = policy.tool_errors
    runs = troubled(frames, params)
    tools = tool_calls(frames, runs.filter(kind="tool")["run_key"])
    same = same_failures(tools, params)
    failing = runs.filter(kind="model")["run_key"]
    if len(failing):
        same = pl.concat([same, same_failures(model_calls(frames, failing), params)])
    return (
        each_once(same, failures_in_a_row(tools, params))
        .sort("run_key", "first_step", "last_step", "failure_kind")
        .with_columns(
            severity=severity(params),
            useless_turns=turns("second_turn", "last_turn"),
            explained_by=pl.lit(None, pl.String),
        )
    )


def each_once(same: pl.DataFrame, mixed: pl.DataFrame) -> pl.DataFrame:
    """Both kinds of cascade, where they overlap only the wider one: one stretch of failures is one finding."""
    pairs = same.join(mixed, on="run_key", suffix="_mixed").filter(
        pl.col("first_step") <= pl.col("last_step_mixed"), pl.col("last_step") >= pl.col("first_step_mixed")
    )
    narrow = pairs.filter(pl.col("failures_mixed") <= pl.col("failures")).select(
        "run_key", first_step="first_step_mixed"
    )
    mixed = mixed.join(narrow, on=["run_key", "first_step"], how="anti")
    inside = pairs.join(mixed, left_on=["run_key", "first_step_mixed"], right_on=["run_key", "first_step"], how="semi")
    inside = inside.filter(
        pl.col("first_step") >= pl.col("first_step_mixed"), pl.col("last_step") <= pl.col("last_step_mixed")
    )
    return pl.concat([same.join(inside, on=["run_key", "steps"], how="anti"), mixed])


def troubled(frames: Frames, params: ToolErrors) -> pl.DataFrame:
    """Runs (`run_key`) with failures enough for a cascade among the calls of one `kind`: so many of one tool and kind of
    failure, or so many at all, in as many turns."""
    columns = ["kind: kind::VARCHAR", "tool: hash(tool_name)", "failure: hash(failure_kind)"]
    failed = frames.rows(f"kind IN ('tool', 'model') AND failed AND {RAN}", columns)
    # Without recorded model calls each step is a turn of its own, so there places are counted.
    place = pl.when(turn=0).then(-pl.col("step")).otherwise("turn")
    same = place.n_unique().over("run_key", "kind", "tool", "failure") >= params.same_failure_calls
    return failed.filter(same | (place.n_unique().over("run_key", "kind") >= params.failed_calls))


def tool_calls(frames: Frames, runs: pl.Series) -> pl.DataFrame:
    """One row is one tool call of the `runs` that ran. What was refused says nothing of the tool; calls of tools that do not exist
    are `unknown_tool`'s.
    """
    # Where the result is known only as an error message, that stands for it.
    answer = "answer: coalesce(result_key, hash(error_message))"
    columns = ["tool_name", "failed", "failure_inferred", "failure_kind", "call_key", answer, f"unknown: {UNKNOWN}"]
    return frames.calls(columns, runs, RAN).filter(~pl.col("unknown")).drop("unknown")


def model_calls(frames: Frames, runs: pl.Series) -> pl.DataFrame:
    """One row is one model call of the `runs`, as if the model were a tool. An error that was copied to the spans around it counts once."""
    none = "NULL::UBIGINT"
    columns = [
        f"tool_name: '{_MODEL}'",
        "failed",
        "failure_inferred",
        "failure_kind",
        f"call_key: {none}",
        f"answer: {none}",
        "end_ns",
        f"overflowed: {OVERFLOWED}",
    ]
    copied = (
        pl.col("failed")
        & pl.col("failed").shift(-1)
        & (pl.col("run_key") == pl.col("run_key").shift(-1))
        & (pl.col("end_ns") >= pl.col("end_ns").shift(-1))
    )
    return (
        frames.rows("kind = 'model'", columns, runs)
        .filter(~copied.fill_null(False), ~pl.col("overflowed"))
        .drop("end_ns", "overflowed")
    )


def same_failures(calls: pl.DataFrame, params: ToolErrors) -> pl.DataFrame:
    """One row is one chain of failures of one tool and one kind, with no success of that tool between."""
    worked = (~pl.col("failed")).fill_null(False).cast(pl.Int32)
    chains = (
        calls.with_columns(
            own=worked.cum_sum().over(_TOOL),
            others=worked.cum_sum().over("run_key") - worked.cum_sum().over(_TOOL),
            recoveries=worked.sum().over(_TOOL),
        )
        .filter("failed")
        # The same question, another answer, and something else done in between: a test that fails on fewer cases is progress.
        .with_columns(
            moved=(
                (pl.col("call_key") == pl.col("call_key").shift())
                & (pl.col("answer") != pl.col("answer").shift())
                & (pl.col("others") != pl.col("others").shift())
            )
            .over(_KIND)
            .fill_null(False)
        )
        .with_columns(part=pl.col("moved").cum_sum().over(_KIND))
    )
    return summed(
        chains,
        ["tool_name", "failure_kind", "own", "part"],
        recovered=pl.col("recoveries").last() > pl.col("own").last(),
    ).filter(pl.col("failures") >= params.same_failure_calls)


def failures_in_a_row(calls: pl.DataFrame, params: ToolErrors) -> pl.DataFrame:
    """One row is one run of failed calls with no success between, whatever the tools and the reasons."""
    worked = (~pl.col("failed")).fill_null(False).cast(pl.Int32)
    rows = calls.with_columns(
        streak=worked.cum_sum().over("run_key"), own=worked.cum_sum().over(_TOOL), recoveries=worked.sum().over(_TOOL)
    ).filter("failed")
    streaks = summed(rows, ["streak"], recovered=pl.col("recoveries").last() > pl.col("own").last())
    return streaks.filter(pl.col("failures") >= params.failed_calls, pl.col("kinds") > 1)


def summed(failures: pl.DataFrame, by: list[str], recovered: pl.Expr) -> pl.DataFrame:
    """One row is one pattern out of the failed calls of a run that share `by`."""
    turn = pl.col("turn")
    return (
        failures.with_columns(pl.col(by).name.prefix("by_"))
        .group_by("run_key", pl.col("^by_.*$"), maintain_order=True)
        .agg(
            pl.col("tool_name", "failure_kind").first(),
            steps=pl.col("step"),
            first_step=pl.col("step").first(),
            last_step=pl.col("step").last(),
            failures=turn.n_unique(),
            failed_calls=pl.len(),
            kinds=pl.struct("tool_name", "failure_kind").n_unique(),
            tools=pl.col("tool_name").unique(maintain_order=True),
            first_turn=turn.first(),
            second_turn=turn.filter(turn > turn.first()).first(),
            last_turn=turn.last(),
            recovered=recovered,
            confidence=pl.when(pl.col("failure_inferred").fill_null(False).any()).then(0.75).otherwise(0.95),
        )
        .select(pl.exclude("^by_.*$"))
    )


def severity(params: ToolErrors) -> pl.Expr:
    """A long cascade is an error; one that the run recovered from weighs one grade less."""
    long = pl.col("failures") >= params.error_calls
    grades = [(long & ~pl.col("recovered"), "error"), (long | ~pl.col("recovered"), "warning")]
    return (
        pl.when(grades[0][0])
        .then(pl.lit(grades[0][1]))
        .when(grades[1][0])
        .then(pl.lit(grades[1][1]))
        .otherwise(pl.lit("info"))
    )


def message(facts: Mapping[str, Any]) -> str:
    """`read_file` failed the same way in 4 turns ..."""
    end = "then it worked again" if facts["recovered"] else "and did not work again"
    why = f" (`{facts['explained_by']}` says why)" if facts["explained_by"] else ""
    if facts["kinds"] > 1:
        calls, tools = plural(facts["failed_calls"], "call"), plural(len(facts["tools"]), "tool")
        return f"{calls} of {tools} failed in a row {between(facts)}, in {facts['kinds']} different ways{why}."
    who = "The model" if facts["tool_name"] == _MODEL else f"`{facts['tool_name']}`"
    times = plural(facts["failures"], "time")
    return f"{who} failed the same way {times} {between(facts)} (“{facts['failure_kind']}”), {end}{why}."


def sight(frames: Frames, _: Policy) -> Sight:
    """Calls of tools and models that say whether they failed: by their status, or by a result that can be read."""
    told = pl.col("failed") | pl.col("result_key").is_not_null()
    return seen(frames.tool_calls, told) + seen(frames.model_calls, pl.col("failed").is_not_null())


DETECTOR = Detector(
    slug="error_cascade",
    failure_mode="tool errors that cascade",
    title="One failure after another",
    finds="A tool failed the same way in several turns with no success in between, whatever its arguments; or many "
    "calls failed in a row; or the model itself did.",
    matters="After the second identical failure the next one is nearly certain, and each costs a whole request. What "
    "failed is often built upon as if it had worked.",
    wrong="Where no error was flagged, the result's opening words decide (confidence is lower then), and a tool whose "
    "good answers begin with “Error” fools it. "
    "Failures are told apart by their text without names, paths and numbers, so two different problems behind "
    "one generic message (“exit code 1”) look like one. Where another finding says why all of these calls failed (they came too "
    "fast, their arguments did not fit or were empty), the cascade is only mentioned.",
    advice="Turn errors into results that say what to do instead, and let a breaker refuse the tool after "
    "`tool_errors.same_failure_calls` failures of one kind. "
    "For failing model calls, back off and give up after a few.",
    params="tool_errors",
    evidence={
        "tool_name": "Tool that failed (first), or `the model`.",
        "failure_kind": "The error, with names and numbers left out.",
        "failures": "Turns in which it failed.",
        "failed_calls": "Calls that failed.",
        "kinds": "How many different failures there were.",
        "tools": "Tools that failed.",
        "recovered": "Whether the tool that failed last worked later in the run.",
        "explained_by": "Detector that says of these very calls why they failed, in a finding as severe; null where none does.",
    },
    reads={"tool_calls": ("failed", "result_key"), "model_calls": ("failed",)},
    message=message,
    sight=sight,
    unseen="results of tool calls were not recorded, so failures that nobody flagged stay unseen",
    find=find,
)
