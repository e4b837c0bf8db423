"""OTLP's protobuf messages as typed spans.

The messages are declared here, by their numbers in opentelemetry/proto/trace/v1/trace.proto and common/v1/common.proto (1.x), for two
reasons. Texts are declared as bytes, which are the same on the wire: protobuf refuses a whole message for one text that is not UTF-8.
And attributes of a span stay undecoded bytes: most of them come again and again, and what they decode to is remembered.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from instrument import otlp

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_BYTES, _DOUBLE, _INT, _UINT, _TIME, _BOOL = (
    _FIELD.TYPE_BYTES, _FIELD.TYPE_DOUBLE, _FIELD.TYPE_INT64, _FIELD.TYPE_UINT32, _FIELD.TYPE_FIXED64, _FIELD.TYPE_BOOL,
)  # fmt: skip
Field = tuple[str, int, Any, bool]
"""Name, number, type (or the name of a message), and whether it may be repeated."""
MESSAGES: Final[dict[str, tuple[Field, ...]]] = {
    "AnyValue": (
        ("stringValue", 1, _BYTES, False),
        ("boolValue", 2, _BOOL, False),
        ("intValue", 3, _INT, False),
        ("doubleValue", 4, _DOUBLE, False),
        ("arrayValue", 5, "ArrayValue", False),
        ("kvlistValue", 6, "KeyValueList", False),
        ("bytesValue", 7, _BYTES, False),
    ),
    "ArrayValue": (("values", 1, "AnyValue", True),),
    "KeyValueList": (("values", 1, "KeyValue", True),),
    "KeyValue": (("key", 1, _BYTES, False), ("value", 2, "AnyValue", False)),
    "Resource": (("attributes", 1, _BYTES, True),),
    "Scope": (("name", 1, _BYTES, False), ("version", 2, _BYTES, False)),
    "Status": (("message", 2, _BYTES, False), ("code", 3, _INT, False)),
    "Event": (("time", 1, _TIME, False), ("name", 2, _BYTES, False), ("attributes", 3, _BYTES, True)),
    "Span": (
        ("trace_id", 1, _BYTES, False),
        ("span_id", 2, _BYTES, False),
        ("trace_state", 3, _BYTES, False),
        ("parent_span_id", 4, _BYTES, False),
        ("name", 5, _BYTES, False),
        ("kind", 6, _INT, False),
        ("start", 7, _TIME, False),
        ("end", 8, _TIME, False),
        ("attributes", 9, _BYTES, True),
        ("dropped", 10, _UINT, False),
        ("events", 11, "Event", True),
        ("links", 13, _BYTES, True),
        ("status", 15, "Status", False),
    ),
    "ScopeSpans": (("scope", 1, "Scope", False), ("spans", 2, "Span", True)),
    "ResourceSpans": (("resource", 1, "Resource", False), ("scope_spans", 2, "ScopeSpans", True)),
}
_KNOWN: Final = 16_384
_KNOWN_BYTES: Final = 256
"""Attributes longer than this hardly come again and would fill the memory."""


def classes(messages: dict[str, tuple[Field, ...]], package: str) -> dict[str, Any]:
    """A class for each of `messages`. On the wire a message is bytes with their length: declared as bytes, it stays undecoded."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            made = message.field.add(name=field, number=number)
            made.label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            if isinstance(kind, str):
                made.type, made.type_name = _FIELD.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                made.type = kind
            if name == "AnyValue":
                made.oneof_index = 0
        if name == "AnyValue":
            message.oneof_decl.add(name="value")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages}


_CLASSES: Final = classes(MESSAGES, "flyball.otlp")
_RESOURCE_SPANS: Final = _CLASSES["ResourceSpans"]
_KEY_VALUE: Final = _CLASSES["KeyValue"]


class Messages:
    """Decodes one message after the other. Not thread-safe."""

    def __init__(self) -> None:
        self._known: dict[bytes, otlp.KeyValue] = {}
        self.unreadable = 0
        """Attributes so far that could not be decoded: damaged, or nested more than 100 deep."""

    def resource_spans(self, data: bytes) -> otlp.ResourceSpans:
        """A `ResourceSpans` message. Raises ValueError where it is none."""
        try:
            message = _RESOURCE_SPANS.FromString(data)
        except DecodeError as e:
            raise ValueError(str(e)) from None
        return otlp.ResourceSpans(
            otlp.Resource(self._attributes(message.resource.attributes)),
            [
                otlp.ScopeSpans(
                    otlp.Scope(_text(s.scope.name), _text(s.scope.version)), [self._span(span) for span in s.spans]
                )
                for s in message.scope_spans
            ],
        )

    def _span(self, span: Any) -> otlp.Span:
        # By position: msgspec takes names at twice the cost.
        return otlp.Span(
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            _text(span.name),
            span.kind,
            span.start,
            span.end,
            self._attributes(span.attributes),
            [otlp.Event(_text(e.name), e.time, self._attributes(e.attributes)) for e in span.events],
            otlp.Status(span.status.code, _text(span.status.message)),
            span.dropped,
        )

    def _attributes(self, raws: Any) -> list[otlp.KeyValue]:
        known = self._known
        return [pair for raw in raws if (pair := known.get(raw) or self._attribute(raw)) is not None]

    def _attribute(self, raw: bytes) -> otlp.KeyValue | None:
        try:
            pair = _pair(_KEY_VALUE.FromString(raw))
        except DecodeError:
            self.unreadable += 1
            return None
        if len(raw) <= _KNOWN_BYTES:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[raw] = pair
        return pair


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _pair(pair: Any) -> otlp.KeyValue:
    return otlp.KeyValue(_text(pair.key), _value(pair.value))


def _value(value: Any) -> otlp.AnyValue:
    match value.WhichOneof("value"):
        case "stringValue":
            return otlp.AnyValue(_text(value.stringValue))
        case "arrayValue":
            return otlp.AnyValue(arrayValue=otlp.ArrayValue([_value(v) for v in value.arrayValue.values]))
        case "kvlistValue":
            return otlp.AnyValue(kvlistValue=otlp.KeyValueList([_pair(p) for p in value.kvlistValue.values]))
        case "bytesValue":
            return otlp.AnyValue(bytesValue=base64.b64encode(value.bytesValue).decode())
        case None:
            return otlp.AnyValue()
        case kind:
            return otlp.AnyValue(**{kind: getattr(value, kind)})
