"""The same call in two trees of one trace: libraries that know nothing of each other, and events beside spans."""

from __future__ import annotations

from typing import Any

import pytest

from instrument.otlp import Span, TracesData
from tests.store.build import agent, document, loaded, model, rows, span, span_id, tool

TRACING = "com.anthropic.claude_code.tracing"
EVENTS = "claude-code-events"
CALLS = "SELECT name, duplicate_of FROM spans WHERE kind IN ('model', 'tool') ORDER BY name"


def both(first: list[Span], second: list[Span]) -> TracesData:
    """Two libraries, each with an agent of its own around its spans."""
    one, other = document(agent("a", lasts=90), *first), document(agent("b", lasts=90), *second, scope="pydantic-ai")
    return TracesData([*one.resourceSpans, *other.resourceSpans])


def asked(name: str, parent: str, at: float, lasts: float = 2, **usage: int) -> Span:
    counts = {f"gen_ai__usage__{k}_tokens": v for k, v in ({"input": 181, "output": 6} | usage).items()}
    return model(name, parent=parent, at=at, lasts=lasts, **counts)


def events(cost_usd: float, **more: Any) -> TracesData:
    usage = {"gen_ai__usage__input_tokens": 127, "gen_ai__usage__output_tokens": 30}
    billed = {"flyball__cost_usd": cost_usd, "flyball__cost__source": "reported"}
    return document(
        model("e", at=1, lasts=2, gen_ai__response__id="req_1", **{**usage, **billed, **more}), scope=EVENTS
    )


def traced(**more: Any) -> TracesData:
    usage = {"input_tokens": 20, "cache_read_tokens": 100, "cache_creation_tokens": 7, "output_tokens": 30}
    facts = {"span__type": "llm_request", "model": "claude-opus-4-5", "gen_ai__response__id": "req_1", **usage}
    return document(span("m", at=1, lasts=2, **{**facts, **more}), scope=TRACING)


def test_calls_in_two_trees_are_counted_once_each() -> None:
    con = loaded(
        both(
            [asked("a1", "a", 1, 4), asked("a2", "a", 10, 4, input=215, output=25)],
            [asked("b1", "b", 2), asked("b2", "b", 11, input=215, output=25)],
        )
    )
    assert rows(con, CALLS) == [("a1", None), ("a2", None), ("b1", span_id("a1")), ("b2", span_id("a2"))]
    assert rows(con, "SELECT sum(input_tokens) FROM spans WHERE duplicate_of IS NULL") == [(396,)]


def test_parallel_calls_of_the_same_size_stay_as_many_as_one_library_tells_of() -> None:
    con = loaded(
        both(
            [asked(f"a{n}", "a", 1 + n / 10) for n in range(3)], [asked(f"b{n}", "b", 1.05 + n / 10) for n in range(3)]
        )
    )
    assert rows(con, CALLS) == [(f"a{n}", None) for n in range(3)] + [(f"b{n}", span_id(f"a{n}")) for n in range(3)]


def test_a_call_that_one_library_missed_does_not_put_the_others_out_of_step() -> None:
    con = loaded(both([asked(f"a{n}", "a", n * 5) for n in (0, 2, 3)], [asked(f"b{n}", "b", n * 5) for n in range(4)]))
    found = dict(rows(con, CALLS))
    assert found == {"a0": None, "a2": None, "a3": None, "b1": None} | {f"b{n}": span_id(f"a{n}") for n in (0, 2, 3)}


@pytest.mark.parametrize(
    "other",
    [
        asked("b1", "b", 9),
        asked("b1", "b", 1, output=7),
        model("b1", parent="b", at=1, gen_ai__request__model="gpt-5", gen_ai__usage__input_tokens=181, gen_ai__usage__output_tokens=6),
    ],
    ids=["at another time", "of another size", "of another model"],
)  # fmt: skip
def test_other_calls_are_other_calls(other: Span) -> None:
    assert rows(loaded(both([asked("a1", "a", 1)], [other])), CALLS) == [("a1", None), ("b1", None)]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("cut", [{}, {"gen_ai__usage__output_tokens": None}], ids=["whole", "tokens cut"])
def test_a_cost_that_one_report_states_stands_over_the_price_list(order: int, cut: dict[str, Any]) -> None:
    con = loaded(*[events(0.25, **cut), traced()][::order], each_alone=True)
    found = rows(
        con, "SELECT name, input_tokens, output_tokens, cost_usd, price_source FROM spans WHERE duplicate_of IS NULL"
    )
    assert found == [("m", 127, 30, 0.25, "reported")]


def test_a_tool_call_of_events_and_spans_is_one() -> None:
    spans = [
        span("by id", at=1, lasts=1, span__type="tool", tool_name="Bash", tool_use_id="c1"),
        span("by time", at=5, lasts=0.01, span__type="tool", tool_name="Read"),
        span("spans alone", at=9, lasts=1, span__type="tool", tool_name="Read"),
    ]
    told = [
        tool("id", "Bash", at=1.5, lasts=1, gen_ai__tool__call__id="c1"),
        tool("time", "Read", at=5.05, lasts=0.01),
        tool("events alone", "Read", at=20, lasts=1),
    ]
    con = loaded(document(*spans, scope=TRACING), document(*told, scope=EVENTS))
    assert dict(rows(con, CALLS)) == {
        "by id": None, "by time": None, "spans alone": None, "events alone": None,
        "id": span_id("by id"), "time": span_id("by time"),
    }  # fmt: skip


def test_parallel_tool_calls_pair_up_and_two_ids_are_two_calls() -> None:
    spans = [span(f"s{n}", at=1, lasts=1, span__type="tool", tool_name="Read") for n in range(3)]
    con = loaded(
        document(*spans, scope=TRACING), document(*[tool(f"t{n}", "Read", at=1) for n in range(3)], scope=EVENTS)
    )
    assert rows(con, "SELECT count(*), count(DISTINCT duplicate_of) FROM spans WHERE kind = 'tool'") == [(6, 3)]
    ids = [
        document(span("s", at=1, span__type="tool", tool_name="Read", tool_use_id="c1"), scope=TRACING),
        document(tool("t", "Read", at=1, gen_ai__tool__call__id="c2"), scope=EVENTS),
    ]
    assert rows(loaded(*ids), CALLS) == [("s", None), ("t", None)]
