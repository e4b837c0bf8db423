"""Two groups of runs to be compared: by agent, model, user, version, or the time before and after a moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import polars as pl

from analyzer.diff import Difference, difference
from analyzer.findings import Finding

COLUMNS: Final = {"agent": "agent_name", "model": "model", "user": "user_id", "version": "version"}
"""What groups may be told apart by, besides time -> column of the runs."""
RUNS_COMPARED: Final = 50_000
"""Newest runs of each group that are compared: the interval of a mean is no narrower to the eye with more."""


def values(runs: pl.DataFrame, by: str, most: int = 500) -> list[str]:
    """The commonest values of what groups are told apart by; what is not known left out."""
    column = COLUMNS[by]
    known = runs.select(column).drop_nulls().group_by(column).len().sort("len", column, descending=[True, False])
    return known[column].head(most).to_list()


def group(runs: pl.DataFrame, by: str, value: str) -> pl.DataFrame:
    """The runs of one group; never those of which the value is not known."""
    return runs.filter(pl.col(COLUMNS[by]) == value)


def halves(runs: pl.DataFrame, at_ns: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The runs that started before a moment (nanoseconds since 1970), and from it on."""
    later = pl.col("start_ns") >= at_ns
    return runs.filter(~later), runs.filter(later)


def compared(left: pl.DataFrame, right: pl.DataFrame, findings: Sequence[Finding]) -> tuple[Difference, int]:
    """The two groups as `analyzer.diff` compares them, and how many older runs were left out of it.

    Agent by agent; where the groups have no agent in common, all runs of each as one, whose agent is then not named.
    """
    kept = [side.sort("start_ns", descending=True, nulls_last=True).head(RUNS_COMPARED) for side in (left, right)]
    left_out = left.height + right.height - sum(side.height for side in kept)
    own = [[f for f in findings if f.run_id in ids] for ids in (set(side["run_id"]) for side in kept)]
    if set(left["agent_name"]).isdisjoint(right["agent_name"]):
        kept = [side.with_columns(agent_name=pl.lit(None, pl.String)) for side in kept]
        own = [[replace(f, agent_name=None) for f in side] for side in own]
    return difference(kept[0], kept[1], own[0], own[1]), left_out
