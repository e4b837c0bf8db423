"""`context_growth`: the context comes near the model's window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.context_growth.filling import fillings
from analyzer.detectors.detector import Detector, Sight, plural
from analyzer.detectors.overflowed import overflowing
from analyzer.frames import Frames
from instrument.policy import Context, Policy
from instrument.windows import window_of

_MODEL: Final = ("run_key", "model")
DROP: Final = 0.7
"""A request this much smaller than the one before began a new context: it was compacted, or another conversation."""
TREND_REQUESTS: Final = 4
"""Requests needed before a rate of growth is a trend."""


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one run whose context came near the window of its model, or was about to; went it over, that is `context_overflow`'s."""
    params = policy.context
    sized = windows(frames, policy)
    smallest = sized["window_tokens"].min()
    near = frames.model_calls.filter(
        pl.col("input_tokens") >= params.forecast_share * (smallest if isinstance(smallest, int) else 2**62)
    )["run_key"]
    over = overflowing(frames)
    columns = [
        "model: coalesce(response_model, request_model)",
        "input_tokens",
        "output_tokens",
    ]
    requests = frames.rows("kind = 'model'", columns, near.filter(~near.is_in(over.implode()))).join(
        sized, on="model", how="left", maintain_order="left"
    )
    return (
        trends(requests)
        .with_columns(
            # An answered request that is larger than the window proves the window larger than we believe.
            pl.when(pl.col("peak_share") <= 1).then(c).alias(c)
            for c in ("peak_share", "last_share", "turns_left")
        )
        .filter(
            (pl.col("peak_share") >= params.warn_share)
            | ((pl.col("last_share") >= params.forecast_share) & (pl.col("turns_left") <= params.forecast_turns))
        )
        # A helper with a small context of its own does not hide the model that is nearly full, nor make a second finding.
        .sort("run_key", "peak_share", "model", descending=[False, True, False], nulls_last=True)
        .unique("run_key", keep="first", maintain_order=True)
        .pipe(fillings, frames)
        .with_columns(
            severity=severity(params),
            confidence=pl.when(pl.col("peak_share") >= params.warn_share).then(0.95).otherwise(0.7),
        )
    )


def windows(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one model of the partition whose window is known."""
    models = frames.models["model"].drop_nulls().to_list()
    sizes = [window_of(m, policy.context.windows) for m in models]
    return pl.DataFrame(
        {"model": models, "window_tokens": sizes}, schema={"model": pl.String, "window_tokens": pl.Int64}
    ).drop_nulls()


def trends(requests: pl.DataFrame) -> pl.DataFrame:
    """One row is one run and model: its largest request, and how its last context grew. Tokens are of single requests, never summed."""
    tokens = pl.col("input_tokens")
    measured = requests.with_columns(
        compacted=(tokens < DROP * tokens.forward_fill().shift()).over(_MODEL).fill_null(False)
    )
    measured = measured.with_columns(context=pl.col("compacted").cum_sum().over(_MODEL))
    last = pl.col("context") == pl.col("context").max()
    # The context after a request holds its answer, too; the rate is per turn, since other models' turns pass as well.
    grown = (tokens.filter(last).last() - tokens.filter(last).first()) / (
        pl.col("turn").filter(last).last() - pl.col("turn").filter(last).first()
    )
    peak = pl.col("context") == pl.col("context").get(tokens.arg_max())
    return (
        measured.group_by(*_MODEL, maintain_order=True)
        .agg(
            pl.col("window_tokens").first(),
            requests=tokens.count(),
            peak_tokens=tokens.max(),
            peak_step=pl.col("step").get(tokens.arg_max()),
            last_tokens=tokens.drop_nulls().last(),
            compactions=pl.col("compacted").sum(),
            compacted_after_peak=pl.col("context").get(tokens.arg_max()) < pl.col("context").last(),
            tokens_per_turn=pl.when(tokens.filter(last).count() >= TREND_REQUESTS).then(grown),
            steps=pl.col("step").filter(
                peak & tokens.is_not_null() & (pl.col("step") <= pl.col("step").get(tokens.arg_max()))
            ),
            first_turn=pl.col("turn").filter(peak).first(),
            last_turn=pl.col("turn").get(tokens.arg_max()),
        )
        .with_columns(
            # Rounded: a division by a single value is done as a multiplication and differs in the last bit.
            peak_share=(pl.col("peak_tokens") / pl.col("window_tokens")).round(6),
            last_share=(pl.col("last_tokens") / pl.col("window_tokens")).round(6),
            tokens_per_turn=pl.when(pl.col("tokens_per_turn") > 0).then("tokens_per_turn"),
        )
        .with_columns(
            turns_left=((pl.col("window_tokens") - pl.col("last_tokens")) / pl.col("tokens_per_turn")).floor()
        )
    )


def severity(params: Context) -> pl.Expr:
    """Near the window is an error, or a warning; a compaction afterwards takes one grade off; a mere forecast is mentioned."""
    full, high, kept = (
        pl.col("peak_share") >= params.error_share,
        pl.col("peak_share") >= params.warn_share,
        pl.col("compacted_after_peak"),
    )
    return (
        pl.when(full & ~kept)
        .then(pl.lit("error"))
        .when(full | (high & ~kept))
        .then(pl.lit("warning"))
        .otherwise(pl.lit("info"))
    )


def message(facts: Mapping[str, Any]) -> str:
    """The context reached 178,000 of 200,000 tokens ..."""
    model = f" of `{facts['model']}`" if facts["model"] else ""
    reached = f"The context reached {facts['peak_tokens']:,} of {facts['window_tokens']:,} tokens ({facts['peak_share']:.0%}){model}"
    compacted = ", and was then compacted" if facts["compacted_after_peak"] else ""
    left = facts["turns_left"]
    rate = (
        f" and grew by {facts['tokens_per_turn']:,.0f} a turn: {_full(int(left))} at this rate"
        if left is not None and not compacted
        else ""
    )
    return f"{reached} in turn {facts['last_turn']}{compacted}{rate}."


def _full(turns_left: int) -> str:
    return f"full in {plural(turns_left, 'turn')}" if turns_left > 0 else "the next turn does not fit"


def sight(frames: Frames, policy: Policy) -> Sight:
    """Model calls with token counts, of models whose window is known."""
    known = windows(frames, policy)["model"].implode()
    counts = frames.models.select(
        calls=pl.col("calls").sum(), known=pl.col("measured").filter(pl.col("model").is_in(known)).sum()
    )
    return Sight(int(counts["calls"].item() or 0), int(counts["known"].item() or 0))


DETECTOR = Detector(
    slug="context_growth",
    failure_mode="context overflow",
    title="The context nearly full",
    finds="One request came near the model's context window, or a steady growth was about to fill it.",
    matters="Long before the window is full answers get slower, dearer and worse; when it is, the run fails or drops "
    "what it knew. The peak of a single request counts here, never a sum.",
    wrong="The window is the model's default: one that was widened by an option or a beta header is larger than we "
    "believe (set `context.windows`). Two conversations in one run look like "
    "one that was compacted. Models we do not know are not judged, and the outcome says so.",
    advice="Cut tool results before they enter the context, compact at a measured share of the window "
    "(`context.warn_share`), or hand parts of the work to sub-agents.",
    params="context",
    evidence={
        "model": "Model whose window it is.",
        "peak_tokens": "Input tokens of the largest request.",
        "window_tokens": "The model's context window.",
        "peak_share": "The one over the other.",
        "last_share": "Share of the window in use in the last request.",
        "tokens_per_turn": "Growth of the last context; null where there is no trend.",
        "turns_left": "Turns until the window would have been full at that rate.",
        "compactions": "How often the context became smaller by a third or more.",
        "compacted_after_peak": "Whether that happened after the largest request.",
        "filled_by": "What the largest request consisted of, as shares of its characters; null where messages were not recorded.",
    },
    reads={"model_calls": ("input_tokens",)},
    message=message,
    sight=sight,
    unseen="token counts were not recorded, or the model's window is not known (set `context.windows`)",
    find=find,
)
