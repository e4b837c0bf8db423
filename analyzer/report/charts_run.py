"""Charts of one run as values: its timeline, what filled its context, what each turn cost, and how it went from tool to tool.

As in `charts`: pure functions from small frames; amber and red are severities, blue the model, green tools, violet agents, grey the rest.
"""

from __future__ import annotations

from typing import Any, Final

import altair as alt
import polars as pl

from analyzer.report.amounts import duration
from analyzer.report.charts import (
    KIND_COLORS,
    LIMIT_COLOR,
    MONEY_COLORS,
    SEVERITY_COLORS,
    _headroom,
    _lanes,
    _largest,
    _layered,
    _limit,
    _money,
    _scaled,
    _turn_bars,
    _up_to,
    _usd,
    time_unit,
)

PICKED: Final = "picked"
"""Name of the selection of a span in the timeline."""
_TALL: Final = 340
"""Pixels of a chart over turns, with axes and legend."""
_OVERVIEW: Final = 130
_ROW_PIXELS: Final = 19
_NAME_PIXELS: Final = 330
_TIME_PIXELS: Final = 118
_INDENT_PIXELS: Final = 12
_QUIET: Final = "#98a2ae"
PART_COLORS: Final = {
    "system": "#8576b8", "declared": "#b9aedb", "user": "#c98bb0", "assistant": "#5b85d6", "other": "#a3b3ab", "unknown": "#c3c9d1",
}  # fmt: skip
_RESULT_COLORS: Final = ("#1f7a66", "#3a9d84", "#63b8a2", "#93d0bf", "#bfe3d9")
_WINDOW_SHOWN_FROM: Final = 0.25


def waterfall(
    rows: pl.DataFrame,
    gaps: pl.DataFrame,
    edges: tuple[float, float],
    *,
    shortened: bool = False,
    chosen: str | None = None,
) -> alt.LayerChart:
    """Spans as bars over time, one a row, indented below their parents; a click picks one (selection `PICKED`, field `span_id`).

    `rows`, `gaps` and `edges` (`low`, `high`) are those of `views.timeline.Page`. Beside the name how long it took and, of a span
    with children, how much of that was its own. What holds others is pale; a span that has not ended is pale up to the right edge
    and ends in an arrow; a mark before the bar, in the colour of its severity, says that a finding names the step. Gaps are grey
    bands. `chosen` is the span to point out.
    """
    unit, divisor = time_unit(edges[1])
    low, high = edges[0] / divisor, max(edges[1], edges[0] + 1e-6) / divisor
    rows = _bars(rows, high, divisor, chosen)
    y = alt.Y("position:O", title=None, sort=None, axis=_NO_LABELS)
    x = alt.X(
        "start:Q",
        title=f"{unit} of the run" if shortened else f"{unit} since the run began",
        axis=alt.Axis(orient="top", tickCount=10, labelOverlap=True),
        scale=alt.Scale(domain=[low, high], nice=False),
    )
    base = alt.Chart(rows).encode(y=y)
    pick = alt.selection_point(name=PICKED, fields=["span_id"], empty=False)
    colored = {"color": _scaled("color", KIND_COLORS), "tooltip": _span_tooltip()}
    bars = (
        base.transform_filter("isValid(datum.start)")
        # The stroke gives a call of a microsecond a width that can be seen.
        .mark_bar(height=10, cornerRadius=1.5, strokeWidth=1.5, clip=True, cursor="pointer")
        .encode(
            x=x, x2="end:Q", **colored,
            stroke=alt.Stroke("color:N", scale=alt.Scale(domain=[*KIND_COLORS], range=[*KIND_COLORS.values()]), legend=None),
            opacity=alt.condition("datum.faint", alt.value(0.35), alt.value(1)),
        )
        .add_params(pick)
    )  # fmt: skip
    arrows = base.transform_filter("datum.pending").mark_point(shape="triangle-right", filled=True, size=90, opacity=1)
    left: dict[str, Any] = {"align": "left", "baseline": "middle", "fontSize": 11.5}
    text = alt.Color("tone:N", scale=None)
    names = [
        base.transform_filter(alt.datum.depth == depth)
        .mark_text(**left, limit=_NAME_PIXELS - _TIME_PIXELS - 8 - depth * _INDENT_PIXELS, cursor="pointer")
        .encode(
            x=alt.value(-_NAME_PIXELS + depth * _INDENT_PIXELS), text="name:N", color=text, tooltip=colored["tooltip"]
        )
        for depth in sorted(set(rows["depth"]))
    ]
    times = base.mark_text(align="right", baseline="middle", fontSize=11, limit=_TIME_PIXELS).encode(
        x=alt.value(-14), text="took:N", color=alt.value(_TEXT_COLOR)
    )
    return _layered(
        *_band(rows, y), *_gap_bands(gaps, x, (low, high), divisor), bars, arrows.encode(x=alt.value("width"), **colored), *names, times,
        *_marks(rows, y), height=alt.Step(_ROW_PIXELS),
    )  # fmt: skip


def overview(density: pl.DataFrame, window: tuple[float, float], gaps: pl.DataFrame) -> alt.LayerChart:
    """Spans begun in each part of a whole run, by kind (`views.run.density`); `window` (seconds) frames what the waterfall shows.

    `gaps` are grey. The colours are those of the waterfall below, which has the legend.
    """
    unit, divisor = time_unit(_largest(density, "end_seconds"))
    times = pl.col("start_seconds", "end_seconds") / divisor
    x = alt.X(
        "start_seconds:Q", bin="binned", title=f"{unit} since the run began", axis=alt.Axis(grid=False),
        scale=alt.Scale(domain=[0, max(_largest(density, "end_seconds") / divisor, 1e-6)], nice=False),
    )  # fmt: skip
    tooltip = [
        alt.Tooltip("start_seconds:Q", title=unit, format=",.2f"), "kind:N", alt.Tooltip("spans:Q", format=","),
    ]  # fmt: skip
    bars = (
        alt.Chart(density.with_columns(times))
        .mark_bar(binSpacing=0.5)
        .encode(
            x=x, x2="end_seconds:Q", color=_scaled("kind", KIND_COLORS, legend=None), tooltip=tooltip,
            y=alt.Y("spans:Q", title="spans", axis=alt.Axis(tickCount=3, format="~s", tickMinStep=1)),
        )
    )  # fmt: skip
    part = pl.DataFrame({"start_seconds": [window[0]], "end_seconds": [window[1]]}).with_columns(times)
    frame = alt.Chart(part).mark_rect(color="#5b85d6", opacity=0.2, stroke="#5b85d6", clip=True)
    quiet = alt.Chart(gaps.select(times)).mark_rect(color=LIMIT_COLOR, opacity=0.15, clip=True)
    return _layered(
        *([quiet.encode(x=x, x2="end_seconds:Q")] if gaps.height else []), frame.encode(x=x, x2="end_seconds:Q"), bars,
        height=_OVERVIEW,
    )  # fmt: skip


# The names are marks of their own; the axis only keeps the room for them.
_NO_LABELS: Final = alt.Axis(
    labels=False, ticks=False, domain=False, grid=False, minExtent=_NAME_PIXELS, maxExtent=_NAME_PIXELS
)


def _bars(rows: pl.DataFrame, high: float, divisor: float, chosen: str | None) -> pl.DataFrame:
    """The rows of a page as they are drawn, with nothing in them that is not."""
    rows = rows.with_columns(
        start=pl.col("start_seconds") / divisor,
        end=pl.when("pending").then(high).otherwise(pl.col("end_seconds") / divisor),
        color=pl.when("blocked").then(pl.lit("blocked")).when("failed").then(pl.lit("failed")).otherwise("kind"),
        faint=(pl.col("children") > 0) | pl.col("pending"),
        name=pl.format("{}  {}", pl.col("step"), pl.col("label").str.slice(0, 48)),
        chosen=pl.col("span_id") == (chosen or ""),
    )
    took = [
        _took(*row) for row in rows.select("seconds", "self_seconds", "children", "pending", "inferred").iter_rows()
    ]
    tone = pl.when("failed").then(pl.lit(SEVERITY_COLORS["error"])).otherwise(pl.lit(_TEXT_COLOR))
    return rows.with_columns(pl.Series("took", took, pl.String), tone=tone).select(
        "position", "depth", "step", "turn", "kind", "span_id", "label", "start", "end", "color", "faint", "name", "took", "tone",
        "pending", "chosen", "severity", "cost_usd", pl.col("seconds").round(6), pl.col("self_seconds").round(6),
    )  # fmt: skip


_TEXT_COLOR: Final = "#727d8b"
"""Reads on white and on near-black."""


def _took(seconds: float | None, own: float | None, children: int, pending: bool, inferred: bool) -> str:
    if pending:
        return "not ended"
    if seconds is None:
        return "no times"
    about = "~" if inferred else ""
    if children and own is not None and own < seconds:
        return f"{about}{_short(seconds)}, self {_short(own)}"
    return about + _short(seconds)


def _short(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1_000:.0f} ms" if seconds >= 0.001 or seconds == 0 else "< 1 ms"
    return duration(seconds)


def _span_tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("label:N", title="name"),
        alt.Tooltip("kind:N"),
        alt.Tooltip("step:Q", format=","),
        alt.Tooltip("turn:Q", format=","),
        alt.Tooltip("seconds:Q", title="seconds", format=",.3f"),
        alt.Tooltip("self_seconds:Q", title="of these its own", format=",.3f"),
        _usd("cost_usd:Q"),
    ]


def _band(rows: pl.DataFrame, y: alt.Y) -> list[alt.Chart]:
    chosen = rows.filter("chosen").select("position")
    if chosen.is_empty():
        return []
    band = alt.Chart(chosen).mark_rect(color="#5b85d6", opacity=0.18)
    return [band.encode(y=y, x=alt.value(-_NAME_PIXELS - 4), x2=alt.value("width"))]


def _gap_bands(gaps: pl.DataFrame, x: alt.X, edges: tuple[float, float], divisor: float) -> list[alt.Chart]:
    if gaps.is_empty():
        return []
    shown = gaps.select(
        (pl.col("start_seconds") / divisor).clip(*edges).alias("start"),
        (pl.col("end_seconds") / divisor).clip(*edges).alias("end"),
        pl.Series("said", [f"{duration(seconds)} in which nothing ran" for seconds in gaps["seconds"]]),
    )
    bands = alt.Chart(shown).mark_rect(color=LIMIT_COLOR, opacity=0.2, clip=True)
    return [bands.encode(x=x, x2="end:Q", tooltip=alt.Tooltip("said:N", title="gap"))]


def _marks(rows: pl.DataFrame, y: alt.Y) -> list[alt.Chart]:
    return [
        alt.Chart(rows.filter(pl.col("severity") == severity).select("position"))
        .mark_rect(color=color, height=12)
        .encode(y=y, x=alt.value(-9), x2=alt.value(-5))
        for severity, color in SEVERITY_COLORS.items()
        if severity in rows["severity"]
    ]


def composition(
    parts: pl.DataFrame, unit: str, compactions: pl.DataFrame, bands: pl.DataFrame, window_tokens: int | None
) -> alt.LayerChart:
    """What each request was made of, stacked, against the model's window; compactions as lines, findings as lanes.

    `parts`, `unit` and `compactions` are those of `views.composition.Composition`, `bands` from `views.run.bands`.
    The window shows from a quarter of it in use.
    """
    colors = part_colors(parts)
    totals = parts.group_by("turn").agg(pl.col("amount").sum())
    peak = _largest(totals, "amount")
    limit = window_tokens if window_tokens and unit == "tokens" and peak >= _WINDOW_SHOWN_FROM * window_tokens else 0
    top = max(peak, limit) * _headroom(bands)
    areas = _turn_bars(parts.with_columns(pl.col("amount").round(1)), parts, spacing=0).encode(
        y=alt.Y("amount:Q", title=f"{unit} sent", axis=alt.Axis(format="~s", tickCount=5), scale=_up_to(top)),
        color=_scaled("part", colors, legend=_PARTS_LEGEND),
        order=alt.Order("rank:Q"),
        tooltip=[
            alt.Tooltip("turn:Q", format=","),
            alt.Tooltip("last_turn:Q", title="to turn", format=","),
            alt.Tooltip("part:N"),
            alt.Tooltip("amount:Q", title=f"{unit} (split by characters)", format=",.0f"),
            alt.Tooltip("chars:Q", title="characters", format=","),
        ],
    )
    line = _limit(limit, f"window: {limit:,} tokens") if limit else []
    return _layered(areas, *line, *_compactions(compactions), *_lanes(bands), height=_TALL)


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
    rule = marks.mark_rule(color=_TEXT_COLOR, strokeWidth=1.5, strokeDash=[2, 2]).encode(x="at:Q", tooltip=tooltip)
    sign = marks.mark_point(shape="triangle-down", filled=True, size=70, color=_TEXT_COLOR, opacity=1)
    return [rule, sign.encode(x="at:Q", y=alt.value(4), tooltip=tooltip)]


def costs(frame: pl.DataFrame, bands: pl.DataFrame) -> alt.LayerChart:
    """US dollars by turn as bars, together as a line against the right axis; turns of unknown price have a grey mark; findings as lanes.

    `frame` from `views.run.costs`, `bands` from `views.run.bands`.
    """
    priced = frame.filter(pl.col("cost_usd").is_not_null())
    top = _largest(priced, "cost_usd") * _headroom(bands)
    tooltip = [
        alt.Tooltip("turn:Q", format=","),
        alt.Tooltip("last_turn:Q", title="to turn", format=","),
        _usd("cost_usd:Q"),
        alt.Tooltip("so_far_usd:Q", title="US dollars so far", format="$,.5~f"),
        alt.Tooltip("unpriced_calls:Q", title="calls of unknown price"),
    ]
    bars = _turn_bars(priced, frame, color=MONEY_COLORS["useful"]).encode(
        y=alt.Y("cost_usd:Q", title="US dollars a turn", axis=_money(), scale=_up_to(top)), tooltip=tooltip
    )
    unknown = frame.filter(pl.col("unpriced_calls") > 0).with_columns(at=(pl.col("turn") + pl.col("last_turn")) / 2)
    marks = alt.Chart(unknown).mark_point(shape="cross", filled=True, size=36, color=_QUIET, opacity=1, yOffset=-5)
    marked = [marks.encode(x="at:Q", y=alt.value("height"), tooltip=tooltip)] if unknown.height else []
    left = _layered(bars, *marked, *_lanes(bands), height=_TALL)
    total = _largest(frame, "so_far_usd") * _headroom(bands)
    right = alt.Axis(format="$,.3~f", tickCount=5, orient="right", grid=False)
    line = (
        alt.Chart(priced.with_columns(at=(pl.col("turn") + pl.col("last_turn")) / 2))
        .mark_line(color=_TEXT_COLOR, strokeWidth=1.5, interpolate="linear", point=priced.height == 1)
        .encode(x="at:Q", y=alt.Y("so_far_usd:Q", title="US dollars so far", axis=right, scale=_up_to(total)))
    )
    both: alt.LayerChart = alt.layer(left, line, height=_TALL).resolve_scale(y="independent")
    return both


def behaviour(tools: pl.DataFrame, curves: pl.DataFrame, ends: pl.DataFrame) -> alt.LayerChart:
    """Tools below each other, as large as they were often called and as red as their calls failed; arcs are transitions.

    Onward (to a tool first used later) on the right, back on the left, again to the same as a small loop; as thick as they were
    frequent, with their counts. What a finding names as a loop has its colour. `tools` from `views.behaviour.Behaviour`, `curves`
    and `ends` from `views.behaviour.drawn`.
    """
    pitch = next(pixels for most, pixels in _PITCHES if tools.height <= most)
    left, right = min(-0.5, _lowest(curves, "x")) - 0.45, max(0.8, _largest(curves, "x")) + 0.45
    x = alt.X("x:Q", title=None, axis=None, scale=alt.Scale(domain=[left, right], nice=False))
    y = alt.Y("y:Q", title=None, axis=_NO_TOOL_LABELS, scale=alt.Scale(domain=[tools.height - 0.4, -0.6], nice=False))
    layers = [*_tool_names(tools, x, y, left), *_transitions(curves, ends, x, y), _tools(tools, x, y)]
    # As wide as keeps the arcs round, where the page has room for it; Vega counts the names in.
    width = _TOOL_PIXELS + int(min(480, max(200, (right - left) * pitch * 1.3)))
    chart = alt.layer(*layers, height=int(pitch * tools.height), width=width)
    assert isinstance(chart, alt.LayerChart)  # it would be a facet only if one of the layers were
    return chart


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


def _lowest(frame: pl.DataFrame, column: str) -> float:
    return float(frame[column].min() or 0)  # type: ignore[arg-type]  # a numeric column


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
    widths = alt.Scale(type="sqrt", domain=[1, max(_MANY, _largest(ends, "times"))], range=[1, 4.5])
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
    name = base.mark_text(**text, fontSize=12, fontWeight=500, baseline="bottom", dy=1, color=_TEXT_COLOR)
    number = base.mark_text(**text, fontSize=10, baseline="top", dy=2, color=_QUIET)
    return [
        base.mark_rule(color=_QUIET, opacity=0.35, strokeWidth=1).encode(x=x, x2="zero:Q"),
        name.encode(x=alt.value(-_TOOL_PIXELS), text="tool:N"),
        number.encode(x=alt.value(-_TOOL_PIXELS), text="said:N"),
    ]


def _tools(tools: pl.DataFrame, x: alt.X, y: alt.Y) -> alt.Chart:
    rows = tools.select("tool", "calls", "failed", "blocked", "failed_share", "seconds", y="node", x=pl.lit(0.0))
    colors = alt.Scale(domain=[0, 0.5, 1], range=[KIND_COLORS["tool"], "#d9a15c", SEVERITY_COLORS["error"]])
    sizes = alt.Scale(type="linear", domain=[0, max(1, _largest(rows, "calls"))], range=[40, 480])
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
