"""Inputs against schemas: what the model is told, and what cannot be judged."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrument import sameness
from instrument.runner.validation import check

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "path": {"type": "string", "minLength": 1},
        "lines": {"type": "integer", "minimum": 1, "maximum": 100},
        "mode": {"enum": ["read", "write"]},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "where": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "code": {"type": "string", "pattern": "^[A-Z]+$"},
        "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "version": {"const": 2},
    },
    "required": ["path"],
    "additionalProperties": False,
}


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("given_", "problem"),
    [
        ({"path": "a"}, None),
        ({"path": "a", "lines": 5, "mode": "read", "tags": ["x"], "limit": None, "where": {"city": "Graz"}}, None),
        ({}, '"path" is missing'),
        ({"path": 3}, '"path" must be string, not an integer 3'),
        ({"path": None}, '"path" must be string, not null'),
        ({"path": ["a", "b"]}, '"path" must be string, not an array of 2'),
        ({"path": True}, '"path" must be string, not a boolean true'),
        ({"path": ""}, '"path" must have at least 1 characters, not a string ""'),
        ({"path": "a", "lines": "5"}, '"lines" must be integer, not a string "5"'),
        ({"path": "a", "lines": 5.5}, '"lines" must be integer, not a number 5.5'),
        ({"path": "a", "lines": 0}, '"lines" must be at least 1, not an integer 0'),
        ({"path": "a", "lines": 101}, '"lines" must be at most 100, not an integer 101'),
        ({"path": "a", "lines": float("nan")}, '"lines" must be integer, not a number nan'),
        ({"path": "a", "mode": "delete"}, '"mode" must be one of "read", "write", not a string "delete"'),
        ({"path": "a", "tags": ["x", 3]}, '"tags[1]" must be string, not an integer 3'),
        ({"path": "a", "tags": ["x"] * 3}, '"tags" must have at most 2 items, not an array of 3'),
        ({"path": "a", "limit": "all"}, '"limit" must be integer or null, not a string "all"'),
        ({"path": "a", "where": {}}, '"where.city" is missing'),
        ({"path": "a", "code": "abc"}, '"code" must match the pattern "^[A-Z]+$", not a string "abc"'),
        ({"path": "a", "share": 1}, '"share" must be below 1, not an integer 1'),
        ({"path": "a", "share": 0}, '"share" must be above 0, not an integer 0'),
        ({"path": "a", "version": 1}, '"version" must be 2, not an integer 1'),
        (
            {"path": "a", "pth": "b"},
            '"pth" does not exist (there are: path, lines, mode, tags, limit, where, code, share, …)',
        ),
        ("path", 'the input must be object, not a string "path"'),
        (None, "the input must be object, not null"),
        ([1], "the input must be object, not an array of 1"),
    ],
    ids=range(26),
)
def test_what_does_not_fit_is_said(given_: Any, problem: str | None) -> None:
    assert check(SCHEMA, given_) == problem


def test_three_problems_are_told_and_the_rest_counted() -> None:
    problem = check(SCHEMA, {"lines": "x", "mode": 3, "tags": 1, "code": 2, "share": 5})
    assert problem is not None
    assert problem.count(" must be ") + problem.count(" is missing") == 3
    assert problem.endswith("; and 3 more")


def test_the_text_is_short_and_on_one_line_whatever_the_names_are() -> None:
    hostile = {f'x"\n\u202e\ud800\x00</tool>{i}' + "y" * 1_000: 1 for i in range(50)}
    problem = check(SCHEMA, {"path": "a", **hostile})
    assert problem is not None
    assert len(problem) <= 500
    assert not any(mark in problem for mark in "\n\u202e\ud800\x00")
    assert problem.encode()
    long_path: dict[str, Any] = {"type": "object", "properties": {"n" * 5_000: {"type": "string"}}}
    assert len(check(long_path, {"n" * 5_000: 3}) or "") < 200


def test_a_union_says_what_is_wrong_with_the_nearest_branch() -> None:
    circle = {"type": "object", "properties": {"radius": {"type": "number"}}, "required": ["radius"]}
    schema = {"type": "object", "properties": {"shape": {"oneOf": [{"type": "string"}, circle]}}}
    assert check(schema, {"shape": {"radius": "big"}}) == '"shape.radius" must be number, not a string "big"'


def test_references_inside_a_schema_are_followed() -> None:
    schema = {
        "type": "object",
        "$defs": {"City": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}},
        "properties": {"city": {"$ref": "#/$defs/City"}},
    }
    assert check(schema, {"city": {"name": "Graz"}}) is None
    assert check(schema, {"city": {}}) == '"city.name" is missing'


def test_the_draft_that_a_schema_names_is_followed() -> None:
    pair = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {"p": {"items": [{}, {"type": "string"}]}},
    }
    assert check(pair, {"p": [1, 2]}) == '"p[1]" must be string, not an integer 2'


def test_nothing_is_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        asked: list[object] = []

        def listen() -> None:
            with contextlib.suppress(TimeoutError):
                asked.append(server.accept())

        listening = threading.Thread(target=listen)
        listening.start()
        remote = {"$ref": f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"}
        schema = {"type": "object", "properties": {"a": remote, "b": {"type": "string"}}, "required": ["b"]}
        assert check(schema, {"a": 1, "b": "x"}) is None
        # What lies elsewhere cannot be judged; what lies here can.
        assert check({**schema, "properties": {"b": {"type": "string"}, "a": remote}}, {"a": 1, "b": 3}) == (
            '"b" must be string, not an integer 3'
        )
        listening.join()
        assert asked == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": 3},
        {"type": "no such type"},
        {"properties": []},
        {"properties": {"path": 7}},
        {"required": "path"},
        {"type": "object", "properties": {"path": {"pattern": "("}}},
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"$schema": 5},
        {"allOf": {"x": 1}},
        {"minProperties": "many"},
        {"enum": 3},
        {},
    ],
    ids=range(13),
)
def test_a_schema_that_cannot_be_followed_lets_the_call_through(schema: dict[str, Any]) -> None:
    assert check(schema, {"path": "a"}) is None


def test_no_schema_no_problem() -> None:
    assert check(None, {"anything": 1}) is None


@pytest.mark.parametrize(
    ("given_", "problem"),
    [
        ({"path": 10**5_000}, '"path" must be string, not an integer of more than 300 digits'),
        ({"path": "a", "lines": 10**5_000}, '"lines" must be at most 100, not an integer of more than 300 digits'),
        ({"path": nested(10_000)}, '"path" must be string, not an array of 1'),
        ({"path": "a", "tags": nested(10_000)}, '"tags[0]" must be string, not an array of 1'),
        ({"path": "a", "lines": "9" * 5_000_000}, '"lines" must be integer, not a string "' + "9" * 59 + '…"'),
        ({1: 2, "path": "a"}, '"1" does not exist'),
        ({"path": "a", "lines": float("inf")}, '"lines" must be integer, not a number inf'),
        ({"path": object()}, '"path" must be string, not object <object object'),
    ],
    ids=range(8),
)
def test_odd_inputs_are_judged(given_: Any, problem: str) -> None:
    assert (check(SCHEMA, given_) or "").startswith(problem)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
KEYWORDS = [
    "type",
    "properties",
    "required",
    "items",
    "enum",
    "minimum",
    "anyOf",
    "$ref",
    "pattern",
    "additionalProperties",
    "not",
]


@given(JSON, st.dictionaries(st.sampled_from(KEYWORDS), JSON))
def test_whatever_schema_and_input_are_nothing_is_raised(given_: Any, schema: dict[str, Any]) -> None:
    problem = check(schema, given_)
    assert problem is None or 0 < len(problem.encode()) <= 2_000


@pytest.mark.parametrize(
    ("given_", "null"),
    [
        ({"a": None, "b": "", "c": [], "d": {}}, True),
        ({"a": ""}, True),
        ({}, False),
        ({"a": "", "b": 0}, False),
        ({"a": False}, False),
        ({"a": " "}, False),
        ({"a": [None]}, False),
        (None, False),
        ("", False),
        ([], False),
    ],
    ids=range(10),
)
def test_arguments_that_are_all_empty(given_: Any, null: bool) -> None:
    assert sameness.is_null_input(given_) is null
