"""`near_repeat`: the same question in other words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analyzer.cases import Call as Asked
from analyzer.cases import Entry, tool_call, turn, user
from instrument.effects import Effect
from instrument.guards.facts import Call, Intervention, Outcome
from instrument.guards.panel import Panel
from instrument.policy import Loops, Policy
from tests.guards.driving import OBSERVE, play


def _ask(number: int, result: str = "no results", tool: str = "search") -> Asked:
    return tool_call(tool, {"q": "refunds", "nonce": number}, result)


def _changing() -> Entry:
    return tool_call("edit", {"file": "a.py"}, "edited")


def test_nudges_then_blocks_then_stops() -> None:
    played = play([_ask(n) for n in range(20)], turn_seconds=1.0)
    assert played.said() == [
        ("near_repeat", a, t) for a, t in [("nudge", 5), *[("block", t) for t in range(6, 10)], ("stop", 10)]
    ]
    assert len(played.ran) == 5


LEFT_ALONE: dict[str, list[Entry]] = {
    "four times": [_ask(n) for n in range(4)],
    "results that differ": [_ask(n, f"result {n}") for n in range(9)],
    "pauses": [_ask(n, "slept", "sleep") for n in range(9)],
    "changes": [_ask(n, "sent", "send_mail") for n in range(9)],
    "a change in between": [e for n in range(3) for e in (_ask(2 * n), _ask(2 * n + 1), _changing())],
    "the user in between": [e for n in range(4) for e in (_ask(2 * n), _ask(2 * n + 1), user(f"And {n}?"))],
    "failures": [tool_call("search", {"q": "x", "nonce": n}, "bad", error="E") for n in range(2)],
    "results that nobody knows": [_ask(n, None) for n in range(9)],
    "a batch of files": [tool_call("is_safe", {"file": f"report-{n}.pdf"}, True) for n in range(12)],
}


@pytest.mark.parametrize("script", LEFT_ALONE.values(), ids=LEFT_ALONE.keys())
def test_is_silent_on(script: list[Entry]) -> None:
    assert play(script).acts == []


def test_the_same_words_each_time_are_a_repeated_call() -> None:
    same = [tool_call("search", {"q": "refunds"}, "no results")] * 9
    assert {guard for guard, _, _ in play(same, OBSERVE).said()} == {"repeated_call"}


def test_questions_far_apart_are_two() -> None:
    others: list[Entry] = [tool_call("read", {"file": f"{w}.md"}, w) for w in "abcdefghi"]
    script = [e for n in range(6) for e in (_ask(n), *others)]
    assert [i for i in play(script).acts if i.guard == "near_repeat"] == []


def test_a_slow_poll_with_a_nonce_runs_each_time_and_is_stopped_at_last() -> None:
    played = play([_ask(n) for n in range(20)], turn_seconds=10.0)
    assert [(a, t) for _, a, t in played.said()] == [("nudge", 5), ("stop", 10)]


def _drive(calls: list[Call]) -> list[Intervention]:
    panel, acts = Panel(Policy(loops=Loops(near_repeats=2, near_error_repeats=9))), []
    for call in calls:
        verdict = panel.asked(call)
        acts += [verdict] if verdict else panel.ran(call, Outcome(result_key=7, failed=False))
    return acts


def test_keys_that_are_not_known_are_never_the_same() -> None:
    call = Call(1, "c", "search", 1, 9)
    known = [replace(call, turn=n, call_key=n) for n in (1, 2, 3)]
    assert [i.action for i in _drive(known)] == ["nudge", "block"]
    assert _drive([replace(c, loose_call_key=None) for c in known]) == []
    assert _drive([replace(c, effect=Effect.CHANGES) for c in known]) == []


def test_the_other_calls_of_the_turn_that_was_nudged_still_run() -> None:
    script = [*[_ask(n) for n in range(4)], turn(_ask(4), _ask(5)), _ask(6)]
    for one_by_one in (True, False):
        played = play(script, turn_seconds=1.0, one_by_one=one_by_one)
        assert played.said() == [("near_repeat", "nudge", 5), ("near_repeat", "block", 6)]


def test_two_refusals_of_one_turn_are_one_repeat() -> None:
    played = play([*[_ask(n) for n in range(5)], turn(_ask(5), _ask(6)), _ask(7)], turn_seconds=1.0)
    assert [(i.action, i.value) for i in played.acts] == [("nudge", 5), ("block", 6), ("block", 6), ("block", 7)]
