"""Calls of W&B Weave: what `client.get_calls()`, its API (`calls/stream_query`) and its page give. Format: docs.wandb.ai/weave, "Calls".

Usage stands in `summary.usage` by model, and is added up on every call above: only calls that no other call with usage lies below are
model calls.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from analyzer.readers.agent_runs import odd_record, report
from analyzer.readers.exported import Exported, put
from analyzer.readers.format import Format
from analyzer.readers.lines import values
from analyzer.readers.loose import mapping, moment_ns, text
from analyzer.readers.openai_messages import decoded
from analyzer.readers.recorded_calls import around, model_call, tool_call
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from analyzer.readers.token_counts import by_attribute
from instrument import semconv

_MARKS: Final = tuple(re.compile(rb'"%s"\s*:' % name) for name in (b"op_name", b"started_at", b"trace_id"))
_LEVELS: Final = 4
_OP: Final = re.compile(r"(?:.*/op/)?([^:/]+)(?::.*)?")
_TOOL: Final = re.compile(r"(?:^|[._ ])(?:tool|function_tool)s?(?:[._ ]|$)", re.IGNORECASE)
_AGENT: Final = re.compile(r"agent", re.IGNORECASE)
_KINDS: Final = {"llm": "model", "tool": "tool", "agent": "agent"}
_Call = dict[str, Any]


def _sniff(head: bytes) -> bool:
    return all(mark.search(head) for mark in _MARKS)


def _read(stream: Stream, sink: Sink) -> None:
    made: Counter[str] = Counter()
    calls: dict[str, _Call] = {}
    for value in values(stream, sink):
        for found in _calls(value, _LEVELS):
            name = text(found.get("id"))
            if name is None or text(found.get("trace_id")) is None:
                made["odd"] += 1
                continue
            calls[name] = found
    rolled_up = {text(c.get("parent_id")) for c in calls.values() if _usage(c)}
    for name, found in calls.items():
        put(sink, stream.source, _exported(name, found, made, rolled_up=name in rolled_up))
    if made["odd"] or not calls:
        message = "entries have no id and trace id and were left out"
        sink.add_issue(odd_record(stream.source, message, made["odd"] or 1))
    report(sink, stream.source, _INFERRED, made)


_INFERRED: Final = {
    "no_times": "calls have no start time, so their order is unknown",
    "no_usage": "model calls have no token counts: what they used is not known",
}


def _calls(value: Any, levels: int) -> Iterator[_Call]:
    if isinstance(value, list) and levels:
        for inner in value:
            yield from _calls(inner, levels - 1)
    elif isinstance(value, dict) and "op_name" not in value and levels:
        for place in ("calls", "data", "results", "call", "val"):
            yield from _calls(value.get(place), levels - 1)
    elif isinstance(value, dict):
        yield value


def _usage(found: _Call) -> dict[str, Any]:
    return mapping(mapping(decoded(found.get("summary"))).get("usage"))


def _exported(name: str, found: _Call, made: Counter[str], *, rolled_up: bool) -> Exported:
    start = moment_ns(found.get("started_at"))
    made["no_times"] += start is None
    error = text(found.get("exception"))
    op = _OP.fullmatch(text(found.get("op_name")) or "")
    called = text(found.get("display_name")) or (op[1] if op else "")
    return Exported(
        str(found["trace_id"]),
        name,
        called,
        _facts(called, found, made, rolled_up=rolled_up)
        | {semconv.CONVERSATION_ID: text(found.get("thread_id")), semconv.USER_ID: text(found.get("wb_user_id"))},
        parent_id=text(found.get("parent_id")),
        start_ns=start,
        end_ns=moment_ns(found.get("ended_at")),
        error=error,
        scope="weave",
    )


def _facts(called: str, found: _Call, made: Counter[str], *, rolled_up: bool) -> dict[str, Any]:
    given = {k: v for k, v in mapping(decoded(found.get("inputs"))).items() if k != "self"}
    output, usage = decoded(found.get("output")), {} if rolled_up else _usage(found)
    kind = _KINDS.get(str(mapping(mapping(decoded(found.get("attributes"))).get("weave")).get("kind")))
    if (kind == "model" and not rolled_up) or (kind is None and usage):
        model, counts = next(iter(usage.items()), (None, None))
        facts = model_call(given, output, model=model)
        known = by_attribute(mapping(counts))
        made["no_usage"] += not known and found.get("exception") is None
        return facts | known
    if kind == "tool" or (kind is None and _TOOL.search(called)):
        return tool_call(called, given, output)
    if kind == "agent" or (kind is None and _AGENT.search(called)):
        return around(semconv.INVOKE_AGENT, given, output) | {semconv.AGENT_NAME: called}
    return around("call", given, output)


WEAVE: Final = Format(
    "Weave calls",
    _sniff,
    _read,
    about=(
        "Calls of [W&B Weave](https://docs.wandb.ai/weave): answers of its API and its client, and exports, one a line or in lists. "
        "Recognised by `op_name` and `started_at`."
    ),
    sees="Model calls with messages and usage, operations around them with inputs and outputs, threads, users, times, exceptions.",
    cannot_see=(
        "Which operations are tools or agents, other than by their kind or their names. Where only the outermost calls were exported, what "
        "models used stands on them, and each is taken for one call."
    ),
)
