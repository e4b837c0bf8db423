"""`repeated_call`: when it nudges, blocks and stops, and when it must not."""

from __future__ import annotations

import pytest

from analyzer.cases import Call, Entry, says, tool_call, turn, user
from analyzer.detectors.repeated_call.cases import CASES
from instrument.policy import Loops, Policy
from tests.guards.driving import OBSERVE, play, was_guarded

_SEARCH = tool_call("search", {"q": "refund policy"}, "no results")


def _read(number: int) -> Call:
    return tool_call("read_file", {"path": f"notes/day{number}.md"}, f"notes of day {number}")


def _import(number: int) -> Call:
    return tool_call("edit_file", {"path": "a.py", "insert": "import os"}, f"[a.py has {number + 7} lines]")


LEFT_ALONE: dict[str, list[Entry]] = {
    "three times": [_SEARCH] * 3,
    "six at once": [turn(*[_SEARCH] * 6)],
    "three turns of twins": [turn(_SEARCH, _SEARCH)] * 3,
    "progress in numbers": [tool_call("status", {}, f"{n} of 9") for n in range(9)],
    "one text seven times": [_import(n) for n in range(7)],
    "the same key again": [tool_call("press_key", {"key": "Down"}, f"row {n}") for n in range(12)],
    "pauses alone": [tool_call("sleep", {"seconds": 5}, "slept")] * 12,
    "the same check after each edit": [
        e
        for n in range(8)
        for e in (tool_call("edit", {"n": n}), tool_call("bash", {"command": "make test"}, "passed"))
    ],
    "the next page": [
        e for n in range(8) for e in (tool_call("click", {"on": "next"}), tool_call("screen", {}, f"page {n}"))
    ],
    "an answer that changes every other time": [
        tool_call("queue", {}, "empty" if n // 3 % 2 else "full") for n in range(12)
    ],
    "the user asks again": [e for n in range(6) for e in (user(f"And {n}?"), _SEARCH, says(f"Nothing, try {n}."))],
    "far apart": [e for n in range(4) for e in (_SEARCH, *[_read(n * 10 + k) for k in range(9)])],
    "results that nobody knows": [tool_call("poke", {}, None)] * 9,
}


@pytest.mark.parametrize("script", LEFT_ALONE.values(), ids=LEFT_ALONE.keys())
@pytest.mark.parametrize("one_by_one", [True, False])
def test_is_silent_on(script: list[Entry], one_by_one: bool) -> None:
    policy = Policy(loops=Loops(checkpoint_calls=1000))
    assert play(script, policy, one_by_one=one_by_one).acts == []


@pytest.mark.parametrize("case", [c for c in CASES if "gen_ai" in c.only and not was_guarded(c)], ids=lambda c: c.name)
def test_speaks_about_the_cases_of_the_detector_and_no_others(case: object) -> None:
    expected = {f.detector for f in case.expected()} & {"repeated_call"}
    played = play(list(case.runs()[0].script), OBSERVE)
    told = {i.guard for i in played.acts} & {"repeated_call"}
    hindsight = case.name in {"quiet: polling a build until it changes", "quiet: polling with pauses"}
    assert told == (expected or ({"repeated_call"} if hindsight else set()))


@pytest.mark.parametrize("tool", ["search", "edit_file"])
def test_nudges_then_blocks_then_stops(tool: str) -> None:
    played = play([tool_call(tool, {"q": 1}, "ok")] * 20)
    assert [(a, t) for _, a, t in played.said()] == [("nudge", 4), *[("block", t) for t in (5, 6, 7)], ("stop", 8)]
    assert played.ran == [f"call_{n}_0" for n in range(4)]
    assert [i.value for i in played.acts] == [4, 5, 6, 7, 8]


def test_one_text_written_again_is_a_loop_though_the_file_grows() -> None:
    played = play([_import(n) for n in range(20)])
    blocks = [("block", t) for t in range(9, 16)]
    assert [(a, t) for _, a, t in played.said()] == [("nudge", 8), *blocks, ("stop", 16)]
    assert played.ran == [f"call_{n}_0" for n in range(8)]


def test_a_blocked_call_keeps_the_loop_alive_whatever_else_is_looked_at() -> None:
    played = play([*[_SEARCH] * 4, _read(1), _SEARCH, _read(2), _SEARCH])
    assert played.said() == [("repeated_call", a, t) for a, t in (("nudge", 4), ("block", 6), ("block", 8))]


def test_a_change_lifts_the_block() -> None:
    played = play([*[_SEARCH] * 5, tool_call("edit", {"n": 1}), _SEARCH])
    assert played.said() == [("repeated_call", "nudge", 4), ("repeated_call", "block", 5)]
    assert played.ran[-1] == "call_6_0"


def test_a_change_that_failed_lifts_nothing() -> None:
    failed = tool_call("edit", {"n": 1}, "no such file", error="E")
    assert play([*[_SEARCH] * 4, failed, _SEARCH]).said()[-1] == ("repeated_call", "block", 6)


def test_a_change_asked_for_before_it_in_the_same_turn_lifts_the_block() -> None:
    both = turn(tool_call("edit", {"n": 1}), _SEARCH)
    assert play([*[_SEARCH] * 4, both]).said() == [("repeated_call", "nudge", 4)]


def test_the_user_lifts_the_block() -> None:
    assert play([*[_SEARCH] * 4, user("Look again, please."), *[_SEARCH] * 3]).said() == [("repeated_call", "nudge", 4)]


def test_so_many_turns_later_it_is_another_loop() -> None:
    apart: list[Entry] = [_read(n) for n in range(8)]
    assert play([*[_SEARCH] * 4, *apart, _SEARCH], turn_seconds=1.0).said() == [("repeated_call", "nudge", 4)]
    assert play([*[_SEARCH] * 4, *apart[:7], _SEARCH], turn_seconds=1.0).said()[-1] == ("repeated_call", "block", 12)


def test_a_slow_poll_runs_each_time_and_is_stopped_at_last() -> None:
    played = play([_SEARCH] * 9, turn_seconds=10.0)
    assert [(a, t) for _, a, t in played.said()] == [("nudge", 4), ("stop", 8)]
    assert len(played.ran) == 8


def test_a_slow_poll_that_gets_another_answer_was_progress() -> None:
    done = tool_call("search", {"q": "refund policy"}, "one result")
    played = play([*[_SEARCH] * 6, done, *[done] * 2], turn_seconds=10.0)
    assert played.said() == [("repeated_call", "nudge", 4)]


def test_a_blocked_poll_may_run_once_enough_time_has_passed() -> None:
    played = play([_SEARCH] * 12, turn_seconds=3.0)
    assert [(a, t) for _, a, t in played.said()] == [
        ("nudge", 4),
        ("block", 5),
        ("block", 6),
        ("block", 7),
        ("stop", 8),
    ]
    assert len(played.ran) == 5  # turn 8 comes 12 seconds after turn 4


def test_failures_are_another_guards() -> None:
    failing = tool_call("search", {"q": 1}, "no route", error="Net")
    assert {guard for guard, _, _ in play([failing] * 9).said()} == {"error_cascade"}


def test_what_a_change_itself_brought_to_light_does_not_excuse_repeating_it() -> None:
    edit = tool_call("edit_file", {"path": "a.py"}, "ok")
    refused = tool_call("edit_file", {"path": "a.py"}, "the file is locked", error="Locked")
    assert play([edit, edit, refused, edit, edit]).said() == [("repeated_call", "nudge", 5)]
