"""The ledger on a Redis server: for the machines of a fleet."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from instrument.errors import LedgerError, ReviewDecided, UnknownReview
from instrument.ledger import documents, scripts
from instrument.ledger.base import (
    KEEP_ACCOUNT_DAYS,
    KEEP_REVIEW_DAYS,
    Account,
    Decision,
    Reservation,
    Review,
    Spending,
    checked_hold,
    new_id,
    storable,
    utc_day,
    utc_time,
)
from instrument.ledger.money import limit_nanos, nanos

if TYPE_CHECKING:
    import redis

_DAY_SECONDS: Final = 86_400
_KEEP_ACCOUNT: Final = KEEP_ACCOUNT_DAYS * _DAY_SECONDS
_KEEP_REVIEW: Final = KEEP_REVIEW_DAYS * _DAY_SECONDS
_SERVER_SILENT_SECONDS: Final = 5.0
"""A server that says nothing for so long is given up; `?socket_timeout=` in the address says otherwise."""


class RedisLedger:
    """A `Ledger` on the Redis server at an address (`redis://`, `rediss://`, `unix://`) or behind a client.

    Keys begin with `prefix`; all keys of an account, and all of the reviews, lie in one slot of a cluster. `clock` gives seconds
    since 1970; None: the server's own. The server must not evict keys (`maxmemory-policy noeviction`, Redis's default): an evicted
    account would start again at nought. Needs `pip install 'flyball[redis]'`; raises `LedgerError` without.
    """

    def __init__(
        self,
        server: redis.Redis | str,
        *,
        prefix: str = "flyball",
        clock: Callable[[], float] | None = None,
        ids: Callable[[], str] = new_id,
    ) -> None:
        self._client = _client(server) if isinstance(server, str) else server
        self._owned = isinstance(server, str)
        self.where = _address(self._client)
        self._prefix = prefix
        self._clock = clock
        self._ids = ids
        self._scripts: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"RedisLedger({self.where!r})"

    # --- Budgets ------------------------------------------------------------------------------------------------------

    def account(self, user_id: str) -> Account:
        """See `Ledger.account`."""
        now = self._clock() if self._clock else float(_text(self._run(scripts.CLOCK, [], "")))
        return Account(user_id, utc_day(now))

    def reserve(self, account: Account, usd: float, *, limit_usd: float, hold_seconds: float) -> Reservation | None:
        """See `Ledger.reserve`."""
        amount, limit, own = nanos(usd), limit_nanos(limit_usd), self._ids()
        keys = self._account_keys(account)
        ends = self._run(
            scripts.RESERVE, keys, self._now(), own, amount, limit, checked_hold(hold_seconds), _KEEP_ACCOUNT
        )
        return None if ends is None else Reservation(own, account, amount, utc_time(float(_text(ends))))

    def settle(self, reservation: Reservation, usd: float) -> None:
        """See `Ledger.settle`."""
        keys = self._account_keys(reservation.account)
        self._run(scripts.SETTLE, keys, reservation.reservation_id, nanos(usd), _KEEP_ACCOUNT)

    def release(self, reservation: Reservation) -> None:
        """See `Ledger.release`."""
        with self._explained():
            self._client.hdel(self._account_keys(reservation.account)[0], reservation.reservation_id)

    def renew(self, reservation: Reservation, hold_seconds: float) -> bool:
        """See `Ledger.renew`."""
        keys = self._account_keys(reservation.account)[:1]
        own, hold = reservation.reservation_id, checked_hold(hold_seconds)
        return bool(self._run(scripts.RENEW, keys, self._now(), own, hold, _KEEP_ACCOUNT))

    def spent(self, account: Account) -> Spending:
        """See `Ledger.spent`."""
        settled, held = self._run(scripts.SPENT, self._account_keys(account)[:2], self._now())
        return Spending(int(settled), int(held))

    def _account_keys(self, account: Account) -> list[str]:
        # What stands in braces decides the slot of a cluster; it begins with the day, so it is never empty.
        own = f"{self._prefix}:{{{account.day}:{account.user_id}}}"
        return [f"{own}:holds", f"{own}:settled", f"{own}:done"]

    # --- Reviews ------------------------------------------------------------------------------------------------------

    def ask(self, review: Review) -> None:
        """See `Ledger.ask`."""
        keys = [self._review_key("review", review.review_id), self._waiting]
        self._run(scripts.ASK, keys, documents.encode(review), review.review_id, review.created_at.timestamp())

    def review(self, review_id: str) -> Review | None:
        """See `Ledger.review`."""
        return self._read([storable(review_id)])[0]

    def reviews(self, *, waiting: bool | None = True) -> list[Review]:
        """See `Ledger.reviews`."""
        indexes = [] if waiting is False else [self._waiting]
        indexes += [] if waiting else [self._decided]
        with self._explained():
            ids = [_text(own) for index in indexes for own in self._client.zrange(index, 0, -1)]
        # Waiting ones first: what is answered meanwhile is then in both lists, not in neither. One past keeping is in a list only.
        found = {review.review_id: review for review in self._read(ids) if review is not None}
        return sorted(
            (r for r in found.values() if waiting is None or (r.decision is None) == waiting),
            key=lambda r: (r.created_at, r.review_id),
        )

    def decide(self, review_id: str, *, approved: bool, note: str = "", by: str = "") -> Review:
        """See `Ledger.decide`."""
        first, found = self._answer(review_id, "approved" if approved else "denied", note, by)
        if not first:
            raise ReviewDecided(
                self.where,
                found.review_id,
                decision=str(found.decision),
                decided_by=found.decided_by,
                decided_at=found.decided_at,
            )
        return found

    def time_out(self, review_id: str) -> Review:
        """See `Ledger.time_out`."""
        return self._answer(review_id, "timed_out", "", "")[1]

    def _answer(self, review_id: str, decision: Decision, note: str, by: str) -> tuple[bool, Review]:
        own = storable(review_id)
        keys = [self._review_key("review", own), self._waiting, self._decided, self._review_key("state", own)]
        given = self._run(scripts.ANSWER, keys, self._now(), own, decision, storable(note), storable(by), _KEEP_REVIEW)
        found = self.review(own)
        if given < 0 or found is None:
            raise UnknownReview(self.where, review_id)
        return given > 0, found

    def _read(self, ids: list[str]) -> list[Review | None]:
        with self._explained():
            pipe = self._client.pipeline(transaction=False)
            for own in ids:
                pipe.hmget(self._review_key("review", own), ["document", *documents.ANSWER])
            rows = pipe.execute()
        texts = ([None if value is None else _text(value) for value in row] for row in rows)
        return [documents.decode(self.where, row[0], tuple(row[1:])) if row[0] else None for row in texts]

    @property
    def _waiting(self) -> str:
        return f"{self._prefix}:{{reviews}}:waiting"

    @property
    def _decided(self) -> str:
        return f"{self._prefix}:{{reviews}}:decided"

    def _review_key(self, what: str, review_id: str) -> str:
        return f"{self._prefix}:{{reviews}}:{what}:{review_id}"

    # --- Paused runs --------------------------------------------------------------------------------------------------

    def save_state(self, review_id: str, state: bytes) -> None:
        """See `Ledger.save_state`."""
        own = storable(review_id)
        keys = [self._review_key("review", own), self._review_key("state", own)]
        # Base 64, because the application's client may be one that decodes every answer as text.
        if not self._run(scripts.SAVE_STATE, keys, base64.b64encode(state)):
            raise UnknownReview(self.where, review_id)

    def load_state(self, review_id: str) -> bytes | None:
        """See `Ledger.load_state`."""
        with self._explained():
            state = self._client.hget(self._review_key("state", storable(review_id)), "state")
        return None if state is None else base64.b64decode(_text(state))

    def take(self, review_id: str, by: str, *, hold_seconds: float) -> bool:
        """See `Ledger.take`."""
        key = self._review_key("state", storable(review_id))
        return bool(self._run(scripts.TAKE, [key], self._now(), storable(by), checked_hold(hold_seconds)))

    def drop_state(self, review_id: str) -> None:
        """See `Ledger.drop_state`."""
        with self._explained():
            self._client.delete(self._review_key("state", storable(review_id)))

    def close(self) -> None:
        """See `Ledger.close`. A client that was given stays open."""
        if self._owned:
            self._client.close()

    # --- The server ---------------------------------------------------------------------------------------------------

    def _now(self) -> str:
        return f"{self._clock():.6f}" if self._clock else ""

    def _run(self, script: str, keys: list[str], *arguments: str | bytes | float) -> Any:
        with self._explained():
            if script not in self._scripts:
                self._scripts[script] = self._client.register_script(script)
            return self._scripts[script](keys=keys, args=arguments)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        from redis.exceptions import ConnectionError as NotReached
        from redis.exceptions import RedisError
        from redis.exceptions import TimeoutError as TooSlow

        try:
            yield
        except (NotReached, TooSlow) as e:
            raise LedgerError(
                self.where,
                f"cannot be reached ({e}); start the server, or name another place with --ledger or FLYBALL_LEDGER",
            ) from e
        except RedisError as e:
            raise LedgerError(self.where, f"the server refused ({e}); check its configuration and its memory") from e


def _client(address: str) -> redis.Redis:
    try:
        import redis
        from redis.backoff import ExponentialBackoff
        from redis.retry import Retry
    except ImportError as e:
        raise LedgerError(
            address.split("://", 1)[0] + "://", "a ledger on Redis needs `pip install 'flyball[redis]'`"
        ) from e
    try:
        # Sending again is safe: every script does the same when it runs twice.
        return redis.Redis.from_url(
            address,
            socket_timeout=_SERVER_SILENT_SECONDS,
            socket_connect_timeout=_SERVER_SILENT_SECONDS,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 3),
        )
    except ValueError as e:
        raise LedgerError(address.split("://", 1)[0] + "://", f"is no address of a Redis server ({e})") from e


def _address(client: Any) -> str:
    """Where the server is, without user and password."""
    pool = getattr(client, "connection_pool", None)  # a cluster has none
    facts = getattr(pool, "connection_kwargs", {})
    if "path" in facts:
        return f"unix://{facts['path']}"
    return f"redis://{facts.get('host', 'cluster')}:{facts.get('port', 6379)}/{facts.get('db', 0)}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
