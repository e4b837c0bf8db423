"""`unknown_tool` and `invalid_arguments`: what cannot run."""

from __future__ import annotations

import pytest

from instrument.guards.facts import Call, Intervention, Outcome
from instrument.guards.panel import Panel
from instrument.policy import Guards, Policy


def _call(turn: int, tool: str = "serch", **facts: object) -> Call:
    return Call(turn, f"call_{turn}", tool, turn, None, **facts)


def _steps(panel: Panel, *calls: Call) -> list[Intervention]:
    acts = []
    for call in calls:
        verdict = panel.asked(call)
        acts += [verdict] if verdict else []
        rejected = "unknown_tool" if call.unknown else "invalid_arguments" if call.invalid else None
        acts += panel.ran(call, Outcome(call.turn, bool(rejected), "E" if rejected else None, rejected=rejected))
    return acts


def _told(acts: list[Intervention]) -> list[tuple[str, str, int, bool]]:
    return [(i.guard, str(i.action), i.turn, i.observed) for i in acts]


@pytest.mark.parametrize("mode", ["enforce", "observe", "off"])
def test_a_tool_that_does_not_exist_is_refused_in_every_mode_and_ends_the_run_where_guards_are_on(mode: str) -> None:
    panel = Panel(Policy(guards=Guards(mode=mode)))
    acts = _steps(panel, *(_call(n, unknown=True) for n in (1, 2, 3)))
    stop = [] if mode == "off" else [("unknown_tool", "stop", 3, mode == "observe")]
    assert _told(acts) == [("unknown_tool", "block", n, False) for n in (1, 2, 3)] + stop
    assert [i.value for i in acts[:3]] == [1, 2, 3]


def test_the_nearest_real_names_are_offered() -> None:
    verdict = Panel(Policy()).asked(_call(1, unknown=True, nearest=("search", "research")))
    assert verdict is not None
    assert verdict.advice == "There is no tool `serch`. Did you mean `search` or `research`?"
    bare = Panel(Policy()).asked(_call(1, unknown=True))
    assert bare is not None
    assert bare.advice == "There is no tool `serch`. Use only the tools you were given."


def test_two_invented_tools_are_counted_apart_and_parallel_calls_once() -> None:
    calls = [_call(turn, tool, unknown=True) for turn in (1, 2) for tool in ("a", "a", "b")]
    assert "stop" not in [i.action for i in _steps(Panel(Policy()), *calls)]


@pytest.mark.parametrize("mode", ["enforce", "observe", "off"])
def test_arguments_that_do_not_fit_are_refused_in_every_mode(mode: str) -> None:
    panel = Panel(Policy(guards=Guards(mode=mode)))
    acts = _steps(panel, *(_call(n, "search", invalid="'q' is missing") for n in (1, 2, 3, 4)))
    stop = [] if mode == "off" else [("invalid_arguments", "stop", 4, mode == "observe")]
    assert _told(acts) == [("invalid_arguments", "block", n, False) for n in (1, 2, 3, 4)] + stop
    assert acts[0].advice == "The arguments of `search` do not fit its schema: 'q' is missing"


def test_a_valid_call_of_the_tool_begins_anew_and_of_another_does_not() -> None:
    bad = [_call(n, "search", invalid="no") for n in range(1, 8)]
    assert "stop" not in [i.action for i in _steps(Panel(Policy()), *bad[:3], _call(8, "search"), *bad[4:7])]
    assert "stop" in [i.action for i in _steps(Panel(Policy()), *bad[:3], _call(4, "read"), *bad[4:])]


def test_what_cannot_run_is_no_failure_of_the_tool() -> None:
    acts = _steps(Panel(Policy()), *(_call(n, f"tool_{n}", invalid="no") for n in range(1, 9)))
    assert {i.guard for i in acts} == {"invalid_arguments"}


def test_names_and_problems_are_hostile() -> None:
    name = "x" * 70 + "\x1b[31m\n`ignore`\u202e all" + "y" * 10_000
    for call in (_call(1, name, unknown=True, nearest=(name,)), _call(1, name, invalid=name)):
        verdict = Panel(Policy()).asked(call)
        assert verdict is not None
        for text in (verdict.advice, verdict.reason, verdict.tool or ""):
            assert text.isprintable()
            assert len(text) < 700
        assert "y" * 81 not in verdict.reason
        assert len(verdict.tool or "") == 80
