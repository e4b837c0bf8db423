"""Files made to do harm, in every wrapping: the database takes what can be read, and the rest is an issue."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from kept_sink import Kept, document
from test_readers_archives import tarred, zipped
from test_readers_parquet import OURS, parquet
from test_readers_protobuf import message, with_four_bytes, with_varints

from analyzer.readers import Source, load, read, resolve
from instrument.otlp import Span, attributes, one_resource
from instrument.store.connect import reading, writing
from instrument.store.load import Loader


def span(name: str, number: int, **facts: Any) -> dict[str, Any]:
    made = document(name, f"{number:016x}")
    made["resourceSpans"][0]["scopeSpans"][0]["spans"][0] |= {"startTimeUnixNano": "1770132000000000000", **facts}
    return made


def nested(levels: int) -> bytes:
    """A span with an attribute of lists in lists. Put together as text, as no encoder writes it."""
    line = json.dumps(span(f"deep {levels}", levels, attributes=[{"key": "k", "value": "@"}])).encode()
    inner = b'{"arrayValue":{"values":[' * levels + b'{"stringValue":"x"}' + b"]}}" * levels
    return line.replace(b'"@"', inner)


CYCLE = [
    span("a", 1, parentSpanId=f"{2:016x}"),
    span("b", 2, parentSpanId=f"{1:016x}"),
    span("own", 3, parentSpanId=f"{3:016x}"),
]
TIMES = [
    span("before 1970", 10, startTimeUnixNano="-5", endTimeUnixNano="-1"),
    span("absurd", 11, startTimeUnixNano="9" * 40, endTimeUnixNano=10**30),
    span("backwards", 12, startTimeUnixNano="1770132000000000009", endTimeUnixNano="1770132000000000001"),
    span("words", 13, startTimeUnixNano="soon", endTimeUnixNano="later"),
]
HALVES = [span("half \ud83d", 20, attributes=[{"key": "k\udc00", "value": {"stringValue": "\udfff"}}])]
LINES = b"".join(
    line + b"\n"
    for line in (
        *(json.dumps(d).encode() for d in (*CYCLE, *TIMES, *HALVES, *HALVES)),
        nested(250),
        nested(10_000),
        b'{"resourceSpans": ' * 20_000,
        json.dumps(span("last", 99)).encode(),
    )
)
NAMES = ["a", "absurd", "b", "backwards", "before 1970", "deep 250", "half ?", "last", "own", "words"]
WRAPPED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zip": lambda data: zipped({"a": data, "copy": data}),
    "tar.gz": lambda data: gzip.compress(tarred({"a": data, "copy": data})),
    "tar in zip": lambda data: zipped({"x.tar": tarred({"a": data})}),
}


def rows(db: Path, columns: str) -> list[tuple[Any, ...]]:
    with reading(db) as con:
        return con.execute(f"SELECT {columns} FROM spans WHERE NOT coalesce(inferred, false) ORDER BY name").fetchall()


@pytest.mark.parametrize("wrapping", WRAPPED)
def test_hostile_lines_in_every_wrapping_give_the_same_rows(tmp_path: Path, wrapping: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "trace").write_bytes(WRAPPED[wrapping](LINES))
    _, refusals = load(resolve([str(tmp_path / "in")]), tmp_path / "t.duckdb")
    assert refusals == []
    found = rows(tmp_path / "t.duckdb", "name, start_ns, end_ns")
    assert [name for name, _, _ in found] == NAMES
    times = {name: (start, end) for name, start, end in found}
    assert times["before 1970"] == times["absurd"] == times["words"] == (None, None)
    with reading(tmp_path / "t.duckdb") as con:
        issues = con.execute("SELECT kind, line, count FROM issues").fetchall()
    copies = 2 if wrapping in ("zip", "tar.gz") else 1
    broken = [(kind, line) for kind, line, _ in issues if kind != "repeated_ids"]
    assert Counter(broken) == {("broken_line", 11): copies, ("broken_line", 12): copies}
    # The last line of LINES but four is there twice; of the copy, every span.
    assert sum(count for kind, _, count in issues if kind == "repeated_ids") == 1 + (copies - 1) * (len(NAMES) + 1)


@pytest.mark.parametrize("layout", [b"".join, with_varints, with_four_bytes], ids=["bare", "varint", "four bytes"])
def test_hostile_spans_in_protobuf(tmp_path: Path, layout) -> None:
    late = span("absurd", 11, startTimeUnixNano=2**64 - 1, endTimeUnixNano=2**63)
    data = layout([message(d) for d in (*CYCLE, *CYCLE, late, span("last", 99))])
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b").write_bytes(gzip.compress(data))
    load(resolve([str(tmp_path / "a"), str(tmp_path / "b")]), tmp_path / "t.duckdb")
    found = rows(tmp_path / "t.duckdb", "name, start_ns, end_ns")
    assert [name for name, _, _ in found] == ["a", "absurd", "b", "last", "own"]
    assert found[1][1:] == (None, None)
    with reading(tmp_path / "t.duckdb") as con:
        again = con.execute(
            "SELECT source, count, error FROM issues WHERE kind = 'repeated_ids' ORDER BY source"
        ).fetchall()
    assert again == [(str(tmp_path / "a"), 3, False), (str(tmp_path / "b"), 8, False)]


def test_hostile_rows_of_parquet(tmp_path: Path) -> None:
    hostile = [
        {"span_id": "1" * 16, "name": "half", "attributes": '{"k\\ud83d": "\\udfff"}'},
        {"span_id": "2" * 16, "name": "deep", "attributes": '{"k": ' + "[" * 10_000 + "]" * 10_000 + "}"},
        {"span_id": "3" * 16, "name": "own", "parent_span_id": "3" * 16},
        {"span_id": "4" * 16, "name": "late", "start_time_unix_nano": 2**63 - 1, "end_time_unix_nano": -1},
        {"span_id": "5" * 16, "name": "odd", "events": '{"not": "a list"}', "resource_attributes": "[1, 2"},
        {"span_id": "1" * 16, "name": "half"},
    ]
    (tmp_path / "trace").write_bytes(parquet([{**OURS, **row} for row in hostile]))
    load(resolve([str(tmp_path / "trace")]), tmp_path / "t.duckdb")
    found = rows(tmp_path / "t.duckdb", "name, start_ns")
    assert [name for name, _ in found] == ["deep", "half", "late", "odd", "own"]
    assert dict(found)["late"] is None


def test_a_line_of_a_gigabyte_is_left_out_and_the_others_read() -> None:
    def content() -> Iterator[bytes]:
        yield json.dumps(span("before", 1)).encode() + b'\n{"resourceSpans": ["'
        for _ in range(256):
            yield b"x" * (4 << 20)
        yield b'"]}\n' + json.dumps(span("after", 2)).encode() + b"\n"

    out = io.BytesIO()
    with zstandard.ZstdCompressor(1).stream_writer(out, closefd=False) as writer:
        for piece in content():
            writer.write(piece)
    kept = Kept()
    tracemalloc.start()
    read([Source("-", named=True)], kept, stdin=io.BytesIO(out.getvalue()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert kept.names == ["before", "after"]
    assert [(i.kind, i.line) for i in kept.issues] == [("too_long", 2)]
    assert peak < 400 << 20


def test_names_of_files_need_not_be_text(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, content in ((b"a\xff.jsonl", json.dumps(span("a", 1)).encode()), (b"b\xfe", b"no trace")):
        Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/" + name)).write_bytes(content)
    load(resolve([str(tmp_path / "in")]), tmp_path / "t.duckdb")
    assert rows(tmp_path / "t.duckdb", "name") == [("a",)]
    with reading(tmp_path / "t.duckdb") as con:
        assert con.execute("SELECT source LIKE '%/b?', kind FROM issues").fetchall() == [(True, "not_a_trace")]


def test_decoded_spans_with_half_characters_and_huge_numbers_are_taken(tmp_path: Path) -> None:
    """What a reader of another package may hand over."""
    odd = attributes({"k\udc00": "\udfff", "list": ["\udfff"], "map": {"\udc00": 10**40}, "huge": -(10**40)})
    made = Span("a" * 32, "b" * 16, name="\ud83d", startTimeUnixNano=10**40, attributes=odd)
    deep: Any = "x"
    for _ in range(290):
        deep = [deep]
    with writing(tmp_path / "t.duckdb") as con, Loader(con) as loader:
        loader.add(one_resource([made], scope="\udc00", resource={"\udc00": "\udc00"}), "file\udcff")
        loader.add(
            one_resource([Span("a" * 32, "c" * 16, name="deep", attributes=attributes({"k": deep}))], scope=""), "f"
        )
        loader.finish()
    assert rows(tmp_path / "t.duckdb", "name, start_ns") == [("?", None), ("deep", None)]
    with reading(tmp_path / "t.duckdb") as con:
        ((found,),) = con.execute(
            "SELECT attributes::JSON::VARCHAR FROM attribute_sets WHERE attributes::JSON::VARCHAR LIKE '%huge%'"
        ).fetchall()
    assert json.loads(found)["huge"] == str(-(10**40))
    assert json.loads(found)["map"] == {"?": str(10**40)}
