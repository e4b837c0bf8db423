"""Spans of Zipkin, version 2 of its JSON: what its API answers with and what exporters send. Format: zipkin.io/zipkin-api.

Times are microseconds; attributes are tags, all of them texts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from analyzer.readers.exported import put
from analyzer.readers.format import Format
from analyzer.readers.jaeger import state, tagged
from analyzer.readers.lines import values
from analyzer.readers.loose import count, listing, mapping, text
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument.otlp import Event
from instrument.store.columns import LATEST_NS

_MARKS: Final = tuple(re.compile(rb'"%s"\s*:' % name) for name in (b"localEndpoint", b"traceId", b"timestamp"))
_LEVELS: Final = 3


def _sniff(head: bytes) -> bool:
    return all(mark.search(head) for mark in _MARKS)


def _read(stream: Stream, sink: Sink) -> None:
    made: Counter[str] = Counter()
    for value in values(stream, sink):
        for found in _spans(value, _LEVELS):
            trace_id, span_id = text(found.get("traceId")), text(found.get("id"))
            if trace_id is None or span_id is None:
                made["broken"] += 1
                continue
            said = dict(mapping(found.get("tags")))
            if "error" in said:  # whatever it says: having the tag is having failed
                said.setdefault("otel.status_description", said["error"])
                said["otel.status_code"] = "ERROR"
            span = tagged(
                trace_id,
                span_id,
                text(found.get("name")) or "",
                said,
                parent_id=text(found.get("parentId")),
                start_us=found.get("timestamp"),
                spent_us=found.get("duration"),
                resource={"service.name": text(mapping(found.get("localEndpoint")).get("serviceName"))},
                events=[_event(mapping(a)) for a in listing(found.get("annotations"))],
            )
            made["spans"] += 1
            made["timeless"] += span.start_ns is None
            put(sink, stream.source, span)
    state(stream.source, sink, made)


def _spans(value: Any, levels: int) -> Iterator[dict[str, Any]]:
    """Spans alone, in a list, or in a list of traces."""
    if isinstance(value, dict):
        yield value
    elif isinstance(value, list) and levels:
        for inner in value:
            yield from _spans(inner, levels - 1)


def _event(annotation: dict[str, Any]) -> Event:
    at = count(annotation.get("timestamp")) or 0
    return Event(text(annotation.get("value")) or "", at * 1_000 if at * 1_000 < LATEST_NS else 0)


ZIPKIN: Final = Format(
    "Zipkin spans",
    _sniff,
    _read,
    about=(
        "Spans in version 2 of the JSON of [Zipkin](https://zipkin.io/zipkin-api/), in a list, a list of traces, or one a line. Recognised "
        "by `localEndpoint`."
    ),
    sees="Whatever the tags say, in any dialect flyball knows; times to the microsecond, failures, annotations, service and scope.",
    cannot_see="The types of values, as tags are texts. Links between spans.",
)
