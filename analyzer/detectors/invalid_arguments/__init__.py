"""`invalid_arguments`: calls whose arguments do not fit the tool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.detector import Detector, Sight, between, plural
from analyzer.detectors.invalid_arguments.judged import judgeable, misfits
from analyzer.detectors.invalid_arguments.said import SAID_INVALID
from analyzer.frames import Frames
from instrument.effects import Effect, effect_of_name
from instrument.policy import InvalidArguments, Policy

_TOOL: Final = ("run_key", "tool_name")
_REJECTED: Final = "coalesce(rejected = 'invalid_arguments', false)"

_GUARDED: Final = "SELECT DISTINCT run_key FROM spans WHERE {span} AND span_key IN (SELECT span_key FROM guarded_runs)"


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one run and one tool that was called with arguments that do not fit it."""
    params = policy.invalid_arguments
    calls = judged(frames)
    if calls.is_empty():
        return calls
    turn, lost = pl.col("turn"), pl.col("bad") & pl.col("lost")
    # A valid call of the tool shows that the model has learned.
    stretch = (~pl.col("bad")).cum_sum().over(_TOOL)
    bad = (
        calls.with_columns(stretch=stretch).filter("bad").with_columns(in_a_row=turn.n_unique().over(*_TOOL, "stretch"))
    )
    return (
        bad.group_by(_TOOL, maintain_order=True)
        .agg(
            pl.col("problem").drop_nulls().first(),
            steps=pl.col("step"),
            calls=pl.len(),
            repeats=turn.n_unique(),
            in_a_row=pl.col("in_a_row").max(),
            lost=turn.filter(lost).n_unique(),
            answered=(~pl.col("lost")).all(),
            proved=(pl.col("rejected") | pl.col("misfit")).all(),
            first_turn=turn.first(),
            last_turn=turn.last(),
            useless_turns=turn.filter(lost).unique().sort(),
        )
        .filter(pl.col("repeats") >= params.calls)
        .with_columns(severity=severity(params), confidence=confidence())
    )


def judged(frames: Frames) -> pl.DataFrame:
    """One row is one tool call of the runs in which some do not fit: `bad`, for whatever reason of these: it was
    `rejected` for it, its arguments are a `misfit` by the declared schema (`problem`), or its error says so. `lost`:
    it brought nothing.
    """
    misfit = misfits(frames)
    # Each by itself, because then the scan sieves out nearly all rows before it reads a text.
    refused = frames.rows("kind = 'tool' AND rejected = 'invalid_arguments'", [])["run_key"]
    told = frames.rows(f"kind = 'tool' AND failed AND {SAID_INVALID}", [])["run_key"]
    runs = pl.concat([misfit["run_key"], refused, told]).unique()
    columns = [
        "tool_name",
        f"rejected: {_REJECTED}",
        f"said: {SAID_INVALID}",
        "lost: coalesce(failed, true) OR rejected IS NOT NULL",
        "error: coalesce(failure_kind, error_message)",
    ]
    calls = frames.calls(columns, runs).filter(pl.col("tool_name").is_not_null())
    # Code that runs in an interpreter speaks of its own arguments.
    shells = [n for n in calls["tool_name"].unique() if effect_of_name(n) is Effect.COMMANDS]
    said = pl.col("said") & ~pl.col("tool_name").is_in(shells)
    return (
        calls.join(misfit, on=["run_key", "step"], how="left", maintain_order="left")
        .with_columns(misfit=pl.col("problem").is_not_null())
        .with_columns(
            bad=pl.col("rejected") | pl.col("misfit") | said,
            problem=pl.coalesce("problem", pl.when(pl.col("rejected") | said).then("error")),
        )
    )


def refusable(frames: Frames) -> pl.DataFrame:
    """One row is one tool call (`run_key`, `step`) that a live guard would have refused for its arguments, with the `problem`.

    What was answered all the same did fit, whatever its schema says. In a guarded run the guard has judged: what it refused, and no more.
    """
    calls = judged(frames.reading(DETECTOR.reads))
    if calls.is_empty():
        return pl.DataFrame(schema={"run_key": pl.Int32, "step": pl.Int32, "problem": pl.String})
    guarded = frames.ask(_GUARDED.format(span=frames.span))["run_key"]
    counts = (
        pl.when(pl.col("run_key").is_in(guarded.implode())).then("rejected").otherwise(pl.col("bad") & pl.col("lost"))
    )
    return calls.filter(counts).select("run_key", "step", pl.col("problem").fill_null("its arguments did not fit"))


def severity(params: InvalidArguments) -> pl.Expr:
    """What was answered all the same, or was put right each time, is worth a mention."""
    learned = (pl.col("lost") < params.calls) | (pl.col("in_a_row") < params.calls)
    return (
        pl.when(learned)
        .then(pl.lit("info"))
        .when(pl.col("in_a_row") >= params.error_calls)
        .then(pl.lit("error"))
        .otherwise(pl.lit("warning"))
    )


def confidence() -> pl.Expr:
    """Surest where the schema says so and the tool did not work."""
    return pl.when("answered").then(0.15).when("proved").then(0.97).otherwise(0.8)


def message(facts: Mapping[str, Any]) -> str:
    """`book` was called with arguments that do not fit it in 4 turns ..."""
    ends = ", and answered all the same" if facts["answered"] else ""
    return (
        f"`{facts['tool_name']}` was called with arguments that do not fit it in {plural(facts['repeats'], 'turn')}, "
        f"{between(facts)}{ends} ({facts['problem'] or 'not said why'})."
    )


def sight(frames: Frames, _: Policy) -> Sight:
    """Tool calls whose arguments and schema were recorded, and those that were refused for their arguments."""
    known = judgeable(frames)
    refused = frames.rows("kind = 'tool' AND rejected = 'invalid_arguments'", [])
    more = refused.join(known, on=["run_key", "step"], how="anti") if len(refused) else refused
    return Sight(len(frames.tool_calls), len(known) + len(more))


DETECTOR = Detector(
    slug="invalid_arguments",
    failure_mode="hallucinated tool calls",
    title="Arguments that do not fit",
    finds="One tool was called in several turns with arguments that do not fit its declared schema: missing, "
    "unknown, of another type, out of range, or not among the values allowed.",
    matters="Such a call cannot do what was meant. Where nobody checks, the tool does something else, or fails with "
    "words that do not help the model to mend it.",
    wrong="Arguments are judged by the schema that the last request before the call declared; where calls were "
    "answered well although they do not fit, the schema is stricter than the tool, or an instrumentation has wrapped "
    "the arguments, and they are only mentioned. Without schemas the words of the error decide, and confidence is "
    "lower. Calls in which a valid one follows each invalid one are only mentioned: the model mends them. Of hashed "
    "content only those calls are seen that were refused for their arguments.",
    advice="Check arguments against the schema before the tool runs, and answer with what is missing or wrong by "
    "name and value. Describe the argument that is got wrong in the tool's schema, with an example; make values that "
    "are known an `enum`.",
    params="invalid_arguments",
    evidence={
        "tool_name": "Tool that was called.",
        "calls": "Calls that do not fit.",
        "repeats": "Turns in which they were made.",
        "in_a_row": "Most of these turns with no valid call of the tool in between.",
        "problem": "What is wrong with the first, by the schema; else what its error says.",
        "proved": "Whether the schema or a refusal proves it for all of them; otherwise the words of an error say so.",
        "answered": "Whether every one of the calls was answered all the same.",
        "arguments": "Arguments of the first call, the first 300 characters.",
    },
    reads={"tool_calls": ("call_key", "content_state", "declared"), "model_calls": ("toolset_key",)},
    message=message,
    sight=sight,
    unseen="arguments, or the schemas of the declared tools, were not recorded",
    find=find,
)
