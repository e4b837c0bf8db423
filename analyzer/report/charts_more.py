"""Charts of the pages Compare, Policy and Alerts: pure functions from a small frame to an Altair chart, as in `charts`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import altair as alt
import polars as pl

from analyzer.report import axes
from analyzer.report.colors import LIMIT_COLOR, SEVERITY_COLORS

STATUS_COLORS: Final = {
    "same": "#9aa7b8", "other result": "#e0a030", "other arguments": "#b5713a", "left only": "#5b85d6", "right only": "#3fa68c",
    "not recorded": "#cfd5dc",
}  # fmt: skip
"""What two steps have in common -> colour; also on the page."""
FIRING_COLORS: Final = {
    "with a finding": "#3fa68c", "without a finding": SEVERITY_COLORS["error"], "no detector looks at it": SEVERITY_COLORS["info"],
}  # fmt: skip
SERIES_COLORS: Final = ("#5b85d6", "#3fa68c", "#9b8bd0", "#b5713a", "#98a2ae")
"""Of a few series that have no meaning in common with anything else."""
_ALERT_COLORS: Final = {"warning": SEVERITY_COLORS["warning"], "critical": SEVERITY_COLORS["error"]}
_UNSEEN: Final = "findings no rule saw"
STRIP_POINTS: Final = 600
_STRIP_HEIGHT: Final = 170
_ALIGNED: Final = "Rows of the comparison, by what the two runs have in common"
_LANE_PIXELS: Final = 26
_SMALL_HEIGHT: Final = 260
_LABEL_PIXELS: Final = 230


def alignment(frame: pl.DataFrame, window: tuple[int, int] | None = None) -> alt.LayerChart:
    """A strip over the rows of a comparison, one colour per status; `window` (first and last row, from 1) is shaded.

    `frame` from `alignment_rows`: `first`, `last`, `side`, `status`.
    """
    last = max(int(frame["last"].max() or 1), 1)  # type: ignore[arg-type]  # a column of integers
    scale = alt.Scale(domain=[0.5, last + 0.5], nice=False)
    axis = alt.Axis(grid=False, format="d", tickMinStep=1, tickCount=min(12, last))
    x = alt.X("begin:Q", title="row of the comparison", scale=scale, axis=axis)
    sides = alt.Y(
        "side:N",
        title=None,
        sort=["left", "right"],
        axis=alt.Axis(ticks=False, domain=False, labelPadding=8, labelOverlap=False),
    )
    rows = frame.with_columns(begin=pl.col("first") - 0.5, end=pl.col("last") + 0.5)
    bars = (
        alt.Chart(rows)
        .mark_bar(height=16)
        .encode(
            x=x,
            x2="end:Q",
            y=sides,
            color=axes.colored("status", STATUS_COLORS),
            tooltip=[
                alt.Tooltip("first:Q", title="from row"),
                alt.Tooltip("last:Q", title="to row"),
                alt.Tooltip("status:N"),
            ],
        )
    )
    if window is None:
        return axes.layered(bars, height=_STRIP_HEIGHT, description=_ALIGNED)
    part = pl.DataFrame({"begin": [window[0] - 0.5], "end": [window[1] + 0.5]})
    shade = alt.Chart(part).mark_rect(color=LIMIT_COLOR, opacity=0.22).encode(x=x, x2="end:Q")
    return axes.layered(shade, bars, height=_STRIP_HEIGHT, description=_ALIGNED)


def alignment_rows(statuses: Sequence[tuple[str, bool, bool]], points: int = STRIP_POINTS) -> pl.DataFrame:
    """Rows for `alignment` from one `(status, there on the left, there on the right)` per row of a comparison.

    Neighbours of one status are one bar: `first`, `last` (rows from 1), `side`, `status`. More than `points` bars of a side are thinned:
    every so many rows share a bar, in the colour of the one that says most.
    """
    group = max(1, -(-len(statuses) // points))
    weight = {
        status: n
        for n, status in enumerate(
            ("same", "not recorded", "other result", "other arguments", "left only", "right only")
        )
    }
    found: list[tuple[int, int, str, str]] = []
    for side, there in (("left", 1), ("right", 2)):
        bars: list[tuple[int, int, str]] = []
        for start in range(0, len(statuses), group):
            part = [row for row in statuses[start : start + group] if row[there]]
            if not part:
                continue
            status = max((row[0] for row in part), key=lambda s: weight.get(s, 0))
            end = min(start + group, len(statuses))
            if bars and bars[-1][2] == status and bars[-1][1] == start:
                bars[-1] = (bars[-1][0], end, status)
            else:
                bars.append((start + 1, end, status))
        found.extend((first, last, side, status) for first, last, status in bars)
    schema = {"first": pl.Int64, "last": pl.Int64, "side": pl.String, "status": pl.String}
    return pl.DataFrame(found, schema=schema, orient="row")


POLICY_COLORS: Final = {"in force": "#9aa7b8", "tried": "#5b85d6"}


def stops_by_guard(frame: pl.DataFrame) -> alt.Chart:
    """Bars of runs that each guard would have stopped, one per policy; `frame` from `views.whatif.by_guard`."""
    guards = max(frame["guard"].n_unique(), 1)
    policies = [name for name in POLICY_COLORS if name in frame["policy"]]
    colors = {name: POLICY_COLORS[name] for name in policies}
    names = alt.Axis(labelLimit=_LABEL_PIXELS, labelOverlap=False, ticks=False, domain=False, labelPadding=8)
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_bar(cornerRadiusEnd=2)
        .encode(
            x=alt.X("runs:Q", title="runs stopped", axis=axes.whole_numbers(int(axes.largest(frame, "runs")))),
            y=alt.Y("guard:N", title=None, sort="-x", axis=names, scale=alt.Scale(paddingInner=0.3)),
            yOffset=alt.YOffset("policy:N", sort=policies),
            color=axes.colored("policy", colors, axes.LEGEND if len(policies) > 1 else None),
            tooltip=[alt.Tooltip("guard:N"), alt.Tooltip("policy:N"), alt.Tooltip("runs:Q", format=",")],
        )
        .properties(
            height=guards * (10 + 16 * len(policies)) + (135 if len(policies) > 1 else 80),
            description="Runs stopped by guard",
        )
    )
    return chart


def firings_over_time(frame: pl.DataFrame, unseen: pl.DataFrame, first: datetime, last: datetime) -> alt.LayerChart:
    """A lane per rule with a bar from when it fired to when it was resolved, and a lane of marks for findings that no rule saw.

    `frame` from `views.alert_history.firings`, `unseen` from `unseen`; the axis goes from `first` to `last` (UTC).
    """
    rules = [*frame["rule"].unique(maintain_order=True)]
    lanes = [*rules, *([_UNSEEN] if unseen.height else [])]
    scale = alt.Scale(type="utc", domain=[_utc(first), _utc(last)], nice=False)
    far = last - first > timedelta(days=3)
    axis = alt.Axis(grid=True, labelOverlap=True, tickCount=8, format="%-d %b %Y" if far else "%-d %b %H:%M")
    x = alt.X("fired:T", title="time, UTC", axis=axis, scale=scale)
    names = alt.Axis(labelLimit=_LABEL_PIXELS, labelOverlap=False, ticks=False, domain=False, labelPadding=8)
    y = alt.Y("rule:N", title=None, sort=lanes, axis=names, scale=alt.Scale(domain=lanes))
    bars = (
        alt.Chart(frame.select("rule", "labels", "value", "behind", "fired", "until"))
        # The stroke gives what was soon over a width that can be seen.
        .mark_bar(height=12, strokeWidth=3, cornerRadius=1)
        .encode(
            x=x,
            x2="until:T",
            y=y,
            color=axes.colored("behind", FIRING_COLORS),
            stroke=alt.Stroke("behind:N", scale=_scale(FIRING_COLORS), legend=None),
            tooltip=[
                alt.Tooltip("rule:N"), alt.Tooltip("labels:N", title="of"), alt.Tooltip("value:N", title="value when it fired"),
                alt.Tooltip("fired:T", title="fired (UTC)", format="%Y-%m-%d %H:%M"),
                alt.Tooltip("until:T", title="until (UTC)", format="%Y-%m-%d %H:%M"), alt.Tooltip("behind:N", title=" "),
            ],
        )
    )  # fmt: skip
    layers = [bars]
    if unseen.height:
        marks = alt.Chart(unseen.select("detector", "severity", "agent_name", fired="at", rule=pl.lit(_UNSEEN)))
        tooltip = [alt.Tooltip("detector:N"), alt.Tooltip("severity:N"), alt.Tooltip("agent_name:N", title="agent"),
                   alt.Tooltip("fired:T", title="from (UTC)", format="%Y-%m-%d %H:%M")]  # fmt: skip
        layers.append(
            marks.mark_point(
                shape="diamond", filled=True, size=60, color=SEVERITY_COLORS["warning"], opacity=0.9
            ).encode(x=x, y=y, tooltip=tooltip)
        )
    return axes.layered(*layers, height=max(1, len(lanes)) * _LANE_PIXELS + 110, description="When each rule fired")


def gauge(samples: pl.DataFrame, lines: pl.DataFrame, title: str) -> alt.LayerChart:
    """A metric over time, a line per series, with the lines from which its rules fire; from `views.alert_history.Gauge`."""
    axis = alt.Axis(grid=False, labelOverlap=True, tickCount=5, format="%-d %b %H:%M")
    series = [*samples["series"].unique(maintain_order=True)]
    colors = dict(zip(series, SERIES_COLORS, strict=False))
    legend = (
        alt.Legend(title=None, orient="top", labelLimit=180, symbolType="stroke", columns=2)
        if len(series) > 1
        else None
    )
    drawn = (
        alt.Chart(samples)
        .mark_line(strokeWidth=1.5, point=alt.OverlayMarkDef(size=10, filled=True))
        .encode(
            x=alt.X("at:T", title="time, UTC", axis=axis, scale=alt.Scale(type="utc")),
            y=alt.Y("value:Q", title=title, axis=axes.amounts(tickCount=4), scale=alt.Scale(zero=True)),
            color=axes.colored("series", colors, legend),
            detail="block:N",
            tooltip=[alt.Tooltip("at:T", title="time (UTC)", format="%Y-%m-%d %H:%M"), alt.Tooltip("series:N", title="of"),
                     alt.Tooltip("value:Q", format=",.4~g")],
        )
    )  # fmt: skip
    rules = (
        alt.Chart(lines)
        .mark_rule(strokeDash=[5, 4], strokeWidth=1.5)
        .encode(
            y="line:Q",
            stroke=alt.Stroke("severity:N", scale=_scale(_ALERT_COLORS), legend=None),
            tooltip=[alt.Tooltip("severity:N"), alt.Tooltip("line:Q", title="fires from", format=",.4~g")],
        )
    )
    layered: alt.LayerChart = axes.layered(
        drawn, rules, height=_SMALL_HEIGHT, description=f"{title} over time"
    ).resolve_scale(color="independent", stroke="independent")
    return layered


def _utc(moment: datetime) -> alt.DateTime:
    # Numbers and not text, which browsers read in their own time zone.
    return alt.DateTime(
        year=moment.year,
        month=moment.month,
        date=moment.day,
        hours=moment.hour,
        minutes=moment.minute,
        seconds=moment.second,
        utc=True,
    )


def _scale(colors: dict[str, str]) -> alt.Scale:
    return alt.Scale(domain=[*colors], range=[*colors.values()])
