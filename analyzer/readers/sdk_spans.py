"""Spans as OpenTelemetry's Python SDK prints them: `span.to_json()` in lists, one a line, or one after the other (ConsoleSpanExporter).

A span is an object with a `context`; ids have `0x` before them, times are ISO 8601, kinds and statuses are names. Spans whose ids lie
beside the name instead, as Okahu exports what Monocle recorded, are read too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from analyzer.readers.agent_runs import inferred, odd_record
from analyzer.readers.exported import Exported, exception_events, put
from analyzer.readers.format import Format
from analyzer.readers.lines import values
from analyzer.readers.loose import mapping, moment_ns, text
from analyzer.readers.monocle import in_current_names
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream

_CONTEXT: Final = re.compile(rb'"context"\s*:\s*\{\s*"(?:trace|span)_id"\s*:')
_TIMES: Final = re.compile(rb'"start_time"\s*:\s*(?:"|null)')
_BESIDE: Final = (re.compile(rb'"span_name"\s*:'), re.compile(rb'"span_id"\s*:'), re.compile(rb'"duration_ms"\s*:'))


def _sniff(head: bytes) -> bool:
    return _TIMES.search(head) is not None and (
        _CONTEXT.search(head) is not None or all(mark.search(head) for mark in _BESIDE)
    )


def _read(stream: Stream, sink: Sink) -> None:
    made: Counter[str] = Counter()
    for value in values(stream, sink):
        for found in _spans(value):
            span = _span(found)
            if span is None:
                made["broken"] += 1
                continue
            made["spans"] += 1
            made["timeless"] += span.start_ns is None
            put(sink, stream.source, span)
    if made["broken"] or not made["spans"]:
        message = "entries are no spans, or have no trace id and span id, and were left out"
        sink.add_issue(odd_record(stream.source, message, made["broken"] or 1))
    if made["timeless"]:
        message = "spans have no start time, so their order is unknown"
        sink.add_issue(inferred("no_times", stream.source, message, made["timeless"]))


def _spans(value: Any) -> Iterator[dict[str, Any]]:
    """Every span in a JSON value, however deep its lists and maps lie. Not recursive: depth is the file's to choose."""
    left = [value]
    while left:
        here = left.pop()
        if isinstance(here, dict):
            if "context" in here or "span_id" in here:
                yield here
            else:
                left.extend(reversed(here.values()))
        elif isinstance(here, list):
            left.extend(reversed(here))


def _span(found: dict[str, Any]) -> Exported | None:
    context = mapping(found.get("context"))
    trace_id = text(context.get("trace_id")) or text(found.get("trace_id"))
    span_id = text(context.get("span_id")) or text(found.get("span_id"))
    if trace_id is None or span_id is None:
        return None
    scope = mapping(found.get("instrumentation_scope") or found.get("scope"))
    events = exception_events(found.get("events"))
    named = in_current_names(mapping(found.get("attributes")), found.get("events"))
    return Exported(
        trace_id,
        span_id,
        text(found.get("name")) or text(found.get("span_name")) or "",
        named.attributes,
        parent_id=text(found.get("parent_id")),
        start_ns=moment_ns(found.get("start_time")),
        end_ns=moment_ns(found.get("end_time")),
        error=_error(mapping(found.get("status"))),
        scope=text(scope.get("name")) or named.scope,
        resource=mapping(mapping(found.get("resource")).get("attributes")),
        events=events,
    )


def _error(status: dict[str, Any]) -> str | None:
    code = text(status.get("status_code")) or text(status.get("code")) or ""
    if code.upper().rpartition(".")[2] != "ERROR":
        return None
    return text(status.get("description")) or text(status.get("message")) or ""


SDK_SPANS: Final = Format(
    "OpenTelemetry Python spans",
    _sniff,
    _read,
    about=(
        "What `span.to_json()` of OpenTelemetry's Python SDK gives (1.x): lists of spans, spans one a line, or one after the other over "
        "many lines, as `ConsoleSpanExporter` prints them. Also [Monocle](https://github.com/monocle2ai/monocle)'s trace files, which "
        "are such lists, and what Okahu exports of them. Recognised by a `context` with ids beside a `start_time`, or by `span_name`, "
        "`span_id` and `duration_ms`."
    ),
    sees=(
        "Whatever the instrumentation wrote as attributes, in any dialect flyball knows; times to the microsecond, status, exceptions. Of "
        "Monocle: model calls with messages, model, usage and finish reason; tools with arguments and results; agents."
    ),
    cannot_see=(
        "The name of the instrumentation scope, which this form leaves out: the dialect is told by the attributes. Of Monocle: cache "
        "and reasoning tokens, ids of responses, definitions of tools."
    ),
)
