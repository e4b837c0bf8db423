"""The columns of a span that are known from the span alone, and the rows of other tables that come with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

_TEXT: Final = (
    "trace_id", "span_id", "parent_span_id", "kind", "name", "agent_name", "conversation_id", "user_id", "service_name", "status",
    "error_type", "error_message", "failure_kind", "provider", "request_model", "response_model", "response_id", "request_id",
    "finish_reason", "service_tier", "speed", "inference_geo", "tool_name", "tool_call_id", "rejected", "content_state", "stamped_run_id",
    "dialect", "cost_source", "inferred_times",
)  # fmt: skip
_WHOLE: Final = (
    "span_key", "start_ns", "end_ns", "max_tokens", "input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens",
    "cache_write_1h_tokens", "output_tokens", "reasoning_tokens", "web_searches", "retries", "compaction_input_tokens",
    "compaction_output_tokens", "time_to_first_token_ns", "result_chars", "output_chars", "requested_calls",
)  # fmt: skip
_KEYS: Final = (
    "call_key", "loose_call_key", "result_key", "output_key", "loose_output_key", "asked_key", "toolset_key", "attributes_key",
)  # fmt: skip

STAGE: Final[dict[str, pa.DataType]] = {
    **dict.fromkeys(_TEXT, pa.string()),
    **dict.fromkeys(_WHOLE, pa.int64()),
    **dict.fromkeys(("failed", "failure_inferred", "pending", "streaming", "null_input"), pa.bool_()),
    **dict.fromkeys(_KEYS, pa.uint64()),
    "reported_usd": pa.float64(),
    "source_key": pa.int32(),
}
"""What is known of a span by itself; `settle` adds what follows from the others."""


@dataclass
class Extras:
    """Rows of the other tables, collected on the way; columns in the order of the schema."""

    contents: list[tuple[Any, ...]] = field(default_factory=list)
    results: list[tuple[int, str, str]] = field(default_factory=list)
    """For rows of `contents` with the result of a tool call: position, trace id, tool call id."""
    requests: list[tuple[Any, ...]] = field(default_factory=list)
    responses: list[tuple[Any, ...]] = field(default_factory=list)
    attribute_sets: list[tuple[int, str]] = field(default_factory=list)
    toolsets: list[tuple[int, list[str], str | None, int | None]] = field(default_factory=list)
    guarded: list[tuple[Any, ...]] = field(default_factory=list)
    actions: list[tuple[Any, ...]] = field(default_factory=list)


def staged(columns: dict[str, Any], rows: int) -> pa.Table:
    """`columns` (lists, Arrow arrays, or one value for all rows) as a table with the columns of `STAGE`; what is missing is NULL."""
    return pa.table([_array(columns.get(name), dtype, rows) for name, dtype in STAGE.items()], names=list(STAGE))


def _array(values: Any, dtype: pa.DataType, rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(rows, dtype)
    if isinstance(values, pa.Array):
        return values
    return pa.array(values, dtype) if isinstance(values, list) else pa.repeat(pa.scalar(values, dtype), rows)
