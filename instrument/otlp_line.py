"""A span of the OpenTelemetry SDK as one line of OTLP JSON: what the journal holds.

Encoding follows the OTLP/JSON mapping (opentelemetry.io/docs/specs/otlp): ids in hex, 64-bit integers as decimal strings, enums as numbers.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind, StatusCode

_KINDS: Final = {
    SpanKind.INTERNAL: 1,
    SpanKind.SERVER: 2,
    SpanKind.CLIENT: 3,
    SpanKind.PRODUCER: 4,
    SpanKind.CONSUMER: 5,
}
_STATUSES: Final = {StatusCode.UNSET: 0, StatusCode.OK: 1, StatusCode.ERROR: 2}
_PREFIXES_KEPT: Final = 1_000
TAIL: Final = b"]}]}]}\n"


class Prefixes:
    """The start of a line, which all spans of one library in one process share."""

    def __init__(self) -> None:
        # Keyed by identity, because hashing a resource costs more than writing the line; the values keep the objects alive.
        self._known: dict[tuple[int, int], tuple[bytes, object, object]] = {}

    def of(self, resource: Resource | None, scope: InstrumentationScope | None) -> bytes:
        """`{"resourceSpans":[...` up to where the span goes; `TAIL` closes the line."""
        found = self._known.get((id(resource), id(scope)))
        if found is None:
            if len(self._known) >= _PREFIXES_KEPT:
                self._known.clear()
            found = (_prefix(resource, scope), resource, scope)
            self._known[id(resource), id(scope)] = found
        return found[0]


def _prefix(resource: Resource | None, scope: InstrumentationScope | None) -> bytes:
    named = {"name": scope.name, "version": scope.version or ""} if scope is not None else {}
    head = dumps(
        {"resource": {"attributes": encoded(resource.attributes if resource is not None else {})}, "scope": named}
    )
    middle = head.rindex(b',"scope":')
    return b'{"resourceSpans":[' + head[:middle] + b',"scopeSpans":[{' + head[middle + 1 : -1] + b',"spans":['


def encoded(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Attributes as OTLP key-value pairs."""
    return [{"key": k, "value": {"stringValue": v} if type(v) is str else value_of(v)} for k, v in attributes.items()]


def attribute(name: str, value: Any) -> bytes:
    """One attribute as an OTLP key-value pair, encoded."""
    return dumps({"key": name, "value": value_of(value)})


def value_of(value: Any) -> dict[str, Any]:
    """One attribute as an OTLP `AnyValue`; what OTLP has no type for becomes its `str`."""
    match value:
        case None:
            return {}
        case str():
            return {"stringValue": value}
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)} if -(2**63) <= value < 2**63 else {"stringValue": str(value)}
        case float():
            return {"doubleValue": value if math.isfinite(value) else _NOT_FINITE[str(value)]}
        case bytes():
            return {"bytesValue": base64.b64encode(value).decode()}
        case list() | tuple():
            return {"arrayValue": {"values": [value_of(v) for v in value]}}
        case Mapping():
            return {"kvlistValue": {"values": encoded({str(k): v for k, v in value.items()})}}
    return {"stringValue": str(value)}


_NOT_FINITE: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def ended(
    span: ReadableSpan, attributes: Iterable[bytes], message: str | None, events: list[dict[str, Any]]
) -> tuple[bytes, ...]:
    """An ended span in pieces, its attributes (encoded), status message and events as given: they may have been redacted."""
    start = b'%b"endTimeUnixNano":"%d","attributes":[' % (_identity(span), span.end_time or 0)
    return start, b",".join(attributes), _ending(span, message, events)


def _ending(span: ReadableSpan, message: str | None, events: list[dict[str, Any]]) -> bytes:
    """From the end of the attributes to that of the span."""
    rest: dict[str, Any] = {}
    if events:
        rest["events"] = events
    # The public property takes a lock and a copy, nearly always of nothing.
    if getattr(span, "_links", True) and span.links:
        rest["links"] = [_link(link) for link in span.links]
    if dropped := span.dropped_attributes:
        rest["droppedAttributesCount"] = dropped
    status: dict[str, Any] = {}
    if code := _STATUSES[span.status.status_code]:
        status["code"] = code
    if message:
        status["message"] = message
    if not rest and not status:
        return b'],"status":{}}'
    rest["status"] = status
    return b"]," + dumps(rest)[1:]


def started(span: ReadableSpan, attributes: Mapping[str, Any]) -> bytes:
    """The mark of a span that has only started."""
    return b'%b"attributes":%b}' % (_identity(span), dumps(encoded(attributes)))


def _identity(span: ReadableSpan) -> bytes:
    """The fields that a span has from its start; a comma ends them."""
    context, parent = span.context, span.parent
    trace_id, span_id = (_hex(context.trace_id, 16), _hex(context.span_id, 8)) if context is not None else ("", "")
    below = f'"parentSpanId":"{_hex(parent.span_id, 8)}",' if parent is not None else ""
    started = f'"kind":{_KINDS[span.kind]},"startTimeUnixNano":"{span.start_time or 0}",'
    ids = f'{{"traceId":"{trace_id}","spanId":"{span_id}",{below}"name":'
    return b"%b%b,%b" % (ids.encode(), dumps(span.name), started.encode())


def _hex(number: int, size: int) -> str:
    return number.to_bytes(size, "big").hex()  # four times as fast as formatting


def _link(link: Any) -> dict[str, Any]:
    context = link.context
    return {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "attributes": encoded(link.attributes or {}),
    }


def own_line(name: str, trace_id: str, span_id: str, at_ns: int, attributes: Mapping[str, Any]) -> bytes:
    """A line of the recorder itself, made without the SDK so that it can report what the SDK's spans could not."""
    span = {
        "traceId": trace_id,
        "spanId": span_id,
        "name": name,
        "kind": 1,
        "startTimeUnixNano": str(at_ns),
        "endTimeUnixNano": str(at_ns),
        "attributes": encoded(attributes),
        "status": {},
    }
    return dumps(span)


def dumps(value: Any) -> bytes:
    """JSON. Lone surrogates, which no JSON reader but Python's accepts, are replaced."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return orjson.dumps(_mended(value), default=str)


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_mended(str(k)): _mended(v) for k, v in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [_mended(v) for v in value]
    return value
