"""What a tool was asked and what it answered, wherever it was recorded; long texts are kept once."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from instrument import sameness
from instrument.otlp import Span
from tests.store.build import answer, document, loaded, model, rows, tool

TEXTS = "SELECT arguments, result FROM tool_texts('spans')"


def sent_back(call: str, response: Any, *, at: float = 3, **more: Any) -> Span:
    """The request that carries the result of `call` back to the model."""
    parts = [{"type": "tool_call_response", "id": call, "response": response}]
    sent = orjson.dumps([{"role": "user", "parts": parts}]).decode()
    return model("m2", at=at, gen_ai__input__messages=sent, **more)


def call(result: str | None = None, call_id: str = "c1") -> Span:
    said = {"gen_ai__tool__call__arguments": '{"q": 1}', "gen_ai__tool__call__result": result}
    return tool("t", at=2, gen_ai__tool__call__id=call_id, **(said if result is not None else {}))


def test_a_result_that_a_message_holds_is_kept_once():
    con = loaded(document(call("found it"), sent_back("c1", "found it")))
    assert rows(con, "SELECT result, result_message_key IS NOT NULL FROM contents WHERE arguments IS NOT NULL") == [
        (None, True)
    ]
    assert rows(con, TEXTS) == [('{"q": 1}', "found it")]


@pytest.mark.parametrize("order", [1, -1])
def test_a_message_in_another_load_changes_nothing(order: int):
    documents = [document(call("found it")), document(sent_back("c1", "found it"))][::order]
    assert rows(loaded(*documents, each_alone=True), TEXTS) == [('{"q": 1}', "found it")]


def test_without_a_message_the_span_keeps_its_result():
    assert rows(loaded(document(call("found it"))), TEXTS) == [('{"q": 1}', "found it")]


@pytest.mark.parametrize(
    "other",
    [
        sent_back("c1", "found it, in short"),
        sent_back("c2", "found it"),
        sent_back("c1", "found it", trace="other"),
        sent_back("c1", " found it"),
    ],
)
def test_another_text_call_or_trace_is_no_reason_to_leave_the_result_out(other: Span):
    con = loaded(document(call("found it"), other))
    assert rows(con, "SELECT result FROM contents WHERE arguments IS NOT NULL") == [("found it",)]
    assert rows(con, f"{TEXTS} WHERE arguments IS NOT NULL") == [('{"q": 1}', "found it")]


def test_a_result_cut_short_in_a_later_request_stays_whole():
    later = sent_back("c1", "[old result left out]", at=9)
    con = loaded(document(call("found it"), sent_back("c1", "found it"), later))
    assert rows(con, TEXTS) == [('{"q": 1}', "found it")]


def test_a_span_without_content_has_that_of_the_messages_around_it():
    con = loaded(
        document(
            model("m", gen_ai__output__messages=answer(("c1", "search", {"q": 1}))), call(), sent_back("c1", "found it")
        )
    )
    assert rows(con, TEXTS) == [('{"q":1}', "found it")]


def test_a_call_known_only_from_messages_has_its_texts():
    con = loaded(
        document(model("m", gen_ai__output__messages=answer(("c1", "search", {"q": 1}))), sent_back("c1", "found it"))
    )
    assert rows(
        con, "SELECT inferred, arguments, result FROM tool_texts('spans') JOIN spans USING (run_key, step)"
    ) == [(True, '{"q":1}', "found it")]


BLOCKS = st.lists(
    st.builds(lambda t: {"type": "text", "text": t}, st.text()) | st.just({"type": "image", "source": "x"}), max_size=3
)
NUMBERS = st.integers(-(2**53), 2**53)
RESULTS = st.text() | BLOCKS | st.dictionaries(st.text(), NUMBERS | st.text(), max_size=2) | NUMBERS | st.booleans()


@settings(max_examples=40, deadline=None)
@given(RESULTS)
@example('["looks like JSON"]')
@example('"quoted"')
@example([])
@example([{"type": "text", "text": "Error: a"}, {"type": "text", "text": "b"}])
def test_the_text_comes_back_to_the_letter(result: Any):
    recorded = result if isinstance(result, str) else orjson.dumps(result, option=orjson.OPT_NON_STR_KEYS).decode()
    con = loaded(document(call(recorded), sent_back("c1", result)))
    assert rows(con, "SELECT result FROM tool_texts('spans')") == [(sameness.result_text(recorded) or "",)]


@pytest.mark.parametrize(
    "body", ['[{"role": "user", "parts": [{"type": "text", "content": "\\ud83d"}]}]', "[1, {", '["\\ud83d"]']
)
def test_messages_that_are_no_proper_json_are_kept(body: str):
    con = loaded(document(model("m", gen_ai__input__messages=body), call("found it")))
    assert rows(con, "SELECT count(*) FROM messages") == [(1,)]
    assert rows(con, TEXTS) == [('{"q": 1}', "found it")]
