"""The gauges of a database: what detectors find afterwards shows in them while it happens, and nothing in a trace breaks the scrape."""

from __future__ import annotations

import importlib
import os
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from test_alerts_live import messages
from test_alerts_prometheus import HOSTILE, PROMTOOL, needs_promtool

from analyzer.alerts import checking, metrics
from analyzer.alerts.backtest import active_instants, held_over
from analyzer.alerts.exposition import DatabaseCollector, registry
from analyzer.alerts.gauges import Waiting, gauges
from analyzer.alerts.prometheus import Timing
from analyzer.alerts.rules import rules
from analyzer.alerts.stretches import ABANDONED_SECONDS, HOLD_SECONDS
from analyzer.alerts.windows import SECOND, bounded, combined, sums
from analyzer.cases import Case, Run, load, tool_call, turn
from analyzer.cli import main
from analyzer.run import judge
from instrument.errors import StoreError
from instrument.policy import Policy
from instrument.store.connect import writing
from instrument.store.load import Loader

COUNTED = {
    "repeated_call": "FlyballRepeatedCall",
    "call_cycle": "FlyballCallCycle",
    "near_repeat": "FlyballNearRepeat",
    "unknown_tool": "FlyballUnknownTool",
    "invalid_arguments": "FlyballInvalidArguments",
    "repeated_output": "FlyballRepeatedOutput",
    "context_growth": "FlyballContextNearFull",
}
STRICTER = {"a stricter guard than this policy"}
"""A guard of another policy was at work: what it refused counts for the detector, and the rules know their own policy only."""
LOOP = [*[tool_call("search", {"q": "x"}, "nothing")] * 6, turn(text="There is nothing.")]


@pytest.mark.parametrize("slug", COUNTED)
def test_what_a_detector_warns_of_an_alert_would_have_said_while_it_happened(slug: str) -> None:
    cases = [c for c in importlib.import_module(f"analyzer.detectors.{slug}.cases").CASES if "gen_ai" in c.only]
    cases = [c for c in cases if c.name not in STRICTER]
    con = load(cases)
    found = {f.trace_id for f in judge(con, Policy(), select=[slug]).findings if f.severity != "info"}
    assert found
    mine = [r for r in rules(Policy()) if r.alert == COUNTED[slug]]
    held = held_over(con, Policy(), mine, active_instants(con, 1))
    agents = {agent for _, rows in held for agent in rows["agent_name"].unique()}
    names = dict(
        con.execute("SELECT trace_id, any_value(agent_name) FROM spans WHERE kind = 'agent' GROUP BY ALL").fetchall()
    )
    assert {names[t] for t in found} <= agents


def at(con: Any, *seconds_after_start: float, metric: metrics.Metric) -> list[float | None]:
    """The worst value of a metric so long after the first span."""
    ((start,),) = con.execute("SELECT min(start_ns) FROM spans").fetchall()
    instants = np.array([start + int(s * SECOND) for s in seconds_after_start])
    rows = gauges(con, Policy(), instants)[metric]
    values = dict(rows.group_by("at_ns").agg(pl.col("value").max()).iter_rows())
    return [values.get(int(instant)) for instant in instants]


def test_a_loop_counts_up_while_it_runs_and_is_forgotten_after_it_has_ended() -> None:
    con = Case("loop", LOOP, []).load()
    ((end,),) = con.execute("SELECT max(end_ns) - min(start_ns) FROM spans").fetchall()
    seconds = end / SECOND
    rising = [v for v in at(con, *np.linspace(0, seconds, 40), metric=metrics.REPEATED_CALLS) if v is not None]
    assert rising == sorted(rising)
    assert rising[-1] == 6
    last = seconds + HOLD_SECONDS
    assert at(con, seconds + 1, last + 1, metric=metrics.REPEATED_CALLS) == [6, None]
    assert at(con, seconds + 1, last + 1, metric=metrics.ACTIVE_RUNS) == [1, None]


def test_a_run_that_never_ended_grows_old_and_silent_until_nobody_waits_for_it() -> None:
    con = Case("hangs", [Run(LOOP, ended=False)], []).load()
    ((last,),) = con.execute("SELECT max(coalesce(end_ns, start_ns)) - min(start_ns) FROM spans").fetchall()
    seconds = last / SECOND
    later = (seconds + 900, seconds + ABANDONED_SECONDS + 1)
    assert at(con, *later, metric=metrics.SILENT_SECONDS) == [pytest.approx(900), None]
    assert at(con, *later, metric=metrics.RUN_SECONDS) == [pytest.approx(seconds + 900), None]
    ended = Case("ends", LOOP, []).load()
    assert at(ended, seconds + 900, metric=metrics.SILENT_SECONDS) == [None]


def test_a_window_holds_what_happened_in_it_and_no_more() -> None:
    events = pl.DataFrame(
        {"at_ns": [10, 20, 20, 50], "amount": [1.0, 2.0, 3.0, 4.0], "tool_name": ["a", "a", "b", "a"]}
    )
    events = events.with_columns(pl.col("at_ns") * SECOND)
    instants = np.array([9, 10, 20, 29, 30, 50]) * SECOND
    found = sums(events, ("tool_name",), 10, instants)
    assert {(t // SECOND, n): v for t, v, n in found.select("at_ns", "value", "tool_name").iter_rows()} == {
        (10, "a"): 1, (20, "a"): 2, (29, "a"): 2, (30, "a"): 0, (50, "a"): 4,
        (20, "b"): 3, (29, "b"): 3, (30, "b"): 0, (50, "b"): 0,
    }  # fmt: skip
    assert sums(events.clear(), (), 10, instants).is_empty()


def test_at_each_instant_the_worst_of_what_holds_then_counts() -> None:
    rows = pl.DataFrame(
        {"at_ns": [0, 10, 40], "until_ns": [30, 20, 40], "value": [2.0, 5.0, None], "since_ns": [None, None, 10]},
        schema_overrides={"value": pl.Float64, "since_ns": pl.Int64},
    ).with_columns(pl.col("at_ns", "until_ns", "since_ns") * SECOND)
    instants = np.array([0, 10, 20, 21, 30, 31, 40]) * SECOND
    found = combined(rows, (), instants, "max")
    assert [(t // SECOND, round(v, 9)) for t, v in found.iter_rows()] == [
        (0, 2),
        (10, 5),
        (20, 5),
        (21, 2),
        (30, 2),
        (40, 30),
    ]


def test_a_million_names_are_a_hundred_series() -> None:
    names = pl.Series("tool_name", ["common"] * 3 + [f"t{n:05}" for n in range(10_000)])
    kept = bounded(names)
    assert kept.n_unique() == metrics.MOST_VALUES + 1
    assert (kept == "common").sum() == 3
    assert (kept == metrics.OTHER).sum() > 9_000


def hostile(db: Path, name: str) -> None:
    case = Case("hostile", [Run([tool_call(name, {}, "x"), turn(text="Done.")], agent=name)], [])
    with writing(db) as con:
        loader = Loader(con)
        loader.add(case.traces(), "case")
        loader.finish()


@pytest.mark.parametrize(
    "name", ['quo"te', "back\\slash", "new\nline", "{{ .Labels }}", "} 1\nup 0", "\x00\x1b[31m", "ünï\u2028", "# HELP"]
)
def test_a_scrape_carries_any_name_as_it_is(tmp_path: Path, name: str) -> None:
    db = tmp_path / "t.duckdb"
    hostile(db, name)
    ended = 0
    with writing(db) as con:
        ((ended,),) = con.execute("SELECT max(end_ns) FROM spans").fetchall()
    collector = DatabaseCollector(db, Policy(), clock=lambda: ended / SECOND + 1)
    text = generate_latest(registry(collector)).decode()
    parsed = {family.name: family.samples for family in text_string_to_metric_families(text)}
    assert [s.labels["agent_name"] for s in parsed["flyball_active_runs"]] == [name]
    assert set(parsed) <= {metric.name for metric in metrics.METRICS}


def test_metrics_once_says_what_is_wrong_with_the_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", "--db", str(tmp_path / "none.duckdb"), "--once"]) == 2
    assert "no such database" in capsys.readouterr().err


# --- without a Prometheus -----------------------------------------------------------------------------------------------


def now_ns(db: Path, seconds_after: float) -> int:
    with writing(db) as con:
        ((ended,),) = con.execute("SELECT max(end_ns) FROM spans").fetchall()
    return int(ended + seconds_after * SECOND)


def test_a_look_says_what_is_new_once_and_what_is_over_once(tmp_path: Path) -> None:
    db = tmp_path / "t.duckdb"
    with writing(db) as con:
        loader = Loader(con)
        loader.add(Case("loop", [Run(LOOP, agent="<!channel> *bold*")], []).traces(), "case")
        loader.finish()
    state, timing = tmp_path / "state.json", Timing(30, 60, 60)
    seen = []
    for seconds in (10, 120, 150, 10_000):
        before = checking.remembered(state)
        now = now_ns(db, seconds)
        with writing(db) as con:
            alerts, lost = checking.firing_now(con, Policy(), now, timing)
        seen.append(checking.compared(alerts, before.alerts))
        checking.remember(state, checking.Remembered(alerts, lost))
    assert [[a.alert for a in look.firing] for look in seen] == [
        [],
        ["FlyballRepeatedCall"],
        ["FlyballRepeatedCall"],
        [],
    ]
    assert [len(look.new) for look in seen] == [0, 1, 0, 0]
    assert [len(look.resolved) for look in seen] == [0, 0, 0, 1]
    text = checking.payload(seen[1])["text"]
    assert "&lt;!channel&gt;" in text
    assert "<!channel>" not in text


def test_what_could_not_be_sent_is_sent_at_the_next_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db, policy = tmp_path / "t.duckdb", tmp_path / "flyball.toml"
    with writing(db) as con:
        loader = Loader(con)
        loader.add(Case("one", [tool_call("a", {}, "x"), turn(text="Done.")], []).traces(), "case")
        loader.finish()
        con.execute(
            "INSERT INTO issues (kind, source, count, message, remedy, error) VALUES ('lost_spans', 'x', 7, 'm', 'r', true)"
        )
    policy.write_text("", "utf-8")
    asked = ["alerts", "check", "--db", str(db), "--policy", str(policy), "--webhook"]
    with messages(500) as (url, came):
        assert main([*asked, url]) == 2
        assert "secret" not in capsys.readouterr().err
    with messages() as (url, came):
        assert main([*asked, url]) == 1
        assert [a["alert"] for a in came[0]["alerts"]] == ["FlyballTelemetryLost"]
        assert main([*asked, url]) == 0
        assert [a["status"] for a in came[1]["alerts"]] == ["resolved"]
        assert main([*asked, url]) == 0
        assert len(came) == 2


def test_a_waiting_review_fires_at_once(tmp_path: Path) -> None:
    con = Case("one", [tool_call("a", {}, "x"), turn(text="Done.")], []).load()
    ((ended,),) = con.execute("SELECT max(end_ns) FROM spans").fetchall()
    for seconds, expected in ((599.0, []), (600.0, ["FlyballReviewWaits"])):
        alerts, _ = checking.firing_now(con, Policy(), ended, Timing(), Waiting(1, seconds))
        assert [a.alert for a in alerts] == expected


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 2}', '{"version": 1, "alerts": [{}], "lost_spans": 0}'])
def test_a_file_that_remembers_something_else_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text, "utf-8")
    with pytest.raises(StoreError, match=r"state\.json"):
        checking.remembered(path)


# --- what a scrape costs ------------------------------------------------------------------------------------------------


def test_a_scrape_reads_the_database_again_only_when_something_was_added(tmp_path: Path) -> None:
    db = tmp_path / "t.duckdb"

    def add(name: str) -> None:
        with writing(db) as con:
            loader = Loader(con)
            loader.add(Case("hangs", [Run(LOOP, agent=name, ended=False)], []).traces(), "case")
            loader.finish()

    add("first")
    collector, end = DatabaseCollector(db, Policy()), now_ns(db, 0) / SECOND

    def silent(seconds: float) -> dict[str, float]:
        rows = collector.gauges(end + seconds)[metrics.SILENT_SECONDS]
        return dict(rows.select("agent_name", "value").iter_rows())

    assert silent(10) == {"first": pytest.approx(10, abs=0.01)}
    before = db.stat()
    db.write_bytes(db.read_bytes()[: before.st_size // 2].ljust(before.st_size, b"\0"))  # unreadable from here on ...
    os.utime(db, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert silent(20) == {"first": pytest.approx(20, abs=0.01)}  # ... which nobody notices who does not read
    os.utime(db)
    with pytest.raises((StoreError, duckdb.Error)):
        silent(30)


def test_what_is_added_is_in_the_next_scrape(tmp_path: Path) -> None:
    db = tmp_path / "t.duckdb"
    hostile(db, "one")
    collector, end = DatabaseCollector(db, Policy()), now_ns(db, 1) / SECOND
    assert set(collector.gauges(end)[metrics.ACTIVE_RUNS]["agent_name"]) == {"one"}
    with writing(db) as con:
        loader = Loader(con)
        loader.add(Case("other", [Run(LOOP, agent="two")], []).traces(), "case")
        loader.finish()
    assert set(collector.gauges(end)[metrics.ACTIVE_RUNS]["agent_name"]) == {"one", "two"}


@needs_promtool
def test_promtool_takes_a_scrape_with_any_names(tmp_path: Path) -> None:
    assert PROMTOOL
    db = tmp_path / "t.duckdb"
    with writing(db) as con:
        loader = Loader(con)
        cases = [Case(f"hostile {n}", [Run([tool_call(name or "-", {}, "x"), turn(text="Done.")], agent=name)], [])
                 for n, name in enumerate(HOSTILE)]  # fmt: skip
        for case in cases:
            loader.add(case.traces(), "case")
        loader.finish()
    end = now_ns(db, 1) / SECOND
    text = generate_latest(registry(DatabaseCollector(db, Policy(), clock=lambda: end)))
    checked = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, check=False)
    assert checked.returncode != 1, checked.stderr  # 3: it has advice about names
    assert b"error" not in checked.stderr.lower()
    samples = [s for family in text_string_to_metric_families(text.decode()) for s in family.samples]
    agents = {s.labels["agent_name"] for s in samples if s.name == "flyball_active_runs"}
    assert agents >= {name for name in HOSTILE if name}
