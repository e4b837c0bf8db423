"""Traces for `silent_gap`, from both sides. Runs of one case start an hour after each other."""

from __future__ import annotations

from typing import Any, Final

from analyzer.cases import DIALECTS, Case, Entry, Found, Turn, agent_run, model_error, says, tool_call, turn, user

_DONE: Final = says("That is all there is to say.")
_SPANS: Final = frozenset(DIALECTS) - {"messages_only"}


def _read(number: int, **facts: Any) -> Turn:
    return turn(tool_call("read", {"n": number}, f"text {number}"), **facts)


def _reads(count: int) -> list[Entry]:
    return [_read(n) for n in range(count)]


_LATER: Final = agent_run([*_reads(1), _DONE], agent="later")


CASES: Final = (
    Case(
        "ten minutes between a result and the next request",
        [*_reads(2), _read(7, pause_seconds=600), _DONE],
        [Found("silent_gap", turns=(2, 3), severity="warning")],
        only=_SPANS,
    ),
    Case(
        "several gaps are one finding, with the longest",
        [*_reads(2), _read(7, pause_seconds=400), _read(8), _read(9, pause_seconds=900), _DONE],
        [Found("silent_gap", turns=(4, 5), severity="warning")],
        only=_SPANS,
    ),
    Case(
        "before the final answer",
        [*_reads(2), turn(text="That is all I found.", pause_seconds=3000)],
        [Found("silent_gap", turns=(2, 3))],
        only=_SPANS,
    ),
    Case(
        "a failed request that nobody sent again for long",
        [*_reads(2), model_error("overloaded_error", "Overloaded"), turn(text="Back again.", pause_seconds=900)],
        [Found("silent_gap", turns=(3, 4), severity="info")],
    ),
    Case(
        "never ended, and silent since",
        [agent_run(_reads(3), agent="cut", ended=False), agent_run([*_reads(1), _DONE], agent="later")],
        [Found("silent_gap", turns=(3, 3), severity="warning")],
        only=_SPANS,
    ),
    Case(
        "a tool call that never ended, as the last of all",
        [agent_run([*_reads(2), tool_call("read", {"n": 9}, seconds=None)], agent="hung", ended=False), _LATER],
        [Found("silent_gap", turns=(3, 3), severity="warning")],
        only=_SPANS,
    ),
    Case(
        "two turns wait, and the waits are told together",
        [*_reads(1), _read(7, pause_seconds=400), _read(8, pause_seconds=900), _DONE],
        [Found("silent_gap", turns=(2, 3), severity="warning")],
        only=_SPANS,
    ),
    Case(
        "quiet: a person is asked",
        [agent_run([*_reads(2), tool_call("ask_user", {"n": 9}, seconds=None)], agent="asks", ended=False), _LATER],
        [],
    ),
    Case("quiet: pauses of a minute", [_read(n, pause_seconds=60) for n in range(6)] + [_DONE], []),
    Case(
        "quiet: the user thought about it",
        [
            *_reads(2),
            says("Which one do you mean?"),
            user("The second."),
            turn(text="That is it, then.", pause_seconds=5000),
        ],
        [],
    ),
    Case(
        "quiet: the user interrupted after a result",
        [*_reads(2), user("Stop. Do the other one first."), _read(7, pause_seconds=5000), _DONE],
        [],
    ),
    Case(
        "quiet: after an answer",
        [*_reads(2), says("Done so far."), turn(text="And the rest.", pause_seconds=5000)],
        [],
    ),
    Case(
        "quiet: never ended, but it is the user's turn",
        [agent_run([*_reads(2), _DONE], agent="chat", ended=False), agent_run([*_reads(1), _DONE], agent="later")],
        [],
    ),
    Case(
        "quiet: a tool that no span tells of may have taken the time",
        [*_reads(2), _read(7, pause_seconds=600), _DONE],
        [],
        only=frozenset({"messages_only"}),
    ),
)
