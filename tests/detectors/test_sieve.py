"""What the database passes over as surely fitting does fit, whatever the schema and however the arguments are written."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.detectors.invalid_arguments.sieve import fitting
from instrument.runner.validation import check

NAMES = ("path", "limit", "it's", 'a"b', "x.y")
TEXT = st.sampled_from(["", "a", "b", "path", '"path":', "\\", '{"path":1}', "é\n", "1"])
SCALARS = st.one_of(TEXT, st.integers(-3, 3), st.sampled_from([0.5, 1.0, 1e30, 10**20]), st.booleans(), st.none())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
    max_leaves=4,
)
PLAIN = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object"]).map(
    lambda t: {"type": t}
)
BOUND = st.builds(
    lambda kind, word, least: {"type": kind, word: least},
    st.sampled_from(["integer", "number"]),
    st.sampled_from(["minimum", "exclusiveMinimum", "maximum"]),
    st.integers(-1, 1),
)
ENUM = st.lists(TEXT, min_size=1, max_size=3).map(lambda words: {"type": "string", "enum": words})


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas of objects whose properties are `inner`."""
    return st.builds(
        lambda properties, required, more: {
            "type": "object",
            "properties": properties,
            "required": required,
            **({"additionalProperties": False} if more else {}),
        },
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
        st.lists(st.sampled_from(NAMES), max_size=2, unique=True),
        st.booleans(),
    )


SPECS = st.recursive(
    PLAIN | BOUND | ENUM,
    lambda inner: (
        objects(inner)
        | inner.map(lambda spec: {"type": "array", "items": spec})
        | st.lists(inner, min_size=1, max_size=2).map(lambda specs: {"anyOf": specs})
    ),
    max_leaves=4,
)
GIVEN = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3)
WRITTEN = st.builds(
    lambda value, separators, ascii_: json.dumps(value, separators=separators, ensure_ascii=ascii_),
    GIVEN,
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " : ")]),
    st.booleans(),
)


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    """A database in memory."""
    return duckdb.connect()


def passed_over(con: duckdb.DuckDBPyConnection, schemas: list[Any], texts: list[str]) -> list[str]:
    """Those of the `texts` that surely fit each of the `schemas`."""
    sql = f"SELECT arguments FROM (SELECT 'read' AS tool_name, unnest(?::VARCHAR[]) AS arguments) WHERE {fitting({'read': schemas})}"
    return [text for (text,) in con.execute(sql, [texts]).fetchall()]


@settings(deadline=None, max_examples=60)
@given(schema=objects(SPECS), other=objects(SPECS), texts=st.lists(WRITTEN, min_size=1, max_size=8))
def test_what_is_passed_over_fits(con: duckdb.DuckDBPyConnection, schema: Any, other: Any, texts: list[str]) -> None:
    for schemas in ([schema], [schema, other]):
        for text in passed_over(con, schemas, texts):
            assert [check(s, json.loads(text)) for s in schemas] == [None] * len(schemas), text


TODO = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "done": {"type": "boolean"}},
    "required": ["text"],
}
SCHEMA = {
    "type": "object",
    "description": "Reads.",
    "properties": {
        "path": {"type": "string", "description": "It's a path."},
        "limit": {"type": "integer", "minimum": 1},
        "mode": {"type": "string", "enum": ["all lines", "count"]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "items": {"type": "array", "items": TODO},
    },
    "required": ["path"],
}


@pytest.mark.parametrize(
    "text",
    [
        '{"path": "a.py"}',
        '{"limit":10,"path":"it\'s \\"quoted\\" {,}"}',
        '{"path": "a", "mode": "all lines", "note": null}',
        '{"path": "", "items": [{"text": "x", "done": true}, {"text": "y"}]}',
    ],
)
def test_what_is_plain_is_passed_over(con: duckdb.DuckDBPyConnection, text: str) -> None:
    assert passed_over(con, [SCHEMA], [text]) == [text]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"path": 1}',
        '{"path": "a", "limit": 0}',
        '{"path": "a", "mode": "some"}',
        '{"path": "a", "more": 1}',
        '{"note": "\\"path\\":"}',
        '{"path": "a", "items": [{"done": true}]}',
        "[]",
        "",
        "path",
    ],
)
def test_what_may_not_fit_is_left_to_the_check(con: duckdb.DuckDBPyConnection, text: str) -> None:
    assert not passed_over(con, [SCHEMA], [text])


def test_a_name_required_outside_and_known_inside_is_left_to_the_check(con: duckdb.DuckDBPyConnection) -> None:
    inner = {"type": "object", "properties": {"path": {"type": "string"}}}
    schema = {"properties": {"path": {"type": "string"}, "in": inner}, "required": ["path"]}
    assert not passed_over(con, [schema], ['{"in": {"path":"a"}}'])


@pytest.mark.parametrize(
    "properties", [{"a": {"type": ["string"]}}, {"a": {"enum": [{}]}}, {"a": 1}, {"a": {"minimum": {}}}]
)
def test_schemas_that_are_hard_to_read_are_left_to_the_check(properties: Any) -> None:
    assert fitting({"read": [{"properties": properties, "required": ["a"]}]}) == "false"
    assert fitting({"read": [{"properties": properties, "required": [["a"]]}]}) == "false"


def test_a_schema_of_great_depth_is_left_to_the_check() -> None:
    deep: Any = {"type": "string"}
    for _ in range(5_000):
        deep = {"type": "array", "items": deep}
    assert fitting({"read": [{"properties": {"a": deep}, "required": ["a"]}]}) == "false"


def test_a_tool_that_nobody_declared_or_with_a_hostile_name_is_left_to_the_check(
    con: duckdb.DuckDBPyConnection,
) -> None:
    assert fitting({}) == fitting({"read' OR true --": [SCHEMA]}) == fitting({"read": [{"$ref": "#/x"}]}) == "false"
