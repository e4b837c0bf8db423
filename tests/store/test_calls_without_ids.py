"""Tool spans without a call id (OpenLLMetry) are linked to the request for a tool of that name, and what was cut off is known."""

from typing import Any

import orjson
import pytest

from instrument.otlp import Span
from instrument.store.clipping import is_cut
from tests.store.build import agent, answer, document, loaded, model, rows, tool


def _asks(name: str, wanted: str, declared: list[str] | None, **more: Any) -> Span:
    tools = {} if declared is None else {"gen_ai__tool__definitions": orjson.dumps([{"name": n} for n in declared])}
    facts = {k: v.decode() for k, v in tools.items()}
    return model(name, gen_ai__output__messages=answer((f"id-{name}", wanted, {})), **facts, **more)


def _declared(*spans: Span, each_alone: bool = False) -> dict[str, bool | None]:
    con = loaded(*([document(s) for s in spans] if each_alone else [document(*spans)]), each_alone=each_alone)
    return dict(rows(con, "SELECT name, declared FROM spans WHERE kind = 'tool' AND NOT inferred"))


@pytest.mark.parametrize("each_alone", [False, True])
def test_the_last_request_for_that_name_says_whether_it_was_declared(each_alone: bool) -> None:
    assert _declared(
        agent("a", lasts=20),
        _asks("m1", "serch", ["search"], parent="a", at=1),
        tool("t1", "serch", parent="a", at=2.5),
        _asks("m2", "serch", ["search", "serch"], parent="a", at=5),
        tool("t2", "serch", parent="a", at=6.5),
        each_alone=each_alone,
    ) == {"t1": False, "t2": True}


def test_a_request_of_another_agent_or_another_tool_or_a_later_time_says_nothing() -> None:
    assert _declared(
        agent("a", lasts=20),
        agent("b", parent="a", at=1, lasts=15),
        _asks("m1", "serch", ["search"], parent="b", at=2),
        tool("t1", "serch", parent="a", at=4),
        _asks("m2", "look", ["search"], parent="a", at=5),
        tool("t2", "peek", parent="a", at=7),
        tool("t3", "late", parent="a", at=8),
        _asks("m3", "late", ["search"], parent="a", at=9),
    ) == {"t1": None, "t2": None, "t3": None}


def test_where_a_request_does_not_tell_its_tools_nothing_is_known() -> None:
    spans = [agent("a", lasts=9), _asks("m1", "serch", None, parent="a", at=1), tool("t1", "serch", parent="a", at=3)]
    assert _declared(*spans) == {"t1": None}


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ('{"a": 1}', False),
        ('{"a": 1}\n', False),
        ('{"a": "xxx', True),
        ('[{"role": "user", "par', True),
        ('["a", "b"]', False),
        ("[INFO] all went well", False),
        ("{ braces } of a text", False),
        ("words", False),
        ("", False),
        (None, False),
    ],
)
def test_json_that_does_not_end_was_cut_off(text: str | None, cut: bool) -> None:
    assert is_cut(text) is cut


def test_an_answer_that_was_cut_off_is_neither_words_nor_a_number_of_calls() -> None:
    whole = answer(("1", "search", {"q": "x" * 50}), text="I look it up.")
    con = loaded(
        document(model("m", gen_ai__output__messages=whole), model("n", gen_ai__output__messages=whole[:60], at=2))
    )
    found = rows(con, "SELECT name, content_state, output_chars, requested_calls FROM spans WHERE kind = 'model'")
    assert sorted(found) == [("m", "full", 13, 1), ("n", "clipped", None, None)]


def test_null_input_is_known_from_spans_and_from_requests() -> None:
    con = loaded(
        document(
            agent("a", lasts=9),
            model(
                "m", gen_ai__output__messages=answer(("1", "search", {"q": ""}), ("2", "look", {"q": "x"})), parent="a"
            ),
            tool("t", "read", gen_ai__tool__call__arguments='{"path": null, "more": []}', parent="a", at=2),
            tool("u", "read", parent="a", at=3),
        )
    )
    found = rows(con, "SELECT tool_name, null_input FROM spans WHERE kind = 'tool' ORDER BY start_ns")
    assert found == [("search", True), ("look", False), ("read", True), ("read", None)]
