"""`retry_storm`: the same door knocked at again and again, without a pause."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.detector import Detector, Sight, between, plural, turns
from analyzer.detectors.error_cascade import RAN
from analyzer.detectors.retry_storm.storms import dense, waves
from analyzer.detectors.retry_storm.transport import TRANSPORT
from analyzer.detectors.unworded import UNWORDED
from analyzer.frames import Frames
from instrument.policy import Policy, ToolErrors

# Not the model that answered: a request that failed has none.
_WHO: Final = "coalesce(tool_name, request_model, response_model, '')"
_COLUMNS: Final = (
    "kind: kind::VARCHAR",
    f"who: {_WHO}",
    "failed: coalesce(failed, false)",
    f"transport: {TRANSPORT}",
    "failure_kind",
    "failure_inferred: coalesce(failure_inferred, false)",
    "resent: coalesce(retries, 0)",
    "start_ns",
    "end_ns",
    "inferred",
)
_UNDATED: Final = "start_ns IS NULL OR (inferred_times IS NOT DISTINCT FROM 'both' AND NOT coalesce(inferred, false))"
"""As SQL: nobody recorded when the call was made, and of a pace nothing can be said."""


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one storm: attempts at one tool or model that failed on the way, one after another within a short
    time.
    """
    params = policy.tool_errors
    runs = troubled(frames, params)
    if runs.is_empty():
        return pl.DataFrame()
    calls = frames.rows(f"kind IN ('tool', 'model') AND {RAN} AND NOT ({_UNDATED})", _COLUMNS, runs)
    attempts = waves(without_copies(turned(calls)), params.storm_seconds)
    storms = dense(attempts, params.storm_calls, params.storm_seconds)
    return storms.sort("run_key", "first_step").with_columns(
        severity=severity(params),
        confidence=pl.when("inferred").then(0.75).otherwise(0.95),
        useless_turns=turns("second_turn", "last_turn"),
    )


def troubled(frames: Frames, params: ToolErrors) -> pl.Series:
    """Runs in which so many attempts at one tool or model failed on the way."""
    columns = [f"who: hash(kind, {_WHO})", "attempts: coalesce(retries, 0) + coalesce(failed, false)::INTEGER"]
    # Each by itself, because then the scan sieves out nearly all rows before it reads a text.
    wheres = (f"failed AND ({TRANSPORT} OR retries > 0)", "retries > 0 AND failed IS DISTINCT FROM true")
    tried = pl.concat([frames.rows(f"kind IN ('tool', 'model') AND {RAN} AND {where}", columns) for where in wheres])
    often = tried.group_by("run_key", "who").agg(pl.col("attempts").sum())
    return often.filter(pl.col("attempts") >= params.storm_calls)["run_key"].unique()


def without_copies(calls: pl.DataFrame) -> pl.DataFrame:
    """`calls` without the requests to a model whose failure only repeats that of the request inside them."""
    inner = {name: pl.col(name).shift(-1).over("run_key", "kind") for name in ("failed", "end_ns")}
    return calls.filter(
        ~(
            (pl.col("kind") == "model") & pl.col("failed") & inner["failed"] & (pl.col("end_ns") >= inner["end_ns"])
        ).fill_null(False)
    )


def turned(calls: pl.DataFrame) -> pl.DataFrame:
    """`calls`, in which each tool call is a turn of its own where the run has no model call, as in `Frames.calls`."""
    lonely = pl.col("turn").max().over("run_key") == 0
    return calls.with_columns(turn=pl.when(lonely).then("step").otherwise("turn"))


def severity(params: ToolErrors) -> pl.Expr:
    """One that passed is worth a mention; one that nothing ended weighs as much as a cascade of that length."""
    return (
        pl.when("recovered")
        .then(pl.lit("info"))
        .when(pl.col("attempts") >= max(params.error_calls, params.storm_calls))
        .then(pl.lit("error"))
        .otherwise(pl.lit("warning"))
    )


def message(facts: Mapping[str, Any]) -> str:
    """Requests to `claude-...` failed 7 times within 12 s ..."""
    model = f"`{facts['model']}`" if facts["model"] else "the model"
    what = f"Calls of `{facts['tool_name']}`" if facts["tool_name"] else f"Requests to {model}"
    resent = f", {facts['resent']:,} of them sent again by the client" if facts["resent"] else ""
    end = "then it worked again" if facts["recovered"] else "and did not work again"
    return (
        f"{what} failed {plural(facts['attempts'], 'time')} within {facts['seconds']:.1f} s {between(facts)}{resent} "
        f"(“{facts['failure_kind'] or 'not said why'}”), {end}."
    )


def sight(frames: Frames, _: Policy) -> Sight:
    """Calls of tools and models of which it is known when they were made, whether they failed, and if so why."""
    undated = f"{_UNDATED} OR (kind = 'model' AND failed IS NULL)"
    # Each by itself, because then the scan sieves out nearly all rows before it reads a text.
    wheres = (undated, f"failed AND {UNWORDED} AND NOT {TRANSPORT}")
    silent = frames.tool_calls.filter(pl.col("result_key").is_null(), ~pl.col("failed").fill_null(False))
    unseen = [frames.rows(f"kind IN ('tool', 'model') AND ({where})", []) for where in wheres]
    every = len(frames.tool_calls) + len(frames.model_calls)
    return Sight(every, every - len(pl.concat(rows.select("run_key", "step") for rows in (silent, *unseen)).unique()))


DETECTOR = Detector(
    slug="retry_storm",
    failure_mode="tool errors that cascade",
    title="Attempts without a pause",
    finds="Attempts at one tool or model failed one after another within a short time, because of a rate limit, an "
    "overload, a time-out or a lost connection, and the next one followed at once. What the client sent again by "
    "itself counts.",
    matters="Who knocks faster is let in later: such attempts keep a limit exhausted, for all others too, and each "
    "one may be billed. Clients that retry inside loops that retry multiply: three times three are nine.",
    wrong="Why something failed is read from the type and the words of the error, so a tool whose own answer speaks "
    "of a time-out looks like one that timed out. Calls that overlap in time count as one attempt. A tool that fails "
    "the same way turn after turn for reasons of its own (a wrong path, a missing right) is `error_cascade`'s; where "
    "all failures of a cascade are a storm, this one is the alarm and that one a mention.",
    advice="Wait before the next attempt, longer each time and by chance, and as long as `retry-after` says; retry "
    "in one place only. A breaker (`tool_errors.breaker_seconds`) keeps the model from asking in the meantime.",
    params="tool_errors",
    evidence={
        "tool_name": "Tool that was called; null where it was the model.",
        "model": "Model that was asked; null where it was a tool.",
        "attempts": "Attempts that failed, those of the client included.",
        "resent": "Of these, those that the client made by itself.",
        "seconds": "From the first attempt to the last, in seconds.",
        "failure_kind": "The first error, with names and numbers left out.",
        "recovered": "Whether it worked later in the run.",
    },
    reads={"tool_calls": ("failed", "result_key"), "model_calls": ()},
    message=message,
    sight=sight,
    unseen="times, outcomes or errors of calls were not recorded",
    find=find,
)
