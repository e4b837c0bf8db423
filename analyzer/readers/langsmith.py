"""Runs of LangSmith: what its API, its bulk and page exports and its rules' webhooks give, and what its SDK sends (`post` and `patch`).

A run has a type, inputs and outputs in the form of whatever was traced, and, where it is a model's, token counts; those of other runs
add up what is below them. Format: docs.langchain.com/langsmith, "Run (span) data format".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from analyzer.readers.agent_runs import odd_record, report, reported
from analyzer.readers.exported import Exported, put
from analyzer.readers.format import Format
from analyzer.readers.lines import values
from analyzer.readers.loose import listing, mapping, moment_ns, text, written_number
from analyzer.readers.openai_messages import decoded
from analyzer.readers.recorded_calls import around, model_call, tool_call
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from analyzer.readers.token_counts import by_attribute
from instrument import semconv

_MARKS: Final = (
    re.compile(rb'"run_type"\s*:'),
    re.compile(rb'"(?:dotted_order|child_runs|parent_run_id|trace_id)"\s*:'),
)
_PLACES: Final = ("runs", "post", "patch", "data", "trace", "traces", "results", "items")
"""Where documents hold runs."""
_LEVELS: Final = 200
"""Children within children."""
_AGENT: Final = re.compile(r"agent|LangGraph$", re.IGNORECASE)
_Run = dict[str, Any]


def _sniff(head: bytes) -> bool:
    return all(mark.search(head) for mark in _MARKS)


def _read(stream: Stream, sink: Sink) -> None:
    made: Counter[str] = Counter()
    runs: dict[str, _Run] = {}
    for value in values(stream, sink):
        for found in _runs(value):
            name = _id(found)
            if name is None:
                made["odd"] += 1
                continue
            # What the SDK sends when a run ends completes what it sent when it began.
            known = runs.setdefault(name, {})
            known.update({k: v for k, v in found.items() if v not in (None, {}, []) or k not in known})
    for name, found in runs.items():
        put(sink, stream.source, _exported(name, found, runs, made))
    if made["odd"] or not runs:
        sink.add_issue(
            odd_record(stream.source, "entries are no runs, or have no id, and were left out", made["odd"] or 1)
        )
    report(sink, stream.source, _INFERRED, made)


_INFERRED: Final = {
    "no_times": "runs have no start time, so their order is unknown",
    "no_usage": "model calls have no token counts: what they used is not known",
    "not_loaded": "inputs or outputs lie elsewhere (`s3_urls`) and are not in the file",
}


def _runs(value: Any) -> Iterator[_Run]:
    """Every run in a JSON value, children too. Not recursive: depth is the file's to choose."""
    left: list[tuple[Any, str | None, str | None]] = [(value, None, None)]
    while left:
        here, parent, trace = left.pop()
        if isinstance(here, list):
            left.extend((v, parent, trace) for v in reversed(here))
        elif isinstance(here, dict) and ("run_type" in here or "dotted_order" in here):
            # Runs that stand alone say which trace they are of; those in a tree need not.
            trace = text(here.get("trace_id")) or trace
            parent = text(here.get("parent_run_id")) or parent
            yield {**here, "trace_id": trace, "parent_run_id": parent, "child_runs": None}
            own = _id(here)
            left.append((here.get("child_runs"), own, trace or own))
        elif isinstance(here, dict):
            left.extend((here.get(place), parent, trace) for place in reversed(_PLACES))


def _id(found: _Run) -> str | None:
    """The id of a run; a `dotted_order` ends in it."""
    return text(found.get("id")) or text(found.get("run_id")) or _ordered(found, -1)


def _ordered(found: _Run, place: int) -> str | None:
    """An id out of a `dotted_order`, which has the time and the id of each run from the outermost (0) to this one (-1)."""
    return (text(found.get("dotted_order")) or "").split(".")[place].partition("Z")[2] or None


def _exported(name: str, found: _Run, runs: dict[str, _Run], made: Counter[str]) -> Exported:
    start, end = moment_ns(found.get("start_time")), moment_ns(found.get("end_time"))
    given, output = decoded(found.get("inputs")), decoded(found.get("outputs"))
    made["no_times"] += start is None
    made["not_loaded"] += (
        given is None and output is None and bool(found.get("inputs_s3_urls") or found.get("outputs_s3_urls"))
    )
    extra = mapping(decoded(found.get("extra")))
    metadata = {**mapping(extra.get("metadata")), **mapping(decoded(found.get("metadata")))}
    kind, called = text(found.get("run_type")) or "chain", text(found.get("name"))
    if kind == "llm":
        facts = _model(found, given, output, extra, metadata, made)
    elif kind == "tool":
        facts = tool_call(called, given, output)
    else:
        agent = kind == "chain" and _is_agent(called, found, runs)
        facts = around(semconv.INVOKE_AGENT if agent else kind, given, output) | {
            semconv.AGENT_NAME: called if agent else None
        }
    error = text(found.get("error"))
    failed = error is not None or found.get("status") == "error"
    return Exported(
        text(found.get("trace_id")) or _ordered(found, 0) or name,
        name,
        called or "",
        facts | _common(metadata, found, start),
        parent_id=text(found.get("parent_run_id")),
        start_ns=start,
        end_ns=end if end is None or start is None else max(start, end),
        error=(error or "") if failed else None,
        scope="langsmith",
        resource={"service.name": text(found.get("session_name"))},
    )


def _is_agent(called: str | None, found: _Run, runs: dict[str, _Run]) -> bool:
    """LangSmith has no type for agents: a chain is one by its name, and only the outermost of several with one name."""
    above = runs.get(text(found.get("parent_run_id")) or "", {})
    return _AGENT.search(called or "") is not None and above.get("name") != called


def _common(metadata: dict[str, Any], found: _Run, start_ns: int | None) -> dict[str, Any]:
    first = moment_ns(found.get("first_token_time"))
    waited = first is not None and start_ns is not None and first >= start_ns and found.get("run_type") == "llm"
    return {
        # The keys by which LangSmith itself puts traces into threads.
        semconv.CONVERSATION_ID: next(
            (t for n in ("session_id", "thread_id", "conversation_id") if (t := text(metadata.get(n)))), None
        ),
        semconv.USER_ID: text(metadata.get("user_id")),
        semconv.TIME_TO_FIRST_CHUNK: (first - start_ns) / 1e9
        if waited and first is not None and start_ns is not None
        else None,
        "langsmith.run_type": text(found.get("run_type")),
    }


def _model(
    found: _Run, given: Any, output: Any, extra: dict[str, Any], metadata: dict[str, Any], made: Counter[str]
) -> dict[str, Any]:
    asked_for = mapping(extra.get("invocation_params"))
    model = text(metadata.get("ls_model_name")) or text(asked_for.get("model")) or text(asked_for.get("model_name"))
    facts = model_call(given, output, model=model, provider=text(metadata.get("ls_provider")))
    if facts[semconv.TOOL_DEFINITIONS] is None and listing(asked_for.get("tools")):
        facts[semconv.TOOL_DEFINITIONS] = asked_for["tools"]
    counts = _usage(found, mapping(output))
    failed = text(found.get("error")) is not None
    made["no_usage"] += not counts and not failed
    return facts | counts | reported(written_number(found.get("total_cost")))


def _usage(found: _Run, output: dict[str, Any]) -> dict[str, int]:
    """The counts of a model's run. Nought of everything is how the API writes that it knows none."""
    message = _message(output)
    stated = {
        "prompt_tokens": found.get("prompt_tokens"),
        "completion_tokens": found.get("completion_tokens"),
        "total_tokens": found.get("total_tokens"),
        "prompt_token_details": found.get("prompt_token_details"),
        "completion_token_details": found.get("completion_token_details"),
    }
    candidates = (
        output.get("usage_metadata"),
        message.get("usage_metadata"),
        stated,
        mapping(output.get("llm_output")).get("token_usage"),
        output.get("usage"),
    )
    for counts in candidates:
        if any((known := by_attribute(mapping(counts))).values()):
            return known
    return {}


def _message(output: dict[str, Any]) -> dict[str, Any]:
    """The first message of an answer of LangChain's."""
    first: Any = output.get("generations")
    while isinstance(first, list) and first:
        first = first[0]
    message = mapping(mapping(first).get("message")) or mapping(output.get("message")) or mapping(output.get("output"))
    return {**message, **mapping(message.get("kwargs"))}


LANGSMITH: Final = Format(
    "LangSmith runs",
    _sniff,
    _read,
    about=(
        "Runs from [LangSmith](https://docs.langchain.com/langsmith): answers of its API and command line, exports, webhooks, and batches "
        "as its SDK sends them; trees with `child_runs`, lists, or one a line. Recognised by `run_type`."
    ),
    sees=(
        "Model calls and tools with messages, arguments and results, in the forms of LangChain, OpenAI, Anthropic and others; usage with "
        "cache and reasoning; the cost that LangSmith worked out, which stands over the price list; threads, users, times, errors."
    ),
    cannot_see=(
        "Which chains are agents, other than by their names (`LangGraph`, or with `agent` in it). Content that lies in other storage "
        "(`s3_urls`). Lifetimes of cache writes. Feedback is not read."
    ),
)
