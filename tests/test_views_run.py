"""One run: turns, spans, density, and the conversation with its texts cut."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pytest
from app_database import START_NS, Call, Run, Turn, failing, growing, healthy, looping, write
from test_views_runs import finding

from analyzer.views import failures, timeline, tools
from analyzer.views import run as views
from analyzer.views.conversation import Said, Text, conversation
from analyzer.views.runs import findings_over_time, spend_over_time, summaries, with_findings
from instrument.store.connect import reading, writing


def only(con: duckdb.DuckDBPyConnection) -> int:
    """Number of the one run in a store."""
    ((key,),) = con.sql("SELECT run_key FROM runs").fetchall()
    return int(key)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """One run that loops twelve times."""
    return write(tmp_path / "a.duckdb", [looping(1)])


def test_a_turn_is_a_model_call_with_its_tools(store: Path) -> None:
    with reading(store) as con:
        turns = views.turns(con, only(con))
    called = turns.filter(pl.col("turn") > 0)
    assert called["turn"].to_list() == list(range(1, 13))
    assert set(called["tool_calls"]) == {1}
    assert called["input_tokens"].to_list() == [3_700 + 90 * i for i in range(12)]
    assert called["cache_read_tokens"].to_list() == [1_700] * 12


def test_charts_of_a_long_run_get_no_more_points_than_they_can_show(store: Path) -> None:
    with reading(store) as con:
        turns = views.turns(con, only(con))
    points = views.costs(turns, points=5)
    assert points.select("turn", "last_turn").rows() == [(1, 3), (4, 6), (7, 9), (10, 12)]
    assert points["cost_usd"].sum() == pytest.approx(turns["cost_usd"].sum())
    assert points["so_far_usd"][-1] == pytest.approx(turns["cost_usd"].sum())
    assert views.costs(turns).height == 12


def test_a_sum_of_unknown_costs_is_unknown(tmp_path: Path) -> None:
    with reading(write(tmp_path / "a.duckdb", [Run(1, "a", [Turn("x")] * 4, model="my-own")])) as con:
        assert views.costs(views.turns(con, only(con)), points=2)["cost_usd"].to_list() == [None, None]


def test_density_counts_every_span_but_the_agents_once(tmp_path: Path) -> None:
    with reading(write(tmp_path / "a.duckdb", [failing(1)])) as con:
        start, end = con.sql("SELECT min(start_ns), max(end_ns) FROM spans").fetchall()[0]
        density = views.density(con, only(con), start, end, buckets=10)
    counts = dict(density.group_by("kind").agg(pl.col("spans").sum()).rows())
    assert counts == {"model": 7, "failed": 7}
    assert density["end_seconds"].max() == pytest.approx((end - start) / 1e9)


def test_a_finding_about_the_whole_run_marks_no_part_of_it() -> None:
    whole, part = finding("x", first_step=0), finding("x", first_step=3)
    assert views.within([whole, part]) == [part]


def test_a_turn_shows_what_is_new_in_it_and_nothing_twice(tmp_path: Path) -> None:
    with reading(write(tmp_path / "a.duckdb", [healthy(7)])) as con:
        first, second, third = conversation(con, only(con), 1, 3)
    assert [(s.role, s.text.shown) for s in first.heard] == [
        ("system", "You help customers of a book shop."),
        ("user", "Where is my order?"),
    ]
    assert [s.text.shown for s in first.answered] == ["Let me look that up."]
    (call,) = first.calls
    assert call.tool_name == "search_orders"
    assert call.arguments == Text('{"customer": 7}')
    assert call.result == Text("orders: 701")
    assert second.heard == ()
    assert [s.text.shown for s in third.answered] == ["Your order 701 was sent and arrives tomorrow."]
    assert (third.input_tokens, third.output_tokens, third.calls) == (4_700, 120, ())


def test_a_page_of_turns_does_not_repeat_what_came_before_it(tmp_path: Path) -> None:
    with reading(write(tmp_path / "a.duckdb", [growing(1)])) as con:
        turns = conversation(con, only(con), 10, 11)
    assert [t.number for t in turns] == [10, 11]
    assert [t.heard for t in turns] == [(), ()]


def test_a_failed_call_says_so_with_its_error(tmp_path: Path) -> None:
    with reading(write(tmp_path / "a.duckdb", [failing(1)])) as con:
        (turn,) = conversation(con, only(con), 3, 3)
    (call,) = turn.calls
    assert call.failed
    assert "payments is down" in f"{call.error} {call.result}"


def test_long_texts_are_cut_and_say_by_how_much(tmp_path: Path) -> None:
    long = "x" * 5_000
    run = Run(1, "a", [Turn(long, [Call("get_order", {"id": long}, long)])], asked=long)
    with reading(write(tmp_path / "a.duckdb", [run])) as con:
        (turn,) = conversation(con, only(con), 1, 1, chars=100)
        (whole,) = conversation(con, only(con), 1, 1, chars=10_000)
    assert turn.heard[1] == Said(role="user", kind="text", text=Text("x" * 100, 4_900))
    assert turn.answered[0].text == Text("x" * 100, 4_900)
    assert turn.calls[0].result == Text("x" * 100, 4_900)
    assert turn.calls[0].arguments is not None
    assert turn.calls[0].arguments.left_out_chars > 4_900
    assert whole.calls[0].result == Text(long)


def test_a_run_without_model_calls_has_a_turn_per_tool_call(tmp_path: Path) -> None:
    path = write(tmp_path / "a.duckdb", [Run(1, "a", [Turn("", [Call("get_order", {"id": i}) for i in range(3)])])])
    with reading(path) as con:
        turns = views.turns(con, only(con), lonely=True)
        told = conversation(con, only(con), turns["turn"][0], turns["turn"][-1], lonely=True)
    assert turns["tool_calls"].to_list() == [1, 1, 1]
    assert [len(turn.calls) for turn in told if turn.calls] == [1, 1, 1]


def test_a_call_whose_span_has_no_id_is_not_shown_a_second_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.duckdb", [healthy(7)])
    with writing(path) as con:
        con.execute("UPDATE spans SET tool_call_id = NULL WHERE kind = 'tool'")
        con.execute("UPDATE contents SET result = 'orders: 701' WHERE result_message_key IS NOT NULL")
    with reading(path) as con:
        first, second, _ = conversation(con, only(con), 1, 3)
    assert [s.kind for s in first.answered] == ["text"]
    assert len(first.calls) == 1
    assert second.heard == ()


def test_a_result_that_only_the_messages_hold_stands_with_its_call(tmp_path: Path) -> None:
    path = write(tmp_path / "a.duckdb", [healthy(7)])
    with writing(path) as con:
        con.execute("UPDATE contents SET result = NULL, arguments = NULL, result_message_key = NULL")
    with reading(path) as con:
        first, *_ = conversation(con, only(con), 1, 3)
    assert first.calls[0].result == Text("orders: 701")
    assert first.calls[0].arguments == Text('{"customer":7}')


@pytest.mark.parametrize(
    "body",
    ["", "no json", "[]", '{"parts": 7}', '{"parts": [null, 3, {"type": "tool_call", "id": {}}]}', "[" * 100_000],
)
def test_a_message_in_a_shape_of_its_own_is_shown_as_it_is(tmp_path: Path, body: str) -> None:
    path = write(tmp_path / "a.duckdb", [healthy(7)])
    with writing(path) as con:
        con.execute("UPDATE messages SET body = ?", [body])
    with reading(path) as con:
        first, *_ = conversation(con, only(con), 1, 3)
    assert first.heard
    assert len(first.calls) == 1


def test_a_call_reported_twice_is_there_once(store: Path) -> None:
    with writing(store) as con:
        con.execute("UPDATE spans SET duplicate_of = 'another' WHERE step IN (3, 4)")
    with reading(store) as con:
        key = only(con)
        turns = views.turns(con, key)
        told = conversation(con, key, 1, 12)
    assert turns["tool_calls"].sum() == 11
    assert turns["input_tokens"].count() == 11
    assert sum(len(turn.calls) for turn in told) == 11


def test_a_run_counts_a_call_reported_twice_once(store: Path) -> None:
    with reading(store) as con:
        before = summaries(con).row(0, named=True)
    with writing(store) as con:
        con.execute("UPDATE spans SET duplicate_of = 'another' WHERE step IN (3, 4)")
    with reading(store) as con:
        after = summaries(con).row(0, named=True)
    assert (before["model_calls"], after["model_calls"]) == (12, 11)
    assert (before["tool_calls"], after["tool_calls"]) == (12, 11)
    assert after["output_tokens"] == before["output_tokens"] - 120
    assert after["cost_usd"] < before["cost_usd"]


def test_times_that_nobody_recorded_are_not_known(tmp_path: Path) -> None:
    path = write(tmp_path / "a.duckdb", [healthy(1), looping(2)])
    with writing(path) as con:
        first = con.sql("SELECT min(start_ns) FROM spans WHERE run_key = 1").fetchall()[0][0]
        con.execute("UPDATE spans SET start_ns = start_ns - ?, end_ns = end_ns - ? WHERE run_key = 1", [first, first])
        con.execute("UPDATE spans SET start_ns = NULL, end_ns = NULL WHERE run_key = 1 AND step = 2")
    with reading(path) as con:
        runs = with_findings(summaries(con), [])
        unknown = runs.filter(run_key=1).row(0, named=True)
        whole = timeline.timeline(con, 1, 0)
        turns = conversation(con, 1, 1, 3)
    assert runs["run_key"].to_list() == [2, 1], "the newest first, and what is not known last"
    assert (unknown["start_ns"], unknown["end_ns"], unknown["seconds"]) == (None, None, None)
    assert unknown["outcome"] == "ended"
    assert [turn.seconds for turn in turns] == [None] * 3
    assert whole.rows["start_seconds"].count() == 0
    assert not whole.rows["pending"].any()
    spent, found = spend_over_time(runs), [finding("x", start_ns=1_000), finding("y", start_ns=START_NS)]
    assert spent["runs"].to_list() == [1]
    assert findings_over_time(runs, found)["findings"].sum() == 1
    assert failures.modes_over_time(runs, failures.found(found))["findings"].sum() == 1
    assert failures.by_detector(runs, failures.found(found))["last_ns"].to_list() == [START_NS]


def test_where_no_time_is_known_charts_over_time_are_empty(tmp_path: Path) -> None:
    path = write(tmp_path / "a.duckdb", [looping(2)])
    with writing(path) as con:
        con.execute("UPDATE spans SET start_ns = step, end_ns = step")
    with reading(path) as con:
        runs = with_findings(summaries(con), [])
        assert tools.trends(con).is_empty()
    found = [finding("x", start_ns=0)]
    assert spend_over_time(runs).is_empty()
    assert findings_over_time(runs, found).is_empty()
    assert failures.modes_over_time(runs, failures.found(found)).is_empty()
    assert failures.by_detector(runs, failures.found(found)).height == 1
