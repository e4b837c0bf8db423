"""What is usual: the cost of the runs of one agent and model, and of one hour of the day."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from analyzer.alerts import metrics
from analyzer.alerts.metrics import Metric
from analyzer.alerts.windows import SECOND, Instants, sums

_MAD_TO_DEVIATION: Final = 1.4826
"""As in `cost_outlier`."""
_GROUP_RUNS: Final = 1000
"""Latest finished runs of a group that say what is usual: prices and prompts change, and the middle of a thousand is well known."""
_LEAST_DAYS: Final = 3
_DAY_NS: Final = 86_400 * SECOND


def group_costs(runs: pl.DataFrame, instants: Instants) -> dict[Metric, pl.DataFrame]:
    """Median, spread and number of the finished runs of each agent and model that have a known cost, at each instant.

    Of the latest `_GROUP_RUNS` of them. `runs` as from `stretches.runs_between`.
    """
    finished = runs.filter(~pl.col("pending"), pl.col("unpriced_calls") == 0, pl.col("cost_usd") > 0)
    found: dict[Metric, list[pl.DataFrame]] = {
        metrics.GROUP_COST: [],
        metrics.GROUP_DEVIATION: [],
        metrics.GROUP_RUNS: [],
    }
    for (agent, model), group in finished.partition_by("agent_name", "model", as_dict=True).items():
        ended = group.sort("last_ns")
        counts = np.searchsorted(ended["last_ns"].to_numpy(), instants, "right")
        distinct = np.unique(counts[counts > 0])
        said = {int(n): _middle(np.log(ended["cost_usd"].to_numpy()[max(0, n - _GROUP_RUNS) : n])) for n in distinct}
        known = counts > 0
        rows = pl.DataFrame({"at_ns": instants[known], "n": counts[known]}).with_columns(
            agent_name=pl.lit(agent, pl.String), model=pl.lit(model, pl.String)
        )
        columns = {
            metrics.GROUP_COST: [said[n][0] for n in rows["n"]],
            metrics.GROUP_DEVIATION: [said[n][1] for n in rows["n"]],
            metrics.GROUP_RUNS: [float(n) for n in rows["n"]],
        }
        for metric, values in columns.items():
            found[metric].append(rows.select("at_ns", "agent_name", "model", value=pl.Series(values, dtype=pl.Float64)))
    schema = {"at_ns": pl.Int64, "agent_name": pl.String, "model": pl.String, "value": pl.Float64}
    return {metric: pl.concat(rows) if rows else pl.DataFrame(schema=schema) for metric, rows in found.items()}


def _middle(logs: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Median in dollars, and the robust standard deviation of the logarithms."""
    median = float(np.median(logs))
    return float(np.exp(median)), float(np.median(np.abs(logs - median))) * _MAD_TO_DEVIATION


def usual_hour(priced: pl.DataFrame, instants: Instants) -> pl.DataFrame:
    """The median of what the same hour cost on the days before, by agent; no row where fewer than three of them are on record."""
    labels = metrics.AGENT_LABELS
    days = [
        sums(priced, labels, metrics.HOUR_SECONDS, instants - day * _DAY_NS).with_columns(
            at_ns=pl.col("at_ns") + day * _DAY_NS
        )
        for day in range(1, metrics.USUAL_DAYS + 1)
    ]
    return (
        pl.concat(days)
        .group_by("at_ns", *labels)
        .agg(pl.col("value").median(), days=pl.len())
        .filter(pl.col("days") >= _LEAST_DAYS)
        .drop("days")
        .sort("at_ns", *labels)
    )
