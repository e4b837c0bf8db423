"""What charts of all pages share: axes with their units, stretches of time, colours and legends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import altair as alt
import polars as pl

_DAY_SECONDS: Final = 86_400
_SECONDS: Final = (("min", 60.0, 180.0), ("h", 3_600.0, 3 * 3_600.0), ("d", 86_400.0, 3 * 86_400.0))
_NAMED: Final = 3
"""Numbers that a logarithmic axis should name at least."""
LEGEND: Final = alt.Legend(title=None, orient="top", symbolType="square", symbolSize=80, symbolStrokeWidth=0)


def names(**more: Any) -> alt.Axis:
    """An axis of names, one a row."""
    return alt.Axis(labelLimit=180, labelOverlap=False, ticks=False, domain=False, labelPadding=8, **more)


def whole_numbers(most: int) -> alt.Axis:
    """An axis of counts up to `most`."""
    return (
        amounts(tickMinStep=1, tickCount=min(6, max(1, most)))
        if most >= 10_000
        else alt.Axis(format=",d", tickMinStep=1, tickCount=min(6, max(1, most)))
    )


def fixed(**values: float | str) -> dict[str, Any]:
    """Channels (`x`, `x2`, `y`, `y2`, `color`) that have one value for all marks.

    As `alt.value`, with the class named: altair finds that of a bare value by hashing its whole schema, some 30 ms each.
    """
    return {channel: getattr(alt, f"{channel.capitalize()}Value")(value) for channel, value in values.items()}


def amounts(**more: Any) -> alt.Axis:
    """An axis of large numbers: 0, 50k, 1.2M."""
    # By itself nothing would be `0k`.
    return alt.Axis(format="~s", labelExpr="datum.value === 0 ? '0' : datum.label", **more)


def money() -> alt.Axis:
    """An axis of US dollars."""
    return alt.Axis(format="$,.3~f", tickCount=5)


def logarithmic(low: float, high: float, **more: Any) -> alt.Axis:
    """A logarithmic axis from `low` to `high` (both above 0) that names powers of ten, and numbers between them where those are too few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values: list[float] = []
    for steps in ((1,), (1, 2, 5), range(1, 10)):
        values = [value for p in powers for s in steps if low <= (value := float(f"{s}e{p}")) <= high]
        if len(values) >= _NAMED:
            break
    return alt.Axis(values=values, labelOverlap=True, **more)


def usd(field: str, title: str = "US dollars") -> alt.Tooltip:
    """US dollars in a tooltip."""
    return alt.Tooltip(field, title=title, format="$,.5~f")


def when() -> alt.Tooltip:
    """The start of a stretch of time in a tooltip."""
    return alt.Tooltip("start:T", title="from (UTC)", format="%Y-%m-%d %H:%M")


def with_end(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with `end` of each stretch that begins at `start` and is `bucket_seconds` long."""
    # A little short of the next one: neighbouring columns stay apart.
    width = pl.duration(milliseconds=pl.col("bucket_seconds").cast(pl.Int64) * 920)
    return frame.with_columns(end=pl.col("start") + width).drop("bucket_seconds")


def over_time(frame: pl.DataFrame, title: str = "start of run, UTC") -> dict[str, Any]:
    """Encodings `x` and `x2` of the stretches of time of `frame`, from before `with_end`."""
    days = frame.height > 0 and int(frame["bucket_seconds"][0]) >= _DAY_SECONDS
    axis = alt.Axis(grid=False, labelOverlap=True, tickCount=6, format="%-d %b %Y" if days else "%-d %b %H:%M")
    scale = alt.Scale(type="utc")
    return {"x": alt.X("start:T", title=title, axis=axis, scale=scale), "x2": "end:T"}


def colored(field: str, colors: Mapping[str, str], legend: alt.Legend | None = LEGEND) -> alt.Color:
    """Colours by the words of a column, in the order of `colors`."""
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=[*colors], range=[*colors.values()]), legend=legend)


def by(field: str) -> list[alt.SortField]:
    """Stacks in ascending order of a column."""
    return [alt.SortField(field=field, order="ascending")]


def time_unit(seconds: float) -> tuple[str, float]:
    """The unit in which so long a time is read best, and how many seconds it has."""
    unit, size = ("ms", 0.001) if seconds < 2 else ("seconds", 1.0)
    for name, unit_seconds, from_seconds in _SECONDS:
        if seconds >= from_seconds:
            unit, size = name, unit_seconds
    return unit, size


def layered(*charts: alt.Chart, height: Any, description: str) -> alt.LayerChart:
    """Charts on top of each other; `description` is what a screen reader calls them."""
    together = alt.layer(*charts, height=height, description=description)
    assert isinstance(together, alt.LayerChart)  # it would be a facet only if one of the charts were
    return together


def largest(frame: pl.DataFrame, column: str) -> float:
    """The largest of a column of numbers; 0 of none."""
    return float(frame[column].max() or 0)  # type: ignore[arg-type]  # a numeric column


def lowest(frame: pl.DataFrame, column: str) -> float:
    """The lowest of a column of numbers; 0 of none."""
    return float(frame[column].min() or 0)  # type: ignore[arg-type]  # as above
