"""`instrument.messages`: the API's rules for a list of messages, and repairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conversations import IMAGE, assistant, conversations, result, text, tool_use, user
from hypothesis import given
from hypothesis import strategies as st

from instrument.messages import INTERRUPTED, problems, repaired, turns, unmarked
from instrument.testing import load_exchanges, recorded_exchanges

SHARED = Path(__file__).parents[2] / "shared" / "traces" / "anthropic_http" / "anthropic_http.jsonl"
# Its result belongs to another call than the one before it: put together by hand.
MADE_UP = "anthropic_completion_tools_call_with_tool_result_stream"

THINKING = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
SERVER_USE = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
SERVER_RESULT = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
MARK = {"cache_control": {"type": "ephemeral"}}

VALID = {
    "one prompt": [user("Hi")],
    "two prompts in a row, which the API joins": [user("Hi"), user("there")],
    "a system message after the user": [user("Hi"), {"role": "system", "content": "Be brief."}],
    "results in two user messages in a row": [
        user("Hi"),
        assistant(tool_use("a"), tool_use("b")),
        user(result("a")),
        user(result("b"), text("Go on.")),
    ],
    "an empty answer at the end": [user("Hi"), assistant()],
    "white space beside something else": [user("Hi"), assistant(text(" "), tool_use("a")), user(result("a"))],
    "an empty result": [user("Hi"), assistant(tool_use("a")), user(result("a", ""))],
    "a pause of a server tool": [user("Hi"), assistant(SERVER_USE)],
    "a pause that goes on": [user("Hi"), assistant(SERVER_USE), assistant(SERVER_RESULT, text("Found."))],
    "a server tool at work beside ours": [user("Hi"), assistant(SERVER_USE, tool_use("a")), user(result("a"))],
    "four markers": [user(*({**text("Hi"), **MARK} for _ in range(4)))],
    "an id again in a later turn": [user("Hi"), *[assistant(tool_use("a")), user(result("a"))] * 2],
    "an assistant that speaks first": [assistant("Hello!"), user("Hi")],
}
REFUSED: dict[str, tuple[list[dict[str, Any]], str]] = {
    "nothing": ([], "no message"),
    "unknown role": ([user("Hi"), {"role": "tool", "content": "x"}], "the role 'tool'"),
    "system first": ([{"role": "system", "content": "x"}, user("Hi")], "does not follow a user message"),
    "system after the assistant": ([user("Hi"), assistant("x"), {"role": "system", "content": "y"}], "does not follow"),
    "no content": ([{"role": "user"}], "has no content"),
    "empty text": ([user("")], "empty"),
    "empty list": ([user("Hi"), assistant(), user("x")], "empty content"),
    "empty block": ([user(text("Hi"), text(""))], "empty text"),
    "white space": ([user(" \n")], "nothing but white space"),
    "empty block in a result": ([user("Hi"), assistant(tool_use("a")), user(result("a", [text("")]))], "empty text"),
    "white space at the end": ([user("Hi"), assistant("Well, ")], "ends in white space"),
    "no result": ([user("Hi"), assistant(tool_use("a")), user("x")], "has no result"),
    "no result at the end": ([user("Hi"), assistant(tool_use("a"))], "no message follows"),
    "one of two results": ([user("Hi"), assistant(tool_use("a"), tool_use("b")), user(result("a"))], "asks for b"),
    "a late result": (
        [user("Hi"), assistant(tool_use("a")), user("x"), assistant("y"), user(result("a"))],
        "result for a",
    ),
    "results not first": (
        [user("Hi"), assistant(tool_use("a")), user(text("x"), result("a"))],
        "before its tool results",
    ),
    "two results": ([user("Hi"), assistant(tool_use("a")), user(result("a"), result("a"))], "a second one"),
    "an id twice": ([user("Hi"), assistant(tool_use("a"), tool_use("a")), user(result("a"))], "one id"),
    "a call by the user": ([user(tool_use("a")), user(result("a"))], "not the assistant's"),
    "a result by the assistant": ([user("Hi"), assistant(result("a"))], "not in a user message"),
    "thinking of the user": ([user(THINKING, text("x"))], "only the assistant"),
    "unsigned thinking": ([user("Hi"), assistant({"type": "thinking", "thinking": "x"}, text("y"))], "signature"),
    "thinking at the end": ([user("Hi"), assistant(text("x"), THINKING), user("y")], "ends in thinking"),
    "a server tool without result": ([user("Hi"), assistant(SERVER_USE, text("x")), user("y")], "without its result"),
    "a server result without call": ([user("Hi"), assistant(SERVER_RESULT, text("x"))], "not before it"),
    "five markers": ([user(*({**text("Hi"), **MARK} for _ in range(5)))], "5 blocks have cache_control"),
    "a marked thought": ([user("Hi"), assistant({**THINKING, **MARK}, text("x"))], "thinking block or an empty text"),
}


@pytest.mark.parametrize("name", VALID)
def test_what_the_api_accepts_has_no_problems_and_needs_no_repair(name: str) -> None:
    assert problems(VALID[name]) == []
    assert repaired(VALID[name]) == VALID[name]


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_api_refuses_is_named(name: str) -> None:
    messages, why = REFUSED[name]
    assert any(why in problem for problem in problems(messages)), problems(messages)


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_api_refuses_is_repaired(name: str) -> None:
    messages, _ = REFUSED[name]
    before = json.dumps(messages)
    assert not repaired(messages) or problems(repaired(messages)) == []
    assert json.dumps(messages) == before


def test_tool_blocks_need_tools_in_the_request() -> None:
    messages = [user("Hi"), assistant(tool_use("a")), user(result("a"))]
    assert problems(messages) == []
    assert "declares no tools" in problems(messages, tools=False)[0]


def test_recorded_requests_that_were_accepted_have_no_problems() -> None:
    checked = 0
    for exchange in (*recorded_exchanges(), *(load_exchanges(SHARED) if SHARED.exists() else ())):
        body = exchange.request_body
        accepted = exchange.endpoint == "/v1/messages" and exchange.status == 200 and isinstance(body, dict)
        if accepted and MADE_UP not in exchange.source:
            assert problems(body["messages"], tools=bool(body.get("tools") or body.get("mcp_servers"))) == [], (
                exchange.source
            )
            assert repaired(body["messages"]) == body["messages"]
            checked += 1
    assert checked >= 10


def test_an_unanswered_call_is_answered_as_interrupted_before_what_was_said_next() -> None:
    messages = [user("Hi"), assistant(tool_use("a"), tool_use("b")), user(result("b", "found"), text("Go on."))]
    failed = {"type": "tool_result", "tool_use_id": "a", "is_error": True, "content": INTERRUPTED}
    assert repaired(messages) == [*messages[:2], user(result("b", "found"), failed, text("Go on."))]
    assert repaired(messages[:2])[2]["content"][0] == failed


def test_what_a_result_without_its_call_says_is_kept() -> None:
    assert repaired([user("Hi"), user(result("a", [text("seen"), IMAGE]))]) == [user("Hi"), user(text("seen"), IMAGE)]


def test_a_turn_is_an_answer_and_what_answers_its_tools() -> None:
    messages = [
        user("Hi"),
        assistant(SERVER_USE),
        assistant(SERVER_RESULT, tool_use("a"), tool_use("b")),
        user(result("a")),
        user(result("b")),
        assistant("Done."),
        user("Next"),
        assistant("Yes."),
    ]
    assert turns(messages) == [slice(1, 5), slice(5, 6), slice(7, 8)]


def test_markers_are_taken_off_at_any_depth() -> None:
    inner = result("a", [{**text("x"), **MARK}], **MARK)
    assert unmarked(user(inner)) == user(result("a", [text("x")]))


@given(conversations())
def test_generated_conversations_are_valid_and_need_no_repair(messages: list[dict[str, Any]]) -> None:
    assert problems(messages) == []
    assert repaired(messages) == messages


@given(conversations(), st.data())
def test_a_conversation_cut_anywhere_is_made_valid_and_stays_so(
    messages: list[dict[str, Any]], data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(messages)))
    broken = messages[start : data.draw(st.integers(start, len(messages)))]
    for _ in range(data.draw(st.integers(0, 3)) if broken else 0):
        at = data.draw(st.integers(0, len(broken) - 1))
        content = broken[at]["content"]
        if isinstance(content, list) and content:
            gone = data.draw(st.integers(0, len(content) - 1))
            damaged = [
                *content[:gone],
                *data.draw(st.sampled_from([[], [text("")], [text(" ")], [THINKING]])),
                *content[gone + 1 :],
            ]
            broken = [*broken[:at], {**broken[at], "content": damaged}, *broken[at + 1 :]]
    fixed = repaired(broken)
    assert not fixed or problems(fixed) == []
    assert repaired(fixed) == fixed
