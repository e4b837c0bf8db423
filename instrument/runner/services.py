"""What a driver does its work with: the client, the ledger, the reviewer; and the parts of that work that both drivers share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from instrument import tracing
from instrument.errors import LedgerError
from instrument.ledger import Ledger, Reservation, Review, open_ledger
from instrument.runner.reviewing import Reviewer
from instrument.runner.wants import Pause, Reserve, Settle

if TYPE_CHECKING:
    import os


class Services:
    """Of one `GuardedRunner`; shared by its runs, which may run at the same time."""

    def __init__(self, client: Any, *, ledger: str | os.PathLike[str] | Ledger | None, review: Reviewer | None) -> None:
        self._given = client
        self._ledger = ledger
        self.review = review
        self.can_edit: dict[str, bool] = {}
        self._watched: tuple[Any, Any] | None = None

    @property
    def client(self) -> Any:
        """The client to call: retries are the runner's, which holds money for each attempt; watched where something is recorded."""
        provider = tracing.provider_in_use() if tracing.wants_content() or tracing.measuring() else None
        if self._watched is None or self._watched[0] is not provider:
            from instrument.runner.guarding import unguarded

            client = unguarded(self._given).with_options(max_retries=0)
            if provider is not None:
                from instrument.anthropic_client import watch

                client = watch(client)
            self._watched = (provider, client)
        return self._watched[1]

    @property
    def is_async(self) -> bool:
        """Whether the client is an asynchronous one."""
        return inspect.iscoroutinefunction(getattr(self._given, "request", None))

    @cached_property
    def ledger(self) -> Ledger:
        """Opened on first use. Raises `LedgerError`."""
        return open_ledger(self._ledger)

    def reserve(self, want: Reserve) -> Reservation | float | LedgerError:
        """Money of a user's day; where it does not fit, what is left of it."""
        try:
            ledger = self.ledger
            account = ledger.account(want.user_id)
            found = ledger.reserve(account, want.usd, limit_usd=want.limit_usd, hold_seconds=want.hold_seconds)
            if found is not None:
                return found
            spent = ledger.spent(account)
            return max(0.0, want.limit_usd - spent.settled_usd - spent.reserved_usd)
        except LedgerError as e:
            return e

    def settle(self, want: Settle) -> None:
        """A ledger that cannot be written keeps the reservation until it expires; the call has been made all the same."""
        self._quietly(
            lambda: (
                self.ledger.release(want.reservation)
                if want.usd is None
                else self.ledger.settle(want.reservation, want.usd)
            )
        )

    def queue(self, review: Review) -> None:
        """Puts a question that the host's function has not answered where somebody can answer it later."""
        self._quietly(lambda: self.ledger.ask(review))

    def pause(self, want: Pause) -> None:
        """Keeps the state of a run for the process that will resume it."""
        self._quietly(lambda: self.ledger.save_state(want.review_id, want.state))

    def _quietly(self, do: Callable[[], Any]) -> None:
        try:
            do()
        except LedgerError as e:
            tracing.complain(e)
