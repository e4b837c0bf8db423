"""The pages Runs, Policy, Compare, Import and Alerts, and what they are made of."""

from __future__ import annotations

import io
import json
import tomllib
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from app_database import a_day, document, growing, healthy, inventing, looping, stuck, write
from streamlit.testing.v1 import AppTest
from test_app_pages import PAGES, said
from test_app_pieces import HOSTILE

from analyzer.alerts.backtest import backtest
from analyzer.alerts.package import package
from analyzer.outcomes import keep
from analyzer.pages import compare_pieces, opened, visitors
from analyzer.replay import replay
from analyzer.report import charts_more
from analyzer.report.replay_text import totals
from analyzer.views import alert_history, imports, whatif
from analyzer.views.compare import Pair, Step, Told
from analyzer.views.conversation import Text
from analyzer.views.imports import FileRead, Given
from instrument.errors import PolicyError
from instrument.policy import Cost, Loops, Policy, load_policy, parse_policy
from instrument.store.connect import reading, writing


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day of runs, some of which go wrong; of two it is known how they ended."""
    path = write(tmp_path_factory.mktemp("more") / "day.duckdb", a_day())
    with writing(path) as con:
        keep(con, {looping(41).run_id: True, healthy(1).run_id: True}, "test")
    return path


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No arguments of pytest's reach the app, no policy of the folder, and nothing opened outlives its test."""
    monkeypatch.setattr("sys.argv", ["app.py"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(visitors.ALLOW, "allow")  # no server listens here, so nobody knows to whom
    opened.instead.clear()


def app(monkeypatch: pytest.MonkeyPatch, db: Path, page: str, **query: Any) -> AppTest:
    """The app on a database, at a page, run once."""
    monkeypatch.setenv("FLYBALL_DB", str(db))
    at = AppTest.from_file(str(PAGES / "main.py"), default_timeout=60)
    if page == "import_":  # its address is another, which is known once the pages are
        at.run()
    for name, value in query.items():
        at.query_params[name] = value
    at.switch_page(str(PAGES / f"{page}.py")).run()
    assert not at.exception, at.exception
    return at


# --- Runs -------------------------------------------------------------------------------------------------------------


def test_the_address_filters_and_sorts_the_runs(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "runs", agent=["refunds"], cost="0.02", sort="cost", order="asc")
    shown = at.dataframe[0].value
    assert set(shown["agent_name"]) == {"refunds"}
    assert shown["cost_usd"].min() >= 0.02
    assert shown["cost_usd"].is_monotonic_increasing
    assert at.multiselect(key="runs agent").value == ["refunds"]
    assert at.text_input(key="runs cost").value == "0.02"


def test_a_filter_that_somebody_moves_is_in_the_address(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "runs")
    at.multiselect(key="runs detector").set_value(["error_cascade"]).run()
    at.text_input(key="runs cost").set_value("0.01-1").run()
    assert len(at.dataframe[0].value) == 1
    address = {name: at.query_params[name] for name in ("detector", "cost")}
    assert address == {"detector": "error_cascade", "cost": "0.01-1"}


def test_what_the_address_says_and_nobody_understands_is_shown(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "runs", since="<b>soon</b>", agent="nobody")
    assert "not understood, so not applied" in said(at)
    assert "since=&lt;b&gt;soon&lt;/b&gt;" in said(at)
    assert "No run is like that" in said(at)
    at.button[0].click().run()
    assert len(at.dataframe[0].value) == 44


# --- Compare ----------------------------------------------------------------------------------------------------------


def test_two_runs_of_the_address_are_compared(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "compare", a=healthy(1).run_id, b=looping(41).run_id)
    page = said(at)
    assert "left only" in page
    assert "no orders found" in page
    assert at.selectbox(key="compare a").value == healthy(1).run_id
    assert len(at.get("vega_lite_chart")) == 1


def test_without_an_address_a_failing_run_stands_beside_a_good_one(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "compare")
    left, right = at.selectbox(key="compare a").value, at.selectbox(key="compare b").value
    assert left != right
    assert "Right less left" in said(at)
    assert "finding" in compare_pieces.run_label(next(r for r in data_rows(day) if r["run_id"] == left))


def data_rows(db: Path) -> list[dict[str, Any]]:
    """The runs of a database, without their findings."""
    from analyzer.views import runs as views

    with reading(db) as con:
        return views.with_findings(views.summaries(con), []).to_dicts()


def test_groups_are_compared_or_said_to_be_missing(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "compare", by="agent")
    assert "All runs together" in said(at)
    for by, words in (("time", "support"), ("version", "no two versions"), ("user", "no two users")):
        at.query_params["by"] = by
        at.run()
        assert not at.exception
        assert words in said(at)


def test_hostile_texts_of_compared_runs_stay_text() -> None:
    left = Step(step=1, turn=1, kind="tool", name=HOSTILE, call_key=1, result_key=1)
    pair = Pair(left, Step(step=1, turn=1, kind="tool", name=HOSTILE, call_key=2, result_key=1))
    told = {1: Told(Text(HOSTILE), Text(HOSTILE, 3))}
    markup = compare_pieces.pairs([(1, pair)], told, told) + compare_pieces.heads(HOSTILE, HOSTILE)
    assert "<img" not in markup
    assert "3 more characters" in markup


def test_the_strip_of_a_long_comparison_is_small_and_shows_what_differs() -> None:
    statuses = [("same", True, True)] * 9_000 + [("right only", False, True)] + [("same", True, True)] * 999
    rows = charts_more.alignment_rows(statuses)
    assert rows.height < 10
    assert rows.filter(side="right", status="right only").height == 1
    assert rows.filter(side="left")["status"].unique().to_list() == ["same"]
    assert rows["last"].max() == 10_000
    assert len(charts_more.alignment(rows, (1, 30)).to_json()) < 20_000


# --- Policy -----------------------------------------------------------------------------------------------------------


def test_every_field_of_the_policy_is_an_input_with_its_meaning() -> None:
    fields = {field.setting: field for section in whatif.sections() for field in section.fields}
    tables = {
        f"{section}.{name}" for section, values in json.loads(json.dumps(_tables(Policy()))).items() for name in values
    }
    assert tables - set(fields) == {"context.windows"}
    assert all(field.meaning for field in fields.values())
    assert set(fields) >= whatif.REPLAYED
    assert (fields["cost.run_limit_usd"].optional, fields["cost.run_limit_usd"].kind) == (True, "number")
    assert (fields["context.warn_share"].kind, fields["loops.turns"].kind, fields["guards.mode"].choices) == (
        "share", "count", ("enforce", "observe", "off"),
    )  # fmt: skip


def _tables(policy: Policy) -> Any:
    import msgspec

    return msgspec.to_builtins(policy)


@pytest.mark.parametrize("setting", sorted(whatif.REPLAYED - {"guards.mode"}))
def test_settings_said_to_be_replayed_may_be_set(setting: str) -> None:
    now = whatif.values_of(Policy())[setting]
    changed = whatif.policy_with(Policy(), {setting: now + 1})
    assert whatif.changed(Policy(), changed) == {setting: (now, now + 1)}


def test_a_policy_that_cannot_be_is_refused() -> None:
    with pytest.raises(PolicyError, match="turns"):
        whatif.policy_with(Policy(), {"loops.turns": 0})


def test_the_file_says_the_policy_and_keeps_the_prices(tmp_path: Path) -> None:
    kept = {"prices": {"my model": {"input": 3.0, "note": 'a "b" \\ \x7f\n'}}, "loops": {"turns": 9}}
    policy = Policy(loops=Loops(turns=7, poll_seconds=0.5), cost=Cost(user_day_limit_usd=2.0))
    text = whatif.as_toml(policy, kept)
    (tmp_path / "flyball.toml").write_text(text, "utf-8")
    assert load_policy(tmp_path / "flyball.toml") == policy
    assert tomllib.loads(text)["prices"] == kept["prices"]
    assert "# Model calls of one run" in text
    assert parse_policy(tomllib.loads(whatif.as_toml(Policy()))) == Policy()
    unlimited = Policy(cost=Cost(run_limit_usd=None))
    assert 'run_limit_usd = "none"' in whatif.as_toml(unlimited)
    assert parse_policy(tomllib.loads(whatif.as_toml(unlimited))) == unlimited


def test_only_what_may_have_no_value_can_be_unset() -> None:
    with pytest.raises(PolicyError, match=r"Expected `int`, got `str` - at `\$\.loops\.turns`"):
        parse_policy({"loops": {"turns": "none"}})


def test_only_the_newest_runs_are_replayed_and_the_same_comes_out(day: Path) -> None:
    runs = pl.DataFrame(data_rows(day))
    newest = whatif.newest(runs, 5)
    assert newest["start_ns"].to_list() == sorted(runs["start_ns"], reverse=True)[:5]
    assert whatif.newest(runs, 5, most_spans=1).height == 1
    with reading(day) as con:
        some = replay(con, Policy(), runs=newest["run_key"])
        every = replay(con, Policy())
    assert {r.run_id for r in some} == set(newest["run_id"])
    assert set(map(repr, some)) <= set(map(repr, every))


def test_stopped_runs_stand_beside_what_the_policy_in_force_did(day: Path) -> None:
    with reading(day) as con:
        before, after = (
            replay(con, policy)
            for policy in (Policy(), Policy(loops=Loops(same_call_repeats=2, same_call_error_repeats=3)))
        )
    found = whatif.stopped_runs(before, after)
    loop = found.filter(run_id=looping(41).run_id).row(0, named=True)
    assert loop["turn_tried"] < loop["turn_in_force"]
    assert loop["saved_usd_tried"] > loop["saved_usd_in_force"]
    assert loop["succeeded"] is True
    guards = whatif.by_guard({"in force": totals(before), "tried": totals(after)})
    assert set(guards["policy"]) == {"in force", "tried"}
    assert guards.filter(policy="tried")["runs"].sum() == sum(r.stop is not None for r in after)
    assert "runs stopped" in charts_more.stops_by_guard(guards).to_json()


def test_the_policy_page_tries_other_thresholds(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "policy")
    before = at.dataframe[0].value
    assert "is known" in " ".join(c.value for c in at.caption)
    at.number_input(key="policy loops.turns").set_value(3)
    at.button(key="FormSubmitter:policy form-Replay these").click().run()
    assert not at.exception
    assert "loops.turns" in said(at)
    assert len(at.dataframe[0].value) > len(before)
    assert "guard_in_force" in at.dataframe[0].value


def test_a_limit_that_is_cleared_is_no_limit_and_can_be_saved(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "policy")
    at.number_input(key="policy cost.run_limit_usd").set_value(None)
    at.button(key="FormSubmitter:policy form-Replay these").click().run()
    assert not at.exception
    assert "cost.run_limit_usd" in said(at)
    assert "not set" in said(at)
    assert not [c for c in at.caption if "No file can say" in c.value]


def test_a_threshold_that_cannot_be_leaves_the_last_policy(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "policy")
    at.number_input(key="policy cost.run_usd").set_value(0.0)
    at.button(key="FormSubmitter:policy form-Replay these").click().run()
    assert not at.exception
    assert "cost.run_usd" in said(at)


def test_calibration_is_proposed_or_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "policy")
    propose = next(b for b in at.button if b.label == "Propose a policy")
    propose.click().run()
    assert "too few" in said(at)
    at.checkbox(key="policy assumed").set_value(True)
    next(b for b in at.button if b.label == "Propose a policy").click().run()
    assert not at.exception
    assert "loops.turns" in said(at)


# --- Alerts -----------------------------------------------------------------------------------------------------------


def test_the_backtest_becomes_rows_for_its_chart(day: Path) -> None:
    with reading(day) as con:
        part = alert_history.period(con, None)
        result, some = backtest(con, Policy()), alert_history.period(con, 1)
        late = backtest(con, Policy(), instants=part.instants[-330:])
        gauges = alert_history.gauges(con, Policy(), part.instants, [t.rule for t in result.tested if t.firings])
    assert part.left_out == 0
    assert (part.instants == result.instants).all()
    assert 0 < late.findings < result.findings
    assert all(f.fired_ns >= part.instants[-330] for t in late.tested for f in t.firings)
    assert 0 < len(some.instants) <= len(part.instants)
    rows = alert_history.firings(result)
    assert rows.height == sum(len(t.firings) for t in result.tested) > 3
    assert (rows["behind"] == alert_history.WITH).sum() == sum(t.with_finding or 0 for t in result.tested)
    loop = rows.filter(pl.col("rule").str.starts_with("FlyballRepeatedCall")).row(0, named=True)
    assert "agent_name support" in loop["labels"]
    assert isinstance(loop["fired"], datetime)
    assert loop["since"] <= loop["fired"] <= loop["until"]
    assert alert_history.unseen(result).height == len(result.unseen)
    names = {gauge.name: gauge for gauge in gauges}
    repeated = names["flyball_repeated_calls_max"]
    assert repeated.samples["value"].max() == 12
    assert repeated.samples.height <= alert_history.POINTS * alert_history.SERIES
    assert sorted(repeated.lines["line"]) == [4.0, 8.0]
    chart = charts_more.firings_over_time(rows, alert_history.unseen(result), loop["since"], loop["until"]).to_json()
    assert "time, UTC" in chart
    assert "time, UTC" in charts_more.gauge(repeated.samples, repeated.lines, "repeats").to_json()


def test_the_archive_holds_every_file_and_is_the_same_each_time() -> None:
    files = package(Policy())
    made = alert_history.archive(files)
    assert made == alert_history.archive(files)
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert {name: archive.read(name).decode() for name in archive.namelist()} == files


def test_the_alerts_page_shows_the_backtest_and_the_runbook(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "alerts")
    if buttons := [b for b in at.button if b.key == "alerts run"]:
        buttons[0].click().run()
    page = said(at)
    assert "Without a finding" in page
    assert len(at.get("vega_lite_chart")) == 1
    assert "Mitigation" in "".join(m.value for m in at.markdown)
    at.toggle(key="alerts gauges").set_value(True).run()
    assert not at.exception
    assert len(at.get("vega_lite_chart")) > 2


# --- Import -----------------------------------------------------------------------------------------------------------


def given_file(name: str, content: bytes) -> Given:
    """A file as a browser hands it over."""
    return Given(name, io.BytesIO(content))


def test_what_was_read_is_told_of_each_file(tmp_path: Path) -> None:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("inner.jsonl", document(healthy(2)))
    files = [
        given_file("good.jsonl", document(healthy(1)) + document(looping(3))),
        given_file("good.jsonl", document(healthy(1)) + b"{broken\n"),
        given_file("all.zip", zipped.getvalue()),
        given_file("noise.bin", b"\x00\x01\x02"),
        given_file("empty.json", b""),
    ]
    first, again, archive_read, noise, empty = imports.read_into(tmp_path / "new.duckdb", files)
    assert (first.name, first.format, first.runs, first.spans, first.refusal) == ("good.jsonl", "OTLP JSON", 2, 31, "")
    assert first.input_tokens is not None
    assert first.cost_usd is not None
    assert (again.name, again.spans, again.known_spans) == ("good.jsonl (2)", 0, 6)
    assert [(i.source, i.line) for i in again.issues if i.kind == "broken_line"] == [("good.jsonl (2)", 2)]
    assert (archive_read.format, archive_read.runs, archive_read.spans) == ("archive", 1, 6)
    assert noise.refusal
    assert empty.refusal
    assert "flyball-upload" not in noise.refusal + empty.refusal
    sums = imports.totals([first, again, archive_read, noise, empty])
    assert (sums["files"], sums["refused"], sums["runs"], sums["spans"]) == (5, 2, 3, 37)
    assert imports.totals([noise])["cost_usd"] is None


def test_a_database_is_no_trace_file(tmp_path: Path, day: Path) -> None:
    (found,) = imports.read_into(tmp_path / "new.duckdb", [given_file("day.jsonl", day.read_bytes())])
    assert (found.format, found.spans) == ("database", 0)
    assert "flyball app --db" in found.refusal


HOSTILE_NAMES = (
    "../../escaped.jsonl",
    "/etc/passwd",
    "C:\\temp\\x.jsonl",
    HOSTILE,
    "a\x00b\n.jsonl",
    "",
    "\ud800",
    "x" * 5_000,
    "up!load.zip",
)


def test_names_of_files_are_never_paths(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "here"
    folder.mkdir(parents=True)
    files = [given_file(name, document(healthy(n))) for n, name in enumerate(HOSTILE_NAMES, 1)]
    found = imports.read_into(folder / "new.duckdb", files)
    assert [one.spans for one in found] == [6] * len(HOSTILE_NAMES)
    assert len({one.name for one in found}) == len(HOSTILE_NAMES)
    assert all(one.name.isprintable() and len(one.name) < 140 and "!" not in one.name for one in found)
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) in (
        ["new.duckdb"],
        ["new.duckdb", "new.duckdb.lock"],
    )


def test_dropped_files_open_in_a_database_of_their_own(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "import_")
    at.file_uploader[0].set_value(
        [("dropped.jsonl", document(stuck(5)) + document(inventing(6)), "application/json")]
    ).run()
    next(b for b in at.button if b.label == "Import").click().run()
    assert not at.exception
    assert at.dataframe[0].value["file"].tolist() == ["dropped.jsonl"]
    assert at.dataframe[0].value["runs"].tolist() == [2]
    at.switch_page(str(PAGES / "runs.py")).run()
    assert "imported.duckdb" in said(at)
    assert len(at.dataframe[0].value) == 2
    at.switch_page(str(PAGES / "import_.py")).run()
    next(b for b in at.button if b.label.startswith("Back to")).click().run()
    at.switch_page(str(PAGES / "runs.py")).run()
    assert len(at.dataframe[0].value) == 44


def test_dropped_files_are_added_to_the_open_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write(tmp_path / "mine.duckdb", [healthy(1)])
    at = app(monkeypatch, path, "import_")
    at.radio(key="import target").set_value("open")
    at.file_uploader[0].set_value(
        [("more.jsonl", document(growing(2)), "application/json"), (HOSTILE, b"\x00", "text/plain")]
    ).run()
    next(b for b in at.button if b.label == "Import").click().run()
    assert not at.exception
    assert at.dataframe[0].value["state"].tolist() == ["read", "not read"]
    assert "<img" not in said(at).replace("&lt;img", "")
    with duckdb.connect(str(path), read_only=True) as con:
        assert con.execute("SELECT count(DISTINCT run_key) FROM spans").fetchall() == [(2,)]


def test_a_file_without_runs_is_no_reason_to_open_anything(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "import_")
    at.file_uploader[0].set_value([("noise.bin", b"\x00\x01", "application/octet-stream")]).run()
    next(b for b in at.button if b.label == "Import").click().run()
    assert not at.exception
    assert "could not be read" in said(at)
    assert opened.instead().path is None


@pytest.mark.parametrize(
    ("address", "headers", "environment", "may"),
    [
        ("127.0.0.1", {}, {}, True), ("::1", {}, {}, True), ("localhost", {}, {}, True),
        ("0.0.0.0", {}, {}, False), (None, {}, {}, False), ("", {}, {}, False), ("192.168.1.4", {}, {}, False), ("evil", {}, {}, False),
        ("127.0.0.1", {"X-Forwarded-For": "10.0.0.7"}, {}, False),
        ("0.0.0.0", {}, {visitors.ALLOW: "allow"}, True), ("0.0.0.0", {}, {visitors.ALLOW: "0"}, False),
    ],
)  # fmt: skip
def test_only_who_is_at_this_machine_may_import(
    address: str | None, headers: dict[str, str], environment: dict[str, str], may: bool
) -> None:
    assert visitors.may_import(address, headers, environment) is may


def test_where_others_can_look_nobody_can_change_what_all_see(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    monkeypatch.delenv(visitors.ALLOW)
    at = app(monkeypatch, day, "import_")
    assert "Import is off here" in said(at)
    assert not at.file_uploader
    assert f"{visitors.ALLOW}=allow" in said(at)


def test_an_empty_database_says_how_to_fill_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    at = app(monkeypatch, write(tmp_path / "empty.duckdb", []), "policy")
    for page in ("policy", "compare", "alerts", "runs"):
        at.switch_page(str(PAGES / f"{page}.py")).run()
        assert not at.exception
        assert "flyball load" in said(at)


def test_hostile_runs_stay_text_on_every_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bad = looping(1)
    bad.agent = bad.model = HOSTILE
    path = write(tmp_path / "hostile.duckdb", [bad, healthy(2, HOSTILE)])
    at = app(monkeypatch, path, "runs")
    for page in ("runs", "policy", "compare", "alerts"):
        at.switch_page(str(PAGES / f"{page}.py")).run()
        assert not at.exception
        assert all("<img src=x" not in element.proto.body for element in at.get("html")), page
        assert all("**bold**" not in element.value for element in (*at.markdown, *at.caption)), page
    write(path, [healthy(3, "other")])
    for query in ({"by": "agent"}, {"a": HOSTILE, "by": "runs"}):
        for name, value in query.items():
            at.query_params[name] = value
        at.switch_page(str(PAGES / "compare.py")).run()
        assert not at.exception
        assert all("**bold**" not in element.value for element in (*at.markdown, *at.caption)), query


def test_a_file_read_says_nothing_it_does_not_know() -> None:
    one = FileRead(name="a", format="unknown")
    assert (one.cost_usd, one.input_tokens, one.refusal) == (None, None, "")
