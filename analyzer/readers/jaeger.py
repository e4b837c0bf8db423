"""Traces of Jaeger in its own JSON: what its page downloads, its API answers with, and its Elasticsearch index keeps.

Format: jaegertracing.io/docs, "APIs" (HTTP JSON, `model/json`). Times are microseconds; attributes are tags; what OpenTelemetry says of
a span beside its attributes became tags too (opentelemetry.io/docs/specs/otel/trace/sdk_exporters/jaeger).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from analyzer.readers.agent_runs import inferred, odd_record
from analyzer.readers.exported import Exported, put
from analyzer.readers.format import Format
from analyzer.readers.lines import values
from analyzer.readers.loose import count, listing, mapping, text
from analyzer.readers.openai_messages import decoded
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument.otlp import Event, attributes
from instrument.store.columns import LATEST_NS

_MARKS: Final = (re.compile(rb'"spanID"\s*:'), re.compile(rb'"operationName"\s*:'))
_LEVELS: Final = 5


def _sniff(head: bytes) -> bool:
    return all(mark.search(head) for mark in _MARKS)


def _read(stream: Stream, sink: Sink) -> None:
    made: Counter[str] = Counter()
    for value in values(stream, sink):
        for found, processes in _spans(value, {}, _LEVELS):
            span = _span(found, processes)
            if span is None:
                made["broken"] += 1
                continue
            made["spans"] += 1
            made["timeless"] += span.start_ns is None
            put(sink, stream.source, span)
    state(stream.source, sink, made)


def state(source: str, sink: Sink, made: Counter[str]) -> None:
    """Issues for what was left out (`broken`) and what has no time (`timeless`)."""
    if made["broken"] or not made["spans"]:
        message = "entries are no spans, or have no trace id and span id, and were left out"
        sink.add_issue(odd_record(source, message, made["broken"] or 1))
    if made["timeless"]:
        message = "spans have no start time, so their order is unknown"
        sink.add_issue(inferred("no_times", source, message, made["timeless"]))


def _spans(value: Any, processes: dict[str, Any], levels: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every span in a JSON value, with the processes of its trace."""
    if isinstance(value, list) and levels:
        for inner in value:
            yield from _spans(inner, processes, levels - 1)
    elif isinstance(value, dict) and ("spanID" in value or not levels):
        yield value, processes
    elif isinstance(value, dict):
        processes = mapping(value.get("processes")) or processes
        for name in ("data", "spans", "_source", "hits"):
            yield from _spans(value.get(name), processes, levels - 1)


def _span(found: dict[str, Any], processes: dict[str, Any]) -> Exported | None:
    trace_id, span_id = text(found.get("traceID")), text(found.get("spanID"))
    if trace_id is None or span_id is None:
        return None
    process = mapping(found.get("process")) or mapping(processes.get(str(found.get("processID"))))
    return tagged(
        trace_id,
        span_id,
        text(found.get("operationName")) or "",
        tags(found.get("tags")),
        parent_id=_parent(found, trace_id),
        start_us=found.get("startTime"),
        spent_us=found.get("duration"),
        resource={"service.name": text(process.get("serviceName")), **tags(process.get("tags"))},
        events=[_event(mapping(log)) for log in listing(found.get("logs"))],
    )


def tagged(
    trace_id: str,
    span_id: str,
    name: str,
    said: dict[str, Any],
    *,
    parent_id: str | None,
    start_us: Any,
    spent_us: Any,
    resource: dict[str, Any],
    events: list[Event],
) -> Exported:
    """A span of which the tags (`said`) say what OpenTelemetry has fields for. Times are microseconds."""
    scope = text(said.pop("otel.scope.name", None)) or text(said.pop("otel.library.name", None)) or ""
    failed = said.pop("otel.status_code", None) == "ERROR" or said.get("error") in (True, "true")
    reason = text(said.pop("otel.status_description", None)) or ""
    start, spent = count(start_us), count(spent_us)
    start = start if start and start * 1_000 < LATEST_NS else None
    return Exported(
        trace_id,
        span_id,
        name,
        {key: _value(key, value) for key, value in said.items()},
        parent_id=parent_id,
        start_ns=start and start * 1_000,
        end_ns=None if start is None or spent is None else min((start + spent) * 1_000, LATEST_NS),
        error=reason if failed else None,
        scope=scope,
        resource=resource,
        events=events,
    )


def _value(key: str, value: Any) -> Any:
    """Tags hold no lists: they became JSON. Of those that a column takes apart, only this one is not read as JSON anyway."""
    return decoded(value) if key.endswith("finish_reasons") else value


def tags(found: Any) -> dict[str, Any]:
    """Tags as a map, whether they are a list of keys and values, or one already."""
    if isinstance(found, dict):
        return dict(found)
    return {key: _typed(tag) for tag in map(mapping, listing(found)) if (key := text(tag.get("key")))}


def _typed(tag: dict[str, Any]) -> Any:
    """The value; Elasticsearch keeps all of them as texts."""
    kind, value = str(tag.get("type") or "").lower(), tag.get("value")
    if isinstance(value, str) and kind in ("bool", "int64", "float64"):
        value = decoded(value)
    return value


def _parent(found: dict[str, Any], trace_id: str) -> str | None:
    """What it is a child of; a span that only follows from another has its place there too. References to other traces are links."""
    references = [mapping(r) for r in listing(found.get("references"))]
    within = [r for r in references if r.get("traceID") in (None, trace_id)]
    for kind in ("CHILD_OF", "FOLLOWS_FROM"):
        for reference in within:
            if reference.get("refType") == kind and (parent := text(reference.get("spanID"))):
                return parent
    older = text(found.get("parentSpanID"))
    return older if older and older.strip("0") else None


def _event(log: dict[str, Any]) -> Event:
    said = {key: value for key, value in tags(log.get("fields")).items() if value is not None}
    at = count(log.get("timestamp")) or 0
    name = text(said.pop("event", None)) or text(said.pop("message", None)) or "log"
    return Event(name, at * 1_000 if at * 1_000 < LATEST_NS else 0, attributes(said))


JAEGER: Final = Format(
    "Jaeger trace",
    _sniff,
    _read,
    about=(
        "Traces in the JSON of [Jaeger](https://www.jaegertracing.io): downloads of its page, answers of its API, and spans out of its "
        "Elasticsearch index. Recognised by `spanID` and `operationName`."
    ),
    sees="Whatever the tags say, in any dialect flyball knows; times to the microsecond, status, events, process and scope.",
    cannot_see="Links between spans. The type of what was no text, where the index keeps texts only.",
)
