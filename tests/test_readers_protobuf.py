"""OTLP in protobuf, in each of its layouts: the same spans as the same documents in JSON give."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from google.protobuf import json_format
from kept_sink import Kept, document, lines, reading_of
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData as Message
from small_exports import LOGS

from analyzer.readers.otlp_protobuf import OTLP_PROTOBUF
from instrument.otlp import TracesData

FULL = {
    "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
    "spanId": "00f067aa0ba902b7",
    "parentSpanId": "00f067aa0ba902b0",
    "name": "chat caf\u00e9",
    "kind": 3,
    "startTimeUnixNano": 1770132000598000000,
    "endTimeUnixNano": 1770132005000000007,
    "attributes": [
        {"key": "text", "value": {"stringValue": "x" * 300}},
        {"key": "empty", "value": {"stringValue": ""}},
        {"key": "whole", "value": {"intValue": -5}},
        {"key": "real", "value": {"doubleValue": 0.5}},
        {"key": "flag", "value": {"boolValue": False}},
        {"key": "null", "value": {}},
        {"key": "list", "value": {"arrayValue": {"values": [{"intValue": 1}, {"stringValue": "a"}]}}},
        {"key": "map", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": True}}]}}},
        {"key": "raw", "value": {"bytesValue": "AAEC"}},
    ],
    "events": [{"name": "e", "timeUnixNano": 7, "attributes": [{"key": "x", "value": {"intValue": 1}}]}],
    "status": {"code": 2, "message": "boom"},
    "droppedAttributesCount": 3,
}


def message(value: dict[str, Any]) -> bytes:
    """A document of OTLP JSON in protobuf, by Google's own encoder: whose JSON has ids in base64."""

    def based(here: Any) -> Any:
        if isinstance(here, list):
            return [based(v) for v in here]
        if isinstance(here, dict):
            return {
                k: base64.b64encode(bytes.fromhex(v)).decode()
                if k in ("traceId", "spanId", "parentSpanId")
                else based(v)
                for k, v in here.items()
            }
        return here

    return json_format.ParseDict(based(value), Message()).SerializeToString()


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def with_varints(messages: list[bytes]) -> bytes:
    return b"".join(varint(len(m)) + m for m in messages)


def with_four_bytes(messages: list[bytes]) -> bytes:
    return b"".join(len(m).to_bytes(4, "big") + m for m in messages)


A, B = (message(document(name, f"{name * 16}")) for name in "ab")
MANY = [message(document("x" * n, f"{n:016x}")) for n in range(1, 400)]
LAYOUTS: list[Callable[[list[bytes]], bytes]] = [b"".join, with_varints, with_four_bytes]
each_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=["bare", "varint", "four bytes"])


def kept_of(tmp_path: Path, content: bytes) -> Kept:
    (tmp_path / "trace").write_bytes(content)
    kept, reading = reading_of(tmp_path / "trace")
    assert reading.refusals == []
    return kept


@each_layout
@pytest.mark.parametrize("wrap", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
def test_every_layout_gives_every_span(tmp_path: Path, layout: Callable[[list[bytes]], bytes], wrap) -> None:
    kept = kept_of(tmp_path, wrap(layout(MANY)))
    assert kept.names == ["x" * n for n in range(1, 400)]
    assert kept.issues == []


@pytest.mark.parametrize("inner", [[A, B], [lines(["a"]), lines(["b"])]], ids=["protobuf", "json"])
def test_messages_that_a_collector_compressed_one_by_one(tmp_path: Path, inner: list[bytes]) -> None:
    kept = kept_of(tmp_path, with_four_bytes([zstandard.compress(m) for m in inner]))
    assert (kept.names, kept.issues) == (["a", "b"], [])


def test_a_span_keeps_everything(tmp_path: Path) -> None:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "bot"}}]}
    whole = {
        "resourceSpans": [
            {"resource": resource, "scopeSpans": [{"scope": {"name": "s", "version": "1"}, "spans": [FULL]}]}
        ]
    }
    [span] = kept_of(tmp_path, message(whole)).spans
    assert (
        span == msgspec.to_builtins(msgspec.convert(whole, TracesData))["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    )


@each_layout
def test_a_file_cut_short_gives_the_batches_before_the_cut(tmp_path: Path, layout) -> None:
    kept = kept_of(tmp_path, layout(MANY)[:-200])
    assert kept.names == ["x" * n for n in range(1, 399)]
    assert kept.kinds == ["cut_off"]


@pytest.mark.parametrize("layout", LAYOUTS[1:], ids=["varint", "four bytes"])
def test_a_broken_message_is_counted_and_the_next_is_read(tmp_path: Path, layout) -> None:
    broken = b"\x0a" + varint(len(A) - 2) + b"\xff" * (len(A) - 2)
    kept = kept_of(tmp_path, layout([A, broken, broken, B]))
    assert kept.names == ["a", "b"]
    assert [(i.kind, i.count) for i in kept.issues] == [("broken_message", 2)]


def test_text_that_is_not_utf8_costs_no_span(tmp_path: Path) -> None:
    odd = message(document("caf\u00e9 noir", "a" * 16)).replace("\u00e9".encode(), b"\xe9\xff")
    assert kept_of(tmp_path, odd).names == ["caf\ufffd\ufffd noir"]


def test_an_attribute_nested_without_end_costs_that_attribute_only(tmp_path: Path) -> None:
    deep = b"\x0a\x01x"
    for _ in range(300):
        deep = b"\x2a" + varint(len(deep) + 1 + len(varint(len(deep)))) + b"\x0a" + varint(len(deep)) + deep
    pair = b"\x0a\x01k\x12" + varint(len(deep)) + deep
    span = b"\x0a\x10" + b"\1" * 16 + b"\x12\x08" + b"\2" * 8 + b"\x2a\x01n" + b"\x4a" + varint(len(pair)) + pair
    scope = b"\x12" + varint(len(span)) + span
    resource = b"\x12" + varint(len(scope)) + scope
    kept = kept_of(tmp_path, b"\x0a" + varint(len(resource)) + resource)
    assert (kept.names, kept.spans[0].get("attributes", [])) == (["n"], [])
    assert [(i.kind, i.count) for i in kept.issues] == [("broken_attribute", 1)]


def test_random_bytes_and_texts_are_not_taken_for_protobuf() -> None:
    source = random.Random(5)
    for _ in range(2_000):
        start = bytes([0x0A, *source.randbytes(2), 0x0A])
        assert not OTLP_PROTOBUF.sniff(start + source.randbytes(2_000))
    for text in (b"\n\n\n{}", b"\n" * 500, lines(["a"]), b"", b"\n", os.urandom(3)):
        assert not OTLP_PROTOBUF.sniff(text)


@each_layout
def test_a_mutated_file_is_read_or_told_and_nothing_else(tmp_path: Path, layout) -> None:
    source, whole = random.Random(7), bytearray(layout(MANY[:20]))
    for _ in range(300):
        mutated = bytearray(whole)
        for _ in range(source.randrange(1, 6)):
            mutated[source.randrange(len(mutated))] = source.randrange(256)
        (tmp_path / "trace").write_bytes(mutated)
        kept, reading = reading_of(tmp_path / "trace")
        assert kept.spans or kept.issues or reading.refusals


def logs_message() -> bytes:
    """The events that other tests have in JSON; ids of protobuf's own JSON are base64."""
    value = json.loads(json.dumps(LOGS))
    for record in value["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
        for name in {"traceId", "spanId"} & record.keys():
            record[name] = base64.b64encode(bytes.fromhex(record[name])).decode()
    return bytes(json_format.ParseDict(value, ExportLogsServiceRequest()).SerializeToString())


@pytest.mark.parametrize("layout", [b"".join, with_varints, with_four_bytes])
def test_logs_of_an_agent_say_in_protobuf_what_they_say_in_json(tmp_path: Path, layout) -> None:
    (tmp_path / "logs.json").write_text(json.dumps(LOGS))
    (tmp_path / "logs").write_bytes(layout([logs_message()]))
    (as_json, _), (kept, found) = reading_of(tmp_path / "logs.json"), reading_of(tmp_path / "logs")
    assert found.refusals == []
    times = {"startTimeUnixNano", "endTimeUnixNano", "kind", "name", "traceId", "spanId"}
    assert [{n: s[n] for n in times & s.keys()} for s in kept.spans] == [
        {n: s[n] for n in times & s.keys()} for s in as_json.spans
    ]
    assert [i.message for i in kept.issues] == [i.message for i in as_json.issues]
    assert len(kept.spans) > 3


def test_logs_cut_short_or_damaged_are_told(tmp_path: Path) -> None:
    whole = logs_message()
    (tmp_path / "logs").write_bytes(with_varints([whole, whole])[: len(whole) + 40])
    (tmp_path / "odd").write_bytes(with_varints([whole, b"\x0a\x02\x12\x7f", whole]))
    for name, kind in (("logs", "cut_off"), ("odd", "broken_message")):
        kept, _ = reading_of(tmp_path / name)
        assert [i.kind for i in kept.issues if i.error] == [kind]
        assert kept.spans
