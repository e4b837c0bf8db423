"""Sessions of the coding agent pi: JSON Lines, a header and then what was said, with usage and cost of every answer.

Entries form a tree from version 2 on: going back to an earlier entry leaves what came after it out of the next request. What an answer
cost stands in it and is taken as it is. Format: github.com/badlogic/pi-mono, coding-agent, "session format".
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

from analyzer.readers.agent_runs import (
    Message,
    Run,
    Spans,
    answered,
    asked,
    odd_record,
    report,
    reported,
    said,
    words,
    written,
)
from analyzer.readers.format import Format
from analyzer.readers.loose import amount, count, dumps, listing, mapping, moment_ns, text
from analyzer.readers.records import records
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument import semconv

_SESSION: Final = re.compile(rb'"type"\s*:\s*"session"')
_ENTRY: Final = re.compile(rb'"type"\s*:\s*"message(?:_start|_update|_end)?"')
_MESSAGE: Final = re.compile(rb'"(?:cacheRead|toolCallId|stopReason)"\s*:')
_ALONE: Final = re.compile(rb'\s*\{\s*"role"\s*:\s*"assistant"')
_ASIDE: Final = frozenset(("model_change", "thinking_level_change", "label", "custom", "session_info", "leaf"))
"""Entries about the session that no model reads."""
_PRINTED: Final = frozenset(
    ("agent_start", "agent_end", "turn_start", "turn_end", "message_start", "message_update", "tool_execution_start", "queue_update",
     "tool_execution_update", "tool_execution_end", "auto_compaction_start", "compaction_start", "auto_retry_start", "auto_retry_end",
     "agent_settled", "session_info_changed", "thinking_level_changed", "extension_error")
)  # fmt: skip
"""Events of `pi --mode json` that say what others say in full."""
_FINISHED: Final = frozenset(("stop", "length", "toolUse"))


def _sniff(head: bytes) -> bool:
    if _SESSION.search(head) and (b'"cwd"' in head or b'"version"' in head):
        return True
    return _MESSAGE.search(head) is not None and (_ENTRY.search(head) is not None or _ALONE.match(head) is not None)


def _read(stream: Stream, sink: Sink) -> None:
    spans = Spans(sink, stream.source, "pi")
    session: Session | None = None
    made: Counter[str] = Counter()
    for line, entry in records(stream, sink):
        if session is None and text(entry.get("type")) in _PRINTED:
            continue  # before the first message nothing says which session it is
        if session is None or entry.get("type") == "session":
            made += session.end() if session else Counter()
            name = text(entry.get("id"))
            session = Session(Run(spans, ("pi", name or dumps(entry)), agent="pi", conversation=name))
        if not session.take(entry):
            made["odd"] += 1
            if made["odd"] <= 20:
                sink.add_issue(
                    odd_record(stream.source, f"an entry of type {entry.get('type')!r:.80} was left out", 1, line)
                )
    made += session.end() if session else Counter()
    report(sink, stream.source, _INFERRED, made)


_INFERRED: Final = {
    "inferred_times": "the file says when a tool's result was there: tool calls begin where what came before them ended",
    "no_tool_definitions": "of what the model was told, the system prompt and the tool definitions are missing",
    "partial_usage": "answers were cut (stopped by the user, or failed): their token counts are partial, or unknown where all are 0",
    "unrecorded_calls": "compactions were written by a model, and what those calls used and cost is not in the file",
    "branched_session": "the session was branched from another: what both have in common counts twice when both are read",
}


class Session:
    """One session, entry by entry."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._made = Counter({"no_tool_definitions": 1})
        self._asked: dict[str, tuple[str, Any]] = {}
        """Tool and arguments by the ids of calls that have no result yet."""
        self._keys: list[str | None] = []
        """Entries in the order of the file; the header, from which all descend, is None."""
        self._last: str | None = None
        self._parents: dict[str, str | None] = {}
        self._said: dict[str, list[Message]] = {}
        self._kept: dict[str, str | None] = {}
        """By the key of a compaction, the first entry from before that it kept."""

    def take(self, entry: dict[str, Any]) -> bool:
        """Tells the run what the entry says. False where it is of no type we know."""
        kind = entry.get("type")
        if kind == "session":
            self._keys.append(None)
            self._made["branched_session"] += any(text(entry.get(n)) for n in ("branchedFrom", "parentSession"))
            return True
        key = self._enter(entry)
        at = moment_ns(entry.get("timestamp"))
        if kind == "message" or (kind is None and "role" in entry):
            return self._message(key, mapping(entry.get("message")) if kind else entry, at)
        if kind == "message_end":
            message = mapping(entry.get("message"))
            answer = message.get("role") == "assistant"  # of which the time is that of its beginning
            return self._message(key, message, None if answer else moment_ns(message.get("timestamp")))
        if kind == "compaction":
            self._compaction(key, entry, at)
        elif kind in ("auto_compaction_end", "compaction_end"):
            self._compaction(key, mapping(entry.get("result")), at)
        elif kind == "branch_summary":
            self._say(key, said("user", words(text(entry.get("summary")) or "")))
        elif kind == "custom_message":
            self._say(key, said("user", *_parts(entry.get("content"))))
        else:
            return text(kind) in _ASIDE or text(kind) in _PRINTED
        return True

    def end(self) -> Counter[str]:
        """The end of the session. Returns what had to be inferred."""
        self._run.end({})
        return self._made

    def _enter(self, entry: dict[str, Any]) -> str:
        """Puts the entry into its place in the tree; where that is not below the last one, the model hears another history."""
        key = text(entry.get("id")) or f"#{len(self._keys)}"
        parent = entry.get("parentId", self._last)
        parent = parent if parent in self._parents else None if parent is None else self._last
        self._keys.append(key)
        self._said[key] = []
        self._parents[key] = parent
        if parent != self._last:
            self._run.forget(*self._heard(parent))
        self._last = key
        return key

    def _place(self, at: int | None) -> str:
        """Names what the last entry tells, so that two copies of a session that went different ways stay apart."""
        return f"{self._last} {at}"

    def _heard(self, leaf: str | None) -> list[Message]:
        """All that a request below the entry `leaf` holds."""
        path: list[str] = []
        seen = set[str]()
        while leaf is not None and leaf not in seen:  # ids may come twice, and then go in a circle
            seen.add(leaf)
            path.append(leaf)
            leaf = self._parents.get(leaf)
        path.reverse()
        compacted = next((i for i in range(len(path) - 1, -1, -1) if path[i] in self._kept), None)
        if compacted is None:
            return [m for key in path for m in self._said[key]]
        kept = self._kept[path[compacted]]
        start = path.index(kept, 0, compacted) if kept in path[:compacted] else compacted
        order = [path[compacted], *path[start:compacted], *path[compacted + 1 :]]
        return [m for key in order for m in self._said[key]]

    def _say(self, key: str, message: Message) -> None:
        self._said[key].append(message)
        self._run.say(message)

    def _compaction(self, key: str, entry: dict[str, Any], at: int | None) -> None:
        index = count(entry.get("firstKeptEntryIndex"))
        by_index = self._keys[index] if index is not None and index < len(self._keys) else None
        self._kept[key] = text(entry.get("firstKeptEntryId")) or by_index
        self._said[key] = [said("user", words(text(entry.get("summary")) or ""))]
        self._run.forget(*self._heard(key))
        self._run.note(
            "compaction", {semconv.COMPACTION_TOKENS_BEFORE: count(entry.get("tokensBefore"))}, at, self._place(at)
        )
        self._made["unrecorded_calls"] += 1

    def _message(self, key: str, message: dict[str, Any], at: int | None) -> bool:
        role = message.get("role")
        if role == "assistant":
            self._answer(key, message, at)
        elif role == "toolResult":
            self._result(key, message, at)
        elif role == "bashExecution":
            if message.get("excludeFromContext") is not True:
                ran = [text(message.get(n)) for n in ("command", "output")]
                self._say(key, said("user", *(words(t) for t in ran if t)))
        elif role in ("user", "custom", "hookMessage"):
            self._say(key, said("user", *_parts(message.get("content"))))
        elif role in ("branchSummary", "compactionSummary"):
            self._say(key, said("user", words(text(message.get("summary")) or "")))
        else:
            return False
        return True

    def _answer(self, key: str, message: dict[str, Any], at: int | None) -> None:
        answer = said("assistant", *_parts(message.get("content")))
        self._asked |= {p["id"]: (p["name"], p["arguments"]) for p in answer["parts"] if p["type"] == "tool_call"}
        reason = text(message.get("stopReason"))
        whole = reason in _FINISHED or reason is None
        usage = _usage(message.get("usage"))
        if not whole:
            self._made["partial_usage"] += 1
            usage = usage if any(usage.values()) else {}
        facts = {
            semconv.PROVIDER: text(message.get("provider")),
            semconv.REQUEST_MODEL: text(message.get("model")),
            semconv.RESPONSE_ID: text(message.get("responseId")),
            semconv.FINISH_REASONS: [reason] if whole and reason else None,
            # A stream without a finish reason was cut: its counters are those of its beginning.
            "gen_ai.request.stream": None if whole else True,
            semconv.ERROR_TYPE: None if whole else reason,
            **usage,
            **reported(amount(mapping(mapping(message.get("usage")).get("cost")).get("total"))),
        }
        error = None if whole else text(message.get("errorMessage")) or reason
        started = moment_ns(message.get("timestamp"))
        self._run.answer(answer, facts, start_ns=started, end_ns=at, error=error, key=self._place(at))
        if answer["parts"]:
            self._said[key].append(answer)

    def _result(self, key: str, message: dict[str, Any], at: int | None) -> None:
        call_id, failed = text(message.get("toolCallId")), message.get("isError") is True
        result = _result(message.get("content"))
        name, arguments = self._asked.pop(call_id or "", (None, None))
        facts = {
            semconv.TOOL_CALL_ID: call_id,
            semconv.TOOL_ARGUMENTS: written(arguments),
            semconv.TOOL_RESULT: written(result),
        }
        tool = text(message.get("toolName")) or name or "unknown"
        self._run.call(tool, facts, end_ns=at, error=(written(result) or "") if failed else None, key=self._place(at))
        self._made["inferred_times"] += 1
        self._say(key, said("tool", answered(call_id, result, failed=failed)))


def _parts(content: Any) -> list[Message]:
    if isinstance(content, str):
        return [words(content)] if content else []
    return [_part(mapping(block)) for block in listing(content)]


def _part(block: dict[str, Any]) -> Message:
    kind = block.get("type")
    if kind == "text":
        return words(text(block.get("text")) or "")
    if kind == "thinking":
        return {"type": "reasoning", "content": text(block.get("thinking")) or ""}
    if kind == "toolCall":
        return asked(text(block.get("id")) or "", text(block.get("name")), block.get("arguments"))
    return {"type": f"pi_{kind}"}  # pictures keep their type only, as everywhere


def _result(content: Any) -> Any:
    """What the model read: one text where it is one, else the blocks."""
    blocks = listing(content)
    if len(blocks) == 1 and isinstance(mapping(blocks[0]).get("text"), str):
        return blocks[0]["text"]
    return [b if mapping(b).get("type") == "text" else {"type": mapping(b).get("type")} for b in blocks] or written(
        content
    )


def _usage(found: Any) -> dict[str, int]:
    """Token counts by our names. pi counts cached tokens beside the input, the conventions inside."""
    counts = mapping(found)
    uncached, output = count(counts.get("input")), count(counts.get("output"))
    read, wrote = count(counts.get("cacheRead")), count(counts.get("cacheWrite"))
    values = {
        semconv.INPUT_TOKENS: None if uncached is None else uncached + (read or 0) + (wrote or 0),
        semconv.OUTPUT_TOKENS: output,
        semconv.CACHE_READ_TOKENS: read,
        semconv.CACHE_WRITE_TOKENS: wrote,
    }
    return {name: value for name, value in values.items() if value is not None}


PI: Final = Format(
    "pi session",
    _sniff,
    _read,
    about=(
        "Sessions of the coding agent [pi](https://github.com/badlogic/pi-mono), JSON Lines, versions 1 to 3, and what `pi --mode json` "
        "prints. Recognised by the header, which has a `type` of `session`, or by messages with counters such as `cacheRead`."
    ),
    sees=(
        "Model calls with messages, usage, cache and the cost that pi worked out, which is taken as it is; tool calls and "
        "results; compactions; times; branches that were left."
    ),
    cannot_see="System prompt and tool definitions, when tool calls began, and what the model calls behind compactions used.",
)
