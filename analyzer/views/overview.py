"""What the first page says beyond sums: which agents are worst, and what is new since their last deploy."""

from __future__ import annotations

from typing import Final

import duckdb
import polars as pl

# The first span of a run speaks for it; where it says no version, the first one that does.
_VERSIONS: Final = """
WITH sets AS MATERIALIZED (
    SELECT attributes_key, attributes.resource."service.version"::VARCHAR AS version FROM attribute_sets
), said AS MATERIALIZED (
    SELECT attributes_key, version FROM sets WHERE version IS NOT NULL AND version <> ''
)
SELECT run_key, arg_min(version, step) AS version FROM spans JOIN said USING (attributes_key) GROUP BY run_key ORDER BY run_key
"""
KINDS_SHOWN: Final = 200


def versions(con: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """One row is one run whose spans say which version of the service ran (`service.version`): `run_key`, `version`."""
    frame: pl.DataFrame = con.sql(_VERSIONS).pl()
    return frame


def deploys(runs: pl.DataFrame, versions: pl.DataFrame) -> pl.DataFrame:
    """One row is one agent's newest version: `agent_name`, `version`, `before` (the version that ran last until then; null: it is the first
    known), `deployed_ns` (start of its first run), `runs_before` and `runs_since`.

    The newest version is the one whose first run began last; a version that comes back is not a new one.
    """
    known = runs.select("run_key", "agent_name", "start_ns").drop_nulls("start_ns").join(versions, on="run_key")
    firsts = known.group_by("agent_name", "version").agg(deployed_ns=pl.col("start_ns").min())
    newest = firsts.sort("deployed_ns", "version").group_by("agent_name", maintain_order=True).last()
    earlier = (
        known.join(newest.select("agent_name", "deployed_ns"), on="agent_name", nulls_equal=True)
        .filter(pl.col("start_ns") < pl.col("deployed_ns"))
        .sort("start_ns")
        .group_by("agent_name", maintain_order=True)
        .agg(before=pl.col("version").last())
    )
    since = pl.col("start_ns") >= pl.col("deployed_ns")
    counts = (
        runs.join(newest.select("agent_name", "deployed_ns"), on="agent_name", nulls_equal=True)
        .group_by("agent_name")
        .agg(runs_before=(~since).sum(), runs_since=since.sum())
    )
    return (
        newest.join(earlier, on="agent_name", how="left", nulls_equal=True)
        .join(counts, on="agent_name", how="left", nulls_equal=True)
        .select("agent_name", "version", "before", "deployed_ns", "runs_before", "runs_since")
        .sort("deployed_ns", "agent_name", descending=[True, False])
    )


def new_since(found: pl.DataFrame, runs: pl.DataFrame, deploys: pl.DataFrame) -> pl.DataFrame:
    """One row is one kind of finding (detector, agent and tool) that occurred in a run since the agent's last deploy and in none before it:
    `agent_name`, `version`, `detector`, `mode`, `tool_name`, `severity`, `findings`, `runs`, `wasted_usd`; the worst first.

    An agent of which no run before its deploy is known has nothing to compare with, and no row. `found` from `views.failures.found`.
    """
    compared = deploys.filter(pl.col("runs_before") > 0).select("agent_name", "version", "deployed_ns")
    starts = runs.select("run_id", "agent_name", run_start_ns="start_ns")
    rows = (
        found.drop("agent_name")
        .join(starts, on="run_id")
        .join(compared, on="agent_name", nulls_equal=True)
        .with_columns(since=(pl.col("run_start_ns") >= pl.col("deployed_ns")).fill_null(value=False))
    )
    kind = ("agent_name", "detector", "tool_name")
    return (
        rows.filter(pl.col("since").all().over(kind))
        .group_by(*kind, "version", "mode")
        .agg(
            severity=pl.col("severity").get(pl.col("rank").arg_max()),
            rank=pl.col("rank").max(),
            findings=pl.len(),
            runs=pl.col("run_id").n_unique(),
            wasted_usd=pl.when(pl.col("wasted_usd").count() > 0).then(pl.col("wasted_usd").sum()),
        )
        .sort("rank", "runs", *kind, descending=[True, True, False, False, False])
        .select("agent_name", "version", "detector", "mode", "tool_name", "severity", "findings", "runs", "wasted_usd")
        .head(KINDS_SHOWN)
    )


def worst_agents(runs: pl.DataFrame) -> pl.DataFrame:
    """One row is one agent (null: no name): `runs`, `failed` (by outcome), `troubled` (a warning or an error was found), `cost_usd`,
    `wasted_usd` (null: nothing known), `wasted_share` of its cost; the most wasted first, then the largest
    share of troubled runs. `runs` from `views.runs.with_findings`.
    """
    return (
        runs.group_by("agent_name")
        .agg(
            runs=pl.len(),
            failed=(pl.col("outcome") == "failed").sum(),
            troubled=(pl.col("rank") >= 1).sum(),
            cost_usd=_sum("cost_usd"),
            wasted_usd=_sum("wasted_usd"),
        )
        .with_columns(
            troubled_share=pl.col("troubled") / pl.col("runs"),
            wasted_share=pl.when(pl.col("cost_usd") > 0).then(pl.col("wasted_usd") / pl.col("cost_usd")),
        )
        .sort(
            "wasted_usd",
            "troubled_share",
            "failed",
            "agent_name",
            descending=[True, True, True, False],
            nulls_last=[True, False, False, True],
        )
    )


def _sum(column: str) -> pl.Expr:
    return pl.when(pl.col(column).count() > 0).then(pl.col(column).sum())
