"""`error_cascade` and its breaker."""

from __future__ import annotations

import pytest

from analyzer.cases import Call, Case, Entry, tool_call, turn
from analyzer.detectors.error_cascade.cases import CASES
from instrument.guards.facts import Call as Asked
from instrument.guards.facts import Intervention, Outcome
from instrument.guards.panel import Panel
from instrument.policy import Policy, ToolErrors
from tests.guards.driving import OBSERVE, play, was_guarded


def _missing(number: int) -> Call:
    return tool_call(
        "read_file", {"path": f"/src/f{number}.py"}, f"File '/src/f{number}.py' not found", error="Missing"
    )


def _fetch(error: str | None = "Timeout") -> Call:
    return tool_call("fetch", {"url": "http://x"}, "timed out" if error else "hello", error=error)


def _other(number: int) -> Call:
    return tool_call("ls", {"dir": f"d{number}"}, f"file {number}")


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.name != "the model itself" and not was_guarded(c)], ids=lambda c: c.name
)
def test_speaks_about_the_cases_of_the_detector_and_no_others(case: Case) -> None:
    told = {i.guard for i in play(case.runs()[0].script, OBSERVE).acts}
    assert told == {f.detector for f in case.expected()}


def _acts(script: list[Entry], pace: float = 2.0) -> list[tuple[str, int]]:
    return [(a, t) for _, a, t in play(script, turn_seconds=pace).said()]


# --- failures that may pass ---------------------------------------------------------------------------------------------


def test_a_tool_that_times_out_is_refused_for_a_while() -> None:
    assert _acts([_fetch()] * 9) == [("nudge", 3), ("block", 4), ("block", 5), ("stop", 6)]


def test_other_arguments_do_not_help_while_the_breaker_is_open() -> None:
    varied: list[Entry] = [tool_call("fetch", {"n": n}, "timed out", error="Timeout") for n in range(9)]
    assert _acts(varied)[1] == ("block", 4)


def test_after_the_pause_one_call_may_try_and_a_success_closes_the_breaker() -> None:
    script: list[Entry] = [*[_fetch()] * 4, _other(1), turn(_fetch(None), tool_call("fetch", {"url": "http://y"}, "y"))]
    played = play(script, turn_seconds=15.0)
    assert [(a, t) for _, a, t in played.said()] == [("nudge", 3), ("block", 4), ("block", 6)]
    assert played.ran[-1] == "call_5_0"
    assert play([*script, *[_fetch(None)] * 2], turn_seconds=15.0).ran[-2:] == ["call_6_0", "call_7_0"]


def test_a_breaker_that_closed_stays_closed_after_one_more_failure() -> None:
    script = [*[_fetch()] * 3, _other(1), _fetch(None), _fetch(), _fetch(None)]
    played = play(script, turn_seconds=15.0)
    assert played.said() == [("error_cascade", "nudge", 3)]
    assert played.ran[-1] == "call_6_0"


def test_an_observed_refusal_is_no_failure() -> None:
    other = tool_call("read_file", {"path": "/src/f1.py"}, "disk on fire", error="Disk")
    acts = play([*[_missing(1)] * 3, other, _missing(1), _missing(1)], OBSERVE).acts
    assert [(i.action, i.turn, i.value) for i in acts if i.setting == "tool_errors.same_failure_calls"] == [
        ("nudge", 3, 3),
        ("block", 4, 4),
        ("block", 6, 5),
    ]


def test_a_failed_try_opens_the_breaker_again() -> None:
    script = [_fetch(), _fetch(), _fetch(), _other(1), _fetch(), _fetch(None)]
    played = play(script, turn_seconds=15.0)
    assert [(a, t) for _, a, t in played.said()] == [("nudge", 3), ("block", 6)]
    assert "call_5_0" not in played.ran


def test_the_pause_begins_when_the_failure_came_back() -> None:
    panel, acts = Panel(Policy()), list[Intervention]()
    for number, asked in enumerate((0.0, 200.0, 400.0), 1):
        call = Asked(number, "c", "fetch", 1, 1, at_seconds=asked)
        assert panel.asked(call) is None
        acts += panel.ran(call, Outcome(2, True, "Timeout", temporary=True, at_seconds=asked + 120))
    assert [i.action for i in acts] == ["nudge"]
    soon, later = (panel.asked(Asked(4, "c", "fetch", key, 1, at_seconds=at)) for key, at in ((5, 549.0), (6, 550.0)))
    assert soon is not None
    assert soon.action == "block"
    assert later is None


# --- failures that stay -------------------------------------------------------------------------------------------------


def test_a_call_that_failed_so_before_is_refused_and_others_may_try() -> None:
    script = [*[_missing(n) for n in range(3)], _missing(1), _missing(7), _missing(8)]
    assert _acts(list(script)) == [("nudge", 3), ("block", 4), ("stop", 6)]
    assert play(list(script)).ran == [f"call_{n}_0" for n in (0, 1, 2, 4, 5)]


def test_the_same_call_may_run_again_once_something_was_changed() -> None:
    test, edit = tool_call("run_tests", {}, "FAILED", error="Failed"), tool_call("edit", {"n": 1})
    played = play([test, test, test, test, edit, test])
    assert [(a, t) for _, a, t in played.said()] == [("nudge", 3), ("block", 4)]
    assert "call_3_0" not in played.ran
    assert "call_5_0" in played.ran


def test_a_success_of_the_tool_begins_anew() -> None:
    good = tool_call("read_file", {"path": "/src/good.py"}, "text")
    assert _acts([*[_missing(n) for n in range(3)], good, _missing(1), _missing(2)]) == [("nudge", 3)]


def test_tests_that_fail_on_less_each_time_are_progress() -> None:
    script: list[Entry] = [
        e for n in range(9) for e in (tool_call("edit", {"n": n}), tool_call("run_tests", {}, f"FAILED ({9 - n})"))
    ]
    assert _acts(script) == []


def test_another_failing_answer_without_anything_done_is_none() -> None:
    assert _acts([tool_call("run_tests", {}, f"FAILED ({9 - n})") for n in range(9)])[0] == ("nudge", 3)


def test_what_nobody_knows_to_have_failed_neither_counts_nor_helps() -> None:
    panel, acts = Panel(Policy()), list[Intervention]()
    for number, failed in enumerate((True, None, True, None, True), 1):
        kind = "E" if failed else None
        acts += panel.ran(Asked(number, "c", "t", number, None), Outcome(number, failed, kind))
    assert [(i.action, i.turn) for i in acts] == [("nudge", 5)]


@pytest.mark.parametrize("rejected", ["unknown_tool", "invalid_arguments", "blocked"])
def test_what_was_rejected_is_no_failure(rejected: str) -> None:
    panel = Panel(Policy())
    for number in range(1, 9):
        call = Asked(number, "c", "t", number, None)
        assert panel.ran(call, Outcome(None, True, "E", rejected=rejected)) == []


def test_what_failed_before_a_success_is_not_refused_after_it() -> None:
    good = tool_call("read_file", {"path": "/src/good.py"}, "text")
    script: list[Entry] = [*[_missing(n) for n in range(3)], good, *[_missing(n) for n in range(7, 10)], _missing(1)]
    assert [(a, t) for _, a, t in play(script).said()] == [("nudge", 3), ("nudge", 7)]


def test_a_change_asked_for_before_it_in_the_same_turn_lifts_the_refusal() -> None:
    test, edit = tool_call("run_tests", {}, "FAILED", error="Failed"), tool_call("edit", {"n": 1})
    assert play([test, test, test, turn(edit, test)]).said() == [("error_cascade", "nudge", 3)]
    assert play([test, test, test, turn(test, edit)]).said()[1:] == [("error_cascade", "block", 4)]


def test_a_breaker_is_closed_by_progress() -> None:
    def tests(failures: int) -> Call:
        return tool_call("run_tests", {}, f"{failures} timed out", error="Timeout")

    script: list[Entry] = [
        *[tests(9)] * 3,
        *[tool_call("ls", {"n": f"d{n}"}, f"{n}") for n in range(6)],
        tests(8),
        tests(8),
    ]
    assert play(script, turn_seconds=6.0).said() == [("error_cascade", "nudge", 3)]


def test_failures_in_a_row_stop_no_earlier_than_a_turn_after_the_nudge() -> None:
    script: list[Entry] = [tool_call(t, {}, f"{t} broke", error="Error") for t in "abcdefgh"]
    late = play(script, Policy(tool_errors=ToolErrors(failed_calls=6)))
    assert [(a, t) for _, a, t in late.said()] == [("nudge", 6), ("stop", 7)]
    assert late.acts[-1].threshold == 7


# --- whatever fails -----------------------------------------------------------------------------------------------------


def test_failures_of_many_tools_in_a_row() -> None:
    script: list[Entry] = [tool_call(t, {}, f"{t} broke", error="Error") for t in "abcdefgh"]
    assert _acts(script) == [("nudge", 5), ("stop", 6)]
    assert _acts([*script[:4], _other(1), *script[4:]]) == []


def test_many_failures_of_one_turn_count_once() -> None:
    assert _acts([turn(*[_missing(n) for n in range(9)])] * 2) == []


def test_the_advice_does_not_invite_the_same_call_again() -> None:
    (nudge,) = play([_missing(n) for n in range(3)]).acts
    assert "will fail again" in nudge.advice
    assert nudge.reason == (
        "`read_file` failed the same way in 3 turns (“Missing: file … not found”), with no success in between."
    )
