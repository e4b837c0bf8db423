"""Spans that an observability product exports in a JSON form of its own, as OTLP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

from analyzer.readers.loose import dumps, listing, mapping, moment_ns, text
from analyzer.readers.sink import Sink
from instrument.otlp import Event, Span, Status, attributes, one_resource
from instrument.store.columns import hex_id

_ERROR: Final = 2
_DEEPEST: Final = 8
"""Levels of an attribute's value that stay lists and maps; what lies deeper becomes JSON text."""
_LARGEST: Final = 2**63


@dataclass(slots=True)
class Exported:
    """One span. Ids are as the export spells them; times are nanoseconds since 1970, None where not known."""

    trace_id: str
    span_id: str
    name: str
    attributes: Mapping[str, Any]
    parent_id: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    error: str | None = None
    """What went wrong, "" where that is all that is known; None for a span that did not fail."""
    scope: str = ""
    resource: Mapping[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


def put(sink: Sink, source: str, found: Exported) -> None:
    """Hands `found` on. Attributes that are null are left out; ids that are not OTLP's are hashed, so that equal ids stay equal."""
    span = Span(
        own_id(found.trace_id, 32),
        own_id(found.span_id, 16),
        own_id(found.parent_id, 16) if found.parent_id else "",
        found.name,
        startTimeUnixNano=found.start_ns or 0,
        endTimeUnixNano=found.end_ns or 0,
        attributes=attributes(_kept(found.attributes)),
        events=found.events,
        status=None if found.error is None else Status(_ERROR, found.error),
    )
    sink.add(one_resource([span], scope=found.scope, resource=_kept(found.resource)), source)


def own_id(raw: str, digits: int) -> str:
    """An id as hex of `digits` digits."""
    return hex_id(raw, digits) or blake2b(raw.encode("utf-8", "replace"), digest_size=digits // 2).hexdigest()


def exception_events(found: Any) -> list[Event]:
    """Events of a span, whatever the case of their field names."""
    events = []
    for event in map(mapping, listing(found)):
        low = {k.lower(): v for k, v in event.items()}
        at = moment_ns(low.get("timestamp")) or 0
        events.append(Event(text(low.get("name")) or "", at, attributes(_kept(mapping(low.get("attributes"))))))
    return events


def _kept(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _bounded(v, _DEEPEST) for k, v in values.items() if v is not None}


def _bounded(value: Any, levels: int) -> Any:
    """The same, as OTLP can hold it: nothing nested without end, no number beyond 64 bits."""
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        return str(value)
    if not isinstance(value, dict | list):
        return value
    if not levels:
        return dumps(value)
    if isinstance(value, list):
        return [_bounded(v, levels - 1) for v in value]
    return {k: _bounded(v, levels - 1) for k, v in value.items()}
