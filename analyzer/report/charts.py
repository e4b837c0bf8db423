"""Charts as values: pure functions from a small frame to an Altair chart. They aggregate nothing and load nothing.

Here those of findings and spend; those of a run, of many runs and of single pages are in the other files of this name.
"""

from __future__ import annotations

from typing import Final

import altair as alt
import polars as pl

from analyzer.report import axes
from analyzer.report.colors import MONEY_COLORS, SEVERITY_COLORS

HEIGHT: Final = 300
"""Pixels of a chart that stands beside another, axes and legend included: Streamlit fits the whole into it."""


def findings_by_mode(frame: pl.DataFrame) -> alt.Chart:
    """Bars of `findings` by `detector`, split by `severity` (columns of the same names)."""
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_bar(height=16, cornerRadiusEnd=2)
        .encode(
            x=alt.X("findings:Q", title="findings", axis=axes.whole_numbers(_stacked(frame, "detector"))),
            y=alt.Y("detector:N", title=None, sort="-x", axis=axes.names()),
            color=axes.colored("severity", SEVERITY_COLORS),
            order=alt.Order("severity_rank:Q"),
            tooltip=[alt.Tooltip("detector:N"), alt.Tooltip("severity:N"), alt.Tooltip("findings:Q", format=",")],
        )
        .transform_calculate(severity_rank="indexof(['error', 'warning', 'info'], datum.severity)")
        .properties(height=HEIGHT, description="Findings by detector and severity")
    )
    return chart


def findings_over_time(frame: pl.DataFrame, starts: pl.Series) -> alt.Chart:
    """Columns of `findings` by `start`, split by `severity`; each is `bucket_seconds` wide.

    `starts` are those of all stretches of time with runs: the axis shows them all, so quiet times are seen to be quiet.
    """
    quiet = pl.DataFrame({"start": starts}).join(frame.select("bucket_seconds").head(1), how="cross")
    rows = pl.concat([frame, quiet.with_columns(severity=pl.lit("info"), findings=0)], how="diagonal_relaxed")
    chart: alt.Chart = (
        alt.Chart(axes.with_end(rows))
        .transform_stack(stack="findings", as_=["low", "high"], groupby=["start"], sort=axes.by("severity"))
        .mark_rect()
        .encode(
            **axes.over_time(frame),
            y=alt.Y("low:Q", title="findings", axis=axes.whole_numbers(_stacked(frame, "start"))),
            y2="high:Q",
            color=axes.colored("severity", SEVERITY_COLORS),
            tooltip=[axes.when(), alt.Tooltip("severity:N"), alt.Tooltip("findings:Q", format=",")],
        )
        .properties(height=HEIGHT, description="Findings over time by severity")
    )
    return chart


def spend_over_time(frame: pl.DataFrame) -> alt.Chart:
    """Columns of US dollars by `start`: `useful_usd`, and `wasted_usd` on top."""
    long = (
        axes.with_end(frame)
        .unpivot(["useful_usd", "wasted_usd"], index=["start", "end", "runs"], variable_name="part", value_name="usd")
        .with_columns(pl.col("part").str.strip_suffix("_usd"))
    )
    chart: alt.Chart = (
        alt.Chart(long)
        .transform_stack(stack="usd", as_=["low", "high"], groupby=["start"], sort=axes.by("part"))
        .mark_rect()
        .encode(
            **axes.over_time(frame),
            y=alt.Y("low:Q", title="US dollars", axis=axes.money()),
            y2="high:Q",
            color=axes.colored("part", MONEY_COLORS),
            tooltip=[axes.when(), alt.Tooltip("part:N"), axes.usd("usd:Q"), alt.Tooltip("runs:Q", format=",")],
        )
        .properties(height=HEIGHT, description="Spend over time, useful and wasted")
    )
    return chart


def _stacked(frame: pl.DataFrame, column: str) -> int:
    """The highest stack of `findings`."""
    return int(frame.group_by(column).agg(pl.col("findings").sum())["findings"].max() or 0)  # type: ignore[arg-type]
