"""Talks of several agents with one another: messages of AutoGen (0.4 and later), and Who&When's failures with who is to blame.

Everybody hears everybody: each agent is a run below that of the chat, and each of its messages a model call that was sent all before it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from analyzer.readers.agent_runs import (
    STEP_NS,
    Message,
    Run,
    Spans,
    answered,
    asked,
    odd_record,
    outcome,
    report,
    said,
    words,
    written,
)
from analyzer.readers.chat_forms import when_ns
from analyzer.readers.format import Format
from analyzer.readers.lines import values
from analyzer.readers.loose import count, dumps, listing, mapping, text
from analyzer.readers.openai_messages import content, decoded
from analyzer.readers.outline import outline
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument import semconv

_AUTOGEN: Final = tuple(
    frozenset((f"{place}source", f"{place}models_usage", f"{place}content"))
    for place in ("", "[].", "messages[].", "[].messages[].")
)
_HISTORY: Final = frozenset(("history[].content", "history[].role"))
_BLAMED: Final = frozenset(("mistake_agent", "question_ID"))
_ORCHESTRATED: Final = re.compile(rb'"role"\s*:\s*"Orchestrator \(')
"""Who is to blame stands behind the history, which may be long."""
_SPEAKER: Final = re.compile(r"(.{1,200}?) \((.{1,200})\)$", re.DOTALL)
_TERMINAL: Final = re.compile(r"computer_?terminal$", re.IGNORECASE)
_FAILED: Final = re.compile(r"exitcode: ([1-9]\d{0,8})\b")
_NO_CALL: Final = frozenset(
    ("ToolCallSummaryMessage", "StopMessage", "HandoffMessage", "UserInputRequestedEvent", "MemoryQueryEvent")
)
_MOST: Final = 64
"""Agents told apart; a chat of more is told as one agent's."""
_INFERRED: Final = {
    "inferred_calls": "the file holds messages only: every message of an agent was taken as one model call, sent all that stands before it",
    "inferred_times": "the file says when something was said, not when it was asked for: calls begin where what came before them ended",
    "no_times": "messages have no time: they were put one right after the other, from 1970 on, so that their order is kept",
    "no_usage": "model calls have no token counts",
}


def _sniff(head: bytes) -> bool:
    keys = outline(head)
    return (keys >= _HISTORY and bool(keys & _BLAMED or _ORCHESTRATED.search(head))) or any(
        marks <= keys for marks in _AUTOGEN
    )


def _read(stream: Stream, sink: Sink) -> None:
    spans, made = Spans(sink, stream.source, "group-chat"), Counter[str]()
    for chat in _chats(values(stream, sink)):
        made += _Chat(spans, chat).tell()
    report(sink, stream.source, _INFERRED, made)
    if made["odd"]:
        sink.add_issue(odd_record(stream.source, "entries that are no messages were left out", made["odd"]))


def _chats(found: Iterator[Any]) -> Iterator[dict[str, Any]]:
    """Each chat as an object with messages. Messages one a line are one chat."""
    alone: list[Any] = []
    for value in found:
        whole = mapping(value)
        if "source" in whole:
            alone.append(whole)
        elif isinstance(value, list) and any("source" in mapping(m) for m in value):
            yield {"messages": value}
        else:
            yield from (mapping(v) for v in (value if isinstance(value, list) else [value]))
    if alone:
        yield {"messages": alone}


class _Chat:
    """One chat, message by message."""

    def __init__(self, spans: Spans, found: dict[str, Any]) -> None:
        self._spans, self._found = spans, found
        self._identity = ("group-chat", dumps(found))
        self._main = Run(spans, self._identity, agent="group chat")
        self._agents: dict[str, Run] = {}
        self._history: list[Message] = []
        self._asked: dict[str, tuple[Any, Any]] = {}
        self._thoughts: list[Message] = []
        self._untimed_ns = 0
        self._made: Counter[str] = Counter()

    def tell(self) -> Counter[str]:
        """Tells all that was said. Returns what had to be inferred or left out."""
        messages = listing(self._found.get("history")) or listing(self._found.get("messages"))
        for number, message in enumerate(map(mapping, messages)):
            if "source" in message:
                self._autogen(message)
            elif isinstance(message.get("role"), str):
                self._blamed(message, first=number == 0)
            else:
                self._made["odd"] += 1
        blamed = text(self._found.get("mistake_reason"))
        for run in self._agents.values():
            run.end({})
        right = self._found.get("is_correct", self._found.get("is_corrected"))
        ended = outcome(
            right if isinstance(right, bool) else None, reason=blamed or text(self._found.get("stop_reason"))
        )
        self._main.end({semconv.TASK_ID: text(self._found.get("question_ID")), **ended})
        return self._made

    def _autogen(self, message: dict[str, Any]) -> None:
        agent, kind, at = text(message.get("source")) or "agent", text(message.get("type")), when_ns(message)
        parts = [mapping(p) for p in listing(message.get("content"))]
        if kind == "ToolCallRequestEvent":
            calls = [asked(text(p.get("id")), text(p.get("name")), decoded(p.get("arguments"))) for p in parts]
            self._speak(agent, calls, message, at)
        elif kind == "ToolCallExecutionEvent":
            for part in parts:
                self._result(agent, part, at)
        elif kind == "ThoughtEvent":
            self._thoughts.append({"type": "reasoning", "content": text(message.get("content")) or ""})
        elif agent == "user" or kind in _NO_CALL:
            self._hear(said("user", *content(message.get("content"))))
        else:
            self._speak(agent, content(message.get("content")), message, at)

    def _blamed(self, message: dict[str, Any], *, first: bool) -> None:
        named = text(message.get("name")) or message["role"]
        spoken = text(message.get("content")) or ""
        found = _SPEAKER.match(named)
        agent, how = (found[1], found[2]) if found else (named, "")
        if _TERMINAL.search(agent):
            problem = _FAILED.search(spoken[:200])
            self._ran(agent, spoken, f"exit code {problem[1]}" if problem else None)
        elif first or agent == "human" or how.startswith("->") or how == "termination condition":
            self._hear(said("user", words(spoken)))  # a task, or handed on by rule
        else:
            self._speak(agent, [words(spoken)], {}, None)

    def _run(self, agent: str) -> Run:
        if agent not in self._agents and len(self._agents) < _MOST:
            self._agents[agent] = Run(self._spans, (*self._identity, agent), agent=agent, parent=self._main)
        return self._agents.get(agent, self._main)

    def _speak(self, agent: str, parts: list[Message], message: dict[str, Any], at: int | None) -> None:
        used = mapping(message.get("models_usage"))
        prompt = text(mapping(self._found.get("system_prompt")).get(agent))
        start, end, facts = self._when(at)
        facts |= {
            semconv.INPUT_TOKENS: count(used.get("prompt_tokens")),
            semconv.OUTPUT_TOKENS: count(used.get("completion_tokens")),
            semconv.SYSTEM_INSTRUCTIONS: dumps([words(prompt)]) if prompt else None,
        }
        self._asked |= {str(p["id"]): (p["name"], p["arguments"]) for p in parts if p["type"] == "tool_call"}
        answer, self._thoughts = said("assistant", *self._thoughts, *parts), []
        run = self._run(agent)
        run.forget(*self._history)
        run.answer(answer, facts, start_ns=start, end_ns=end)
        self._hear(answer)
        self._made["inferred_calls"] += 1
        self._made["no_usage"] += not used

    def _hear(self, message: Message) -> None:
        if message["parts"]:
            self._history.append(message)

    def _result(self, agent: str, part: dict[str, Any], at: int | None) -> None:
        call_id, failed = text(part.get("call_id")), part.get("is_error") is True
        name, arguments = self._asked.pop(call_id or "", (text(part.get("name")), None))
        start, end, facts = self._when(at)
        result = written(part.get("content"))
        facts |= {
            semconv.TOOL_CALL_ID: call_id,
            semconv.TOOL_ARGUMENTS: written(arguments),
            semconv.TOOL_RESULT: result,
        }
        error = (result or "") if failed else None
        self._run(agent).call(text(name) or "unknown", facts, start_ns=start, end_ns=end, error=error)
        self._hear(said("tool", answered(call_id, part.get("content"), failed=failed)))

    def _ran(self, tool: str, result: str, error: str | None) -> None:
        """What a terminal that takes part in the chat printed: it ran the code in the message before."""
        start, end, facts = self._when(None)
        before = (
            next((p["content"] for p in self._history[-1]["parts"] if "content" in p), None) if self._history else None
        )
        facts |= {semconv.TOOL_ARGUMENTS: written(before), semconv.TOOL_RESULT: result}
        self._main.call(tool, facts, start_ns=start, end_ns=end, error=error)
        self._hear(said("user", words(result)))

    def _when(self, at: int | None) -> tuple[int | None, int | None, dict[str, Any]]:
        """Begin and end of the next thing. One clock for all runs, as the order of messages is that of the chat."""
        if at is not None:
            self._made["inferred_times"] += 1
            return None, at, {}
        self._made["no_times"] += 1
        self._untimed_ns += STEP_NS
        return self._untimed_ns, self._untimed_ns, {semconv.TIMES_INFERRED: "both"}


GROUP_CHAT: Final = Format(
    "group chat of agents",
    _sniff,
    _read,
    about="Messages of [AutoGen](https://github.com/microsoft/autogen) 0.4 and later, as its teams return them, and the failures of "
    "[Who&When](https://github.com/mingyin1/Agents_Failure_Attribution). Recognised by `source` beside `models_usage`, or by a `history` "
    "beside a `mistake_agent`.",
    sees="Who said what, each agent as a run below that of the chat; tool calls and results; what a terminal in the chat ran; of AutoGen "
    "token counts; of Who&When what went wrong.",
    cannot_see="Models, times (of Who&When), tool definitions; what tools an agent used within its message.",
)
