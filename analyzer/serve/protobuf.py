"""Export requests in protobuf to OTLP JSON, fast enough for one process.

Turning each message into Python objects would take most of a core at ten thousand spans a second. So spans are read through a shallow
view of the OTLP schema in which attributes stay undecoded bytes: on the wire a message and a `bytes` field look the same. Most
attributes come again and again (operation, model, tool), and what their bytes are as JSON is remembered.
"""

from __future__ import annotations

import base64
import math
from typing import Any, Final

import orjson
from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from analyzer.readers.otlp_messages import MESSAGES, Field, classes
from analyzer.serve.batch import NO_ID, NO_SPAN, Batch, Malformed

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_UNDECODED: Final = frozenset(("resource", "scope", "events", "links", "status"))
_TEXTS: Final = frozenset(("name", "trace_state"))


def _shallow(message: str) -> tuple[Field, ...]:
    """The fields of a message, those that few spans have or that are all the same as bytes."""
    return tuple(
        (
            name,
            number,
            _FIELD.TYPE_BYTES if name in _UNDECODED else _FIELD.TYPE_STRING if name in _TEXTS else kind,
            many,
        )
        for name, number, kind, many in MESSAGES[message]
    )


_VIEW: Final = {
    "Request": (("resource_spans", 1, "ResourceSpans", True),),
    **{message: _shallow(message) for message in ("ResourceSpans", "ScopeSpans", "Span")},
}
_Request: Final[Any] = classes(_VIEW, "flyball.view")["Request"]
_KNOWN: Final = 4_096
_KNOWN_BYTES: Final = 256
"""Pieces longer than this hardly come again and would fill the memory."""
_NOT_FINITE: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class Requests:
    """Decodes requests one after the other. Not thread-safe."""

    def __init__(self) -> None:
        self._known: dict[bytes | str, bytes] = {}
        """What has been encoded lately, by its bytes on the wire; names by themselves."""

    def batch(self, body: bytes) -> Batch:
        """An `ExportTraceServiceRequest` as a batch. Raises `Malformed`."""
        try:
            request = _Request.FromString(body)
            kept, rejected, reason = 0, 0, ""
            resources = []
            for resource in request.resource_spans:
                scopes = []
                for scope in resource.scope_spans:
                    spans = []
                    for span in scope.spans:
                        encoded = self._span(span)
                        if isinstance(encoded, str):
                            rejected, reason = rejected + 1, encoded
                        else:
                            spans.append(encoded)
                    if spans:
                        kept += len(spans)
                        scopes.append(b'{"scope":%b,"spans":[%b]}' % (_scope(scope.scope), b",".join(spans)))
                if scopes:
                    resources.append(
                        b'{"resource":{"attributes":[%b]},"scopeSpans":[%b]}'
                        % (self._resource(resource.resource), b",".join(scopes))
                    )
        except DecodeError as e:
            raise Malformed(f"the body is no ExportTraceServiceRequest in protobuf: {e}") from None
        line = b'{"resourceSpans":[%b]}\n' % b",".join(resources) if kept else b""
        return Batch(line, kept, rejected, reason)

    def _span(self, span: Any) -> bytes | str:
        """The span as JSON, or why it cannot be kept."""
        trace_id, span_id = span.trace_id, span.span_id
        if not any(trace_id) or not any(span_id):
            return NO_ID
        try:
            known = self._known
            attributes = [known.get(raw) or self._attribute(raw) for raw in span.attributes]
            rest = self._rest(span)
        except (DecodeError, RecursionError):
            return NO_SPAN
        parent = span.parent_span_id
        name = span.name
        return (
            b'{"traceId":"%b","spanId":"%b",%b"name":%b,"kind":%d,"startTimeUnixNano":"%d","endTimeUnixNano":"%d","attributes":[%b]%b}'
            % (
                trace_id.hex().encode(),
                span_id.hex().encode(),
                b'"parentSpanId":"%b",' % parent.hex().encode() if parent else b"",
                known.get(name) or self._name(name),
                span.kind,
                span.start,
                span.end,
                b",".join(attributes),
                rest,
            )
        )

    def _rest(self, span: Any) -> bytes:
        """What few spans have, and the status."""
        found: dict[str, Any] = {}
        if raw := span.status:
            status = Status.FromString(raw)
            found["status"] = {"code": status.code, **({"message": status.message} if status.message else {})}
        if events := span.events:
            found["events"] = [_event(Span.Event.FromString(raw)) for raw in events]
        if links := span.links:
            found["links"] = [_link(Span.Link.FromString(raw)) for raw in links]
        if dropped := span.dropped:
            found["droppedAttributesCount"] = dropped
        if state := span.trace_state:
            found["traceState"] = state
        return b"," + orjson.dumps(found)[1:-1] if found else b""

    def _attribute(self, raw: bytes) -> bytes:
        pair = KeyValue.FromString(raw)
        if text := pair.value.string_value:  # nearly always
            name = self._known.get(pair.key) or self._name(pair.key)
            return self._remember(raw, b'{"key":%b,"value":{"stringValue":%b}}' % (name, orjson.dumps(text)))
        return self._remember(raw, orjson.dumps(_pair(pair)))

    def _name(self, name: str) -> bytes:
        return self._remember(name, orjson.dumps(name))

    def _resource(self, raw: bytes) -> bytes:
        return orjson.dumps(_pairs(Resource.FromString(raw).attributes))[1:-1]

    def _remember(self, raw: bytes | str, encoded: bytes) -> bytes:
        if len(raw) <= _KNOWN_BYTES:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[raw] = encoded
        return encoded


def _scope(raw: bytes) -> bytes:
    scope = InstrumentationScope.FromString(raw)
    found: dict[str, Any] = {"name": scope.name, "version": scope.version}
    if scope.attributes:
        found["attributes"] = _pairs(scope.attributes)
    return orjson.dumps({name: value for name, value in found.items() if value})


def _event(event: Any) -> dict[str, Any]:
    return {"name": event.name, "timeUnixNano": str(event.time_unix_nano), "attributes": _pairs(event.attributes)}


def _link(link: Any) -> dict[str, Any]:
    return {
        "traceId": link.trace_id.hex(),
        "spanId": link.span_id.hex(),
        "attributes": _pairs(link.attributes),
    }


def _pairs(attributes: Any) -> list[dict[str, Any]]:
    return [_pair(pair) for pair in attributes]


def _pair(pair: Any) -> dict[str, Any]:
    return {"key": pair.key, "value": _value(pair.value)}


def _value(value: AnyValue) -> dict[str, Any]:
    """An `AnyValue` in the JSON mapping of OTLP: 64-bit integers as text, bytes in base64."""
    match value.WhichOneof("value"):
        case "string_value":
            return {"stringValue": value.string_value}
        case "int_value":
            return {"intValue": str(value.int_value)}
        case "bool_value":
            return {"boolValue": value.bool_value}
        case "double_value":
            number = value.double_value
            return {"doubleValue": number if math.isfinite(number) else _NOT_FINITE[str(number)]}
        case "array_value":
            return {"arrayValue": {"values": [_value(v) for v in value.array_value.values]}}
        case "kvlist_value":
            return {"kvlistValue": {"values": _pairs(value.kvlist_value.values)}}
        case "bytes_value":
            return {"bytesValue": base64.b64encode(value.bytes_value).decode()}
    return {}
