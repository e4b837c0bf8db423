"""Single spans as test suites of observability products keep them: `{"scopeName": ..., "spanName": ..., "attributes": {...}}`.

There may be one a line, or a list of them. They have no ids and no times; ids are made from the content. Lists among the attributes may
have OTLP's form (`{"values": [{"stringValue": ...}]}`).
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Any, Final

import msgspec

from analyzer.readers.agent_runs import inferred, odd_record
from analyzer.readers.exported import Exported, put
from analyzer.readers.format import Format
from analyzer.readers.lines import values
from analyzer.readers.loose import dumps, mapping, text
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument.otlp import AnyValue, ArrayValue, plain

_MARKS: Final = tuple(re.compile(rb'"%s"\s*:' % name) for name in (b"scopeName", b"spanName", b"attributes"))


def _sniff(head: bytes) -> bool:
    return all(mark.search(head) for mark in _MARKS)


def _read(stream: Stream, sink: Sink) -> None:
    spans = broken = 0
    for value in values(stream, sink):
        for found in map(mapping, value if isinstance(value, list) else [value]):
            if not isinstance(found.get("attributes"), dict):
                broken += 1
                continue
            put(sink, stream.source, _span(found, spans))
            spans += 1
    if broken or not spans:
        sink.add_issue(odd_record(stream.source, "entries have no attributes and were left out", broken or 1))
    if spans:
        message = "spans have neither ids nor times: each stands alone and their order is unknown"
        sink.add_issue(inferred("no_times", stream.source, message, spans, "export whole spans, with an OTLP exporter"))


def _span(found: dict[str, Any], position: int) -> Exported:
    """`position` tells two equal spans of one file apart."""
    digest = blake2b(
        dumps(found).encode("utf-8", "replace"), digest_size=24, salt=position.to_bytes(8, "big")
    ).hexdigest()
    attributes = {name: _value(value) for name, value in found["attributes"].items()}
    name, scope = text(found.get("spanName")) or "", text(found.get("scopeName")) or ""
    return Exported(digest[:32], digest[32:], name, attributes, scope=scope)


def _value(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"values"}:
        try:
            return plain(AnyValue(arrayValue=msgspec.convert(value, ArrayValue)))
        except (msgspec.ValidationError, RecursionError):
            return value
    return value


SPAN_RECORD: Final = Format(
    "span record",
    _sniff,
    _read,
    about="A span's scope, name and attributes and no more, as tests keep them. Recognised by `scopeName`, `spanName` and `attributes`.",
    sees="What the attributes say, in any dialect.",
    cannot_see="Ids, times, status and what lay around the span.",
)
