"""Money: by agent, model, user and day, which runs cost more than others of their group, the cache, and where prices come from."""

from __future__ import annotations

from typing import Final

import duckdb
import polars as pl

from analyzer.views.runs_wanted import Wanted, ns_of

GROUPINGS: Final = {"Agent": "agent_name", "Model": "model", "User": "user_id", "Day": "day"}
"""What cost may be grouped by -> the column that says so."""
POINTS_EACH: Final = 40
"""Runs of a group that are shown one by one: its dearest."""
GROUPS_SHOWN: Final = 12
_DAY_NS: Final = 86_400 * 10**9

_SPENT: Final = """
SELECT run_key, coalesce(response_model, request_model) AS model,
    count(*) AS calls, count(*) - count(cost_usd) AS unpriced_calls, sum(cost_usd) AS cost_usd,
    sum(input_tokens + coalesce(compaction_input_tokens, 0))::BIGINT AS input_tokens,
    sum(output_tokens + coalesce(compaction_output_tokens, 0))::BIGINT AS output_tokens,
    sum(cache_read_tokens)::BIGINT AS cache_read_tokens,
    sum(cache_write_tokens)::BIGINT AS cache_write_tokens,
    sum(CASE WHEN cache_read_tokens IS NOT NULL THEN input_tokens END)::BIGINT AS measured_input_tokens,
    count(cache_read_tokens) AS measured_calls
FROM spans WHERE kind = 'model' AND duplicate_of IS NULL GROUP BY run_key, model ORDER BY run_key, model
"""

_SOURCES: Final = """
SELECT coalesce(price_source, 'not recorded') AS source, count(*) AS calls, sum(cost_usd) AS cost_usd,
    sum(input_tokens)::BIGINT AS input_tokens, sum(output_tokens)::BIGINT AS output_tokens,
    list_sort(list_distinct(list(coalesce(response_model, request_model))))[:8] AS models,
    count(cost_usd) > 0 AS priced
FROM spans WHERE kind = 'model' AND duplicate_of IS NULL GROUP BY source ORDER BY priced DESC, calls DESC, source
"""


def spent(con: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """One row is one run and model: `run_key`, `model`, `calls`, `unpriced_calls`, `cost_usd` and tokens (null: none known).

    `measured_input_tokens` are those of the `measured_calls` that say how much was read from the cache. Calls reported twice count once.
    """
    frame: pl.DataFrame = con.sql(_SPENT).pl()
    return frame


def sources(con: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """One row is one source of prices, or one reason why there is none: `source`, `calls`, `cost_usd`, `input_tokens`, `output_tokens`,
    `models` (at most eight), `priced`.
    """
    frame: pl.DataFrame = con.sql(_SOURCES).pl()
    return frame


def together(spent: pl.DataFrame) -> dict[str, float | None]:
    """Sums over `spent`: `cache_read_tokens`, `cache_write_tokens`, `measured_input_tokens`, `measured_calls` (null: no call tells), and
    `median_run_usd` of the runs that have a price.
    """
    per_run = spent.group_by("run_key").agg(_sum("cost_usd"))
    sums = spent.select(
        *map(_sum, ("cache_read_tokens", "cache_write_tokens", "measured_input_tokens")), pl.col("measured_calls").sum()
    )
    return {**sums.row(0, named=True), "median_run_usd": per_run.select(pl.col("cost_usd").median()).item()}


def cache_in_words(sums: dict[str, float | None]) -> str:
    """What the cache did, in a sentence; `sums` from `together`."""
    read, written, whole = (sums[c] for c in ("cache_read_tokens", "cache_write_tokens", "measured_input_tokens"))
    if not whole:
        return "No model call says how much of its input was read from the cache."
    share = f"{(read or 0) / whole:.0%} of the input was read from the cache"
    if written is None:
        return f"{share}; how much was written to it was not recorded."
    if not written:
        return f"{share}; nothing was written to it."
    return f"{share}; each token written to it was read {(read or 0) / written:,.1f} times. Below once, writing cost more than it saved."


def with_day(runs: pl.DataFrame) -> pl.DataFrame:
    """`runs` (from `views.runs.with_findings`) with `day`, `2026-11-22` in UTC; null where the start is not known."""
    return runs.with_columns(day=pl.from_epoch("start_ns", time_unit="ns").dt.strftime("%Y-%m-%d"))


def by_group(spent: pl.DataFrame, runs: pl.DataFrame, by: str) -> pl.DataFrame:
    """One row is one group (`by` is a value of `GROUPINGS`; `group` null: not recorded), the dearest first; days in order of time.

    `runs`, `calls`, `unpriced_calls`, `cost_usd` (null: no call has a price), `median_run_usd` (of runs with a price), `input_tokens`,
    `output_tokens`, `cache_read_tokens`, `cache_write_tokens`, `uncached_tokens` and `cache_read_share` of the input of calls that tell
    (null: none does), `wasted_usd` (what is known of it; by model: null, a run has several). `runs` from `with_day`.
    """
    of_model = by == "model"
    facts = runs.select("run_key", "wasted_usd", *([] if of_model else [pl.col(by)]))
    rows = spent.join(facts, on="run_key", how="left").rename({by: "group"})
    per_run = rows.group_by("group", "run_key").agg(_sum("cost_usd"), pl.col("wasted_usd").first())
    runs_of = per_run.group_by("group").agg(
        runs=pl.len(),
        median_run_usd=pl.col("cost_usd").median(),
        wasted_usd=pl.lit(None, pl.Float64) if of_model else _sum("wasted_usd"),
    )
    counters = (
        "cost_usd",
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "measured_input_tokens",
    )
    grouped = (
        rows.group_by("group")
        .agg(pl.col("calls", "unpriced_calls", "measured_calls").sum(), *map(_sum, counters))
        .join(runs_of, on="group", nulls_equal=True)
        .with_columns(
            cache_read_share=pl.when(pl.col("measured_input_tokens") > 0).then(
                pl.col("cache_read_tokens") / pl.col("measured_input_tokens")
            ),
            uncached_tokens=pl.col("measured_input_tokens")
            - pl.col("cache_read_tokens")
            - pl.col("cache_write_tokens").fill_null(0),
        )
    )
    if by == "day":
        return grouped.sort("group", nulls_last=True)
    return grouped.sort("cost_usd", "calls", "group", descending=[True, True, False], nulls_last=True)


def runs_of(by: str, group: str | None) -> Wanted:
    """The runs of one group (`by` is a value of `GROUPINGS`); None: those of which it is not known (of an unknown day: all)."""
    if by == "day":
        since_ns = ns_of(group) if group else None
        return Wanted(since_ns=since_ns, until_ns=since_ns + _DAY_NS if since_ns is not None else None)
    named = (group or "",)
    return (
        Wanted(agents=named) if by == "agent_name" else Wanted(models=named) if by == "model" else Wanted(users=named)
    )


def largest(groups: pl.DataFrame, shown: int = GROUPS_SHOWN) -> tuple[pl.DataFrame, int]:
    """The first groups that have a name and a price, and how many more there are."""
    named = groups.filter(pl.col("group").is_not_null() & pl.col("cost_usd").is_not_null())
    return named.head(shown), max(0, named.height - shown)


def spread(runs: pl.DataFrame, by: str, groups: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """How the cost of whole runs lies within `groups`: bands and points.

    Bands: one row is one group: `group`, `runs` (with a price above nothing), `low` and `high` (the 5th and the 95th of a hundred runs),
    `median`. Points: one row is one of the dearest `POINTS_EACH` runs of a group: `group`, `run_id`, `cost_usd`, `times` the median of its
    group, and `marked`: `outlier` where the detector `cost_outlier` says so, else `run`. US dollars. `runs` from `with_day`.
    """
    priced = (
        runs.rename({by: "group"}).filter(pl.col("group").is_in(groups), pl.col("cost_usd") > 0)
        .select("group", "run_id", "cost_usd", marked=_marked())
    )  # fmt: skip
    bands = (
        priced.group_by("group")
        .agg(
            runs=pl.len(),
            low=pl.col("cost_usd").quantile(0.05, "linear"),
            median=pl.col("cost_usd").median(),
            high=pl.col("cost_usd").quantile(0.95, "linear"),
        )
        .sort("median", "group", descending=[True, False])
    )
    points = (
        priced.sort("cost_usd", "run_id", descending=[True, False])
        .group_by("group", maintain_order=True)
        .head(POINTS_EACH)
        .join(bands.select("group", "median"), on="group")
        .with_columns(times=pl.col("cost_usd") / pl.col("median"))
        .drop("median")
        .sort("group", "cost_usd", descending=[False, True])
    )
    return bands, points


def outliers(points: pl.DataFrame, bands: pl.DataFrame, shown: int = 50) -> pl.DataFrame:
    """Of `points` the runs that stand out, the furthest from the median of their group first: `run_id`, `group`, `cost_usd`, `median`,
    `times`, `marked`. A run stands out where it costs at least twice the median of five runs or more.
    """
    enough = bands.filter(pl.col("runs") >= 5).select("group", "median")
    return (
        points.join(enough, on="group")
        .filter(pl.col("times") >= 2)
        .sort("times", "run_id", descending=[True, False])
        .head(shown)
    )


def _marked() -> pl.Expr:
    return pl.when(pl.col("detectors").list.contains("cost_outlier")).then(pl.lit("outlier")).otherwise(pl.lit("run"))


def _sum(column: str) -> pl.Expr:
    return pl.when(pl.col(column).count() > 0).then(pl.col(column).sum())
