"""What every ledger can do, and the values it deals in. Times are UTC."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final, Literal, Protocol, runtime_checkable

from instrument.ledger.money import dollars

Decision = Literal["approved", "denied", "timed_out"]

PROMPT_CHARS: Final = 2000
"""A review shows so much of the prompt: enough to judge by, small enough for a queue."""
KEEP_ACCOUNT_DAYS: Final = 8
"""How long a day's account is kept: a call that outlives midnight, or a week of looking back, still finds it."""
KEEP_REVIEW_DAYS: Final = 90
"""How long an answered review is kept, with the state of its run. One that waits for an answer is never removed."""


@dataclass(frozen=True, slots=True)
class Account:
    """What one user spends in one UTC day."""

    user_id: str
    day: date

    def __post_init__(self) -> None:
        object.__setattr__(self, "user_id", storable(self.user_id))


@dataclass(frozen=True, slots=True)
class Reservation:
    """Money held for a call that is about to be made. It stays with the account's day, also when settled after midnight."""

    reservation_id: str
    account: Account
    nanos: int
    """Nano-dollars."""
    expires_at: datetime
    """When the hold ends by itself, unless it is renewed."""

    @property
    def usd(self) -> float:
        """The amount in US dollars."""
        return dollars(self.nanos)


@dataclass(frozen=True, slots=True)
class Spending:
    """The state of an account, in nano-dollars, so that it can be added up exactly; in US dollars to show."""

    settled_nanos: int
    reserved_nanos: int
    """By calls that run now; reservations that have expired are not in it."""

    @property
    def settled_usd(self) -> float:
        """What was spent, in US dollars."""
        return dollars(self.settled_nanos)

    @property
    def reserved_usd(self) -> float:
        """What is held for calls that run now, in US dollars."""
        return dollars(self.reserved_nanos)


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A question to a person: may this run go on spending?"""

    review_id: str
    run_id: str
    agent_name: str
    user_id: str | None
    model: str
    reason: str
    """Why it is asked, one sentence."""
    spent_usd: float
    """What the run has cost so far."""
    asked_usd: float
    """What the next call may cost at most."""
    limit_usd: float | None
    """What the run may cost; None: it has no limit."""
    prompt: str
    """The beginning of what the run was asked to do: `PROMPT_CHARS` characters at most."""
    created_at: datetime
    deadline_at: datetime
    """When the run stops waiting."""
    decision: Decision | None = None
    """None: nobody has answered yet. Only the run itself says `timed_out`: past its deadline a review may still be answered."""
    note: str = ""
    decided_by: str = ""
    decided_at: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("review_id", "run_id", "agent_name", "model", "reason", "note", "decided_by"):
            object.__setattr__(self, name, storable(getattr(self, name)))
        if self.user_id is not None:
            object.__setattr__(self, "user_id", storable(self.user_id))
        object.__setattr__(self, "prompt", storable(self.prompt[:PROMPT_CHARS])[:PROMPT_CHARS])


@runtime_checkable
class Ledger(Protocol):
    """Budgets and reviews, shared by threads, processes and, over a server, machines. Every method is atomic.

    All methods raise `LedgerError` where the ledger cannot be reached, read or written; what to do then is the caller's to decide.
    They block, for milliseconds as a rule: call them from a thread where an event loop must not wait.
    """

    @property
    def where(self) -> str:
        """The path or the address, without its password, to name in messages."""
        ...

    def account(self, user_id: str) -> Account:
        """The account of `user_id` today, by the ledger's clock: machines whose clocks differ agree on the day."""
        ...

    def reserve(self, account: Account, usd: float, *, limit_usd: float, hold_seconds: float) -> Reservation | None:
        """Holds `usd` for a call that is about to be made, for `hold_seconds` at most.

        None: what was spent, what others hold and this would together be more than `limit_usd`. Raises `ValueError` for what is
        no amount.
        """
        ...

    def settle(self, reservation: Reservation, usd: float) -> None:
        """Replaces the hold by what was spent, whatever has become of the hold: expired, released, or smaller than this.

        Done again it changes nothing: the first amount stands.
        """
        ...

    def release(self, reservation: Reservation) -> None:
        """Gives the hold back: nothing was spent. What was settled stays settled."""
        ...

    def renew(self, reservation: Reservation, hold_seconds: float) -> bool:
        """Keeps the hold for at least `hold_seconds` from now, for a call that takes long.

        False: it is no longer held. One that has expired is not held again, because others may have the money by now.
        """
        ...

    def spent(self, account: Account) -> Spending:
        """What the account has spent, and what is held."""
        ...

    def ask(self, review: Review) -> None:
        """Puts a question into the queue; asked again under the same id, it stays as it is."""
        ...

    def review(self, review_id: str) -> Review | None:
        """One question, with its answer if there is one; None: not in the ledger."""
        ...

    def reviews(self, *, waiting: bool | None = True) -> list[Review]:
        """The questions that wait for an answer (True), that have one (False), or all (None); the oldest first."""
        ...

    def decide(self, review_id: str, *, approved: bool, note: str = "", by: str = "") -> Review:
        """Answers a question and returns it. Raises `UnknownReview`, and `ReviewDecided` where it has an answer."""
        ...

    def time_out(self, review_id: str) -> Review:
        """Says that the run no longer waits. An answer given in the last moment stands: look at `decision`.

        Raises `UnknownReview`.
        """
        ...

    def save_state(self, review_id: str, state: bytes) -> None:
        """Keeps what another process needs to resume the run that asked. Raises `UnknownReview`."""
        ...

    def load_state(self, review_id: str) -> bytes | None:
        """What was saved; None: nothing is there, or no longer."""
        ...

    def take(self, review_id: str, by: str, *, hold_seconds: float) -> bool:
        """True for the one process that may resume the run. `by` names it, unlike any other; taking again keeps it.

        False: there is no saved state, or another process has it, which took it within its own `hold_seconds`.
        """
        ...

    def drop_state(self, review_id: str) -> None:
        """Forgets the saved state, because the run has been resumed to its end: nobody can take it any more."""
        ...

    def close(self) -> None:
        """Closes files and connections. What the ledger holds stays; used again, it opens again."""
        ...


def new_id() -> str:
    """An id for a reservation: 24 characters, 96 random bits. Two alike would be taken for one call settled twice."""
    return secrets.token_hex(12)


def utc_day(at_seconds: float) -> date:
    """The UTC day of a moment, in seconds since 1970."""
    return utc_time(at_seconds).date()


def utc_time(at_seconds: float) -> datetime:
    """A moment in seconds since 1970."""
    return datetime.fromtimestamp(at_seconds, UTC)


def storable(text: str) -> str:
    """`text` as any ledger can keep it: half a surrogate pair, which no encoding has, is spelled out."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def checked_hold(hold_seconds: float) -> float:
    """A duration as given. Raises `ValueError` unless it is above 0 and at most 10^9, as everywhere in the policy."""
    if not 0 < hold_seconds <= 1e9:
        raise ValueError(f"hold_seconds={hold_seconds!r} must be above 0 and at most 1e9")
    return hold_seconds
