"""The shape every reader yields and the journal holds: OTLP spans, as typed values.

Names follow OTLP/JSON (opentelemetry.io/docs/specs/otlp, JSON Protobuf encoding) so that msgspec decodes trace files straight into
them. Unknown fields are ignored, as the specification asks. 64-bit integers may be numbers or decimal strings.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec


class AnyValue(msgspec.Struct, gc=False, omit_defaults=True):
    """One attribute value; at most one field is set. All unset: the producer wrote null."""

    stringValue: str | None = None  # noqa: N815 - the name on the wire
    intValue: int | str | None = None  # noqa: N815
    doubleValue: float | str | None = None  # noqa: N815 - NaN and the infinities come as strings
    boolValue: bool | None = None  # noqa: N815
    bytesValue: str | None = None  # noqa: N815
    arrayValue: ArrayValue | None = None  # noqa: N815
    kvlistValue: KeyValueList | None = None  # noqa: N815


class KeyValue(msgspec.Struct, gc=False):
    """One attribute."""

    key: str = ""
    value: AnyValue | None = None


class ArrayValue(msgspec.Struct):
    """A list of values."""

    values: list[AnyValue] = []


class KeyValueList(msgspec.Struct):
    """A map of values."""

    values: list[KeyValue] = []


class Status(msgspec.Struct, gc=False):
    """`code` 0 unset, 1 ok, 2 error, or the enum's name."""

    code: int | str = 0
    message: str = ""


class Event(msgspec.Struct):
    """Something that happened during the span, at `timeUnixNano` (nanoseconds since 1970)."""

    name: str = ""
    timeUnixNano: int | str = 0  # noqa: N815
    attributes: list[KeyValue] = []


class Span(msgspec.Struct):
    """One span. Ids are hex (32 and 16 digits) once normalised; times are nanoseconds since 1970, end 0 while pending."""

    traceId: str = ""  # noqa: N815
    spanId: str = ""  # noqa: N815
    parentSpanId: str = ""  # noqa: N815
    name: str = ""
    kind: int | str = 0
    startTimeUnixNano: int | str = 0  # noqa: N815
    endTimeUnixNano: int | str = 0  # noqa: N815
    attributes: list[KeyValue] = []
    events: list[Event] = []
    status: Status | None = None
    droppedAttributesCount: int = 0  # noqa: N815


class Scope(msgspec.Struct):
    """The library that made the spans."""

    name: str = ""
    version: str = ""


class ScopeSpans(msgspec.Struct):
    """Spans of one library."""

    scope: Scope | None = None
    spans: list[Span] = []


class Resource(msgspec.Struct):
    """The process that made the spans."""

    attributes: list[KeyValue] = []


class ResourceSpans(msgspec.Struct):
    """Spans of one process. `instrumentationLibrarySpans` is the name before OTLP 0.19."""

    resource: Resource | None = None
    scopeSpans: list[ScopeSpans] = []  # noqa: N815


class TracesData(msgspec.Struct):
    """One line of an OTLP JSON Lines file, or one OTLP JSON document."""

    resourceSpans: list[ResourceSpans] = []  # noqa: N815


class Issue(msgspec.Struct, frozen=True):
    """What could not be read, was lost, or had to be inferred.

    `kind` is a slug (`broken_line`, `lost_spans`, `not_a_trace`, `clipped`, ...); `source` names the file, `line` counts from 1 (None: the
    whole file); `count` says how many times; `remedy` what to do about it. `error` is True when something was not read.
    """

    kind: str
    source: str
    message: str
    remedy: str
    line: int | None = None
    count: int = 1
    error: bool = True


TOO_DEEP = "(nested too deeply to be read)"


def plain(value: AnyValue | None) -> Any:
    """The Python value of an attribute: str, int, float, bool, list, dict or None; `TOO_DEEP` for hundreds of lists in lists."""
    if value is None:
        return None
    if value.stringValue is not None:
        return value.stringValue
    try:
        return _plain(value)
    except RecursionError:
        return TOO_DEEP


def _plain(value: AnyValue | None) -> Any:
    if value is None:
        return None
    if value.stringValue is not None:
        return value.stringValue
    if value.intValue is not None:
        return _number(value.intValue, int)
    if value.boolValue is not None:
        return value.boolValue
    if value.doubleValue is not None:
        return _number(value.doubleValue, float)
    if value.arrayValue is not None:
        return [_plain(v) for v in value.arrayValue.values]
    if value.kvlistValue is not None:
        return {kv.key: _plain(kv.value) for kv in value.kvlistValue.values}
    return value.bytesValue


def _number(value: Any, to: type) -> Any:
    try:
        return to(value)
    except (ValueError, OverflowError):
        return value


def any_value(value: Any) -> AnyValue:
    """The reverse of `plain`; what OTLP cannot hold becomes its `str`."""
    if isinstance(value, str):
        return AnyValue(stringValue=value)
    if isinstance(value, bool):
        return AnyValue(boolValue=value)
    if isinstance(value, int):
        return AnyValue(intValue=value)
    if isinstance(value, float):
        return AnyValue(doubleValue=value)
    if isinstance(value, (list, tuple)):
        return AnyValue(arrayValue=ArrayValue([any_value(v) for v in value]))
    if isinstance(value, dict):
        return AnyValue(kvlistValue=KeyValueList([KeyValue(str(k), any_value(v)) for k, v in value.items()]))
    return AnyValue() if value is None else AnyValue(stringValue=str(value))


def attributes(values: dict[str, Any]) -> list[KeyValue]:
    """A dict as OTLP attributes."""
    # Nearly all are text, and a call for each would cost more than the rest.
    return [KeyValue(k, AnyValue(v) if type(v) is str else any_value(v)) for k, v in values.items()]


def one_resource(spans: Iterable[Span], *, scope: str, resource: dict[str, Any] | None = None) -> TracesData:
    """`spans` of one library in one process as a document."""
    return TracesData([ResourceSpans(Resource(attributes(resource or {})), [ScopeSpans(Scope(scope), list(spans))])])
