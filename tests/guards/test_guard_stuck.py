"""Stuck states: the same answer, empty answers, announcements, empty input."""

from __future__ import annotations

import pytest

from analyzer.cases import Case, Entry, says, tool_call, turn, user
from analyzer.detectors.repeated_output.cases import CASES
from instrument.guards.facts import Answer
from instrument.guards.panel import Panel
from instrument.policy import Policy, Stuck
from tests.guards.driving import OBSERVE, play

_THINKING = says("I am going to think about this some more now.")


@pytest.mark.parametrize("case", [c for c in CASES if "gen_ai" in c.only], ids=lambda c: c.name)
def test_speaks_about_the_cases_of_the_detector_and_no_others(case: Case) -> None:
    told = {i.guard for i in play(case.runs()[0].script, OBSERVE).acts}
    assert told & {"repeated_output"} == {f.detector for f in case.expected()} & {"repeated_output"}


def test_the_same_answer_is_nudged_and_then_ends_the_run() -> None:
    assert play([_THINKING] * 9).said() == [("repeated_output", "nudge", 3), ("repeated_output", "stop", 6)]


def test_numbers_in_it_make_no_difference() -> None:
    assert play([says(f"Attempt {n} of many: still trying hard.") for n in range(4)]).said()[0][1:] == ("nudge", 3)


_LOOKS: list[Entry] = [tool_call("look", {"at": word}, word) for word in ("a", "b", "c", "d", "e", "f")]
LEFT_ALONE: dict[str, list[Entry]] = {
    "twice": [_THINKING] * 2,
    "short words": [says("Done.")] * 9,
    "something learned in between": [e for look in _LOOKS for e in (_THINKING, look)],
    "a result that nobody knows": [e for n in range(3) for e in (_THINKING, tool_call("poke", {"n": n}, None))],
    "the user in between": [e for n in range(6) for e in (_THINKING, user(f"And {n}?"))],
    "words around calls": [turn(tool_call("get", {"at": f"d{n}x"}, f"{n}"), text=_THINKING.text) for n in range(9)],
}


@pytest.mark.parametrize("script", LEFT_ALONE.values(), ids=LEFT_ALONE.keys())
def test_is_silent_on(script: list[Entry]) -> None:
    assert play(script).acts == []


def test_a_result_seen_before_teaches_nothing() -> None:
    script = [e for _ in range(3) for e in (tool_call("look", {}, "the same"), _THINKING)]
    assert ("repeated_output", "nudge", 6) in play(script).said()


# --- empty, idle ----------------------------------------------------------------------------------------------------------


def test_empty_answers_are_nudged_and_then_end_the_run() -> None:
    assert play([says("")] * 5).said() == [("empty_response", "nudge", 1), ("empty_response", "stop", 2)]
    late = Policy(stuck=Stuck(empty_answers=4))
    assert [a for _, a, _ in play([says("")] * 5, late).said()] == ["nudge"] * 3 + ["stop"]


@pytest.mark.parametrize("between", [says("Hm."), turn(tool_call("look")), user("Well?")])
def test_words_a_call_or_the_user_begin_anew(between: Entry) -> None:
    assert "stop" not in [a for _, a, _ in play([says(""), between, says("")]).said()]


def test_an_announcement_is_nudged_and_the_next_one_taken_as_it_is() -> None:
    script = [says("I will now run the tests."), says("Next I will read the log."), says("Then I will fix it all.")]
    assert play(script, idle=(1, 2, 3)).said() == [("idle_answer", "nudge", 1)]
    assert play(script, idle=(1, 3)).said() == [("idle_answer", "nudge", 1), ("idle_answer", "nudge", 3)]
    assert play([script[0], user("Yes?"), script[1]], idle=(1, 2)).said()[-1] == ("idle_answer", "nudge", 2)


def test_words_that_come_with_a_call_are_no_announcement() -> None:
    assert play([turn(tool_call("look"), text="I will look.")], idle=(1,)).acts == []


def test_an_answer_of_which_only_the_length_is_known_is_not_empty() -> None:
    assert Panel(Policy()).answered(Answer(1, output_chars=9)) == []


# --- empty input ------------------------------------------------------------------------------------------------------------


def _null(tool: str = "find", value: object = None, result: int = 0) -> Entry:
    return tool_call(tool, {"q": value}, f"{result} found")


def test_empty_input_is_nudged_and_then_ends_the_run() -> None:
    values = [None, "", [], {}, None, ""]
    played = play([_null(value=v, result=n) for n, v in enumerate(values)])
    assert played.said() == [("null_input", "nudge", 3), ("null_input", "stop", 5)]


def test_asking_on_counts_even_where_it_is_blocked() -> None:
    policy = Policy(stuck=Stuck(null_input_calls=5, null_input_error_calls=6))
    assert play([_null()] * 9, policy).said() == [
        ("repeated_call", "nudge", 4),
        ("repeated_call", "block", 5),
        ("null_input", "nudge", 5),
        ("repeated_call", "block", 6),
        ("null_input", "stop", 6),
    ]


@pytest.mark.parametrize("between", [_null(value="refunds"), tool_call("list_files")])
def test_real_input_begins_anew(between: Entry) -> None:
    script = [_null(result=1), _null(result=2), between, _null(result=3), _null(result=4)]
    assert play(script).acts == []


def test_two_tools_are_counted_apart_and_parallel_calls_once() -> None:
    both = [turn(*[_null(t, result=n) for t in ("find", "find", "list")]) for n in range(2)]
    assert play(both).acts == []
