"""OpenInference spans exported as JSON: trees with `child_spans`, as benchmarks publish them, and flat spans, as Phoenix exports them.

A span's attributes may have dotted names or lie nested (`{"llm": {"model_name": ...}}`, `{"llm.input_messages": [{"message.role": ...}]}`);
here they get their dotted names back, which the store knows. Conventions: github.com/Arize-ai/openinference, `spec`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from analyzer.readers.agent_runs import inferred, odd_record
from analyzer.readers.exported import Exported, exception_events, put
from analyzer.readers.format import Format
from analyzer.readers.loose import amount, dumps, mapping, moment_ns, text
from analyzer.readers.openai_messages import decoded
from analyzer.readers.records import records
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream

# Tables of traces hold each as JSON text, with its quotes escaped.
_TREE: Final = re.compile(rb'"span_attributes\\?"\s*:\s*\{')
_TREE_SPAN: Final = re.compile(rb'"(?:child_spans|span_name|duration)\\?"\s*:')
_COLUMNS: Final = re.compile(rb'"context\.(?:trace|span)_id"\s*:')
# What `span.to_json()` of OpenTelemetry's Python SDK writes has a `context` too, but `kind` and `status`.
_FLAT: Final = (re.compile(rb'"context"\s*:\s*\{'), re.compile(rb'"span_kind"\s*:'))
_WHOLE: Final = ("metadata", "input.value", "output.value", "tool.parameters", "json_schema", "function.arguments",
                 "invocation_parameters", "template.variables", "document.metadata")  # fmt: skip
"""Ends of names whose values are JSON texts by the conventions, and which some exports decode."""
_DEEPEST: Final = 12
_DURATION: Final = re.compile(r"P(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?")
_SCOPE: Final = "openinference"


def _sniff(head: bytes) -> bool:
    if _TREE.search(head) and _TREE_SPAN.search(head):
        return True
    return _COLUMNS.search(head) is not None or all(mark.search(head) for mark in _FLAT)


def _read(stream: Stream, sink: Sink) -> None:
    made: Counter[str] = Counter()
    for _, record in records(stream, sink):
        for found, trace_id, parent_id in _spans(record):
            span = _span(found, trace_id, parent_id)
            if span is None:
                made["broken"] += 1
                continue
            made["timeless"] += span.start_ns is None
            made["spans"] += 1
            put(sink, stream.source, span)
    if made["broken"] or not made["spans"]:
        message = "entries are no spans, or have no trace id and span id, and were left out"
        sink.add_issue(odd_record(stream.source, message, made["broken"] or 1))
    if made["timeless"]:
        message = "spans have no start time, so their order is unknown"
        sink.add_issue(inferred("no_times", stream.source, message, made["timeless"]))


def _spans(value: Any) -> Iterator[tuple[dict[str, Any], str | None, str | None]]:
    """Every span in a JSON value, with the trace and the parent it lies in. Not recursive: depth is the file's to choose."""
    left: list[tuple[Any, str | None, str | None]] = [(value, None, None)]
    while left:
        here, trace_id, parent_id = left.pop()
        if isinstance(here, list):
            left.extend((v, trace_id, parent_id) for v in reversed(here))
        elif isinstance(here, dict):
            trace_id = text(here.get("trace_id")) or trace_id
            if _is_span(here):
                yield here, trace_id, parent_id
                left.append((here.get("child_spans"), trace_id, text(here.get("span_id")) or parent_id))
            else:
                inner = [decoded(v) if name == "trace" else v for name, v in here.items()]
                left.extend((v, trace_id, parent_id) for v in reversed(inner))


def _is_span(found: dict[str, Any]) -> bool:
    return (
        "span_attributes" in found
        or "child_spans" in found
        or "context.span_id" in found
        or ("context" in found and "attributes" in found)
    )


def _span(found: dict[str, Any], trace_id: str | None, parent_id: str | None) -> Exported | None:
    context = mapping(found.get("context"))
    trace = text(context.get("trace_id")) or text(found.get("context.trace_id")) or trace_id
    span = text(context.get("span_id")) or text(found.get("context.span_id")) or text(found.get("span_id"))
    if trace is None or span is None:
        return None
    start = moment_ns(found.get("start_time", found.get("timestamp")))
    spent = _duration_ns(found.get("duration"))
    end = moment_ns(found.get("end_time"))
    failed = (text(found.get("status_code")) or "").upper().endswith("ERROR")
    return Exported(
        trace,
        span,
        text(found.get("name")) or text(found.get("span_name")) or "",
        _attributes(found),
        parent_id=text(found.get("parent_id")) or text(found.get("parent_span_id")) or parent_id,
        start_ns=start,
        end_ns=end if end or start is None or spent is None else start + spent,
        error=(text(found.get("status_message")) or "") if failed else None,
        scope=text(found.get("scope_name")) or _SCOPE,
        resource={"service.name": text(found.get("service_name")), **mapping(found.get("resource_attributes"))},
        events=exception_events(found.get("events")),
    )


def _attributes(found: dict[str, Any]) -> dict[str, Any]:
    """The attributes under their dotted names, wherever the export put them."""
    flat: dict[str, Any] = {}
    for name in ("attributes", "span_attributes"):
        _flatten("", found.get(name), flat, _DEEPEST)
    for name, value in found.items():
        if name.startswith("attributes."):
            _flatten(name.removeprefix("attributes."), value, flat, _DEEPEST)
    kind = text(found.get("span_kind"))
    if kind and "openinference.span.kind" not in flat and not found.get("span_attributes"):
        flat["openinference.span.kind"] = kind
    return flat


def _flatten(name: str, value: Any, into: dict[str, Any], levels: int) -> None:
    if name.endswith(_WHOLE) or not levels:
        into[name] = value if value is None or isinstance(value, str) else dumps(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            _flatten(f"{name}.{key}" if name else key, inner, into, levels - 1)
    elif isinstance(value, list) and any(isinstance(v, dict) for v in value):
        for number, inner in enumerate(value):
            _flatten(f"{name}.{number}", inner, into, levels - 1)
    elif name:
        into[name] = value


def _duration_ns(value: Any) -> int | None:
    """Nanoseconds of an ISO 8601 duration (`PT1M2.5S`), or of a number of seconds."""
    if isinstance(value, str):
        parts = _DURATION.fullmatch(value)
        if parts is None or len(value) > 40:
            return None
        days, hours, minutes, seconds = (float(p or 0) for p in parts.groups())
        value = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    seconds_spent = amount(value)
    return None if seconds_spent is None or seconds_spent > 1e9 else round(seconds_spent * 1e9)


OPENINFERENCE: Final = Format(
    "OpenInference spans",
    _sniff,
    _read,
    about=(
        "Spans with the names of [OpenInference](https://github.com/Arize-ai/openinference): trees of `span_attributes` and `child_spans`, "
        "as benchmarks publish them, and flat spans, as Phoenix exports them (JSON or JSON Lines; attributes dotted or nested). Recognised "
        "by `span_attributes`, by `context.trace_id`, or by a `context` beside a `span_kind`."
    ),
    sees=(
        "Model calls (`LLM`), tools, agents and what lies around them; messages, tool calls and definitions; usage with cache and "
        "reasoning; sessions and users; times, status, exceptions."
    ),
    cannot_see=(
        "The id of a response, unless the whole response is in `output.value`. Attributes beyond the SDK's limit of 128 are lost at the "
        "source, the oldest first: of long conversations that can be the model's name and the first messages."
    ),
)
