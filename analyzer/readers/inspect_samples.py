"""One sample of an Inspect log as runs: the sample's own, one for each agent in it, one for what graded it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from analyzer.readers import inspect_messages
from analyzer.readers.agent_runs import Run, Spans, outcome, said, written
from analyzer.readers.inspect_messages import Attachments, failure, pooled
from analyzer.readers.loose import amount, count, dumps, later_ns, listing, mapping, moment_ns, text
from instrument import semconv

_SCORING: Final = frozenset(("scorer", "scorers"))
_GRADES: Final = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
"""Inspect's letters (correct, incorrect, partial, no answer) and what it counts them as."""
_SCORER: Final = "scorer"
_DEEPEST: Final = 32
"""Agents within agents that are told apart; a file may be made so that there is always one more."""
_Path = tuple[tuple[str, str], ...]
"""Key and name of agents, the outermost first."""
_MAIN: Final = "main"


class Sample:
    """One sample on its way to runs. `eval_spec` is what the log says of all its samples, as far as it is at hand."""

    def __init__(self, spans: Spans, eval_spec: dict[str, Any], found: dict[str, Any]) -> None:
        self._spans, self._found, self._made = spans, found, Counter[str]()
        old = mapping(found.get("transcript"))
        self._events = listing(found.get("events")) or listing(old.get("events"))
        self._attachments = Attachments(found.get("attachments") or old.get("content"))
        self._pool = listing(found.get("message_pool"))
        self._identity = ("inspect", text(found.get("uuid")) or dumps(found))
        self._name = text(found.get("uuid"))
        self._agent = text(eval_spec.get("task")) or "inspect"
        self._model = text(eval_spec.get("model"))
        self._runs: dict[str, Run] = {}
        self._root = self._runs[_MAIN] = Run(spans, self._identity, agent=self._agent, conversation=self._name)
        self._outer: dict[str, tuple[str | None, str, str]] = {}
        """Of each span of the log: the one around it, its type and its name."""
        self._steps: list[bool] = []
        """Open steps (what old logs have instead of spans), and whether each scores."""

    def tell(self) -> Counter[str]:
        """Tells the runs all that happened. Returns what had to be inferred or left out."""
        if self._events:
            for event, within in _all_events(self._events):
                self._event(event, within)
        else:
            self._talk()
        for key, run in self._runs.items():
            if key != _MAIN:
                run.end({})
        self._root.end(self._ended(), moment_ns(self._found.get("completed_at")))
        self._made["unresolved"] += self._attachments.unresolved
        return self._made

    def _event(self, event: dict[str, Any], within: _Path) -> None:
        kind = event.get("event")
        if kind == "span_begin" and (key := text(event.get("id"))):
            self._outer.setdefault(
                key, (text(event.get("parent_id")), text(event.get("type")) or "", text(event.get("name")) or "")
            )
        elif kind == "step":
            self._step(event)
        elif kind in ("model", "tool", "compaction"):
            run = self._run(event, within)
            self._attachments.renew()
            if kind == "model":
                self._model_call(run, event)
            elif kind == "tool":
                self._tool_call(run, event)
            else:
                before = count(event.get("tokens_before"))
                at = moment_ns(event.get("timestamp"))
                run.note("compaction", {semconv.COMPACTION_TOKENS_BEFORE: before}, at, text(event.get("uuid")))
        elif not isinstance(kind, str):
            self._made["odd"] += 1

    def _step(self, event: dict[str, Any]) -> None:
        if event.get("action") == "begin":
            self._steps.append(event.get("type") == _SCORER)
        elif self._steps:
            self._steps.pop()

    def _run(self, event: dict[str, Any], within: _Path) -> Run:
        """The run the event belongs to: that of the agent, or the scorer, whose span it stands in."""
        path = self._agents(text(event.get("span_id")))
        path += [agent for agent in within if agent not in path]
        if not path and any(self._steps):
            path = [(_SCORER, _SCORER)]
        run, above = self._root, _MAIN
        for key, agent in path:
            above = f"{above}\0{key}"
            if above not in self._runs:
                identity = (*self._identity, above)
                self._runs[above] = Run(self._spans, identity, agent=agent, conversation=self._name, parent=run)
            run = self._runs[above]
        return run

    def _agents(self, span: str | None) -> list[tuple[str, str]]:
        """Key and name of the agents a span stands in, the outermost first."""
        path: list[tuple[str, str]] = []
        seen = set[str]()
        while span is not None and span in self._outer and span not in seen:  # ids may go in a circle
            seen.add(span)
            above, kind, name = self._outer[span]
            if kind == "agent":
                path.append((span, name or "agent"))
            elif kind in _SCORING or name == "scorers":
                return [(_SCORER, _SCORER)]
            span = above
        return path[::-1][-_DEEPEST:]

    def _model_call(self, run: Run, event: dict[str, Any]) -> None:
        put, output = self._attachments.put, mapping(event.get("output"))
        requested = [inspect_messages.message(mapping(m), put) for m in pooled(event, self._pool)]
        choice = mapping(next(iter(listing(output.get("choices"))), None))
        answer = inspect_messages.message({**mapping(choice.get("message")), "role": "assistant"}, put)
        served, stop = event.get("cache") == "read", text(choice.get("stop_reason"))
        usage = {} if served else inspect_messages.usage(output.get("usage"))
        error = failure(event.get("error")) or failure(output.get("error"))
        pending = event.get("pending") is True
        self._made["from_cache"] += served
        self._made["pending"] += pending
        self._made["no_usage"] += not usage and not served and not pending and error is None
        tools = inspect_messages.tools(event.get("tools"), put)
        facts = {
            **_model(text(event.get("model"))),
            semconv.RESPONSE_MODEL: text(output.get("model")),
            semconv.RESPONSE_ID: text(mapping(mapping(event.get("call")).get("response")).get("id")),
            semconv.REQUEST_MAX_TOKENS: count(mapping(event.get("config")).get("max_tokens")),
            semconv.FINISH_REASONS: [stop] if stop else None,
            semconv.TOOL_DEFINITIONS: dumps(tools) if tools else None,
            semconv.ERROR_TYPE: None if error is None else "model_error",
            "http.request.resend_count": count(event.get("retries")) or None,
            **usage,
        }
        start, end = self._times(event, amount(output.get("time")))
        run.forget(*requested)
        key = text(event.get("uuid"))
        run.answer(answer, facts, said=said("assistant"), start_ns=start, end_ns=end, error=error, key=key)

    def _tool_call(self, run: Run, event: dict[str, Any]) -> None:
        put, error = self._attachments.put, mapping(event.get("error"))
        facts = {
            semconv.TOOL_CALL_ID: text(event.get("id")),
            semconv.TOOL_ARGUMENTS: written(put(event.get("arguments"))),
            semconv.TOOL_RESULT: written(put(event.get("result"))),
            semconv.ERROR_TYPE: text(error.get("type")),
        }
        start, end = self._times(event, amount(event.get("working_time")))
        failed = put(failure(error) or "failed") if error or event.get("failed") is True else None
        self._made["pending"] += event.get("pending") is True
        name, key = text(event.get("function")) or "unknown", text(event.get("uuid"))
        run.call(name, facts, start_ns=start, end_ns=end, error=failed, key=key)

    def _times(self, event: dict[str, Any], seconds: float | None) -> tuple[int | None, int | None]:
        """Start and end: older logs have the start, and how long it took of model calls only."""
        start, end = moment_ns(event.get("timestamp")), moment_ns(event.get("completed"))
        end = later_ns(start, seconds) if end is None else end
        self._made["no_end"] += end is None
        return start, end

    def _talk(self) -> None:
        """A sample without events: its messages, each answer a call."""
        asked: dict[str, Any] = {}
        for found in map(mapping, listing(self._found.get("messages"))):
            message = inspect_messages.message(found, self._attachments.put)
            if message["role"] == "assistant":
                self._made["inferred_calls"] += 1
                asked |= {str(p["id"]): p["arguments"] for p in message["parts"] if p["type"] == "tool_call"}
                self._root.answer(message, _model(text(found.get("model")) or self._model))
                continue
            if message["role"] == "tool":
                self._made["inferred_calls"] += 1
                call_id, result = message["parts"][0]["id"], message["parts"][0]["response"]
                facts = {
                    semconv.TOOL_CALL_ID: call_id,
                    semconv.TOOL_ARGUMENTS: written(asked.get(str(call_id))),
                    semconv.TOOL_RESULT: written(result),
                    semconv.ERROR_TYPE: text(mapping(found.get("error")).get("type")),
                }
                error = failure(found.get("error"))
                self._root.call(text(found.get("function")) or "unknown", facts, error=error)
            self._root.say(message)

    def _ended(self) -> dict[str, Any]:
        """How the sample ended: its scores, the limit it ran into, the error that stopped it; and what it used by its own account."""
        scores = [mapping(s).get("value") for s in mapping(self._found.get("scores")).values()]
        graded = [_grade(value) for value in scores]
        passed = {grade == 1 for grade in graded if grade in (0, 1)}
        error, limit = failure(self._found.get("error")), mapping(self._found.get("limit"))
        success = False if error else passed == {True} if len(passed) == 1 else None
        self._made["scorers_differ"] += len(passed) > 1
        stopped = f"{text(limit.get('type')) or 'unknown'} limit" if limit else None
        used = [mapping(u) for u in mapping(self._found.get("model_usage")).values()]
        known = [inspect_messages.usage(u) for u in used]
        return {
            semconv.TASK_ID: written(self._found.get("id")),
            semconv.REPORTED_INPUT_TOKENS: sum(u.get(semconv.INPUT_TOKENS, 0) for u in known) if known else None,
            semconv.REPORTED_OUTPUT_TOKENS: sum(u.get(semconv.OUTPUT_TOKENS, 0) for u in known) if known else None,
            **outcome(success, score=graded[0] if graded else None, reason=error or stopped),
        }


def _all_events(events: list[Any]) -> Iterator[tuple[dict[str, Any], _Path]]:
    """Every event, and the agents whose tool calls it stands in; those in a tool call come right after it."""
    stack: list[tuple[Any, _Path]] = [(event, ()) for event in reversed(events)]
    while stack:
        event, within = stack.pop()
        found = mapping(event)
        yield found, within
        agent = text(found.get("agent"))
        key = text(found.get("agent_span_id")) or text(found.get("id")) or "agent"
        below = (*within[-_DEEPEST:], (key, agent)) if agent else within
        stack += [(e, below) for e in reversed(listing(found.get("events")))]


def _model(name: str | None) -> dict[str, Any]:
    """Inspect names models `provider/model`."""
    provider, _, model = (name or "").partition("/")
    return {semconv.PROVIDER: provider, semconv.REQUEST_MODEL: model} if model else {semconv.REQUEST_MODEL: name}


def _grade(value: Any) -> float | None:
    if isinstance(value, bool):
        return float(value)
    return _GRADES.get(value) if isinstance(value, str) else amount(value)
