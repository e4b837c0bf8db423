"""Charts over the turns of a run: what each request was made of, and what each turn cost."""

from __future__ import annotations

from typing import Final

import altair as alt
import polars as pl

from analyzer.report import axes
from analyzer.report.colors import MONEY_COLORS, QUIET_COLOR, TEXT_COLOR
from analyzer.report.over_turns import headroom, lanes, limit, turn_bars, up_to

_TALL: Final = 340
"""Pixels of a chart over turns, with axes and legend."""
PART_COLORS: Final = {
    "system": "#8576b8", "declared": "#b9aedb", "user": "#c98bb0", "assistant": "#5b85d6", "other": "#a3b3ab", "unknown": "#c3c9d1",
}  # fmt: skip
_RESULT_COLORS: Final = ("#1f7a66", "#3a9d84", "#63b8a2", "#93d0bf", "#bfe3d9")
_WINDOW_SHOWN_FROM: Final = 0.25


def composition(
    parts: pl.DataFrame, unit: str, compactions: pl.DataFrame, bands: pl.DataFrame, window_tokens: int | None
) -> alt.LayerChart:
    """What each request was made of, stacked, against the model's window; compactions as lines, findings as lanes.

    `parts`, `unit` and `compactions` are those of `views.composition.Composition`, `bands` from `views.run.bands`.
    The window shows from a quarter of it in use.
    """
    colors = part_colors(parts)
    totals = parts.group_by("turn").agg(pl.col("amount").sum())
    peak = axes.largest(totals, "amount")
    most = window_tokens if window_tokens and unit == "tokens" and peak >= _WINDOW_SHOWN_FROM * window_tokens else 0
    top = max(peak, most) * headroom(bands)
    areas = turn_bars(parts.with_columns(pl.col("amount").round(1)), parts, spacing=0).encode(
        y=alt.Y("amount:Q", title=f"{unit} sent", axis=axes.amounts(tickCount=5), scale=up_to(top)),
        color=axes.colored("part", colors, legend=_PARTS_LEGEND),
        order=alt.Order("rank:Q"),
        tooltip=[
            alt.Tooltip("turn:Q", format=","),
            alt.Tooltip("last_turn:Q", title="to turn", format=","),
            alt.Tooltip("part:N"),
            alt.Tooltip("amount:Q", title=f"{unit} (split by characters)", format=",.0f"),
            alt.Tooltip("chars:Q", title="characters", format=","),
        ],
    )
    line = limit(most, f"window: {most:,} tokens") if most else []
    return axes.layered(
        areas,
        *line,
        *_compactions(compactions),
        *lanes(bands),
        height=_TALL,
        description="Tokens sent by turn, by what they were",
    )


_PARTS_LEGEND: Final = alt.Legend(
    title=None, orient="top", symbolType="square", symbolSize=80, symbolStrokeWidth=0, columns=4, labelLimit=110
)


def part_colors(parts: pl.DataFrame) -> dict[str, str]:
    """Part -> colour, in order of `rank`: one for each kind, greens for the results of tools."""
    greens = iter(_RESULT_COLORS)
    named = parts.unique("rank").sort("rank").select("part", "kind").iter_rows()
    return {
        part: PART_COLORS[kind] if kind in PART_COLORS else next(greens, _RESULT_COLORS[-1]) for part, kind in named
    }


def _compactions(frame: pl.DataFrame) -> list[alt.Chart]:
    if frame.is_empty():
        return []
    marks = alt.Chart(frame.with_columns(at=pl.col("turn") - 0.5, word=pl.lit("compacted")))
    tooltip = [alt.Tooltip("turn:Q", title="before turn", format=","), alt.Tooltip("how:N", title="context")]
    rule = marks.mark_rule(color=TEXT_COLOR, strokeWidth=1.5, strokeDash=[2, 2]).encode(x="at:Q", tooltip=tooltip)
    sign = marks.mark_point(shape="triangle-down", filled=True, size=70, color=TEXT_COLOR, opacity=1)
    return [rule, sign.encode(x="at:Q", tooltip=tooltip, **axes.fixed(y=4))]


def costs(frame: pl.DataFrame, bands: pl.DataFrame) -> alt.LayerChart:
    """US dollars by turn as bars, together as a line against the right axis; turns of unknown price have a grey mark; findings as lanes.

    `frame` from `views.run.costs`, `bands` from `views.run.bands`.
    """
    priced = frame.filter(pl.col("cost_usd").is_not_null())
    top = axes.largest(priced, "cost_usd") * headroom(bands)
    tooltip = [
        alt.Tooltip("turn:Q", format=","),
        alt.Tooltip("last_turn:Q", title="to turn", format=","),
        axes.usd("cost_usd:Q"),
        alt.Tooltip("so_far_usd:Q", title="US dollars so far", format="$,.5~f"),
        alt.Tooltip("unpriced_calls:Q", title="calls of unknown price"),
    ]
    bars = turn_bars(priced, frame, color=MONEY_COLORS["useful"]).encode(
        y=alt.Y("cost_usd:Q", title="US dollars a turn", axis=axes.money(), scale=up_to(top)), tooltip=tooltip
    )
    unknown = frame.filter(pl.col("unpriced_calls") > 0).with_columns(at=(pl.col("turn") + pl.col("last_turn")) / 2)
    marks = alt.Chart(unknown).mark_point(shape="cross", filled=True, size=36, color=QUIET_COLOR, opacity=1, yOffset=-5)
    marked = [marks.encode(x="at:Q", tooltip=tooltip, **axes.fixed(y="height"))] if unknown.height else []
    left = axes.layered(bars, *marked, *lanes(bands), height=_TALL, description="Cost of each turn")
    total = axes.largest(frame, "so_far_usd") * headroom(bands)
    right = alt.Axis(format="$,.3~f", tickCount=5, orient="right", grid=False)
    line = (
        alt.Chart(priced.with_columns(at=(pl.col("turn") + pl.col("last_turn")) / 2))
        .mark_line(
            color=TEXT_COLOR,
            strokeWidth=1.5,
            interpolate="linear",
            point={"color": TEXT_COLOR} if priced.height == 1 else False,
        )
        .encode(x="at:Q", y=alt.Y("so_far_usd:Q", title="US dollars so far", axis=right, scale=up_to(total)))
    )
    both: alt.LayerChart = alt.layer(
        left, line, height=_TALL, description="Cost of each turn, and all so far"
    ).resolve_scale(y="independent")
    return both
