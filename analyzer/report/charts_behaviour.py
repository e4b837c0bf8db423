"""How a run went from tool to tool, as a chart."""

from __future__ import annotations

from typing import Any, Final

import altair as alt
import polars as pl

from analyzer.report import axes
from analyzer.report.colors import KIND_COLORS, QUIET_COLOR, SEVERITY_COLORS, TEXT_COLOR


def behaviour(tools: pl.DataFrame, curves: pl.DataFrame, ends: pl.DataFrame) -> alt.LayerChart:
    """Tools below each other, as large as they were often called and as red as their calls failed; arcs are transitions.

    Onward (to a tool first used later) on the right, back on the left, again to the same as a small loop; as thick as they were
    frequent, with their counts. What a finding names as a loop has its colour. `tools` from `views.behaviour.Behaviour`, `curves`
    and `ends` from `views.behaviour.drawn`.
    """
    pitch = next(pixels for most, pixels in _PITCHES if tools.height <= most)
    left, right = min(-0.5, axes.lowest(curves, "x")) - 0.45, max(0.8, axes.largest(curves, "x")) + 0.45
    x = alt.X("x:Q", title=None, axis=None, scale=alt.Scale(domain=[left, right], nice=False))
    y = alt.Y("y:Q", title=None, axis=_NO_TOOL_LABELS, scale=alt.Scale(domain=[tools.height - 0.4, -0.6], nice=False))
    layers = [*_tool_names(tools, x, y, left), *_transitions(curves, ends, x, y), _tools(tools, x, y)]
    # As wide as keeps the arcs round, where the page has room for it; Vega counts the names in.
    width = _TOOL_PIXELS + int(min(480, max(200, (right - left) * pitch * 1.3)))
    chart = axes.layered(*layers, height=int(pitch * tools.height), description="Transitions from tool to tool")
    return chart.properties(width=width)


_PITCHES: Final = ((3, 84), (8, 68), (16, 46), (10_000, 30))
"""Tools at most -> pixels from one to the next."""
_TOOL_PIXELS: Final = 190
_SIDES: Final[tuple[tuple[int, str, Any], ...]] = ((1, "triangle-left", "left"), (-1, "triangle-right", "right"))
"""Side of the arc, shape of its head, and how its count is aligned."""
_FEW: Final = 24
"""With more transitions than that, those that happened once are pale and have no number."""
_MANY: Final = 10
"""Times from which on a line may be as thick as lines get."""
_LOOP_COLOR: Final = "#8fa0b8"
_NO_TOOL_LABELS: Final = alt.Axis(
    labels=False, ticks=False, domain=False, grid=False, minExtent=_TOOL_PIXELS, maxExtent=_TOOL_PIXELS
)


def _transitions(curves: pl.DataFrame, ends: pl.DataFrame, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """The arcs with their heads and counts."""
    toned = pl.col("severity").replace_strict(SEVERITY_COLORS, default=_LOOP_COLOR, return_dtype=pl.String)
    curves, ends = curves.with_columns(tone=toned), ends.with_columns(tone=toned)
    tone = alt.Color("tone:N", scale=None)
    tooltip = [
        alt.Tooltip("source:N", title="from"),
        alt.Tooltip("target:N", title="to"),
        alt.Tooltip("times:Q", format=","),
        alt.Tooltip("detector:N", title="loop named by"),
    ]
    widths = alt.Scale(type="sqrt", domain=[1, max(_MANY, axes.largest(ends, "times"))], range=[1, 4.5])
    # Piece by piece: the width of a line is that of its first point, and a line of many widths is not drawn at all.
    nexts = pl.col("x", "y").shift(-1).over("arc").name.suffix("_to")
    pieces = curves.with_columns(nexts).filter(pl.col("x_to").is_not_null())
    lines = (
        alt.Chart(pieces)
        .mark_rule(strokeCap="round")
        .encode(
            x=x, y=y, x2="x_to:Q", y2="y_to:Q", color=tone, tooltip=tooltip,
            strokeWidth=alt.StrokeWidth("times:Q", scale=widths, legend=None),
            opacity=alt.condition(f"datum.times > 1 || {ends.height} <= {_FEW}", alt.value(1), alt.value(0.4)),
        )
    )  # fmt: skip
    marks = [lines]
    for side, shape, align in _SIDES:
        own = ends.filter(pl.col("side") == side)
        if own.is_empty():
            continue
        heads = alt.Chart(own.with_columns(x="end_x", y="end_y")).encode(x=x, y=y, color=tone, tooltip=tooltip)
        marks.append(heads.mark_point(shape=shape, filled=True, size=70, opacity=1, xOffset=side * 15))
        told = own if ends.height <= _FEW else own.filter(pl.col("times") > 1)
        counts = alt.Chart(told).encode(x=x, y=y, color=tone, text=alt.Text("times:Q", format=","))
        marks.append(counts.mark_text(fontSize=10.5, align=align, baseline="middle", dx=side * 5))
    return marks


def _tool_names(tools: pl.DataFrame, x: alt.X, y: alt.Y, left: float) -> list[alt.Chart]:
    """A thin line from each name to its node, the names, and their calls in words."""
    said = [
        f"{calls:,} {'call' if calls == 1 else 'calls'}"
        + (f", {failed:,} failed" if failed else "")
        + (f", {blocked:,} blocked" if blocked else "")
        for calls, failed, blocked in tools.select("calls", "failed", "blocked").iter_rows()
    ]
    rows = tools.select("tool", pl.Series("said", said, pl.String), y="node", x=pl.lit(left), zero=pl.lit(0.0))
    base = alt.Chart(rows).encode(y=y)
    text: dict[str, Any] = {"align": "left", "limit": _TOOL_PIXELS - 6}
    name = base.mark_text(**text, fontSize=12, fontWeight=500, baseline="bottom", dy=1, color=TEXT_COLOR)
    number = base.mark_text(**text, fontSize=10, baseline="top", dy=2, color=QUIET_COLOR)
    return [
        base.mark_rule(color=QUIET_COLOR, opacity=0.35, strokeWidth=1).encode(x=x, x2="zero:Q"),
        name.encode(text="tool:N", **axes.fixed(x=-_TOOL_PIXELS)),
        number.encode(text="said:N", **axes.fixed(x=-_TOOL_PIXELS)),
    ]


def _tools(tools: pl.DataFrame, x: alt.X, y: alt.Y) -> alt.Chart:
    rows = tools.select("tool", "calls", "failed", "blocked", "failed_share", "seconds", y="node", x=pl.lit(0.0))
    colors = alt.Scale(domain=[0, 0.5, 1], range=[KIND_COLORS["tool"], "#d9a15c", SEVERITY_COLORS["error"]])
    sizes = alt.Scale(type="linear", domain=[0, max(1, axes.largest(rows, "calls"))], range=[40, 480])
    tooltip = [
        alt.Tooltip("tool:N"),
        alt.Tooltip("calls:Q", format=","),
        alt.Tooltip("failed:Q", format=","),
        alt.Tooltip("failed_share:Q", title="share that failed", format=".0%"),
        alt.Tooltip("blocked:Q", title="blocked by a guard", format=","),
        alt.Tooltip("seconds:Q", title="seconds together", format=",.2f"),
    ]
    nodes: alt.Chart = (
        alt.Chart(rows)
        .mark_circle(opacity=1)
        .encode(
            x=x, y=y, tooltip=tooltip,
            size=alt.Size("calls:Q", scale=sizes, legend=None),
            color=alt.Color("failed_share:Q", scale=colors, legend=None),
        )
    )  # fmt: skip
    return nodes
