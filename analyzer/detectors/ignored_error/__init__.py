"""`ignored_error`: a tool failed, and the run ended as if it had not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.changes import Effect, effects
from analyzer.detectors.detector import Detector, Sight, between, plural
from analyzer.detectors.error_cascade import RAN
from analyzer.detectors.ignored_error.words import CLAIMS, MAY_OWN_UP, OWNS_UP, owning_up, said_after
from analyzer.detectors.invalid_arguments.said import SAID_INVALID
from analyzer.detectors.unknown_tool.unknown import UNKNOWN
from analyzer.frames import Frames
from instrument.policy import Policy, ToolErrors

_TOOL: Final = ("run_key", "tool_name")
_WORKED: Final = f"""
SELECT run_key, tool_name, max(step) AS worked_at FROM spans SEMI JOIN wanted USING (run_key, tool_name)
WHERE kind = 'tool' AND duplicate_of IS NULL AND {RAN} AND NOT failed GROUP BY ALL
"""
_TESTS: Final = r"(?i)test|check|lint|verif|valid|assert|diff|grep"
"""In the name of a tool: what it reports as failed is a result, and not a failure of its own."""


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one run and one tool that failed, never worked afterwards, and was not spoken of again, though the
    run ended with an answer.
    """
    failed = unresolved(frames, policy.tool_errors)
    if failed.is_empty():
        return failed
    may_own_up = pl.any_horizontal(pl.col("next", "answer").str.contains(MAY_OWN_UP))
    silent = ~pl.col("said").str.contains(OWNS_UP) & ~may_own_up
    claims, acts = pl.col("answer").str.contains(CLAIMS), pl.col("effect") == Effect.CHANGES
    # Where nobody flagged the failure and nothing was to be changed, only an answer that boasts makes it one.
    failed = failed.with_columns(silent=silent, claims=claims, acts=acts).filter(
        pl.col("silent").all().over(_TOOL), ~pl.col("failure_inferred") | acts | claims
    )
    turn = pl.col("turn")
    return (
        failed.group_by(_TOOL, maintain_order=True)
        .agg(
            pl.col("failure_kind").first(),
            pl.col("claims").first(),
            steps=pl.col("step"),
            failed_calls=pl.len(),
            changing=acts.any(),
            flagged=(~pl.col("failure_inferred")).any(),
            first_turn=turn.first(),
            last_turn=turn.last(),
            answer=pl.col("answer").first().str.slice(0, 300),
        )
        .with_columns(
            severity=pl.when("changing").then(pl.lit("warning")).otherwise(pl.lit("info")), confidence=confidence()
        )
    )


def confidence() -> pl.Expr:
    """Surest where something was to be changed, the failure was flagged, and the answer says that it was done."""
    sure = pl.when("changing").then(0.7).otherwise(0.5) + pl.when("claims").then(0.15).otherwise(0.0)
    return (sure - pl.when("flagged").then(0.0).otherwise(0.2)).round(2)


def unresolved(frames: Frames, params: ToolErrors) -> pl.DataFrame:
    """One row is one failed call of a tool that did not work afterwards, in a run that ended with an answer, with its
    `effect` and what was `said_after` it.

    Where something was to be changed, any later call that changed something may have made up for it. What failed so
    often that it is a cascade is `error_cascade`'s.
    """
    told = ["tool_name", "failed: coalesce(failed, false)", "failure_inferred: coalesce(failure_inferred, false)"]
    ended = answered(frames)
    columns = ["span_key", *told, "failure_kind", "call_key"]
    where = f"{RAN} AND failed AND NOT {UNKNOWN} AND NOT {SAID_INVALID} AND tool_name IS NOT NULL"
    failed = frames.calls(columns, ended["run_key"], where).join(ended, on="run_key", maintain_order="left")
    # Most failures are followed by a success of the same tool, and need no second look.
    last = frames.ask(_WORKED, wanted=failed.select(_TOOL).unique())
    failed = (
        failed.join(last, on=_TOOL, how="left", maintain_order="left")
        .filter((pl.col("worked_at") < pl.col("step")).fill_null(True), pl.col("step") < pl.col("answered_at"))
        .filter(pl.col("turn").n_unique().over(_TOOL) < params.same_failure_calls)
        .filter(pl.col("turn").n_unique().over("run_key") < params.failed_calls)
    )
    # And most answers own up, which is sooner seen than what a call was to do.
    own_up = owning_up(frames, failed.select("run_key", step="answered_at").unique())
    failed = failed.filter(~pl.col("run_key").is_in(own_up.implode()))
    failed = failed.join(said_after(frames, failed), on=["run_key", "step"], how="inner", maintain_order="left")
    if failed.is_empty():
        return failed
    failed = effects(frames, failed).filter(
        pl.col("effect") != Effect.WAITS, ~pl.col("tool_name").str.contains(_TESTS) | ~pl.col("failure_inferred")
    )
    return failed.join(_made_up_for(frames, failed), on=["run_key", "step"], how="anti", maintain_order="left")


def answered(frames: Frames) -> pl.DataFrame:
    """One row is one run that ended with an answer in words: `answered_at`, the step of that, and its `content_state`."""
    words = (
        (pl.col("output_chars") > 0)
        & (pl.col("requested_calls").fill_null(0) == 0)
        & ~pl.col("failed").fill_null(False)
    )
    return last_calls(frames).filter(words).select("run_key", "content_state", answered_at="step")


def last_calls(frames: Frames) -> pl.DataFrame:
    """One row is the last model call of one run."""
    return frames.model_calls.filter((pl.col("run_key") != pl.col("run_key").shift(-1)).fill_null(True))


def _made_up_for(frames: Frames, failed: pl.DataFrame) -> pl.DataFrame:
    """Those of `failed` that were to change something, where another call changed something afterwards."""
    acts = failed.filter(pl.col("effect") == Effect.CHANGES)
    if acts.is_empty():
        return acts.select("run_key", "step")
    others = effects(frames, frames.calls(["span_key", "tool_name"], acts["run_key"].unique(), f"{RAN} AND NOT failed"))
    changed = (
        others.filter(pl.col("effect") == Effect.CHANGES).group_by("run_key").agg(changed_at=pl.col("step").last())
    )
    return acts.join(changed, on="run_key").filter(pl.col("changed_at") > pl.col("step")).select("run_key", "step")


def message(facts: Mapping[str, Any]) -> str:
    """`send_mail` failed in turn 3 and the run ended as if ..."""
    times = "" if facts["failed_calls"] == 1 else f" {plural(facts['failed_calls'], 'time')}"
    end = "the answer says that all was done" if facts["claims"] else "the answer does not speak of it"
    return f"`{facts['tool_name']}` failed{times} {between(facts)} (“{facts['failure_kind']}”) and did not work afterwards, but {end}."


def sight(frames: Frames, _: Policy) -> Sight:
    """Failed tool calls in runs that ended with an answer, as far as is known; those are known of which the words were recorded."""
    silent = (pl.col("requested_calls").fill_null(0) == 0) & ~pl.col("failed").fill_null(False)
    unknown = last_calls(frames).filter(pl.col("output_chars").is_null(), silent)
    ended = pl.concat([answered(frames), unknown.select("run_key", "content_state", answered_at="step")])
    failed = frames.rows(f"kind = 'tool' AND {RAN} AND failed", [], ended["run_key"])
    known = ended.filter(pl.col("content_state").cast(pl.String) == "full")
    return Sight(len(failed), len(failed.join(known, on="run_key", how="semi")))


DETECTOR = Detector(
    slug="ignored_error",
    failure_mode="tool errors that cascade",
    title="A failure nobody spoke of",
    finds="A tool call failed and the tool did not work afterwards, but the run ended with an answer that says it "
    "was done, or does not speak of it.",
    matters="Whoever reads the answer believes that the mail was sent. It is the one failure that no log of errors "
    "shows as the user's.",
    wrong="Whether the answer speaks of the failure is looked for by its words, in nine languages: one that says so "
    "in other words is taken for silent, and one that says “no problem” for honest. A lookup that failed may not have "
    "been needed, so only tools that change something weigh as a warning, judged by their names; where another "
    "changing call worked afterwards, it may have made up for it and nothing is said. Checks and tests report "
    "failures as their result and are left out unless the producer flagged them. Failures that came three times or "
    "more are `error_cascade`'s.",
    advice="Ask for failures in the system prompt: name in the final answer every action that did not work. Let the "
    "tool's error say what to do, and check what was promised against what ran before the answer goes out.",
    params="tool_errors",
    evidence={
        "tool_name": "Tool that failed.",
        "failure_kind": "The error, with names and numbers left out.",
        "failed_calls": "Calls of it that failed with no success afterwards.",
        "changing": "Whether it was to change something.",
        "flagged": "Whether the producer flagged the failure; otherwise only the words of the result say so.",
        "claims": "Whether the answer says that something was done.",
        "answer": "The final answer, the first 300 characters.",
        "arguments": "Arguments of the first call, the first 300 characters.",
    },
    reads={"model_calls": ("output_chars", "requested_calls", "failed", "content_state")},
    message=message,
    sight=sight,
    unseen="the words of the final answer were not recorded",
    find=find,
)
