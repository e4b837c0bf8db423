"""The panel as a whole: modes, precedence, and what it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from analyzer.cases import Entry, says, tool_call
from instrument.guards.facts import Action, Call, Outcome
from instrument.guards.panel import Panel
from instrument.guards.wording import clean, listed, quoted
from instrument.policy import Guards, Loops, Policy
from tests.guards.driving import OBSERVE, play

_OFF = Policy(guards=Guards(mode="off"))
_LOOP: list[Entry] = [tool_call("search", {"q": "refunds"}, "no results")] * 12


def test_off_means_off() -> None:
    script: list[Entry] = [*_LOOP, *[tool_call("x", {}, "bad", error="E")] * 9, *[says("")] * 9]
    assert play(script, _OFF).acts == []


def test_observed_acts_are_marked_and_everything_runs() -> None:
    played = play(_LOOP, OBSERVE)
    assert len(played.ran) == 12
    assert [(i.action, i.turn, i.value) for i in played.acts] == [
        ("nudge", 4, 4),
        *[("block", n, n) for n in (5, 6, 7)],
        # A run would have ended at the first of these.
        *[("stop", n, n) for n in (8, 9, 10, 11, 12)],
    ]
    assert all(i.observed for i in played.acts)


def test_each_act_names_its_call() -> None:
    for policy in (Policy(), OBSERVE):
        for act in play(_LOOP, policy).acts:
            assert (act.tool, act.call_id) == ("search", f"call_{act.turn - 1}_0")


def test_parallel_twins_get_one_verdict_each_with_its_own_id() -> None:
    panel = Panel(Policy(loops=Loops(same_call_repeats=1)))
    panel.ran(Call(1, "first", "search", 7, None), Outcome(1, False))
    verdicts = [panel.asked(Call(2, name, "search", 7, None, at_seconds=1.0)) for name in ("a", "b")]
    assert [v and (v.action, v.call_id, v.value) for v in verdicts] == [("block", "a", 2), ("block", "b", 2)]


def test_what_is_observed_counts_the_calls_that_ran() -> None:
    """A call that would have been refused and answers something new has ended its loop."""
    script: list[Entry] = [*_LOOP[:5], tool_call("search", {"q": "refunds"}, "one result"), *_LOOP[:3]]
    assert [(i.action, i.turn) for i in play(script, OBSERVE).acts] == [("nudge", 4), ("block", 5), ("block", 6)]


def test_a_stop_comes_before_a_nudge() -> None:
    policy = Policy(loops=Loops(same_call_repeats=1, same_call_error_repeats=1, checkpoint_calls=1))
    acts = Panel(policy).ran(Call(1, "c", "search", 7, None), Outcome(1, False))
    assert [(i.guard, i.action) for i in acts] == [("repeated_call", "stop"), ("no_progress", "nudge")]


def test_a_threshold_above_its_limit_stops_at_the_threshold() -> None:
    policy = Policy(loops=Loops(same_call_repeats=3, same_call_error_repeats=1))
    assert play(_LOOP, policy).said() == [("repeated_call", "stop", 3)]


def test_a_call_of_which_nothing_is_known_is_left_alone() -> None:
    panel = Panel(Policy())
    for turn in range(1, 25):
        call = Call(turn, "c", "poke", None, None)
        assert panel.asked(call) is None
        assert panel.ran(call, Outcome()) == []


@pytest.mark.parametrize(
    "name", ["", "\x00\x1b[2J", "`" * 500, "a\nb", "\u202e\u2066", "x" * 100_000, "\ud800", "{0} %s </tool>"]
)
def test_names_from_the_model_do_no_harm(name: str) -> None:
    panel = Panel(Policy())
    for turn in range(1, 9):
        call = Call(turn, "c", name, 7, 7)
        verdict = panel.asked(call)
        for act in [verdict] if verdict else panel.ran(call, Outcome(1, True, name * 2)):
            for text in (act.reason, act.advice, act.tool or ""):
                assert text.isprintable()
                assert len(text) < 1_000
            assert len(act.tool or "") <= 80


def test_wording() -> None:
    assert clean("a\t b\n\x00c", 10) == "a b c"
    assert clean("x" * 99, 5) == "xxxx…"
    assert quoted("a`b") == "`ab`"
    assert [listed("a"), listed("aab"), listed("abcdef"), listed("abc", "or")] == [
        "`a`",
        "`a` and `b`",
        "`a`, `b`, `c`, `d` and 2 more",
        "`a`, `b` or `c`",
    ]


def test_the_ladder_is_in_order() -> None:
    for policy in (Policy(), OBSERVE):
        actions = [i.action for i in play(_LOOP, policy).acts]
        assert actions == sorted(actions, key=[Action.NUDGE, Action.BLOCK, Action.STOP].index)


def test_guards_know_nothing_of_the_analyzer() -> None:
    code = "import sys, instrument.guards.panel; print([m for m in sys.modules if m.split('.')[0] in ('analyzer', 'polars', 'duckdb')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
