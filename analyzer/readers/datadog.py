"""Spans of Datadog's LLM Observability: what its SDK sends, and what its export API answers with.

Format: docs.datadoghq.com/llm_observability, "HTTP API reference" and "Export API". Times are nanoseconds, costs billionths of a dollar.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from analyzer.readers.agent_runs import odd_record, report, reported
from analyzer.readers.exported import Exported, put
from analyzer.readers.format import Format
from analyzer.readers.lines import values
from analyzer.readers.loose import amount, mapping, text
from analyzer.readers.openai_messages import decoded
from analyzer.readers.recorded_calls import around, model_call, tool_call
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from analyzer.readers.token_counts import by_attribute
from instrument import semconv
from instrument.store.columns import LATEST_NS

_MARKS: Final = (
    re.compile(rb'"(?:ml_app|_ml_obs[^"]*|span_kind|meta)"\s*:'),
    re.compile(rb'"start_ns"\s*:'),
    re.compile(rb'"span_id"\s*:'),
)
_LEVELS: Final = 6
_PLACES: Final = ("data", "attributes", "spans", "events")
_NANODOLLARS: Final = 1e9
_COUNTERS: Final = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "total_tokens": "total_tokens",
    "cache_read_input_tokens": "cache_read_input_tokens",
    "cache_write_input_tokens": "cache_creation_input_tokens",
    "reasoning_output_tokens": "reasoning_tokens",
}


def _sniff(head: bytes) -> bool:
    return all(mark.search(head) for mark in _MARKS)


def _read(stream: Stream, sink: Sink) -> None:
    made: Counter[str] = Counter()
    for value in values(stream, sink):
        for found in _spans(value, _LEVELS):
            span = _exported(found, made)
            if span is not None:
                put(sink, stream.source, span)
    if made["odd"] or not made["spans"]:
        message = "entries have no trace id and span id and were left out"
        sink.add_issue(odd_record(stream.source, message, made["odd"] or 1))
    report(sink, stream.source, _INFERRED, made)


_INFERRED: Final = {
    "no_times": "spans have no start time, so their order is unknown",
    "no_usage": "model calls have no token counts: what they used is not known",
}


def _spans(value: Any, levels: int) -> Iterator[dict[str, Any]]:
    if isinstance(value, list) and levels:
        for inner in value:
            yield from _spans(inner, levels - 1)
    elif isinstance(value, dict) and not ("span_id" in value or "start_ns" in value) and levels:
        for place in _PLACES:
            yield from _spans(value.get(place), levels - 1)
    elif isinstance(value, dict):
        yield value


def _exported(found: dict[str, Any], made: Counter[str]) -> Exported | None:
    trace_id, span_id = _id(found.get("trace_id")), _id(found.get("span_id"))
    if trace_id is None or span_id is None:
        made["odd"] += 1
        return None
    made["spans"] += 1
    start, spent = _whole(found.get("start_ns")), _whole(found.get("duration"))
    start = start or None
    made["no_times"] += start is None
    meta = {**found, **mapping(found.get("meta"))}
    error = mapping(meta.get("error"))
    parent_id = _id(found.get("parent_id"))
    failed = found.get("status") == "error" or bool(error.get("message") or error.get("type"))
    return Exported(
        trace_id,
        span_id,
        text(found.get("name")) or "",
        _facts(found, meta, made, failed=failed)
        | {semconv.CONVERSATION_ID: text(found.get("session_id")), semconv.ERROR_TYPE: text(error.get("type"))},
        parent_id=None if parent_id in (None, "undefined", "0") else parent_id,
        start_ns=start,
        end_ns=None if start is None or spent is None else min(start + spent, LATEST_NS),
        error=(text(error.get("message")) or "") if failed else None,
        scope="datadog",
        resource={"service.name": text(found.get("service")) or text(found.get("ml_app"))},
    )


def _whole(value: Any) -> int | None:
    """Nanoseconds, which in our time are more than `count` takes for a count."""
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    return number if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < LATEST_NS else None


def _id(value: Any) -> str | None:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else text(value)


def _facts(found: dict[str, Any], meta: dict[str, Any], made: Counter[str], *, failed: bool) -> dict[str, Any]:
    kinds = (meta.get("span_kind"), meta.get("span.kind"), meta.get("kind"), mapping(meta.get("span")).get("kind"))
    kind = next((k for k in map(text, kinds) if k), "span")
    given, output = (_said(mapping(meta.get(side))) for side in ("input", "output"))
    name = text(found.get("name"))
    if kind == "llm":
        metrics = mapping(found.get("metrics"))
        asked = {"messages": given, "tools": meta.get("tool_definitions")} if isinstance(given, list) else given
        facts = model_call(asked, output, model=text(meta.get("model_name")), provider=text(meta.get("model_provider")))
        counts = by_attribute({ours: metrics[theirs] for theirs, ours in _COUNTERS.items() if theirs in metrics})
        made["no_usage"] += not counts and not failed
        paid = amount(metrics.get("estimated_total_cost"))
        return facts | counts | reported(None if paid is None else paid / _NANODOLLARS)
    if kind == "tool":
        return tool_call(name, given, output)
    if kind == "agent":
        return around(semconv.INVOKE_AGENT, given, output) | {semconv.AGENT_NAME: name}
    return around(kind, given, output)


def _said(side: dict[str, Any]) -> Any:
    messages = side.get("messages")
    return messages if messages else decoded(side.get("value"))


DATADOG: Final = Format(
    "Datadog LLM spans",
    _sniff,
    _read,
    about=(
        "Spans of [Datadog LLM Observability](https://docs.datadoghq.com/llm_observability/), as its SDK sends them and its export API "
        "gives them, one a line, in lists or under `data`. Recognised by `start_ns` beside a `meta` or a `span_kind`."
    ),
    sees="Model calls with messages, usage and Datadog's estimate of the cost; tools, agents and workflows; sessions, times, errors.",
    cannot_see="Ids of responses and why a model stopped, unless the metadata say so. Evaluations are not read.",
)
