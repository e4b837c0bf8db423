"""Declarations of all makes, and the quick yes, which may never say yes where the schema says no."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.cases import Case, load, rejected_call, says, tool_call
from analyzer.detectors.invalid_arguments.schemas import Schema, schemas_of
from analyzer.findings import State
from analyzer.run import judge
from instrument.runner.validation import check

_BODY = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "search", "input_schema": _BODY},
        {"type": "function", "name": "search", "parameters": _BODY},
        {"type": "function", "function": {"name": "search", "parameters": _BODY}},
        {"name": "search", "parameters": orjson.dumps(_BODY).decode()},
        {"name": "search", "inputSchema": _BODY},
        orjson.dumps({"type": "function", "name": "search", "inputSchema": _BODY}).decode(),
    ],
)
def test_declarations_of_all_makes_give_their_schema(tool: Any) -> None:
    (schema,) = schemas_of(orjson.dumps([tool]).decode()).values()
    assert schema.problem({"q": "x"}) is None
    assert schema.problem({}) == '"q" is missing'


@pytest.mark.parametrize(
    "definitions", ["", "null", '["search"]', '[{"name": 1}]', '[{"name": "search"}]', '[{"name":', "[[]]"]
)
def test_declarations_without_schemas_give_none(definitions: str) -> None:
    assert schemas_of(definitions) == {}


def test_a_tool_declared_twice_in_two_ways_is_not_judged() -> None:
    twice = [{"name": "search", "input_schema": _BODY}, {"name": "search", "input_schema": {"type": "object"}}]
    assert schemas_of(orjson.dumps(twice).decode()) == {}


_PROPERTIES: list[Any] = [
    {"type": "string"},
    {"type": "integer"},
    {"type": "number", "description": "how many"},
    {"type": "boolean"},
    {"type": ["string", "null"]},
    {"type": "integer", "minimum": 3},
    {"type": "string", "enum": ["a", "b"]},
    {"enum": ["a", 1]},
    {"type": "array", "items": {"type": "string"}},
    {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    {},
    True,
    False,
]
_VALUES: list[Any] = ["a", "", 1, 5, 1.0, 2.5, True, None, ["a"], [1], {"x": 1}]
_NAMES = st.sampled_from(["p", "q", "r"])


@given(
    st.dictionaries(_NAMES, st.sampled_from(_PROPERTIES)),
    st.lists(_NAMES, unique=True),
    st.sampled_from([{}, {"additionalProperties": False}, {"minProperties": 1}, {"not": {}}]),
    st.dictionaries(_NAMES, st.sampled_from(_VALUES)),
)
def test_the_quick_yes_is_never_wrong(
    properties: dict[str, Any], required: list[str], more: dict[str, Any], given_: dict[str, Any]
) -> None:
    body = {"type": "object", "properties": properties, "required": required, **more}
    assert Schema(body).problem(given_) == check(body, given_)


@pytest.mark.parametrize("value", _VALUES, ids=repr)
@pytest.mark.parametrize("wanted", _PROPERTIES, ids=repr)
def test_the_quick_yes_is_right_about_each_kind_of_value(wanted: Any, value: Any) -> None:
    body = {"type": "object", "properties": {"p": wanted}}
    assert Schema(body).problem({"p": value}) == check(body, {"p": value})


def test_of_hashed_content_only_what_was_refused_is_seen() -> None:
    refused = [rejected_call("book", {"n": n}, "refused", why="invalid_arguments") for n in range(3)]
    fine = [tool_call("book", {"n": n}, f"booked {n}") for n in range(3)]
    con = load([Case("hashed", [*refused, *fine, says("That is all.")], [])], "hashed")
    report = judge(con, select=["invalid_arguments"])
    assert [f.evidence["repeats"] for f in report.findings] == [3]
    (outcome,) = report.outcomes
    assert (outcome.state, outcome.known) == (State.PARTIAL, 0.5)
