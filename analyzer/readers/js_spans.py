"""Spans as OpenTelemetry's JavaScript SDK holds them, dumped as JSON: in a list, in a map of lists, or one a line.

A span is an object with `spanContext`; times are `[seconds, nanoseconds]`; `kind` counts from 0 (internal), one less
than OTLP's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from analyzer.readers.format import Format
from analyzer.readers.lines import values
from analyzer.readers.loose import count, listing
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument.otlp import (
    Event,
    Issue,
    Resource,
    ResourceSpans,
    Scope,
    ScopeSpans,
    Span,
    Status,
    TracesData,
    attributes,
)

_MARK = re.compile(rb'"spanContext"\s*:')


def _sniff(head: bytes) -> bool:
    return _MARK.search(head) is not None


def _read(stream: Stream, sink: Sink) -> None:
    broken = timeless = 0
    for value in values(stream, sink):
        for found in _spans(value):
            span = _span(found)
            if span is None:
                broken += 1
                continue
            timeless += not span.startTimeUnixNano
            sink.add(_document(found, span), stream.source)
    if broken:
        sink.add_issue(
            _issue("broken_span", stream.source, "spans without a trace id and a span id were left out", broken)
        )
    if timeless:
        sink.add_issue(
            _issue(
                "no_times", stream.source, "spans have no start time, so their order is unknown", timeless, error=False
            )
        )


def _spans(value: Any) -> Iterator[dict[str, Any]]:
    """Every span in a JSON value, however deep its lists and maps lie. Not recursive: depth is the file's to choose."""
    left = [value]
    while left:
        here = left.pop()
        if isinstance(here, dict):
            if "spanContext" in here:
                yield here
            else:
                left.extend(reversed(here.values()))
        elif isinstance(here, list):
            left.extend(reversed(here))


def _span(found: dict[str, Any]) -> Span | None:
    context = _map(found.get("spanContext"))
    if not context.get("traceId") or not context.get("spanId"):
        return None
    kind = count(found.get("kind"))
    return Span(
        traceId=str(context["traceId"]),
        spanId=str(context["spanId"]),
        parentSpanId=_parent(found),
        name=str(found.get("name") or ""),
        kind=0 if kind is None else kind + 1,
        startTimeUnixNano=_nanoseconds(found.get("startTime")),
        endTimeUnixNano=_nanoseconds(found.get("endTime")),
        attributes=attributes(_map(found.get("attributes"))),
        events=[_event(e) for e in listing(found.get("events")) if isinstance(e, dict)],
        status=_status(_map(found.get("status"))),
    )


def _parent(found: dict[str, Any]) -> str:
    """Version 1 of the SDK has `parentSpanId`, version 2 `parentSpanContext`."""
    return str(found.get("parentSpanId") or _map(found.get("parentSpanContext")).get("spanId") or "")


def _event(event: dict[str, Any]) -> Event:
    return Event(
        str(event.get("name") or ""), _nanoseconds(event.get("time")), attributes(_map(event.get("attributes")))
    )


def _status(status: dict[str, Any]) -> Status:
    code = status.get("code")
    return Status(code if isinstance(code, str) else count(code) or 0, str(status.get("message") or ""))


def _nanoseconds(time: Any) -> int:
    """`[seconds, nanoseconds]` since 1970 as nanoseconds; 0, which is OTLP's "not known", where it is anything else."""
    match time:
        case [int(seconds), int(rest)]:
            return seconds * 1_000_000_000 + rest
        case _:
            return 0


def _document(found: dict[str, Any], span: Span) -> TracesData:
    scope = _map(found.get("instrumentationScope") or found.get("instrumentationLibrary"))
    resource = _map(_map(found.get("resource")).get("attributes"))
    spans = ScopeSpans(Scope(str(scope.get("name") or ""), str(scope.get("version") or "")), [span])
    return TracesData([ResourceSpans(Resource(attributes(resource)), [spans])])


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _issue(kind: str, source: str, message: str, count: int, *, error: bool = True) -> Issue:
    return Issue(
        kind=kind,
        source=source,
        message=message,
        remedy="export the spans again with an OTLP exporter",
        count=count,
        error=error,
    )


JS_SPANS: Final = Format(
    "OpenTelemetry JavaScript spans",
    _sniff,
    _read,
    about=(
        "Spans as OpenTelemetry's JavaScript SDK (1.x and 2.x) holds them, dumped as JSON: a list, a map of lists, or one a line. "
        "Recognised by `spanContext`."
    ),
    sees="Whatever the attributes say, in any dialect flyball knows; times, status, events, resource and scope.",
    cannot_see="Links between spans.",
)
