"""What the pages say of many runs: findings by mode, what is new since a deploy, money by group, tools; and what leaves the app."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from app_database import (
    START_NS,
    Call,
    Run,
    Turn,
    a_day,
    attributes,
    failing,
    growing,
    healthy,
    inventing,
    looping,
    spans,
    write,
)
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from test_app_pieces import HOSTILE
from test_charts import titles
from test_views_runs import finding

from analyzer import baseline
from analyzer.detectors import DETECTORS
from analyzer.findings import Report, Severity
from analyzer.pages import fleet_pieces, links
from analyzer.readers import load, resolve
from analyzer.report import axes, charts_fleet
from analyzer.report.as_files import as_csv, as_parquet
from analyzer.report.finding_markdown import as_markdown, fenced
from analyzer.run import judge
from analyzer.samples import samples_folder
from analyzer.views import cost, failures, overview, tools
from analyzer.views import runs as run_views
from instrument.store.connect import reading, writing
from instrument.store.load import Loader

HOUR_NS = 3_600 * 10**9


@dataclasses.dataclass
class Day:
    """A store, read once."""

    report: Report
    runs: pl.DataFrame
    found: pl.DataFrame
    spent: pl.DataFrame
    sources: pl.DataFrame
    tools: pl.DataFrame


def read(con: duckdb.DuckDBPyConnection) -> Day:
    """Everything the pages ask of a store."""
    report = judge(con)
    runs = run_views.with_findings(run_views.summaries(con), report.findings, report.wasted_usd)
    found = failures.found(report.findings)
    judged = tools.with_findings(tools.summaries(con), tools.trends(con), found)
    return Day(report, runs, found, cost.spent(con), cost.sources(con), judged)


def test_all_runs_together_wasted_what_the_report_says(day: Day) -> None:
    assert day.runs["wasted_usd"].sum() == pytest.approx(day.report.totals.wasted_cost_usd)
    assert day.runs["wasted_usd"].count() > 1


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """A day of runs, and one of a model without a price by an agent without a name for its user."""
    unpriced = Run(50, "guest", [Turn("hello"), Turn("bye")], model="my-own-model")
    with reading(write(tmp_path_factory.mktemp("fleet") / "a.duckdb", [*a_day(), unpriced])) as con:
        return read(con)


# --- failures ---------------------------------------------------------------------------------------------------------


def test_all_six_modes_are_there_and_a_run_counts_its_largest_waste_once() -> None:
    found = failures.found(
        [
            finding("a", wasted_cost_usd=0.5),
            finding("a", "call_cycle", wasted_cost_usd=0.7),
            finding("b", "cost_outlier", wasted_cost_usd=None, severity=Severity.ERROR),
        ]
    )
    rows = {row["mode"]: row for row in failures.by_mode(found).iter_rows(named=True)}
    assert list(rows) == [*charts_fleet.MODE_COLORS]
    loops = rows["infinite loops"]
    assert (loops["findings"], loops["runs"], loops["wasted_usd"], loops["errors"]) == (2, 1, 0.7, 0)
    assert loops["detectors"] == ["call_cycle", "repeated_call"]
    assert (rows["cost explosions"]["wasted_usd"], rows["cost explosions"]["errors"]) == (None, 1)
    assert (rows["stuck states"]["findings"], rows["stuck states"]["detectors"]) == (0, [])


def test_modes_over_time_stand_in_the_stretches_of_the_spend_and_lead_to_their_runs(day: Day) -> None:
    over_time = failures.modes_over_time(day.runs, day.found)
    assert over_time["findings"].sum() == len(day.report.findings)
    assert set(over_time["start"]) <= set(run_views.spend_over_time(day.runs)["start"])
    (loop,) = over_time.filter(pl.col("mode") == "infinite loops").iter_rows(named=True)
    wanted = failures.runs_of(loop, over_time)
    assert wanted.detectors == ("repeated_call", "call_cycle", "near_repeat")
    assert wanted.since_ns is not None
    assert wanted.until_ns is not None
    assert wanted.since_ns <= START_NS + 41 * HOUR_NS // 2 < wanted.until_ns


def test_detectors_come_worst_first_with_a_trend_from_the_first_run_to_the_last(day: Day) -> None:
    rows = failures.by_detector(day.runs, day.found)
    assert rows["findings"].sum() == len(day.report.findings)
    assert rows["severity"].to_list() == sorted(rows["severity"], key=lambda s: -Severity(s).rank)
    loops = rows.row(by_predicate=pl.col("detector") == "repeated_call", named=True)
    assert sum(loops["trend"]) == loops["findings"]
    assert {len(trend) for trend in rows["trend"]} == {26}  # hours, of 50 runs that start half an hour apart
    assert failures.by_detector(day.runs, day.found.head(0)).is_empty()


def test_affected_agents_are_counted_against_all_their_runs(day: Day) -> None:
    rows = failures.affected(day.runs, day.found.filter(pl.col("detector") == "repeated_call"))
    assert rows.select("agent_name", "runs", "of_runs").rows() == [("support", 1, 28)]
    nameless = failures.found([finding("x", agent_name=None)])
    assert failures.affected(day.runs, nameless)["of_runs"].to_list() == [None]


def test_findings_are_asked_for_by_mode_agent_tool_and_severity_and_without_those_accepted() -> None:
    known = finding("a", fingerprint="0" * 16, agent_name="x", evidence={"tool_name": "grep"})
    other = finding("b", "cost_outlier", severity=Severity.ERROR, agent_name="y", fingerprint="1" * 16)
    found = failures.found([known, other])
    for wanted, positions in (
        (failures.Wanted(), [0, 1]),
        (failures.Wanted(modes=["cost explosions"]), [1]),
        (failures.Wanted(agents=["x"]), [0]),
        (failures.Wanted(tools=["grep"]), [0]),
        (failures.Wanted(severities=["error"]), [1]),
        (failures.Wanted(without=frozenset({"0" * 16})), [1]),
    ):
        assert failures.matching(found, wanted)["position"].to_list() == positions
    assert failures.chosen([known, other], found.filter(pl.col("detector") == "cost_outlier")) == [other]


# --- since the last deploy --------------------------------------------------------------------------------------------


def deployed(path: Path, runs: list[tuple[Run, str | None]]) -> Path:
    """A database of runs, each by a version of the service."""
    with writing(path) as con, Loader(con) as loader:
        for run, version in runs:
            resource = {"attributes": attributes(service__name="shop", service__version=version)}
            line = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {}, "spans": spans(run)}]}]}
            loader.add_lines(json.dumps(line).encode() + b"\n", "day.jsonl")
        loader.finish()
    return path


def test_new_is_what_an_agent_did_not_do_before_its_newest_version(tmp_path: Path) -> None:
    runs = [
        (looping(1), "1.0"),
        (healthy(2, "refunds"), "1.0"),
        (healthy(3), None),
        (looping(4), "1.1"),
        (failing(5), "1.1"),
        (inventing(6), "1.1"),
        (Run(7, "newcomer", looping(7).turns), "1.1"),
    ]
    with reading(deployed(tmp_path / "a.duckdb", runs)) as con:
        stored, versions = read(con), overview.versions(con)
    deploys = overview.deploys(stored.runs, versions)
    rows = {row["agent_name"]: row for row in deploys.iter_rows(named=True)}
    assert {a: (r["version"], r["before"], r["runs_before"], r["runs_since"]) for a, r in rows.items()} == {
        "support": ("1.1", "1.0", 2, 1),
        "refunds": ("1.1", "1.0", 1, 2),
        "newcomer": ("1.1", None, 0, 1),
    }
    assert rows["refunds"]["deployed_ns"] == START_NS + 5 * HOUR_NS // 2
    news = overview.new_since(stored.found, stored.runs, deploys)
    assert set(news["agent_name"]) == {"refunds"}  # support looped before, a newcomer has no before
    assert {("retry_storm", "refund"), ("unknown_tool", "delete_customer")} <= set(
        news.select("detector", "tool_name").rows()
    )


def test_without_versions_there_is_no_deploy_and_nothing_new(tmp_path: Path) -> None:
    with reading(write(tmp_path / "a.duckdb", [looping(1), looping(2)])) as con:
        stored, versions = read(con), overview.versions(con)
    deploys = overview.deploys(stored.runs, versions)
    assert deploys.is_empty()
    assert overview.new_since(stored.found, stored.runs, deploys).is_empty()


def test_the_worst_agent_is_the_one_that_wasted_most(day: Day) -> None:
    rows = overview.worst_agents(day.runs)
    assert rows["agent_name"].to_list() == ["support", "refunds", "guest"]
    support = rows.row(0, named=True)
    assert (support["runs"], support["failed"]) == (28, 1)
    assert support["wasted_share"] == pytest.approx(support["wasted_usd"] / support["cost_usd"])
    assert (rows["cost_usd"][2], rows["wasted_share"][2]) == (None, None)


# --- cost -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", cost.GROUPINGS.values())
def test_every_grouping_sums_to_the_same_spend_and_counts_what_has_no_price(day: Day, by: str) -> None:
    groups = cost.by_group(day.spent, cost.with_day(day.runs), by)
    assert groups["cost_usd"].sum() == pytest.approx(day.report.totals.cost_usd)
    assert groups["calls"].sum() == day.report.totals.model_calls
    assert groups["unpriced_calls"].sum() == day.report.totals.unpriced_calls == 2
    assert groups["input_tokens"].sum() == day.report.totals.input_tokens


def test_what_is_not_known_stays_unknown_in_every_group(day: Day) -> None:
    groups = cost.by_group(day.spent, cost.with_day(day.runs), "agent_name")
    guest = groups.row(by_predicate=pl.col("group") == "guest", named=True)
    assert (guest["cost_usd"], guest["median_run_usd"], guest["cache_read_share"], guest["unpriced_calls"]) == (
        None,
    ) * 3 + (2,)
    assert cost.largest(groups)[0]["group"].to_list() == ["support", "refunds"]
    users = cost.by_group(day.spent, cost.with_day(day.runs), "user_id")
    assert users["group"].to_list() == [None]
    assert cost.largest(users)[0].is_empty()


def test_the_share_of_the_cache_is_that_of_calls_that_tell(day: Day) -> None:
    whole = cost.together(day.spent)
    told = [turn for run in a_day() for turn in run.turns if turn.cached_tokens]
    assert whole["measured_calls"] == len(told)
    assert whole["cache_read_tokens"] == sum(t.cached_tokens for t in told)
    assert whole["measured_input_tokens"] == sum(t.cached_tokens + t.input_tokens for t in told)
    assert "how much was written to it was not recorded" in cost.cache_in_words(whole)
    assert "read 3.0 times" in cost.cache_in_words(
        {"cache_read_tokens": 30, "cache_write_tokens": 10, "measured_input_tokens": 60}
    )
    nothing = cost.together(day.spent.head(0))
    assert nothing["measured_input_tokens"] is None
    assert "No model call says" in cost.cache_in_words(nothing)


def test_runs_stand_out_against_the_median_of_their_group(day: Day) -> None:
    runs = cost.with_day(day.runs)
    bands, points = cost.spread(runs, "agent_name", ["support", "refunds"])
    support = bands.row(by_predicate=pl.col("group") == "support", named=True)
    known = runs.filter(pl.col("agent_name") == "support")["cost_usd"]
    assert (support["runs"], support["median"]) == (28, known.median())
    assert support["low"] <= support["median"] <= support["high"]
    assert points["cost_usd"].max() == known.max()
    assert all(count <= cost.POINTS_EACH for count in points.group_by("group").len()["len"])
    far = cost.outliers(points, bands)
    assert far["run_id"][0] == growing(44).run_id
    assert all(times >= 2 for times in far["times"])
    assert far["marked"][0] == "outlier"
    assert cost.outliers(points, bands.with_columns(runs=pl.lit(4))).is_empty()


def test_a_group_leads_to_its_runs(day: Day) -> None:
    assert cost.runs_of("agent_name", "support").agents == ("support",)
    assert cost.runs_of("user_id", None).users == ("",)  # of which it is not known
    midnight = cost.runs_of("day", "2025-11-22")
    assert (midnight.until_ns or 0) - (midnight.since_ns or 0) == 24 * HOUR_NS
    assert not cost.runs_of("day", None)


def test_sources_say_which_calls_have_no_price_and_why(day: Day) -> None:
    rows = {row["source"]: row for row in day.sources.iter_rows(named=True)}
    (unknown,) = (row for source, row in rows.items() if source.startswith("unknown"))
    assert (unknown["calls"], unknown["cost_usd"], unknown["models"], unknown["priced"]) == (
        2,
        None,
        ["my-own-model"],
        False,
    )
    assert sum(row["calls"] for row in rows.values()) == day.report.totals.model_calls


# --- tools ------------------------------------------------------------------------------------------------------------


def test_tools_count_failures_of_calls_that_ran_and_whose_outcome_is_known(day: Day) -> None:
    rows = {row["tool_name"]: row for row in day.tools.iter_rows(named=True)}
    refund = rows["refund"]
    assert (refund["calls"], refund["failed_calls"], refund["error_share"], refund["runs"]) == (7, 7, 1.0, 1)
    assert refund["median_seconds"] == pytest.approx(0.4)
    assert refund["error_trend"] == [1.0]
    assert rows["delete_customer"]["unknown_calls"] == 4
    assert rows["search_orders"]["failed_calls"] == 0
    assert rows["refund"]["findings"] > 0
    whole = tools.together(day.tools)
    assert (whole["calls"], whole["failed_calls"], whole["unjudged_calls"]) == (day.report.totals.tool_calls, 11, 0)
    assert tools.worst(day.tools) == "refund"
    assert tools.worst(day.tools.filter(pl.col("failed_calls") == 0)) is None
    assert tools.in_ms(day.tools)["median_ms"].max() == pytest.approx(400, abs=1)


def test_calls_a_guard_blocked_are_none_that_failed_and_calls_told_twice_count_once(tmp_path: Path) -> None:
    samples = [str(samples_folder() / f"{name}.otlp.jsonl") for name in ("guarded_runs", "public_openllmetry")]
    load(resolve(samples), tmp_path / "g.duckdb")
    with reading(tmp_path / "g.duckdb") as con:
        stored = read(con)
    totals = stored.report.totals
    assert totals.duplicate_calls > 0
    assert (stored.spent["calls"].sum(), stored.tools["calls"].sum()) == (totals.model_calls, totals.tool_calls)
    order_status = stored.tools.row(by_predicate=pl.col("tool_name") == "order_status", named=True)
    assert (order_status["blocked_calls"], order_status["judged_calls"], order_status["failed_calls"]) == (4, 4, 0)


def test_the_failures_of_a_tool_are_kinds_with_their_last_call(tmp_path: Path) -> None:
    slow = Turn("", [Call("refund", {}, "TimeoutError: request timed out", True)])
    runs = [failing(1), Run(2, "refunds", [slow]), looping(3)]
    with reading(write(tmp_path / "a.duckdb", runs)) as con:
        kinds, calls = tools.failures(con, "refund"), tools.failed_calls(con, "refund")
        nobody, summary = tools.failures(con, "'; DROP TABLE spans; --"), tools.summaries(con)
    assert kinds.select("calls", "runs", "timed_out", "run_id").rows() == [
        (7, 1, False, failing(1).run_id),
        (1, 1, True, runs[1].run_id),
    ]
    assert calls.height == 8
    assert calls["start_ns"].is_sorted(descending=True)
    assert tools.newest(calls)["said"][0] == "TimeoutError: request timed out"
    assert nobody.is_empty()
    assert summary.filter(pl.col("tool_name") == "refund")["timed_out_calls"].to_list() == [1]


def test_an_empty_store_gives_empty_frames(tmp_path: Path) -> None:
    with reading(write(tmp_path / "a.duckdb", [])) as con:
        nothing = read(con)
        assert overview.versions(con).is_empty()
    runs = cost.with_day(nothing.runs)
    assert nothing.tools.is_empty()
    assert nothing.sources.is_empty()
    assert failures.modes_over_time(runs, nothing.found).is_empty()
    assert overview.worst_agents(runs).is_empty()
    for by in cost.GROUPINGS.values():
        assert cost.by_group(nothing.spent, runs, by).is_empty()
    bands, points = cost.spread(runs, "agent_name", [])
    assert cost.outliers(points, bands).is_empty()


# --- charts -----------------------------------------------------------------------------------------------------------


def charts(day: Day) -> dict[str, tuple[Any, set[str]]]:
    """Every chart, and the titles of its axes."""
    groups = cost.by_group(day.spent, cost.with_day(day.runs), "agent_name")
    largest, _ = cost.largest(groups)
    bands, points = cost.spread(cost.with_day(day.runs), "agent_name", largest["group"].to_list())
    over_time = failures.modes_over_time(day.runs, day.found)
    starts = run_views.spend_over_time(day.runs)["start"]
    return {
        "modes": (charts_fleet.modes_over_time(over_time, starts), {"findings", "start of run, UTC"}),
        "spend": (charts_fleet.spend_by_group(largest, "agent"), {"US dollars"}),
        "spread": (charts_fleet.spread(bands, points, "agent"), {"US dollars per run (logarithmic)"}),
        "cache": (charts_fleet.cache(largest, "agent"), {"share of input tokens"}),
        "latency": (charts_fleet.latency(day.tools), {"time of a call, ms (logarithmic): median and 95th percentile"}),
        "calls": (charts_fleet.calls_by_outcome(day.tools), {"calls"}),
    }


def test_every_axis_names_its_unit_and_no_chart_loads_anything(day: Day) -> None:
    for name, (chart, expected) in charts(day).items():
        spec = chart.to_dict()
        assert titles(spec) >= expected, name
        assert all(title in expected or title.startswith(("cost_usd", "median", "p95")) for title in titles(spec)), name
        text = json.dumps({**spec, "$schema": None, "datasets": None})
        assert "http" not in text
        assert '"href"' not in text


def test_colours_of_the_modes_differ_from_each_other_and_name_every_mode() -> None:
    assert tuple(charts_fleet.MODE_COLORS) == failures.MODES
    assert len(set(charts_fleet.MODE_COLORS.values())) == len(failures.MODES)


@pytest.mark.parametrize(
    ("low", "high", "values"),
    [(0.01, 10, [0.01, 0.1, 1, 10]), (0.4, 6, [0.5, 1, 2, 5]), (430, 790, [500, 600, 700]), (400, 400, [400])],
)
def test_a_logarithmic_axis_names_round_numbers_within_its_range(low: float, high: float, values: list[float]) -> None:
    assert axes.logarithmic(low, high).to_dict()["values"] == values


# --- what leaves the app ----------------------------------------------------------------------------------------------


def test_csv_cells_that_would_act_in_a_spreadsheet_are_text_and_numbers_stay_numbers() -> None:
    frame = pl.DataFrame(
        {
            "name": ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1", "plain", None],
            "usd": [-1.5, None, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            "list": [["=a", "b"], [], ["-c"], ["d"], [], [], [], [], None],
            "=head": [1] * 9,
        }
    )
    back = pl.read_csv(io.BytesIO(as_csv(frame)))
    assert back.columns == ["name", "usd", "list", "'=head"]
    assert back["name"].to_list()[:7] == [f"'{cell}" for cell in frame["name"].to_list()[:7]]
    assert back["name"].to_list()[7:] == ["plain", None]
    assert back["usd"].to_list() == frame["usd"].to_list()
    assert back["list"].to_list()[:4] == ["'=a b", "", "'-c", "d"]


def test_parquet_keeps_types_and_texts_as_they_are(day: Day) -> None:
    assert pl.read_parquet(io.BytesIO(as_parquet(day.tools))).equals(day.tools)


NASTY = st.text(st.sampled_from("`~|*_[]()<>!@#\\ \n\r\tab/:.-+=&;1\u202e"), max_size=60)


@given(message=NASTY, agent=NASTY, value=NASTY)
def test_text_of_a_trace_stays_in_fenced_blocks_of_the_markdown(message: str, agent: str, value: str) -> None:
    one = finding("r", message=message, agent_name=agent, evidence={"arguments": value, value: 1})
    tokens = MarkdownIt("commonmark").parse(as_markdown([one, one]))
    kinds = [token.type for token in tokens if token.level == 0]
    section = ["heading_open", "inline", "heading_close", "fence", "paragraph_open", "inline", "paragraph_close"]
    assert [kind for kind in kinds if kind != "inline"] == [kind for kind in section if kind != "inline"] * 2
    said = [t.content for t in tokens if t.type == "inline"]
    assert said == [DETECTORS["repeated_call"].title, f"**What to do:** {one.advice}"] * 2


def test_no_line_ends_the_fence_it_stands_in() -> None:
    tokens = MarkdownIt("commonmark").parse(fenced(["```", "````", "**bold**"]))
    assert [(token.type, token.content) for token in tokens] == [("fence", "```\n````\n**bold**\n")]


def test_markup_of_the_pages_holds_hostile_names_as_text(day: Day) -> None:
    agents = overview.worst_agents(day.runs).with_columns(agent_name=pl.lit(HOSTILE))
    rows = day.found.with_columns(agent_name=pl.lit(HOSTILE))
    bad = finding("x", evidence={HOSTILE: HOSTILE, "list": [HOSTILE], "known": None, "yes": True})
    news = pl.DataFrame(
        [(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, "error", 1, 1, None)],
        schema=["agent_name", "version", "detector", "mode", "tool_name", "severity", "findings", "runs", "wasted_usd"],
        orient="row",
    )
    markup = "".join(
        [
            fleet_pieces.agents(agents),
            fleet_pieces.affected(failures.affected(day.runs, rows), "repeated_call"),
            fleet_pieces.evidence(bad),
            fleet_pieces.news(news),
            fleet_pieces.price_sources(day.sources.with_columns(source=pl.lit(HOSTILE), models=pl.lit([HOSTILE]))),
            links.link(HOSTILE, links.to("runs", agent=HOSTILE)),
        ]
    )
    assert "<img" not in markup
    assert "<script" not in markup
    assert "known" not in fleet_pieces.evidence(bad)
    assert links.to("runs", agent="a&b=c", user="", model=None, detector=["x", "y"]) == (
        "runs?agent=a%26b%3Dc&user=&detector=x&detector=y"
    )


# --- accepted as known ------------------------------------------------------------------------------------------------


def test_accepting_adds_to_the_baseline_that_check_reads_and_can_be_undone(tmp_path: Path) -> None:
    path = tmp_path / "a.baseline.json"
    first, second = finding("a", fingerprint="0" * 16), finding("b", fingerprint="1" * 16, message=HOSTILE)
    assert baseline.read_known(path) == ()
    baseline.accept(path, [first])
    baseline.accept(path, [second, first])
    assert baseline.read_baseline(path) == {"0" * 16, "1" * 16}
    assert [known.message for known in baseline.read_known(path)] == ["It looped.", HOSTILE]
    baseline.withdraw(path, ["0" * 16])
    assert baseline.read_baseline(path) == {"1" * 16}
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_baseline_that_is_none_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.baseline.json"
    path.write_text("my notes")
    with pytest.raises(baseline.BaselineError):
        baseline.accept(path, [finding("a")])
    assert path.read_text() == "my notes"
    with pytest.raises(baseline.BaselineError, match="cannot be written"):
        baseline.accept(tmp_path / "no such folder" / "b.json", [finding("a")])
