"""Traces of the OpenAI Agents SDK, as its trace processors are given them and its backend gets them: objects `trace` and `trace.span`.

What a span is stands in its `span_data`. Format: openai.github.io/openai-agents-python, "Tracing".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from analyzer.readers.agent_runs import odd_record, report
from analyzer.readers.exported import Exported, put
from analyzer.readers.format import Format
from analyzer.readers.lines import values
from analyzer.readers.loose import dumps, mapping, moment_ns, text
from analyzer.readers.openai_messages import decoded
from analyzer.readers.recorded_calls import around, model_call, tool_call
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from analyzer.readers.token_counts import by_attribute
from instrument import semconv

_MARKS: Final = (re.compile(rb'"span_data"\s*:'), re.compile(rb'"(?:started_at|trace_id)"\s*:'))
_LEVELS: Final = 6
_MODELS: Final = frozenset(("generation", "response"))


def _sniff(head: bytes) -> bool:
    return all(mark.search(head) for mark in _MARKS)


def _read(stream: Stream, sink: Sink) -> None:
    made: Counter[str] = Counter()
    found = [one for value in values(stream, sink) for one in _objects(value, _LEVELS)]
    traces = {
        name: one
        for one in found
        if "span_data" not in one and (name := text(one.get("id")) or text(one.get("trace_id")))
    }
    for one in found:
        if "span_data" not in one:
            continue
        span = _exported(one, traces, made)
        if span is None:
            made["odd"] += 1
            continue
        made["spans"] += 1
        put(sink, stream.source, span)
    if made["odd"] or not made["spans"]:
        message = "entries have no trace id and id and were left out"
        sink.add_issue(odd_record(stream.source, message, made["odd"] or 1))
    report(sink, stream.source, _INFERRED, made)


_INFERRED: Final = {
    "no_times": "spans have no start time, so their order is unknown",
    "no_usage": "model calls have no token counts: what they used is not known",
    "no_content": "answers are only named by their ids: what the models were told and answered is not in them",
}


def _objects(value: Any, levels: int) -> Iterator[dict[str, Any]]:
    """Spans, and traces (which know the workflow and the group), wherever they lie."""
    if not levels:
        return
    if isinstance(value, list):
        for inner in value:
            yield from _objects(inner, levels - 1)
    elif isinstance(value, dict):
        if "span_data" in value or value.get("object") == "trace" or "workflow_name" in value:
            yield value
        if "span_data" not in value:
            for inner in value.values():
                yield from _objects(inner, levels - 1)


def _exported(found: dict[str, Any], traces: dict[str, dict[str, Any]], made: Counter[str]) -> Exported | None:
    trace_id, span_id = text(found.get("trace_id")), text(found.get("id")) or text(found.get("span_id"))
    if trace_id is None or span_id is None:
        return None
    trace, data = traces.get(trace_id, {}), mapping(found.get("span_data"))
    start = moment_ns(found.get("started_at"))
    made["no_times"] += start is None
    error = found.get("error")
    name = text(data.get("name")) or text(data.get("type")) or ""
    return Exported(
        trace_id,
        span_id,
        name,
        _facts(data, made, failed=error is not None)
        | {
            semconv.CONVERSATION_ID: text(trace.get("group_id")),
            "openai.workflow.name": text(trace.get("workflow_name")),
        },
        parent_id=text(found.get("parent_id")),
        start_ns=start,
        end_ns=moment_ns(found.get("ended_at")),
        error=_reason(error) if error is not None else None,
        scope="openai-agents",
    )


def _facts(data: dict[str, Any], made: Counter[str], *, failed: bool) -> dict[str, Any]:
    kind = text(data.get("type")) or "custom"
    given, output = decoded(data.get("input")), decoded(data.get("output"))
    if kind in _MODELS:
        response = mapping(data.get("response"))
        model = text(data.get("model")) or text(response.get("model"))
        facts = model_call(
            _with_tools(given, response), output if output is not None else response or None, model=model
        )
        facts[semconv.RESPONSE_ID] = text(data.get("response_id")) or facts[semconv.RESPONSE_ID]
        counts = by_attribute(mapping(data.get("usage"))) or by_attribute(mapping(response.get("usage")))
        made["no_usage"] += not counts and not failed
        made["no_content"] += given is None and output is None and not response and not failed
        return facts | counts
    if kind == "function":
        return tool_call(text(data.get("name")), data.get("input"), data.get("output"))
    if kind == "agent":
        return around(semconv.INVOKE_AGENT, given, output) | {semconv.AGENT_NAME: text(data.get("name"))}
    rest = {k: v for k, v in data.items() if k not in ("type", "input", "output")}
    return around(kind, given, output) | {"openai.span_data": dumps(rest) if rest else None}


def _with_tools(given: Any, response: dict[str, Any]) -> Any:
    """A request; its instructions and tools stand in the response."""
    if not response:
        return given
    return {"input": given, "instructions": response.get("instructions"), "tools": response.get("tools")}


def _reason(error: Any) -> str:
    said = mapping(error)
    parts = [text(said.get("message")) or "", dumps(said["data"]) if said.get("data") else ""]
    return ": ".join(p for p in parts if p) or (error if isinstance(error, str) else "")


OPENAI_TRACES: Final = Format(
    "OpenAI Agents SDK trace",
    _sniff,
    _read,
    about=(
        "Traces and spans of the [OpenAI Agents SDK](https://openai.github.io/openai-agents-python/tracing/) (Python and TypeScript) in "
        "its own form, as trace processors write them: one a line, in lists or in a document. Recognised by `span_data`."
    ),
    sees="Agents, model calls with usage, tools with arguments and results, hand-offs; the group as conversation; times and errors.",
    cannot_see=(
        "Of `response` spans what the model was told and answered, and which model it was: the SDK exports the id of the response only, "
        "unless a processor of one's own writes more. Usage of turns and tasks is a roll-up and is not counted."
    ),
)
