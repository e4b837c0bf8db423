"""Return values of tools as the model reads them."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import tracemalloc
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrument.runner.content import as_content, only_text

TEXT = {"type": "text", "text": "hello"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
FOUND = {"type": "search_result", "source": "s", "title": "t", "content": [TEXT]}


@dataclasses.dataclass
class Point:
    x: int
    name: str = "p"


class Model(pydantic.BaseModel):
    when: datetime.date
    points: list[int]


class Colour(enum.StrEnum):
    RED = "red"


class Liar(str):
    def __str__(self) -> str:
        raise RuntimeError

    def encode(self, *_: Any) -> bytes:  # type: ignore[override]
        raise RuntimeError

    def isascii(self) -> bool:
        raise RuntimeError


class Broken(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        raise RuntimeError

    def values(self) -> Any:
        raise RuntimeError

    def __iter__(self) -> Any:
        raise RuntimeError

    def get(self, *_: Any) -> Any:
        raise RuntimeError


class Wide:
    def __repr__(self) -> str:
        return "wide" * 1_000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (" \n", " \n"),
        (Liar("liar"), "liar"),
        (Colour.RED, "red"),
        (True, "true"),
        (3, "3"),
        (1.5, "1.5"),
        (float("inf"), "inf"),
        (2**70, str(2**70)),
        ([], "[]"),
        ({}, "{}"),
        ([1, "a", None], '[1,"a",null]'),
        ((1, 2), "[1,2]"),
        ({"b": 1, "a": "é"}, '{"b":1,"a":"é"}'),
        ({1: 2}, '{"1":2}'),
        ({3, 1}, '["1","3"]'),
        (frozenset({"b", "a"}), '["a","b"]'),
        (Point(1), '{"x":1,"name":"p"}'),
        ([Point(1)], '[{"x":1,"name":"p"}]'),
        (Model(when=datetime.date(2026, 1, 2), points=[1]), '{"when":"2026-01-02","points":[1]}'),
        (Decimal("1.50"), "1.50"),
        ([Decimal("1.50")], '["1.50"]'),
        (Path("/a/b"), "/a/b"),
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), "2026-01-02T00:00:00+00:00"),
        (np.arange(3), "[0,1,2]"),
        (np.float64(1.5), "1.5"),
        ({"raw": b"\xff\x00"}, '{"raw":"(binary data, 2 bytes)"}'),
        (bytearray(b"abc"), "abc"),
        (memoryview(b"abc"), "abc"),
        (b"", ""),
        (object, "<class 'object'>"),
        (Wide(), "wide" * 1_000),
        (ValueError("as a value"), "ValueError('as a value')"),
        (range(3), "range(0, 3)"),
        (Broken(), "(a Broken that cannot be shown: RuntimeError)"),
        ({"error": "as data"}, '{"error":"as data"}'),
        (iter([1, 2]), "[1,2]"),
        ({"g": iter([1, 2])}, '{"g":[1,2]}'),
    ],
    ids=range(38),
)
def test_values_are_read_as_text_or_json(value: Any, text: str) -> None:
    assert as_content(value) == (text, text)


@pytest.mark.parametrize(
    ("value", "blocks"),
    [
        (TEXT, [TEXT]),
        ([TEXT, IMAGE], [TEXT, IMAGE]),
        ((IMAGE,), [IMAGE]),
        (iter([TEXT, FOUND]), [TEXT, FOUND]),
        ([TEXT, {"type": "text", "text": " "}], [TEXT]),  # the API refuses empty text
        ([{"type": "text", "text": "lone \ud800"}], [{"type": "text", "text": "lone ?"}]),
        ([{"type": "tool_reference", "tool_name": "x"}], [{"type": "tool_reference", "tool_name": "x"}]),
    ],
    ids=range(7),
)
def test_content_blocks_stay_blocks(value: Any, blocks: list[dict[str, Any]]) -> None:
    assert as_content(value)[0] == blocks


@pytest.mark.parametrize(
    "value",
    [
        {"type": "document", "id": 7},
        {"type": "text", "text": 3},
        [TEXT, "and words"],
        [TEXT, {"type": "table"}],
        {"type": ["text"]},
        [{"type": "image", "source": object()}],
    ],
    ids=range(6),
)
def test_data_that_only_looks_like_blocks_is_data(value: Any) -> None:
    content, text = as_content(value)
    assert isinstance(content, str)
    assert content == text


def test_blocks_are_a_copy() -> None:
    block = {"type": "text", "text": "before"}
    content, _ = as_content([block])
    block["text"] = "after"
    assert content == [{"type": "text", "text": "before"}]


def test_two_pictures_are_two_texts() -> None:
    other = {"type": "image", "source": {**IMAGE["source"], "data": "BBBB"}}  # type: ignore[dict-item]
    texts = [as_content([TEXT, image])[1] for image in (IMAGE, other, IMAGE)]
    assert texts[0].startswith("hello\n[image image/png, 4 characters of base64, key ")
    assert texts[0] == texts[2] != texts[1]


def test_a_value_that_holds_itself_many_times_needs_no_memory() -> None:
    value: Any = ["x"]
    for _ in range(60):
        value = [value, value]
    as_content(1)
    tracemalloc.start()
    try:
        _, text = as_content({"deep": value})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert text.startswith("(too large or circular to be shown whole) {'deep': [[[")
    assert peak < 1_000_000


def test_a_long_list_is_json_all_the_same() -> None:
    _, text = as_content(list(range(500_000)))
    assert text.endswith("499998,499999]")


def test_deep_nesting_is_shown() -> None:
    value: Any = "x"
    for _ in range(10_000):
        value = [value]
    assert as_content(value)[1].startswith("(too large or circular to be shown whole) [[")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
        max_leaves=20,
    )
)
def test_whatever_it_is_it_can_be_sent(value: Any) -> None:
    content, text = as_content(value)
    assert isinstance(content, (str, list))
    assert text.encode().decode() == text


def test_an_error_has_text_and_nothing_else() -> None:
    assert only_text("Shut.", "instead") == "Shut."
    assert only_text(" ", "instead") == "instead"
    assert only_text([TEXT, IMAGE], "instead") == "hello"
    assert only_text([IMAGE], "instead") == "instead"
