"""The money of one run: held before a call, settled after it, never above the limit. For one process; `instrument.ledger` goes across."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import Final

NANO: Final = 1_000_000_000
"""Money is counted in whole billionths of a dollar, rounded up, so that no sum of halves slips through."""


@dataclass(eq=False, slots=True)
class Hold:
    """Money put aside for one call. Exactly one of `settle` and `release` counts, the first."""

    budget: Budget
    nano: int
    open: bool = True

    def settle(self, usd: float) -> None:
        """The call cost `usd`."""
        self.budget.close(self, nano(usd))

    def release(self) -> None:
        """The call cost nothing."""
        self.budget.close(self, 0)

    def spend(self) -> None:
        """Nobody knows what the call cost: all that was held counts as spent."""
        self.budget.close(self, self.nano)


@dataclass(eq=False, slots=True)
class Budget:
    """What a run may spend. One with a `parent` (the run that started this one) spends its parent's money too."""

    limit_usd: float | None
    parent: Budget | None = None
    spent_nano: int = 0
    held_nano: int = 0
    approved_nano: int | None = None
    """Up to here a person need not be asked; None: nobody ever is."""
    known: bool = True
    """Whether `spent_nano` is what was spent, and not the most that it can be."""
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        if self.parent is not None:
            self._lock = self.parent._lock

    @property
    def root(self) -> Budget:
        """The budget of the outermost run."""
        return self if self.parent is None else self.parent.root

    @property
    def spent_usd(self) -> float:
        """Settled so far, sub-agents included."""
        return self.spent_nano / NANO

    def left_usd(self) -> float | None:
        """What can still be held here and in every run around; None without any limit."""
        with self._lock:
            own = None if self.limit_usd is None else self._limit() - self.spent_nano - self.held_nano
            around = None if self.parent is None else self.parent.left_usd()
        if own is None:
            return around
        return own / NANO if around is None else min(own / NANO, around)

    def hold(self, usd: float) -> Hold | None:
        """Puts `usd` aside, here and in every run around; None, and nothing is put aside, where it does not fit."""
        amount = nano(usd)
        with self._lock:
            chain = self._chain()
            if any(b.limit_usd is not None and b.spent_nano + b.held_nano + amount > b._limit() for b in chain):
                return None
            for budget in chain:
                budget.held_nano += amount
        return Hold(self, amount)

    def spend(self, usd: float) -> None:
        """Counts money for which nothing was held."""
        with self._lock:
            for budget in self._chain():
                budget.spent_nano += nano(usd)

    def unknown(self) -> None:
        """Something was spent, here and so in every run around, and nobody knows how much."""
        with self._lock:
            for budget in self._chain():
                budget.known = False

    def close(self, hold: Hold, spent: int) -> None:
        """Ends a hold; `spent` in billionths of a dollar."""
        with self._lock:
            if not hold.open:
                return
            hold.open = False
            for budget in self._chain():
                budget.held_nano -= hold.nano
                budget.spent_nano += spent

    def needs_review(self, usd: float) -> bool:
        """Whether spending `usd` more would go past what has been approved for the outermost run."""
        root = self.root
        with self._lock:
            return root.approved_nano is not None and root.spent_nano + root.held_nano + nano(usd) > root.approved_nano

    def unasked_usd(self) -> float | None:
        """What can still be spent without asking a person; None where nobody is ever asked."""
        root = self.root
        with self._lock:
            if root.approved_nano is None:
                return None
            return (root.approved_nano - root.spent_nano - root.held_nano) / NANO

    def approve_from(self, usd: float) -> None:
        """A person is to be asked before more than `usd` is spent."""
        self.approved_nano = math.floor(usd * NANO)

    def approve(self, usd: float, step_usd: float) -> None:
        """A person has agreed: the line moves up in steps of `step_usd` until `usd` more fits under it."""
        root = self.root
        with self._lock:
            while self.needs_review(usd):
                assert root.approved_nano is not None
                root.approved_nano += max(1, nano(step_usd))

    def _chain(self) -> list[Budget]:
        return [self, *(self.parent._chain() if self.parent is not None else ())]

    def _limit(self) -> int:
        return math.floor((self.limit_usd or 0.0) * NANO)


def nano(usd: float) -> int:
    """Whole billionths of a dollar, rounded up (a millionth of one is taken for floating-point noise)."""
    return math.ceil(usd * NANO - 1e-6)
