"""Spans of Braintrust: logs and experiments as its page, its API and its SQL give them. Format: braintrust.dev/docs, "Logs" and "Tracing".

Times and token counts stand in `metrics`, what a span is in `span_attributes`.
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
from analyzer.readers.loose import amount, later_ns, listing, mapping, moment_ns, text
from analyzer.readers.openai_messages import decoded
from analyzer.readers.recorded_calls import around, model_call, tool_call
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from analyzer.readers.token_counts import by_attribute
from instrument import semconv

_MARKS: Final = (re.compile(rb'"root_span_id"\s*:'), re.compile(rb'"span_(?:attributes|parents)"\s*:'))
_LEVELS: Final = 5
_PLACES: Final = ("events", "rows", "data", "objects", "results", "spans")
_JSON: Final = ("span_attributes", "metrics", "metadata", "span_parents", "input", "output", "error")
"""Columns that hold JSON, in tables as texts."""


def _sniff(head: bytes) -> bool:
    return all(mark.search(head) for mark in _MARKS)


def _read(stream: Stream, sink: Sink) -> None:
    made: Counter[str] = Counter()
    rows: dict[str, dict[str, Any]] = {}
    for value in values(stream, sink):
        for found in _rows(value, _LEVELS):
            name = text(found.get("span_id"))
            if name is None or text(found.get("root_span_id")) is None:
                made["odd"] += 1
                continue
            # The SDK sends a span in pieces, each of which completes what came before.
            _merge(rows.setdefault(name, {}), {k: decoded(v) if k in _JSON else v for k, v in found.items()})
    for name, found in rows.items():
        put(sink, stream.source, _exported(name, found, made))
    if made["odd"] or not rows:
        message = "entries have no span id and root span id and were left out"
        sink.add_issue(odd_record(stream.source, message, made["odd"] or 1))
    report(sink, stream.source, _INFERRED, made)


_INFERRED: Final = {
    "no_times": "spans have no start time, so their order is unknown",
    "no_usage": "model calls have no token counts: what they used is not known",
}


def _rows(value: Any, levels: int) -> Iterator[dict[str, Any]]:
    if isinstance(value, list) and levels:
        for inner in value:
            yield from _rows(inner, levels - 1)
    elif isinstance(value, dict) and not ("span_id" in value or "root_span_id" in value) and levels:
        for place in _PLACES:
            yield from _rows(value.get(place), levels - 1)
    elif isinstance(value, dict):
        yield value


def _merge(known: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(known.get(name), dict):
            known[name] = {**known[name], **value}
        elif value is not None or name not in known:
            known[name] = value


def _exported(name: str, found: dict[str, Any], made: Counter[str]) -> Exported:
    metrics, metadata = mapping(found.get("metrics")), mapping(found.get("metadata"))
    said = mapping(found.get("span_attributes"))
    start = moment_ns(metrics.get("start")) or moment_ns(found.get("created"))
    made["no_times"] += start is None
    error = found.get("error")
    parents = [p for p in listing(found.get("span_parents")) if text(p)]
    called = text(said.get("name")) or ""
    facts = _facts(text(said.get("type")) or "task", called, found, metrics, metadata, made)
    first = amount(metrics.get("time_to_first_token"))
    return Exported(
        str(found["root_span_id"]),
        name,
        called,
        facts
        | {
            semconv.TIME_TO_FIRST_CHUNK: first,
            semconv.CONVERSATION_ID: text(metadata.get("session_id")) or text(metadata.get("thread_id")),
            semconv.USER_ID: text(metadata.get("user_id")),
        },
        parent_id=parents[0] if parents else None,
        start_ns=start,
        end_ns=moment_ns(metrics.get("end")) or later_ns(start, amount(metrics.get("duration"))),
        error=_reason(error) if error not in (None, "", {}) else None,
        scope="braintrust",
    )


def _facts(
    kind: str, called: str, found: dict[str, Any], metrics: dict[str, Any], metadata: dict[str, Any], made: Counter[str]
) -> dict[str, Any]:
    given, output = found.get("input"), found.get("output")
    if kind == "llm":
        asked = {"messages": given, "tools": metadata.get("tools")} if isinstance(given, list) else given
        facts = model_call(asked, output, model=text(metadata.get("model")), provider=text(metadata.get("provider")))
        counts = by_attribute(metrics)
        made["no_usage"] += not counts and found.get("error") is None
        return facts | counts | reported(amount(metrics.get("estimated_cost")))
    if kind == "tool":
        return tool_call(called.removeprefix("tool: ") or None, given, output)
    if "agent" in called.lower() and kind == "task":
        return around(semconv.INVOKE_AGENT, given, output) | {semconv.AGENT_NAME: called}
    return around(kind, given, output)


def _reason(error: Any) -> str:
    return error if isinstance(error, str) else text(mapping(error).get("message")) or ""


BRAINTRUST: Final = Format(
    "Braintrust spans",
    _sniff,
    _read,
    about=(
        "Logs and experiments of [Braintrust](https://www.braintrust.dev/docs): rows of its exports, its API and its SDK, one a line, in "
        "lists, or under `events`, `rows` or `data`. Recognised by `root_span_id` beside `span_attributes`."
    ),
    sees=(
        "Model calls (`llm`) with messages and usage, cache and reasoning included; tools with arguments and results; times, errors, the "
        "estimated cost where it is a metric."
    ),
    cannot_see="Which tasks are agents, other than by `agent` in their names. Scores are not read.",
)
