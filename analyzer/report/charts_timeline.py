"""The timeline of a run as charts: its spans one a row, and above them where in a long run these are."""

from __future__ import annotations

from typing import Any, Final

import altair as alt
import polars as pl

from analyzer.report import axes
from analyzer.report.amounts import duration
from analyzer.report.colors import ACCENT_COLOR, KIND_COLORS, LIMIT_COLOR, SEVERITY_COLORS, TEXT_COLOR

PICKED: Final = "picked"
"""Name of the selection of a span in the timeline."""
_OVERVIEW: Final = 130
_ROW_PIXELS: Final = 19
_NAME_PIXELS: Final = 330
_TIME_PIXELS: Final = 118
_INDENT_PIXELS: Final = 12


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
    unit, divisor = axes.time_unit(edges[1])
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
    colored = {"color": axes.colored("color", KIND_COLORS), "tooltip": _span_tooltip()}
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
            text="name:N",
            color=text,
            tooltip=colored["tooltip"],
            **axes.fixed(x=-_NAME_PIXELS + depth * _INDENT_PIXELS),
        )
        for depth in sorted(set(rows["depth"]))
    ]
    times = base.mark_text(align="right", baseline="middle", fontSize=11, limit=_TIME_PIXELS).encode(
        text="took:N", **axes.fixed(x=-14, color=TEXT_COLOR)
    )
    return axes.layered(
        *_band(rows, y), *_gap_bands(gaps, x, (low, high), divisor), bars, arrows.encode(**axes.fixed(x="width"), **colored), *names, times,
        *_marks(rows, y), height=alt.Step(_ROW_PIXELS), description="Timeline of the spans of the run",
    )  # fmt: skip


def overview(density: pl.DataFrame, window: tuple[float, float], gaps: pl.DataFrame) -> alt.LayerChart:
    """Spans begun in each part of a whole run, by kind (`views.run.density`); `window` (seconds) frames what the waterfall shows.

    `gaps` are grey. The colours are those of the waterfall below, which has the legend.
    """
    unit, divisor = axes.time_unit(axes.largest(density, "end_seconds"))
    times = pl.col("start_seconds", "end_seconds") / divisor
    x = alt.X(
        "start_seconds:Q", bin="binned", title=f"{unit} since the run began", axis=alt.Axis(grid=False),
        scale=alt.Scale(domain=[0, max(axes.largest(density, "end_seconds") / divisor, 1e-6)], nice=False),
    )  # fmt: skip
    tooltip = [
        alt.Tooltip("start_seconds:Q", title=unit, format=",.2f"), "kind:N", alt.Tooltip("spans:Q", format=","),
    ]  # fmt: skip
    bars = (
        alt.Chart(density.with_columns(times))
        .mark_bar(binSpacing=0.5)
        .encode(
            x=x, x2="end_seconds:Q", color=axes.colored("kind", KIND_COLORS, legend=None), tooltip=tooltip,
            y=alt.Y("spans:Q", title="spans", axis=axes.amounts(tickCount=3, tickMinStep=1)),
        )
    )  # fmt: skip
    part = pl.DataFrame({"start_seconds": [window[0]], "end_seconds": [window[1]]}).with_columns(times)
    frame = alt.Chart(part).mark_rect(color=ACCENT_COLOR, opacity=0.2, stroke=ACCENT_COLOR, clip=True)
    quiet = alt.Chart(gaps.select(times)).mark_rect(color=LIMIT_COLOR, opacity=0.15, clip=True)
    return axes.layered(
        *([quiet.encode(x=x, x2="end_seconds:Q")] if gaps.height else []), frame.encode(x=x, x2="end_seconds:Q"), bars,
        height=_OVERVIEW, description="Spans begun in each part of the run",
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
    tone = pl.when("failed").then(pl.lit(SEVERITY_COLORS["error"])).otherwise(pl.lit(TEXT_COLOR))
    return rows.with_columns(pl.Series("took", took, pl.String), tone=tone).select(
        "position", "depth", "step", "turn", "kind", "span_id", "label", "start", "end", "color", "faint", "name", "took", "tone",
        "pending", "chosen", "severity", "cost_usd", pl.col("seconds").round(6), pl.col("self_seconds").round(6),
    )  # fmt: skip


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
        axes.usd("cost_usd:Q"),
    ]


def _band(rows: pl.DataFrame, y: alt.Y) -> list[alt.Chart]:
    chosen = rows.filter("chosen").select("position")
    if chosen.is_empty():
        return []
    band = alt.Chart(chosen).mark_rect(color=ACCENT_COLOR, opacity=0.18)
    return [band.encode(y=y, **axes.fixed(x=-_NAME_PIXELS - 4, x2="width"))]


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
        .encode(y=y, **axes.fixed(x=-9, x2=-5))
        for severity, color in SEVERITY_COLORS.items()
        if severity in rows["severity"]
    ]
