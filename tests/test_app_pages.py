"""Every page over a small database, run by Streamlit's own test runner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from app_database import Call, Turn, a_day, document, growing, healthy, looping, write
from streamlit.testing.v1 import AppTest

from analyzer import pages
from analyzer.alerts.prometheus import generate
from analyzer.pages import data
from analyzer.readers import load, resolve
from analyzer.samples import samples_folder
from instrument.policy import Policy
from instrument.store.connect import reading

PAGES = Path(pages.__file__).parent
BROKEN = b"\x00\x01\x02"


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day of runs, some of which go wrong, and a line that could not be read."""
    return write(tmp_path_factory.mktemp("app") / "day.duckdb", a_day(), broken=True)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No arguments of pytest's reach the app, no policy of the folder, and no snapshot outlives its test's folder."""
    monkeypatch.setattr("sys.argv", ["app.py"])
    monkeypatch.chdir(tmp_path)
    data.judged.clear()


def app(monkeypatch: pytest.MonkeyPatch, db: Path | str, page: str = "overview", **query: str) -> AppTest:
    """The app on a database, at a page, run once."""
    monkeypatch.setenv("FLYBALL_DB", str(db))
    at = AppTest.from_file(str(PAGES / "main.py"), default_timeout=60)
    at.run()
    if page != "overview" or query:
        for name, value in query.items():
            at.query_params[name] = value
        at.switch_page(str(PAGES / f"{page}.py")).run()
    return at


def said(at: AppTest) -> str:
    """Everything on the page that is text or markup."""
    kinds = ("title", "header", "subheader", "text", "caption", "code", "html", "error", "exception")
    return "\n".join(
        str(element.value) for kind in kinds for element in at.get(kind) if hasattr(element, "value")
    ) + "\n".join(element.proto.body for element in at.get("html"))


def test_the_overview_says_how_much_ran_and_what_went_wrong(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day)
    assert not at.exception
    page = said(at)
    assert "day.duckdb" in page
    for number in ("<b>44</b>", "<b>$2.65</b>", "<b>171</b>", "<b>131</b>"):
        assert number in page
    assert "payments is down" in page
    assert len(at.get("vega_lite_chart")) == 3
    runs, issues = at.dataframe
    assert len(runs.value) == 8
    assert issues.value["kind"].tolist() == ["broken_line"]
    assert issues.value["line"].tolist() == [99]


def test_runs_are_filtered_sorted_and_paged(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "runs")
    assert not at.exception
    assert len(at.dataframe[0].value) == 44
    at.multiselect[0].set_value(["refunds"]).run()
    assert set(at.dataframe[0].value["agent_name"]) == {"refunds"}
    at.multiselect(key="runs detector").set_value(["error_cascade"]).run()
    assert len(at.dataframe[0].value) == 1
    at.multiselect(key="runs outcome").set_value(["unfinished"]).run()
    assert "No run is like that" in said(at)


def test_a_click_on_a_row_opens_its_run(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "runs")
    at.selectbox(key="runs sort").set_value("cost").run()
    at.session_state["runs by cost desc 1"] = {"selection": {"rows": [], "columns": [], "cells": [(0, "agent_name")]}}
    at.run()
    assert not at.exception
    assert at.query_params["run"] in ([growing(44).run_id], growing(44).run_id)
    assert "context_growth" in said(at)


def test_a_run_says_what_went_wrong_and_begins_there(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "run", run=looping(41).run_id)
    assert not at.exception
    page = said(at)
    assert "<h1>support</h1>" in page
    assert "same arguments 12 times" in page
    assert "Where is my order?" in page
    assert "ann@example.org" in page
    assert len(at.get("vega_lite_chart")) == 4


def test_a_finding_deep_in_a_run_is_one_click_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    late = looping(1, times=40)
    late.turns = [Turn("", [Call("get_order", {"id": i}, f"order {i}")]) for i in range(60)] + [*late.turns]
    at = app(monkeypatch, write(tmp_path / "late.duckdb", [late]), "run", run=late.run_id)
    assert not at.exception
    assert "Turn 61" in said(at)
    assert "Turn 1<" not in said(at)


def test_an_unknown_run_offers_others(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "run", run="<b>nobody</b>")
    assert not at.exception
    assert "<b>nobody</b>" in at.text[0].value
    assert len(at.dataframe[0].value) == 25


def test_alerts_are_those_of_the_policy_in_force(monkeypatch: pytest.MonkeyPatch, day: Path, tmp_path: Path) -> None:
    (tmp_path / "flyball.toml").write_text("[loops]\nsame_call_repeats = 17\nsame_call_error_repeats = 23\n")
    at = app(monkeypatch, day, "alerts")
    assert not at.exception
    assert "your policy" in said(at)
    rules = next(code.value for code in at.code if code.language == "yaml")
    assert "flyball_repeated_calls_max >= 17 < 23" in rules
    assert rules != generate(Policy())["flyball.rules.yml"]


@pytest.mark.parametrize("page", ["overview", "runs", "run", "alerts"])
def test_a_policy_that_cannot_be_read_says_so(
    monkeypatch: pytest.MonkeyPatch, day: Path, tmp_path: Path, page: str
) -> None:
    (tmp_path / "flyball.toml").write_text("[loops]\nrepeats = 0\n")
    at = app(monkeypatch, day, page)
    assert not at.exception
    assert "The policy cannot be read" in at.subheader[0].value
    assert "flyball.toml" in at.code[0].value


@pytest.mark.parametrize("page", ["overview", "runs", "run"])
@pytest.mark.parametrize(
    ("content", "title"),
    [
        (None, "There is no such file"),
        (b"not a database", "The database cannot be opened"),
        (b"", "The database cannot be opened"),
    ],
)
def test_a_database_that_cannot_be_opened_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, page: str, content: bytes | None, title: str
) -> None:
    path = tmp_path / "broken.duckdb"
    if content is not None:
        path.write_bytes(content)
    at = app(monkeypatch, path, page)
    assert not at.exception
    assert at.subheader[0].value == title
    assert len(at.code) == 2


@pytest.mark.parametrize("page", ["overview", "runs", "run"])
def test_an_empty_database_says_how_to_fill_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, page: str) -> None:
    at = app(monkeypatch, write(tmp_path / "empty.duckdb", []), page)
    assert not at.exception
    assert "flyball load" in said(at)


def test_what_agents_record_meanwhile_shows_on_the_next_visit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write(tmp_path / "live.duckdb", [healthy(1)])
    assert len(app(monkeypatch, path, "runs").dataframe[0].value) == 1
    write(path, [healthy(2), healthy(3)])
    assert len(app(monkeypatch, path, "runs").dataframe[0].value) == 3


def test_charts_send_little(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    charts: list[Any] = app(monkeypatch, day).get("vega_lite_chart")
    sent = sum(chart.proto.ByteSize() for chart in charts)
    assert 0 < sent < 100_000
    assert all("http" not in json.dumps({**json.loads(c.proto.spec), "$schema": ""}) for c in charts)


def test_trace_files_are_read_once_and_what_could_not_be_read_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "good.jsonl").write_bytes(document(looping(1)))
    (tmp_path / "bad.jsonl").write_bytes(BROKEN)
    monkeypatch.setattr("sys.argv", ["app.py", "good.jsonl", "bad.jsonl"])
    at = AppTest.from_file(str(PAGES / "main.py"), default_timeout=60).run()
    assert not at.exception
    assert "good.jsonl, bad.jsonl" in said(at)
    assert "same arguments 12 times" in said(at)
    assert "bad.jsonl" in at.dataframe[-1].value["file"].tolist()


@pytest.mark.parametrize("name", ["nothing.jsonl", "bad.jsonl"])
def test_files_that_hold_no_trace_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    (tmp_path / "bad.jsonl").write_bytes(BROKEN)
    monkeypatch.setattr("sys.argv", ["app.py", name])
    at = AppTest.from_file(str(PAGES / "main.py"), default_timeout=60).run()
    assert not at.exception
    assert at.subheader[0].value == "The database cannot be opened"
    assert name in at.code[0].value


def test_the_app_opens_on_the_sample_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLYBALL_DB", raising=False)
    at = AppTest.from_file(str(PAGES / "main.py"), default_timeout=60).run()
    assert not at.exception
    assert "sample traces" in said(at)


def test_a_guarded_run_says_why_it_ended_and_shows_what_guards_did_where_they_did_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load(resolve([str(samples_folder() / "guarded_runs.otlp.jsonl")]), tmp_path / "g.duckdb")
    with reading(tmp_path / "g.duckdb") as con:
        (run_id,) = con.execute("SELECT run_id FROM spans WHERE agent_name = 'guarded-support' LIMIT 1").fetchall()[0]
    at = app(monkeypatch, tmp_path / "g.duckdb", "run", run=run_id)
    assert not at.exception
    page = said(at)
    assert "stopped: repeated_call" in page
    assert "What the guards did: 5 actions" in [expander.label for expander in at.expander]
    turns = [element.proto.body for element in at.get("html") if '<div class="fb-turn' in element.proto.body]
    # Turns 2 to 5 and 6 to 9 are folded; the first of each stands for them.
    assert ["fb-part guard" in turn for turn in turns] == [False, False, True, True]
    assert sum(">blocked<" in turn for turn in turns) == 1


def test_runs_have_a_stop_reason_only_where_some_were_guarded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, day: Path
) -> None:
    load(resolve([str(samples_folder() / "guarded_runs.otlp.jsonl")]), tmp_path / "g.duckdb")
    at = app(monkeypatch, tmp_path / "g.duckdb", "runs")
    assert sorted(at.dataframe[0].value["stop_reason"]) == ["completed", "repeated_call", "run_budget"]
    at.multiselect(key="runs stop").set_value(["run_budget"]).run()
    assert at.dataframe[0].value["agent_name"].tolist() == ["guarded-analyst"]
    unguarded = app(monkeypatch, day, "runs")
    assert "stop_reason" not in unguarded.dataframe[0].value
    assert len(unguarded.multiselect) == 5
