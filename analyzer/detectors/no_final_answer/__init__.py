"""`no_final_answer`: the run ended and its last words were no answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.detector import Detector, Sight, plural, seen
from analyzer.detectors.empty_response.empty import answers
from analyzer.detectors.no_final_answer.closing import CLOSING_COMMANDS, CLOSING_TOOLS
from analyzer.detectors.overflowed import OVERFLOWED
from analyzer.detectors.truncated_response import CUT
from analyzer.frames import Frames
from instrument.policy import Policy

_ANSWER_CHARS: Final = 200
"""So many characters beside a tool call are taken for an answer; less is what models say of what they are about to
do."""
_ENDED_SECONDS: Final = 3600
"""A run without an agent span has ended when it has been silent for so long, by the newest span of the database."""
_OTHERWISE: Final = (
    "coalesce(lower(finish_reason) IN ('refusal', 'content_filter', 'safety', 'error', 'pause_turn'), false)"
)
"""The model was kept from answering, or its provider was still at work."""
_ENDS: Final = """
SELECT w.run_key, bool_or(s.end_ns IS NULL) AS pending, bool_or(coalesce(s.failed, false)) AS failed,
    bool_or(g.stop_reason IS NOT NULL) AS stopped
FROM wanted w JOIN spans s USING (run_key) LEFT JOIN guarded_runs g ON g.span_key = s.span_key
WHERE s.kind = 'agent' AND s.span_id = s.run_id GROUP BY ALL
"""
_SILENT: Final = """
SELECT w.run_key, ((SELECT max(coalesce(end_ns, start_ns)) FROM spans) - max(coalesce(s.end_ns, s.start_ns))) / 1e9 AS silent_seconds,
    bool_or(s.end_ns IS NULL) AS cut
FROM wanted w JOIN spans s USING (run_key) GROUP BY ALL
"""


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one run that ended with calls whose results no model saw, or with an answer that says nothing."""
    last = ended(frames, last_answers(frames).filter(pl.col("asked") | pl.col("empty")))
    if last.is_empty():
        return pl.DataFrame()
    last = frames.at(last, [f"other: {OVERFLOWED} OR {CUT} OR {_OTHERWISE} OR end_ns IS NULL"]).filter(~pl.col("other"))
    calls = frames.calls(
        [
            "tool_name",
            "ran: rejected IS NULL AND (result_key IS NOT NULL OR NOT inferred)",
            "running: end_ns IS NULL",
        ],
        last["run_key"],
    ).join(last.select("run_key", "turn"), on=["run_key", "turn"], how="semi")
    calls = frames.said(calls, ["arguments"]).with_columns(
        closes=pl.col("tool_name").str.contains(CLOSING_TOOLS).fill_null(False)
        | pl.col("arguments").str.head(500).str.contains(CLOSING_COMMANDS).fill_null(False)
    )
    asked = calls.group_by("run_key", maintain_order=True).agg(
        pl.col("tool_name").last(),
        asked_calls=pl.len(),
        ran=pl.col("ran").any(),
        kept=pl.col("closes").any() | pl.col("running").any(),
        call_steps=pl.col("step"),
    )
    certain = pl.col("agent") & (pl.col("ran").fill_null(False) | pl.col("empty"))
    return (
        last.join(asked, on="run_key", how="left", maintain_order="left")
        .filter(
            ~pl.col("kept").fill_null(False),
            # More of them are `empty_response`'s.
            pl.col("empty_answers") < policy.stuck.empty_answers,
            # A single request whose calls nobody ran is a record of a request, not of a run.
            pl.col("empty") | pl.col("ran").fill_null(False) | (pl.col("turn") > 1),
        )
        .with_columns(
            pl.col("asked_calls").fill_null(0),
            # A run may rightly end in a call, whatever the tool's name, and calls that nobody ran may be the caller's to run.
            severity=pl.when(certain & pl.col("empty")).then(pl.lit("warning")).otherwise(pl.lit("info")),
            confidence=pl.when(certain).then(0.85).otherwise(0.5),
            steps=pl.concat_list(pl.concat_list("step"), pl.col("call_steps").fill_null(pl.lit([], pl.List(pl.Int32)))),
            first_turn=pl.col("turn"),
            last_turn=pl.col("turn"),
        )
    )


def last_answers(frames: Frames) -> pl.DataFrame:
    """One row is one run's last model call that asked for tools and said little beside (`asked`), or that was `empty` as the
    `empty_answers` before and with it were."""
    calls, tools = frames.model_calls, frames.tool_calls
    words, wanted = pl.col("output_chars"), pl.col("requested_calls")
    ends = (pl.col("run_key") != pl.col("run_key").shift(-1)).fill_null(True)
    called = tools.filter(ends).select("run_key", called_turn=pl.col("turn"))
    # An answer of which nothing was recorded may have held words, too.
    known = words.is_not_null() | wanted.is_not_null()
    asked = known & ((wanted > 0) | (pl.col("called_turn") >= pl.col("turn"))) & (words.fill_null(0) < _ANSWER_CHARS)
    last = (
        calls.filter(ends)
        .filter(~pl.col("failed").fill_null(False))
        .join(called, on="run_key", how="left", maintain_order="left")
        .with_columns(asked=asked.fill_null(False))
        .filter(pl.col("asked") | (words.is_not_null() & pl.col("output_key").is_null() & (wanted == 0)))
    )
    said = answers(frames, last.filter(~pl.col("asked"))["run_key"])
    trailing = said.group_by("run_key", maintain_order=True).agg(
        empty_answers=(pl.len() - 1 - (~pl.col("empty")).arg_true().last().cast(pl.Int64).fill_null(-1))
    )
    return (
        last.join(trailing, on="run_key", how="left", maintain_order="left")
        .with_columns(pl.col("empty_answers").cast(pl.Int64).fill_null(0))
        .select(
            "run_key", "step", "turn", "asked", "empty_answers", output_chars=words, empty=pl.col("empty_answers") > 0
        )
    )


def ended(frames: Frames, last: pl.DataFrame) -> pl.DataFrame:
    """Those of `last` whose run ended by itself, with `agent`: its agent span says so. Failed and guarded runs have
    reasons of their own."""
    if last.is_empty():
        return last.with_columns(agent=pl.lit(None, pl.Boolean))
    known = frames.ask(_ENDS, wanted=last.select("run_key"))
    fine = known.filter(~pl.col("pending"), ~pl.col("failed"), ~pl.col("stopped")).select("run_key", agent=True)
    # Without an agent span a single request is no run; one that had shown results to the model before is.
    lone = last.join(known, on="run_key", how="anti").filter(pl.col("turn") > 1)
    if len(lone):
        silent = frames.ask(_SILENT, wanted=lone.select("run_key"))
        over = silent.filter(pl.col("silent_seconds") >= _ENDED_SECONDS, ~pl.col("cut")).select("run_key", agent=False)
        fine = pl.concat([fine, over])
    return last.join(fine, on="run_key", how="inner", maintain_order="left")


def message(facts: Mapping[str, Any]) -> str:
    """The run ended after a call of `search` whose result no model saw."""
    if not facts["asked_calls"]:
        return f"The run ended in turn {facts['last_turn']} with an answer that held neither words nor a tool call."
    calls = f"{plural(facts['asked_calls'], 'call')} (the last of `{facts['tool_name']}`)"
    fate = "whose result no model was shown" if facts["ran"] else "that nobody ran"
    return f"The run ended in turn {facts['last_turn']} without an answer in words: with {calls} {fate}."


def sight(frames: Frames, _: Policy) -> Sight:
    """Runs whose last model call says what it answered, or that it failed."""
    calls = frames.model_calls.filter((pl.col("run_key") != pl.col("run_key").shift(-1)).fill_null(True))
    return seen(
        calls, pl.col("failed") | pl.col("requested_calls").is_not_null() | pl.col("output_chars").is_not_null()
    )


DETECTOR = Detector(
    slug="no_final_answer",
    failure_mode="stuck states",
    title="Ended without an answer",
    finds="The run ended and its last answer was no answer: it asked for tools whose results no model was shown, or it "
    "was empty.",
    matters="The user gets nothing, or half a sentence that announced a call, while the run counts as a success. Usually "
    "a limit on steps ended it.",
    wrong="Many runs rightly end in a call: tools that hand in the answer or hand over are known by their names "
    "(submit, finish, `task_complete`, `final_result`, transfer_to_...), and one of another name looks like an "
    "end without answer. An agent that returns a tool's result as its answer does, too. So runs that end in "
    "a call are only mentioned, as are runs without an agent span. Runs that failed, go on, or were stopped by a guard are not judged.",
    advice="Ask the model for its answer when a limit ends the run, as the guarded runner does "
    "(`loops.final_answer_tokens`), or give it a tool to hand in the answer (`task_complete`).",
    params="stuck",
    evidence={
        "tool_name": "Tool of the last call; null where the answer was empty.",
        "asked_calls": "Calls that the last answer asked for.",
        "ran": "Whether any of them ran.",
        "output_chars": "Length of the words beside them, in characters; null where they were not recorded.",
    },
    reads={
        "model_calls": ("failed", "output_key", "output_chars", "requested_calls"),
        "tool_calls": (),
    },
    message=message,
    sight=sight,
    unseen="what the model answered was not recorded",
    find=find,
)
