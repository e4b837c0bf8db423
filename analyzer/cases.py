"""Traces written by hand, to test detectors with: a script of what happened, and what must be found in it.

    Case("quiet: polling a build until it changes",
         [tool_call("build_status", {}, "running"), tool_call("build_status", {}, "running"), tool_call("build_status", {}, "passed")],
         finds=[])

A script is turned into OTLP spans of any dialect flyball reads (`DIALECTS`) with made-up but steady ids and times, and
goes through the loader like any trace. Each entry of a script is one turn: a model call and the tools it asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import duckdb

from analyzer.casting import DIALECTS as DIALECTS  # noqa: PLC0414 - part of this module's front door
from analyzer.casting import Calling, Speaking, render, trace_id
from instrument.otlp import TracesData
from instrument.store.connect import in_memory
from instrument.store.load import Loader

MODEL: Final = "claude-sonnet-4-5"


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call. `error` makes it a flagged failure with `result` as its text; `ran` False: the model asked and nothing ran it.

    `rejected`: it never ran, and its span says why (`unknown_tool`, `invalid_arguments`, `blocked`); `result` is what the model read.
    """

    name: str
    arguments: Any
    result: Any
    error: str | None = None
    ran: bool = True
    declared: bool = True
    rejected: str | None = None
    seconds: float | None = 0.5
    """How long it took; None: it has not ended."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One model call: the words it said, the tools it asked for, what it used. `input_tokens` None: estimated from the history."""

    calls: tuple[Call, ...] = ()
    text: str = ""
    input_tokens: int | None = None
    output_tokens: int = 50
    model: str = MODEL
    error: tuple[str, str] | None = None
    """Type and message, where the model call failed."""
    measured: bool = True
    finish: str | None = None
    """Why the model stopped; None: it asked for tools, or had said all."""
    cached: tuple[int, int] | None = None
    """Of the input tokens, those read from the prompt cache and those written to it; None: not told."""
    pause_seconds: float = 0.0
    """Time before this turn in which nothing happened."""
    system: str | None = None
    """System instructions; None: not recorded."""
    more_tools: tuple[str, ...] = ()
    """Tools declared in this request beside those of the run."""
    thinking: str = ""
    seconds: float = 1.0
    """How long the model call took."""
    retries: int | None = None
    """How often the client sent the request again."""
    prompt: str | None = None
    """The whole request in one message of the user; None: the request is the history so far."""


@dataclass(frozen=True, slots=True)
class User:
    """The user said something before the next turn."""

    text: str


Entry = Call | Turn | User


@dataclass(frozen=True, slots=True)
class Run:
    """One agent run. `ended` False: it was cut, and its agent span is still pending."""

    script: Sequence[Entry]
    agent: str | None = None
    """None: the case's name, so that cases loaded together stay apart."""
    question: str = "Do the task."
    ended: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Further attributes of the agent span (`instrument.semconv`)."""


@dataclass(frozen=True, slots=True)
class Found:
    """What must be found: the slug, and as much of the finding as matters. `turns` are first and last."""

    detector: str
    turns: tuple[int, int] | None = None
    severity: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A script (of one run, or a list of `Run`s), and the findings it must give, of whatever detectors are asked;
    everything else must stay quiet."""

    name: str
    script: Sequence[Entry | Run]
    finds: Sequence[str | Found]
    declares: bool = True
    """Whether requests say which tools there are."""
    only: frozenset[str] = field(default=frozenset(DIALECTS))
    """Dialects in which it can be told."""
    schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """JSON Schema of the input, by tool; the others are declared without one."""

    def expected(self) -> list[Found]:
        """`finds`, spelled out."""
        return [Found(f) if isinstance(f, str) else f for f in self.finds]

    def runs(self) -> list[Run]:
        """The script as runs."""
        runs = [entry for entry in self.script if isinstance(entry, Run)]
        return runs or [Run([entry for entry in self.script if not isinstance(entry, Run)])]

    def traces(self, dialect: str = "gen_ai") -> TracesData:
        """The spans, as a producer of that dialect would have written them."""
        return render([_speaking(run, self) for run in self.runs()], dialect, self.name)

    def trace_ids(self) -> list[str]:
        """Trace ids of its runs, in order."""
        return [trace_id(self.name, number) for number in range(len(self.runs()))]

    def load(self, dialect: str = "gen_ai") -> duckdb.DuckDBPyConnection:
        """A store in memory that holds the case."""
        return load([self], dialect)


def load(cases: Sequence[Case], dialect: str = "gen_ai") -> duckdb.DuckDBPyConnection:
    """A store in memory that holds several cases of different names."""
    con = in_memory()
    loader = Loader(con)
    for case in cases:
        loader.add(case.traces(dialect), case.name)
    loader.finish()
    return con


# --- the words of a script ----------------------------------------------------------------------------------------------


def tool_call(
    name: str,
    arguments: Any = None,
    result: Any = "ok",
    *,
    error: str | None = None,
    ran: bool = True,
    declared: bool = True,
    seconds: float | None = 0.5,
) -> Call:
    """A turn that asked for one tool. `error` is the error type of a flagged failure; `ran=False` leaves out the tool's
    span; `declared=False` makes up a tool; `seconds=None` leaves it pending."""
    return Call(name, {} if arguments is None else arguments, result, error, ran, declared, None, seconds)


def rejected_call(name: str, arguments: Any = None, result: Any = "refused", *, why: str = "blocked") -> Call:
    """A turn that asked for one tool, which was not run: by a guard, or because it does not exist or was called wrongly."""
    return Call(name, {} if arguments is None else arguments, result, declared=why != "unknown_tool", rejected=why)


def turn(
    *calls: Call,
    text: str = "",
    input_tokens: int | None = None,
    output_tokens: int = 50,
    model: str = MODEL,
    measured: bool = True,
    **facts: Any,
) -> Turn:
    """A turn spelled out: parallel tool calls, words, usage; `measured=False` leaves out the token counts. `facts` as in `Turn`."""
    return Turn(calls, text, input_tokens, output_tokens, model, None, measured, **facts)


def says(text: str, *, input_tokens: int | None = None) -> Turn:
    """A turn that answered in words and asked for no tool."""
    return Turn(text=text, input_tokens=input_tokens)


def user(text: str) -> User:
    """A new message of the user."""
    return User(text)


def model_error(kind: str, message: str, **facts: Any) -> Turn:
    """A model call that failed. `facts` as in `Turn`."""
    return Turn(error=(kind, message), **facts)


def agent_run(
    script: Sequence[Entry],
    *,
    agent: str | None = None,
    question: str = "Do the task.",
    ended: bool = True,
    facts: Mapping[str, Any] | None = None,
) -> Run:
    """One run of several in a case."""
    return Run(script, agent, question, ended, facts or {})


# --- a script, with its history -----------------------------------------------------------------------------------------


def _speaking(run: Run, case: Case) -> Speaking:
    """The turns of a run with the messages that each request held."""
    turns = [entry if not isinstance(entry, Call) else Turn((entry,)) for entry in run.script]
    declared = sorted({c.name for t in turns if isinstance(t, Turn) for c in t.calls if c.declared}) or ["nothing"]
    history: list[dict[str, Any]] = [{"role": "user", "parts": [_words(run.question)]}]
    callings = []
    for number, entry in enumerate(turns):
        if isinstance(entry, User):
            history = [*history, {"role": "user", "parts": [_words(entry.text)]}]
            continue
        calls = [(f"call_{number}_{place}", call) for place, call in enumerate(entry.calls)]
        answer = {
            "role": "assistant",
            "parts": [
                *([{"type": "reasoning", "content": entry.thinking}] if entry.thinking else []),
                *([_words(entry.text)] if entry.text else []),
                *(_asked(i, c) for i, c in calls),
            ],
        }
        asked = history if entry.prompt is None else [{"role": "user", "parts": [_words(entry.prompt)]}]
        size = entry.input_tokens if entry.input_tokens is not None else 500 + len(str(asked)) // 4
        callings.append(
            Calling(
                entry.model,
                asked,
                None if entry.error else answer,
                size if entry.measured else None,
                entry.output_tokens,
                entry.error,
                calls,
                finish=entry.finish,
                cached=entry.cached,
                pause_seconds=entry.pause_seconds,
                system=entry.system,
                declared=sorted({*declared, *entry.more_tools}) if case.declares else None,
                seconds=entry.seconds,
                retries=entry.retries,
            )
        )
        if entry.error is None:
            history = [*history, answer]
            history += [{"role": "tool", "parts": [_answered(i, c)]} for i, c in calls]
    said = declared if case.declares else None
    return Speaking(run.agent or case.name, callings, said, run.ended, run.facts, case.schemas)


def _words(text: str) -> dict[str, Any]:
    return {"type": "text", "content": text}


def _asked(call_id: str, call: Call) -> dict[str, Any]:
    return {"type": "tool_call", "id": call_id, "name": call.name, "arguments": call.arguments}


def _answered(call_id: str, call: Call) -> dict[str, Any]:
    part = {"type": "tool_call_response", "id": call_id, "response": call.result}
    return {**part, "is_error": True} if call.error or call.rejected else part
