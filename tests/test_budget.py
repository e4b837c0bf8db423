"""The money of one run, in one process."""

from __future__ import annotations

import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrument.budget import NANO, Budget, nano

money = st.floats(0, 0.02)


@given(st.lists(st.tuples(money, money, st.sampled_from(["settle", "release", "spend", "keep"])), max_size=40))
def test_what_is_held_and_spent_is_never_above_the_limit(steps: list[tuple[float, float, str]]) -> None:
    outer = Budget(0.1)
    inner = Budget(0.05, outer)
    for number, (asked, cost, end) in enumerate(steps):
        hold = (inner if number % 2 else outer).hold(asked)
        if hold is not None and end != "keep":
            hold.settle(min(cost, asked)) if end == "settle" else getattr(hold, end)()
        for budget in (inner, outer):
            assert budget.limit_usd is not None
            assert budget.spent_nano + budget.held_nano <= budget.limit_usd * NANO
        left = inner.left_usd()
        assert left is not None
        assert inner.hold(left + 2 / NANO) is None


def test_a_hold_ends_once_and_the_first_end_counts() -> None:
    budget = Budget(1.0)
    hold = budget.hold(0.4)
    assert hold is not None
    assert budget.left_usd() == pytest.approx(0.6)
    hold.settle(0.1)
    hold.spend()
    hold.release()
    assert (budget.spent_usd, budget.held_nano) == (0.1, 0)


def test_what_a_run_inside_spends_is_the_outer_runs_money_too() -> None:
    outer = Budget(1.0)
    inner = Budget(None, Budget(0.7, outer))
    assert inner.left_usd() == pytest.approx(0.7)
    inner.spend(0.5)
    assert (inner.spent_usd, outer.spent_usd, outer.left_usd()) == (0.5, 0.5, 0.5)
    assert inner.hold(0.3) is None
    assert inner.root is outer


def test_that_nobody_knows_what_was_spent_goes_outwards_and_not_inwards() -> None:
    outer = Budget(1.0)
    first, second = Budget(None, outer), Budget(None, outer)
    first.unknown()
    assert (first.known, outer.known, second.known) == (False, False, True)


def test_amounts_are_rounded_up_to_billionths() -> None:
    assert (nano(1e-9), nano(1.1e-9), nano(0.1 + 0.2), nano(0.0)) == (1, 2, 300_000_000, 0)


def test_a_person_is_asked_again_after_each_further_amount() -> None:
    budget = Budget(None)
    assert (budget.needs_review(9.0), budget.unasked_usd()) == (False, None)
    budget.approve_from(0.5)
    inner = Budget(None, budget)
    assert (inner.needs_review(0.5), inner.needs_review(0.6), inner.unasked_usd()) == (False, True, 0.5)
    inner.approve(1.2, 0.5)
    assert budget.unasked_usd() == pytest.approx(1.5)
    inner.spend(1.2)
    assert (inner.needs_review(0.3), inner.needs_review(0.31)) == (False, True)


def test_threads_together_never_hold_more_than_there_is() -> None:
    budget = Budget(1.0)
    left: list[float] = []

    def spend() -> None:
        for _ in range(300):
            hold = budget.hold(random.uniform(0.01, 0.2))
            left.append(budget.left_usd() or 0.0)
            if hold is not None:
                hold.settle(random.uniform(0, 0.002))

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 <= min(left) < 0.5
    assert budget.held_nano == 0
