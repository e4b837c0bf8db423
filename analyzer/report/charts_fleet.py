"""Charts over many runs: failure modes over time, spend and its outliers, the cache, the tools. Pure, as `analyzer.report.charts`."""

from __future__ import annotations

from typing import Final

import altair as alt
import polars as pl

from analyzer.report import axes
from analyzer.report.charts import HEIGHT
from analyzer.report.colors import KIND_COLORS, LIMIT_COLOR, MONEY_COLORS, SEVERITY_COLORS, TOKEN_COLORS

MODE_COLORS: Final = {
    "tool errors that cascade": "#c4605f",
    "infinite loops": "#8f7fc6",
    "context overflow": "#5b8fd0",
    "hallucinated tool calls": "#3fa08c",
    "stuck states": "#8794a6",
    "cost explosions": "#cf9c3a",
}
"""Rose for errors, violet for loops, the blue of tokens, the green of tools, grey where nothing moves, gold for money."""
POINT_COLORS: Final = {"outlier": SEVERITY_COLORS["warning"], "run": MONEY_COLORS["useful"]}
PICKED: Final = "picked"
_ROW_PIXELS: Final = 26
_AXIS_PIXELS, _LEGEND_PIXELS = 80, 55
"""What the axis below and the legend above take of the height of a chart of rows."""


def modes_over_time(frame: pl.DataFrame, starts: pl.Series) -> alt.Chart:
    """Columns of `findings` by `start`, stacked by `mode`; `frame` from `views.failures.modes_over_time`.

    `starts` are those of all stretches of time with runs: the axis shows them all, so quiet times are seen to be quiet. A click on a part
    of a column picks its `since_ns` and `mode`, under the name `PICKED`.
    """
    picked = alt.selection_point(name=PICKED, fields=["since_ns", "mode"])
    order = {mode: place for place, mode in enumerate(MODE_COLORS)}
    quiet = pl.DataFrame({"start": starts}).join(frame.select("bucket_seconds").head(1), how="cross")
    blank = quiet.with_columns(mode=pl.lit(next(iter(MODE_COLORS))), findings=0, runs=0)
    rows = pl.concat([frame, blank], how="diagonal_relaxed").with_columns(
        place=pl.col("mode").replace_strict(order, default=len(order), return_dtype=pl.Int32)
    )
    most = int(frame.group_by("start").agg(pl.col("findings").sum())["findings"].max() or 0)  # type: ignore[arg-type]  # counts
    chart: alt.Chart = (
        alt.Chart(axes.with_end(rows))
        .transform_stack(stack="findings", as_=["low", "high"], groupby=["start"], sort=axes.by("place"))
        .mark_rect()
        .encode(
            **axes.over_time(frame),
            y=alt.Y("low:Q", title="findings", axis=axes.whole_numbers(most)),
            y2="high:Q",
            color=axes.colored("mode", MODE_COLORS, _wide_legend()),
            opacity=alt.condition(picked, alt.value(1.0), alt.value(0.35)),
            tooltip=[
                axes.when(),
                alt.Tooltip("mode:N", title="failure mode"),
                alt.Tooltip("findings:Q", format=","),
                alt.Tooltip("runs:Q", title="in runs", format=","),
            ],
        )
        .add_params(picked)
        .properties(height=HEIGHT, description="Findings over time by failure mode")
    )
    return chart


def _wide_legend() -> alt.Legend:
    # Six names of two or three words: in two rows they are never wider than half a laptop.
    return alt.Legend(
        title=None, orient="top", columns=3, symbolType="square", symbolSize=80, symbolStrokeWidth=0, labelLimit=170
    )


def spend_by_group(frame: pl.DataFrame, name: str) -> alt.Chart:
    """Bars of US dollars by `group`; `frame` from `views.cost.by_group`, in its order."""
    chart: alt.Chart = (
        alt.Chart(frame.select("group", "cost_usd", "runs", "calls"))
        .mark_bar(height=16, cornerRadiusEnd=2, color=MONEY_COLORS["useful"])
        .encode(
            x=alt.X("cost_usd:Q", title="US dollars", axis=axes.money()),
            y=alt.Y("group:N", title=None, sort=None, axis=axes.names()),
            tooltip=[
                alt.Tooltip("group:N", title=name),
                axes.usd("cost_usd:Q"),
                _count("runs"),
                _count("calls", "model calls"),
            ],
        )
        .properties(height=rows_height(frame.height, legend=False), description=f"Spend by {name}")
    )
    return chart


def spread(bands: pl.DataFrame, points: pl.DataFrame, name: str) -> alt.LayerChart:
    """What whole runs cost in each group, on a logarithmic axis: a bar for the middle ninety of a hundred, a line at the median, and
    the dearest one by one. Frames from `views.cost.spread`.
    """
    order = bands["group"].to_list()
    low, high, dearest = _least(bands, "low"), _most(bands, "high"), _most(points, "cost_usd")
    y = alt.Y("group:N", title=None, sort=order, axis=axes.names())
    scale = alt.Scale(type="log", nice=False, padding=12)
    x = alt.X(
        "low:Q",
        title="US dollars per run (logarithmic)",
        scale=scale,
        axis=axes.logarithmic(low, max(high, dearest), format="$,~r"),
    )
    about = [alt.Tooltip("group:N", title=name), _count("runs"), *(axes.usd(f"{c}:Q", t) for c, t in _BANDS)]
    wide = alt.Chart(bands).mark_bar(height=12, opacity=0.28, cornerRadius=2, color=LIMIT_COLOR)
    middle = alt.Chart(bands).mark_tick(thickness=2.5, size=20, color=LIMIT_COLOR)
    dots = alt.Chart(points).mark_point(filled=True, size=46, opacity=0.85)
    return axes.layered(
        wide.encode(x=x, x2="high:Q", y=y, tooltip=about),
        middle.encode(x=alt.X("median:Q", scale=scale), y=y, tooltip=about),
        dots.encode(
            x=alt.X("cost_usd:Q", scale=scale),
            y=y,
            color=axes.colored("marked", POINT_COLORS),
            tooltip=[
                alt.Tooltip("group:N", title=name),
                alt.Tooltip("run_id:N", title="run"),
                axes.usd("cost_usd:Q"),
                alt.Tooltip("times:Q", title="times the median", format=",.3~r"),
            ],
        ),
        height=rows_height(bands.height),
        description=f"Cost of runs by {name}",
    )


_BANDS: Final = (("low", "5 of 100 cost less than"), ("median", "median"), ("high", "5 of 100 cost more than"))


def cache(frame: pl.DataFrame, name: str) -> alt.Chart:
    """Input tokens of each `group` by how they were billed, as shares; `frame` from `views.cost.by_group`, groups that tell only."""
    parts = {
        "cache_read_tokens": "read from cache",
        "cache_write_tokens": "written to cache",
        "uncached_tokens": "uncached",
    }
    long = (
        frame.select("group", "measured_input_tokens", *parts)
        .unpivot([*parts], index=["group", "measured_input_tokens"], variable_name="part", value_name="tokens")
        .filter(pl.col("tokens") > 0)
        .with_columns(
            share=pl.col("tokens") / pl.col("measured_input_tokens"),
            place=pl.col("part").replace_strict([*parts], range(3), return_dtype=pl.Int32),
            part=pl.col("part").replace_strict(parts),
        )
    )
    chart: alt.Chart = (
        alt.Chart(long)
        .mark_bar(height=16)
        .encode(
            x=alt.X(
                "share:Q",
                title="share of input tokens",
                stack="zero",
                axis=alt.Axis(format="%", tickCount=5),
                scale=alt.Scale(domain=[0, 1]),
            ),
            y=alt.Y("group:N", title=None, sort=frame["group"].to_list(), axis=axes.names()),
            color=axes.colored("part", TOKEN_COLORS),
            order=alt.Order("place:Q"),
            tooltip=[
                alt.Tooltip("group:N", title=name),
                "part:N",
                alt.Tooltip("share:Q", format=".1%"),
                _count("tokens"),
            ],
        )
        .properties(height=rows_height(frame.height), description=f"Input tokens by how they were billed, by {name}")
    )
    return chart


def latency(frame: pl.DataFrame) -> alt.LayerChart:
    """Median and 95th of a hundred call times by tool, on a logarithmic axis in the unit they are read in.

    `frame` from `views.tools.summaries`, tools with measured times above nothing only.
    """
    unit, size = axes.time_unit(_most(frame, "p95_seconds"))
    rows = frame.select(
        "tool_name", "timed_calls", median=pl.col("median_seconds") / size, p95=pl.col("p95_seconds") / size
    )
    y = alt.Y("tool_name:N", title=None, sort=rows["tool_name"].to_list(), axis=axes.names())
    scale = alt.Scale(type="log", nice=False, padding=12)
    axis = axes.logarithmic(_least(rows, "median"), _most(rows, "p95"), format="~r")
    x = alt.X(
        "median:Q", title=f"time of a call, {unit} (logarithmic): median and 95th percentile", scale=scale, axis=axis
    )
    told = [alt.Tooltip("tool_name:N", title="tool"), _count("timed_calls", "measured calls")]
    times = [
        alt.Tooltip(f"{c}:Q", title=f"{t}, {unit}", format=",.3~r")
        for c, t in (("median", "median"), ("p95", "95th percentile"))
    ]
    line = (
        alt.Chart(rows).mark_rule(strokeWidth=3, opacity=0.45, color=KIND_COLORS["tool"]).encode(x=x, x2="p95:Q", y=y)
    )
    dot = alt.Chart(rows).mark_point(filled=True, size=70, opacity=1, color=KIND_COLORS["tool"])
    end = alt.Chart(rows).mark_tick(thickness=3, size=14, color=KIND_COLORS["tool"])
    return axes.layered(
        line,
        dot.encode(x=x, y=y, tooltip=[*told, *times]),
        end.encode(x=alt.X("p95:Q", scale=scale), y=y, tooltip=[*told, *times]),
        height=rows_height(rows.height, legend=False),
        description="Times of calls by tool",
    )


OUTCOME_COLORS: Final = {
    "fine": "#9ccfc1",
    "failed": SEVERITY_COLORS["error"],
    "blocked": KIND_COLORS["blocked"],
    "not known": "#c3c9d1",
}


def calls_by_outcome(frame: pl.DataFrame) -> alt.Chart:
    """Calls by tool, split by how they ended; `frame` from `views.tools.summaries`."""
    rows = frame.select(
        "tool_name",
        pl.col("failed_calls").alias("failed"),
        pl.col("blocked_calls").alias("blocked"),
        fine=pl.col("judged_calls") - pl.col("failed_calls"),
        not_known=pl.col("calls") - pl.col("judged_calls") - pl.col("blocked_calls"),
    ).rename({"not_known": "not known"})
    places = {"failed": 0, "blocked": 1, "fine": 2, "not known": 3}
    long = (
        rows.unpivot([*places], index="tool_name", variable_name="outcome", value_name="calls")
        .filter(pl.col("calls") > 0)
        .with_columns(place=pl.col("outcome").replace_strict(places, return_dtype=pl.Int32))
    )
    most = int(frame["calls"].max() or 0)  # type: ignore[arg-type]  # counts
    chart: alt.Chart = (
        alt.Chart(long)
        .mark_bar(height=16)
        .encode(
            x=alt.X("calls:Q", title="calls", axis=axes.whole_numbers(most)),
            y=alt.Y("tool_name:N", title=None, sort=frame["tool_name"].to_list(), axis=axes.names()),
            color=axes.colored("outcome", OUTCOME_COLORS),
            order=alt.Order("place:Q"),
            tooltip=[alt.Tooltip("tool_name:N", title="tool"), "outcome:N", _count("calls")],
        )
        .properties(height=rows_height(frame.height), description="Calls by tool and how they ended")
    )
    return chart


def _count(field: str, title: str | None = None) -> alt.Tooltip:
    return alt.Tooltip(f"{field}:Q", title=title or field, format=",")


def _most(frame: pl.DataFrame, column: str) -> float:
    return float(frame[column].max() or 1)  # type: ignore[arg-type]  # a numeric column


def _least(frame: pl.DataFrame, column: str) -> float:
    return float(frame[column].min() or 1)  # type: ignore[arg-type]  # as above


def rows_height(rows: int, *, legend: bool = True) -> int:
    """Pixels of a chart of so many rows, axis and legend included: Streamlit fits the whole into it."""
    return max(1, rows) * _ROW_PIXELS + _AXIS_PIXELS + (_LEGEND_PIXELS if legend else 0)
