"""Sessions of the Gemini CLI: a document with a list of messages under `~/.gemini/tmp/*/chats`, or, in later versions, JSON Lines.

In JSON Lines a message that changed is written again under its id, and the last one counts. Format: github.com/google-gemini/gemini-cli,
`chatRecordingService.ts`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

from analyzer.readers.agent_runs import Message, Run, Spans, answered, asked, odd_record, report, said, words, written
from analyzer.readers.format import Format
from analyzer.readers.loose import count, dumps, listing, mapping, moment_ns, text
from analyzer.readers.records import records
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument import semconv

_SESSION: Final = re.compile(rb'"projectHash"\s*:')
_NAMED: Final = re.compile(rb'"sessionId"\s*:')
_ASIDE: Final = frozenset(("info", "error", "warning"))
"""What was shown to the user and to no model."""

_INFERRED: Final = {
    "inferred_times": "the file says when an answer or a result was there, not when it was asked for: calls begin where the last ended",
    "no_tool_definitions": "of what the model was told, the system prompt and the tool definitions are missing",
    "no_usage": "answers have no token counts",
    "no_result": "tool calls have no result in the file",
    "other_records": "notices that no model reads were passed over",
}


def _sniff(head: bytes) -> bool:
    return head.lstrip()[:1] == b"{" and _SESSION.search(head) is not None and _NAMED.search(head) is not None


def _read(stream: Stream, sink: Sink) -> None:
    meta: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for _, record in records(stream, sink):
        if "projectHash" in record or "$set" in record:
            meta |= {k: v for k, v in {**record, **mapping(record.get("$set"))}.items() if k != "$set"}
        found = listing(record.get("messages")) or ([record] if "type" in record else [])
        for message in found:
            key = text(mapping(message).get("id")) or f"#{len(messages)}"
            messages[key] = message
        if (back_to := text(record.get("$rewindTo"))) in messages:
            order = list(messages)
            messages = {k: messages[k] for k in order[: order.index(str(back_to))]}
    spans, made = Spans(sink, stream.source, "gemini-cli"), Counter[str]()
    session = _Session(spans, meta, list(messages.values()), made)
    session.tell()
    report(sink, stream.source, _INFERRED, made)
    if made["odd"]:
        sink.add_issue(odd_record(stream.source, "messages of no known type were left out", made["odd"]))


class _Session:
    """One session on its way to a run."""

    def __init__(self, spans: Spans, meta: dict[str, Any], messages: list[Any], made: Counter[str]) -> None:
        name = text(meta.get("sessionId"))
        self._run = Run(
            spans,
            ("gemini-cli", name or dumps(messages)),
            agent="gemini-cli",
            conversation=name,
            start_ns=moment_ns(meta.get("startTime")),
        )
        self._meta, self._messages, self._made = meta, messages, made
        self._made["no_tool_definitions"] = 1

    def tell(self) -> None:
        """Tells the run all that was said."""
        for found in map(mapping, self._messages):
            kind, at = found.get("type"), moment_ns(found.get("timestamp"))
            if kind == "gemini":
                self._answer(found, at)
            elif kind == "user":
                self._run.say(said("user", *_parts(found.get("content"))), at_ns=at)
            elif text(kind) in _ASIDE:
                self._made["other_records"] += 1
            else:
                self._made["odd"] += 1
        self._run.end({}, moment_ns(self._meta.get("lastUpdated")))

    def _answer(self, found: dict[str, Any], at: int | None) -> None:
        calls = [mapping(c) for c in listing(found.get("toolCalls"))]
        requests = [asked(text(c.get("id")), c.get("name"), c.get("args")) for c in calls]
        spoken = [*_parts(found.get("content")), *requests]
        usage = _usage(mapping(found.get("tokens")))
        self._made["no_usage"] += not usage
        self._made["inferred_times"] += 1
        facts = {semconv.PROVIDER: "gcp.gemini", semconv.REQUEST_MODEL: text(found.get("model")), **usage}
        answer = said("assistant", *_thoughts(found.get("thoughts")), *spoken)
        self._run.answer(answer, facts, said=said("assistant", *spoken), end_ns=at)
        for call in calls:
            self._call(call, at)

    def _call(self, call: dict[str, Any], asked_ns: int | None) -> None:
        call_id, result, status = text(call.get("id")), _result(call), call.get("status")
        failed = status in ("error", "cancelled")
        self._made["no_result"] += result is None
        self._made["inferred_times"] += 1
        facts = {
            semconv.TOOL_CALL_ID: call_id,
            semconv.TOOL_ARGUMENTS: written(call.get("args")),
            semconv.TOOL_RESULT: result,
        }
        error = (result or str(status)) if failed else None
        ended = moment_ns(call.get("timestamp"))
        started = asked_ns if ended is None else None
        self._run.call(text(call.get("name")) or "unknown", facts, start_ns=started, end_ns=ended, error=error)
        if result is not None:
            self._run.say(said("tool", answered(call_id, result, failed=failed)))


def _parts(content: Any) -> list[Message]:
    """A text, or a list of parts of Google's API."""
    if isinstance(content, str):
        return [words(content)] if content else []
    found = content if isinstance(content, list) else [content] if isinstance(content, dict) else []
    return [_part(part) for part in found]


def _part(part: Any) -> Message:
    if isinstance(part, str):
        return words(part)
    spoken = mapping(part).get("text")
    if isinstance(spoken, str):
        return words(spoken)
    # Pictures and files keep their type only, as everywhere.
    return {"type": f"gemini_{next(iter(mapping(part)), None)}"}


def _thoughts(found: Any) -> list[Message]:
    told = [mapping(t) for t in listing(found)]
    lines = ["\n".join(filter(None, (text(t.get("subject")), text(t.get("description"))))) for t in told]
    return [{"type": "reasoning", "content": line} for line in lines if line]


def _result(call: dict[str, Any]) -> str | None:
    """What the model read of the result; where that is not there, what the user was shown."""
    read = [mapping(mapping(mapping(p).get("functionResponse")).get("response")) for p in listing(call.get("result"))]
    told = [r.get("output", r.get("error", r)) for r in read if r]
    if len(told) == 1:
        return written(told[0])
    return written(told or call.get("resultDisplay"))


def _usage(found: dict[str, Any]) -> dict[str, Any]:
    """Token counts by our names. Gemini counts thoughts beside the output, and what its own tools brought beside the input."""
    counts = {name: count(found.get(name)) for name in ("input", "tool", "output", "thoughts", "cached")}
    if counts["input"] is None and counts["output"] is None:
        return {}
    values = {
        semconv.INPUT_TOKENS: (counts["input"] or 0) + (counts["tool"] or 0),
        semconv.OUTPUT_TOKENS: (counts["output"] or 0) + (counts["thoughts"] or 0),
        semconv.CACHE_READ_TOKENS: counts["cached"],
        semconv.REASONING_TOKENS: counts["thoughts"],
    }
    return {name: value for name, value in values.items() if value is not None}


GEMINI_CLI: Final = Format(
    "Gemini CLI session",
    _sniff,
    _read,
    about="Written by the Gemini CLI under `~/.gemini/tmp/*/chats`, as one document or, in later versions, as JSON Lines. "
    "Recognised by `sessionId` and `projectHash`.",
    sees="Messages, thoughts, tool calls with arguments, results and whether they failed, the model, and the token counts of each answer.",
    cannot_see="When a request was sent, finish reasons, system prompt, tool definitions, what was paid, and what was taken back "
    "by going back in the session.",
)
