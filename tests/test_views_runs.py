"""All runs: summaries, what findings say of them, filters, sorting, sums over time."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from app_database import START_NS, Run, Turn, failing, growing, healthy, looping, write

from analyzer.findings import Finding, Severity
from analyzer.readers import load, resolve
from analyzer.samples import samples_folder
from analyzer.views import runs as views
from analyzer.views.runs_table import SORTS, RunTable
from analyzer.views.runs_wanted import Cost, Wanted, cost_of, ns_of, params_of, wanted_of
from instrument.store.connect import reading

HOUR_NS = 3_600_000_000_000
HALF_HOUR_NS = HOUR_NS // 2


def numbers_of(runs: pl.DataFrame) -> list[int]:
    """The numbers that made the ids of the runs."""
    return [int(run_id[:8], 16) for run_id in runs["run_id"]]


def finding(run_id: str, detector: str = "repeated_call", **changes: Any) -> Finding:
    """A finding of a run."""
    made = Finding(
        detector=detector, severity=Severity.WARNING, confidence=0.9, trace_id="0" * 32, run_id=run_id, span_ids=("1" * 16,),
        first_step=1, last_step=4, first_turn=1, last_turn=2, start_ns=START_NS, message="It looped.", evidence={},
        wasted_cost_usd=0.5, advice="Stop it.", fingerprint="f" * 16,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Four runs: two healthy, one that loops, one whose tool is down."""
    with reading(
        write(tmp_path_factory.mktemp("runs") / "a.duckdb", [healthy(1), healthy(2, "refunds"), looping(3), failing(4)])
    ) as con:
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


def test_findings_give_a_run_its_worst_severity_and_what_it_wasted(runs: pl.DataFrame) -> None:
    run_id = looping(3).run_id
    found = [
        finding(run_id),
        finding(run_id, "cost_outlier", severity=Severity.ERROR, wasted_cost_usd=None),
        finding(run_id, wasted_cost_usd=0.7),
    ]
    run_key = runs.filter(run_id=run_id)["run_key"].item()
    rows = {row["run_id"]: row for row in views.with_findings(runs, found, {run_key: 0.9}).iter_rows(named=True)}
    assert rows[run_id]["findings"] == 3
    assert rows[run_id]["rank"] == Severity.ERROR.rank
    assert rows[run_id]["wasted_usd"] == 0.9
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
        (Wanted(users=[""]), [4, 3, 2, 1]),
        (Wanted(users=["ann"]), []),
        (Wanted(detectors=["repeated_call", "stall"]), [3]),
        (Wanted(since_ns=START_NS + 2 * HALF_HOUR_NS), [4, 3, 2]),
        (Wanted(until_ns=START_NS + 2 * HALF_HOUR_NS), [1]),
        (Wanted(cost=Cost(low=0.05)), [4, 3]),
        (Wanted(cost=Cost(low=0.01, high=0.05)), [2, 1]),
        (Wanted(cost=Cost(unknown=True)), []),
        (Wanted(text="00000002"), [2]),
        (Wanted(text=".*"), []),
        (Wanted(text="' OR 1=1 --"), []),
        (Wanted(agents=["' OR 1=1 --"]), []),
    ],
)
def test_filters_narrow_together(runs: pl.DataFrame, wanted: Wanted, numbers: list[int]) -> None:
    table = RunTable(views.with_findings(runs, [finding(looping(3).run_id)]))
    assert numbers_of(table.matching(wanted)) == numbers
    assert sorted(numbers_of(table.page(wanted)), reverse=True) == numbers
    assert table.sums(wanted).runs == len(numbers)
    assert bool(wanted) == (wanted != Wanted())


def test_the_sums_are_of_what_the_filter_lets_through(runs: pl.DataFrame) -> None:
    failed_keys = runs.filter(outcome="failed")["run_key"]
    waste = {failed_keys[0]: 0.5, 999: 4.0}
    marked = views.with_findings(runs, [finding(looping(3).run_id), finding(looping(3).run_id)], waste)
    table = RunTable(marked)
    failed = table.sums(Wanted(outcomes=["failed"]))
    own = runs.filter(outcome="failed")
    assert (failed.runs, failed.failed, failed.with_findings, failed.findings) == (2, 2, 1, 2)
    assert failed.cost_usd == pytest.approx(own["cost_usd"].sum())
    assert (failed.wasted_usd, failed.tool_calls, failed.failed_tool_calls) == (0.5, 19, 7)
    assert (failed.input_tokens, failed.output_tokens) == (own["input_tokens"].sum(), own["output_tokens"].sum())
    none = table.sums(Wanted(agents=["nobody"]))
    assert (none.runs, none.cost_usd, none.input_tokens, none.first_ns, none.tool_calls) == (0, None, None, None, 0)


def test_pages_of_any_order_hold_every_run_once_and_what_is_not_known_last(runs: pl.DataFrame) -> None:
    many = pl.concat([runs.with_columns(run_key=pl.col("run_key") + 4 * n) for n in range(25)])
    unknown = many.with_columns(cost_usd=pl.when(pl.col("model_calls") == 12).then(None).otherwise("cost_usd"))
    table = RunTable(views.with_findings(unknown, [finding(looping(3).run_id)]))
    for sort in SORTS:
        for descending in (True, False):
            pages = [table.page(Wanted(), sort, descending=descending, offset=at, limit=30) for at in range(0, 100, 30)]
            assert sorted(key for page in pages for key in page["run_key"]) == sorted(unknown["run_key"])
            assert [page.height for page in pages] == [30, 30, 30, 10]
    dear, cheap = (table.page(Wanted(), "cost", descending=way, limit=100)["cost_usd"] for way in (True, False))
    assert dear.head(75).is_sorted(descending=True)
    assert cheap.head(75).is_sorted()
    assert dear.tail(25).null_count() == cheap.tail(25).null_count() == 25


def test_a_page_of_many_runs_comes_at_once_and_has_the_columns_of_all(runs: pl.DataFrame) -> None:
    many = runs.sample(200_000, with_replacement=True, seed=1).with_columns(
        run_key=pl.int_range(200_000, dtype=pl.Int32)
    )
    marked = views.with_findings(many, [])
    table = RunTable(marked)
    began = time.perf_counter()
    page = table.page(Wanted(agents=["support"]), "cost")
    assert time.perf_counter() - began < 2
    assert page.schema == marked.schema
    assert page.height == 50


def test_the_commonest_names_are_offered(runs: pl.DataFrame) -> None:
    table = RunTable(pl.concat([runs, runs.filter(agent_name="refunds")]))
    assert table.names("agent_name") == ["refunds", "support"]
    assert table.names("user_id") == []
    with pytest.raises(ValueError, match="nothing"):
        table.names("nothing; DROP TABLE runs")


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(
            agents=("a b&c=d", "ü"),
            models=("m",),
            users=("",),
            outcomes=("failed",),
            detectors=("stall",),
            stops=("x",),
        ),
        Wanted(since_ns=START_NS, until_ns=START_NS + 1, cost=Cost(low=0.1, high=2.0), text="abc"),
        Wanted(since_ns=1_763_769_600 * 10**9, until_ns=1_763_773_260 * 10**9, cost=Cost(high=0.000004)),
        Wanted(cost=Cost(unknown=True)),
    ],
)
def test_an_address_says_what_is_wanted_and_is_read_back(wanted: Wanted) -> None:
    assert wanted_of(params_of(wanted)) == (wanted, ())


@pytest.mark.parametrize(
    ("said", "ns"),
    [
        ("2025-11-22", 1_763_769_600 * 10**9),
        ("2025-11-22T01:01", 1_763_773_260 * 10**9),
        ("2025-11-22T02:01:00+01:00", 1_763_773_260 * 10**9),
        ("2025-11-22T02:01:00 01:00", 1_763_773_260 * 10**9),
        ("1763773260", 1_763_773_260 * 10**9),
        ("1763773260000", 1_763_773_260 * 10**9),
        ("1763773260000000001", 1_763_773_260_000_000_001),
        ("12", None),
        ("yesterday", None),
    ],
)
def test_a_time_in_an_address_is_a_date_a_moment_or_a_number(said: str, ns: int | None) -> None:
    assert ns_of(said) == ns


@pytest.mark.parametrize(
    ("said", "cost"),
    [
        ("0.5", Cost(low=0.5)), ("$1", Cost(low=1.0)), ("0.1-2", Cost(low=0.1, high=2.0)), ("0.1 - 2", Cost(low=0.1, high=2.0)),
        ("-2", Cost(high=2.0)), ("unknown", Cost(unknown=True)), ("-", None), ("", None), ("nan", None), ("inf", None), ("cheap", None),
    ],
)  # fmt: skip
def test_a_cost_in_an_address_is_a_bound_a_range_or_unknown(said: str, cost: Cost | None) -> None:
    assert cost_of(said) == cost


def test_what_an_address_says_and_nobody_understands_is_named() -> None:
    wanted, strange = wanted_of(
        {"since": ["soon"], "cost": ["1", "cheap"], "outcome": ["ended", "lost"], "agent": ["a", "a"]}
    )
    assert wanted == Wanted(outcomes=("ended",), agents=("a",))
    assert strange == ("outcome=lost", "since=soon", "cost=cheap")


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
        summaries = views.summaries(con)
    run_key = summaries.filter(run_id=growing(6).run_id)["run_key"].item()
    runs = views.with_findings(summaries, [finding(growing(6).run_id)], {run_key: 0.25})
    over_time = views.spend_over_time(runs)
    assert over_time["runs"].sum() == 6
    assert over_time["wasted_usd"].sum() == pytest.approx(0.25)
    assert over_time["useful_usd"].sum() == pytest.approx(float(runs["cost_usd"].sum()) - 0.25)
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
    assert set(RunTable(runs).matching(wanted)["agent_name"]) == {"guarded-analyst", "guarded-researcher"}
    stopped = runs.filter(agent_name="guarded-support").row(0, named=True)
    assert (stopped["tool_calls"], stopped["failed_tool_calls"], stopped["limit_usd"]) == (9, 0, 10.0)
