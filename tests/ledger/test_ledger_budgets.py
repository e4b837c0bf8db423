"""Reserve, settle, release, renew: the same for both ledgers."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from instrument.ledger import Account, Ledger, Reservation, Spending
from instrument.ledger.money import dollars, limit_nanos, nanos
from tests.ledger.clock import NOON, Clock

DAY = date(2026, 11, 30)
ANN = Account("ann", DAY)


def reserve(ledger: Ledger, usd: float, limit: float = 1.0, hold: float = 60.0, account: Account = ANN) -> Reservation:
    made = ledger.reserve(account, usd, limit_usd=limit, hold_seconds=hold)
    assert made is not None
    return made


def refused(ledger: Ledger, usd: float, limit: float = 1.0, account: Account = ANN) -> bool:
    return ledger.reserve(account, usd, limit_usd=limit, hold_seconds=60.0) is None


def state(ledger: Ledger, account: Account = ANN) -> tuple[float, float]:
    spent = ledger.spent(account)
    return spent.settled_usd, spent.reserved_usd


def test_a_reservation_counts_until_it_is_settled_by_what_was_spent(ledger: Ledger) -> None:
    made = reserve(ledger, 0.6)
    assert (made.account, made.usd) == (ANN, 0.6)
    assert made.expires_at == datetime.fromtimestamp(NOON + 60, UTC)
    assert state(ledger) == (0.0, 0.6)
    ledger.settle(made, 0.2)
    assert state(ledger) == (0.2, 0.0)


def test_the_limit_may_be_reached_and_not_passed(ledger: Ledger) -> None:
    reserve(ledger, 0.7)
    assert refused(ledger, 0.300_000_001)
    reserve(ledger, 0.3)
    assert refused(ledger, 0.000_000_001)
    assert state(ledger) == (0.0, 1.0)


def test_ten_dimes_are_a_dollar(ledger: Ledger) -> None:
    for _ in range(10):  # as floats they are 0.9999999999999999, and 0.1 + 0.2 is more than 0.3
        ledger.settle(reserve(ledger, 0.1), 0.1)
    assert ledger.spent(ANN) == Spending(1_000_000_000, 0)
    assert refused(ledger, 1e-9)


def test_what_was_released_is_free_again(ledger: Ledger) -> None:
    made = reserve(ledger, 1.0)
    ledger.release(made)
    ledger.release(made)
    assert state(ledger) == (0.0, 0.0)
    reserve(ledger, 1.0)


def test_settling_twice_counts_once_and_the_first_amount_stands(ledger: Ledger) -> None:
    made = reserve(ledger, 0.5)
    ledger.settle(made, 0.4)
    ledger.settle(made, 0.1)
    assert state(ledger) == (0.4, 0.0)


@pytest.mark.parametrize("release_first", [True, False])
def test_money_that_was_spent_counts_whatever_is_said_about_its_hold(ledger: Ledger, release_first: bool) -> None:
    made = reserve(ledger, 0.5)
    if release_first:
        ledger.release(made)
    ledger.settle(made, 0.5)
    ledger.release(made)
    assert state(ledger) == (0.5, 0.0)


def test_more_than_was_reserved_is_recorded_and_closes_the_account(ledger: Ledger) -> None:
    ledger.settle(reserve(ledger, 0.5), 3.25)
    assert state(ledger) == (3.25, 0.0)
    assert refused(ledger, 0.0)
    reserve(ledger, 1.0, limit=4.25)


def test_a_hold_ends_by_itself(ledger: Ledger, clock: Clock) -> None:
    reserve(ledger, 1.0, hold=60)
    clock.now += 59.9
    assert refused(ledger, 0.1)
    clock.now += 0.1
    assert state(ledger) == (0.0, 0.0)
    reserve(ledger, 1.0)
    assert state(ledger) == (0.0, 1.0)


@pytest.mark.parametrize("removed", [False, True])
def test_a_call_that_outlived_its_hold_is_settled_all_the_same(ledger: Ledger, clock: Clock, removed: bool) -> None:
    late = reserve(ledger, 1.0, hold=60)
    clock.now += 61
    if removed:  # whoever reserves next removes it
        reserve(ledger, 1.0)
    ledger.settle(late, 0.75)
    ledger.settle(late, 0.75)
    assert state(ledger) == (0.75, 1.0 if removed else 0.0)


def test_a_renewed_hold_lives_on_and_is_never_shortened(ledger: Ledger, clock: Clock) -> None:
    made = reserve(ledger, 1.0, hold=60)
    clock.now += 50
    assert ledger.renew(made, 60)
    clock.now += 50
    assert ledger.renew(made, 1)
    clock.now += 5
    assert refused(ledger, 0.1)
    clock.now += 5
    assert not refused(ledger, 0.1)


def test_what_is_no_longer_held_is_not_renewed(ledger: Ledger, clock: Clock) -> None:
    expired, settled, released = (reserve(ledger, 0.1, hold=60) for _ in range(3))
    ledger.settle(settled, 0.1)
    ledger.release(released)
    clock.now += 60
    assert [ledger.renew(made, 60) for made in (expired, settled, released)] == [False, False, False]
    assert state(ledger) == (0.1, 0.0)


def test_users_and_days_do_not_share(ledger: Ledger) -> None:
    reserve(ledger, 1.0)
    for other in (Account("bob", DAY), Account("ann", date(2026, 12, 1)), Account("", DAY)):
        assert state(ledger, other) == (0.0, 0.0)
        reserve(ledger, 1.0, account=other)


def test_a_call_over_midnight_stays_with_the_day_on_which_it_began(ledger: Ledger, clock: Clock) -> None:
    clock.now = NOON + 12 * 3600 - 1
    before = ledger.account("ann")
    made = reserve(ledger, 0.8, account=before)
    clock.now += 2
    after = ledger.account("ann")
    assert (before.day, after.day) == (date(2026, 11, 30), date(2026, 12, 1))
    assert state(ledger, after) == (0.0, 0.0)
    ledger.settle(made, 0.5)
    assert state(ledger, before) == (0.5, 0.0)
    assert state(ledger, after) == (0.0, 0.0)


@pytest.mark.parametrize("user", ["a}b{c", "{}", "a:b:c", "'; DROP TABLE holds; --", "\x00\n", "\ud800", "é" * 5000])
def test_any_text_is_a_user(ledger: Ledger, user: str) -> None:
    account = ledger.account(user)
    ledger.settle(reserve(ledger, 0.5, account=account), 0.5)
    reserve(ledger, 0.5, account=account)
    assert state(ledger, ledger.account(user)) == (0.5, 0.5)
    assert state(ledger, ledger.account(user + "}")) == (0.0, 0.0)


@pytest.mark.parametrize("usd", [-0.01, float("nan"), float("inf"), 1.1e9])
def test_what_is_no_amount_is_refused_with_its_value(ledger: Ledger, usd: float) -> None:
    with pytest.raises(ValueError, match="no amount of US dollars"):
        ledger.reserve(ANN, usd, limit_usd=1.0, hold_seconds=1.0)
    with pytest.raises(ValueError, match="no amount of US dollars"):
        ledger.settle(reserve(ledger, 0.5), usd)
    assert state(ledger) == (0.0, 0.5)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_hold_without_an_end_is_refused(ledger: Ledger, seconds: float) -> None:
    with pytest.raises(ValueError, match="hold_seconds"):
        ledger.reserve(ANN, 0.1, limit_usd=1.0, hold_seconds=seconds)


def test_amounts_are_exact_where_doubles_are_not(ledger: Ledger) -> None:
    made = reserve(ledger, 9_500_000.0, limit=1e9)
    ledger.settle(made, 9_500_000.0)
    for _ in range(3):
        ledger.settle(reserve(ledger, 1.0, limit=1e9), 0.000_000_001)
    assert ledger.spent(ANN).settled_nanos == 9_500_000 * 10**9 + 3


def test_fractions_of_a_nano_dollar_never_make_more_room() -> None:
    assert (nanos(1.1e-9), limit_nanos(1.9e-9)) == (2, 1)
    assert (nanos(0.1), nanos(0.3), nanos(1e9)) == (100_000_000, 300_000_000, 10**18)
    assert dollars(nanos(12.34)) == 12.34


def test_a_ledger_that_was_closed_opens_again(ledger: Ledger) -> None:
    reserve(ledger, 0.5)
    ledger.close()
    ledger.close()
    assert state(ledger) == (0.0, 0.5)
