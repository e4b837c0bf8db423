"""Sessions of Codex ("rollouts"): JSON Lines under `~/.codex/sessions`, one item of the talk or one event on each.

Token counts are events of their own and add up over the session: what a call used is what they grew by, and an event that repeats the
last one counts nothing. The format is documented nowhere; this follows the files and github.com/openai/codex, `protocol.rs`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

from analyzer.readers import openai_messages
from analyzer.readers.agent_runs import Message, Run, Spans, answered, asked, odd_record, report, said, words, written
from analyzer.readers.format import Format
from analyzer.readers.loose import count, dumps, listing, mapping, moment_ns, text
from analyzer.readers.records import records
from analyzer.readers.seen import first_time
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument import semconv

_RECORD: Final = re.compile(rb'"type"\s*:\s*"(?:session_meta|response_item|event_msg|turn_context|compacted)"')
_PAYLOAD: Final = re.compile(rb'"payload"\s*:\s*\{')
_OLD: Final = re.compile(rb'\s*\{"id"\s*:\s*"[^"]*"\s*,\s*"timestamp"\s*:\s*"[^"]*"\s*,\s*"instructions"\s*:')
_CALLS: Final = frozenset(("function_call", "custom_tool_call", "local_shell_call"))
_RESULTS: Final = frozenset(("function_call_output", "custom_tool_call_output"))
_EXIT: Final = re.compile(r"(?:Exit code:|Process exited with code) (-?\d{1,9})")
_COUNTERS: Final = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens")

_INFERRED: Final = {
    "inferred_times": "the file says when an answer or a result was there, not when it was asked for: calls begin where the last ended",
    "no_usage": "answers have no token counts",
    "no_answer": "token counts have no answer beside them: each was taken as a model call whose content is unknown",
    "no_tool_definitions": "of what the model was told, the tool definitions are missing, and the system prompt but for the instructions",
    "usage_before": "token counts of what came before the beginning of the file are not in it, and were left out",
    "counter_reset": "token counts started again from less than they were: what was used in between may be missing",
    "uneven_total": "token counts do not add up to their total: where reasoning was counted beside the output, the output is too low",
    "repeated_calls": "model calls were copied from the session this one was forked from, and were not counted again",
    "other_records": "lines about the session itself, or that repeat others, were passed over",
}


def _sniff(head: bytes) -> bool:
    return (_RECORD.search(head) is not None and _PAYLOAD.search(head) is not None) or _OLD.match(head) is not None


def _read(stream: Stream, sink: Sink) -> None:
    session = _Session(Spans(sink, stream.source, "codex"), sink)
    for line, record in records(stream, sink):
        session.take(record, line)
    made = session.end()
    report(sink, stream.source, _INFERRED, made)
    for line in session.odd[:20]:
        sink.add_issue(odd_record(stream.source, "an item of no known form was left out", 1, line))
    if len(session.odd) > 20:
        sink.add_issue(odd_record(stream.source, "items of no known form were left out", len(session.odd) - 20))


class _Session:
    """One session, record by record. An answer is told when the next one begins: its token count comes after it."""

    def __init__(self, spans: Spans, sink: Sink) -> None:
        self._spans, self._sink = spans, sink
        self._started: Run | None = None
        self._meta: dict[str, Any] = {}
        self._model: str | None = None
        self._total: dict[str, int] | None = None
        self._made: Counter[str] = Counter()
        self.odd: list[int | None] = []
        self._parts: list[Message] = []
        self._usage: dict[str, Any] | None = None
        self._repeated = False
        self._at: int | None = None
        """When the last item of the answer was there."""
        self._heard: list[tuple[dict[str, Any], int | None]] = []
        """What came after the answer that is not told yet."""
        self._asked: dict[str, tuple[Any, Any, bool]] = {}
        """Tool, arguments and whether it was told in the session this one repeats, by the ids of calls without a result."""

    @property
    def _run(self) -> Run:
        """The run, which is named by what stands at the beginning of the file."""
        if self._started is None:
            name = text(self._meta.get("id"))
            above = _parent(self._meta)
            parent = Run(self._spans, ("codex", above), agent="codex", conversation=above) if above else None
            agent = "codex sub-agent" if above else "codex"
            self._started = Run(
                self._spans, ("codex", name or dumps(self._meta)), agent=agent, conversation=name, parent=parent
            )
            if instructions := text(mapping(self._meta.get("base_instructions")).get("text")):
                self._started.say(said("system", words(instructions)))
            self._made["no_tool_definitions"] = 1
        return self._started

    def take(self, record: dict[str, Any], line: int | None) -> None:
        """Tells or keeps one record."""
        kind, at = record.get("type"), moment_ns(record.get("timestamp"))
        payload = mapping(record.get("payload"))
        if kind == "session_meta":
            # A fork repeats the one it came from; the first is its own.
            self._meta = self._meta or payload
        elif kind == "turn_context":
            self._model = text(payload.get("model")) or self._model
        elif kind == "compacted":
            self._compacted(payload, at)
        elif kind == "event_msg":
            self._event(payload, at)
        elif kind == "response_item":
            self._item(payload, at, line)
        elif kind is None and "id" in record and not self._meta:
            self._meta = record
        elif "record_type" in record:
            self._made["other_records"] += 1
        else:
            self._item(record, at, line)

    def end(self) -> Counter[str]:
        """Tells what is left. Returns what had to be inferred."""
        self._tell()
        self._run.end({})
        return self._made

    def _item(self, item: dict[str, Any], at: int | None, line: int | None) -> None:
        kind = text(item.get("type")) or ("message" if "role" in item else None)
        if kind in _RESULTS or (kind == "message" and item.get("role") != "assistant"):
            self._hear(item, at)
        elif kind == "message" or kind in _CALLS or kind in ("reasoning", "web_search_call", "image_generation_call"):
            if self._heard or self._usage is not None:
                self._tell()
            self._parts += _parts(kind, item)
            self._at = at
        elif kind in ("ghost_snapshot", "compaction", "other"):
            self._made["other_records"] += 1
        else:
            self.odd.append(line)

    def _hear(self, item: dict[str, Any], at: int | None) -> None:
        if self._parts or self._usage is not None:
            self._heard.append((item, at))
        else:
            self._listen(item, at)

    def _event(self, event: dict[str, Any], at: int | None) -> None:
        info = mapping(event.get("info"))
        if event.get("type") != "token_count" or not info:
            self._made["other_records"] += 1
            return
        self._model = text(info.get("model")) or self._model
        usage = self._used(info)
        if usage is None:
            self._made["other_records"] += 1
            return
        if self._usage is not None:  # the call it belongs to left nothing else
            self._tell()
        self._usage = usage
        self._repeated = not first_time(self._sink, *self._names())
        self._at = self._at if self._parts else at

    def _names(self) -> list[tuple[Any, ...]]:
        """What names the call just counted, in this session and in the one it was forked from: the total grows with each."""
        total = tuple((self._total or {}).values())
        sessions = [text(self._meta.get(n)) for n in ("id", "forked_from_id")]
        return [("codex", name, total) for name in sessions if name and total]

    def _used(self, info: dict[str, Any]) -> dict[str, Any] | None:
        """What was used since the last count; None where nothing was."""
        total, last = _counts(info.get("total_token_usage")), _counts(info.get("last_token_usage"))
        before, self._total = self._total, total or self._total
        if total is None:
            used = last
        elif before is None:
            used = last or total
            self._made["usage_before"] += used != total
        elif total == before:
            return None
        elif any(total[n] < before[n] for n in _COUNTERS):
            self._made["counter_reset"] += 1
            used = last or total
        else:
            used = {n: total[n] - before[n] for n in _COUNTERS}
        if used is None:
            return None
        self._made["uneven_total"] += _uneven(mapping(info.get("total_token_usage")))
        names = (
            semconv.INPUT_TOKENS,
            semconv.CACHE_READ_TOKENS,
            semconv.OUTPUT_TOKENS,
            semconv.REASONING_TOKENS,
        )
        return {ours: used[theirs] for ours, theirs in zip(names, _COUNTERS, strict=True)}

    def _tell(self) -> None:
        """Tells the answer that is complete now, and what was heard after it."""
        parts, usage, heard, repeated = self._parts, self._usage, self._heard, self._repeated
        self._parts, self._usage, self._heard, self._repeated = [], None, [], False
        if repeated:
            self._made["repeated_calls"] += 1
            self._run.say(said("assistant", *parts))
        elif parts or usage is not None:
            self._made["no_usage"] += usage is None
            self._made["no_answer"] += not parts
            self._made["inferred_times"] += 1
            facts = {
                semconv.PROVIDER: text(self._meta.get("model_provider")),
                semconv.REQUEST_MODEL: self._model,
                **(usage or {}),
            }
            self._run.answer(said("assistant", *parts), facts, end_ns=self._at)
        self._asked |= {
            p["id"]: (p["name"], p["arguments"], repeated) for p in parts if p["type"] == "tool_call" and p["id"]
        }
        for item, at in heard:
            self._listen(item, at)

    def _listen(self, item: dict[str, Any], at: int | None) -> None:
        if text(item.get("type")) not in _RESULTS:
            self._run.say(said(text(item.get("role")) or "user", *_content(item.get("content"))), at_ns=at)
            return
        call_id, (result, error) = text(item.get("call_id")), _result(item.get("output"))
        name, arguments, repeated = self._asked.pop(call_id or "", (None, None, False))
        # The copy of a call may be read before the call, and have no result: each result is told once for itself.
        if first_time(self._sink, ("codex result", call_id)) or not repeated:
            facts = {
                semconv.TOOL_CALL_ID: call_id,
                semconv.TOOL_ARGUMENTS: written(arguments),
                semconv.TOOL_RESULT: written(result),
            }
            self._made["inferred_times"] += 1
            self._run.call(text(name) or "unknown", facts, end_ns=at, error=error)
        self._run.say(said("tool", answered(call_id, result, failed=error is not None)))

    def _compacted(self, payload: dict[str, Any], at: int | None) -> None:
        self._tell()
        kept = [mapping(i) for i in listing(payload.get("replacement_history"))]
        messages = [said(text(i.get("role")) or "user", *_content(i.get("content"))) for i in kept if "content" in i]
        summary = text(payload.get("message"))
        self._run.forget(*messages or ([said("user", words(summary))] if summary else []))
        self._run.note("compaction", {}, at)


def _parent(meta: dict[str, Any]) -> str | None:
    """The session that spawned this one as a sub-agent."""
    spawned = mapping(mapping(mapping(meta.get("source")).get("subagent")).get("thread_spawn"))
    return text(spawned.get("parent_thread_id")) or text(meta.get("parent_thread_id"))


def _parts(kind: Any, item: dict[str, Any]) -> list[Message]:
    """What an item of an answer says."""
    if kind == "message":
        return _content(item.get("content"))
    if kind == "reasoning":
        found = [*listing(item.get("summary")), *listing(item.get("content"))]
        spoken = [t for b in found if (t := text(mapping(b).get("text")))]
        return [{"type": "reasoning", "content": t} for t in spoken]
    if kind == "local_shell_call":
        return [asked(text(item.get("call_id")), "local_shell", item.get("action"))]
    if kind in _CALLS:
        arguments = item.get("input") if kind == "custom_tool_call" else openai_messages.decoded(item.get("arguments"))
        return [asked(text(item.get("call_id")), item.get("name"), arguments)]
    return [{"type": f"openai_{kind}"}]


def _content(content: Any) -> list[Message]:
    return openai_messages.content(content)


def _result(output: Any) -> tuple[Any, str | None]:
    """What a tool gave back, and the error where it failed. Shell tools say in their text, or beside it, how the command ended."""
    found = openai_messages.decoded(output) if isinstance(output, str) and output[:1] == "{" else output
    beside = mapping(found)
    result = beside.get("output", beside.get("content", output)) if beside else output
    code = mapping(beside.get("metadata")).get("exit_code")
    if not isinstance(code, int):
        said_so = _EXIT.match(result) if isinstance(result, str) else None
        code = int(said_so.group(1)) if said_so else 0
    if code:
        return result, f"exit code {code}"
    return result, (written(result) or "") if beside.get("success") is False else None


def _counts(found: Any) -> dict[str, int] | None:
    counts = {name: count(mapping(found).get(name)) for name in _COUNTERS}
    known = counts["input_tokens"] is not None or counts["output_tokens"] is not None
    return {name: value or 0 for name, value in counts.items()} if known else None


def _uneven(found: dict[str, Any]) -> bool:
    claimed, parts = count(found.get("total_tokens")), [count(found.get(n)) for n in ("input_tokens", "output_tokens")]
    return claimed is not None and claimed != sum(p or 0 for p in parts)


CODEX: Final = Format(
    "Codex session",
    _sniff,
    _read,
    about="Written by the Codex CLI and its IDE extensions under `~/.codex/sessions` (`rollout-*.jsonl`), from the first versions on. "
    "Recognised by lines with a `payload` and a type such as `response_item`.",
    sees="Messages, reasoning summaries, tool calls with arguments, results and exit codes, compactions, sub-agents by their parent "
    "thread, and token counts, which are cumulative in the file and become those of single calls. Calls copied into a fork count once.",
    cannot_see="When a request was sent, finish reasons, tool definitions, and what was paid.",
)
