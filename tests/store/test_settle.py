"""Runs, order, duplicates and calls known only from messages."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instrument.otlp import Span
from instrument.store.ancestors import depths, nearest
from tests.store.build import agent, answer, document, loaded, model, rows, span, span_id, tool, trace_id

SDK = "com.anthropic.sdk.python"


def places(con: Any) -> dict[str, tuple[str, int, int]]:
    return {
        name: (run, step, turn) for name, run, step, turn in rows(con, "SELECT name, run_id, step, turn FROM spans")
    }


def test_a_run_is_the_nearest_agent_span_and_what_is_below_it():
    con = loaded(document(
        tool("c", parent="b", at=3), model("b", parent="sub", at=2), agent("sub", parent="a", at=1.5),
        model("m", parent="a", at=1), agent("a", lasts=9),
    ))  # fmt: skip
    assert places(con) == {
        "a": (span_id("a"), 0, 0), "m": (span_id("a"), 1, 1),
        "sub": (span_id("sub"), 0, 0), "b": (span_id("sub"), 1, 1), "c": (span_id("sub"), 2, 1),
    }  # fmt: skip


def test_without_an_agent_the_conversation_is_the_run_across_traces():
    con = loaded(
        document(
            model("m1", trace="one", gen_ai__conversation__id="c"),
            model("m2", trace="two", at=2, gen_ai__conversation__id="c"),
        )
    )
    assert places(con) == {"m1": ("c", 0, 1), "m2": ("c", 1, 2)}
    assert rows(con, "SELECT count(*) FROM runs") == [(1,)]


def test_without_agent_and_conversation_the_trace_is_the_run():
    con = loaded(document(span("root"), model("m", parent="root", at=1), model("orphan", parent="nobody", at=2)))
    assert {run for run, _, _ in places(con).values()} == {trace_id("t")}


def test_span_ids_used_again_in_another_trace_are_other_spans():
    con = loaded(
        document(
            agent("a", trace="one"),
            model("m", trace="one", parent="a", at=1),
            agent("a", trace="two"),
            model("m", trace="two", parent="a", at=1),
        )
    )
    assert rows(con, "SELECT trace_id, count(*), count(DISTINCT run_key) FROM spans GROUP BY 1 ORDER BY 1") == [
        (trace_id("one"), 2, 1),
        (trace_id("two"), 2, 1),
    ]
    assert rows(con, "SELECT count(DISTINCT run_key) FROM spans") == [(2,)]


def test_parents_in_a_circle_are_read_and_belong_to_the_trace():
    con = loaded(document(model("a", parent="b"), model("b", parent="a", at=1), model("self", parent="self", at=2)))
    assert {run for run, _, _ in places(con).values()} == {trace_id("t")}


@given(st.lists(st.integers(-1, 40), min_size=1, max_size=41), st.data())
def test_nearest_is_the_first_wanted_row_on_the_way_up(raw: list[int], data: Any):
    parent = np.array([p if p < len(raw) else -1 for p in raw], dtype=np.int64)
    wanted = np.array(data.draw(st.lists(st.booleans(), min_size=len(raw), max_size=len(raw))))
    itself = np.arange(len(raw))
    found = nearest(np.where(wanted, itself, parent), wanted)
    for row in range(len(raw)):
        walk, seen = row, set()
        while walk >= 0 and not wanted[walk] and walk not in seen:
            seen.add(walk)
            walk = int(parent[walk])
        assert found[row] == (walk if walk >= 0 and wanted[walk] else -1)


def test_depth_counts_levels_and_ends_on_a_circle():
    assert depths(np.array([-1, 0, 1, 2, 0])).tolist() == [0, 1, 2, 3, 1]
    assert np.isfinite(depths(np.array([1, 0, 0]))).all()


def test_a_call_reported_by_sdk_and_instrumentor_is_counted_once():
    outer = model("o", lasts=3, gen_ai__response__id="msg_1", gen_ai__output__messages=answer(text="hello"))
    inner = model("i", parent="o", at=1, gen_ai__response__id="msg_1")
    con = loaded(document(outer, scope="opentelemetry.instrumentation.anthropic"), document(inner, scope=SDK))
    assert rows(con, "SELECT name, duplicate_of, output_key IS NOT NULL FROM spans ORDER BY step") == [
        ("o", span_id("i"), True),
        ("i", None, True),
    ]


def test_an_id_that_a_library_gives_to_call_after_call_makes_them_no_single_call():
    ids = {"gen_ai__response__id": "chatcmpl-123"}
    inner = [model(f"i{n}", parent=f"o{n}", at=n * 5 + 1, **ids) for n in range(3)]
    outer = [model(f"o{n}", at=n * 5, lasts=3, **ids) for n in range(3)]
    con = loaded(document(*outer, scope="pydantic-ai"), document(*inner, scope=SDK))
    found = rows(con, "SELECT name, duplicate_of FROM spans WHERE duplicate_of IS NOT NULL ORDER BY name")
    assert found == [(f"o{n}", span_id(f"i{n}")) for n in range(3)]
    wrapped = document(model("o", lasts=3, **ids), model("i", parent="o", at=1, **ids), scope=SDK)
    assert rows(loaded(wrapped), "SELECT count(*) FROM spans WHERE duplicate_of IS NULL") == [(1,)]


def test_usage_is_taken_whole_from_the_report_that_says_most():
    """The SDK's stream was cut; another library counted to the end, and knows of the cache. Half of each would be no usage."""
    cut = model(
        "i",
        parent="o",
        at=1,
        gen_ai__response__id="msg_1",
        gen_ai__request__stream=True,
        gen_ai__usage__output_tokens=1,
    )
    whole = model(
        "o", lasts=3, gen_ai__response__id="msg_1", gen_ai__response__finish_reasons=["stop"],
        gen_ai__usage__cache_read__input_tokens=400, gen_ai__usage__cache_write__input_tokens=100,
    )  # fmt: skip
    con = loaded(document(whole, scope="pydantic-ai"), document(cut, scope=SDK))
    usage = "input_tokens, uncached_input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, usage_state, price_source[:6]"
    assert rows(con, f"SELECT name, {usage} FROM spans WHERE duplicate_of IS NULL") == [
        ("i", 1000, 500, 400, 100, 100, "complete", "genai-")
    ]
    assert rows(con, "SELECT cost_usd FROM spans WHERE duplicate_of IS NULL")[0][0] == pytest.approx(
        500 * 3e-6 + 400 * 0.3e-6 + 100 * 3.75e-6 + 100 * 15e-6, abs=1e-9
    )


def test_the_providers_own_span_completes_and_never_counts():
    """The API pushes a span of its own into the trace, below the SDK's; searches are known only there."""
    sdk = model("s", lasts=3, gen_ai__response__id="msg_1")
    server = model("p", parent="s", at=1, gen_ai__response__id="msg_1", flyball__usage__web_searches=2)
    con = loaded(document(sdk, scope=SDK), document(server, scope="com.anthropic.claude-platform"))
    assert rows(con, "SELECT name, duplicate_of, web_searches FROM spans ORDER BY step") == [
        ("s", None, 2), ("p", span_id("s"), 2),
    ]  # fmt: skip


def test_two_retries_within_one_instrumentor_span_are_two_calls():
    con = loaded(
        document(model("o", lasts=5, gen_ai__usage__input_tokens=10, gen_ai__usage__output_tokens=1), scope="pydantic-ai"),
        document(
            span("first", parent="o", at=1, error="overloaded", gen_ai__operation__name="chat", gen_ai__request__model="claude-sonnet-4-5"),
            model("second", parent="o", at=3, gen_ai__usage__input_tokens=10, gen_ai__usage__output_tokens=1), scope=SDK,
        ),
    )  # fmt: skip
    assert rows(con, "SELECT name, duplicate_of FROM spans ORDER BY step") == [
        ("o", span_id("second")),
        ("first", None),
        ("second", None),
    ]


def test_side_by_side_reports_of_failed_calls_pair_up_in_order():
    """OpenLLMetry does not make its span current, so the SDK's is its sibling; a failed call has no response id and no usage."""

    def failed(name: str, at: float, lasts: float) -> Span:
        return span(
            name,
            parent="r",
            at=at,
            lasts=lasts,
            error="401",
            gen_ai__operation__name="chat",
            gen_ai__request__model="claude-sonnet-4-5",
        )

    con = loaded(
        document(span("r", lasts=20)),
        document(failed("o1", 1, 3), failed("o2", 5, 3), scope="opentelemetry.instrumentation.anthropic"),
        document(failed("i1", 1.5, 2), failed("i2", 5.5, 2), scope=SDK),
    )
    assert rows(con, "SELECT name, duplicate_of FROM spans WHERE kind = 'model' ORDER BY name") == [
        ("i1", None), ("i2", None), ("o1", span_id("i1")), ("o2", span_id("i2")),
    ]  # fmt: skip


def test_two_calls_of_one_library_with_equal_usage_are_two_calls():
    con = loaded(document(model("a", at=0, lasts=4), model("b", at=1), scope=SDK))
    assert rows(con, "SELECT count(*) FROM spans WHERE duplicate_of IS NULL") == [(2,)]


def test_a_tool_reported_by_runner_and_decorator_is_one_call():
    con = loaded(
        document(tool("o", lasts=3, gen_ai__tool__call__id="call_1"), scope=SDK),
        document(
            tool("i", parent="o", at=1, gen_ai__tool__call__arguments='{"q":1}', gen_ai__tool__call__result='"found"')
        ),
    )
    assert rows(con, "SELECT name, duplicate_of, call_key IS NOT NULL, result_key IS NOT NULL FROM spans ORDER BY step") == [
        ("o", None, True, True), ("i", span_id("o"), True, True),
    ]  # fmt: skip


def test_calls_known_only_from_messages_become_rows_with_their_results():
    result = [
        {"role": "user", "parts": [{"type": "tool_call_response", "id": "c1", "response": "Error: no such city"}]}
    ]
    con = loaded(document(
        agent("a", lasts=9),
        model("m1", parent="a", at=1, gen_ai__output__messages=answer(("c1", "weather", {"city": "X"}), ("c2", "wether", {})),
              gen_ai__tool__definitions='[{"name":"weather"}]'),
        model("m2", parent="a", at=3, gen_ai__input__messages=orjson.dumps(result).decode()),
    ))  # fmt: skip
    found = rows(
        con,
        "SELECT tool_name, turn, declared, failed, failure_inferred, result_key IS NOT NULL, agent_name "
        "FROM spans WHERE inferred ORDER BY step",
    )
    assert found == [("weather", 1, True, True, True, True, "a"), ("wether", 1, False, None, None, False, "a")]


def test_a_call_with_a_span_gets_no_second_row():
    con = loaded(document(
        model("m", gen_ai__output__messages=answer(("c1", "search", {}), ("c2", "fetch", {}))),
        tool("t1", at=2, gen_ai__tool__call__id="c1"), tool("t2", "fetch", at=3),
    ))  # fmt: skip
    assert rows(con, "SELECT count(*) FROM spans WHERE inferred") == [(0,)]


def test_a_pending_span_is_replaced_by_its_end_and_never_the_other_way_round():
    pending, ended = agent("a", lasts=None, flyball__pending=True), agent("a", lasts=5)
    for order in ((pending, ended), (ended, pending)):
        for alone in (False, True):
            con = loaded(*(document(s) for s in order), each_alone=alone)
            assert rows(con, "SELECT count(*), count(end_ns) FROM spans") == [(1, 1)]
    assert rows(loaded(document(pending)), "SELECT end_ns, failed FROM spans") == [(None, None)]


def test_the_same_file_twice_adds_nothing():
    doc = document(agent("a"), model("m", parent="a", at=1, gen_ai__output__messages=answer(("c", "search", {}))))
    once, twice = loaded(doc), loaded(doc, doc, each_alone=True)
    for table in ("spans", "contents", "tool_requests", "messages", "runs"):
        assert rows(once, f"SELECT count(*) FROM {table}") == rows(twice, f"SELECT count(*) FROM {table}"), table


@pytest.mark.parametrize("each_alone", [False, True])
def test_what_several_requests_and_reports_say_of_a_call_is_kept_once_and_the_first_counts(each_alone: bool):
    def said(name: str, at: float, result: str) -> Span:
        parts = [{"type": "tool_call_response", "id": "c1", "response": result}]
        sent = orjson.dumps([{"role": "user", "parts": parts}]).decode()
        asked = answer(("c1", "search", {"q": name}))
        return model(name, at=at, gen_ai__input__messages=sent, gen_ai__output__messages=asked)

    con = loaded(document(said("a", 1, "first")), document(said("b", 2, "left out")), each_alone=each_alone)
    assert rows(con, "SELECT tool_call_id, arguments FROM tool_requests") == [("c1", '{"q":"a"}')]
    assert rows(con, "SELECT tool_call_id, result_chars FROM tool_responses") == [("c1", 5)]


COLUMNS = (
    "run_id, step, turn, trace_id, span_id, kind, agent_name, failed, declared, duplicate_of, inferred, call_key, result_key, "
    "cost_usd, input_tokens"
)


TEXTS = (
    "SELECT trace_id, run_id, step, arguments, result FROM tool_texts('spans') JOIN spans USING (run_key, step) "
    "ORDER BY trace_id, run_id, step"
)


@settings(max_examples=6, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 6))
def test_any_order_in_any_number_of_loads_gives_the_same_rows(chance: random.Random, pieces: int):
    spans: list[tuple[str, Span]] = []
    for t in ("one", "two"):
        spans.append(("flyball", agent("a", trace=t, lasts=50)))
        for i in range(4):
            calls = [(f"{t}{i}", "search", {"q": i % 2})]
            usage = {"gen_ai__usage__input_tokens": 100 + i, "gen_ai__response__id": f"msg{t}{i}"}
            spans.append((SDK, model(f"m{i}", trace=t, parent="a", at=i * 5 + 1, **usage)))
            spans.append(
                (
                    "pydantic-ai",
                    model(
                        f"d{i}",
                        trace=t,
                        parent="a",
                        at=i * 5 + 0.9,
                        lasts=1.3,
                        gen_ai__output__messages=answer(*calls),
                        **usage,
                    ),
                )
            )
            if i % 2:
                spans.append(
                    (
                        "flyball",
                        tool(
                            f"t{i}",
                            trace=t,
                            parent="a",
                            at=i * 5 + 3,
                            gen_ai__tool__call__id=f"{t}{i}",
                            gen_ai__tool__call__result=f"r{i}",
                        ),
                    )
                )
    for t in ("one", "two"):
        parts = [{"type": "tool_call_response", "id": f"{t}{i}", "response": f"r{i}"} for i in range(4)]
        sent = orjson.dumps([{"role": "user", "parts": parts}]).decode()
        spans.append((SDK, model("last", trace=t, parent="a", at=30, gen_ai__input__messages=sent)))
    at_once = loaded(*(document(s, scope=c) for c, s in spans))
    chance.shuffle(spans)
    parts = [spans[i::pieces] for i in range(pieces)]
    con = loaded(
        *(
            d
            for part in parts
            for d in [
                document(*(s for c, s in part if c == scope), scope=scope) for scope in ("flyball", SDK, "pydantic-ai")
            ]
        ),
        each_alone=True,
    )
    for query in (f"SELECT {COLUMNS} FROM spans ORDER BY trace_id, run_id, step", TEXTS):
        assert rows(con, query) == rows(at_once, query)


def test_rows_lie_in_order_of_run_and_step():
    con = loaded(*(document(agent("a", trace=t), model("m", trace=t, parent="a", at=1)) for t in "cab"))
    assert rows(con, "SELECT run_key, step FROM spans") == sorted(rows(con, "SELECT run_key, step FROM spans"))


def test_a_tool_that_failed_and_was_not_in_the_last_request_was_not_declared():
    con = loaded(document(
        model("m", gen_ai__tool__definitions='[{"name":"search"}]'),
        tool("t1", "serach", at=2, error="unknown", gen_ai__tool__call__id="x"), tool("t2", "helper", at=3), tool("t3", at=4),
    ))  # fmt: skip
    assert rows(con, "SELECT tool_name, declared FROM spans WHERE kind = 'tool' ORDER BY step") == [
        ("serach", False),
        ("helper", None),
        ("search", True),
    ]


@pytest.mark.parametrize("levels", [2_000])
def test_a_deep_chain_of_parents_settles(levels: int):
    chain = [span(f"s{i}", parent=f"s{i - 1}" if i else None, at=i) for i in range(levels)]
    for i, s in enumerate(chain):
        s.spanId, s.parentSpanId = span_id(i + 1), span_id(i) if i else ""
    chain[0].attributes = agent("top").attributes
    con = loaded(document(*chain))
    assert rows(con, "SELECT count(DISTINCT run_key), max(step) FROM spans") == [(1, levels - 1)]
