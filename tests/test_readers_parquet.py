"""Parquet is read row by row as if each row were a line of JSON; rows of spans have the same columns under many names."""

from __future__ import annotations

import io
import json
import random
import tracemalloc
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kept_sink import Kept, reading_of
from test_readers_formats import attributes

from analyzer.readers import Source, read, resolve
from instrument.otlp import TracesData

START = 1_770_132_000_598_000_123
EVENT = {"name": "exception", "time_unix_nano": START + 1, "attributes": {"exception.type": "E"}}
OURS = {
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "span_id": "00f067aa0ba902b7",
    "parent_span_id": "00f067aa0ba902b0",
    "name": "chat",
    "kind": 3,
    "start_time_unix_nano": START,
    "end_time_unix_nano": START + 5_000,
    "status_code": 2,
    "status_message": "boom",
    "attributes": json.dumps({"gen_ai.operation.name": "chat", "n": [1, "a"], "f": 0.5, "t": True, "m": {"x": 1}}),
    "events": json.dumps([EVENT]),
    "links": "[]",
    "resource_attributes": json.dumps({"service.name": "bot"}),
    "scope_name": "s",
    "scope_version": "1",
}


def parquet(rows: list[dict[str, Any]], schema: pa.Schema | None = None, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), out, **options)
    return out.getvalue()


def kept_of(tmp_path: Path, content: bytes) -> Kept:
    (tmp_path / "trace").write_bytes(content)
    kept, reading = reading_of(tmp_path / "trace")
    assert reading.refusals == []
    return kept


def zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("spans.parquet", content)
    return out.getvalue()


@pytest.mark.parametrize("wrap", [bytes, zipped], ids=["a file", "in an archive"])
def test_a_row_of_our_own_layout_keeps_everything(tmp_path: Path, wrap) -> None:
    kept = kept_of(tmp_path, wrap(parquet([OURS])))
    [span] = kept.spans
    assert {k: span[k] for k in ("traceId", "spanId", "parentSpanId", "name", "kind")} == {
        "traceId": OURS["trace_id"], "spanId": OURS["span_id"], "parentSpanId": OURS["parent_span_id"], "name": "chat", "kind": 3,
    }  # fmt: skip
    assert (span["startTimeUnixNano"], span["endTimeUnixNano"]) == (START, START + 5_000)
    assert span["status"] == {"code": 2, "message": "boom"}
    assert attributes(span) == json.loads(OURS["attributes"])
    assert (span["events"][0]["timeUnixNano"], attributes(span["events"][0])) == (START + 1, {"exception.type": "E"})
    assert kept.issues == []


def test_rows_may_be_json_lines_too_and_attributes_pairs_of_otlp(tmp_path: Path) -> None:
    pairs = [{"key": "k", "value": {"intValue": "7"}}, {"key": "b", "value": {"bytesValue": "AAEC"}}]
    rows = [{**OURS, "attributes": pairs}, {**OURS, "attributes": json.dumps(pairs), "span_id": "b" * 16}]
    kept = kept_of(tmp_path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    assert [attributes(span)["k"] for span in kept.spans] == [7, 7]


def test_the_tables_of_a_collector_in_clickhouse(tmp_path: Path) -> None:
    text = pa.map_(pa.string(), pa.string())
    schema = pa.schema({
        "Timestamp": pa.timestamp("ns"), "TraceId": pa.string(), "SpanId": pa.string(), "ParentSpanId": pa.string(),
        "SpanName": pa.string(), "SpanKind": pa.string(), "ServiceName": pa.string(),
        "ResourceAttributes": text, "ScopeName": pa.string(), "SpanAttributes": text,
        "Duration": pa.int64(), "StatusCode": pa.string(), "StatusMessage": pa.string(), "Events.Timestamp": pa.list_(pa.timestamp("ns")),
        "Events.Name": pa.list_(pa.string()), "Events.Attributes": pa.list_(text),
    })  # fmt: skip
    at = datetime(2026, 2, 3, 15, 20, 0, 598_000, UTC).replace(tzinfo=None)  # as ClickHouse writes it
    row = {
        "Timestamp": at, "TraceId": "a" * 32, "SpanId": "b" * 16, "ParentSpanId": "", "SpanName": "chat", "SpanKind": "Client",
        "ServiceName": "bot", "ResourceAttributes": [("host", "h")], "ScopeName": "openinference",
        "SpanAttributes": [("llm.model_name", "m")],
        "Duration": 1_500, "StatusCode": "Error", "StatusMessage": "boom", "Events.Timestamp": [at], "Events.Name": ["e"],
        "Events.Attributes": [[("x", "1")]],
    }  # fmt: skip
    [span] = kept_of(tmp_path, parquet([row], schema)).spans
    start = int(at.replace(tzinfo=UTC).timestamp()) * 10**9 + 598_000_000
    assert (span["startTimeUnixNano"], span["endTimeUnixNano"]) == (start, start + 1_500)
    assert (span.get("parentSpanId", ""), span["kind"], span["status"]) == ("", 3, {"code": 2, "message": "boom"})
    assert attributes(span) == {"llm.model_name": "m"}
    assert (span["events"][0]["timeUnixNano"], attributes(span["events"][0])) == (start, {"x": "1"})


def test_a_frame_of_phoenix_with_dotted_columns(tmp_path: Path) -> None:
    message = {"message.role": "user", "message.content": "hi", "message.tool_calls": None}
    row = {
        "name": "ChatCompletion", "span_kind": "LLM", "parent_id": None, "start_time": datetime(2026, 2, 3, tzinfo=UTC),
        "end_time": datetime(2026, 2, 3, 0, 0, 1, tzinfo=UTC), "status_code": "OK", "status_message": "", "events": [],
        "context.span_id": "b" * 16, "context.trace_id": "a" * 32, "attributes.llm.model_name": "m",
        "attributes.llm.token_count.prompt": 5.0, "attributes.llm.input_messages": [message], "attributes.tool.name": None,
    }  # fmt: skip
    [span] = kept_of(tmp_path, parquet([row])).spans
    found = attributes(span)
    assert found["llm.input_messages.0.message.content"] == "hi"
    assert (found["llm.model_name"], found["llm.token_count.prompt"]) == ("m", 5.0)
    assert "tool.name" not in found
    assert span["endTimeUnixNano"] - span["startTimeUnixNano"] == 10**9


def test_binary_ids_are_hex_and_times_may_be_in_any_unit(tmp_path: Path) -> None:
    times = [START, START // 1_000, START // 1_000_000, START // 10**9]
    rows = [
        {"trace_id": b"\xaa" * 16, "span_id": bytes([n] * 8), "name": "n", "start_time": t}
        for n, t in enumerate(times, 1)
    ]
    kept = kept_of(tmp_path, parquet(rows))
    assert [s["traceId"] for s in kept.spans] == ["aa" * 16] * 4
    assert [s["spanId"] for s in kept.spans] == [f"{n:02d}" * 8 for n in range(1, 5)]
    assert all(abs(s["startTimeUnixNano"] - START) < 10**9 for s in kept.spans)


def test_many_groups_of_rows_come_in_order_and_a_damaged_one_costs_no_other(tmp_path: Path) -> None:
    rows = [{**OURS, "span_id": f"{n:016x}", "name": f"{n}"} for n in range(1, 301)]
    data = bytearray(parquet(rows, row_group_size=100, compression="gzip", use_dictionary=False))
    assert kept_of(tmp_path, bytes(data)).names == [f"{n}" for n in range(1, 301)]
    facts = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(1).column(1)
    data[facts.data_page_offset + 40 : facts.data_page_offset + 60] = b"\xff" * 20
    kept = kept_of(tmp_path, bytes(data))
    assert {f"{n}" for n in (*range(1, 101), *range(201, 301))} <= set(kept.names)
    assert kept.kinds == ["damaged_parquet"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"PAR1", id="nothing but the mark"),
        pytest.param(b"PAR1" + b"x" * 100 + b"PAR1", id="garbage"),
        pytest.param(parquet([OURS])[:-20], id="cut off"),
        pytest.param(parquet([{"a": 1, "b": "x"}]), id="no spans"),
        pytest.param(parquet([], pa.schema({"trace_id": pa.string()})), id="no rows"),
    ],
)
def test_parquet_without_a_trace_is_refused_when_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "trace").write_bytes(content)
    kept, reading = reading_of(tmp_path / "trace")
    assert (kept.spans, len(reading.refusals)) == ([], 1)


def test_positions_beyond_the_end_of_a_dictionary_are_damage(tmp_path: Path) -> None:
    """Nothing but a full validation sees them."""
    data = bytearray(parquet([{**OURS, "name": "ab"[n // 50]} for n in range(100)], compression="none"))
    facts = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(0).column(list(OURS).index("name"))
    # The last byte is the entry that the second half of the rows has.
    last = facts.dictionary_page_offset + facts.total_compressed_size - 1
    assert data[last] == 1
    data[last] = 7
    (tmp_path / "trace").write_bytes(data)
    kept, found = reading_of(tmp_path / "trace")
    assert (kept.names, kept.kinds) == ([], [])
    (refused,) = map(str, found.refusals)
    assert "damaged" in refused
    assert "empty" not in refused


def test_mutated_parquet_is_read_or_told_and_nothing_else() -> None:
    source, whole = random.Random(3), parquet([{**OURS, "span_id": f"{n:016x}"} for n in range(1, 40)])
    for _ in range(50):
        mutated = bytearray(whole)
        for _ in range(source.randrange(1, 6)):
            mutated[source.randrange(4, len(mutated))] = source.randrange(256)
        kept = Kept()
        reading = read([Source("-", named=True)], kept, stdin=io.BytesIO(bytes(mutated)))
        assert kept.spans or kept.issues or reading.refusals


def test_a_text_repeated_in_many_rows_is_held_once(tmp_path: Path) -> None:
    """Two megabytes of text in each of sixty rows, in a file of some kilobytes."""
    long = json.dumps({"x": "y" * 2_000_000})
    rows = [{**OURS, "span_id": f"{n:016x}", "attributes": long} for n in range(1, 61)]
    content = parquet(rows, compression="zstd", dictionary_pagesize_limit=10 << 20)
    assert len(content) < 1 << 20
    (tmp_path / "trace").write_bytes(content)

    class Counting(Kept):
        def add(self, document: TracesData, source: str) -> None:
            self.spans.append({"size": len(msgspec.json.encode(document))})

    kept, before = Counting(), pa.total_allocated_bytes()
    tracemalloc.start()
    read(resolve([str(tmp_path / "trace")]).sources, kept)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(kept.spans) == 60
    assert peak < 90 << 20
    assert pa.total_allocated_bytes() - before < 50 << 20
