"""Files for `benchmarks.importing` in the other two formats: OTLP protobuf with the same spans, and sessions of Claude Code."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

from benchmarks.words import Words

_SPANS_IN_BATCH: Final = 512
"""What the SDK's batch processor sends at a time."""


def to_protobuf(lines: Path, path: Path) -> None:
    """The spans of OTLP JSON Lines as a collector's file exporter writes them: messages of 512 spans, four bytes of length before each."""
    held: list[Span] = []
    with lines.open("rb") as file, path.open("wb") as out:
        for line in file:
            (resource,) = orjson.loads(line)["resourceSpans"]
            held += map(_span, resource["scopeSpans"][0]["spans"])
            if len(held) >= _SPANS_IN_BATCH:
                out.write(_message(held, resource))
                held = []
        if held:
            out.write(_message(held, resource))


def _message(spans: list[Span], said: dict[str, Any]) -> bytes:
    scope = InstrumentationScope(**said["scopeSpans"][0]["scope"])
    resource = Resource(attributes=_attributes(said["resource"]["attributes"]))
    batch = ResourceSpans(resource=resource, scope_spans=[ScopeSpans(scope=scope, spans=spans)])
    data = TracesData(resource_spans=[batch]).SerializeToString()
    return len(data).to_bytes(4, "big") + data


def _span(span: dict[str, Any]) -> Span:
    return Span(
        trace_id=bytes.fromhex(span["traceId"]),
        span_id=bytes.fromhex(span["spanId"]),
        parent_span_id=bytes.fromhex(span.get("parentSpanId", "")),
        name=span["name"],
        kind=span["kind"],
        start_time_unix_nano=int(span["startTimeUnixNano"]),
        end_time_unix_nano=int(span["endTimeUnixNano"]),
        attributes=_attributes(span["attributes"]),
        status=Status(code=span["status"]["code"]),
        flags=span["flags"],
    )


def _attributes(pairs: list[dict[str, Any]]) -> list[KeyValue]:
    return [
        KeyValue(
            key=pair["key"],
            value=AnyValue(string_value=value["stringValue"])
            if "stringValue" in (value := pair["value"])
            else AnyValue(int_value=int(value["intValue"])),
        )
        for pair in pairs
    ]


class Sessions:
    """Sessions of Claude Code, a line per content block, as the program writes them."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._words = Words(self._chance)
        self._seconds = 1_790_000_000.0

    def session(self) -> Iterator[bytes]:
        """The lines of one session: 3 to 60 turns, each an answer with a tool call and that tool's result."""
        self._session, self._parent = self._id(32), None
        yield self._line("user", {"role": "user", "content": self._words.text(60)})
        for _ in range(self._chance.randrange(3, 60)):
            call = {
                "type": "tool_use",
                "id": "toolu_" + self._id(24),
                "name": self._chance.choice(("Read", "Bash", "Edit")),
            }
            call["input"] = {"file_path": self._words.path(), "offset": self._chance.randrange(1000)}
            yield from self._answer({"type": "text", "text": self._words.text(30)}, call)
            text = self._words.text(self._chance.randrange(20, 200))
            result = {"type": "tool_result", "tool_use_id": call["id"], "content": text}
            yield self._line(
                "user", {"role": "user", "content": [result]}, toolUseResult={"stdout": text, "stderr": ""}
            )

    def _answer(self, *blocks: dict[str, Any]) -> Iterator[bytes]:
        usage = {
            "input_tokens": self._chance.randrange(3, 90),
            "cache_creation_input_tokens": self._chance.randrange(2_000),
            "cache_read_input_tokens": self._chance.randrange(100_000),
            "cache_creation": {
                "ephemeral_5m_input_tokens": self._chance.randrange(2_000),
                "ephemeral_1h_input_tokens": 0,
            },
            "output_tokens": self._chance.randrange(20, 800),
            "service_tier": "standard",
        }
        head = {
            "id": "msg_" + self._id(24),
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5-20250929",
        }
        request = "req_" + self._id(24)
        for block in blocks:
            message = {**head, "content": [block], "stop_reason": "tool_use", "stop_sequence": None, "usage": usage}
            yield self._line("assistant", message, requestId=request)

    def _line(self, kind: str, message: dict[str, Any], **more: Any) -> bytes:
        self._seconds += self._chance.random() * 5
        uuid = self._id(32)
        record = {
            "parentUuid": self._parent,
            "isSidechain": False,
            "userType": "external",
            "cwd": "/src",
            "sessionId": self._session,
            "version": "2.1.330",
            "gitBranch": "main",
            "type": kind,
            "message": message,
            "uuid": uuid,
            "timestamp": f"{datetime.fromtimestamp(self._seconds, UTC):%Y-%m-%dT%H:%M:%S}.000Z",
            **more,
        }
        self._parent = uuid
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)

    def _id(self, digits: int) -> str:
        return f"{self._chance.getrandbits(4 * digits):0{digits}x}"


def generate_sessions(folder: Path, size: int, *, seed: int = 0) -> None:
    """Writes sessions, each a file of its own, until there are `size` bytes."""
    folder.mkdir()
    sessions, written, number = Sessions(seed), 0, 0
    while written < size:
        written += (folder / f"{number}.jsonl").write_bytes(b"".join(sessions.session()))
        number += 1
