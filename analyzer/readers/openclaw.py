"""Telemetry of OpenClaw: JSON Lines, one event each, of all sessions of one installation.

There is no event for a model call. Some events repeat what the session had said so far, in the form of pi, and each answer in it is a
model call, however often it is repeated. Tool calls have events; those whose result is in such a history are told from there.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from typing import Any, Final

from analyzer.readers.agent_runs import Run, Spans, report, said, words, written
from analyzer.readers.format import Format
from analyzer.readers.loose import amount, dumps, earlier_ns, listing, mapping, moment_ns, text
from analyzer.readers.pi import Session
from analyzer.readers.records import records
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument import semconv

_EVENT: Final = re.compile(
    rb'"type"\s*:\s*"(?:agent\.(?:start|end)|tool\.(?:start|end)|message\.(?:in|out)|llm\.usage)"'
)
_NAMED: Final = re.compile(rb'"(?:sessionKey|contentLength)"\s*:')

_INFERRED: Final = {
    "repeated_messages": "messages are repeated in later events of their session, and were counted once",
    "unseen_calls": "sessions end with what nothing repeats: the last answers in them, and what those used, are not in the file",
    "no_end": "answers have the time at which they began only: how long model calls took is not known",
    "inferred_times": "the file says when a tool's result was there: tool calls begin where what came before them ended",
    "no_times": "tool calls have no time: they were put right after what came before",
    "pending": "tool calls were never reported as ended: whether they succeeded is not known",
    "partial_usage": "answers were cut (stopped by the user, or failed): their token counts are partial, or unknown where all are 0",
    "no_tool_definitions": "of what the model was told, the system prompt and the tool definitions are missing",
    "other_records": "events of no model and no tool, such as messages on their way to a channel, were passed over",
}


def _sniff(head: bytes) -> bool:
    return head.lstrip()[:1] == b"{" and _EVENT.search(head) is not None and _NAMED.search(head) is not None


def _read(stream: Stream, sink: Sink) -> None:
    log: _Log | None = None
    for _, record in records(stream, sink):
        log = log or _Log(Spans(sink, stream.source, "openclaw"), record)
        log.take(record)
    if log:
        report(sink, stream.source, _INFERRED, log.end())


class _Log:
    """All events of one file, by their session."""

    def __init__(self, spans: Spans, first: dict[str, Any]) -> None:
        self._spans, self._name = spans, dumps(first)
        self._sessions: dict[str, _Session] = {}
        self._made: Counter[str] = Counter()

    def take(self, event: dict[str, Any]) -> None:
        """Gives an event to its session."""
        kind, key = event.get("type"), text(event.get("sessionKey")) or ""
        if kind in ("agent.start", "agent.end"):
            repeated = self._session(key).remember(event)
            self._made["repeated_messages"] += repeated
        elif kind == "tool.start":
            self._session(key).began(event)
        elif kind == "tool.end":
            self._session(key).ended(event)
        else:
            self._made["other_records"] += 1

    def _session(self, key: str) -> _Session:
        return self._sessions.setdefault(key, _Session())

    def end(self) -> Counter[str]:
        """Tells all sessions, those first that others were started from. Returns what had to be inferred."""
        runs: dict[str, Run] = {}
        for key in sorted(self._sessions, key=lambda k: ":subagent:" in k):
            # Keys are agent:ID:main, agent:ID:CHANNEL:..., agent:ID:subagent:UUID.
            above = runs.get(":".join([*key.split(":")[:2], "main"])) if ":subagent:" in key else None
            agent = "openclaw sub-agent" if ":subagent:" in key else "openclaw"
            identity = ("openclaw", self._name, key)
            runs[key] = Run(self._spans, identity, agent=agent, conversation=key or None, parent=above)
        told = Counter(call for session in self._sessions.values() for call in session.results())
        for key, run in runs.items():
            self._made += self._sessions[key].tell(run, told)
        return self._made


class _Session:
    """One session: what was said in it, as far as it was repeated, and its tool calls."""

    def __init__(self) -> None:
        self.tools: list[dict[str, Any]] = []
        """Starts of tool calls, each with its end."""
        self._open: defaultdict[str, deque[dict[str, Any]]] = defaultdict(deque)
        """Those without an end, by tool."""
        self._messages: dict[str, dict[str, Any]] = {}
        self._complete = False
        self._prompt: str | None = None

    def remember(self, event: dict[str, Any]) -> int:
        """Keeps what an event repeats. Returns how many messages of it were known."""
        self._complete = event.get("type") == "agent.end"
        self._prompt = text(event.get("prompt")) or self._prompt
        known = 0
        for message in map(mapping, listing(event.get("messages"))):
            key = dumps(
                [message.get("role"), message.get("timestamp"), message.get("toolCallId"), message.get("content")]
            )
            known += key in self._messages
            self._messages.setdefault(key, message)
        return known

    def began(self, event: dict[str, Any]) -> None:
        """Opens a call."""
        call = {**event, "end": None}
        self.tools.append(call)
        self._open[text(event.get("toolName")) or ""].append(call)

    def ended(self, event: dict[str, Any]) -> None:
        """Closes the oldest open call of the tool."""
        if calls := self._open[text(event.get("toolName")) or ""]:
            calls.popleft()["end"] = event
        else:
            self.tools.append({**event, "end": event})

    def results(self) -> list[str]:
        """Tool and arguments of each call whose result is in the history."""
        asked = {
            block.get("id"): dumps([block.get("name"), block.get("arguments")])
            for message in self._messages.values()
            for block in map(mapping, listing(message.get("content")))
            if block.get("type") == "toolCall" and isinstance(block.get("id"), str)
        }
        answered = [m.get("toolCallId") for m in self._messages.values() if m.get("role") == "toolResult"]
        return [asked[call] for call in answered if isinstance(call, str) and call in asked]

    def tell(self, run: Run, told: Counter[str]) -> Counter[str]:
        """Tells the run what was said and done; of tool calls those that are not in `told`, and takes the others out of it."""
        session = Session(run)
        for message in self._messages.values():
            at = message.get("timestamp") if message.get("role") == "toolResult" else None
            session.take({"type": "message", "message": message, "timestamp": at})
        if not self._messages and self._prompt:
            run.say(said("user", words(self._prompt)))
        spoken = bool(self._messages or self._prompt)
        own: Counter[str] = Counter(unseen_calls=spoken and not self._complete, no_end=run.model_calls)
        for call in self.tools:
            key = dumps([call.get("toolName"), call.get("params")])
            if told[key]:
                told[key] -= 1
            else:
                own += self._call(run, call)
        # A session under another key may have told all that this one did.
        return own + session.end() if spoken or run.tool_calls else own

    def _call(self, run: Run, call: dict[str, Any]) -> Counter[str]:
        end = mapping(call["end"])
        milliseconds, ended = amount(end.get("durationMs")), moment_ns(end.get("ts"))
        started = earlier_ns(ended, None if milliseconds is None else milliseconds / 1e3) or moment_ns(call.get("ts"))
        failed = end.get("success") is False
        facts = {semconv.TOOL_ARGUMENTS: written(call.get("params")), semconv.TOOL_RESULT: written(end.get("result"))}
        error = (text(end.get("error")) or "failed") if failed else None
        run.call(text(call.get("toolName")) or "unknown", facts, start_ns=started, end_ns=ended, error=error)
        return Counter(no_times=started is None, pending=not end)


OPENCLAW: Final = Format(
    "OpenClaw telemetry",
    _sniff,
    _read,
    about="Written by the telemetry plugin of OpenClaw. Recognised by events such as `agent.start` and `tool.start` with a `sessionKey`.",
    sees="Sessions and their sub-agents; tool calls with arguments, success and duration; answers with usage and cost, as far as later "
    "events repeat them.",
    cannot_see="Model calls that no later event repeats, when an answer was complete, system prompt and tool definitions.",
)
