"""A stored span in the names of the GenAI conventions, so that the loader makes the same row of it again."""

from __future__ import annotations

import math
from typing import Any, Final

import orjson

from analyzer.export.stored import Stored
from instrument import semconv
from instrument.store.dialects import KINDS_BY_NAME, SCOPES, TEXT
from instrument.store.schema import SPANS

_OPERATIONS: Final = {
    "agent": semconv.INVOKE_AGENT,
    "model": semconv.CHAT,
    "tool": semconv.EXECUTE_TOOL,
}
_NO_KIND: Final = "other"
"""Operation of a span that is none of these, where its attributes would make it look like one."""
_DIRECT: Final = {
    "agent_name": semconv.AGENT_NAME,
    "conversation_id": semconv.CONVERSATION_ID,
    "user_id": semconv.USER_ID,
    "inferred_times": semconv.TIMES_INFERRED,
    "error_type": semconv.ERROR_TYPE,
    "error_message": "error.message",
    "provider": semconv.PROVIDER,
    "request_model": semconv.REQUEST_MODEL,
    "response_model": semconv.RESPONSE_MODEL,
    "response_id": semconv.RESPONSE_ID,
    "request_id": "anthropic.request.id",
    "max_tokens": semconv.REQUEST_MAX_TOKENS,
    "input_tokens": semconv.INPUT_TOKENS,
    "output_tokens": semconv.OUTPUT_TOKENS,
    "cache_read_tokens": semconv.CACHE_READ_TOKENS,
    "cache_write_tokens": semconv.CACHE_WRITE_TOKENS,
    "cache_write_5m_tokens": semconv.CACHE_WRITE_5M_TOKENS,
    "cache_write_1h_tokens": semconv.CACHE_WRITE_1H_TOKENS,
    "reasoning_tokens": semconv.REASONING_TOKENS,
    "web_searches": semconv.WEB_SEARCHES,
    "compaction_input_tokens": "anthropic.usage.compaction.input_tokens",
    "compaction_output_tokens": "anthropic.usage.compaction.output_tokens",
    "cost_usd": semconv.COST_USD,
    "retries": "http.request.resend_count",
    "tool_name": semconv.TOOL_NAME,
    "tool_call_id": semconv.TOOL_CALL_ID,
    "rejected": semconv.REJECTED,
}
"""Column to attribute, where the value is the same."""
_HASHED: Final = {c.name: TEXT[c.name][0] for c in SPANS.columns if c.type == "UBIGINT" and c.name in TEXT}
"""Keys that stand in the place of content, to their attributes."""
_GUARDED: Final = {
    "stop_reason": semconv.STOP_REASON,
    "status": semconv.RUN_STATUS,
    "run_cost_usd": semconv.RUN_COST_USD,
    "run_limit_usd": semconv.BUDGET_USD,
    "policy": semconv.POLICY,
}
_KIND_NAMES: Final = frozenset((*TEXT["operation"], *(name for name, _ in KINDS_BY_NAME)))
_SCOPE_OF: Final = {dialect: start for start, dialect in reversed(SCOPES)} | {"claude-code": "flyball.converted"}
"""Dialect to a scope that tells it. Claude Code's would tell the loader that its input leaves the cache out, which no longer holds."""


def scope_of(span: Stored) -> str:
    """Name of the instrumentation scope under which the span is written: it says whose report of a call this is."""
    return _SCOPE_OF.get(span.row["dialect"], "")


def attributes_of(span: Stored) -> dict[str, Any]:
    """The span's attributes, those that have no column last."""
    row = span.row
    found: dict[str, Any] = {name: row[column] for column, name in _DIRECT.items() if row[column] is not None}
    operation = _OPERATIONS.get(row["kind"])
    if operation is None and (_KIND_NAMES & span.bag.keys() or _looks_like_a_call(row)):
        operation = _NO_KIND
    return _known(
        {
            semconv.OPERATION: operation,
            **found,
            semconv.COST_SOURCE: row["price_source"] if row["cost_usd"] is not None else None,
            semconv.FINISH_REASONS: None if row["finish_reason"] is None else [row["finish_reason"]],
            semconv.TIME_TO_FIRST_CHUNK: _seconds(row["time_to_first_token_ns"]),
            semconv.RUN_ID: None if row["run_id"] in (row["trace_id"], row["conversation_id"]) else row["run_id"],
            semconv.PENDING: True if row["end_ns"] is None and row["failed"] is None else None,
            "gen_ai.request.stream": True if _cut_stream(row) else None,
            **_content(span),
            **{name: span.guarded.get(column) for column, name in _GUARDED.items()},
            **span.bag,
        }
    )


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _looks_like_a_call(row: dict[str, Any]) -> bool:
    return any(row[column] is not None for column in ("tool_name", "request_model", "response_model"))


def _cut_stream(row: dict[str, Any]) -> bool:
    """Whether the usage is partial though both counters are there: they are those of a stream that did not end well."""
    return row["usage_state"] == "partial" and row["input_tokens"] is not None and row["output_tokens"] is not None


def _content(span: Stored) -> dict[str, Any]:
    row, state = span.row, span.row["content_state"]
    is_tool = row["kind"] == "tool"
    found = {
        (semconv.TOOL_ARGUMENTS if is_tool else "input.value"): span.arguments,
        (semconv.TOOL_RESULT if is_tool else "output.value"): _quoted(span.result) if is_tool else span.result,
        semconv.SYSTEM_INSTRUCTIONS: span.system,
        semconv.INPUT_MESSAGES: span.sent,
        semconv.OUTPUT_MESSAGES: span.answered,
        semconv.TOOL_DEFINITIONS: span.tools,
        "anthropic.content.truncated": True if state == "clipped" else None,
    }
    if row["status"] == "error" or row["error_type"] is not None or state == "hashed":
        # Worked out from the whole message, of which only the beginning is stored.
        found[semconv.FAILURE_KIND] = None if row["failure_inferred"] else row["failure_kind"]
    if state in ("hashed", "none") and _was_told(span):
        found[semconv.CONTENT_MODE] = state
    # Spans that are no calls have no state, and no keys but those they came with.
    return {**found, **_keys(span)} if state in ("hashed", None) else found


def _was_told(span: Stored) -> bool:
    """Whether the state of the content cannot be seen from what there is of it."""
    return span.row["content_state"] == "hashed" or any(
        said is not None for said in (span.arguments, span.result, span.system, span.sent, span.answered)
    )


def _keys(span: Stored) -> dict[str, Any]:
    """What stands in the place of content in `hashed` mode."""
    row = span.row
    found: dict[str, Any] = {name: _hex(row[column]) for column, name in _HASHED.items()}
    if row["kind"] == "model":
        calls = [[i, name, _hex(key), _hex(loose), null] for i, name, key, loose, null in span.requested]
        found[semconv.REQUESTED_TOOLS] = orjson.dumps(calls).decode() if row["requested_calls"] is not None else None
        found[semconv.DECLARED_TOOLS] = None if span.declared is None else orjson.dumps(span.declared).decode()
    return {
        **found,
        semconv.NULL_INPUT: row["null_input"],
        semconv.RESULT_CHARS: row["result_chars"],
        semconv.OUTPUT_CHARS: row["output_chars"],
    }


def _quoted(result: str | None) -> str | None:
    """What a tool said, so that it is read as that very text and not as JSON that has to be unwrapped."""
    if result is None or result[:1] not in ('"', "["):
        return result
    return orjson.dumps(result).decode()


def _hex(key: int | None) -> str | None:
    return None if key is None else f"{key:016x}"


def _seconds(nanoseconds: int | None) -> float | None:
    """Seconds that the loader turns into exactly so many nanoseconds again."""
    if nanoseconds is None:
        return None
    seconds = nanoseconds / 1e9
    return (
        seconds if int(seconds * 1e9) == nanoseconds else math.nextafter(seconds, math.copysign(math.inf, nanoseconds))
    )
