"""Traces of MLflow: `trace.json` of its artifacts, `Trace.to_json()` and `to_dict()`, tables of its search, Databricks' inference tables.

A span's attributes are JSON texts under names of MLflow's own (`mlflow.spanType`, `mlflow.spanInputs`, `mlflow.chat.tokenUsage`). Version 2
has ids under `context` and times without a unit in their names, version 3 is shaped like OTLP with ids in base64. Format: mlflow.org/docs,
"Trace concepts".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from analyzer.readers.agent_runs import odd_record, report, reported
from analyzer.readers.exported import Exported, exception_events, put
from analyzer.readers.format import Format
from analyzer.readers.lines import values
from analyzer.readers.loose import amount, count, listing, mapping, text
from analyzer.readers.openai_messages import decoded
from analyzer.readers.recorded_calls import around, model_call, tool_call
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from analyzer.readers.token_counts import by_attribute
from instrument import semconv
from instrument.store.columns import LATEST_NS

_MARK: Final = re.compile(rb'"mlflow\.(?:spanType|spanInputs|spanOutputs|traceRequestId)\\?"\s*:')
_LEVELS: Final = 8
_MODELS: Final = frozenset(("LLM", "CHAT_MODEL"))
_SESSION, _USER = "mlflow.trace.session", "mlflow.trace.user"
_Span = dict[str, Any]


def _sniff(head: bytes) -> bool:
    return _MARK.search(head) is not None


def _read(stream: Stream, sink: Sink) -> None:
    made: Counter[str] = Counter()
    for value in values(stream, sink):
        for found, info in _spans(value, {}, _LEVELS):
            span = _exported(found, info, made)
            if span is not None:
                made["spans"] += 1
                put(sink, stream.source, span)
    if made["odd"] or not made["spans"]:
        message = "entries have no trace id and span id and were left out"
        sink.add_issue(odd_record(stream.source, message, made["odd"] or 1))
    report(sink, stream.source, _INFERRED, made)


_INFERRED: Final = {
    "no_times": "spans have no start time, so their order is unknown",
    "no_usage": "model calls have no token counts: what they used is not known",
}


def _spans(value: Any, info: dict[str, Any], levels: int) -> Iterator[tuple[_Span, dict[str, Any]]]:
    """Every span in a JSON value, with what is said of its trace."""
    if not levels:
        return
    if isinstance(value, list):
        for inner in value:
            yield from _spans(inner, info, levels - 1)
    elif isinstance(value, dict):
        info = mapping(decoded(value.get("info"))) or info
        spans = decoded(value.get("spans"))
        if isinstance(spans, list):
            yield from ((s, info or value) for s in spans if isinstance(s, dict))
        elif "attributes" in value and ("span_id" in value or "context" in value):
            yield value, info
        else:
            # A cell of a table may hold a trace as a text.
            cells = (decoded(v) if name in ("trace", "data", "response") else v for name, v in value.items())
            for inner in cells:
                yield from _spans(inner, info, levels - 1)


def _exported(found: _Span, info: dict[str, Any], made: Counter[str]) -> Exported | None:
    context = mapping(found.get("context"))
    trace_id = text(info.get("trace_id")) or text(info.get("request_id"))
    trace_id = trace_id or text(context.get("trace_id")) or text(found.get("trace_id"))
    span_id = text(context.get("span_id")) or text(found.get("span_id"))
    if trace_id is None or span_id is None:
        made["odd"] += 1
        return None
    said = {name: decoded(value) for name, value in mapping(found.get("attributes")).items()}
    start = _time_ns(found.get("start_time_unix_nano", found.get("start_time")))
    made["no_times"] += start is None
    status = mapping(found.get("status"))
    code = text(found.get("status_code")) or text(status.get("code")) or ""
    failed = code.upper().endswith("ERROR")
    metadata = {**mapping(info.get("request_metadata")), **mapping(info.get("trace_metadata"))}
    return Exported(
        trace_id,
        span_id,
        text(found.get("name")) or "",
        _facts(found, said, made, failed=failed)
        | {semconv.CONVERSATION_ID: text(metadata.get(_SESSION)), semconv.USER_ID: text(metadata.get(_USER))},
        parent_id=text(found.get("parent_id")) or text(found.get("parent_span_id")),
        start_ns=start,
        end_ns=_time_ns(found.get("end_time_unix_nano", found.get("end_time"))),
        error=(text(found.get("status_message")) or text(status.get("message")) or "") if failed else None,
        scope="mlflow",
        events=exception_events([{**e, "timestamp": _seconds(e)} for e in map(mapping, listing(found.get("events")))]),
    )


def _facts(found: _Span, said: dict[str, Any], made: Counter[str], *, failed: bool) -> dict[str, Any]:
    kind = (text(said.pop("mlflow.spanType", None)) or "UNKNOWN").upper()
    given, output = said.pop("mlflow.spanInputs", None), said.pop("mlflow.spanOutputs", None)
    usage, tools = mapping(said.pop("mlflow.chat.tokenUsage", None)), said.pop("mlflow.chat.tools", None)
    paid = amount(mapping(said.pop("mlflow.llm.cost", None)).get("total_cost"))
    rest = {name: value for name, value in said.items() if name.startswith("mlflow.")}
    name = text(found.get("name"))
    if kind in _MODELS:
        model = text(said.get("mlflow.llm.model")) or text(said.get("model")) or text(said.get("model_name"))
        facts = model_call(given, output, model=model, provider=text(said.get("mlflow.llm.provider")))
        facts[semconv.TOOL_DEFINITIONS] = facts[semconv.TOOL_DEFINITIONS] or tools
        counts = by_attribute(usage) or by_attribute(mapping(mapping(output).get("usage")))
        made["no_usage"] += not counts and not failed
        return rest | facts | counts | reported(paid)
    if kind == "TOOL":
        return rest | tool_call(name, given, output)
    if kind == "AGENT":
        return rest | around(semconv.INVOKE_AGENT, given, output) | {semconv.AGENT_NAME: name}
    return rest | around(kind.lower(), given, output)


def _time_ns(value: Any) -> int | None:
    """Nanoseconds; MLflow writes no others."""
    found = count(value) if isinstance(value, float) else value
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 < found < LATEST_NS else None


def _seconds(event: dict[str, Any]) -> float | None:
    """Events have microseconds, or nanoseconds by their name."""
    at = count(event.get("time_unix_nano")) or (count(event.get("timestamp")) or 0) * 1_000
    return at / 1e9 if at else None


MLFLOW: Final = Format(
    "MLflow trace",
    _sniff,
    _read,
    about=(
        "Traces of [MLflow](https://mlflow.org/docs/latest/genai/tracing/), versions 2 and 3 of its form: `trace.json`, `Trace.to_json()`, "
        "tables that hold them, and responses of Databricks' endpoints. Recognised by attributes such as `mlflow.spanType`."
    ),
    sees=(
        "Model calls (`LLM`, `CHAT_MODEL`) with messages and tool definitions in the forms of OpenAI, Anthropic, LangChain and others; "
        "tools with arguments and results; agents; usage, cost where MLflow worked it out; sessions, users, times, status, exceptions."
    ),
    cannot_see="The provider and the model, where the input names none. Assessments are not read.",
)
