"""What the chat APIs of Anthropic and OpenAI take and give: lists of messages, requests, responses, or both together.

An answer in a list is a model call, known by nothing but its place. Where the response itself is there, that is the one call, and
answers before it are history. tau-bench keeps its trajectories in this form too (`traj`), with a reward.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from analyzer.readers import openai_messages
from analyzer.readers.agent_runs import Message, Run, Spans, odd_record, outcome, report, reported, said, written
from analyzer.readers.format import Format
from analyzer.readers.lines import values
from analyzer.readers.loose import amount, count, dumps, earlier_ns, listing, mapping, moment_ns, text
from analyzer.readers.outline import outline
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument import genai_messages, semconv

_TALKS: Final = (
    "role",
    "[].role",
    "messages[].role",
    "[].messages[].role",
    "traj[].role",
    "[].traj[].role",
    "choices[].message.role",
)
_ROLES: Final = frozenset(("system", "developer", "user", "assistant", "tool", "function"))
_ANTHROPIC: Final = frozenset(("tool_use", "tool_result", "thinking", "redacted_thinking", "server_tool_use"))

_INFERRED: Final = {
    "inferred_calls": "the file holds messages only: every answer was taken as one model call, sent all that stands before it",
    "no_times": "messages have no time: they were put one right after the other, from 1970 on, so that their order is kept",
    "no_usage": "model calls have no token counts",
}


def _sniff(head: bytes) -> bool:
    keys = outline(head)
    if "type" in keys and "role" not in keys:  # an event that carries messages, not a request or response
        return False
    return any(place in keys and place.removesuffix("role") + "content" in keys for place in _TALKS)


def _read(stream: Stream, sink: Sink) -> None:
    spans, made = Spans(sink, stream.source, "chat-messages"), Counter[str]()
    for talk in _talks(values(stream, sink)):
        if talk is None:
            made["odd"] += 1
        else:
            made += _tell(spans, talk)
    report(sink, stream.source, _INFERRED, made)
    if made["odd"]:
        sink.add_issue(odd_record(stream.source, "entries that are no messages were left out", made["odd"]))


def _talks(found: Iterator[Any]) -> Iterator[dict[str, Any] | None]:
    """Each list of messages with what stands beside it; None for what holds none. Messages one a line are one list."""
    alone: list[Any] = []
    for value in found:
        if isinstance(value, dict) and ("choices" in value or "stop_reason" in value):
            yield {"messages": [], "response": value}
        elif isinstance(value, dict) and text(value.get("role")) in _ROLES:
            alone.append(value)
        elif isinstance(value, list) and any(text(mapping(v).get("role")) in _ROLES for v in value):
            yield {"messages": value}
        else:
            yield from _inside(value)
    if alone:
        yield {"messages": alone}


def _inside(value: Any) -> Iterator[dict[str, Any] | None]:
    for one in value if isinstance(value, list) else [value]:
        found = mapping(one)
        messages = found.get("messages") or found.get("traj") or one
        listed = isinstance(messages, list) and all(isinstance(m, dict) for m in messages)
        yield {**found, "messages": messages} if listed and messages else None


def _tell(spans: Spans, talk: dict[str, Any]) -> Counter[str]:
    run = Run(spans, ("chat-messages", dumps(talk)), agent=text(talk.get("agent")) or "agent")
    return _Talk(run, talk).tell()


class _Talk:
    """One list of messages on its way to a run."""

    def __init__(self, run: Run, talk: dict[str, Any]) -> None:
        self._run, self._talk, self._made = run, talk, Counter[str]()
        self._asked: dict[str, tuple[Any, Any]] = {}
        tools = listing(talk.get("tools"))
        system = talk.get("system")
        self._facts = {
            semconv.REQUEST_MODEL: text(talk.get("model")),
            semconv.REQUEST_MAX_TOKENS: count(talk.get("max_tokens")),
            semconv.SYSTEM_INSTRUCTIONS: dumps(genai_messages.parts(system)) if system else None,
            semconv.TOOL_DEFINITIONS: dumps([_tool(mapping(t)) for t in tools]) if tools else None,
        }

    def tell(self) -> Counter[str]:
        """Tells the run all that was said. Returns what had to be inferred or left out."""
        response = mapping(self._talk.get("response"))
        for found in map(mapping, self._talk["messages"]):
            if text(found.get("role")) not in _ROLES:
                self._made["odd"] += 1
            elif found["role"] == "assistant" and not response:
                self._made["inferred_calls"] += 1
                self._answer(_message(found), {})
            else:
                self._heard(_message(found))
        if response:
            answer, facts = _response(response)
            self._answer(answer, {**facts, **reported(amount(self._talk.get("cost")))}, *self._times())
        reward = amount(self._talk.get("reward"))
        ended = outcome(None if reward is None else reward >= 1, score=reward)
        self._run.end({semconv.TASK_ID: written(self._talk.get("task_id")), **ended})
        return self._made

    def _times(self) -> tuple[int | None, int | None]:
        """When the request was sent and its response there, as logs of LiteLLM and OpenHands say beside them."""
        ended = moment_ns(self._talk.get("timestamp"))
        return earlier_ns(ended, amount(self._talk.get("latency_sec"))), ended

    def _answer(
        self, answer: Message, facts: dict[str, Any], start_ns: int | None = None, end_ns: int | None = None
    ) -> None:
        self._asked |= {str(p["id"]): (p["name"], p["arguments"]) for p in answer["parts"] if p["type"] == "tool_call"}
        self._run.answer(answer, {**self._facts, **facts}, start_ns=start_ns, end_ns=end_ns)
        self._made["no_times"] += end_ns is None
        self._made["no_usage"] += semconv.INPUT_TOKENS not in facts

    def _heard(self, message: Message) -> None:
        """A message that the next request holds. Results in it are those of calls that an answer here asked for."""
        for part in message["parts"]:
            asked = self._asked.pop(str(part["id"]), None) if part["type"] == "tool_call_response" else None
            if asked is not None:
                self._result(part, *asked)
        self._run.say(message)

    def _result(self, part: Message, name: Any, arguments: Any) -> None:
        result = written(part["response"])
        facts = {
            semconv.TOOL_CALL_ID: part["id"],
            semconv.TOOL_ARGUMENTS: written(arguments),
            semconv.TOOL_RESULT: result,
        }
        error = (result or "") if part.get("is_error") is True else None
        self._run.call(text(name) or "unknown", facts, error=error)
        self._made["no_times"] += 1


def _message(found: dict[str, Any]) -> Message:
    content = found.get("content")
    kinds = {k for b in listing(content) if isinstance(k := mapping(b).get("type"), str)}
    if kinds & _ANTHROPIC:
        blocks = [b for b in listing(content) if isinstance(b, dict | str)]
        parts = genai_messages.parts(blocks)
        only_results = found["role"] == "user" and all(p["type"] == "tool_call_response" for p in parts)
        return said("tool" if only_results else found["role"], *parts)
    return openai_messages.message(found)


def _response(response: dict[str, Any]) -> tuple[Message, dict[str, Any]]:
    """Answer and attributes of a response object, of either API."""
    choices = listing(response.get("choices"))
    if choices:
        facts = openai_messages.completion(response)
        answer = openai_messages.message(mapping(mapping(choices[0]).get("message")))
        return {**answer, "role": "assistant"}, facts
    counts = {k: count(v) for k, v in mapping(response.get("usage")).items()}
    stop = text(response.get("stop_reason"))
    facts = {
        semconv.RESPONSE_MODEL: text(response.get("model")),
        semconv.RESPONSE_ID: text(response.get("id")),
        semconv.FINISH_REASONS: [stop] if stop else None,
        **genai_messages.usage(counts),
    }
    return _message({"role": "assistant", "content": response.get("content")}), facts


def _tool(found: dict[str, Any]) -> dict[str, Any]:
    return genai_messages.tools([found])[0] if "input_schema" in found else found


CHAT_MESSAGES: Final = Format(
    "list of chat messages",
    _sniff,
    _read,
    about=(
        "What the chat APIs of Anthropic and OpenAI take and give: messages, requests, responses, or both together; also "
        "trajectories of tau-bench. Recognised by objects with `role` and `content`; tried last."
    ),
    sees="Messages, tool calls and results; of responses also model, usage and finish reason, and what LiteLLM and "
    "OpenHands write beside them: cost, time, latency; of tau-bench the reward.",
    cannot_see=(
        "Times. Of bare lists of messages: models and usage; each answer is taken for one call that was sent all that stands "
        "before it."
    ),
)
