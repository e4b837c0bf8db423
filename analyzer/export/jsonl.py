"""Stored spans as OTLP JSON Lines: a line for each stretch of spans of one process and one library."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any, BinaryIO, Final

import orjson

from analyzer.export.attributes import attributes_of, scope_of
from analyzer.export.stored import Stored
from instrument.otlp_line import dumps, encoded

_STATUSES: Final = {"unset": 0, "ok": 1, "error": 2}
CLIENT: Final = 3
INTERNAL: Final = 1
"""Kinds of spans in OTLP: a model is called elsewhere, all else happens in the process."""


def write_jsonl(batches: Iterable[list[Stored]], out: BinaryIO) -> None:
    """Writes every span."""
    for batch in batches:
        for (resource, scope), spans in groupby(batch, key=_context):
            scopes = [{"scope": {"name": scope} if scope else {}, "spans": [otlp(span) for span in spans]}]
            attributes = encoded(orjson.loads(resource))
            out.write(
                dumps({"resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": scopes}]}) + b"\n"
            )


def _context(span: Stored) -> tuple[bytes, str]:
    return dumps(span.resource), scope_of(span)


def otlp(span: Stored) -> dict[str, Any]:
    """One span in the JSON mapping of OTLP."""
    row = span.row
    found: dict[str, Any] = {"traceId": row["trace_id"], "spanId": row["span_id"]}
    if row["parent_span_id"]:
        found["parentSpanId"] = row["parent_span_id"]
    found |= {"name": row["name"] or "", "kind": kind_of(span)}
    for name, at in (("startTimeUnixNano", row["start_ns"]), ("endTimeUnixNano", row["end_ns"])):
        if at is not None:
            found[name] = str(at)
    found["attributes"] = encoded(attributes_of(span))
    if span.events:
        found["events"] = [
            {"name": e["name"], "timeUnixNano": str(e["time_ns"] or 0), "attributes": encoded(e["attributes"])}
            for e in span.events
        ]
    found["status"] = {"code": status_code(span), **({"message": said} if (said := status_message(span)) else {})}
    return found


def kind_of(span: Stored) -> int:
    """OTLP's kind of a span."""
    return CLIENT if span.row["kind"] == "model" else INTERNAL


def status_code(span: Stored) -> int:
    """OTLP's code of the status."""
    return _STATUSES[span.row["status"]]


def status_message(span: Stored) -> str:
    """The text of an error; empty where there is none."""
    return span.row["error_message"] or "" if span.row["status"] == "error" else ""
