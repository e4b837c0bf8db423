"""What the loop wants done. It does nothing itself: it yields one of these and is sent what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from instrument.ledger import Reservation, Review
    from instrument.runner.events import Event
    from instrument.runner.execution import Job, Ran


@dataclass(frozen=True, slots=True)
class Send:
    """A request to the model. Sent back: `Arrived` or `Failed`."""

    body: Mapping[str, Any]
    betas: Sequence[str] | None = None
    timeout_seconds: float = 600.0
    """Silence after which it is given up."""
    deadline: float | None = None
    """On the runner's clock: when it is given up in any case."""
    shown: bool = True
    """Whether its words are for the user; those of a summary are not."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """An answer of the model, as JSON."""

    message: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """No whole answer."""

    error: Exception
    temporary: bool = False
    """Sending it again may help."""
    billed: bool = True
    """The provider may bill for it: it was, or may have been, at work on it."""
    retry_after_seconds: float | None = None
    """What the server asked for."""


@dataclass(frozen=True, slots=True)
class Count:
    """The input tokens of a request, counted by the API. Sent back: an int, or None where it cannot say."""

    body: Mapping[str, Any]
    betas: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class CanEdit:
    """Whether the model has server-side context editing. Sent back: a bool."""

    model: str


@dataclass(frozen=True, slots=True)
class RunTools:
    """Tool calls to run. Sent back: a list of `Ran`, in order. `done` is called as each one ends, in whatever thread."""

    jobs: Sequence[Job]
    parallel: int
    deadline_seconds: float
    """From now: when the run has used up its time."""
    done: Callable[[int, Ran], None]


@dataclass(frozen=True, slots=True)
class Reserve:
    """Money of a user's day, to be put aside in the ledger. Sent back: a `Reservation`, or what is left in US dollars (float)."""

    user_id: str
    usd: float
    limit_usd: float
    hold_seconds: float


@dataclass(frozen=True, slots=True)
class Settle:
    """What became of a reservation; `usd` None: nothing was spent. Sent back: None."""

    reservation: Reservation
    usd: float | None


@dataclass(frozen=True, slots=True)
class Ask:
    """A person's decision. Sent back: the `Review` with its decision, or without one when time ran out."""

    review: Review
    timeout_seconds: float
    stays_open: bool = False
    """Whether it may still be answered when time has run out."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Some seconds of nothing. Sent back: None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Tell:
    """Something for whoever follows the stream. Sent back: None."""

    event: Event


@dataclass(frozen=True, slots=True)
class Pause:
    """The state of a run that waits for a person, to be kept. Sent back: None."""

    review_id: str
    state: bytes


Want = Send | Count | CanEdit | RunTools | Reserve | Settle | Ask | Wait | Tell | Pause
