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
from analyzer.readers.chat_forms import ROLES, message, response_parts, spoken, usage, when_ns
from analyzer.readers.format import Format
from analyzer.readers.lines import values
from analyzer.readers.loose import amount, count, dumps, earlier_ns, listing, mapping, moment_ns, text
from analyzer.readers.outline import outline
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument import genai_messages, semconv

_LISTS: Final = ("messages", "traj", "contents", "conversations", "conversation", "input")
"""Where lists of messages stand."""
_PLACES: Final = (
    "",
    *(f"{name}[]." for name in _LISTS),
    "request.messages[].",
    "request.input[].",
    "choices[].message.",
)
_TALKS: Final = frozenset(
    frozenset(f"{above}{place}{name}" for name in names)
    for above in ("", "[].")
    for place in _PLACES
    for names in (
        ("role", "content"),
        ("role", "parts"),
        ("type", "content", "additional_kwargs"),
        ("type", "data.content", "data.type"),
        ("lc", "kwargs.content"),
        ("from", "value"),
    )
)
_ANSWERS: Final = tuple(
    frozenset(f"{above}{place}{name}" for name in names)
    for above in ("", "[].")
    for place in ("", "response.", "response.body.", "result.message.")
    for names in (("choices", "usage"), ("stop_reason", "content"), ("output", "object", "output[].type"))
)
"""Keys of responses alone, or beside their requests."""

_INFERRED: Final = {
    "inferred_calls": "the file holds messages only: every answer was taken as one model call, sent all that stands before it",
    "no_times": "messages have no time: they were put one right after the other, from 1970 on, so that their order is kept",
    "inferred_times": "the file says when something was said, not when it was asked for: calls begin where what came before them ended",
    "no_usage": "model calls have no token counts",
}


def _sniff(head: bytes) -> bool:
    keys = outline(head)
    if "type" in keys and not keys & {"role", "data.content", "kwargs.content", "additional_kwargs"}:
        return False  # an event that carries messages, not a request or response
    return any(marks <= keys for marks in _TALKS) or any(marks <= keys for marks in _ANSWERS)


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
        if isinstance(value, dict) and _is_response(value):
            yield {"messages": [], "response": value}
        elif isinstance(value, dict) and _is_entry(value):
            alone.append(value)
        elif isinstance(value, list) and any(isinstance(v, dict) and _is_entry(v) for v in value):
            yield {"messages": value}
        else:
            yield from _inside(value)
    if alone:
        yield {"messages": alone}


def _inside(value: Any) -> Iterator[dict[str, Any] | None]:
    for one in value if isinstance(value, list) else [value]:
        found = mapping(one)
        response = _body(found.get("response")) or mapping(mapping(found.get("result")).get("message"))
        if _is_response(response):
            request = _body(found.get("request")) or found
            yield {**found, **request, "messages": _asked_in(request), "response": response}
            continue
        messages = next((found[n] for n in _LISTS if found.get(n)), one)
        listed = isinstance(messages, list) and all(isinstance(m, dict) for m in messages)
        yield {**found, "messages": messages} if listed and messages else None


def _body(found: Any) -> dict[str, Any]:
    """A request or response, where it is one, or the body of one."""
    return mapping(mapping(found).get("body")) or mapping(found)


def _asked_in(request: dict[str, Any]) -> list[Any]:
    given: Any = next((request[n] for n in _LISTS if request.get(n)), [])
    return [{"role": "user", "content": given}] if isinstance(given, str) else listing(given)


def _is_response(found: dict[str, Any]) -> bool:
    return (
        "choices" in found
        or ("stop_reason" in found and "content" in found)
        or (found.get("object") == "response" and isinstance(found.get("output"), list))
    )


def _is_entry(found: dict[str, Any]) -> bool:
    """Whether it is a message by itself, one a line or one of a list."""
    if text(found.get("role")) in ROLES:
        return True
    named = text(found.get("call_id")) is not None or "kwargs" in found or isinstance(found.get("data"), dict)
    return isinstance(found.get("type"), str) and (named or "additional_kwargs" in found or "summary" in found)


def _tell(spans: Spans, talk: dict[str, Any]) -> Counter[str]:
    run = Run(spans, ("chat-messages", dumps(talk)), agent=text(talk.get("agent")) or "agent")
    return _Talk(run, talk).tell()


class _Talk:
    """One list of messages on its way to a run."""

    def __init__(self, run: Run, talk: dict[str, Any]) -> None:
        self._run, self._talk, self._made = run, talk, Counter[str]()
        self._asked: dict[str, tuple[Any, Any]] = {}
        tools = listing(talk.get("tools"))
        system = talk.get("system") or talk.get("instructions")
        self._facts = {
            semconv.REQUEST_MODEL: text(talk.get("model")),
            semconv.REQUEST_MAX_TOKENS: count(talk.get("max_tokens")),
            semconv.SYSTEM_INSTRUCTIONS: dumps(genai_messages.parts(system)) if system else None,
            semconv.TOOL_DEFINITIONS: dumps([_tool(mapping(t)) for t in tools]) if tools else None,
        }

    def tell(self) -> Counter[str]:
        """Tells the run all that was said. Returns what had to be inferred or left out."""
        response = mapping(self._talk.get("response"))
        for found in spoken(self._talk["messages"]):
            if found is None:
                self._made["odd"] += 1
            elif found.message["role"] == "assistant" and not response:
                self._made["inferred_calls"] += 1
                self._answer(found.message, found.facts, None, found.at_ns)
            else:
                self._heard(found.message, found.at_ns)
        if response:
            answer, facts = _response(response)
            self._answer(answer, {**facts, **reported(amount(self._talk.get("cost")))}, *self._times())
        reward = amount(self._talk.get("reward"))
        ended = outcome(None if reward is None else reward >= 1, score=reward)
        self._run.end({semconv.TASK_ID: written(self._talk.get("task_id")), **ended})
        return self._made

    def _times(self) -> tuple[int | None, int | None]:
        """When the request was sent and its response there, as logs of LiteLLM and OpenHands say beside them."""
        response = mapping(self._talk.get("response"))
        ended = moment_ns(self._talk.get("timestamp"))
        if ended is None:  # by the second in which the answer was made
            made = when_ns(response)
            return (made, moment_ns(response.get("completed_at"))) if "output" in response else (None, made)
        return earlier_ns(ended, amount(self._talk.get("latency_sec"))), ended

    def _answer(
        self, answer: Message, facts: dict[str, Any], start_ns: int | None = None, end_ns: int | None = None
    ) -> None:
        self._asked |= {str(p["id"]): (p["name"], p["arguments"]) for p in answer["parts"] if p["type"] == "tool_call"}
        self._run.answer(answer, {**self._facts, **facts}, start_ns=start_ns, end_ns=end_ns)
        self._made["no_times"] += start_ns is None and end_ns is None
        self._made["inferred_times"] += (start_ns is None) != (end_ns is None)
        self._made["no_usage"] += semconv.INPUT_TOKENS not in facts

    def _heard(self, message: Message, at_ns: int | None) -> None:
        """A message that the next request holds. Results in it are those of calls that an answer here asked for."""
        for part in message["parts"]:
            asked = self._asked.pop(str(part["id"]), None) if part["type"] == "tool_call_response" else None
            if asked is not None:
                self._result(part, *asked, at_ns)
        self._run.say(message, at_ns=at_ns)

    def _result(self, part: Message, name: Any, arguments: Any, at_ns: int | None) -> None:
        result = written(part["response"])
        facts = {
            semconv.TOOL_CALL_ID: part["id"],
            semconv.TOOL_ARGUMENTS: written(arguments),
            semconv.TOOL_RESULT: result,
        }
        error = (result or "") if part.get("is_error") is True else None
        self._run.call(text(name) or "unknown", facts, end_ns=at_ns, error=error)
        self._made["no_times" if at_ns is None else "inferred_times"] += 1


def _response(response: dict[str, Any]) -> tuple[Message, dict[str, Any]]:
    """Answer and attributes of a response object, of either API."""
    choices = listing(response.get("choices"))
    if choices:
        facts = openai_messages.completion(response)
        answer = openai_messages.message(mapping(mapping(choices[0]).get("message")))
        return {**answer, "role": "assistant"}, facts
    if "output" in response:
        parts = response_parts(listing(response["output"]))
        unfinished = text(mapping(response.get("incomplete_details")).get("reason"))
        stop = unfinished or text(response.get("status"))
    else:
        parts = message({"role": "assistant", "content": response.get("content")})["parts"]
        stop = text(response.get("stop_reason"))
    facts = {
        semconv.RESPONSE_MODEL: text(response.get("model")),
        semconv.RESPONSE_ID: text(response.get("id")),
        semconv.FINISH_REASONS: [stop] if stop else None,
        **usage(response.get("usage")),
    }
    return said("assistant", *parts), facts


def _tool(found: dict[str, Any]) -> dict[str, Any]:
    return genai_messages.tools([found])[0] if "input_schema" in found else found


CHAT_MESSAGES: Final = Format(
    "list of chat messages",
    _sniff,
    _read,
    about=(
        "What the chat APIs of Anthropic, OpenAI (chat completions and Responses) and Gemini take and give: messages, requests, "
        "responses, or both together, also results of batches; messages of LangChain (dicts, serialised, states of LangGraph), of goose, "
        "of Vercel's AI SDK, ShareGPT's turns, trajectories of tau-bench. Recognised by objects with `role` and `content` and the like; "
        "tried last."
    ),
    sees="Messages, tool calls and results; times, models and usage where messages have them; of responses also model, usage and "
    "finish reason, and what LiteLLM and OpenHands write beside them: cost, time, latency; of tau-bench the reward.",
    cannot_see=(
        "Of bare lists of messages: times, models and usage; each answer is taken for one call that was sent all that stands "
        "before it."
    ),
)
