"""Conversations of the OpenHands SDK as its event store has them: JSON Lines, one event each; or one event in each file.

What models used is in events of its own and adds up: a model call used what the counters grew by right before its action or message. Calls
of the condenser, which have counters of their own, and calls whose action is not there are told without content.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from analyzer.readers import openai_messages
from analyzer.readers.agent_runs import Message, Run, Spans, answered, asked, reported, said, words, written
from analyzer.readers.loose import amount, count, dumps, listing, mapping, moment_ns, text
from analyzer.readers.openhands_bills import usage
from instrument import semconv

_COUNTERS: Final = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_RESULTS: Final = frozenset(("ObservationEvent", "AgentErrorEvent", "UserRejectObservation"))
_MAIN: Final = frozenset(("default", "agent"))
"""Names under which the agent's own model counts."""


class Conversation:
    """One conversation, event by event."""

    def __init__(self, spans: Spans, first: dict[str, Any]) -> None:
        self._run = Run(spans, ("openhands", text(first.get("id")) or dumps(first)), agent="openhands")
        self._made: Counter[str] = Counter()
        self._counted: dict[str, dict[str, float]] = {}
        """What each kind of use had counted so far."""
        self._used: dict[str, Any] | None = None
        """Facts of the model call that was counted and whose answer is still to come."""
        self._used_ns: int | None = None
        self._answer: list[Message] = []
        self._response: str | None = None
        self._answer_ns: int | None = None
        self._asked: dict[str, tuple[Any, Any]] = {}
        self._tools: str | None = None
        self.events = 0

    def take(self, event: dict[str, Any]) -> None:
        """Tells or keeps one event."""
        self.events += 1
        kind, at = text(event.get("kind")), moment_ns(event.get("timestamp"))
        if event.get("source") == "agent" and kind in ("ActionEvent", "MessageEvent"):
            self._spoken(event, at)
            return
        if kind == "ConversationStateUpdateEvent":
            if event.get("key") in ("stats", "full_state"):
                self._count(mapping(event.get("value")), at)
            self._made["other_records"] += 1
            return
        self._tell()
        if kind in _RESULTS:
            self._result(event, at)
        elif kind == "MessageEvent":
            self._run.say(_heard(mapping(event.get("llm_message"))), at_ns=at)
        elif kind == "SystemPromptEvent":
            prompt = mapping(event.get("system_prompt")).get("text")
            self._run.say(said("system", *openai_messages.content(prompt)), at_ns=at)
            tools = listing(event.get("tools"))
            self._tools = dumps(tools) if tools else None
        elif kind == "Condensation":
            summary = text(event.get("summary"))
            self._run.forget(*([said("user", words(summary))] if summary else []))
            self._run.note("compaction", {}, at)
        elif kind is not None:
            self._made["other_records"] += 1
        else:
            self._made["odd"] += 1

    def end(self) -> Counter[str]:
        """Tells what is left. Returns what had to be inferred or left out."""
        self._tell()
        self._unanswered()
        self._run.end({})
        self._made["no_time_zone"] = self.events
        self._made["lone_event"] = self.events == 1
        return self._made

    def _spoken(self, event: dict[str, Any], at: int | None) -> None:
        response = text(event.get("llm_response_id"))
        if response is None or response != self._response:
            self._tell()
        self._response, self._answer_ns = response, self._answer_ns or at
        if event.get("kind") == "MessageEvent":
            self._answer += _heard(mapping(event.get("llm_message")))["parts"]
            return
        call, call_id = mapping(event.get("tool_call")), text(event.get("tool_call_id"))
        name = text(call.get("name")) or text(event.get("tool_name"))
        given = call.get("arguments", event.get("action"))
        arguments = openai_messages.decoded(given)
        thought = text(event.get("reasoning_content"))
        self._answer += [{"type": "reasoning", "content": thought}] if thought else []
        self._answer += [*openai_messages.content(event.get("thought")), asked(call_id, name, arguments)]
        self._asked[call_id or ""] = (name, arguments)

    def _tell(self) -> None:
        """Tells the answer that is complete now."""
        if not self._answer:
            return
        parts, response, at = self._answer, self._response, self._answer_ns
        self._answer, self._response, self._answer_ns = [], None, None
        known, self._used = self._used or {}, None
        self._made["no_usage"] += not known
        self._made["inferred_times"] += 1
        facts = {**known, semconv.RESPONSE_ID: response, semconv.TOOL_DEFINITIONS: self._tools}
        self._run.answer(said("assistant", *parts), facts, end_ns=at)

    def _count(self, stats: dict[str, Any], at: int | None) -> None:
        """What the counters grew by is what one more call used."""
        found = mapping(mapping(stats.get("stats")).get("usage_to_metrics")) or mapping(stats.get("usage_to_metrics"))
        for name, metrics in found.items():
            used = self._grown(name, mapping(metrics))
            if used is None:
                continue
            self._tell()
            if name not in _MAIN:
                self._put(used, at)
                continue
            self._unanswered()
            self._used, self._used_ns = used, at

    def _grown(self, name: str, metrics: dict[str, Any]) -> dict[str, Any] | None:
        tokens = mapping(metrics.get("accumulated_token_usage"))
        total: dict[str, float] = {n: count(tokens.get(n)) or 0 for n in _COUNTERS}
        total["cost"] = amount(metrics.get("accumulated_cost")) or 0.0
        before = self._counted.get(name, {})
        self._counted[name] = total
        if any(total[n] < before.get(n, 0) for n in _COUNTERS):
            self._made["counter_reset"] += 1
            before = {}
        grown = {n: total[n] - before.get(n, 0) for n in total}
        if not any(grown[n] for n in _COUNTERS):
            return None
        cost = grown.pop("cost")
        model = text(metrics.get("model_name"))
        return {semconv.REQUEST_MODEL: model, **usage(dict(grown)), **reported(cost if cost > 0 else None)}

    def _unanswered(self) -> None:
        """Tells a call that was counted and left no answer."""
        if self._used is not None:
            self._put(self._used, self._used_ns)
            self._used = None

    def _put(self, used: dict[str, Any], at: int | None) -> None:
        self._made["no_answer"] += 1
        self._run.answer(said("assistant"), used, end_ns=at)

    def _result(self, event: dict[str, Any], at: int | None) -> None:
        call_id, observation = text(event.get("tool_call_id")), mapping(event.get("observation"))
        name, arguments = self._asked.pop(call_id or "", (None, None))
        told = observation.get("content", event.get("error", event.get("rejection_reason")))
        result = (
            "\n".join(filter(None, (text(mapping(b).get("text")) for b in told))) if isinstance(told, list) else told
        )
        error = _error(event, observation, written(result))
        facts = {
            semconv.TOOL_CALL_ID: call_id,
            semconv.TOOL_ARGUMENTS: written(arguments),
            semconv.TOOL_RESULT: written(result),
        }
        self._made["inferred_times"] += 1
        self._run.call(text(name) or text(event.get("tool_name")) or "unknown", facts, end_ns=at, error=error)
        self._run.say(said("tool", answered(call_id, result, failed=error is not None)))


def _heard(message: dict[str, Any]) -> Message:
    return openai_messages.message({**message, "role": text(message.get("role")) or "user"})


def _error(event: dict[str, Any], observation: dict[str, Any], result: str | None) -> str | None:
    """What went wrong. A command that is still running has the exit code -1."""
    if event.get("kind") != "ObservationEvent" or observation.get("is_error") is True:
        return result or ""
    code = observation.get("exit_code")
    return f"exit code {code}" if isinstance(code, int) and not isinstance(code, bool) and code > 0 else None
