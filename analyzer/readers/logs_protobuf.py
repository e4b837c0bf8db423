"""OTLP logs of coding agents in protobuf, as a collector's file exporter writes them (`format: proto`). The layouts are those of spans."""

from __future__ import annotations

import base64
import re
from collections import Counter
from typing import Any, Final

from analyzer.readers.format import Format
from analyzer.readers.otlp_logs import OTLP_LOGS, EventReader, log_records, state
from analyzer.readers.otlp_protobuf import frames, layout, uncompressed
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument.otlp import Issue

_EVENT: Final = re.compile(rb"(?:claude_code|codex|gemini_cli)\.\w")


def document(body: bytes) -> Any:
    """An `ExportLogsServiceRequest` as OTLP/JSON spells it. Raises ValueError where it is none."""
    # Here, as few files need them and every start of the program would wait for them.
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    try:
        found = json_format.MessageToDict(ExportLogsServiceRequest.FromString(body))
    except (DecodeError, UnicodeDecodeError) as e:
        raise ValueError(str(e)) from None
    for resource in found.get("resourceLogs", ()):
        for scope in resource.get("scopeLogs", ()):
            for record in scope.get("logRecords", ()):
                # Protobuf's own JSON has ids in base64.
                record |= {
                    name: base64.b64decode(record[name]).hex() for name in ("traceId", "spanId") if name in record
                }
    return found


def _read(stream: Stream, sink: Sink) -> None:
    made: Counter[str] = Counter()
    reader = EventReader(stream.source, sink, made)
    found, broken, first = layout(stream.head, _EVENT), 0, ""
    for frame in frames(stream, found, sink):
        try:
            # The fields of a bare message have lost the tag and length that make them one.
            body = (
                b"\x0a" + _varint(len(frame)) + frame if found == "bare" else uncompressed(frame, stream.source, sink)
            )
            for values, record in log_records(document(body), made):
                reader.take(values, record)
        except ValueError as problem:
            broken, first = broken + 1, first or str(problem)
    reader.end()
    if broken:
        remedy = "copy the file again, or wait until the program that writes it has closed it"
        sink.add_issue(
            Issue("broken_message", stream.source, f"messages are no OTLP logs ({first})", remedy, count=broken)
        )
    state(stream.source, sink, made)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


LOGS_PROTOBUF: Final = Format(
    "log events of a coding agent, in protobuf",
    lambda head: layout(head, _EVENT) is not None,
    _read,
    binary=True,
    about=(
        "The same in OTLP's binary form, as the collector's file exporter writes it (`format: proto`), in the layouts of "
        "[OTLP protobuf](#otlp-protobuf). Recognised by the tags at its beginning and an event of one of the agents in its first 64 KB."
    ),
    sees=OTLP_LOGS.sees,
    cannot_see=OTLP_LOGS.cannot_see,
)
