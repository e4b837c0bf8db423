"""`call_cycle`: calls that go round and round."""

from __future__ import annotations

import pytest

from analyzer.cases import Entry, tool_call, turn, user
from instrument.policy import Loops, Policy
from tests.guards.driving import OBSERVE, play

_FREE = Policy(loops=Loops(checkpoint_calls=1000))


def _calls(names: str) -> list[Entry]:
    return [tool_call(name, {}, f"what {name} says") for name in names]


def _first(names: str, policy: Policy = OBSERVE) -> tuple[str, str, int] | None:
    said = play(_calls(names), policy).said()
    return said[0] if said else None


@pytest.mark.parametrize(
    ("names", "turn_noticed"),
    [("ab" * 6, 6), ("abc" * 5, 9), ("xyz" + "ab" * 6, 9), ("aab" * 4, None), ("abcdefgh" * 3, 24), ("abac" * 3, None)],
)
def test_is_noticed_in_the_third_round_whatever_the_period_and_the_prefix(names: str, turn_noticed: int | None) -> None:
    first = next((s for s in play(_calls(names), OBSERVE).said() if s[0] == "call_cycle"), None)
    period = {"aab" * 4: 9, "abac" * 3: 12}
    assert first == ("call_cycle", "nudge", turn_noticed or period[names])


def test_nudges_then_blocks_then_stops_and_no_other_guard_speaks() -> None:
    played = play(_calls("ab" * 9))
    assert played.said() == [
        ("call_cycle", a, t) for a, t in [("nudge", 6), ("block", 7), ("block", 8), ("block", 9), ("stop", 10)]
    ]
    assert [i.value for i in played.acts] == [3, 3, 4, 4, 5]
    assert len(played.ran) == 6


def test_parallel_calls_going_round_are_blocked_together() -> None:
    both = turn(*_calls("ab"))
    for one_by_one in (True, False):
        for policy in (Policy(), OBSERVE):
            played = play([both] * 5, policy, one_by_one=one_by_one)
            assert [(a, t) for _, a, t in played.said()][:5] == [
                ("nudge", 3),
                ("block", 4),
                ("block", 4),
                ("block", 5),
                ("stop", 5),
            ]


LEFT_ALONE: dict[str, list[Entry]] = {
    "two rounds and a half": _calls("abcabcab"),
    "one call alone": _calls("aaa"),
    "results that differ": [
        e for n in range(9) for e in (tool_call("a", {}, f"{n}"), tool_call("b", {}, "the same"), tool_call("c", {}, n))
    ][:9],
    "a longer period than is looked for": _calls("abcdefghi" * 3),
    "edits that differ": [
        e for n in range(9) for e in (tool_call("edit", {"n": n}), tool_call("run_tests", {}, f"{n} failed"))
    ],
    "results that nobody knows": [tool_call(name, {}, None) for name in "ab" * 6],
    "the user in every round": [e for n in range(9) for e in (*_calls("ab"), user(f"Again, the {n}th time."))],
    "a failure in every round": [
        e for n in range(4) for e in (*_calls("ab"), tool_call("c", {}, f"{'xyz'[n % 3]} is bad", error=f"E{n}"))
    ][:8],
}


@pytest.mark.parametrize("script", LEFT_ALONE.values(), ids=LEFT_ALONE.keys())
def test_is_silent_on(script: list[Entry]) -> None:
    assert [i for i in play(script, _FREE).acts if i.guard == "call_cycle"] == []


def test_doing_something_else_ends_it() -> None:
    played = play([*_calls("ababab"), *_calls("xab")])
    assert [s for s in played.said() if s[0] == "call_cycle"] == [("call_cycle", "nudge", 6)]
    assert len(played.ran) == 9


def test_pauses_are_no_part_of_it() -> None:
    paused = [e for call in _calls("ab" * 4) for e in (call, tool_call("sleep", {"seconds": 1}, "slept"))]
    assert play(paused, OBSERVE).said()[0] == ("call_cycle", "nudge", 11)


def test_a_slow_cycle_runs_on_and_is_stopped_at_last() -> None:
    played = play(_calls("ab" * 9), turn_seconds=6.0)
    assert played.said() == [("call_cycle", "nudge", 6), ("call_cycle", "stop", 10)]
    assert len(played.ran) == 10


def test_names_the_calls_that_go_round() -> None:
    (nudge, *_) = play(_calls("abcdefgh" * 3), OBSERVE).acts
    assert nudge.reason.startswith("`a`, `b`, `c`, `d` and 4 more were called in turn")
    assert nudge.value == 3


def test_a_failure_or_the_user_breaks_it() -> None:
    failed = tool_call("c", {}, "bad", error="E")
    for between in (failed, user("Go on, please.")):
        assert [
            i for i in play([*_calls("abab"), between, *_calls("abab")], OBSERVE).acts if i.guard == "call_cycle"
        ] == []


def test_each_call_of_an_observed_cycle_is_spoken_about_once() -> None:
    turns = [i.turn for i in play(_calls("ab" * 7), OBSERVE).acts if i.guard == "call_cycle"]
    assert turns == list(range(6, 15))
