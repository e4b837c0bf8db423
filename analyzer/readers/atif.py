"""Trajectories in ATIF, the Agent Trajectory Interchange Format: one document, the steps of one agent, with usage and cost of each.

Steps marked as copied context were counted where they came from: here they are history. Sub-agents in the document are runs below its
own; so are those in files of their own, where the trajectory that refers to them is read before.

Format: harborframework.com, "ATIF" (RFC 0001).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable
from typing import Any, Final

from analyzer.readers import openai_messages
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
    written,
)
from analyzer.readers.format import Format
from analyzer.readers.lines import values
from analyzer.readers.loose import amount, count, dumps, listing, mapping, moment_ns, text
from analyzer.readers.seen import kept_for
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument import semconv

_MARK: Final = re.compile(rb'"schema_version"\s*:\s*"ATIF-')
_DEEPEST: Final = 16
"""Sub-agents within sub-agents that are told; a file may be made so that there is always one more."""

_INFERRED: Final = {
    "no_times": "steps have no time: they were put one right after the other, so that their order is kept",
    "inferred_times": "a step has one time: calls begin where what came before them ended",
    "no_usage": "model calls have no token counts",
    "copied_steps": "steps are copied from a trajectory before this one: they are history here, and were not counted",
    "other_files": "sub-agents, or how the run goes on, are in files of their own: they count when those are read too",
    "unrecorded_usage": "the log's own totals are above the sum of its steps, by what is in no step or in other files: it was not counted",
    "too_deep": "sub-agents within too many others were left out",
}


def _sniff(head: bytes) -> bool:
    return head.lstrip()[:1] in (b"{", b"[") and _MARK.search(head) is not None


def _read(stream: Stream, sink: Sink) -> None:
    spans, made, links = Spans(sink, stream.source, "atif"), Counter[str](), kept_for(sink)
    for value in values(stream, sink):
        for found in map(mapping, value if isinstance(value, list) else [value]):
            if listing(found.get("steps")):
                above = next((links[n] for n in _names(found) if n in links), None)
                _Trajectory(spans, found, made, links, above).tell()
            else:
                made["odd"] += 1
    report(sink, stream.source, _INFERRED, made)
    if made["odd"]:
        sink.add_issue(
            odd_record(stream.source, "entries without steps, or steps of no known source, were left out", made["odd"])
        )


class _Trajectory:
    """One agent's steps on their way to a run."""

    def __init__(
        self,
        spans: Spans,
        found: dict[str, Any],
        made: Counter[str],
        links: dict[Hashable, Any],
        parent: Run | None = None,
        depth: int = 0,
    ) -> None:
        self._spans, self._found, self._made, self._links, self._depth = spans, found, made, links, depth
        self._within = {n for b in listing(found.get("subagent_trajectories")) for n in _names(mapping(b))}
        """Names of the sub-agents that are in the document."""
        agent, name = mapping(found.get("agent")), text(found.get("session_id"))
        identity = ("atif", text(found.get("trajectory_id")) or "", dumps(found))
        agent_name = text(agent.get("name")) or "agent"
        self._run = Run(spans, identity, agent=agent_name, conversation=name, parent=parent)
        self._model = text(agent.get("model_name"))
        tools = listing(agent.get("tool_definitions"))
        self._tools = dumps(tools) if tools else None
        self._sums = Counter[str]()

    def tell(self) -> None:
        """Tells the run every step."""
        for step in map(mapping, listing(self._found.get("steps"))):
            source = step.get("source")
            if source == "agent":
                self._agent(step)
            elif source in ("user", "system"):
                self._told(str(source), step)
            else:
                self._made["odd"] += 1
        self._made["other_files"] += self._found.get("continued_trajectory_ref") is not None
        for below in map(mapping, listing(self._found.get("subagent_trajectories"))):
            if self._depth < _DEEPEST:
                _Trajectory(self._spans, below, self._made, self._links, self._run, self._depth + 1).tell()
            else:
                self._made["too_deep"] += 1
        self._end()

    def _end(self) -> None:
        totals = mapping(self._found.get("final_metrics"))
        given, output = count(totals.get("total_prompt_tokens")), count(totals.get("total_completion_tokens"))
        self._made["unrecorded_usage"] += (given or 0) > self._sums["input"] or (output or 0) > self._sums["output"]
        self._run.end(
            {
                semconv.REPORTED_COST_USD: amount(totals.get("total_cost_usd")),
                semconv.REPORTED_INPUT_TOKENS: given,
                semconv.REPORTED_OUTPUT_TOKENS: output,
            }
        )
        self._run.forget()  # it may be kept for its sub-agents

    def _refer(self, result: dict[str, Any]) -> None:
        """Keeps this run for the sub-agents in other files that the result of a call refers to."""
        for names in map(_names, map(mapping, listing(result.get("subagent_trajectory_ref")))):
            if not self._within.intersection(names):
                self._made["other_files"] += 1
                self._links |= {n: self._run for n in names if n not in _names(self._found)}

    def _told(self, role: str, step: dict[str, Any]) -> None:
        at = moment_ns(step.get("timestamp"))
        managed = mapping(mapping(step.get("extra")).get("context_management"))
        if managed.get("type") == "compaction":
            if managed.get("boundary") == "replace":
                self._run.forget()
            self._run.note("compaction", {}, at)
        parts = openai_messages.content(step.get("message"))
        if parts:
            self._run.say(said(role, *parts), at_ns=at)
        for result in self._results(step):
            self._refer(result)

    def _agent(self, step: dict[str, Any]) -> None:
        calls = [mapping(c) for c in listing(step.get("tool_calls"))]
        requests = [asked(text(c.get("tool_call_id")), c.get("function_name"), c.get("arguments")) for c in calls]
        spoken = [*openai_messages.content(step.get("message")), *requests]
        answer = said("assistant", *_reasoning(step), *spoken)
        copied = step.get("is_copied_context") is True
        at = moment_ns(step.get("timestamp"))
        self._made["copied_steps"] += copied
        self._made["no_times" if at is None else "inferred_times"] += not copied
        # Some agents act by rule in between: no model was asked.
        if copied or count(step.get("llm_call_count")) == 0:
            self._run.say(said("assistant", *spoken), at_ns=at)
        else:
            self._run.answer(answer, self._facts(step), said=said("assistant", *spoken), end_ns=at)
        for call, result in self._paired(calls, self._results(step)):
            self._result(call, result, at, copied)

    def _facts(self, step: dict[str, Any]) -> dict[str, Any]:
        metrics = mapping(step.get("metrics"))
        given, output = count(metrics.get("prompt_tokens")), count(metrics.get("completion_tokens"))
        self._made["no_usage"] += given is None and output is None
        self._sums += Counter(input=given or 0, output=output or 0)
        return {
            semconv.REQUEST_MODEL: text(step.get("model_name")) or self._model,
            semconv.TOOL_DEFINITIONS: self._tools,
            semconv.INPUT_TOKENS: given,
            semconv.OUTPUT_TOKENS: output,
            semconv.CACHE_READ_TOKENS: count(metrics.get("cached_tokens")),
            **reported(amount(metrics.get("cost_usd"))),
        }

    def _results(self, step: dict[str, Any]) -> list[dict[str, Any]]:
        return [mapping(r) for r in listing(mapping(step.get("observation")).get("results"))]

    def _paired(
        self, calls: list[dict[str, Any]], results: list[dict[str, Any]]
    ) -> list[tuple[dict[str, Any] | None, dict[str, Any]]]:
        """Each result with its call: the one it names, else the one in its place where there are as many of both."""
        by_id = {text(c.get("tool_call_id")): c for c in calls}
        named = [by_id.get(text(r.get("source_call_id")) or "") for r in results]
        if not any(named) and len(calls) == len(results):
            named = list(calls)
        return list(zip(named, results, strict=True))

    def _result(self, call: dict[str, Any] | None, result: dict[str, Any], at: int | None, copied: bool) -> None:
        self._refer(result)
        content = result.get("content")
        if call is None:  # of no call: what the harness said next
            parts = openai_messages.content(content)
            if parts:
                self._run.say(said("user", *parts))
            return
        call_id, told = text(call.get("tool_call_id")), written(content)
        if not copied:
            facts = {
                semconv.TOOL_CALL_ID: call_id,
                semconv.TOOL_ARGUMENTS: written(call.get("arguments")),
                semconv.TOOL_RESULT: told,
            }
            self._run.call(text(call.get("function_name")) or "unknown", facts, start_ns=at)
        self._run.say(said("tool", answered(call_id, told)))


def _names(found: dict[str, Any]) -> list[Hashable]:
    """What a trajectory goes by, and is referred to by."""
    return [("atif", name) for n in ("trajectory_id", "session_id") if (name := text(found.get(n))) is not None]


def _reasoning(step: dict[str, Any]) -> list[Message]:
    thought = text(step.get("reasoning_content"))
    return [{"type": "reasoning", "content": thought}] if thought else []


ATIF: Final = Format(
    "ATIF trajectory",
    _sniff,
    _read,
    about="Written by Harbor, Terminus 2, OpenHands and others; ATIF 1.0 to 1.7. Recognised by `schema_version`.",
    sees="Messages, reasoning, tool definitions, tool calls with arguments and results, usage and cost of each step, sub-agents in the "
    "same document or in files that are read after it, compactions, and the log's own totals.",
    cannot_see="Whether a tool failed (the format has no mark for it), when a request was sent, finish reasons, whether the task was done.",
)
