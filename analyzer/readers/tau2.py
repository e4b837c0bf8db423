"""tau2-bench results: one document with many simulations, each a talk between an agent and a simulated user, both of them models.

A simulation becomes two runs of one conversation, because both call models and tools and both were paid for: the agent's, which has the
outcome, and the user's, told from the other side. Format: github.com/sierra-research/tau2-bench, `Results` and `SimulationRun`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

from analyzer.readers import openai_messages
from analyzer.readers.agent_runs import (
    Message,
    Run,
    Spans,
    answered,
    asked,
    inferred,
    odd_record,
    outcome,
    reported,
    said,
    words,
    written,
)
from analyzer.readers.elements import elements
from analyzer.readers.format import Format
from analyzer.readers.lines import decode, whole
from analyzer.readers.loose import amount, dumps, listing, mapping, moment_ns, text
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument import semconv

_MARKS: Final = tuple(re.compile(rb'"%s_info"\s*:\s*\{' % who) for who in (b"user", b"agent", b"environment"))
_OTHER: Final = {"assistant": "user", "user": "assistant"}
_CALLED: Final = {"assistant": "agent", "user": "user"}
"""Roles in the messages, and their names everywhere else in the file."""


def _sniff(head: bytes) -> bool:
    # The environment comes after the guidelines of the user, which may be longer than the head.
    return all(mark.search(head) for mark in _MARKS[:1]) and (
        b'"num_trials"' in head or _MARKS[1].search(head) is not None
    )


def _read(stream: Stream, sink: Sink) -> None:
    data = whole(stream, sink)
    if data is None:
        return
    spans, info = Spans(sink, stream.source, "tau2"), _info(data)
    made: Counter[str] = Counter()
    for number, found in elements(data, "simulations", stream.source, sink):
        simulation = mapping(found)
        if isinstance(simulation.get("messages"), list):
            made += _Simulation(spans, info, simulation).tell()
        else:
            sink.add_issue(odd_record(stream.source, f"simulation {number} has no messages and was left out", 1))
    _state(stream.source, sink, made)


def _info(data: bytes) -> dict[str, Any]:
    """What the document says of all its simulations; it stands before them."""
    start = re.search(rb'"info"\s*:\s*', data)
    end = re.search(rb'\}\s*,\s*"(?:tasks|simulations)"\s*:\s*\[', data)
    try:
        return mapping(decode(data[start.end() : end.start() + 1])) if start and end else {}
    except ValueError:  # another order of the fields: names and prompts stay unknown
        return {}


def _state(source: str, sink: Sink, made: Counter[str]) -> None:
    if made["odd"]:
        sink.add_issue(odd_record(source, "messages without a known role were left out", made["odd"]))
    if made["timeless"]:
        message = "messages have no time: they were put right after the one before"
        sink.add_issue(inferred("no_times", source, message, made["timeless"]))
    if made["spans"]:
        message = "the file says when a message was there, not when it was asked for: calls begin where the message before them ended"
        sink.add_issue(inferred("inferred_times", source, message, made["spans"]))
    if made["no_zone"]:
        message = "times name no time zone and were taken as UTC"
        sink.add_issue(inferred("no_time_zone", source, message, made["no_zone"]))
    if made["no_tools"]:
        message = (
            "of what the models were told, tool definitions are missing, and the system prompt but for the policy in it"
        )
        sink.add_issue(inferred("no_tool_definitions", source, message, made["no_tools"]))


class _Simulation:
    """One simulation on its way to two runs, by the role that each has in it."""

    def __init__(self, spans: Spans, info: dict[str, Any], found: dict[str, Any]) -> None:
        self._found, self._made = found, Counter[str]()
        environment = mapping(info.get("environment_info"))
        self._models = {role: mapping(info.get(f"{name}_info")) for role, name in _CALLED.items()}
        self._told = {"assistant": _told(environment), "user": {}}
        name = text(found.get("id"))
        # Two simulations may have one id, and one may be in two files: the content tells.
        identity = ("tau2", name or "", dumps(found["messages"]))
        self._at = start = moment_ns(found.get("start_time"))
        self._runs = {
            role: Run(spans, (*identity, role), agent=self._agent(role), conversation=name, start_ns=start)
            for role in _CALLED
        }
        self._asked: dict[Any, tuple[str | None, Any]] = {}
        self._made["no_zone"] += isinstance(stamp := found.get("start_time"), str) and _zoneless(stamp)
        self._made["no_tools"] += semconv.TOOL_DEFINITIONS not in self._told["assistant"]

    def _agent(self, role: str) -> str:
        return text(self._models[role].get("implementation")) or _CALLED[role]

    def tell(self) -> Counter[str]:
        """Tells both runs all that happened. Returns what had to be inferred or left out."""
        for message in listing(self._found["messages"]):
            self._message(mapping(message))
        reward = amount(mapping(self._found.get("reward_info")).get("reward"))
        success = None if reward is None else reward >= 1
        ended = outcome(success, score=reward, reason=text(self._found.get("termination_reason")))
        for role, run in self._runs.items():
            if role == "assistant" or run.model_calls or run.tool_calls:
                facts = {semconv.TASK_ID: written(self._found.get("task_id")), **(ended if role == "assistant" else {})}
                facts[semconv.REPORTED_COST_USD] = amount(self._found.get(f"{_CALLED[role]}_cost"))
                run.end(facts, moment_ns(self._found.get("end_time")))
            self._made["spans"] += run.model_calls + run.tool_calls
        return self._made

    def _message(self, message: dict[str, Any]) -> None:
        role, at = message.get("role"), moment_ns(message.get("timestamp"))
        if role in ("assistant", "user"):
            self._spoken(role, message, at)
        elif role == "tool":
            self._result(message, at)
        elif role == "system":
            for run in self._runs.values():
                run.say(said("system", *openai_messages.content(message.get("content"))))
        else:
            self._made["odd"] += 1
            return
        self._made["timeless"] += at is None
        self._at = at or self._at

    def _spoken(self, role: str, message: dict[str, Any], at: int | None) -> None:
        """What one of the two said: its own answer, and to the other a message of the user."""
        spoken, calls = openai_messages.content(message.get("content")), self._calls(message)
        run, answer = self._runs[role], said("assistant", *spoken, *calls)
        # The greeting is a constant of the benchmark: no model was asked for it, and it has no usage.
        if mapping(message.get("usage")) or mapping(message.get("raw_data")):
            facts = {
                semconv.REQUEST_MODEL: text(self._models[role].get("llm")),
                **openai_messages.completion({"choices": [message.get("raw_data")], "usage": message.get("usage")}),
                **reported(amount(message.get("cost"))),
                **self._told[role],
            }
            run.answer(answer, _inferred_times(at) | facts, start_ns=self._at, end_ns=at)
        else:
            run.say(answer)
        if not calls:  # who asks for a tool is not heard by the other
            self._runs[_OTHER[role]].say(said("user", *spoken))

    def _calls(self, message: dict[str, Any]) -> list[Message]:
        parts = []
        for found in map(mapping, listing(message.get("tool_calls"))):
            call_id, name, arguments = text(found.get("id")), text(found.get("name")), found.get("arguments")
            self._asked[call_id] = (name, arguments)
            parts.append(asked(call_id, name, arguments))
        return parts

    def _result(self, message: dict[str, Any], at: int | None) -> None:
        run = self._runs["user" if message.get("requestor") == "user" else "assistant"]
        call_id, result, failed = text(message.get("id")), message.get("content"), message.get("error") is True
        name, arguments = self._asked.pop(call_id, (None, None))
        facts = {
            semconv.TOOL_CALL_ID: call_id,
            semconv.TOOL_ARGUMENTS: written(arguments),
            semconv.TOOL_RESULT: written(result),
        }
        error = (written(result) or "") if failed else None
        run.call(name or "unknown", _inferred_times(at) | facts, start_ns=self._at, end_ns=at, error=error)
        run.say(said("tool", answered(call_id, result, failed=failed)))


def _inferred_times(end_ns: int | None) -> dict[str, str]:
    return {semconv.TIMES_INFERRED: "both" if end_ns is None else "start"}


def _told(environment: dict[str, Any]) -> dict[str, Any]:
    """What the agent was told besides messages, as far as the file has it."""
    policy, tools = text(environment.get("policy")), environment.get("tool_defs")
    if isinstance(tools, dict):
        tools = [{"type": "function", "name": name, **mapping(tool)} for name, tool in tools.items()]
    told = {}
    if policy:
        told[semconv.SYSTEM_INSTRUCTIONS] = dumps([words(policy)])
    if isinstance(tools, list) and tools:
        told[semconv.TOOL_DEFINITIONS] = dumps(tools)
    return told


def _zoneless(stamp: str) -> bool:
    return re.search(r"(?:Z|[+-]\d\d:?\d\d)$", stamp) is None


TAU2: Final = Format(
    "tau2-bench results",
    _sniff,
    _read,
    about=(
        "Results of [tau2-bench](https://github.com/sierra-research/tau2-bench): one document with many simulations. Recognised "
        "by `user_info` beside `agent_info` or `num_trials`."
    ),
    sees=(
        "Both sides of each simulation, the agent and the simulated user, as runs of one conversation: messages, tool calls and "
        "results, usage and cost, times, tool definitions, the reward as outcome."
    ),
    cannot_see="What the user model was told at the beginning. Cache and reasoning tokens.",
)
