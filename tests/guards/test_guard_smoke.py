"""The sixteen small traces on which trace analysers commonly fail, played to the guards."""

from __future__ import annotations

import pytest

from analyzer.cases import Case, Entry, tool_call
from tests.detectors import test_smoke as smoke
from tests.guards.driving import OBSERVE, play

CASES: list[Case] = [*smoke.HEALTHY, *smoke.FAILING, *getattr(smoke, "LATER", [])]
FIRST = {
    "L1": ("repeated_call", "nudge", 4),
    "L2": ("error_cascade", "nudge", 3),
    "L3": ("call_cycle", "nudge", 8),
    "L4": ("call_cycle", "nudge", 9),
    "L5": ("repeated_call", "nudge", 7),
    "L6": ("error_cascade", "nudge", 3),
    "L7": ("repeated_call", "nudge", 4),
    "L8": ("near_repeat", "nudge", 5),
    "L9": ("unknown_tool", "block", 2),
    "L10": ("repeated_call", "nudge", 4),
}
"""The first thing that must be done about each of the ten: by which guard, and in which turn."""


def _script(case: Case) -> list[Entry]:
    return list(case.runs()[0].script)


def test_there_are_sixteen() -> None:
    assert sorted(c.name.split(":")[0] for c in CASES) == sorted([*FIRST, *(f"N{n}" for n in range(1, 7))])


@pytest.mark.parametrize("mode", ["enforce", "observe"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_six_are_left_alone_and_ten_are_noticed_by_the_right_guard(case: Case, mode: str) -> None:
    played = play(_script(case), OBSERVE if mode == "observe" else None)
    expected = FIRST.get(case.name.split(":")[0])
    assert played.said()[:1] == ([expected] if expected else [])
    assert {guard for guard, _, _ in played.said()} == ({expected[0]} if expected else set())


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_observing_lets_everything_run_that_exists(case: Case) -> None:
    script = _script(case)
    declared = sum(c.declared for e in case.runs()[0].script for c in getattr(e, "calls", (e,)))
    played = play(script, OBSERVE)
    assert len(played.ran) == declared
    assert all(i.observed for i in played.acts if i.guard != "unknown_tool" or i.action != "block")


def test_a_loop_of_a_hundred_calls_runs_four_times() -> None:
    played = play([tool_call("search", {"q": "refunds"}, "no results")] * 100)
    assert played.said() == [
        ("repeated_call", "nudge", 4),
        ("repeated_call", "block", 5),
        ("repeated_call", "block", 6),
        ("repeated_call", "block", 7),
        ("repeated_call", "stop", 8),
    ]
    assert len(played.ran) == 4
    assert played.stopped is not None
    assert (played.stopped.setting, played.stopped.value, played.stopped.threshold) == (
        "loops.same_call_error_repeats",
        8,
        8,
    )
