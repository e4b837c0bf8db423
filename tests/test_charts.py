"""Charts as values: what they encode, that they stay small, and that nothing in a trace can act in them."""

from __future__ import annotations

import json
from typing import Any

import altair as alt
import polars as pl
import pytest
from test_views_runs import finding

from analyzer.findings import Severity
from analyzer.report import charts
from analyzer.views import run as views
from analyzer.views.runs import findings_by_mode


def titles(spec: Any) -> set[str]:
    """Every axis title in a chart's specification."""
    if isinstance(spec, list):
        return {title for item in spec for title in titles(item)}
    if not isinstance(spec, dict):
        return set()
    here = {spec[axis]["title"] for axis in ("x", "y") if isinstance(spec.get(axis), dict) and spec[axis].get("title")}
    return here | {title for item in spec.values() for title in titles(item)}


def points(turns: int = 6, cost: float | None = 0.01) -> pl.DataFrame:
    """Rows of `views.run.for_charts`."""
    return pl.DataFrame(
        {
            "turn": range(1, turns + 1),
            "last_turn": range(1, turns + 1),
            "input_tokens": [1_000 * n for n in range(1, turns + 1)],
            "uncached_input_tokens": [400] * turns,
            "cache_read_tokens": [600] * turns,
            "cache_write_tokens": [None] * turns,
            "cost_usd": [cost] * turns,
            "severity": [None] * turns,
        },
        schema_overrides={"cache_write_tokens": pl.Int64, "severity": pl.String, "cost_usd": pl.Float64},
    )


def page(label: str = "search", spans: int = 3) -> pl.DataFrame:
    """Rows of `views.run.spans`."""
    return pl.DataFrame(
        {
            "step": range(spans), "turn": [1] * spans, "kind": ["tool"] * spans, "span_id": ["a"] * spans, "label": [label] * spans,
            "start_seconds": [float(n) for n in range(spans)], "end_seconds": [n + 0.5 for n in range(spans)],
            "pending": [False] * spans, "failed": [0 < n < 3 for n in range(spans)], "blocked": [n == 2 for n in range(spans)],
            "cost_usd": [None] * spans, "severity": ["error" if n == 1 else None for n in range(spans)],
        },
        schema_overrides={"cost_usd": pl.Float64, "severity": pl.String},
    )  # fmt: skip


OVER_TIME = pl.DataFrame(
    {
        "start": pl.Series([0], dtype=pl.Datetime("us")),
        "bucket_seconds": [3_600],
        "severity": ["error"],
        "findings": [2],
    }
)
SPEND = pl.DataFrame(
    {
        "start": pl.Series([0], dtype=pl.Datetime("us")),
        "bucket_seconds": [3_600],
        "runs": [3],
        "useful_usd": [1.0],
        "wasted_usd": [0.5],
    }
)
DENSITY = pl.DataFrame(
    {"start_seconds": [0.0, 60.0], "end_seconds": [60.0, 120.0], "kind": ["model", "failed"], "spans": [3, 1]}
)
BANDS = views.bands([finding("x", first_turn=2, last_turn=4), finding("x", "error_cascade", severity=Severity.ERROR)])

ALL = {
    "by mode": (charts.findings_by_mode(findings_by_mode([finding("x")], ["a", "b"])), {"findings"}),
    "findings": (charts.findings_over_time(OVER_TIME, OVER_TIME["start"]), {"findings", "start of run, UTC"}),
    "spend": (charts.spend_over_time(SPEND), {"US dollars", "start of run, UTC"}),
    "context": (charts.context(points(), BANDS, 8_000), {"input tokens", "turn"}),
    "cost": (charts.cost_per_turn(points(), BANDS), {"US dollars", "turn"}),
    "density": (charts.density(DENSITY, (0.0, 60.0)), {"spans", "seconds since the run began"}),
    "waterfall": (charts.waterfall(page()), {"seconds since the run began"}),
}


@pytest.mark.parametrize("name", ALL)
def test_every_axis_names_its_unit(name: str) -> None:
    chart, expected = ALL[name]
    assert titles(chart.to_dict()) == expected


@pytest.mark.parametrize("name", ALL)
def test_a_chart_loads_nothing_and_runs_no_expression_of_the_trace(name: str) -> None:
    spec = json.dumps({**ALL[name][0].to_dict(), "$schema": None, "datasets": None})
    assert "http" not in spec
    assert '"url"' not in spec
    assert '"href"' not in spec


def layers(chart: alt.LayerChart) -> list[dict[str, Any]]:
    """Marks of the layers of a chart."""
    return [layer["mark"] for layer in chart.to_dict()["layer"]]


def test_the_window_is_a_line_only_where_it_is_known_and_near() -> None:
    assert "rule" in [mark["type"] for mark in layers(charts.context(points(), BANDS, 8_000))]
    assert "rule" not in [mark["type"] for mark in layers(charts.context(points(), BANDS, 1_000_000))]
    assert "rule" not in [mark["type"] for mark in layers(charts.context(points(), BANDS, None))]


def test_each_detector_has_a_lane_in_the_colour_of_its_severity() -> None:
    lanes = [mark for mark in layers(charts.cost_per_turn(points(), BANDS)) if mark["type"] == "rect"]
    assert [mark["color"] for mark in lanes] == [charts.SEVERITY_COLORS["warning"], charts.SEVERITY_COLORS["error"]]
    assert len(layers(charts.cost_per_turn(points(), views.bands([])))) == 1


def test_steps_that_a_finding_names_are_marked_in_the_waterfall() -> None:
    assert [m.get("color") for m in layers(charts.waterfall(page())) if m["type"] == "rect"] == [
        charts.SEVERITY_COLORS["error"]
    ]


def test_total_only_usage_counts_as_uncached() -> None:
    total_only = points().with_columns(
        pl.lit(None, pl.Int64).alias(c) for c in ("uncached_input_tokens", "cache_read_tokens", "cache_write_tokens")
    )
    spec = charts.context(total_only, BANDS, None).to_dict()
    rows = [row for data in spec["datasets"].values() for row in data if "part" in row]
    assert {row["part"] for row in rows} == {"uncached"}
    assert [row["tokens"] for row in rows] == [1_000 * n for n in range(1, 7)]


@pytest.mark.parametrize(
    ("seconds", "unit"), [(0.2, "ms"), (2, "seconds"), (179, "seconds"), (181, "min"), (20_000, "h"), (400_000, "d")]
)
def test_time_has_the_unit_it_is_read_in(seconds: float, unit: str) -> None:
    assert charts.time_unit(seconds)[0] == unit


def test_a_chart_of_nothing_is_still_a_chart() -> None:
    nothing = views.bands([])
    for chart in (
        charts.waterfall(page().head(0)),
        charts.cost_per_turn(points().head(0), nothing),
        charts.density(DENSITY.head(0)),
    ):
        assert chart.to_dict()["layer"]


def test_a_call_that_a_guard_blocked_has_a_colour_of_its_own() -> None:
    rows = next(iter(charts.waterfall(page()).to_dict()["datasets"].values()))
    assert [row["color"] for row in rows] == ["tool", "failed", "blocked"]
    assert len(set(charts.KIND_COLORS.values())) == len(charts.KIND_COLORS)
