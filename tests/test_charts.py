"""Charts as values: what they encode, that they stay small, and that nothing in a trace can act in them."""

from __future__ import annotations

import json
from typing import Any

import altair as alt
import polars as pl
import pytest
from test_views_runs import finding

from analyzer.findings import Severity
from analyzer.report import axes, charts, charts_timeline, charts_turns
from analyzer.report.colors import KIND_COLORS, SEVERITY_COLORS
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


def costs(turns: int = 6) -> pl.DataFrame:
    """Rows of `views.run.costs`."""
    return pl.DataFrame(
        {
            "turn": range(1, turns + 1), "last_turn": range(1, turns + 1), "cost_usd": [0.01] * turns,
            "so_far_usd": [0.01 * n for n in range(1, turns + 1)], "unpriced_calls": [0] * turns,
        }
    )  # fmt: skip


def parts(turns: int = 6) -> pl.DataFrame:
    """Rows of `views.composition.Composition.parts`: 1,000 tokens more each turn."""
    return pl.DataFrame(
        {
            "turn": range(1, turns + 1), "last_turn": range(1, turns + 1), "part": ["system"] * turns, "kind": ["system"] * turns,
            "rank": [0] * turns, "amount": [1_000.0 * n for n in range(1, turns + 1)], "chars": [4_000] * turns,
        }
    )  # fmt: skip


def composed(window_tokens: int | None) -> alt.LayerChart:
    """What filled the context, against a window."""
    compactions = pl.DataFrame(schema={"turn": pl.Int64, "how": pl.String})
    return charts_turns.composition(parts(), "tokens", compactions, BANDS, window_tokens)


def page(label: str = "search", spans: int = 3) -> pl.DataFrame:
    """Rows of `views.timeline.Page`."""
    return pl.DataFrame(
        {
            "position": range(spans), "depth": [0] * spans, "step": range(spans), "turn": [1] * spans, "kind": ["tool"] * spans,
            "span_id": ["a"] * spans, "label": [label] * spans, "start_seconds": [float(n) for n in range(spans)],
            "end_seconds": [n + 0.5 for n in range(spans)], "seconds": [0.5] * spans, "self_seconds": [0.5] * spans,
            "children": [0] * spans, "pending": [False] * spans, "inferred": [False] * spans,
            "failed": [0 < n < 3 for n in range(spans)], "blocked": [n == 2 for n in range(spans)], "cost_usd": [None] * spans,
            "severity": ["error" if n == 1 else None for n in range(spans)],
        },
        schema_overrides={"cost_usd": pl.Float64, "severity": pl.String},
    )  # fmt: skip


GAPS = pl.DataFrame(schema={"start_seconds": pl.Float64, "end_seconds": pl.Float64, "seconds": pl.Float64})


def fall(rows: pl.DataFrame) -> alt.LayerChart:
    """The waterfall of a page."""
    return charts_timeline.waterfall(rows, GAPS, (0.0, 3.0))


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
    "context": (composed(8_000), {"tokens sent", "turn"}),
    "cost": (charts_turns.costs(costs(), BANDS), {"US dollars a turn", "US dollars so far", "turn"}),
    "overview": (charts_timeline.overview(DENSITY, (0.0, 60.0), GAPS), {"spans", "seconds since the run began"}),
    "waterfall": (fall(page()), {"seconds since the run began"}),
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


@pytest.mark.parametrize("name", ALL)
def test_every_chart_has_a_name_for_those_who_do_not_see_it(name: str) -> None:
    assert ALL[name][0].to_dict()["description"]


def layers(chart: alt.LayerChart) -> list[dict[str, Any]]:
    """Marks of the layers of a chart, those of layers within it too."""
    waiting, found = [chart.to_dict()], []
    while waiting:
        one = waiting.pop(0)
        waiting = [*one.get("layer", []), *waiting]
        found += [one["mark"]] if "mark" in one else []
    return found


def test_the_window_is_a_line_only_where_it_is_known_and_near() -> None:
    assert "rule" in [mark["type"] for mark in layers(composed(8_000))]
    assert "rule" not in [mark["type"] for mark in layers(composed(1_000_000))]
    assert "rule" not in [mark["type"] for mark in layers(composed(None))]


def test_each_detector_has_a_lane_in_the_colour_of_its_severity() -> None:
    lanes = [mark for mark in layers(charts_turns.costs(costs(), BANDS)) if mark["type"] == "rect"]
    assert [mark["color"] for mark in lanes] == [SEVERITY_COLORS["warning"], SEVERITY_COLORS["error"]]
    assert [mark["type"] for mark in layers(charts_turns.costs(costs(), views.bands([])))] == ["bar", "line"]


def test_steps_that_a_finding_names_are_marked_in_the_waterfall() -> None:
    assert [m["color"] for m in layers(fall(page())) if m["type"] == "rect"] == [SEVERITY_COLORS["error"]]


@pytest.mark.parametrize(
    ("seconds", "unit"), [(0.2, "ms"), (2, "seconds"), (179, "seconds"), (181, "min"), (20_000, "h"), (400_000, "d")]
)
def test_time_has_the_unit_it_is_read_in(seconds: float, unit: str) -> None:
    assert axes.time_unit(seconds)[0] == unit


def test_a_chart_of_nothing_is_still_a_chart() -> None:
    nothing = views.bands([])
    for chart in (
        fall(page().head(0)),
        charts_turns.costs(costs().head(0), nothing),
        charts_timeline.overview(DENSITY.head(0), (0.0, 1.0), GAPS),
    ):
        assert chart.to_dict()["layer"]


def test_a_call_that_a_guard_blocked_has_a_colour_of_its_own() -> None:
    rows = next(iter(fall(page()).to_dict()["datasets"].values()))
    assert [row["color"] for row in rows] == ["tool", "failed", "blocked"]
    assert len(set(KIND_COLORS.values())) == len(KIND_COLORS)
