"""Any order of reserving, settling, releasing, renewing and waiting, beside a model of twenty lines."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from instrument.ledger import Ledger, RedisLedger, Reservation, SqliteLedger
from instrument.ledger.money import limit_nanos, nanos
from tests.ledger.clock import Clock

LIMIT = 1.0
amounts = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.7, 1.0, 1e-9]) | st.floats(0, 1.1)
waits = st.sampled_from([1.0, 10.0, 60.0])
users = st.sampled_from(["ann", "bob"])


@dataclass
class Model:
    """One account as it should be, in nano-dollars."""

    settled: int = 0
    uncovered: int = 0
    """Settled beyond what was held at that moment: no ledger can keep that below the limit."""
    holds: dict[str, tuple[int, float]] = field(default_factory=dict)

    def reserved(self, now: float) -> int:
        return sum(amount for amount, ends in self.holds.values() if ends > now)


class Budgets(RuleBasedStateMachine):
    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        super().__init__()
        self.ledger, self.clock = ledger, clock
        self.accounts = {user: ledger.account(user) for user in ("ann", "bob")}
        self.models = {user: Model() for user in self.accounts}
        self.done: set[str] = set()

    made = Bundle("made")

    @rule(target=made, user=users, usd=amounts, hold=waits)
    def reserve(self, user: str, usd: float, hold: float) -> Reservation | None:
        model, now = self.models[user], self.clock.now
        fits = model.settled + model.reserved(now) + nanos(usd) <= limit_nanos(LIMIT)
        got = self.ledger.reserve(self.accounts[user], usd, limit_usd=LIMIT, hold_seconds=hold)
        assert (got is not None) == fits
        if got is not None:
            model.holds[got.reservation_id] = (got.nanos, now + hold)
        return got

    @rule(reservation=made, usd=amounts)
    def settle(self, reservation: Reservation | None, usd: float) -> None:
        if reservation is None:
            return
        self.ledger.settle(reservation, usd)
        model, own = self.models[reservation.account.user_id], reservation.reservation_id
        held, ends = model.holds.pop(own, (0, 0.0))
        if own not in self.done:
            self.done.add(own)
            model.settled += nanos(usd)
            model.uncovered += max(0, nanos(usd) - (held if ends > self.clock.now else 0))

    @rule(reservation=made)
    def release(self, reservation: Reservation | None) -> None:
        if reservation is not None:
            self.ledger.release(reservation)
            self.models[reservation.account.user_id].holds.pop(reservation.reservation_id, None)

    @rule(reservation=made, hold=waits)
    def renew(self, reservation: Reservation | None, hold: float) -> None:
        if reservation is None:
            return
        holds, own, now = self.models[reservation.account.user_id].holds, reservation.reservation_id, self.clock.now
        alive = own in holds and holds[own][1] > now
        assert self.ledger.renew(reservation, hold) == alive
        if alive:
            holds[own] = (holds[own][0], max(holds[own][1], now + hold))

    @rule(seconds=waits)
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def the_ledger_says_what_the_model_says(self) -> None:
        for user, model in self.models.items():
            spent = self.ledger.spent(self.accounts[user])
            assert (spent.settled_nanos, spent.reserved_nanos) == (model.settled, model.reserved(self.clock.now))
            assert spent.settled_nanos + spent.reserved_nanos <= limit_nanos(LIMIT) + model.uncovered

    def teardown(self) -> None:
        self.ledger.close()


def run(make: Callable[[str, Clock], Ledger]) -> None:
    numbers = itertools.count()

    def machine() -> Budgets:
        clock = Clock()
        return Budgets(make(f"l{next(numbers)}", clock), clock)

    limits = settings(max_examples=120, stateful_step_count=25, deadline=None)
    run_state_machine_as_test(machine, settings=limits)  # type: ignore[arg-type]


def test_a_file_agrees_with_the_model(tmp_path: Path) -> None:
    run(lambda name, clock: SqliteLedger(tmp_path / name, clock=clock))


def test_a_server_agrees_with_the_model(redis_address: str, tmp_path: Path) -> None:
    import redis

    with closing(redis.Redis.from_url(redis_address)) as client:
        run(lambda name, clock: RedisLedger(client, prefix=f"{tmp_path}/{name}", clock=clock))
