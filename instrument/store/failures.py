"""Whether a span failed and with what: its status, its error attributes, the exception among its events."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

from instrument import sameness
from instrument.otlp import Event, plain
from instrument.store import columns
from instrument.store.group import MESSAGE_CHARS, Group

_EVENTS: Final = attrgetter("events")


def fill(group: Group) -> None:
    """Fills `events` and the columns of flagged failures; what only a tool's own words say is looked at later."""
    _events(group)
    if _nothing_to_say(group):
        group.out["failed"] = [False] * len(group.spans)
        return
    for row, span in enumerate(group.spans):
        if span.status is not None and span.status.message:
            group.complete("error_message", row, span.status.message)
    _flagged(group)


def _events(group: Group) -> None:
    """Span events as JSON, and the exception among them into the error columns."""
    if not any(map(_EVENTS, group.spans)):
        return
    column = group.column("events")
    for row, span in enumerate(group.spans):
        if span.events:
            events = [_event(e) for e in span.events]
            column[row] = columns.dumps(events)
            thrown: dict[str, Any] = next((e["attributes"] for e in events if e["name"] == "exception"), {})
            group.complete("error_type", row, thrown.get("exception.type"))
            group.complete("error_message", row, thrown.get("exception.message"))


def _event(event: Event) -> dict[str, Any]:
    values = {a.key: plain(a.value) for a in event.attributes}
    return {"name": event.name, "time_ns": columns.int_of(event.timeUnixNano), "attributes": values}


def _nothing_to_say(group: Group) -> bool:
    out = group.out
    if "error_type" in out or "failure_kind" in out or True in (out.get("pending") or ()):
        return False
    return all(s == "ok" for s in out["status"])


def _flagged(group: Group) -> None:
    out, pending = group.out, group.column("pending")
    types, texts, given = group.column("error_type"), group.column("error_message"), group.column("failure_kind")
    # An exception event on a span that ended well was handled: it counts only where the status does not deny it.
    failed = [
        status == "error" or (kind is not None and status == "unset") or known is not None
        for status, kind, known in zip(out["status"], types, given, strict=True)
    ]
    out["failed"] = [None if waits else f for f, waits in zip(failed, pending, strict=True)]
    out["failure_kind"] = [
        (known or sameness.failure_kind(kind, text)) if f else None
        for f, known, kind, text in zip(out["failed"], given, types, texts, strict=True)
    ]
    out["error_message"] = [None if t is None else t[:MESSAGE_CHARS] for t in texts]
