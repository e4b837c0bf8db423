"""All runs: summaries, what findings say of them, filters, sorting, sums over time."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from app_database import START_NS, Run, Turn, failing, growing, healthy, looping, write

from analyzer.findings import Finding, Severity
from analyzer.readers import load, resolve
from analyzer.samples import samples_folder
from analyzer.views import runs as views
from analyzer.views.runs import Wanted
from instrument.store.connect import reading

HOUR_NS = 3_600_000_000_000


def finding(run_id: str, detector: str = "repeated_call", **changes: Any) -> Finding:
    """A finding of a run."""
    made = Finding(
        detector=detector, severity=Severity.WARNING, confidence=0.9, trace_id="0" * 32, run_id=run_id, span_ids=("1" * 16,),
        first_step=1, last_step=4, first_turn=1, last_turn=2, start_ns=START_NS, message="It looped.", evidence={},
        wasted_cost_usd=0.5, advice="Stop it.", fingerprint="f" * 16,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


@pytest.fixture
def runs(tmp_path: Path) -> pl.DataFrame:
    """Four runs: two healthy, one that loops, one whose tool is down."""
    with reading(write(tmp_path / "a.duckdb", [healthy(1), healthy(2, "refunds"), looping(3), failing(4)])) as con:
        return views.summaries(con)


def test_a_run_is_one_row_with_its_calls_tokens_and_outcome(runs: pl.DataFrame) -> None:
    rows = {row["run_id"]: row for row in runs.iter_rows(named=True)}
    loop = rows[looping(3).run_id]
    assert (loop["agent_name"], loop["model"], loop["outcome"]) == ("support", "claude-sonnet-4-5", "failed")
    assert (loop["spans"], loop["model_calls"], loop["tool_calls"], loop["failed_tool_calls"]) == (25, 12, 12, 0)
    assert loop["peak_input_tokens"] == 2_000 + 90 * 11 + 1_700
    assert loop["output_tokens"] == 12 * 120
    assert loop["cost_usd"] > 0
    assert loop["unpriced_calls"] == 0
    assert rows[failing(4).run_id]["failed_tool_calls"] == 7
    assert rows[healthy(1).run_id]["outcome"] == "ended"


def test_runs_come_newest_first(runs: pl.DataFrame) -> None:
    assert runs["run_id"].to_list() == [f"{n:08x}{0:08x}" for n in (4, 3, 2, 1)]


def test_unknown_prices_leave_the_cost_unknown_and_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.duckdb", [Run(1, "a", [Turn("hello"), Turn("bye")], model="my-own-model")])
    with reading(path) as con:
        row = views.summaries(con).row(0, named=True)
    assert (row["cost_usd"], row["unpriced_calls"]) == (None, 2)


def test_findings_give_a_run_its_worst_severity_and_its_largest_waste(runs: pl.DataFrame) -> None:
    run_id = looping(3).run_id
    found = [
        finding(run_id),
        finding(run_id, "cost_outlier", severity=Severity.ERROR, wasted_cost_usd=None),
        finding(run_id, wasted_cost_usd=0.7),
    ]
    rows = {row["run_id"]: row for row in views.with_findings(runs, found).iter_rows(named=True)}
    assert rows[run_id]["findings"] == 3
    assert rows[run_id]["rank"] == Severity.ERROR.rank
    assert rows[run_id]["wasted_usd"] == 0.7
    assert rows[run_id]["detectors"] == ["cost_outlier", "repeated_call"]
    quiet = rows[healthy(1).run_id]
    assert (quiet["findings"], quiet["rank"], quiet["wasted_usd"], quiet["detectors"]) == (0, None, None, [])


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Wanted(), [4, 3, 2, 1]),
        (Wanted(agents=["refunds"]), [4, 2]),
        (Wanted(agents=["refunds"], outcomes=["failed"]), [4]),
        (Wanted(models=["no-such-model"]), []),
        (Wanted(detectors=["repeated_call", "stall"]), [3]),
        (Wanted(text="00000002"), [2]),
        (Wanted(text=".*"), []),
    ],
)
def test_filters_narrow_together(runs: pl.DataFrame, wanted: Wanted, numbers: list[int]) -> None:
    marked = views.with_findings(runs, [finding(looping(3).run_id)])
    assert [int(run_id[:8], 16) for run_id in views.matching(marked, wanted)["run_id"]] == numbers
    assert bool(wanted) == (wanted != Wanted())


def test_sorting_puts_what_is_not_known_last(runs: pl.DataFrame) -> None:
    marked = views.with_findings(
        runs, [finding(healthy(1).run_id), finding(healthy(2).run_id, severity=Severity.ERROR)]
    )
    assert [int(i[:8], 16) for i in views.ordered(marked, "Worst first")["run_id"]][:2] == [2, 1]
    assert [int(i[:8], 16) for i in views.ordered(marked, "Oldest first")["run_id"]] == [1, 2, 3, 4]
    unpriced = marked.with_columns(cost_usd=pl.when(pl.col("model_calls") == 12).then(None).otherwise("cost_usd"))
    assert views.ordered(unpriced, "Dearest first")["run_id"][-1] == looping(3).run_id
    for sort in views.SORTS:
        assert views.ordered(marked, sort).height == 4


def test_spend_over_time_sums_to_the_spend_and_splits_off_the_waste(tmp_path: Path) -> None:
    path = write(tmp_path / "a.duckdb", [healthy(n) for n in range(1, 6)] + [growing(6)])
    with reading(path) as con:
        runs = views.with_findings(views.summaries(con), [finding(growing(6).run_id, wasted_cost_usd=0.25)])
    over_time = views.spend_over_time(runs)
    assert over_time["runs"].sum() == 6
    assert over_time["wasted_usd"].sum() == pytest.approx(0.25)
    assert over_time["useful_usd"].sum() == pytest.approx(runs["cost_usd"].sum() - 0.25)
    assert over_time["start"].is_sorted()


def test_findings_stand_in_the_same_stretches_of_time_as_the_spend(runs: pl.DataFrame) -> None:
    found = [finding("x", start_ns=START_NS + 3 * HOUR_NS), finding("y", severity=Severity.ERROR), finding("y")]
    over_time = views.findings_over_time(views.with_findings(runs, []), found)
    assert over_time["findings"].sum() == 3
    assert set(over_time["bucket_seconds"]) == set(
        views.spend_over_time(views.with_findings(runs, []))["bucket_seconds"]
    )
    assert views.findings_over_time(views.with_findings(runs, []), []).is_empty()


@pytest.mark.parametrize(
    ("hours", "bucket"), [(0, 60), (1, 60), (9, 600), (50, 3_600), (300, 21_600), (1_400, 86_400), (90_000, 2_592_000)]
)
def test_time_is_cut_into_at_most_sixty_columns(hours: int, bucket: int) -> None:
    assert views.bucket_seconds(0, hours * HOUR_NS) == bucket


def test_every_detector_has_a_bar_even_of_nothing() -> None:
    by_mode = views.findings_by_mode([finding("x")], ["repeated_call", "error_cascade"])
    assert by_mode.group_by("detector").agg(pl.col("findings").sum()).sort("detector").rows() == [
        ("error_cascade", 0),
        ("repeated_call", 1),
    ]


def test_an_empty_store_gives_empty_frames(tmp_path: Path) -> None:
    with reading(write(tmp_path / "a.duckdb", [])) as con:
        runs = views.with_findings(views.summaries(con), [])
    assert runs.is_empty()
    assert views.spend_over_time(runs).is_empty()
    assert views.findings_over_time(runs, [finding("x")]).is_empty()


def test_a_guarded_run_has_its_stop_reason_and_can_be_asked_for_by_it(tmp_path: Path) -> None:
    sample = str(samples_folder() / "guarded_runs.otlp.jsonl")
    load(resolve([sample]), tmp_path / "a.duckdb")
    write(tmp_path / "a.duckdb", [looping(1)])
    with reading(tmp_path / "a.duckdb") as con:
        runs = views.with_findings(views.summaries(con), [])
    stops = dict(runs.select("agent_name", "stop_reason").rows())
    assert stops == {
        "guarded-support": "repeated_call",
        "guarded-analyst": "run_budget",
        "guarded-researcher": "completed",
        "support": None,
    }
    wanted = Wanted(stops=["run_budget", "completed"])
    assert wanted
    assert set(views.matching(runs, wanted)["agent_name"]) == {"guarded-analyst", "guarded-researcher"}
    stopped = runs.filter(agent_name="guarded-support").row(0, named=True)
    assert (stopped["tool_calls"], stopped["failed_tool_calls"], stopped["limit_usd"]) == (9, 0, 10.0)
