"""The parts of the page of a run as values: its timeline, its behaviour, what filled its context, its story, its folds, its raw spans."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from app_database import SECOND, START_NS, Call, Run, Turn, document, failing, growing, healthy, looping, write
from hypothesis import given
from hypothesis import strategies as st
from test_app_pieces import HOSTILE
from test_views_runs import finding

from analyzer.findings import GuardAction, Severity
from analyzer.views import behaviour, composition, conversation, conversation_folds, run_span, timeline
from analyzer.views import run as views
from analyzer.views.story import story
from instrument.store.connect import reading, writing
from instrument.store.load import Loader


def only(con: duckdb.DuckDBPyConnection) -> int:
    """Number of the first run in a store."""
    return int(con.execute("SELECT min(run_key) FROM runs").fetchall()[0][0])


def started(con: duckdb.DuckDBPyConnection, key: int) -> int:
    """When a run began, nanoseconds."""
    return int(con.execute("SELECT min(start_ns) FROM spans WHERE run_key = ?", [key]).fetchall()[0][0])


def nested(tmp_path: Path) -> Path:
    """A run whose first tool call starts a sub-agent; the second tool call has not ended."""
    outer, inner = json.loads(document(healthy(7))), json.loads(document(failing(8)))
    outer_spans, inner_spans = (d["resourceSpans"][0]["scopeSpans"][0]["spans"] for d in (outer, inner))
    tool = outer_spans[2]
    shift = int(tool["startTimeUnixNano"]) - int(inner_spans[0]["startTimeUnixNano"])
    for span in inner_spans:
        span["traceId"] = tool["traceId"]
        for name in ("startTimeUnixNano", "endTimeUnixNano"):
            span[name] = str(int(span[name]) + shift)
    inner_spans[0]["parentSpanId"] = tool["spanId"]
    tool["endTimeUnixNano"] = inner_spans[0]["endTimeUnixNano"]
    path = tmp_path / "nested.duckdb"
    with writing(path) as con, Loader(con) as loader:
        loader.add_lines(json.dumps(outer).encode() + b"\n" + json.dumps(inner).encode() + b"\n", "a.jsonl")
        loader.finish()
    return path


def test_sub_agents_stand_below_the_call_that_started_them(tmp_path: Path) -> None:
    with reading(nested(tmp_path)) as con:
        key = only(con)
        whole = timeline.timeline(con, key, started(con, key))
    rows = whole.rows
    at = rows.filter(pl.col("label") == "refunds")["position"][0]
    assert rows["label"][at - 1] == "search_orders"
    assert rows["depth"][at - 2 : at + 2].to_list() == [1, 1, 2, 3]
    assert rows["depth"][0] == 0
    assert rows["position"].to_list() == list(range(rows.height))
    assert rows.height == 6 + 15
    call, agent = rows.row(at - 1, named=True), rows.row(at, named=True)
    assert (call["children"], call["self_seconds"]) == (1, 0)
    assert agent["children"] == 14


def test_a_span_whose_parents_go_round_in_a_circle_is_shown_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.duckdb", [healthy(7)])
    with writing(path) as con:
        con.execute("UPDATE spans SET parent_span_id = (SELECT span_id FROM spans WHERE step = 2) WHERE step = 1")
        con.execute("UPDATE spans SET parent_span_id = (SELECT span_id FROM spans WHERE step = 1) WHERE step = 2")
        con.execute("UPDATE spans SET parent_span_id = span_id WHERE step = 3")
    with reading(path) as con:
        rows = timeline.timeline(con, only(con), started(con, only(con))).rows
    assert sorted(rows["step"]) == list(range(6))


def test_self_time_is_what_no_child_was_at_work(tmp_path: Path) -> None:
    path = write(tmp_path / "a.duckdb", [healthy(7)])
    with writing(
        path
    ) as con:  # model call 1 lasts ten seconds; below it two spans side by side, and one that reaches out of it
        con.execute("UPDATE spans SET parent_span_id = (SELECT span_id FROM spans WHERE step = 1) WHERE step > 1")
        for step, low, high in ((0, 0, 20), (1, 0, 10), (2, 1, 4), (3, 2, 5), (4, 8, 30), (5, 9, None)):
            con.execute(
                "UPDATE spans SET start_ns = ?, end_ns = ? WHERE step = ?",
                [START_NS + low * SECOND, None if high is None else START_NS + high * SECOND, step],
            )
    with reading(path) as con:
        whole = timeline.timeline(con, only(con), START_NS)
    by_step = {row["step"]: row for row in whole.rows.iter_rows(named=True)}
    assert by_step[1]["self_seconds"] == pytest.approx(10 - 4 - 2)
    assert by_step[0]["self_seconds"] == pytest.approx(10)
    assert by_step[2]["self_seconds"] == pytest.approx(3)
    assert by_step[5]["self_seconds"] is None
    assert [step for step, row in by_step.items() if row["pending"]] == [5]


def test_what_is_not_known_of_times_stays_unknown(tmp_path: Path) -> None:
    path = write(tmp_path / "a.duckdb", [healthy(7)])
    with writing(path) as con:
        con.execute("UPDATE spans SET start_ns = NULL, end_ns = NULL WHERE step = 2")
        con.execute("UPDATE spans SET inferred_times = 'end' WHERE step = 3")
    with reading(path) as con:
        rows = timeline.timeline(con, only(con), started(con, only(con))).rows.sort("step")
    assert rows["self_seconds"][0] is None  # one of its children is at work nobody knows when
    assert (rows["start_seconds"][2], rows["pending"][2]) == (None, False)
    assert rows["inferred"].to_list() == [False, False, False, True, False, False]


def with_pause(tmp_path: Path, seconds: int) -> timeline.Timeline:
    """A healthy run with a pause before its fourth span."""
    path = write(tmp_path / f"{seconds}.duckdb", [healthy(7)])
    with writing(path) as con:
        con.execute("UPDATE spans SET start_ns = start_ns + ? WHERE step > 2", [seconds * SECOND])
        con.execute("UPDATE spans SET end_ns = end_ns + ? WHERE step > 2 OR step = 0", [seconds * SECOND])
    with reading(path) as con:
        return timeline.timeline(con, only(con), started(con, only(con)))


def test_a_silence_is_a_gap_and_is_left_out_on_demand(tmp_path: Path) -> None:
    whole = with_pause(tmp_path, 100)
    assert whole.gap_seconds == pytest.approx(100)
    as_it_was, short = timeline.page(whole, 0, 60), timeline.page(whole, 0, 60, shorten=True)
    worked = as_it_was.high - as_it_was.low - 100
    assert short.high - short.low == pytest.approx(worked * (1 + timeline.SHORT_GAP_SHARE))
    assert short.rows["seconds"].to_list() == as_it_was.rows["seconds"].to_list()
    assert short.gaps["seconds"].to_list() == pytest.approx([100])
    assert (short.shortened, as_it_was.shortened) == (True, False)
    assert with_pause(tmp_path, 0).gaps.is_empty()


@given(
    st.lists(st.floats(0, 1_000), min_size=1, max_size=20),
    st.lists(st.tuples(st.floats(0.1, 50), st.floats(0.1, 50)), max_size=5),
    st.floats(0, 5),
)
def test_leaving_gaps_out_keeps_the_order_of_times(
    times: list[float], parts: list[tuple[float, float]], kept: float
) -> None:
    edges: list[tuple[float, float]] = []
    for quiet, work in parts:
        start = (edges[-1][1] if edges else 0.0) + work
        edges.append((start, start + quiet))
    gaps = pl.DataFrame(edges, schema={"start_seconds": pl.Float64, "end_seconds": pl.Float64}, orient="row")
    short = timeline.without_gaps(pl.Series(sorted(times)), gaps, kept).to_list()
    assert all(b >= a - 1e-6 for a, b in itertools.pairwise(short))
    assert all(after <= before + 1e-6 for before, after in zip(sorted(times), short, strict=True))


def test_a_tool_called_again_is_a_loop_where_a_finding_says_so(tmp_path: Path) -> None:
    turns = [Turn("", [Call("get_order", {"id": 1})]), *looping(1).turns, Turn("", [Call("refund", {}, "no", True)])]
    with reading(write(tmp_path / "a.duckdb", [Run(1, "support", turns)])) as con:
        key = only(con)
        spans = [
            row[0] for row in con.execute("SELECT span_id FROM spans WHERE kind = 'tool' ORDER BY step").fetchall()
        ]
        named = finding("repeated_call", severity=Severity.ERROR, first_step=4, last_step=26)
        graph = behaviour.behaviour(con, key, [replace(named, span_ids=tuple(spans[1:13]))])
        quiet = behaviour.behaviour(con, key, [replace(named, detector="cost_outlier", span_ids=tuple(spans[1:13]))])
    assert graph.tools.select("tool", "calls", "failed", "failed_share", "severity").rows() == [
        ("get_order", 1, 0, 0.0, None), ("search_orders", 12, 0, 0.0, "error"), ("refund", 1, 1, 1.0, None),
    ]  # fmt: skip
    assert graph.transitions.rows() == [
        (1, 1, 11, "error", "repeated_call"), (0, 1, 1, None, None), (1, 2, 1, None, None),
    ]  # fmt: skip
    assert quiet.transitions["severity"].null_count() == 3


def test_of_many_tools_the_commonest_are_shown_and_the_rest_are_one() -> None:
    names = [f"tool {i}" for i in range(60)] + [f"tool {i}" for i in range(30)]
    calls = pl.DataFrame(
        {"step": range(90), "span_id": list(map(str, range(90))), "tool": names, "failed": [False] * 90, "blocked": [False] * 90},
    ).with_columns(seconds=pl.lit(None, pl.Float64))  # fmt: skip
    graph = behaviour.graph(calls, [])
    assert graph.tools.height == behaviour.TOOLS_SHOWN + 1
    assert graph.tools["tool"][-1] == behaviour.OTHERS
    assert graph.tools["calls"].sum() == 90
    assert graph.tools["seconds"].null_count() == graph.tools.height
    assert graph.transitions["times"].sum() + graph.left_out == 89


@given(st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), unique=True, max_size=60))
def test_arcs_begin_and_end_at_their_tools_and_keep_their_side(pairs: list[tuple[int, int]]) -> None:
    for (source, target), arc in zip(pairs, behaviour.arcs(pairs), strict=True):
        (first_x, first_y), (last_x, last_y) = arc.points[0], arc.points[-1]
        assert first_x == last_x == 0
        assert abs(first_y - source) < 0.5
        assert abs(last_y - target) < 0.5
        inner = [x for x, _ in arc.points[1:-1]]
        assert all(x > 0 for x in inner) if target >= source else all(x < 0 for x in inner)


def made(tmp_path: Path, run: Run, sql: str = "", **more: Any) -> composition.Composition:
    """The composition of a run's context."""
    path = write(tmp_path / f"{run.number}.duckdb", [run])
    if sql:
        with writing(path) as con:
            con.execute(sql)
    with reading(path) as con:
        return composition.composition(con, only(con), **more)


def test_a_request_is_split_by_who_put_the_text_there(tmp_path: Path) -> None:
    value = made(tmp_path, healthy(7))
    last = {row["part"]: row for row in value.parts.filter(pl.col("turn") == 3).iter_rows(named=True)}
    assert set(last) == {
        "system", "tools declared", "user", "assistant", "result: search_orders", "result: get_order",
    }  # fmt: skip
    assert sum(row["amount"] for row in last.values()) == pytest.approx(2_600 + 2_100)
    assert last["user"]["chars"] == len("Where is my order?")
    assert last["result: search_orders"]["chars"] == len("orders: 701")
    assert (value.unit, value.no_system, value.no_declared, value.unknown_requests) == ("tokens", False, False, 0)


def test_without_token_counts_characters_are_the_unit(tmp_path: Path) -> None:
    value = made(tmp_path, healthy(7), "UPDATE spans SET input_tokens = NULL")
    assert value.unit == "characters"
    assert value.parts.select(pl.col("amount") == pl.col("chars"))["amount"].all()


def test_what_was_not_recorded_is_a_part_of_its_own_and_said(tmp_path: Path) -> None:
    value = made(
        tmp_path,
        healthy(7),
        "UPDATE contents SET input_keys = NULL, system_key = NULL; UPDATE spans SET toolset_key = NULL",
    )
    assert set(value.parts["part"]) == {composition.UNKNOWN}
    assert value.parts["amount"].to_list() == [2_000, 4_200, 4_700]
    assert (value.no_system, value.no_declared, value.unknown_requests) == (True, True, 3)


def test_compactions_are_marked_whoever_made_them(tmp_path: Path) -> None:
    assert made(tmp_path, growing(1)).compactions.is_empty()
    fell = "UPDATE spans SET input_tokens = 20000 WHERE turn = 20 AND kind = 'model'"
    assert made(tmp_path, growing(2), fell).compactions.rows() == [
        (20, "fell from 144,000 to 20,000 tokens; no compaction was recorded")
    ]
    named = fell + "; UPDATE spans SET kind = 'other', name = 'compaction' WHERE turn = 19 AND kind = 'tool'"
    assert made(tmp_path, growing(3), named).compactions.rows() == [(20, "compacted")]
    acted = [replace(nudge(6), action="compact", reason="By a summary.")]
    assert made(tmp_path, growing(4), actions=acted).compactions.rows() == [(6, "By a summary.")]


def test_a_long_run_is_looked_at_in_stretches(tmp_path: Path) -> None:
    value = made(tmp_path, growing(1), requests=5)
    spans = value.parts.unique("turn").sort("turn").select("turn", "last_turn").rows()
    assert spans == [(1, 5), (6, 10), (11, 15), (16, 20), (21, 24)]
    largest = value.parts.group_by("turn").agg(pl.col("amount").sum()).sort("turn")["amount"].to_list()
    assert largest == pytest.approx([9_000 + 7_500 * i for i in (4, 9, 14, 19, 23)])


def nudge(turn: int) -> GuardAction:
    """A guard that spoke."""
    return GuardAction(
        run_id="r", trace_id="t", span_id="s", step=0, turn=turn, guard="repeated_call", action="nudge",
        reason="`search_orders` was called with the same arguments 4 times.", setting="loops.same_call_repeats",
    )  # fmt: skip


RUN: dict[str, Any] = {
    "agent_name": "support", "outcome": "ended", "stop_reason": None, "model_calls": 12, "tool_calls": 11, "failed_tool_calls": 0,
    "cost_usd": 0.2, "unpriced_calls": 0, "wasted_usd": None, "seconds": 334.0, "peak_input_tokens": 5_300,
}  # fmt: skip


def test_a_healthy_run_tells_what_it_did() -> None:
    assert story(RUN, [], window_tokens=10_600) == (
        "`support` ended after 12 turns with 11 tool calls, and nothing was found wrong with it.",
        "None of its tool calls failed; every detector could see all it needs.",
        "It cost $0.20, took 5 min 34 s and sent at most 5,300 tokens in one request (50 % of the window).",
    )
    assert "`cost_outlier` could not see" in story(RUN, [], dim=["cost_outlier"])[1]


def test_a_run_that_went_wrong_tells_what_where_and_what_it_cost() -> None:
    looped = replace(
        finding("repeated_call", severity=Severity.ERROR),
        message="`search_orders` was called 12 times in turns 2 to 13.",
    )
    others = [replace(finding("x"), detector=name) for name in ("cost_outlier", "error_cascade", "error_cascade")]
    actions = [nudge(5), replace(nudge(6), action="block"), replace(nudge(7), action="stop")]
    run = {**RUN, "stop_reason": "repeated_call", "wasted_usd": 0.15, "unpriced_calls": 2}
    assert story(run, [looped, *others], actions) == (
        "The run of `support` went wrong: `search_orders` was called 12 times in turns 2 to 13.",
        "`cost_outlier` and `error_cascade` (2 times) were found too, the guard `repeated_call` nudged it and refused 1 call, "
        "and it was stopped in turn 7 by `repeated_call` after 12 turns with 11 tool calls.",
        "It cost at least $0.20 (without 2 calls of unknown price), wasted $0.15 (75 %), took 5 min 34 s and sent at most 5,300 tokens "
        "in one request.",
    )  # fmt: skip


def test_a_story_says_nothing_that_is_not_known() -> None:
    bare = {
        **RUN,
        "agent_name": None,
        "cost_usd": None,
        "seconds": 0.0,
        "peak_input_tokens": None,
        "outcome": "unfinished",
    }
    assert story(bare, []) == (
        "An unnamed agent has not ended, or was cut off, after 12 turns with 11 tool calls, and nothing was found wrong with it.",
        "None of its tool calls failed; every detector could see all it needs.",
        "It has no known price.",
    )


@given(st.text(max_size=200))
def test_a_story_is_three_lines_whatever_an_agent_is_called(name: str) -> None:
    told = story(
        {**RUN, "agent_name": name}, [replace(finding("x"), message=name or "a")], [replace(nudge(1), guard=name)]
    )
    assert len(told) == 3
    assert not any("\n" in sentence or "\x1b" in sentence for sentence in told)
    assert told[1].count("`") == 2


@pytest.mark.parametrize(
    ("signed", "folded"),
    [
        ("abc", [(0, 1, 1), (1, 1, 1), (2, 1, 1)]),
        ("aab", [(0, 1, 1), (1, 1, 1), (2, 1, 1)]),
        ("xaaaay", [(0, 1, 1), (1, 4, 1), (5, 1, 1)]),
        ("ababab", [(0, 3, 2)]),
        ("abababa", [(0, 3, 2), (6, 1, 1)]),
        ("----", [(0, 1, 1), (1, 1, 1), (2, 1, 1), (3, 1, 1)]),
        ("aa-aa", [(0, 1, 1), (1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 1, 1)]),
    ],
)
def test_turns_that_do_the_same_are_folded_and_unknown_ones_never(
    signed: str, folded: list[tuple[int, int, int]]
) -> None:
    assert conversation_folds.folds([None if sign == "-" else (sign,) for sign in signed]) == folded


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=40))
def test_every_turn_is_in_one_fold(signs: Sequence[str | None]) -> None:
    found = conversation_folds.folds([None if sign is None else (sign,) for sign in signs])
    assert [i for start, times, period in found for i in range(start, start + times * period)] == list(
        range(len(signs))
    )


def test_a_loop_is_one_entry_and_results_that_differ_are_none(tmp_path: Path) -> None:
    poll = [Turn("", [Call("get_order", {"id": 1}, f"{part} %")]) for part in range(5)]
    path = write(tmp_path / "a.duckdb", [Run(1, "a", [*healthy(1).turns[:2], *looping(1).turns]), Run(2, "b", poll)])
    with reading(path) as con:
        ids = dict(con.execute("SELECT run_id, run_key FROM runs").fetchall())
        loop = conversation_folds.entries(con, ids[Run(1, "", []).run_id])
        polls = conversation_folds.entries(con, ids[Run(2, "", []).run_id])
        assert conversation_folds.spoken_within(con, ids[Run(1, "", []).run_id], loop[2]) == 0
    assert [(e.first, e.last, e.times, e.tools) for e in loop[2:]] == [(3, 14, 12, ("search_orders",))]
    assert len(polls) == 5
    assert conversation_folds.page_with(loop, 9, 2) == 2
    assert conversation_folds.page_with(loop, 99, 2) == 2


def test_a_guards_words_are_told_from_a_users() -> None:
    words = "`search_orders` was called  with the same arguments 4 times. Use what you know."
    assert conversation.said_by_guard(words, [nudge(5)]) == nudge(5)
    assert conversation.said_by_guard(words, [replace(nudge(5), observed=True)]) is None
    assert conversation.said_by_guard("Where is my order?", [nudge(5)]) is None


def test_json_is_laid_out_and_what_only_looks_like_it_stays() -> None:
    text = conversation.Text
    assert conversation.pretty(text('{"a":1}')) == text('{"a": 1}')
    long = json.dumps({"key": "x" * 100})
    assert conversation.pretty(text(long)).shown == json.dumps(json.loads(long), indent=2)
    for same in (text('{"a":', 7), text("{no json}"), text("plain"), text("[" * 5_000)):
        assert conversation.pretty(same) == same


def test_costs_add_up_and_unknown_prices_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.duckdb", [growing(1)])
    with writing(path) as con:
        con.execute("UPDATE spans SET cost_usd = NULL WHERE turn IN (2, 3)")
    with reading(path) as con:
        turns = views.turns(con, only(con))
    each, merged = views.costs(turns), views.costs(turns, points=6)
    assert each["cost_usd"].to_list()[1:3] == [None, None]
    assert each["unpriced_calls"].sum() == 2
    assert each["so_far_usd"][-1] == pytest.approx(turns["cost_usd"].sum())
    assert each["so_far_usd"][2] == each["so_far_usd"][0]
    assert merged.height == 6
    assert merged["so_far_usd"][-1] == pytest.approx(each["so_far_usd"][-1])


def test_a_raw_span_holds_what_was_recorded_and_bounded(tmp_path: Path) -> None:
    long = "y" * 50_000
    path = write(
        tmp_path / "a.duckdb", [Run(1, HOSTILE, [Turn(long, [Call(HOSTILE, {"id": long}, long)])], asked=HOSTILE)]
    )
    with reading(path) as con:
        key = only(con)
        model, tool = (run_span.raw(con, [key], run_span.span_at(con, key, step) or "") for step in (1, 2))
        assert run_span.raw(con, [key], "nobody") is None
        assert run_span.span_at(con, key, 99) is None
    assert model is not None
    assert tool is not None
    assert json.loads(model.json)["input"][0]["parts"][0]["content"] == HOSTILE
    assert json.loads(tool.json)["tool_name"] == HOSTILE
    assert (tool.step, tool.turn, tool.label) == (2, 1, HOSTILE)
    for one in (model, tool):
        assert len(one.json) < run_span.RAW_CHARS
        assert one.left_out_chars >= 42_000
