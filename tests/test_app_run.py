"""The page of a run: where it opens, what it folds, what it says of what is not known, and its charts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from app_database import Call, Run, Turn, failing, growing, healthy, looping, write
from streamlit.testing.v1 import AppTest
from test_app_pages import app, said
from test_app_pieces import HOSTILE, read
from test_views_run_parts import nested, nudge
from test_views_runs import finding

from analyzer.findings import Severity
from analyzer.pages import data, turns
from analyzer.report import charts_behaviour, charts_timeline, charts_turns
from analyzer.report.colors import SEVERITY_COLORS
from analyzer.views import behaviour, composition, timeline
from analyzer.views import run as views
from analyzer.views.conversation import Call as Told
from analyzer.views.conversation import Said, Text
from analyzer.views.conversation import Turn as ToldTurn
from analyzer.views.conversation_folds import Entry
from instrument.store.connect import reading

MESSAGE_BYTES = 5_000_000


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A healthy run, one that loops late, one that fails, one that grows, and one full of hostile text."""
    late = looping(2, times=40)
    late.turns = [*healthy(2).turns] * 20 + [*late.turns]
    hostile = Run(
        6, HOSTILE, [Turn(HOSTILE, [Call(HOSTILE, {HOSTILE: i}, HOSTILE, True)]) for i in range(5)], asked=HOSTILE
    )
    return write(tmp_path_factory.mktemp("run") / "runs.duckdb", [healthy(1), late, failing(3), growing(4), hostile])


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No arguments of pytest's reach the app, and no policy of the folder."""
    monkeypatch.setattr("sys.argv", ["app.py"])
    monkeypatch.chdir(tmp_path)


def opened(monkeypatch: pytest.MonkeyPatch, db: Path, number: int, **query: str) -> AppTest:
    """The page of a run, run once without an exception."""
    at = app(monkeypatch, db, "run", run=f"{number:08x}{0:08x}", **query)
    assert not at.exception
    return at


def markup(at: AppTest) -> str:
    """All markup on the page."""
    return "".join(element.proto.body for element in at.get("html"))


def test_a_healthy_run_says_what_it_did(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    at = opened(monkeypatch, runs, 1)
    assert "<code>support</code> ended after 3 turns with 2 tool calls" in said(at)
    assert [h.value for h in at.header] == [
        "What it did", "Timeline", "What filled the context", "Cost by turn", "From tool to tool", "Turns", "Raw span",
    ]  # fmt: skip


def test_a_loop_is_folded_and_opens(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    at = opened(monkeypatch, runs, 2)
    assert "This call, 40 times: <code>search_orders</code>" in said(at)
    assert "Turns 61 to 100" in said(at)
    assert markup(at).count('<div class="fb-turn') <= 8


def test_the_address_of_a_span_opens_at_it(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    with reading(runs) as con:
        span_id = con.execute("SELECT span_id FROM spans WHERE run_key = 3 AND step = 6").fetchall()[0][0]
        run_id = con.execute("SELECT run_id FROM spans WHERE run_key = 3").fetchall()[0][0]
    at = opened(monkeypatch, runs, int(run_id[:8], 16), span=span_id)
    assert markup(at).count("The span that was asked for") == 1
    assert json.loads(at.code[-1].value)["span_id"] == span_id
    assert at.number_input[0].value == 6


def test_a_span_inside_a_folded_loop_is_opened(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    with reading(runs) as con:
        ((span_id,),) = con.execute(
            "SELECT span_id FROM spans WHERE turn = 90 AND kind = 'tool' AND run_id = ?", [f"{2:08x}{0:08x}"]
        ).fetchall()
    at = opened(monkeypatch, runs, 2, span=span_id)
    assert markup(at).count("The span that was asked for") == 1


def test_the_address_of_a_finding_opens_at_it(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    at = opened(monkeypatch, runs, 2, span="")
    button = next(b for b in at.button if b.label == "Turn 61")
    button.click().run()
    assert at.query_params["finding"]
    assert "span" not in at.query_params
    assert "Turn 61" in said(at)


@pytest.mark.parametrize("query", [{"span": "<b>none</b>"}, {"finding": "<b>none</b>"}])
def test_an_address_of_nothing_here_says_so(monkeypatch: pytest.MonkeyPatch, runs: Path, query: dict[str, str]) -> None:
    at = opened(monkeypatch, runs, 1, **query)
    assert "no such part" in at.warning[0].value
    assert "<b>none</b>" in at.code[0].value


def test_a_sub_agent_is_linked_from_the_call_that_started_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data.judged.clear()
    at = opened(monkeypatch, nested(tmp_path), 7)
    assert f"run?run={8:08x}{0:08x}" in said(at)
    assert "sub-agent refunds" in said(at)


def test_hostile_text_stays_text_in_every_part(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    at = opened(monkeypatch, runs, 6)
    assert all("<img" not in element.proto.body for element in at.get("html"))
    labels = [*at.button, *at.toggle, *at.get("expander"), *at.header, *at.caption]
    assert not any(
        "<img" in str(getattr(element, "label", "")) + str(getattr(element, "value", "")) for element in labels
    )
    assert HOSTILE.split("`")[0][:20] in at.code[-1].value


@pytest.mark.slow
def test_a_run_of_fifty_thousand_spans_sends_small_messages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = Run(
        1, "a", [Turn("", [Call(f"tool {i % 60}", {"id": i}, f"r{i}")]) for i in range(25_000)], whole_history=False
    )
    at = opened(monkeypatch, write(tmp_path / "long.duckdb", [long]), 1)
    sizes = [element.proto.ByteSize() for kind in ("html", "vega_lite_chart", "code") for element in at.get(kind)]
    assert max(sizes) < MESSAGE_BYTES / 10
    assert sum(sizes) < MESSAGE_BYTES


def told(text: str) -> ToldTurn:
    """A turn in which everything recorded is `text`."""
    call = Told(
        step=3, span_id=text, tool_name=text, arguments=Text(text), result=Text(text), failed=True, failure_inferred=True,
        error=text + "!", rejected=text, declared=False, inferred=True, seconds=1.0,
    )  # fmt: skip
    said = Said(role=text, kind=text, name=text, text=Text(text))
    return ToldTurn(
        number=1,
        model=text,
        span_id=text,
        finish_reason=text,
        error=text,
        heard=(said,),
        answered=(said,),
        calls=(call,),
    )


def test_a_turn_is_markup_of_ours_alone() -> None:
    beside = turns.Beside(
        run_id=HOSTILE,
        findings=[replace(finding(HOSTILE, first_turn=1), message=HOSTILE, span_ids=(HOSTILE,))],
        actions=[replace(nudge(1), guard=HOSTILE, reason=HOSTILE, step=3, action=HOSTILE)],
        started={HOSTILE: [(HOSTILE, HOSTILE)]},
        compactions={1: HOSTILE},
        chosen=HOSTILE,
    )
    markup = turns.turn(told(HOSTILE), beside) + turns.fold(
        Entry(first=1, last=9, times=9, tools=(HOSTILE,)), beside, 2
    )
    shown = read(markup)
    assert shown.tags <= {"div", "span", "p", "b", "code", "a", "details", "summary"}
    assert shown.attributes <= {"class", "href", "target"}
    assert "javascript:" not in markup
    assert "<img src=x onerror=alert(1)>" in shown.text


def test_a_nudge_is_the_guards_word_and_not_the_users() -> None:
    words = nudge(5).reason or ""
    turn = ToldTurn(number=6, heard=(Said(role="user", kind="text", text=Text(words + " Try something else.")),))
    assert "user" not in read(turns.turn(turn, turns.Beside(run_id="r", actions=[nudge(5)]))).text
    assert read(turns.turn(turn, turns.Beside(run_id="r"))).text.count("user") == 1


def test_a_long_text_is_folded_with_nothing_lost() -> None:
    for text in ("x" * 9_000, "\n".join(f"line {i}" for i in range(200)), "short", "a\n" * 15):
        start, rest = turns.split(text)
        assert len(start) <= turns.CHARS_SHOWN
        assert (start + rest).replace("\n", "") == text.replace("\n", "")
    assert turns.split("short") == ("short", "")


def spec(chart: Any) -> str:
    """A chart as it is sent, without the address of its schema."""
    return json.dumps({**chart.to_dict(), "$schema": ""})


def test_charts_hold_no_address_and_say_their_units(runs: Path) -> None:
    with reading(runs) as con:
        key = con.execute("SELECT run_key FROM runs WHERE run_id = ?", [f"{4:08x}{0:08x}"]).fetchall()[0][0]
        start, end = con.execute("SELECT min(start_ns), max(end_ns) FROM spans WHERE run_key = ?", [key]).fetchall()[0]
        whole = timeline.timeline(con, key, start, [finding("x", first_step=3, severity=Severity.ERROR)])
        made, graph = composition.composition(con, key), behaviour.behaviour(con, key)
        costs, density = views.costs(views.turns(con, key)), views.density(con, key, start, end)
    page, bands = timeline.page(whole, 0, 60), views.bands([])
    fall = spec(charts_timeline.waterfall(page.rows, page.gaps, (page.low, page.high), chosen=page.rows["span_id"][3]))
    filled = spec(charts_turns.composition(made.parts, made.unit, made.compactions, bands, 200_000))
    all_specs = [
        fall, filled, spec(charts_turns.costs(costs, bands)), spec(charts_timeline.overview(density, (0, 9), whole.gaps)),
        spec(charts_behaviour.behaviour(graph.tools, *behaviour.drawn(graph))),
    ]  # fmt: skip
    assert not any("http" in one for one in all_specs)
    assert "seconds since the run began" in fall
    assert SEVERITY_COLORS["error"] in fall
    assert "tokens sent" in filled
    assert "window: 200,000 tokens" in filled
    assert "US dollars so far" in all_specs[2]


def test_the_bar_of_a_span_that_has_not_ended_is_open() -> None:
    rows = pl.DataFrame(
        {"position": [0], "depth": [0], "step": [0], "turn": [1], "kind": ["model"], "span_id": ["a"], "label": [HOSTILE],
         "start_seconds": [1.0], "end_seconds": [None], "seconds": [None], "self_seconds": [None], "children": [0],
         "pending": [True], "inferred": [False], "failed": [False], "blocked": [False], "severity": [None], "cost_usd": [None]},
        schema_overrides={"end_seconds": pl.Float64, "seconds": pl.Float64, "self_seconds": pl.Float64, "severity": pl.String},
    )  # fmt: skip
    gaps = pl.DataFrame(schema={"start_seconds": pl.Float64, "end_seconds": pl.Float64, "seconds": pl.Float64})
    sent = charts_timeline.waterfall(rows, gaps, (1.0, 5.0)).to_dict()
    (row,) = next(iter(sent["datasets"].values()))
    assert row["took"] == "not ended"
    assert row["end"] == 5.0
    assert row["faint"]
