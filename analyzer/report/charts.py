"""Charts as values: pure functions from a small frame to an Altair chart. They aggregate nothing and load nothing.

Colours have one meaning everywhere: amber and red are a finding's severity, blue is the model, green a tool, grey the rest. All of
them read on a white and on a near-black page, so a chart needs no theme of its own.
"""

from __future__ import annotations

from typing import Any, Final

import altair as alt
import polars as pl

from analyzer.report import axes

SEVERITY_COLORS: Final = {"error": "#d64550", "warning": "#e0a030", "info": "#7c93b2"}
KIND_COLORS: Final = {
    "model": "#5b85d6", "tool": "#3fa68c", "other": "#98a2ae", "agent": "#9b8bd0", "failed": SEVERITY_COLORS["error"],
    "blocked": "#b5713a",
}  # fmt: skip
MONEY_COLORS: Final = {"useful": "#5b85d6", "wasted": SEVERITY_COLORS["warning"]}
TOKEN_COLORS: Final = {"read from cache": "#a9c1ea", "written to cache": "#7fa1e0", "uncached": "#4673c8"}
LIMIT_COLOR: Final = "#8a8f98"
HEIGHT: Final = 300
"""Pixels of a chart that stands beside another, axes and legend included: Streamlit fits the whole into it."""
LANES_SHOWN: Final = 6
"""Detectors whose findings are marked on a chart over turns."""
_LANE_PIXELS: Final = 20
_WINDOW_SHOWN_FROM: Final = 0.25
_PLOT_PIXELS: Final = 150
"""What axes and legend leave of `HEIGHT`, at the least."""
_ROW_PIXELS: Final = 17
_LABEL_CHARS: Final = 34
_DENSITY_HEIGHT: Final = 120
_LEGEND: Final = alt.Legend(title=None, orient="top", symbolType="square", symbolSize=80, symbolStrokeWidth=0)
_SECONDS: Final = (("min", 60.0, 180.0), ("h", 3_600.0, 3 * 3_600.0), ("d", 86_400.0, 3 * 86_400.0))


def findings_by_mode(frame: pl.DataFrame) -> alt.Chart:
    """Bars of `findings` by `detector`, split by `severity` (columns of the same names)."""
    names = alt.Axis(labelLimit=180, labelOverlap=False, ticks=False, domain=False, labelPadding=8)
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_bar(height=16, cornerRadiusEnd=2)
        .encode(
            x=alt.X("findings:Q", title="findings", axis=axes.whole_numbers(_stacked(frame, "detector"))),
            y=alt.Y("detector:N", title=None, sort="-x", axis=names),
            color=_severity_color(),
            order=alt.Order("severity_rank:Q"),
            tooltip=[alt.Tooltip("detector:N"), alt.Tooltip("severity:N"), alt.Tooltip("findings:Q", format=",")],
        )
        .transform_calculate(severity_rank="indexof(['error', 'warning', 'info'], datum.severity)")
        .properties(height=HEIGHT)
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
            color=_severity_color(),
            tooltip=[axes.when(), alt.Tooltip("severity:N"), alt.Tooltip("findings:Q", format=",")],
        )
        .properties(height=HEIGHT)
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
            y=alt.Y("low:Q", title="US dollars", axis=_money()),
            y2="high:Q",
            color=_scaled("part", MONEY_COLORS),
            tooltip=[axes.when(), alt.Tooltip("part:N"), _usd("usd:Q"), alt.Tooltip("runs:Q", format=",")],
        )
        .properties(height=HEIGHT)
    )
    return chart


def context(frame: pl.DataFrame, bands: pl.DataFrame, window_tokens: int | None) -> alt.LayerChart:
    """Input tokens by turn, by how they were billed, against the model's window (None: not known); findings as lanes.

    The window shows from a quarter of it in use.
    `frame` from `views.run.for_charts`, `bands` from `views.run.bands`.
    """
    parts = {
        "cache_read_tokens": "read from cache",
        "cache_write_tokens": "written to cache",
        "uncached_input_tokens": "uncached",
    }
    # A producer that gives only the total has no parts: all of it then counts as uncached.
    whole = pl.when(pl.sum_horizontal([*parts]) > 0).then("uncached_input_tokens").otherwise("input_tokens")
    long = (
        frame.with_columns(uncached_input_tokens=whole)
        .unpivot([*parts], index=["turn", "last_turn", "input_tokens"], variable_name="part", value_name="tokens")
        .filter(pl.col("tokens") > 0)
        .with_columns(pl.col("part").replace_strict(parts), rank=pl.col("part").replace_strict([*parts], range(3)))
    )
    peak = _largest(frame, "input_tokens")
    # Beside a window that is nearly empty the bars would be too low to be seen.
    limit = window_tokens if window_tokens and peak >= _WINDOW_SHOWN_FROM * window_tokens else 0
    top = max(peak, limit) * _headroom(bands)
    everything = alt.Tooltip("input_tokens:Q", title="all input tokens", format=",")
    bars = _turn_bars(long, frame).encode(
        y=alt.Y("tokens:Q", title="input tokens", axis=alt.Axis(format="~s", tickCount=5), scale=_up_to(top)),
        color=_scaled("part", TOKEN_COLORS),
        order=alt.Order("rank:Q"),
        tooltip=[*_TURN_TOOLTIP, alt.Tooltip("part:N"), alt.Tooltip("tokens:Q", format=","), everything],
    )
    line = _limit(limit, f"window: {limit:,} tokens") if limit else []
    return _layered(bars, *line, *_lanes(bands), height=HEIGHT)


def cost_per_turn(frame: pl.DataFrame, bands: pl.DataFrame) -> alt.LayerChart:
    """US dollars by turn; findings as lanes. `frame` and `bands` as for `context`."""
    priced = frame.filter(pl.col("cost_usd").is_not_null())
    top = _largest(priced, "cost_usd") * _headroom(bands)
    bars = _turn_bars(priced, frame, color=MONEY_COLORS["useful"]).encode(
        y=alt.Y("cost_usd:Q", title="US dollars", axis=_money(), scale=_up_to(top)),
        tooltip=[*_TURN_TOOLTIP, _usd("cost_usd:Q")],
    )
    return _layered(bars, *_lanes(bands), height=HEIGHT)


def density(frame: pl.DataFrame, window: tuple[float, float] | None = None) -> alt.LayerChart:
    """Spans begun in each part of a run, by `kind`; `window` (seconds) frames the part that the waterfall below shows."""
    unit, divisor = time_unit(_largest(frame, "end_seconds"))
    times = pl.col("start_seconds", "end_seconds") / divisor
    x = alt.X(
        "start_seconds:Q", bin="binned", title=_since(unit), scale=alt.Scale(nice=False), axis=alt.Axis(grid=False)
    )
    bars = (
        alt.Chart(frame.with_columns(times))
        .mark_bar(binSpacing=0.5)
        .encode(
            x=x,
            x2="end_seconds:Q",
            y=alt.Y("spans:Q", title="spans", axis=alt.Axis(tickCount=3, format="~s", tickMinStep=1)),
            color=_scaled("kind", KIND_COLORS),
            tooltip=[
                alt.Tooltip("start_seconds:Q", title=unit, format=",.2f"),
                "kind:N",
                alt.Tooltip("spans:Q", format=","),
            ],
        )
    )
    if window is None:
        return _layered(bars, height=_DENSITY_HEIGHT)
    part = pl.DataFrame({"start_seconds": [window[0]], "end_seconds": [window[1]]}).with_columns(times)
    shade = alt.Chart(part).mark_rect(color=LIMIT_COLOR, opacity=0.22).encode(x=x, x2="end_seconds:Q")
    return _layered(shade, bars, height=_DENSITY_HEIGHT)


def waterfall(frame: pl.DataFrame) -> alt.LayerChart:
    """One page of spans as bars over time, in order of step; `frame` from `views.run.spans`.

    Failed spans are red; a mark before the bar, in the colour of its severity, says that a finding names the step. A pending
    span has no end and shows as an arrow.
    """
    unit, divisor = time_unit(_largest(frame, "end_seconds"))
    rows = frame.with_columns(
        pl.col("start_seconds", "end_seconds") / divisor,
        row=pl.format("{}  {}", pl.col("step"), pl.col("label").str.slice(0, _LABEL_CHARS)),
        color=pl.when("blocked")
        .then(pl.lit("blocked"))
        .when("failed")
        .then(pl.lit("failed"))
        .otherwise(pl.col("kind")),
        seconds=pl.col("end_seconds") - pl.col("start_seconds"),
    )
    names = alt.Axis(labelLimit=260, labelOverlap=False, ticks=False, domain=False, labelPadding=12, labelFontSize=11)
    low = _lowest(rows, "start_seconds")
    times = alt.Scale(domain=[low, max(_largest(rows, "end_seconds"), low + 1e-6)], nice=False)
    y = alt.Y("row:N", title=None, sort=None, axis=names)
    bars = (
        alt.Chart(rows)
        # The stroke gives a call of a microsecond a width that can be seen.
        .mark_bar(height=9, cornerRadius=1.5, strokeWidth=1.5)
        .encode(
            y=y,
            x=alt.X("start_seconds:Q", title=_since(unit), axis=alt.Axis(orient="top"), scale=times),
            color=_scaled("color", KIND_COLORS),
            stroke=alt.Stroke(
                "color:N", scale=alt.Scale(domain=[*KIND_COLORS], range=[*KIND_COLORS.values()]), legend=_LEGEND
            ),
            tooltip=_span_tooltip(unit),
        )
    )
    ended = bars.transform_filter("!datum.pending").encode(x2="end_seconds:Q")
    pending = bars.mark_point(shape="triangle-right", filled=True, size=70, opacity=1).transform_filter("datum.pending")
    marks = [
        alt.Chart(rows.filter(pl.col("severity") == severity).select("row"))
        .mark_rect(color=color, height=11)
        .encode(y=y, x=alt.value(-8), x2=alt.value(-4))
        for severity, color in SEVERITY_COLORS.items()
        if severity in rows["severity"]
    ]
    return _layered(ended, pending, *marks, height=alt.Step(_ROW_PIXELS))


def time_unit(seconds: float) -> tuple[str, float]:
    """The unit in which so long a time is read best, and how many seconds it has."""
    unit, size = ("ms", 0.001) if seconds < 2 else ("seconds", 1.0)
    for name, unit_seconds, from_seconds in _SECONDS:
        if seconds >= from_seconds:
            unit, size = name, unit_seconds
    return unit, size


_TURN_TOOLTIP: Final = (
    alt.Tooltip("turn:Q", title="turn", format=","),
    alt.Tooltip("last_turn:Q", title="to turn", format=","),
)


def _turn_bars(rows: pl.DataFrame, frame: pl.DataFrame, spacing: int = 1, **mark: Any) -> alt.Chart:
    """Bars of `rows` over the turns of `frame`, each as wide as the turns it stands for."""
    first, last = int(_lowest(frame, "turn")), int(_largest(frame, "last_turn"))
    axis = alt.Axis(grid=False, format="d", tickMinStep=1, tickCount=min(12, last - first + 1))
    # A bar stands over its number, so it begins half a turn before it.
    scale = alt.Scale(domain=[first - 0.5, last + 0.5], nice=False)
    x = alt.X("begin:Q", bin="binned", title="turn", axis=axis, scale=scale)
    spaced = alt.Chart(rows.with_columns(begin=pl.col("turn") - 0.5, end=pl.col("last_turn") + 0.5))
    bars: alt.Chart = spaced.mark_bar(binSpacing=spacing if frame.height <= 120 else 0, **mark).encode(x=x, x2="end:Q")
    return bars


def _lanes(bands: pl.DataFrame) -> list[alt.Chart]:
    """One thin line per detector along the top, from the first to the last turn of each of its findings, and its name."""
    layers: list[alt.Chart] = []
    for lane, detector in enumerate(bands["detector"].unique(maintain_order=True).head(LANES_SHOWN)):
        own = bands.filter(pl.col("detector") == detector).with_columns(
            begin=pl.col("first_turn") - 0.5, end=pl.col("last_turn") + 0.5
        )
        top = lane * _LANE_PIXELS
        for severity, color in SEVERITY_COLORS.items():
            rows = own.filter(pl.col("severity") == severity)
            if rows.is_empty():
                continue
            tooltip = [alt.Tooltip(f"{name}:N") for name in ("detector", "severity", "first_turn", "last_turn")]
            line = alt.Chart(rows).encode(x="begin:Q")
            layers.append(
                line.mark_rect(color=color).encode(x2="end:Q", y=alt.value(top), y2=alt.value(top + 4), tooltip=tooltip)
            )
        first = own.sort("begin").head(1)
        # Past the middle it stands to the left of where it begins: to the right there may be no room.
        past = _largest(first, "begin") > _largest(bands, "last_turn") / 2
        name = alt.Chart(first).mark_text(align="right" if past else "left", baseline="top", fontSize=10, dy=6)
        color = SEVERITY_COLORS[_worst(own)]
        layers.append(name.encode(x="begin:Q", y=alt.value(top), text="detector:N", color=alt.value(color)))
    return layers


def _worst(bands: pl.DataFrame) -> str:
    return next(severity for severity in SEVERITY_COLORS if severity in bands["severity"])


def _headroom(bands: pl.DataFrame) -> float:
    """How much higher than its bars a chart must be to leave the lanes room."""
    lanes = min(bands["detector"].n_unique(), LANES_SHOWN)
    return _PLOT_PIXELS / (_PLOT_PIXELS - lanes * _LANE_PIXELS)


def _up_to(top: float) -> alt.Scale:
    return alt.Scale(domain=[0, top], nice=False) if top > 0 else alt.Scale()


def _limit(tokens: int, label: str) -> list[alt.Chart]:
    line = alt.Chart(pl.DataFrame({"tokens": [tokens], "label": [label]})).encode(y="tokens:Q")
    words = line.mark_text(align="right", baseline="bottom", dy=-3, dx=-4, color=LIMIT_COLOR, fontSize=11)
    return [
        line.mark_rule(strokeDash=[5, 4], color=LIMIT_COLOR, strokeWidth=1.5),
        words.encode(x=alt.value("width"), text="label:N"),
    ]


def _span_tooltip(unit: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("step:Q", format=","),
        alt.Tooltip("turn:Q", format=","),
        alt.Tooltip("kind:N"),
        alt.Tooltip("label:N", title="name"),
        alt.Tooltip("start_seconds:Q", title=f"start ({unit})", format=",.3f"),
        alt.Tooltip("seconds:Q", title="seconds", format=",.3f"),
        alt.Tooltip("failed:N"),
        _usd("cost_usd:Q"),
    ]


def _since(unit: str) -> str:
    return f"{unit} since the run began"


def _money() -> alt.Axis:
    return alt.Axis(format="$,.3~f", tickCount=5)


def _usd(field: str) -> alt.Tooltip:
    return alt.Tooltip(field, title="US dollars", format="$,.5~f")


def _layered(*charts: alt.Chart, height: Any) -> alt.LayerChart:
    layered = alt.layer(*charts, height=height)
    assert isinstance(layered, alt.LayerChart)  # it would be a facet only if one of the charts were
    return layered


def _stacked(frame: pl.DataFrame, column: str) -> int:
    """The highest stack of `findings`."""
    return int(frame.group_by(column).agg(pl.col("findings").sum())["findings"].max() or 0)  # type: ignore[arg-type]


def _severity_color() -> alt.Color:
    return _scaled("severity", SEVERITY_COLORS)


def _scaled(field: str, colors: dict[str, str], **more: Any) -> alt.Color:
    legend = more.pop("legend", _LEGEND)
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=[*colors], range=[*colors.values()]), legend=legend, **more)


def _largest(frame: pl.DataFrame, column: str) -> float:
    return float(frame[column].max() or 0)  # type: ignore[arg-type]  # a numeric column


def _lowest(frame: pl.DataFrame, column: str) -> float:
    return float(frame[column].min() or 0)  # type: ignore[arg-type]  # as above
