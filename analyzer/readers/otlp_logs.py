"""OTLP/JSON logs of coding agents: events of Claude Code, Codex and Gemini CLI, which they export where no spans are switched on.

An event comes when a call is over and says how long it took. All events of one prompt are one run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import msgspec

from analyzer.readers.agent_events import (
    PRODUCTS,
    PROMPT,
    SESSION,
    Kind,
    Product,
    failure,
    first,
    model_facts,
    tool_facts,
)
from analyzer.readers.agent_runs import odd_record, report
from analyzer.readers.exported import Exported, put
from analyzer.readers.format import Format
from analyzer.readers.loose import dumps, listing, mapping, text, written_number
from analyzer.readers.records import records
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument import semconv
from instrument.otlp import AnyValue, plain
from instrument.store.columns import LATEST_NS, int_of

_LOGS: Final = re.compile(rb'"resource(?:L|_l)ogs"\s*:')
_EVENTS: Final = re.compile(rb'"(?:claude_code|codex|gemini_cli)\.\w+"')
_FAILED: Final = semconv.ERROR_TYPE


def _sniff(head: bytes) -> bool:
    return _LOGS.search(head) is not None and _EVENTS.search(head) is not None


@dataclass(slots=True)
class PromptRun:
    """What the events of one prompt share."""

    trace_id: str
    span_id: str
    agent: str
    common: dict[str, Any]
    start_ns: int | None = None
    end_ns: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    """What `EventReader.runs` knows it by."""

    def at(self, start_ns: int | None, end_ns: int | None) -> None:
        """Something of it happened from `start_ns` to `end_ns`."""
        times = [t for t in (start_ns, end_ns, self.start_ns, self.end_ns) if t is not None]
        if times:
            self.start_ns, self.end_ns = min(times), max(times)


def _read(stream: Stream, sink: Sink) -> None:
    made: Counter[str] = Counter()
    reader = EventReader(stream.source, sink, made)
    for _, document in records(stream, sink):
        for values, record in log_records(document, made):
            reader.take(values, record)
    reader.end()
    state(stream.source, sink, made)


def state(source: str, sink: Sink, made: Counter[str]) -> None:
    """Issues for what was left out or worked out."""
    if made["odd"] or not made["calls"] + made["prompts"]:
        message = "log records are no events of an agent that flyball knows, and were left out"
        sink.add_issue(odd_record(source, message, made["odd"] or 1))
    report(sink, source, _INFERRED, made)


_INFERRED: Final = {
    "no_content": "calls are known by their events only: what the models were told and answered is not in them",
    "other_events": "events that tell of no call (permissions, hooks, sessions and the like) were left out",
    "no_times": "events have no time, so their order is unknown",
    "no_session": "events name no session and no conversation: they were put into one run",
    "traced_events": "events belong to spans: where those are read too, each call is counted once",
}


class EventReader:
    """Events on their way to spans, run by run."""

    def __init__(self, source: str, sink: Sink, made: Counter[str]) -> None:
        self._source, self._sink, self._made = source, sink, made
        self.runs: dict[tuple[str, ...], PromptRun] = {}
        """The runs whose agent spans have not been put yet."""
        self._prompts: Counter[str] = Counter()
        """Prompts so far in each session; for events that do not say which prompt they belong to."""

    def take(self, values: Mapping[str, Any], record: Mapping[str, Any]) -> PromptRun | None:
        """One event. Returns the run it belongs to; None where it tells of no call and no prompt."""
        product, name = _event(values, record)
        if product is None:
            self._made["odd"] += 1
            return None
        kind = product.events.get(name)
        if kind is None or (kind == "model" and product.only and values.get(product.only[0]) != product.only[1]):
            self._made["other_events"] += 1
            return None
        end = _time(record, values)
        self._made["no_times"] += end is None
        if kind == "prompt":
            self._made["prompts"] += 1
            self._prompts[first(values, SESSION) or ""] += 1
        run = self._run(product, values, record)
        spent = written_number(values.get("duration_ms"))
        start = None if end is None else end - round(min(spent or 0, 1e10) * 1e6)
        run.at(start, end)
        if kind == "prompt":
            run.facts["prompt"] = text(values.get("prompt"))
        else:
            self._call(run, product, kind, values, (start, end), name)
        return run

    def end(self) -> None:
        """The spans of the runs, which go around all others."""
        for run in self.runs.values():
            self.put_agent(run)

    def put_agent(self, run: PromptRun, *, pending: bool = False) -> None:
        """The span that goes around a run; `pending` where more of it is to come."""
        facts = {semconv.OPERATION: semconv.INVOKE_AGENT, semconv.AGENT_NAME: run.agent, **run.common, **run.facts}
        name, end_ns = f"{semconv.INVOKE_AGENT} {run.agent}", run.end_ns
        if pending:
            facts[semconv.PENDING], end_ns = True, None
        span = Exported(run.trace_id, run.span_id, name, facts, start_ns=run.start_ns, end_ns=end_ns)
        self._put(span, run)

    def _run(self, product: Product, values: Mapping[str, Any], record: Mapping[str, Any]) -> PromptRun:
        session = first(values, SESSION)
        self._made["no_session"] += session is None
        prompt = first(values, PROMPT) or str(self._prompts[session or ""])
        trace = text(record.get("traceId")) or ""
        self._made["traced_events"] += bool(trace)
        key = (product.agent, session or self._source, prompt, trace)
        if key not in self.runs:
            common = {
                semconv.CONVERSATION_ID: session,
                semconv.USER_ID: first(values, ("user.id", "user.account_uuid")),
            }
            trace_id = trace or _digest(16, product.agent, session or self._source)
            self.runs[key] = PromptRun(trace_id, _digest(8, *key), product.agent, common, key=key)
        return self.runs[key]

    def _call(
        self,
        run: PromptRun,
        product: Product,
        kind: Kind,
        values: Mapping[str, Any],
        times: tuple[int | None, int | None],
        name: str,
    ) -> None:
        self._made["calls"] += 1
        is_tool = kind == "tool"
        facts = tool_facts(values) if is_tool else model_facts(product, values)
        self._made["no_content"] += not is_tool
        operation = semconv.EXECUTE_TOOL if is_tool else semconv.CHAT
        what = facts.get(semconv.TOOL_NAME if is_tool else semconv.REQUEST_MODEL)
        error = failure(kind, values)
        span = Exported(
            run.trace_id,
            # All of the event: one that was exported twice is the same span.
            _digest(8, run.span_id, name, str(times[1]), dumps(values)),
            f"{operation} {what}" if what else operation,
            {
                semconv.OPERATION: operation,
                **facts,
                **run.common,
                **_error_type(error, values),
                **_aside(values, times[1]),
            },
            parent_id=run.span_id,
            start_ns=times[0],
            end_ns=times[1],
            error=error,
        )
        self._put(span, run)

    def _put(self, span: Exported, run: PromptRun) -> None:
        span.scope, span.resource = f"{run.agent}-events", {"service.name": run.agent}
        put(self._sink, self._source, span)


def _error_type(error: str | None, values: Mapping[str, Any]) -> dict[str, Any]:
    return {} if error is None else {_FAILED: first(values, ("error_type", "error.type", "status_code"))}


def _aside(values: Mapping[str, Any], at_ns: int | None) -> dict[str, Any]:
    """Who within the agent asked and how often, and whether only the end is known."""
    told = {name: values.get(name) for name in ("query_source", "attempt", "decision")}
    inferred = at_ns is not None and written_number(values.get("duration_ms")) is None
    return {**told, semconv.TIMES_INFERRED: "start" if inferred else None}


def _event(values: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[Product | None, str]:
    """Whose event a record is, and its name without the prefix. The name may stand in an attribute, the body, or both."""
    names = (values.get("event.name"), record.get("eventName"), mapping(record.get("body")).get("stringValue"))
    known = [n for n in map(text, names) if n]
    for name in known:
        for product in PRODUCTS:
            if name.startswith(product.prefix):
                return product, name.removeprefix(product.prefix)
    scope = text(record.get("scope")) or ""
    product_of_scope = PRODUCTS[0] if "claude_code" in scope else None
    return product_of_scope, known[0] if known else ""


def log_records(document: Any, made: Counter[str]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Attributes (those of the resource among them) and record of each log record."""
    for resource in listing(mapping(document).get("resourceLogs", mapping(document).get("resource_logs"))):
        shared = _attributes(mapping(mapping(resource).get("resource")).get("attributes"))
        for scope in listing(mapping(resource).get("scopeLogs", mapping(resource).get("scope_logs"))):
            name = mapping(mapping(scope).get("scope")).get("name")
            for record in listing(mapping(scope).get("logRecords", mapping(scope).get("log_records"))):
                if isinstance(record, dict):
                    yield {**shared, **_attributes(record.get("attributes"))}, {**record, "scope": name}
                else:
                    made["odd"] += 1


def _attributes(found: Any) -> dict[str, Any]:
    values = {}
    for attribute in map(mapping, listing(found)):
        try:
            value = msgspec.convert(attribute.get("value"), AnyValue | None)
        except (msgspec.ValidationError, RecursionError):
            continue  # no value of OTLP's: not known
        values[str(attribute.get("key"))] = plain(value)
    return values


def _time(record: Mapping[str, Any], values: Mapping[str, Any]) -> int | None:
    for found in (record.get("timeUnixNano"), record.get("observedTimeUnixNano"), values.get("event.time_unix_nano")):
        at = int_of(found)
        if at is not None and 0 < at < LATEST_NS:
            return at
    return None


def _digest(size: int, *names: str) -> str:
    return blake2b("\0".join(names).encode("utf-8", "replace"), digest_size=size).hexdigest()


OTLP_LOGS: Final = Format(
    "log events of a coding agent",
    _sniff,
    _read,
    about=(
        "OTLP/JSON logs (one export or JSON Lines, as the collector's file exporter writes) of Claude Code (`claude_code.*`), Codex "
        "(`codex.*`) and Gemini CLI (`gemini_cli.*`). Recognised by `resourceLogs` with events of one of them."
    ),
    sees=(
        "Model calls with model, tokens, duration and (Claude Code) the cost in dollars, which stands over the price list; failed "
        "requests; tool calls with success, duration and, where the agent was told to log details, arguments; one run for each prompt; "
        "sessions and users."
    ),
    cannot_see=(
        "What models were told and answered, tool definitions, results of tools. Which sub-agent made a call. Retries that the agent does "
        "not report."
    ),
)
