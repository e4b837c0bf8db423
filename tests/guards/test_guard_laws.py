"""Laws of the panel, over scripts made of stretches."""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import fields, is_dataclass, replace
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from analyzer.cases import Call, Entry, User, tool_call, turn
from instrument.guards.facts import Intervention
from instrument.policy import Loops, Policy
from tests.guards.driving import OBSERVE, Played, play
from tests.guards.scripts import calls_of, scripts

_LAW = settings(max_examples=100, deadline=None)
_PATIENT = Policy(guards=OBSERVE.guards, loops=Loops(checkpoint_calls=1000))


@_LAW
@given(scripts(), st.floats(-1e6, 1e6), st.sampled_from([0.5, 4.0, 11.0]), st.booleans())
def test_when_it_happens_does_not_matter(script: list[Entry], shift: float, pace: float, observed: bool) -> None:
    policy = OBSERVE if observed else Policy()
    there = play(script, policy, turn_seconds=pace)
    assert play(script, policy, turn_seconds=pace, start_seconds=round(shift)).acts == there.acts


@_LAW
@given(scripts(), st.integers(2, 4), st.booleans(), st.booleans())
def test_the_same_call_several_times_in_one_turn_counts_once(
    script: list[Entry], times: int, one_by_one: bool, observed: bool
) -> None:
    policy = OBSERVE if observed else Policy()
    more = [_several(entry, times) for entry in script]
    once, often = (play(s, policy, one_by_one=one_by_one) for s in (script, more))
    assert _distinct(once) == _distinct(often)


def _several(entry: Entry, times: int) -> Entry:
    if isinstance(entry, User):
        return entry
    return turn(*[entry] * times) if isinstance(entry, Call) else replace(entry, calls=entry.calls * times)


def _distinct(played: Played) -> list[Intervention]:
    return list(dict.fromkeys(replace(act, call_id=None) for act in played.acts))


@_LAW
@given(scripts(), st.booleans())
def test_what_is_enforced_begins_as_what_is_observed(script: list[Entry], one_by_one: bool) -> None:
    enforced = play(script, one_by_one=one_by_one).acts
    observed = play(script, OBSERVE, one_by_one=one_by_one).acts
    kept = [replace(act, observed=False) for act in observed]
    first_block = next((n for n, act in enumerate(enforced) if act.action != "nudge"), len(enforced) - 1)
    assert enforced[: first_block + 1] == kept[: first_block + 1]
    assert (not enforced) == (not kept)


@_LAW
@given(scripts(), scripts())
def test_a_run_knows_nothing_of_another(first: list[Entry], second: list[Entry]) -> None:
    alone = play(second).acts
    play(first)
    assert play(second).acts == alone


@_LAW
@given(scripts(), st.integers(2, 6))
def test_the_state_does_not_grow_with_what_is_repeated(script: list[Entry], times: int) -> None:
    assume(calls_of(script))
    sizes: list[int] = []
    play(script * times, _PATIENT, each=lambda panel: sizes.append(_size(panel)))
    once = len([e for e in script if not isinstance(e, User)])
    # Twice, for what counts only from one round to the next. Notes of the turn and of the latest calls come and go, four entries each.
    parallel = max(len(e.calls) if hasattr(e, "calls") else 1 for e in script if not isinstance(e, User))
    assert max(sizes) <= max(sizes[: 2 * once]) + 4 * (parallel + _PATIENT.loops.cycle_calls)


def test_the_state_is_a_few_entries_per_distinct_call_however_long_the_run() -> None:
    loop: list[Entry] = [tool_call("a", {}, "1"), tool_call("b", {}, "2"), tool_call("c", {}, "x", error="E")]
    small, large = (play(loop * times, _PATIENT).panel for times in (10, 1000))
    assert _size(small) == _size(large)


def test_a_step_of_a_long_run_costs_what_a_step_of_a_short_one_does() -> None:
    """In calls of functions and lines of Python, counted by the interpreter; times would be at the mercy of the machine."""
    early, late = (_lines_of_last_step(steps) for steps in (51, 5001))
    assert late == early


def _lines_of_last_step(steps: int) -> int:
    lines = 0

    def count(*_: Any) -> Any:
        nonlocal lines
        lines += 1
        return count

    distinct: list[Entry] = [tool_call("read", {"file": f"f{n}.txt"}, f"text {n}") for n in range(steps)]
    last = len(distinct)

    def watch(panel: Any) -> None:
        nonlocal last
        last -= 1
        if last == 1:
            sys.settrace(count)

    before = sys.gettrace()
    try:
        play(distinct, _PATIENT, each=watch)
    finally:
        sys.settrace(before)
    return lines


def _size(value: Any, seen: set[int] | None = None) -> int:
    """Entries of all containers that are reached from `value`."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, (str, int, float, type(None), Policy)):
        return 0
    seen.add(id(value))
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return len(value) + sum(_size(v, seen) for v in value)
    if isinstance(value, dict):
        return len(value) + sum(_size(v, seen) for v in value.values())
    if is_dataclass(value):
        return sum(_size(getattr(value, f.name), seen) for f in fields(value))
    return sum(_size(v, seen) for v in vars(value).values()) if hasattr(value, "__dict__") else 0
