"""What `codex exec --json` prints: events of one thread, an item of the talk when it begins and when it is complete, usage after each turn.

Which items are one answer is not said: what the model said and asked for until a result came is taken as one. What a turn used is a
count over all of its calls, and of all turns before: the growth is told as a call of its own, but where the turn had only one call.
Format: github.com/openai/codex, `exec_events.rs`.
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
from analyzer.readers.loose import count, dumps, listing, mapping, text
from analyzer.readers.records import records
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument import semconv

_EVENT: Final = re.compile(
    rb'"type"\s*:\s*"(?:thread\.started|turn\.(?:started|completed)|item\.(?:started|completed))"'
)
_TOOLS: Final = {"command_execution": "shell", "file_change": "apply_patch", "web_search": "web_search"}
_COUNTERS: Final = {
    "input_tokens": semconv.INPUT_TOKENS,
    "cached_input_tokens": semconv.CACHE_READ_TOKENS,
    "cache_write_input_tokens": semconv.CACHE_WRITE_TOKENS,
    "output_tokens": semconv.OUTPUT_TOKENS,
    "reasoning_output_tokens": semconv.REASONING_TOKENS,
}
_INFERRED: Final = {
    "no_times": "events have no time: calls were put one right after the other, from 1970 on, so that their order is kept",
    "inferred_calls": "events do not say which model call they came from: what was said until a result came was taken as one",
    "no_usage": "model calls have neither a model nor token counts of their own",
    "unassigned_usage": "token counts are those of a turn with several model calls: they were told as one more call of unknown content, so "
    "that the sums are right",
    "other_records": "events that no model reads were passed over",
}


def _sniff(head: bytes) -> bool:
    return _EVENT.search(head) is not None


def _read(stream: Stream, sink: Sink) -> None:
    spans, made = Spans(sink, stream.source, "codex"), Counter[str]()
    thread: _Thread | None = None
    for line, event in records(stream, sink):
        if thread is None or event.get("type") == "thread.started":
            made += thread.end() if thread else Counter()
            name = text(event.get("thread_id"))
            thread = _Thread(Run(spans, ("codex", name or dumps(event)), agent="codex", conversation=name))
        if not thread.take(event):
            made["odd"] += 1
            if made["odd"] <= 20:
                kind = str(event.get("type"))
                sink.add_issue(odd_record(stream.source, f"an event of type {kind!r:.80} was left out", 1, line))
    made += thread.end() if thread else Counter()
    report(sink, stream.source, _INFERRED, made)


class _Thread:
    """One thread, event by event."""

    def __init__(self, run: Run) -> None:
        self._run, self._made = run, Counter[str]()
        self._parts: list[Message] = []
        self._heard: list[dict[str, Any]] = []
        """Items that are results of calls of the answer that may go on."""
        self._asked: set[str] = set()
        self._answers = 0
        """How many were told of this turn."""
        self._total: dict[str, int] = {}
        self._failed: str | None = None

    def take(self, event: dict[str, Any]) -> bool:
        """Tells or keeps one event. False where it is of no type we know."""
        kind, item = event.get("type"), mapping(event.get("item"))
        if kind in ("item.started", "item.completed"):
            self._item(item, complete=kind == "item.completed")
        elif kind == "turn.completed":
            self._used(mapping(event.get("usage")))
        elif kind in ("turn.failed", "error"):
            self._settle()
            self._failed = text(mapping(event.get("error")).get("message")) or text(event.get("message")) or "failed"
        elif kind in ("thread.started", "turn.started"):
            self._settle()
            self._failed, self._answers = None, 0
        elif kind == "item.updated":
            self._made["other_records"] += 1
        else:
            return False
        return True

    def end(self) -> Counter[str]:
        """Tells what is left. Returns what had to be inferred."""
        self._settle()
        self._run.end(outcome(None if self._failed is None else False, reason=self._failed))
        return self._made

    def _item(self, item: dict[str, Any], *, complete: bool) -> None:
        kind, name = text(item.get("type")), str(item.get("id"))
        if kind in ("agent_message", "reasoning", "assistant_message"):
            if complete:
                spoken = text(item.get("text")) or ""
                self._say({"type": "reasoning", "content": spoken} if kind == "reasoning" else words(spoken))
        elif kind in _TOOLS or kind in ("mcp_tool_call", "collab_tool_call"):
            if name not in self._asked:
                self._asked.add(name)
                self._say(asked(name, *_call(kind, item)))
            if complete:
                self._heard.append(item)
        else:  # plans and notices
            self._made["other_records"] += 1

    def _say(self, part: Message) -> None:
        if self._heard:
            self._settle()
        self._parts.append(part)

    def _settle(self, usage: dict[str, int] | None = None) -> None:
        """Tells the answer that is complete now, and the results that came after it."""
        if self._parts:
            self._answers += 1
            self._run.answer(said("assistant", *self._parts), {semconv.PROVIDER: "openai", **(usage or {})})
            self._made += Counter(
                ("inferred_calls", "no_times") if usage else ("inferred_calls", "no_times", "no_usage")
            )
        for item in self._heard:
            name, (result, error) = str(item.get("id")), _result(item)
            tool, arguments = _call(text(item.get("type")) or "", item)
            facts = {
                semconv.TOOL_CALL_ID: name,
                semconv.TOOL_ARGUMENTS: written(arguments),
                semconv.TOOL_RESULT: written(result),
            }
            self._run.call(tool, facts, error=error)
            self._run.say(said("tool", answered(name, result, failed=error is not None)))
            self._made["no_times"] += 1
        self._parts, self._heard = [], []

    def _used(self, usage: dict[str, Any]) -> None:
        """What the turn used: the growth of the counters, which begin anew only where they are less than they were."""
        total = {name: n for name in _COUNTERS if (n := count(usage.get(name))) is not None}
        grown = all(total.get(n, 0) >= before for n, before in self._total.items())
        used = {_COUNTERS[n]: value - (self._total.get(n, 0) if grown else 0) for n, value in total.items()}
        self._total = total or self._total
        only_one = not self._answers and not self._heard and bool(self._parts)
        self._settle(used if only_one else None)
        if used and not only_one:
            self._run.answer(said("assistant"), {semconv.PROVIDER: "openai", **used})
            self._made += Counter(("unassigned_usage", "no_times"))


def _call(kind: str, item: dict[str, Any]) -> tuple[str, Any]:
    """Tool and arguments."""
    if kind == "command_execution":
        return _TOOLS[kind], {"command": item.get("command")}
    if kind == "file_change":
        return _TOOLS[kind], {"changes": listing(item.get("changes"))}
    if kind == "web_search":
        return _TOOLS[kind], {"query": item.get("query")}
    server, tool = text(item.get("server")), text(item.get("tool")) or "unknown"
    arguments = item.get("arguments") if kind == "mcp_tool_call" else {"prompt": item.get("prompt")}
    return f"{server}__{tool}" if server else tool, arguments


def _result(item: dict[str, Any]) -> tuple[Any, str | None]:
    """What came of it, and the error where it failed."""
    code, problem = item.get("exit_code"), mapping(item.get("error"))
    result = item.get("aggregated_output", item.get("result"))
    if isinstance(code, int) and code:
        return result, f"exit code {code}"
    if item.get("status") in ("failed", "declined"):
        message = text(problem.get("message")) or written(result) or str(item["status"])
        return message if result is None else result, message
    return result, None


CODEX_EXEC: Final = Format(
    "Codex output",
    _sniff,
    _read,
    about="What `codex exec --json` prints, since version 0.44. Recognised by events such as `thread.started` and `item.completed`.",
    sees="Messages, reasoning summaries, commands with output and exit codes, changes of files, MCP calls, searches, what each turn used, "
    "and whether it failed.",
    cannot_see="Models (and so what it cost), times, prompts, tool definitions, and what a single model call used: the session file under "
    "`~/.codex/sessions` says all of that.",
)
