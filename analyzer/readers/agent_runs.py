"""Runs of agents that keep a log of their own, as spans: one `Run` per log, told what happened in the order in which it happened.

Such logs have messages, not spans. What they do not say is worked out here in one way for all: ids (from what names the run, so that a
file read again gives the same spans), the messages each model call was sent, and an order in time where there are no times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final

from analyzer.readers.loose import dumps
from analyzer.readers.sink import Sink
from instrument import semconv
from instrument.otlp import Issue, Resource, ResourceSpans, Scope, ScopeSpans, Span, Status, TracesData, attributes

STEP_NS: Final = 1_000
"""Between two steps of a run whose log has no times: enough to order them, too little to be taken for waiting."""
_NO_DATE_NS: Final = 946_684_800_000_000_000
"""2000-01-01. Times before it keep the order of runs whose log has none."""
_INTERNAL, _CLIENT, _ERROR = 1, 3, 2

Message = dict[str, Any]


class Spans:
    """Spans on their way into a sink."""

    def __init__(self, sink: Sink, source: str, scope: str) -> None:
        self._sink, self._source, self._scope = sink, source, Scope(scope)
        self._resource = Resource(attributes({"service.name": scope}))

    def put(self, span: Span) -> None:
        """Hands on one span."""
        document = TracesData([ResourceSpans(self._resource, [ScopeSpans(self._scope, [span])])])
        self._sink.add(document, self._source)


class Run:
    """One run. `identity` names it for good: the same one gives the same ids. Where the identity is not all of what the log says, each
    call needs a `key` that tells it apart within the run; else it is its number.

    Tell it, in order, what was said (`say`), what the model answered (`answer`) and what tools did (`call`); then `end` it.
    Times are nanoseconds since 1970; a start that is not known is the end of what came before, an end that is not known the start.
    """

    def __init__(
        self,
        spans: Spans,
        identity: Iterable[str],
        *,
        agent: str,
        conversation: str | None = None,
        start_ns: int | None = None,
        parent: Run | None = None,
    ) -> None:
        self._spans = spans
        name = _digest("\0".join(identity), 16)
        self._trace_id: str = parent._trace_id if parent else name
        self._own = {semconv.AGENT_NAME: agent, semconv.CONVERSATION_ID: conversation}
        self._agent, self._name, self._parent = agent, name, parent
        self._root = _digest(name, 8)
        self._history = ""
        """What the next request holds, as the inside of a JSON list, but for `_fresh`, the messages that came since the last one."""
        self._fresh: list[str] = []
        self._steps = self.model_calls = self.tool_calls = 0
        self._now_ns = start_ns
        self._timed = False
        """Whether any time was told, of runs below this one too."""
        self._start_ns: int | None = None
        """The earliest and the latest of all that was told, likewise."""
        self._end_ns = 0
        if start_ns is not None:
            self._cover(start_ns, start_ns, timed=True)

    @property
    def next_ns(self) -> int:
        """When the next thing began, if nothing says so."""
        if self._now_ns is None:
            return STEP_NS if self._parent is None else self._parent.next_ns
        return self._now_ns + STEP_NS

    def say(self, *messages: Message, at_ns: int | None = None) -> None:
        """Messages that the next request will hold. `at_ns` is when they were there: what comes next began no earlier."""
        self._fresh += map(dumps, messages)
        if at_ns is not None:
            self._now_ns = max(at_ns, self._now_ns or 0)
            self._cover(at_ns, at_ns, timed=True)

    def forget(self, *kept: Message) -> None:
        """The next request holds `kept` and nothing from before: what was said was compacted or cleared."""
        self._history, self._fresh = "", [dumps(m) for m in kept]

    def answer(
        self,
        message: Message,
        facts: Mapping[str, Any],
        *,
        said: Message | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        error: str | None = None,
        key: str | None = None,
    ) -> None:
        """A model call: it was sent all that was said so far and answered `message`. `facts` are its further attributes.

        From then on `said` is part of the history; `message` itself where that is not given.
        """
        self.model_calls += 1
        self._history = ",".join([self._history, *self._fresh] if self._history else self._fresh)
        self._fresh = []
        values = {
            semconv.OPERATION: semconv.CHAT,
            semconv.INPUT_MESSAGES: f"[{self._history}]",
            semconv.OUTPUT_MESSAGES: f"[{dumps(message)}]",
            **facts,
        }
        model = facts.get(semconv.REQUEST_MODEL) or facts.get(semconv.RESPONSE_MODEL)
        name = f"{semconv.CHAT} {model}" if model else semconv.CHAT
        self._put(name, _CLIENT, values, (start_ns, end_ns), error, key)
        kept = message if said is None else said
        if kept["parts"]:
            self.say(kept)

    def call(
        self,
        tool: str,
        facts: Mapping[str, Any],
        *,
        start_ns: int | None = None,
        end_ns: int | None = None,
        error: str | None = None,
        key: str | None = None,
    ) -> None:
        """A tool call: `facts` hold its id, arguments and result as far as they are known."""
        self.tool_calls += 1
        values = {semconv.OPERATION: semconv.EXECUTE_TOOL, semconv.TOOL_NAME: tool, **facts}
        self._put(f"{semconv.EXECUTE_TOOL} {tool}", _INTERNAL, values, (start_ns, end_ns), error, key)

    def note(self, name: str, facts: Mapping[str, Any], at_ns: int | None = None, key: str | None = None) -> None:
        """Something else that happened, such as a compaction."""
        self._put(name, _INTERNAL, {semconv.OPERATION: name, **facts}, (at_ns, at_ns), None, key)

    def end(self, facts: Mapping[str, Any], end_ns: int | None = None) -> None:
        """The agent's own span, which goes around all others. Nothing may be told after it."""
        start = self.next_ns if self._start_ns is None else self._start_ns
        end = max(start, self._end_ns, end_ns or 0)
        inferred_times = None if self._timed or end_ns is not None else "both"
        values = {semconv.TIMES_INFERRED: inferred_times, **facts}
        span = self._span(self._root, f"{semconv.INVOKE_AGENT} {self._agent}", _INTERNAL, values, None)
        span.attributes[:0] = attributes({semconv.OPERATION: semconv.INVOKE_AGENT})
        span.parentSpanId = self._parent._root if self._parent else ""
        span.startTimeUnixNano, span.endTimeUnixNano = start, end
        self._spans.put(span)

    def _put(
        self,
        name: str,
        kind: int,
        values: Mapping[str, Any],
        times: tuple[int | None, int | None],
        error: str | None,
        key: str | None,
    ) -> None:
        self._steps += 1
        if None in times:
            values = {semconv.TIMES_INFERRED: _unknown(*times), **values}
        span = self._span(_digest(f"{self._name}\0{key or self._steps}", 8), name, kind, values, error)
        span.parentSpanId = self._root
        span.startTimeUnixNano, span.endTimeUnixNano = self._times(*times)
        self._spans.put(span)

    def _times(self, start_ns: int | None, end_ns: int | None) -> tuple[int, int]:
        timed = max(start_ns or 0, end_ns or 0) > _NO_DATE_NS  # how long something took alone gives it no date
        if start_ns is None:
            start_ns = end_ns if self._now_ns is None and end_ns is not None else self.next_ns
            start_ns = start_ns if end_ns is None else min(start_ns, end_ns)
        end_ns = start_ns if end_ns is None else max(start_ns, end_ns)
        self._now_ns = max(end_ns, self._now_ns or 0)
        self._cover(start_ns, end_ns, timed=timed)
        return start_ns, end_ns

    def _cover(self, start_ns: int, end_ns: int, *, timed: bool) -> None:
        run: Run | None = self
        while run is not None:
            run._timed |= timed
            run._start_ns = start_ns if run._start_ns is None else min(start_ns, run._start_ns)
            run._end_ns = max(end_ns, run._end_ns)
            run = run._parent

    def _span(self, span_id: str, name: str, kind: int, values: Mapping[str, Any], error: str | None) -> Span:
        known = {k: v for k, v in {**values, **self._own}.items() if v is not None}
        status = None if error is None else Status(_ERROR, error)
        return Span(self._trace_id, span_id, "", name, kind, attributes=attributes(known), status=status)


def _unknown(start_ns: int | None, end_ns: int | None) -> str:
    return "end" if start_ns is not None else "start" if end_ns is not None else "both"


def said(role: str, *parts: Message) -> Message:
    """A message in GenAI form."""
    return {"role": role, "parts": list(parts)}


def words(content: str) -> Message:
    """A part that is text."""
    return {"type": "text", "content": content}


def asked(call_id: str | None, name: Any, arguments: Any) -> Message:
    """A part that asks for a tool call."""
    return {"type": "tool_call", "id": call_id, "name": name, "arguments": arguments}


def answered(call_id: str | None, response: Any, *, failed: bool = False) -> Message:
    """A part that gives a tool's result back."""
    part = {"type": "tool_call_response", "id": call_id, "response": response}
    return {**part, "is_error": True} if failed else part


def written(value: Any) -> str | None:
    """Arguments or a result as a span carries them: a text as it is, anything else as JSON."""
    return value if value is None or isinstance(value, str) else dumps(value)


def outcome(success: bool | None, *, score: float | None = None, reason: str | None = None) -> dict[str, Any]:
    """Attributes of an agent span that say how its run ended, as far as the log does."""
    word = None if success is None else "success" if success else "failure"
    return {semconv.OUTCOME: word, semconv.OUTCOME_SCORE: score, semconv.OUTCOME_REASON: reason}


def reported(cost_usd: float | None) -> dict[str, Any]:
    """The price of a model call as the log has it. None and 0 (what logs write for a model without a price) say nothing."""
    return {semconv.COST_USD: cost_usd, semconv.COST_SOURCE: "reported"} if cost_usd else {}


def report(sink: Sink, source: str, sentences: Mapping[str, str], made: Mapping[str, int]) -> None:
    """An issue for each kind of thing that had to be inferred, with how often (`made`) and what was done (`sentences`)."""
    for kind, message in sentences.items():
        if made.get(kind):
            sink.add_issue(inferred(kind, source, message, made[kind]))


def inferred(
    kind: str, source: str, message: str, count: int, remedy: str = "none; the format does not say more"
) -> Issue:
    """Something that the log does not say and that was worked out, or stays unknown."""
    return Issue(kind=kind, source=source, message=message, remedy=remedy, count=count, error=False)


def odd_record(source: str, message: str, count: int, line: int | None = None) -> Issue:
    """Part of a log that is not what the format has there, and that was left out."""
    return Issue(
        kind="odd_record",
        source=source,
        line=line,
        message=message,
        remedy="the rest was read; look at how the file was written or changed",
        count=count,
    )


def _digest(name: str, size: int) -> str:
    return blake2b(name.encode("utf-8", "replace"), digest_size=size).hexdigest()
