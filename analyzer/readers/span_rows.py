"""One object per span, as databases of spans give their rows: JSON Lines, lists, and Parquet.

Names of columns differ and say the same: `trace_id`, `span_id` and `parent_span_id` (what `flyball export` writes), or `TraceId`, `SpanId`
and `ParentSpanId` (what the OpenTelemetry Collector writes to ClickHouse). Attributes are maps, or JSON texts of maps or of OTLP's pairs.
Scope, status and resource may be maps of their own (CloudWatch's `aws/spans`); rows may lie in a list of a document (`{"spans": [...]}`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from analyzer.readers.agent_runs import inferred, odd_record
from analyzer.readers.exported import own_id
from analyzer.readers.format import Format
from analyzer.readers.lines import decode, values
from analyzer.readers.loose import count, listing, mapping, moment_ns, text
from analyzer.readers.outline import outline
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument.otlp import (
    Event,
    KeyValue,
    Resource,
    ResourceSpans,
    Scope,
    ScopeSpans,
    Span,
    Status,
    TracesData,
    attributes,
)

_ALSO: Final = {
    "trace_id": ("traceid",),
    "span_id": ("spanid",),
    "parent_span_id": ("parentspanid", "parent_id", "parentid"),
    "name": ("span_name", "spanname"),
    "kind": ("span_kind", "spankind"),
    "start": ("start_time_unix_nano", "starttimeunixnano", "start_time", "starttime", "timestamp"),
    "end": ("end_time_unix_nano", "endtimeunixnano", "end_time", "endtime"),
    "duration": ("duration", "duration_ns", "durationnano"),
    "status_code": ("statuscode", "status.code", "status"),
    "status_message": ("statusmessage", "status.message"),
    "attributes": ("span_attributes", "spanattributes"),
    "resource_attributes": ("resourceattributes", "resource.attributes"),
    "service_name": ("servicename", "service.name"),
    "scope_name": ("scopename", "scope.name", "instrumentation_scope"),
    "scope_version": ("scopeversion", "scope.version"),
    "events": ("span_events",),
    "scope": ("instrumentationscope",),
}
"""Our name of a column, to its other names in lower case."""
_OURS: Final = {other: name for name, others in _ALSO.items() for other in (name, *others)}
_ID: Final = re.compile(rb'"span_?id"\s*:', re.IGNORECASE)
_KINDS: Final = {"INTERNAL": 1, "SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}
_CODES: Final = {"OK": 1, "ERROR": 2}
_MICROSECONDS_FROM: Final = 10**14
"""As milliseconds this would be the year 5138; as nanoseconds `_NANOSECONDS_FROM` is April 1973."""
_NANOSECONDS_FROM: Final = 10**17
_PAIRS: Final = list[KeyValue]
_NEEDED: Final = {"trace_id", "span_id", "start"}
_LEVELS: Final = 4
"""Lists and maps around the rows of a document."""


def _sniff(head: bytes) -> bool:
    if not _ID.search(head):
        return False
    columns: dict[str, set[str | None]] = {}
    for place in outline(head):
        row, _, column = place.rpartition(".")
        if not row or row.endswith("[]"):
            columns.setdefault(row, set()).add(_OURS.get(column.lower()))
            # The columns of a row that is not in a list may have dots of their own.
            columns.setdefault("", set()).add(_OURS.get(place.lower()))
    return any(found >= _NEEDED for found in columns.values())


def _read(stream: Stream, sink: Sink) -> None:
    made: Counter[str] = Counter()
    for value in values(stream, sink):
        for row in _rows(value):
            document = _document(row) if isinstance(row, dict) else None
            if document is None:
                made["broken"] += 1
                continue
            made["spans"] += 1
            made["timeless"] += not document.resourceSpans[0].scopeSpans[0].spans[0].startTimeUnixNano
            sink.add(document, stream.source)
    if made["broken"] or not made["spans"]:
        message = "rows have no trace id and span id and were left out"
        sink.add_issue(odd_record(stream.source, message, made["broken"] or 1))
    if made["timeless"]:
        message = "spans have no start time, so their order is unknown"
        sink.add_issue(inferred("no_times", stream.source, message, made["timeless"]))


def _rows(value: Any, levels: int = _LEVELS) -> Iterator[Any]:
    """The rows of a value: itself, or those in its lists."""
    if isinstance(value, list):
        for inner in value:
            yield from _rows(inner, levels - 1) if levels and not isinstance(inner, str) else [inner]
    elif isinstance(value, dict) and levels and not any(_OURS.get(name.lower()) == "span_id" for name in value):
        lists = [v for v in value.values() if isinstance(v, list | dict)]
        yield from [row for inner in lists for row in _rows(inner, levels - 1)] if lists else [value]
    else:
        yield value


def _document(row: dict[str, Any]) -> TracesData | None:
    """One row as OTLP; None where it has no ids. Of several names for the same, the first wins."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        found.setdefault(_OURS.get(name.lower(), name), value)
    scope, status, resource_map = (mapping(found.get(name)) for name in ("scope", "status_code", "resource"))
    trace_id, span_id = text(found.get("trace_id")), text(found.get("span_id"))
    if trace_id is None or span_id is None:
        return None
    start = _stated(row, "start_time_unix_nano") or _moment(found.get("start"))
    parent_id = text(found.get("parent_span_id"))
    span = Span(
        own_id(trace_id, 32),
        own_id(span_id, 16),
        own_id(parent_id, 16) if parent_id and parent_id.strip("0") else "",
        text(found.get("name")) or "",
        _named(found.get("kind"), _KINDS),
        start,
        _stated(row, "end_time_unix_nano") or _moment(found.get("end")) or _after(start, found.get("duration")),
        _pairs(found.get("attributes")),
        _events(found),
        _status(status or {"code": found.get("status_code"), "message": found.get("status_message")}),
    )
    resource = _pairs(found.get("resource_attributes", resource_map.get("attributes")))
    if (service := text(found.get("service_name"))) and not any(a.key == "service.name" for a in resource):
        resource += attributes({"service.name": service})
    library, version = (text(found.get(f"scope_{n}")) or text(scope.get(n)) or "" for n in ("name", "version"))
    return TracesData([ResourceSpans(Resource(resource), [ScopeSpans(Scope(library, version), [span])])])


def _status(found: dict[str, Any]) -> Status:
    message = text(found.get("message")) or text(found.get("description")) or ""
    return Status(_named(found.get("code", found.get("status_code")), _CODES), message)


def _decoded(value: Any) -> Any:
    """A value, out of its JSON where it is a text of it."""
    if not isinstance(value, str):
        return value
    try:
        return decode(value.encode("utf-8", "replace"))
    except ValueError:
        return None


def _pairs(value: Any) -> list[KeyValue]:
    value = _decoded(value)
    if isinstance(value, list):
        try:
            return msgspec.convert(value, _PAIRS)
        except msgspec.ValidationError:
            return []
    return attributes({name: v for name, v in mapping(value).items() if v is not None})


def _events(found: dict[str, Any]) -> list[Event]:
    """Events as a list, or in columns of their own (`Events.Name`)."""
    columns = [listing(found.get(f"Events.{name}")) for name in ("Name", "Timestamp", "Attributes")]
    events = listing(_decoded(found.get("events"))) or [
        {"name": name, "timestamp": at, "attributes": said} for name, at, said in zip(*columns, strict=False)
    ]
    return [_event(mapping(event)) for event in events]


def _event(event: dict[str, Any]) -> Event:
    low = {name.lower(): value for name, value in event.items()}
    at = low.get("time_unix_nano", low.get("timeunixnano", low.get("timestamp", low.get("time"))))
    stated = _stated(low, "time_unix_nano") or _moment(at)
    return Event(text(low.get("name")) or text(low.get("event_name")) or "", stated, _pairs(low.get("attributes")))


def _stated(row: dict[str, Any], name: str) -> int:
    """A time whose unit its column names; 0 where there is none."""
    value = row.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _moment(value: Any) -> int:
    """Nanoseconds since 1970, of a time written in whatever unit; 0, which is OTLP's "not known", where it is none."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= _MICROSECONDS_FROM:
        return value if value >= _NANOSECONDS_FROM else value * 1_000
    return moment_ns(value) or 0


def _after(start: int, nanoseconds: Any) -> int:
    return start + nanoseconds if start and isinstance(nanoseconds, int) and nanoseconds >= 0 else 0


def _named(value: Any, names: dict[str, int]) -> int:
    """An enum by number or by name, with or without what stands before it (`SPAN_KIND_CLIENT`)."""
    if isinstance(value, str):
        return names.get(re.split(r"[._]", value.upper())[-1], 0)
    number = count(value)
    return number if number is not None and number <= len(names) else 0


SPAN_ROWS: Final = Format(
    "span rows",
    _sniff,
    _read,
    about=(
        "One row per span, in JSON Lines, lists or Parquet: what `flyball export --format parquet` writes, tables of the OpenTelemetry "
        "Collector's ClickHouse exporter (`TraceId`, `SpanAttributes`) and of CloudWatch (`aws/spans`), and others with the same columns; "
        'also a list within a document (`{"spans": [...]}`). Recognised by columns for the ids of trace and span and for a start.'
    ),
    sees="Whatever the attributes say, in any dialect flyball knows; times, status, events, resource and scope.",
    cannot_see="What has no column. Times are taken as seconds, milliseconds, microseconds or nanoseconds by their size.",
)
