"""What `gemini -p` prints with `--output-format stream-json` or `json`: messages in pieces, tool calls and results, and sums at the end.

Answers have no token counts of their own: what each model used in all is told as a call of unknown content, so that the sum is right.
Format: github.com/google-gemini/gemini-cli, `output/types.ts`.
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
    outcome,
    report,
    said,
    words,
    written,
)
from analyzer.readers.format import Format
from analyzer.readers.loose import count, dumps, mapping, moment_ns, text
from analyzer.readers.records import records
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument import semconv

_INIT: Final = re.compile(rb'"type"\s*:\s*"init"')
_RESULT: Final = re.compile(rb'"stats"\s*:\s*\{\s*"models"\s*:\s*\{')
_PROVIDER: Final = "gcp.gemini"
_INFERRED: Final = {
    "inferred_times": "events say when something was there, not when it was asked for: calls begin where what came before them ended",
    "inferred_calls": "events do not say which model call they came from: what was said until a result came was taken as one",
    "no_usage": "model calls have no token counts of their own",
    "unassigned_usage": "token counts are those of the whole session: they were told as one more call of unknown content for each model, "
    "so that the sums are right",
    "other_records": "events that no model reads were passed over",
}


def _sniff(head: bytes) -> bool:
    return (_INIT.search(head) is not None and b'"session_id"' in head) or (
        _RESULT.search(head) is not None and (b'"response"' in head or b'"session_id"' in head)
    )


def _read(stream: Stream, sink: Sink) -> None:
    spans, made = Spans(sink, stream.source, "gemini-cli"), Counter[str]()
    session: _Session | None = None
    for line, event in records(stream, sink):
        if session is None or event.get("type") == "init":
            made += session.end() if session else Counter()
            session = _Session(spans, event)
        if not session.take(event):
            made["odd"] += 1
            if made["odd"] <= 20:
                kind = str(event.get("type"))
                sink.add_issue(odd_record(stream.source, f"an event of type {kind!r:.80} was left out", 1, line))
    made += session.end() if session else Counter()
    report(sink, stream.source, _INFERRED, made)


class _Session:
    """One session, event by event."""

    def __init__(self, spans: Spans, first: dict[str, Any]) -> None:
        name = text(first.get("session_id"))
        self._run = Run(spans, ("gemini-cli output", name or dumps(first)), agent="gemini-cli", conversation=name)
        self._model = text(first.get("model"))
        self._made: Counter[str] = Counter()
        self._parts: list[Message] = []
        self._asked: dict[str, tuple[str, Any]] = {}
        self._at: int | None = None
        """When the last part of the answer was there."""
        self._ended: dict[str, Any] = {}

    def take(self, event: dict[str, Any]) -> bool:
        """Tells or keeps one event. False where it is of no type we know."""
        kind, at = event.get("type"), moment_ns(event.get("timestamp"))
        if kind == "message":
            self._message(event, at)
        elif kind == "tool_use":
            tool, call_id = text(event.get("tool_name")) or "unknown", str(event.get("tool_id"))
            self._asked[call_id] = (tool, event.get("parameters"))
            self._say(asked(call_id, tool, event.get("parameters")), at)
        elif kind == "tool_result":
            self._result(event, at)
        elif kind == "result" or "stats" in event:
            self._end(event, at)
        elif kind in ("init", "error"):
            self._made["other_records"] += kind == "error"
            self._run.say(at_ns=at)
        else:
            return False
        return True

    def end(self) -> Counter[str]:
        """Tells what is left. Returns what had to be inferred."""
        self._settle()
        self._run.end(self._ended)
        return self._made

    def _message(self, event: dict[str, Any], at: int | None) -> None:
        spoken = text(event.get("content")) or ""
        if event.get("role") != "assistant":
            self._settle()
            self._run.say(said("user", words(spoken)), at_ns=at)
        elif event.get("delta") is True and self._parts and self._parts[-1]["type"] == "text":
            self._parts[-1]["content"] += spoken
            self._at = at or self._at
        else:
            self._say(words(spoken), at)

    def _say(self, part: Message, at: int | None) -> None:
        self._parts.append(part)
        self._at = at or self._at

    def _settle(self) -> None:
        if self._parts:
            facts = {semconv.PROVIDER: _PROVIDER, semconv.REQUEST_MODEL: self._model}
            self._run.answer(said("assistant", *self._parts), facts, end_ns=self._at)
            self._made += Counter(("inferred_calls", "inferred_times", "no_usage"))
        self._parts, self._at = [], None

    def _result(self, event: dict[str, Any], at: int | None) -> None:
        self._settle()
        call_id, problem = str(event.get("tool_id")), mapping(event.get("error"))
        tool, arguments = self._asked.pop(call_id, ("unknown", None))
        result = event.get("output", problem.get("message"))
        failed = event.get("status") == "error"
        facts = {
            semconv.TOOL_CALL_ID: call_id,
            semconv.TOOL_ARGUMENTS: written(arguments),
            semconv.TOOL_RESULT: written(result),
            semconv.ERROR_TYPE: text(problem.get("type")) if failed else None,
        }
        error = (text(problem.get("message")) or written(result) or "") if failed else None
        self._run.call(tool, facts, end_ns=at, error=error)
        self._run.say(said("tool", answered(call_id, result, failed=failed)))
        self._made["inferred_times"] += 1

    def _end(self, event: dict[str, Any], at: int | None) -> None:
        """The sums, of each model or (in versions before 0.30 or so) of all together."""
        if spoken := text(event.get("response")):
            self._say(words(spoken), at)
        self._settle()
        stats = mapping(event.get("stats"))
        by_model = mapping(stats.get("models"))
        for model in by_model or [self._model]:
            found = mapping(by_model[model]) if model in by_model else stats
            usage = _usage(mapping(found.get("tokens")) or found)
            if any(usage.values()):
                facts = {semconv.PROVIDER: _PROVIDER, semconv.REQUEST_MODEL: model, **usage}
                self._run.answer(said("assistant"), facts, end_ns=at)
                self._made["unassigned_usage"] += 1
        problem = mapping(event.get("error"))
        failed = event.get("status") == "error" or bool(problem)
        self._ended = outcome(False if failed else None, reason=text(problem.get("message")))


def _usage(found: dict[str, Any]) -> dict[str, Any]:
    """Token counts by our names; thoughts, which are billed as output, are what the total has beyond both where nobody names them."""
    given = _first(found, "input_tokens", "prompt")
    output = _first(found, "output_tokens", "candidates")
    if given is None and output is None:
        return {}
    used_by_tools, total = count(found.get("tool")) or 0, _first(found, "total_tokens", "total") or 0
    thoughts = count(found.get("thoughts"))
    beyond = max(0, total - (given or 0) - (output or 0)) if thoughts is None else thoughts
    values = {
        semconv.INPUT_TOKENS: (given or 0) + used_by_tools,
        semconv.OUTPUT_TOKENS: (output or 0) + beyond,
        semconv.CACHE_READ_TOKENS: count(found.get("cached")),
        semconv.REASONING_TOKENS: thoughts,
    }
    return {name: value for name, value in values.items() if value is not None}


def _first(found: dict[str, Any], *names: str) -> int | None:
    return next((n for name in names if (n := count(found.get(name))) is not None), None)


GEMINI_STREAM: Final = Format(
    "Gemini CLI output",
    _sniff,
    _read,
    about="What `gemini -p` prints with `--output-format stream-json` or `json`. Recognised by an `init` with a `session_id`, or by "
    "`stats` of `models` beside a `response`.",
    sees="Messages, tool calls with arguments, results and whether they failed, times, what each model used in all, and whether the "
    "session failed.",
    cannot_see="Thoughts, what a single model call used, when a request was sent, system prompt, tool definitions, and what was paid.",
)
