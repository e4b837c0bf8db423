"""What charts over the turns of a run share: bars as wide as the turns they stand for, findings as lanes above, a limit as a line."""

from __future__ import annotations

from typing import Any, Final

import altair as alt
import polars as pl

from analyzer.report.axes import fixed, largest, lowest
from analyzer.report.colors import LIMIT_COLOR, SEVERITY_COLORS

LANES_SHOWN: Final = 6
"""Detectors whose findings are marked."""
_LANE_PIXELS: Final = 20
_PLOT_PIXELS: Final = 150
"""What axes and legend leave of the height of a chart, at the least."""


def turn_bars(rows: pl.DataFrame, frame: pl.DataFrame, spacing: int = 1, **mark: Any) -> alt.Chart:
    """Bars of `rows` over the turns of `frame`, each as wide as the turns it stands for."""
    first, last = int(lowest(frame, "turn")), int(largest(frame, "last_turn"))
    axis = alt.Axis(grid=False, format="d", tickMinStep=1, tickCount=min(12, last - first + 1))
    # A bar stands over its number, so it begins half a turn before it.
    scale = alt.Scale(domain=[first - 0.5, last + 0.5], nice=False)
    x = alt.X("begin:Q", bin="binned", title="turn", axis=axis, scale=scale)
    spaced = alt.Chart(rows.with_columns(begin=pl.col("turn") - 0.5, end=pl.col("last_turn") + 0.5))
    bars: alt.Chart = spaced.mark_bar(binSpacing=spacing if frame.height <= 120 else 0, **mark).encode(x=x, x2="end:Q")
    return bars


def lanes(bands: pl.DataFrame) -> list[alt.Chart]:
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
            layers.append(line.mark_rect(color=color).encode(x2="end:Q", tooltip=tooltip, **fixed(y=top, y2=top + 4)))
        first = own.sort("begin").head(1)
        # Past the middle it stands to the left of where it begins: to the right there may be no room.
        past = largest(first, "begin") > largest(bands, "last_turn") / 2
        name = alt.Chart(first).mark_text(align="right" if past else "left", baseline="top", fontSize=10, dy=6)
        color = SEVERITY_COLORS[_worst(own)]
        layers.append(name.encode(x="begin:Q", text="detector:N", **fixed(y=top, color=color)))
    return layers


def _worst(bands: pl.DataFrame) -> str:
    return next(severity for severity in SEVERITY_COLORS if severity in bands["severity"])


def headroom(bands: pl.DataFrame) -> float:
    """How much higher than its bars a chart must be to leave the lanes room."""
    lanes = min(bands["detector"].n_unique(), LANES_SHOWN)
    return _PLOT_PIXELS / (_PLOT_PIXELS - lanes * _LANE_PIXELS)


def up_to(top: float) -> alt.Scale:
    """A scale from nothing to `top`."""
    return alt.Scale(domain=[0, top], nice=False) if top > 0 else alt.Scale()


def limit(tokens: int, label: str) -> list[alt.Chart]:
    """A dashed line at `tokens`, and its name."""
    line = alt.Chart(pl.DataFrame({"tokens": [tokens], "label": [label]})).encode(y="tokens:Q")
    words = line.mark_text(align="right", baseline="bottom", dy=-3, dx=-4, color=LIMIT_COLOR, fontSize=11)
    return [
        line.mark_rule(strokeDash=[5, 4], color=LIMIT_COLOR, strokeWidth=1.5),
        words.encode(text="label:N", **fixed(x="width")),
    ]
