"""Sessions of opencode: what `opencode export` writes, and the events `opencode run --format json` prints.

An answer may take several steps, each of them one model call with tokens and cost of its own; tools ran within their step.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
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
from analyzer.readers.lines import values
from analyzer.readers.loose import amount, count, dumps, listing, mapping, moment_ns, text
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument import semconv

_SESSION: Final = re.compile(rb'"sessionID"\s*:\s*"')
_MARK: Final = re.compile(rb'"parts"\s*:\s*\[|"part"\s*:\s*\{')
_INFERRED: Final = {
    "inferred_times": "the file does not say when every step began and ended: such calls begin where what came before them ended",
    "no_usage": "model calls have no token counts",
    "no_tool_definitions": "of what the models were told, the system prompt and the tool definitions are missing",
    "unrecorded_calls": "sub-agents are sessions of their own: export and give those too",
}


def _sniff(head: bytes) -> bool:
    return _SESSION.search(head) is not None and _MARK.search(head) is not None


def _read(stream: Stream, sink: Sink) -> None:
    spans, made, odd = Spans(sink, stream.source, "opencode"), Counter[str](), 0
    session: _Session | None = None
    for info, messages in _sessions(values(stream, sink)):
        session = _Session(spans, info)
        for message in messages:
            odd += not session.take(mapping(message.get("info")), listing(message.get("parts")))
        made += session.end()
    report(sink, stream.source, _INFERRED, made)
    if odd or session is None:
        sink.add_issue(
            odd_record(stream.source, "entries that are no messages of a session were left out", max(odd, 1))
        )


def _sessions(found: Iterator[Any]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each session with its messages: exported ones, and what events say of one."""
    said_by: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for value in found:
        whole = mapping(value)
        if isinstance(whole.get("messages"), list):
            yield mapping(whole.get("info")), [mapping(m) for m in whole["messages"]]
        elif isinstance(value, list):  # what the server answers: messages without their session
            messages = [mapping(m) for m in value]
            name = next((n for m in messages if (n := text(mapping(m.get("info")).get("sessionID")))), None)
            yield {"id": name}, messages
        elif isinstance(whole.get("part"), dict):
            part = whole["part"]
            place = text(whole.get("sessionID")) or "", text(part.get("messageID")) or ""
            said_by.setdefault(place[0], {}).setdefault(place[1], []).append({"at": whole.get("timestamp"), **part})
    for name, messages_by in said_by.items():
        answers = [{"info": {"id": i, "role": "assistant"}, "parts": parts} for i, parts in messages_by.items()]
        yield {"id": name or None}, answers


class _Session:
    """One session, message by message."""

    def __init__(self, spans: Spans, info: dict[str, Any]) -> None:
        name, above = text(info.get("id")), text(info.get("parentID"))
        parent = Run(spans, ("opencode", above), agent="opencode", conversation=above) if above else None
        agent = "opencode sub-agent" if above else "opencode"
        self._run = Run(spans, ("opencode", name or dumps(info)), agent=agent, conversation=name, parent=parent)
        self._made = Counter({"no_tool_definitions": 1})

    def take(self, info: dict[str, Any], parts: list[Any]) -> bool:
        """Tells one message. False where it is none."""
        found = [mapping(p) for p in parts]
        if info.get("role") == "user":
            self._user(found, moment_ns(mapping(info.get("time")).get("created")))
        elif info.get("role") == "assistant":
            self._assistant(info, found)
        else:
            return False
        return True

    def end(self) -> Counter[str]:
        """The end of the session. Returns what had to be inferred."""
        self._run.end({})
        return self._made

    def _user(self, parts: list[dict[str, Any]], at: int | None) -> None:
        spoken = [words(t) for p in parts if p.get("type") == "text" and (t := text(p.get("text")))]
        self._run.say(*([said("user", *spoken)] if spoken else []), at_ns=at)

    def _assistant(self, info: dict[str, Any], parts: list[dict[str, Any]]) -> None:
        times = mapping(info.get("time"))
        steps = list(_steps(parts))
        if info.get("summary") is True:
            self._run.note("compaction", {}, moment_ns(times.get("created")), text(info.get("id")))
        for number, step in enumerate(steps):
            first, last = number == 0, number == len(steps) - 1
            start = moment_ns(times.get("created")) if first else None
            end = moment_ns(times.get("completed")) if last else None
            finish = step.pop() if step and step[-1].get("type") == "step-finish" else info if last else {}
            self._step(info, step, finish, (start, end), f"{text(info.get('id')) or dumps(info)} {number}", last=last)
        if info.get("summary") is True:
            self._run.forget(said("user", *(words(t) for p in parts if (t := text(p.get("text"))))))

    def _step(
        self,
        info: dict[str, Any],
        parts: list[dict[str, Any]],
        finish: dict[str, Any],
        times: tuple[int | None, int | None],
        key: str,
        *,
        last: bool,
    ) -> None:
        """One model call and the tools it asked for."""
        tools = [p for p in parts if p.get("type") == "tool"]
        spoken = [m for p in parts if (m := _part(p)) is not None]
        problem = mapping(info.get("error")) if last else {}
        error = (text(mapping(problem.get("data")).get("message")) or text(problem.get("name"))) if problem else None
        began = [b for p in tools if (b := moment_ns(mapping(mapping(p.get("state")).get("time")).get("start")))]
        end = min(began) if began else times[1]
        usage = _usage(mapping(finish.get("tokens")))
        reason = text(finish.get("reason")) or text(finish.get("finish"))
        facts = {
            semconv.PROVIDER: text(info.get("providerID")),
            semconv.REQUEST_MODEL: text(info.get("modelID")),
            semconv.FINISH_REASONS: [reason] if reason else None,
            semconv.ERROR_TYPE: text(problem.get("name")) if error else None,
            **(usage if any(usage.values()) or not error else {}),
            **reported(amount(finish.get("cost"))),
        }
        self._run.answer(said("assistant", *spoken), facts, start_ns=times[0], end_ns=end, error=error, key=key)
        self._made["no_usage"] += not usage
        self._made["inferred_times"] += times[0] is None or end is None
        for tool in tools:
            self._tool(tool, key)

    def _tool(self, part: dict[str, Any], key: str) -> None:
        state = mapping(part.get("state"))
        if state.get("status") not in ("completed", "error"):  # it never came to an end
            return
        call_id, when = text(part.get("callID")), mapping(state.get("time"))
        failed = state.get("status") == "error"
        result = state.get("error") if failed else state.get("output")
        code = mapping(state.get("metadata")).get("exit")
        error = (written(result) or "") if failed else f"exit code {code}" if isinstance(code, int) and code else None
        facts = {
            semconv.TOOL_CALL_ID: call_id,
            semconv.TOOL_ARGUMENTS: written(state.get("input")),
            semconv.TOOL_RESULT: written(result),
        }
        times = moment_ns(when.get("start")), moment_ns(when.get("end"))
        name = text(part.get("tool")) or "unknown"
        place = f"{key} {call_id} {text(part.get('id'))}"
        self._run.call(name, facts, start_ns=times[0], end_ns=times[1], error=error, key=place)
        self._run.say(said("tool", answered(call_id, result, failed=error is not None)))
        self._made["inferred_times"] += None in times
        self._made["unrecorded_calls"] += name == "task"


def _steps(parts: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The parts of each step; one that ended has its end last."""
    step: list[dict[str, Any]] = []
    for part in parts:
        step.append(part)
        if part.get("type") == "step-finish":
            yield step
            step = []
    if any(p.get("type") in ("text", "tool", "reasoning") for p in step) or not parts:
        yield step


def _part(part: dict[str, Any]) -> Message | None:
    kind = part.get("type")
    if kind in ("text", "reasoning"):
        spoken = text(part.get("text")) or ""
        return words(spoken) if kind == "text" else {"type": "reasoning", "content": spoken}
    if kind == "tool":
        return asked(text(part.get("callID")), text(part.get("tool")), mapping(part.get("state")).get("input"))
    return None  # beginnings and ends of steps, snapshots, patches


def _usage(found: dict[str, Any]) -> dict[str, int]:
    """Token counts by our names. opencode counts cached tokens beside the input and reasoning beside the output."""
    uncached, output, reasoning = (count(found.get(n)) for n in ("input", "output", "reasoning"))
    read, wrote = (count(mapping(found.get("cache")).get(n)) for n in ("read", "write"))
    counts = {
        semconv.INPUT_TOKENS: None if uncached is None else uncached + (read or 0) + (wrote or 0),
        semconv.OUTPUT_TOKENS: None if output is None else output + (reasoning or 0),
        semconv.CACHE_READ_TOKENS: read,
        semconv.CACHE_WRITE_TOKENS: wrote,
        semconv.REASONING_TOKENS: reasoning,
    }
    return {name: value for name, value in counts.items() if value is not None}


OPENCODE: Final = Format(
    "opencode session",
    _sniff,
    _read,
    about="What `opencode export` writes, what its server answers for the messages of a session, and the events `opencode run --format "
    "json` prints ([opencode](https://opencode.ai) from version 0.6 on). Recognised by `sessionID` beside `parts` or a `part`.",
    sees="Model calls with messages, usage, cache and the cost that opencode worked out, which is taken as it is; tool calls with "
    "arguments, results, times and whether they failed; errors; compactions; sub-agents by their parent session. Of events "
    "no prompts and models.",
    cannot_see="System prompt and tool definitions, when each step of an answer with several began.",
)
