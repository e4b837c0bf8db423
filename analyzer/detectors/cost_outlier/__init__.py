"""`cost_outlier`: a run that cost far more than its like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.detector import Detector, Sight, plural, seen
from analyzer.frames import Frames
from instrument.policy import Cost, Policy

_MAD_TO_DEVIATION: Final = 1.4826
"""Median absolute deviation times this estimates the standard deviation of a normal distribution: 1 / Φ⁻¹(3/4)."""
_GROUP: Final = ("agent", "model")


def compare(runs: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """One row is one run that cost far more than the runs of the same agent and model, or more than the static line
    where there are too few."""
    params = policy.cost
    whole = pl.col("unpriced_calls") == 0
    log = pl.col("cost_usd").log()
    usual = (
        runs.filter(whole, pl.col("cost_usd") > 0)
        .with_columns(away=(log - log.median().over(_GROUP)).abs())
        .group_by(_GROUP)
        .agg(
            group_runs=pl.len(),
            median_usd=log.median().exp(),
            deviation=pl.col("away").median() * _MAD_TO_DEVIATION,
            median_turns=pl.col("model_calls").median(),
            median_input_tokens=pl.col("input_tokens").median(),
        )
        .filter(pl.col("group_runs") >= params.outlier_runs)
    )
    beyond = pl.col("cost_usd").log() - pl.col("median_usd").log()
    return (
        runs.filter(pl.col("cost_usd") >= params.outlier_usd)
        .join(usual, on=_GROUP, how="left", nulls_equal=True)
        .with_columns(
            ratio=pl.col("cost_usd") / pl.col("median_usd"),
            # Where half the runs cost the same to the cent there is no spread to measure with, and the ratio alone decides.
            deviations=pl.when(pl.col("deviation") > 0).then(beyond / pl.col("deviation")),
            limit_usd=pl.when(pl.col("median_usd").is_null()).then(params.run_usd),
        )
        .filter(
            (
                (pl.col("ratio") >= params.outlier_ratio)
                & (pl.col("deviations") >= params.outlier_deviations).fill_null(True)
            )
            | (pl.col("cost_usd") >= pl.col("limit_usd"))
        )
        .sort("cost_usd", "run_key", descending=[True, False])
        .with_columns(
            pl.col("group_runs").fill_null(0),
            severity=severity(params),
            confidence=pl.when(pl.col("median_usd").is_null()).then(0.8).otherwise(0.9),
        )
        .with_columns(
            steps=pl.concat_list(pl.lit(0, pl.Int32), "last_step").list.unique(maintain_order=True),
            first_turn=pl.lit(0, pl.Int32),
        )
    )


def severity(params: Cost) -> pl.Expr:
    """An error from `error_ratio` times the median, or the line, upwards."""
    far = pl.coalesce("ratio", pl.col("cost_usd") / pl.col("limit_usd")) >= params.error_ratio
    return pl.when(far).then(pl.lit("error")).otherwise(pl.lit("warning"))


def message(facts: Mapping[str, Any]) -> str:
    """The run cost $12.40, 6.1 times the median ..."""
    least = "at least " if facts["unpriced_calls"] else ""
    cost = f"The run cost {least}${facts['cost_usd']:,.2f}"
    calls = f"{plural(facts['model_calls'], 'model call')}, {facts['input_tokens']:,} input tokens"
    if facts["median_usd"] is None:
        return f"{cost}, over the line of ${facts['limit_usd']:,.2f} for one run ({calls})."
    like = f"the median of {plural(facts['group_runs'], 'run')} of the same agent and model"
    return f"{cost}, {facts['ratio']:,.1f} times {like}, ${facts['median_usd']:,.2f} ({calls})."


def sight(frames: Frames, _: Policy) -> Sight:
    """Runs all of whose model calls have a price."""
    return seen(frames.runs, pl.col("unpriced_calls") == 0)


DETECTOR = Detector(
    slug="cost_outlier",
    failure_mode="cost explosions",
    title="A run far dearer than its like",
    finds="One run cost far more than usual for its agent and model; where there were too few runs to say what is "
    "usual, more than a fixed line.",
    matters="A handful of runaway runs is commonly most of a bill, and an average hides them.",
    wrong="A run that had more to do costs more: this says that it was dear, not that it was wrong, and therefore "
    "claims no waste. A group that mixes two kinds of task has a "
    "median that fits neither. Calls without a known price are never counted as free: such a run costs at least what is shown.",
    advice="Give runs a budget that is reserved before each call, and let someone review what goes beyond it; see which "
    "turns and which input made it dear first.",
    params="cost",
    evidence={
        "cost_usd": "What the run cost, in US dollars.",
        "median_usd": "Median of its group; null where the group is too small.",
        "ratio": "The one over the other.",
        "deviations": "Robust standard deviations of log cost above the median; null where the group has no spread.",
        "group_runs": "Runs in the group.",
        "limit_usd": "The fixed line, where that was used.",
        "model_calls": "Model calls of the run.",
        "median_turns": "Median of the group.",
        "input_tokens": "Input tokens of all its model calls.",
        "median_input_tokens": "Median of the group.",
        "unpriced_calls": "Model calls without a known price, not in the cost.",
        "model": "Model of its first model call.",
    },
    reads={"model_calls": ("cost_usd", "input_tokens", "failed")},
    message=message,
    sight=sight,
    unseen="model calls had no token counts or their model no known price",
    compare=compare,
)
