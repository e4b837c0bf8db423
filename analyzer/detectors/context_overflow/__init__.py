"""`context_overflow`: a request did not fit the model's window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from analyzer.detectors.context_growth.filling import fillings
from analyzer.detectors.detector import Detector, Sight, between, plural, seen
from analyzer.detectors.overflowed import CUT, OVERFLOWED, STATED_TOKENS, overflowing
from analyzer.detectors.unworded import UNWORDED
from analyzer.frames import Frames
from instrument.policy import Policy
from instrument.windows import window_of

_COLUMNS = (
    "model: coalesce(request_model, response_model)",
    "answered: NOT coalesce(failed, false) AND end_ns IS NOT NULL",
    "input_tokens",
    "end_ns",
    f"overflowed: {OVERFLOWED}",
    f"cut: {CUT}",
    f"stated_tokens: {STATED_TOKENS}",
)


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one run in which requests were refused, or answers cut, because the context window was full."""
    runs = overflowing(frames)
    if runs.is_empty():
        return pl.DataFrame()
    over, step, turn = pl.col("overflowed"), pl.col("step"), pl.col("turn")
    found = (
        frames.rows("kind = 'model'", _COLUMNS, runs)
        .filter(~_copied())
        .group_by("run_key", maintain_order=True)
        .agg(
            model=pl.col("model").filter(over).last(),
            overflows=over.sum(),
            cut_answers=(over & pl.col("cut")).sum(),
            stated_tokens=pl.col("stated_tokens").filter(over).max(),
            largest_tokens=pl.col("input_tokens").filter("answered").max(),
            recovered=(pl.col("answered") & ~over & (step > step.filter(over).last())).any(),
            steps=step.filter(over),
            peak_step=step.filter(over).last(),
            first_turn=turn.filter(over).first(),
            last_turn=turn.filter(over).last(),
        )
    )
    models = found["model"].drop_nulls().unique().to_list()
    windows = {m: w for m in models if (w := window_of(m, policy.context.windows)) is not None}
    return fillings(found, frames).with_columns(
        window_tokens=pl.col("model").replace_strict(windows, default=None, return_dtype=pl.Int64),
        severity=pl.when("recovered").then(pl.lit("warning")).otherwise(pl.lit("error")),
        confidence=pl.lit(0.98),
    )


def _copied() -> pl.Expr:
    """The same failure on the span around the one that failed."""
    inside = (pl.col("run_key") == pl.col("run_key").shift(-1)) & (pl.col("end_ns") >= pl.col("end_ns").shift(-1))
    return (pl.col("overflowed") & pl.col("overflowed").shift(-1) & inside).fill_null(False)


def message(facts: Mapping[str, Any]) -> str:
    """2 requests did not fit the context window of `claude-sonnet-4-5` ..."""
    count, cut = facts["overflows"], facts["cut_answers"]
    what = "the answer to it was cut" if cut == count == 1 else f"{plural(cut, 'answer')} cut, the others refused"
    how = "" if not cut else f" ({what})"
    of = f" of `{facts['model']}`" if facts["model"] else ""
    window = f" of {facts['window_tokens']:,} tokens" if facts["window_tokens"] else ""
    stated = facts["stated_tokens"]
    size = f", with {stated:,} tokens" if stated and stated > (facts["window_tokens"] or 0) else ""
    end = "the run went on with a smaller one" if facts["recovered"] else "and the run got no answer after that"
    return f"{plural(count, 'request')} did not fit the context window{window}{of} {between(facts)}{size}{how}; {end}."


def sight(frames: Frames, _: Policy) -> Sight:
    """Model calls that say whether they failed, and if so why: a refusal tells its reason."""
    told = seen(frames.model_calls, pl.col("failed").is_not_null())
    unworded = frames.rows(f"kind = 'model' AND {UNWORDED} AND NOT {OVERFLOWED}", [])
    return Sight(told.checked, told.known - len(unworded))


DETECTOR = Detector(
    slug="context_overflow",
    failure_mode="context overflow",
    title="A request that did not fit the window",
    finds="The provider refused a request, or stopped its answer, because the context window was full.",
    matters="At this point the work of the run is usually lost: the next request is longer still and is refused too, "
    "unless somebody makes it shorter.",
    wrong="Refusals are known by their words. A provider that words them unlike any we know is missed, and one that "
    "speaks of a context limit when it means another limit fools this. Rate limits in tokens per minute are left out. "
    "A context that merely came near the window is `context_growth`'s.",
    advice="Compact before the window is full (`context.compact_share`), cut long tool results (`context.result_chars`),"
    " and answer a refusal with a shorter request, never with the same one.",
    params="context",
    evidence={
        "model": "Model whose window it was.",
        "overflows": "Requests that did not fit.",
        "cut_answers": "Of these, answered in part and then cut.",
        "stated_tokens": "Size of the request as the refusal tells it, in tokens; null where it does not.",
        "window_tokens": "The model's context window; null where it is not known.",
        "largest_tokens": "Input tokens of the largest request of the run that was answered.",
        "recovered": "Whether a later request of the run was answered.",
        "filled_by": "What the last of them consisted of, as shares of its characters; null where messages were not recorded.",
    },
    reads={"model_calls": ("failed",)},
    message=message,
    sight=sight,
    unseen="whether model calls failed, or why, was not recorded",
    find=find,
)
