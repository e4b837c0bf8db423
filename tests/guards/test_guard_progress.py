"""`no_progress`: the checkpoint after every so many calls."""

from __future__ import annotations

import pytest

from analyzer.cases import Entry, tool_call, turn
from instrument.effects import Effect
from instrument.guards.facts import Call, Intervention, Outcome
from instrument.guards.panel import Panel
from instrument.policy import Loops, Policy
from tests.guards.driving import play

_FOUR = Policy(loops=Loops(checkpoint_calls=4))


def _steps(*results: int | None, effect: Effect = Effect.LOOKS, failed: bool = False) -> list[Intervention]:
    panel, acts = Panel(_FOUR), list[Intervention]()
    for number, result in enumerate(results, 1):
        call = Call(number, "c", f"tool_{number}", number, None, effect)
        acts += panel.ran(call, Outcome(result, failed))
    return [i for i in acts if i.guard == "no_progress"]


def test_progress_is_asked_for_after_every_so_many_calls() -> None:
    played = play([tool_call("read", {"file": f"f{n}.txt"}, f"text {n}") for n in range(9)], _FOUR)
    assert played.said() == [("no_progress", "nudge", 4), ("no_progress", "nudge", 8)]
    assert "one sentence" in played.acts[0].advice
    assert play([tool_call("read", {"file": f"f{n}.txt"}, f"text {n}") for n in range(24)]).acts == []


def test_a_run_whose_calls_bring_nothing_new_is_stopped() -> None:
    assert [(i.action, i.turn) for i in _steps(1, 1, 1, 1, 1, 1, 1, 1)] == [("nudge", 4), ("stop", 8)]
    assert [i.action for i in _steps(1, 2, 3, 4, 1, 2, 3, 4)] == ["nudge", "stop"]
    assert [i.action for i in _steps(1, 1, 1, 1, 1, 1, 1, 2)] == ["nudge", "nudge"]


def test_what_is_not_known_may_be_progress_and_a_change_is() -> None:
    assert [i.action for i in _steps(1, 1, 1, 1, 1, 1, 1, None)] == ["nudge", "nudge"]
    assert [i.action for i in _steps(*[1] * 8, effect=Effect.CHANGES)] == ["nudge", "nudge"]
    assert [i.action for i in _steps(*[1] * 8, effect=Effect.CHANGES, failed=True)] == ["nudge", "stop"]


def test_pauses_and_calls_that_never_ran_are_not_counted() -> None:
    assert _steps(*[1] * 12, effect=Effect.WAITS) == []
    panel = Panel(_FOUR)
    for number in range(1, 12):
        assert panel.ran(Call(number, "c", "t", number, None), Outcome(rejected="blocked")) == []


@pytest.mark.parametrize("times", [1, 5])
def test_the_same_call_several_times_in_a_turn_counts_once(times: int) -> None:
    script: list[Entry] = [turn(*[tool_call("read", {"file": f"f{n}.txt"}, f"{n}")] * times) for n in range(5)]
    assert play(script, _FOUR).said() == [("no_progress", "nudge", 4)]
