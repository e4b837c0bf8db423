"""Columns that hold what a span says, as it says it: ids, times, names, counters. Fills `Group.out`."""

from __future__ import annotations

from typing import Any, Final

from instrument.store import columns, provider_usage
from instrument.store.dialects import KINDS_BY_NAME, OPERATIONS
from instrument.store.group import Group
from instrument.store.stage import STAGE

_STATUS: Final = {
    0: "unset",
    1: "ok",
    2: "error",
    "STATUS_CODE_UNSET": "unset",
    "STATUS_CODE_OK": "ok",
    "STATUS_CODE_ERROR": "error",
}
_TEXTS: Final = (
    "agent_name", "conversation_id", "user_id", "error_type", "error_message", "provider", "request_model", "response_model",
    "response_id", "request_id", "tool_name", "tool_call_id", "rejected", "failure_kind", "service_tier", "speed", "inference_geo",
    "cost_source",
)  # fmt: skip
_KEYS: Final = ("call_key", "loose_call_key", "result_key", "output_key", "loose_output_key", "asked_key")
_FIRST_TOKEN_NS: Final = (("first_token_ms", 1e6), ("first_token_seconds", 1e9))
_INFERRED_TIMES: Final = ("start", "end", "both")
_LONGEST_WAIT: Final = 1e7
"""In either unit; more is no waiting time, and would not fit nanoseconds in 64 bits."""


def fill(group: Group) -> None:
    """Fills the columns; `kind` among them."""
    _identity(group)
    _texts(group)
    _numbers(group)
    kinds = group.out["kind"] = _kinds(group)
    if "agent_name" not in group.out and "entity_name" in group.shape.text:
        names = group.text("entity_name") or group.unknown()
        group.out["agent_name"] = [name if kind == "agent" else None for name, kind in zip(names, kinds, strict=True)]


def _identity(group: Group) -> None:
    spans, out = group.spans, group.out
    out["trace_id"], made_traces = columns.ids([s.traceId for s in spans], 32)
    out["span_id"], made_spans = columns.ids([s.spanId for s in spans], 16)
    out["parent_span_id"], made_parents = _parents([s.parentSpanId for s in spans])
    group.foreign_ids = made_traces + made_spans + made_parents
    out["name"] = [s.name for s in spans]
    out["start_ns"] = columns.times([s.startTimeUnixNano for s in spans])
    out["end_ns"] = columns.times([s.endTimeUnixNano for s in spans])
    out["status"] = [_STATUS.get(s.status.code, "unset") if s.status is not None else "unset" for s in spans]
    out["service_name"] = group.context.service_name
    out["dialect"] = group.shape.dialect
    out["source_key"] = [key for key, _ in group.sources]


def _parents(raw: list[str]) -> tuple[list[str | None], list[int]]:
    """Ids of parents, NULL where there is none, and the rows where it was spelled in a foreign way."""
    present = [row for row, p in enumerate(raw) if p]
    fixed, made = columns.ids([raw[row] for row in present], 16)
    if len(present) == len(raw):
        return list(fixed), made
    hexed = iter(fixed)
    return [next(hexed) if p else None for p in raw], [present[row] for row in made]


def _texts(group: Group) -> None:
    shape, out = group.shape, group.out
    for column in _TEXTS:
        if column in shape.text:
            out[column] = group.text(column)
    if "finish_reason" in shape.text:
        out["finish_reason"] = columns.first_texts(group.values(shape.text["finish_reason"]))
    if "inferred_times" in shape.text:
        out["inferred_times"] = [v if v in _INFERRED_TIMES else None for v in group.text("inferred_times") or ()]
    if "run_id" in shape.text:
        out["stamped_run_id"] = group.text("run_id")
    for column in _KEYS:
        if column in shape.text:
            out[column] = [key_of_hex(v) for v in group.text(column) or ()]


def _numbers(group: Group) -> None:
    shape, out = group.shape, group.out
    for column, position in shape.whole.items():
        if column in STAGE:
            out[column] = columns.whole(group.values(position))
    if "provider_metadata" in shape.text:
        provider_usage.complete(group)
    for column, position in shape.flag.items():
        if column in STAGE:
            out[column] = columns.flags(group.values(position))
    if "cost_usd" in shape.real:
        out["reported_usd"] = columns.real(group.values(shape.real["cost_usd"]))
    for column, factor in _FIRST_TOKEN_NS:
        if column in shape.real:
            waits = columns.real(group.values(shape.real[column]))
            out["time_to_first_token_ns"] = [_nanoseconds(w, factor) for w in waits]


def _nanoseconds(wait: float | None, factor: float) -> int | None:
    return None if wait is None or abs(wait) > _LONGEST_WAIT else int(wait * factor)


def _kinds(group: Group) -> list[str]:
    operations = group.text("operation")
    if operations is None:
        return [_kind_by_names(group)] * len(group.spans)
    known = {o: OPERATIONS.get(o.lower(), "other") if o else "other" for o in set(operations)}
    return [known[o] for o in operations]


def _kind_by_names(group: Group) -> str:
    shape = group.shape
    for name, kind in KINDS_BY_NAME:
        if name in group.names:
            return kind
    if "tool_name" in shape.text and "request_model" not in shape.text:
        return "tool"
    asked = "request_model" in shape.text or "response_model" in shape.text
    answered = "output_tokens" in shape.whole or "output_messages" in shape.text or shape.family
    return "model" if asked and answered else "other"


def key_of_hex(hexed: Any) -> int | None:
    """A key that a span carries as hex digits; None where it is none of 64 bits."""
    try:
        key = int(hexed, 16)
    except (TypeError, ValueError):
        return None
    return key if 0 <= key < 2**64 else None
