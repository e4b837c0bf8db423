"""`oversized_tool_result`: one tool result takes a large part of the model's window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.context_growth import windows
from analyzer.detectors.detector import Detector, Sight, between, plural
from analyzer.frames import Frames
from instrument.policy import Policy

_CHARS_PER_TOKEN: Final = 4
"""Of English text and code, by the providers' own rule of thumb; used where no count is known."""
_DENSEST: Final = 2
"""Characters per token below which no text in an alphabet lies."""
_BLOB: Final = r"[A-Za-z0-9+/=_-]{512,}"
"""Images and files in a result are billed by what they show, not by their length in base64."""
_CUT: Final = """
SELECT span_key FROM guard_actions WHERE action = 'cut' AND NOT coalesce(observed, false) AND span_key IN (SELECT span_key FROM wanted)
"""


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one tool of one run with results that took more than `context.result_share` of the window of the
    model that read them."""
    share = policy.context.result_share
    sized = windows(frames, policy)
    smallest = sized["window_tokens"].min()
    if not isinstance(smallest, int):
        return pl.DataFrame()
    long = frames.tool_calls.filter(pl.col("result_chars") >= share * smallest * _DENSEST)
    if long.is_empty():
        return pl.DataFrame()
    results = measured(frames, long["run_key"].unique(), sized)
    results = results.filter(
        pl.max_horizontal("counted_tokens", pl.col("result_chars") / _CHARS_PER_TOKEN)
        >= share * pl.col("window_tokens")
    )
    results = weighed(frames, results).filter(pl.col("tokens") >= share * pl.col("window_tokens"))
    results = results.join(frames.ask(_CUT, wanted=results.select("span_key").drop_nulls()), on="span_key", how="anti")
    largest = pl.col("tokens").arg_max()
    return (
        results.sort("run_key", "step")
        .group_by("run_key", "tool_name", maintain_order=True)
        .agg(
            pl.col("model", "window_tokens", "counted", "result_chars").get(largest),
            results=pl.len(),
            largest_tokens=pl.col("tokens").max().round().cast(pl.Int64),
            largest_share=(pl.col("tokens") / pl.col("window_tokens")).max().round(4),
            largest_turn=pl.col("turn").get(largest),
            steps=pl.col("step"),
            first_turn=pl.col("turn").first(),
            last_turn=pl.col("turn").last(),
        )
        .with_columns(severity=pl.lit("warning"), confidence=pl.when("counted").then(0.95).otherwise(0.7))
    )


def measured(frames: Frames, runs: pl.Series, sized: pl.DataFrame) -> pl.DataFrame:
    """One row is one tool call of the `runs`, with the model that asked for it, its window, and `counted_tokens`: by how much the
    next request was larger, as the call's part of the results of its turn by length; null where that is not known."""
    columns = [
        "model: coalesce(response_model, request_model)",
        "input_tokens",
        "output_tokens",
        "failed: coalesce(failed, false)",
    ]
    requests = frames.rows("kind = 'model'", columns, runs).filter(~pl.col("failed"))
    same = (pl.col("model") == pl.col("model").shift(-1)).over("run_key")
    grown = (pl.col("input_tokens").shift(-1) - pl.col("input_tokens")).over("run_key")
    asking = requests.select(
        "run_key",
        "turn",
        "model",
        grown=pl.when(same & (grown > 0)).then(pl.max_horizontal(grown - pl.col("output_tokens").fill_null(0), 0)),
    ).join(sized, on="model", how="left", maintain_order="left")
    chars = pl.col("result_chars")
    calls = frames.calls(["span_key", "tool_name", "result_chars"], runs)
    return (
        calls.join(
            asking.unique(["run_key", "turn"], keep="last"), on=["run_key", "turn"], how="left", maintain_order="left"
        )
        .with_columns(part=chars / chars.sum().over("run_key", "turn"))
        # What else the request held anew, a long question of the user, is not the tool's.
        .with_columns(counted_tokens=pl.min_horizontal(pl.col("grown") * pl.col("part"), chars / _DENSEST))
        .with_columns(counted_tokens=pl.when(pl.col("grown").is_not_null()).then("counted_tokens"))
    )


def weighed(frames: Frames, results: pl.DataFrame) -> pl.DataFrame:
    """`results` with `tokens` and `counted`, whether that is a count; else it is an estimate from the length of the
    text in the result."""
    guessed = frames.said(results.filter(pl.col("counted_tokens").is_null()), ["result"])
    text = guessed.select(
        "run_key",
        "step",
        guess=pl.coalesce(pl.col("result").str.replace_all(_BLOB, "").str.len_chars(), "result_chars")
        / _CHARS_PER_TOKEN,
    )
    return results.join(text, on=["run_key", "step"], how="left", maintain_order="left").with_columns(
        tokens=pl.coalesce("counted_tokens", "guess"), counted=pl.col("counted_tokens").is_not_null()
    )


def message(facts: Mapping[str, Any]) -> str:
    """A result of `read_file` took 61,000 tokens ..."""
    about = "" if facts["counted"] else "about "
    how = "" if facts["counted"] else f", estimated from {facts['result_chars']:,} characters"
    size = f"{about}{facts['largest_tokens']:,} tokens, {facts['largest_share']:.0%} of the window of `{facts['model']}`{how}"
    if facts["results"] == 1:
        return f"A result of `{facts['tool_name']}` took {size}, {between(facts)}."
    return f"{plural(facts['results'], 'result')} of `{facts['tool_name']}` took much of the window {between(facts)}, the largest {size}."


def sight(frames: Frames, policy: Policy) -> Sight:
    """Tool calls whose result's length is known, if the window of any model is. A long result in a run whose requests were not counted is
    half seen: what it took is an estimate."""
    calls, chars = frames.tool_calls, pl.col("result_chars")
    smallest = windows(frames, policy)["window_tokens"].min()
    if not isinstance(smallest, int):
        return Sight(len(calls), 0)
    uncounted = frames.rows("kind = 'model' AND input_tokens IS NULL AND NOT coalesce(failed, false)", [])["run_key"]
    guessed = (chars >= policy.context.result_share * smallest * _DENSEST) & pl.col("run_key").is_in(
        uncounted.unique().implode()
    )
    return Sight(
        2 * len(calls), 2 * len(calls) - 2 * int(calls["result_chars"].null_count()) - len(calls.filter(guessed))
    )


DETECTOR = Detector(
    slug="oversized_tool_result",
    failure_mode="context overflow",
    title="A tool result that fills the window",
    finds="Single results of a tool took more than `context.result_share` of the context window of the model that read "
    "them.",
    matters="A result stays in the context: it is paid for again in every later request, crowds out what matters, and two"
    " or three of them end the run.",
    wrong="Where requests were not counted, four characters are taken for a token, which is too few for tables of "
    "numbers and too many for prose. A result that was recorded whole and cut before the model read it looks "
    "large, unless a guard recorded the cut or the next request was counted. Some tasks are about one large "
    "document.",
    advice="Let the tool answer with less: a page, a range, the matching lines, a summary with a way to fetch the rest. "
    "The guarded runner cuts results at `context.result_chars` and keeps the whole where the agent can fetch it.",
    params="context",
    evidence={
        "tool_name": "Tool whose results they were.",
        "results": "How many results were that large.",
        "largest_tokens": "Tokens of the largest.",
        "largest_share": "Its share of the window.",
        "counted": "Whether that is a count, from the size of the next request; otherwise an estimate from its length.",
        "result_chars": "Its length in characters.",
        "model": "Model that read it.",
        "window_tokens": "That model's context window.",
        "arguments": "Arguments of the first of these calls.",
    },
    reads={"tool_calls": ("result_chars",)},
    message=message,
    sight=sight,
    unseen="lengths of tool results were not recorded, the model's window is not known (set `context.windows`), or "
    "requests were not counted, so that the size of long results is an estimate",
    find=find,
)
