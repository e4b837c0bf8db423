"""Sessions of Claude Code: JSON Lines, one content block of an answer on each, under `~/.claude/projects`.

The lines of one answer share its message id and repeat its usage, which counts once: the last line's. Sub-agents (`isSidechain`) are runs
of their own in the trace of their session, in the same file or in one of their own. The format is documented nowhere; this follows
the files.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

from analyzer.readers.agent_runs import Message, Run, Spans, odd_record, report, reported, said, written
from analyzer.readers.format import Format
from analyzer.readers.loose import amount, count, dumps, listing, mapping, moment_ns, text
from analyzer.readers.records import records
from analyzer.readers.seen import first_time
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument import genai_messages, semconv

_TALK: Final = re.compile(rb'"message"\s*:\s*\{')
_OWN: Final = re.compile(rb'"(?:sessionId|parentUuid|isSidechain|leafUuid)"\s*:|"type"\s*:\s*"(?:user|assistant)"')
_LIST: Final = b'"loglines"'
_NO_MODEL: Final = "<synthetic>"
"""Stands for the model where Claude Code itself answered, for instance that the API failed."""
_COUNTERS: Final = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")

INFERRED: Final = {
    "inferred_times": "the file says when an answer or a result was there, not when it was asked for: calls begin where the last ended",
    "no_tool_definitions": "of what the models were told, the system prompt and the tool definitions are missing",
    "partial_usage": "answers have no stop reason: their output tokens may be those of the stream's beginning, and so too low",
    "no_usage": "answers have no token counts",
    "repeated_calls": "model calls were copied from the session that this one resumed or was forked from, and were not counted again",
    "unrecorded_calls": "compactions were written by a model, and what those calls used is not in the file",
    "other_files": "sub-agents have files of their own (`<session>/subagents/agent-*.jsonl`): their calls count when those are read too",
    "other_records": "lines about the session itself, which no model reads, were passed over",
}


def _sniff(head: bytes) -> bool:
    if head.lstrip()[:1] != b"{":
        return False
    return _LIST in head or (_TALK.search(head) is not None and _OWN.search(head) is not None)


def _read(stream: Stream, sink: Sink) -> None:
    log = Log(Spans(sink, stream.source, "claude-code"), sink)
    for line, record in records(stream, sink):
        for found in listing(record.get("loglines")) or [record]:
            log.take(mapping(found), line)
    log.end()
    report(sink, stream.source, INFERRED, log.made)
    for line in log.odd[:20]:
        sink.add_issue(odd_record(stream.source, "a message of no known form was left out", 1, line))
    if len(log.odd) > 20:
        sink.add_issue(odd_record(stream.source, "messages of no known form were left out", len(log.odd) - 20))


class Log:
    """One file on its way to runs: one for each session in it, one for each sub-agent."""

    def __init__(self, spans: Spans, sink: Sink, agent: str = "claude-code") -> None:
        self._spans, self._sink, self._agent = spans, sink, agent
        self._threads: dict[tuple[str, str | None], _Thread] = {}
        self._of_record: dict[str, tuple[str, str | None]] = {}
        """The thread of each record by its uuid: a sub-agent's records may be told from another's by their ancestry alone."""
        self.made: Counter[str] = Counter()
        self.odd: list[int | None] = []
        self._mentioned: set[tuple[str, str | None]] = set()
        """Sub-agents of which the main thread tells, whose records may be elsewhere."""
        self.ended: dict[str, dict[str, Any]] = {}
        """What the agent span of a session says beside, as known at its end."""

    def take(self, record: dict[str, Any], line: int | None) -> None:
        """Tells the record to the run it belongs to."""
        message, kind = record.get("message"), record.get("type")
        role = kind if kind in ("user", "assistant") else mapping(message).get("role")
        compacted = kind == "system" and record.get("subtype") == "compact_boundary"
        if compacted or (kind in ("user", "assistant", None) and role in ("user", "assistant")):
            if not compacted and not isinstance(message, dict):
                self.odd.append(line)
                return
            place = self._place(record)
            self._mention(place, mapping(record.get("toolUseResult")))
            self._thread(place).take(record, "compaction" if compacted else str(role))
        elif isinstance(kind, str):
            self._mention(self._place(record), mapping(record.get("data")))
            self.made["other_records"] += 1
        else:
            self.odd.append(line)

    def end(self) -> None:
        """Ends all runs."""
        for (session, agent), thread in self._threads.items():
            thread.end(self.ended.get(session, {}) if agent is None else {})
            self.made += thread.made
        self.made["other_files"] = len(self._mentioned - self._threads.keys())

    def _mention(self, place: tuple[str, str | None], told: dict[str, Any]) -> None:
        if (agent := text(told.get("agentId"))) is not None:
            self._mentioned.add((place[0], agent))

    def main(self, session: str) -> Run:
        """The run of the main thread of a session, all that it was told so far in it."""
        thread = self._thread((session, None))
        thread.settle()
        return thread.run

    def _thread(self, place: tuple[str, str | None]) -> _Thread:
        thread = self._threads.get(place)
        if thread is None:
            self.made["no_tool_definitions"] += 1
            session, agent = place
            main = self._run((session, None))
            run = self._run(place, main) if agent is not None else main
            thread = self._threads[place] = _Thread(run, self._sink)
        return thread

    def _run(self, place: tuple[str, str | None], parent: Run | None = None) -> Run:
        session, agent = place
        existing = self._threads.get(place)
        if existing is not None:
            return existing.run
        identity = (self._agent, session, *([] if agent is None else [agent]))
        name = self._agent if agent is None else f"{self._agent} sub-agent"
        return Run(self._spans, identity, agent=name, conversation=session or None, parent=parent)

    def _place(self, record: dict[str, Any]) -> tuple[str, str | None]:
        """Session and sub-agent (None: the main thread) of a record."""
        before = self._of_record.get(text(record.get("parentUuid")) or "")
        session = text(record.get("sessionId")) or (before[0] if before else self._unnamed(record))
        agent = None
        if record.get("isSidechain") is True:
            named = text(record.get("agentId"))
            inherited = before[1] if before and before[0] == session else None
            agent = named or inherited or text(record.get("uuid")) or "sub-agent"
        place = (session, agent)
        if (uuid := text(record.get("uuid"))) is not None:
            self._of_record[uuid] = place
        return place

    def _unnamed(self, record: dict[str, Any]) -> str:
        """The session, where the file names none: the one there is, else one named for how it begins."""
        known = next(iter(self._threads), None)
        return known[0] if known else dumps(record)


class _Thread:
    """One run, record by record. An answer is told when it is complete: when the next one of the thread begins."""

    def __init__(self, run: Run, sink: Sink) -> None:
        self.run, self._sink = run, sink
        self.made: Counter[str] = Counter()
        self._lines: list[dict[str, Any]] = []
        """The lines of the answer that may not be complete yet."""
        self._heard: list[dict[str, Any]] = []
        """What came after its first line: results of its first calls may stand before its last lines."""
        self._asked: dict[str, tuple[str | None, Any, bool]] = {}
        """Tool, arguments and whether it was told in the session this one repeats, by the ids of calls without a result."""

    def take(self, record: dict[str, Any], role: str) -> None:
        """Keeps or tells one record."""
        if role == "assistant" and self._lines and _same_answer(self._lines[0], record):
            self._lines.append(record)
        elif role == "assistant":
            self.settle()
            self._lines = [record]
        elif role == "compaction":
            self.settle()
            before = count(mapping(record.get("compactMetadata")).get("preTokens"))
            at = moment_ns(record.get("timestamp"))
            key = text(record.get("uuid"))
            if key is None or first_time(self._sink, ("claude-code", key)):
                self.run.note("compaction", {semconv.COMPACTION_TOKENS_BEFORE: before}, at, key)
                self.made["unrecorded_calls"] += 1
            self.run.forget()
        elif self._lines:
            self._heard.append(record)
        else:
            self._user(record)

    def end(self, facts: dict[str, Any]) -> None:
        """Tells what is left. `facts` are attributes of the agent span."""
        self.settle()
        self.run.end(facts)

    def settle(self) -> None:
        """Tells the answer that was not complete yet, and what was heard after it."""
        lines, heard, self._lines, self._heard = self._lines, self._heard, [], []
        if lines:
            self._answer(lines)
        for record in heard:
            self._user(record)

    def _answer(self, lines: list[dict[str, Any]]) -> None:
        messages = [mapping(r.get("message")) for r in lines]
        last = messages[-1]
        parts = [p for m in messages for p in genai_messages.parts(_content(m))]
        repeated = self._repeated(lines)
        self._asked |= {
            str(p["id"]): (text(p["name"]), p["arguments"], repeated) for p in parts if p["type"] == "tool_call"
        }
        self.made["repeated_calls"] += repeated
        model, stop = text(last.get("model")), text(last.get("stop_reason"))
        failed = lines[-1].get("isApiErrorMessage") is True
        if repeated or (model == _NO_MODEL and not failed):  # what the program says itself, nobody was asked for
            self.run.say(said("assistant", *parts))
            return
        usage = {} if model == _NO_MODEL else usage_of(last.get("usage"))
        self.made["no_usage"] += not usage and not failed
        self.made["partial_usage"] += bool(usage) and stop is None
        self.made["inferred_times"] += 1
        facts = {
            semconv.PROVIDER: "anthropic",
            semconv.REQUEST_MODEL: None if model == _NO_MODEL else model,
            semconv.RESPONSE_ID: text(last.get("id")),
            "anthropic.request.id": text(lines[-1].get("requestId")),
            semconv.FINISH_REASONS: [stop] if stop else None,
            "gen_ai.request.stream": True if usage and stop is None else None,
            semconv.ERROR_TYPE: (text(lines[-1].get("error")) or "api_error") if failed else None,
            "anthropic.response.service_tier": text(mapping(last.get("usage")).get("service_tier")),
            **usage,
            **reported(amount(lines[-1].get("costUSD"))),
        }
        error = "\n".join(str(p.get("content")) for p in parts) if failed else None
        ended, key = moment_ns(lines[-1].get("timestamp")), text(lines[0].get("uuid"))
        self.run.answer(said("assistant", *parts), facts, end_ns=ended, error=error, key=key)

    def _repeated(self, lines: list[dict[str, Any]]) -> bool:
        """Whether the answer was told already: sessions that are resumed under another id begin with a copy of the old one."""
        message_id = text(mapping(lines[0].get("message")).get("id"))
        other = text(lines[0].get("requestId")) or text(lines[0].get("uuid"))
        return None not in (message_id, other) and not first_time(self._sink, ("claude-code", message_id, other))

    def _user(self, record: dict[str, Any]) -> None:
        at, key = moment_ns(record.get("timestamp")), text(record.get("uuid"))
        parts = genai_messages.parts(_content(mapping(record.get("message"))))
        if record.get("isCompactSummary") is True:
            self.run.forget()
        results = [p for p in parts if p["type"] == "tool_call_response"]
        for part in results:
            self._result(part, at, key and f"{key} {part['id']}")
        if results:
            self.run.say(said("tool", *results))
        spoken = [p for p in parts if p["type"] != "tool_call_response"]
        if spoken:
            self.run.say(said("user", *spoken), at_ns=at)

    def _result(self, part: Message, at: int | None, key: str | None) -> None:
        call_id = text(part["id"])
        name, arguments, repeated = self._asked.pop(call_id or "", (None, None, False))
        # The copy of a call may be read before the call, and have no result: each result is told once for itself.
        if not first_time(self._sink, ("claude-code result", call_id)) and repeated:
            return
        result, failed = written(part["response"]), part.get("is_error") is True
        facts = {semconv.TOOL_CALL_ID: call_id, semconv.TOOL_ARGUMENTS: written(arguments), semconv.TOOL_RESULT: result}
        self.run.call(name or "unknown", facts, end_ns=at, error=(result or "") if failed else None, key=key)
        self.made["inferred_times"] += 1


def _same_answer(one: dict[str, Any], other: dict[str, Any]) -> bool:
    ids = [text(mapping(r.get("message")).get("id")) for r in (one, other)]
    return ids[0] is not None and ids[0] == ids[1]


def _content(message: dict[str, Any]) -> Any:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [b for b in listing(content) if isinstance(b, dict | str)]


def usage_of(found: Any) -> dict[str, Any]:
    """Token counts by our names; whatever is no count is left out first."""
    usage = mapping(found)
    counts: dict[str, Any] = {name: count(usage.get(name)) for name in _COUNTERS}
    if not any(
        counts.values()
    ):  # programs that write the same files put 0 where nobody told them; no answer takes nothing
        return {}
    counts["cache_creation"] = {k: count(v) for k, v in mapping(usage.get("cache_creation")).items()}
    searches = count(mapping(usage.get("server_tool_use")).get("web_search_requests"))
    counts["server_tool_use"] = {"web_search_requests": searches}
    counts |= {name: text(usage.get(name)) for name in ("speed", "inference_geo")}
    return genai_messages.usage(counts)


CLAUDE_CODE: Final = Format(
    "Claude Code session",
    _sniff,
    _read,
    about=(
        "Session files of Claude Code (`~/.claude/projects/**/*.jsonl`, sub-agents in files of their own or within). Recognised "
        "by a `message` beside `sessionId`, `parentUuid` or `isSidechain`."
    ),
    sees=(
        "Model calls with messages, usage, cache writes of 5 minutes and 1 hour, web searches; tool calls and results; "
        "sub-agents as runs in the trace of their session; compactions. A session resumed under another id counts what is new."
    ),
    cannot_see=(
        "System prompt and tool definitions, when a model was asked, and what the model calls behind compactions used. Output "
        "tokens of answers without a stop reason may be too low."
    ),
)
