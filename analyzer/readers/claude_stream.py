"""What coding agents print instead of a talk: `claude -p` with `--output-format stream-json` or `json`, and agents that print the same way.

The lines are those of a session file under other names (`session_id`; sub-agents by the call that asked for them), and at the end stands
what was used in all. Answers repeat the token counts of the beginning of their stream: what the end counts beyond them is told as a
call of its own, so that the sum is right and no answer is given tokens it may not have had.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

from analyzer.readers.agent_runs import Run, Spans, odd_record, outcome, report, reported, said
from analyzer.readers.claude_code import INFERRED, Log, usage_of
from analyzer.readers.format import Format
from analyzer.readers.loose import amount, count, mapping, text
from analyzer.readers.records import records
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument import semconv

_SESSION: Final = re.compile(rb'"session_id"\s*:')
_MARK: Final = re.compile(rb'"subtype"\s*:\s*"init"|"parent_tool_use_id"\s*:|"(?:num_turns|duration_api_ms)"\s*:')
_CURSOR: Final = re.compile(rb'"type"\s*:\s*"tool_call"')
_QWEN: Final = b'"qwen_code_version"'
_WINDOW: Final = re.compile(r"\[\w{1,8}\]$")
"""Behind the name of a model, the size of its context: `[1m]`."""
_TOTALS: Final = {
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "cacheReadInputTokens": "cache_read_input_tokens",
    "cacheCreationInputTokens": "cache_creation_input_tokens",
}
"""Counters of `modelUsage`, by the names they have in answers."""
_Total = tuple[str | None, dict[str, Any], float | None]
"""Model, usage and cost."""
_INFERRED: Final = {
    **INFERRED,
    "inferred_times": "lines have no time: calls were put one right after the other, so that their order is kept",
    "unassigned_usage": "what the end counts beyond the answers in the file (output that streamed later, calls that were not printed) "
    "was told as one model call of unknown content for each model, so that the sums are right",
}


def _sniff(head: bytes) -> bool:
    return _SESSION.search(head) is not None and _MARK.search(head) is not None


def _read(stream: Stream, sink: Sink) -> None:
    agent = "qwen-code" if _QWEN in stream.head else "cursor" if _CURSOR.search(stream.head) else "claude-code"
    output = _Output(Log(Spans(sink, stream.source, agent), sink, agent))
    for line, record in records(stream, sink):
        output.take(record, line)
    made = output.end()
    report(sink, stream.source, _INFERRED, made)
    if made["odd"]:
        sink.add_issue(odd_record(stream.source, "messages of no known form were left out", made["odd"]))


class _Output:
    """The lines of one output on their way to a log of sessions."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._models: dict[str, str] = {}
        """The model each session began with."""
        self._used: dict[tuple[str, str | None, str], dict[str, Any]] = {}
        """Usage by session, model and id of the answer: the last line of an answer counts."""
        self._results: dict[str, dict[str, Any]] = {}
        """The last result of each session: it counts everything before it too."""
        self._session = ""
        """The last one named: versions differ in which lines name it."""
        self._answers = 0
        self._heard = False

    def take(self, record: dict[str, Any], line: int | None) -> None:
        """Tells or keeps one line."""
        session, kind = text(record.get("session_id")) or self._session, record.get("type")
        self._session = session
        if kind == "result":
            self._results[session] = record
        elif kind == "system" and record.get("subtype") == "init":
            self._models[session] = text(record.get("model")) or ""
        if kind == "tool_call":
            for told in _as_messages(record):
                self._tell(told, session, line)
        else:
            self._tell(record, session, line)

    def _tell(self, record: dict[str, Any], session: str, line: int | None) -> None:
        message, agent = mapping(record.get("message")), text(record.get("parent_tool_use_id"))
        if record.get("type") == "assistant" and message:
            # Where answers have no id, one goes on until something is heard.
            self._answers += self._heard or not self._answers
            self._heard = False
            name = text(message.get("id")) or f"answer-{self._answers}"
            message = {"model": self._models.get(session), **message, "id": name}
            key = (session, _plain(text(message["model"])), name)
            self._used[key] = mapping(message.get("usage"))
        elif record.get("type") == "user":
            self._heard = True
        before = mapping(record.get("compact_metadata")).get("pre_tokens")
        self._log.take(
            {
                **record,
                **({"message": message} if message else {}),
                "sessionId": session,
                "isSidechain": agent is not None,
                "agentId": agent,
                "isApiErrorMessage": record.get("is_api_error_message") or record.get("isApiErrorMessage"),
                "compactMetadata": {"preTokens": before},
            },
            line,
        )

    def end(self) -> Counter[str]:
        """Tells what is left. Returns what had to be inferred."""
        made = Counter[str]()
        for session, result in self._results.items():
            run = self._log.main(session)
            made["unassigned_usage"] += self._rest(run, session, result)
            failed = result.get("is_error") is True or str(result.get("subtype")).startswith("error")
            self._log.ended[session] = {
                semconv.REPORTED_COST_USD: amount(result.get("total_cost_usd")),
                **outcome(False if failed else None, reason=text(result.get("subtype"))),
            }
        self._log.end()
        made += self._log.made
        made["odd"] = len(self._log.odd)
        return made

    def _rest(self, run: Run, session: str, result: dict[str, Any]) -> int:
        """Tells what the result counts beyond the answers; the number of calls told."""
        answered: dict[str | None, Counter[str]] = {}
        for (of_session, model, _), usage in self._used.items():
            if of_session == session:
                said_so_far = answered.setdefault(model, Counter())
                said_so_far.update({n: count(usage.get(n)) or 0 for n in _TOTALS.values()})
        told = 0
        for model, total, cost_usd in self._totals(session, result, list(answered)):
            before = answered.get(model, Counter[str]())
            rest = {n: max(0, (count(total.get(n)) or 0) - before[n]) for n in _TOTALS.values()}
            if not any(rest.values()):
                continue
            told += 1
            facts = {
                semconv.PROVIDER: "anthropic" if (model or "").startswith("claude") else None,
                semconv.REQUEST_MODEL: model,
                **usage_of(rest),
                **({} if any(before.values()) else reported(cost_usd)),
            }
            run.answer(said("assistant"), facts)
        return told

    def _totals(self, session: str, result: dict[str, Any], models: list[str | None]) -> list[_Total]:
        """What each model used in all, and what that cost; versions without that say it of all models together."""
        by_model = {m: mapping(u) for m, u in mapping(result.get("modelUsage")).items()}
        if by_model:
            return [
                (_plain(m), {ours: u.get(theirs) for theirs, ours in _TOTALS.items()}, amount(u.get("costUSD")))
                for m, u in by_model.items()
            ]
        if len(models) > 1:  # sub-agents on other models may be in it or not
            return []
        model = models[0] if models else _plain(self._models.get(session) or None)
        return [(model, mapping(result.get("usage")), amount(result.get("total_cost_usd")))]


def _plain(model: str | None) -> str | None:
    return _WINDOW.sub("", model) if model else model


def _as_messages(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Cursor's tool calls as a session has them: what was asked, then what came of it."""
    call_id = text(record.get("call_id"))
    name, call = next(((n, c) for n, c in mapping(record.get("tool_call")).items() if isinstance(c, dict)), ("", {}))
    if record.get("subtype") == "started":
        block = {"type": "tool_use", "id": call_id, "name": _tool(name, call), "input": call.get("args")}
        return [{**record, "type": "assistant", "message": {"role": "assistant", "content": [block]}}]
    result = mapping(call.get("result"))
    failed = bool(result) and "success" not in result
    given = next(iter(result.values()), None) if len(result) == 1 else result
    block = {"type": "tool_result", "tool_use_id": call_id, "content": given, "is_error": failed}
    return [{**record, "type": "user", "message": {"role": "user", "content": [block]}}]


def _tool(name: str, call: dict[str, Any]) -> str:
    return text(call.get("name")) or name.removesuffix("ToolCall") or "unknown"


CLAUDE_STREAM: Final = Format(
    "Claude Code output",
    _sniff,
    _read,
    about=(
        "What `claude -p` prints with `--output-format stream-json` or `json`, also as a list, as its GitHub action keeps it; "
        "Cursor's, Qwen Code's and Amp's command lines print the same way. Recognised by `session_id` beside an `init`, "
        "`parent_tool_use_id` or `num_turns`."
    ),
    sees=(
        "Model calls with messages and usage; tool calls and results; sub-agents as runs below; compactions; whether the session "
        "failed; what each model used in all, which the sums of calls add up to; the cost of the session by its own account."
    ),
    cannot_see=(
        "Times, the first prompt, system prompt and tool definitions. Which answer the output tokens belong to, of which a line has "
        "only the first: they are in a call of unknown content."
    ),
)
