"""The ledger in a file: for all processes of one machine."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from instrument.errors import ReviewDecided, UnknownReview
from instrument.ledger import documents
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
from instrument.ledger.sqlite_file import LedgerFile

_DAY_SECONDS = 86_400.0


class SqliteLedger:
    """A `Ledger` in the SQLite file at `path`, made on first use, readable by its owner only.

    Keep it on a local disk: SQLite's locks do not hold on network file systems. `clock` gives seconds since 1970. Raises
    `LedgerError` when other processes have held the file for `timeout_seconds`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Callable[[], float] = time.time,
        ids: Callable[[], str] = new_id,
        timeout_seconds: float = 10.0,
    ) -> None:
        self.path = Path(path).absolute()  # the working directory may change before the first use
        self.where = str(self.path)
        self._file = LedgerFile(self.path, timeout_seconds)
        self._clock = clock
        self._ids = ids
        self._swept: date | None = None

    def __repr__(self) -> str:
        return f"SqliteLedger({self.where!r})"

    # --- Budgets ------------------------------------------------------------------------------------------------------

    def account(self, user_id: str) -> Account:
        """See `Ledger.account`."""
        return Account(user_id, utc_day(self._clock()))

    def reserve(self, account: Account, usd: float, *, limit_usd: float, hold_seconds: float) -> Reservation | None:
        """See `Ledger.reserve`."""
        amount, limit, hold = nanos(usd), limit_nanos(limit_usd), checked_hold(hold_seconds)
        key = (account.user_id, account.day.isoformat())
        with self._file.writing() as con:
            now = self._clock()  # only now: there may have been a wait
            self._sweep(con, now)
            con.execute("DELETE FROM holds WHERE user_id = ? AND day = ? AND expires_at <= ?", (*key, now))
            if sum(_spent(con, account, now)) + amount > limit:
                return None
            made = Reservation(self._ids(), account, amount, utc_time(now + hold))
            con.execute("INSERT INTO holds VALUES (?, ?, ?, ?, ?)", (made.reservation_id, *key, amount, now + hold))
        return made

    def settle(self, reservation: Reservation, usd: float) -> None:
        """See `Ledger.settle`."""
        amount, account, own = nanos(usd), reservation.account, reservation.reservation_id
        day = account.day.isoformat()
        with self._file.writing() as con:
            con.execute("DELETE FROM holds WHERE reservation_id = ?", (own,))
            first = con.execute("INSERT INTO settled VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (own, day, amount))
            if first.rowcount:
                con.execute(
                    "INSERT INTO accounts VALUES (?, ?, ?) "
                    "ON CONFLICT DO UPDATE SET settled_nanos = settled_nanos + excluded.settled_nanos",
                    (account.user_id, day, amount),
                )

    def release(self, reservation: Reservation) -> None:
        """See `Ledger.release`."""
        with self._file.writing() as con:
            con.execute("DELETE FROM holds WHERE reservation_id = ?", (reservation.reservation_id,))

    def renew(self, reservation: Reservation, hold_seconds: float) -> bool:
        """See `Ledger.renew`."""
        hold = checked_hold(hold_seconds)
        with self._file.writing() as con:
            now = self._clock()
            renewed = con.execute(
                "UPDATE holds SET expires_at = max(expires_at, ?) WHERE reservation_id = ? AND expires_at > ?",
                (now + hold, reservation.reservation_id, now),
            )
        return renewed.rowcount > 0

    def spent(self, account: Account) -> Spending:
        """See `Ledger.spent`."""
        with self._file.reading() as con:
            return Spending(*_spent(con, account, self._clock()))

    def _sweep(self, con: sqlite3.Connection, now: float) -> None:
        """Once a day, removes what is past keeping."""
        today = utc_day(now)
        if self._swept == today:
            return
        oldest = (today - timedelta(days=KEEP_ACCOUNT_DAYS)).isoformat()
        con.execute("DELETE FROM holds WHERE expires_at <= ?", (now,))
        con.execute("DELETE FROM settled WHERE day < ?", (oldest,))
        con.execute("DELETE FROM accounts WHERE day < ?", (oldest,))
        con.execute("DELETE FROM reviews WHERE decided_at < ?", (now - KEEP_REVIEW_DAYS * _DAY_SECONDS,))
        con.execute("DELETE FROM states WHERE review_id NOT IN (SELECT review_id FROM reviews)")
        self._swept = today

    # --- Reviews ------------------------------------------------------------------------------------------------------

    def ask(self, review: Review) -> None:
        """See `Ledger.ask`."""
        with self._file.writing() as con:
            con.execute(
                "INSERT INTO reviews (review_id, created_at, document) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (review.review_id, review.created_at.timestamp(), documents.encode(review)),
            )

    def review(self, review_id: str) -> Review | None:
        """See `Ledger.review`."""
        with self._file.reading() as con:
            return self._review(con, review_id)

    def reviews(self, *, waiting: bool | None = True) -> list[Review]:
        """See `Ledger.reviews`."""
        which = "" if waiting is None else "WHERE (decision IS NULL) = ?"
        with self._file.reading() as con:
            rows = con.execute(
                f"SELECT {_REVIEW} FROM reviews {which} ORDER BY created_at, review_id",
                () if waiting is None else (waiting,),
            ).fetchall()
        return [documents.decode(self.where, row[0], row[1:]) for row in rows]

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
        with self._file.writing() as con:
            given = con.execute(
                "UPDATE reviews SET decision = ?, note = ?, decided_by = ?, decided_at = ? "
                "WHERE review_id = ? AND decision IS NULL",
                (decision, storable(note), storable(by), self._clock(), storable(review_id)),
            )
            found = self._review(con, review_id)
            if found is None:
                raise UnknownReview(self.where, review_id)
            return given.rowcount > 0, found

    def _review(self, con: sqlite3.Connection, review_id: str) -> Review | None:
        row = con.execute(f"SELECT {_REVIEW} FROM reviews WHERE review_id = ?", (storable(review_id),)).fetchone()
        return documents.decode(self.where, row[0], row[1:]) if row else None

    # --- Paused runs --------------------------------------------------------------------------------------------------

    def save_state(self, review_id: str, state: bytes) -> None:
        """See `Ledger.save_state`."""
        with self._file.writing() as con:
            if self._review(con, review_id) is None:
                raise UnknownReview(self.where, review_id)
            con.execute(
                "INSERT INTO states (review_id, state) VALUES (?, ?) ON CONFLICT DO UPDATE SET state = excluded.state",
                (storable(review_id), state),
            )

    def load_state(self, review_id: str) -> bytes | None:
        """See `Ledger.load_state`."""
        with self._file.reading() as con:
            row = con.execute("SELECT state FROM states WHERE review_id = ?", (storable(review_id),)).fetchone()
        return bytes(row[0]) if row else None

    def take(self, review_id: str, by: str, *, hold_seconds: float) -> bool:
        """See `Ledger.take`."""
        hold = checked_hold(hold_seconds)
        with self._file.writing() as con:
            now = self._clock()
            taken = con.execute(
                "UPDATE states SET taken_by = ?1, taken_until = ?2 "
                "WHERE review_id = ?3 AND (taken_by IS NULL OR taken_by = ?1 OR taken_until <= ?4)",
                (storable(by), now + hold, storable(review_id), now),
            )
        return taken.rowcount > 0

    def drop_state(self, review_id: str) -> None:
        """See `Ledger.drop_state`."""
        with self._file.writing() as con:
            con.execute("DELETE FROM states WHERE review_id = ?", (storable(review_id),))

    def close(self) -> None:
        """See `Ledger.close`."""
        self._file.close()


_REVIEW = ", ".join(("document", *documents.ANSWER))


def _spent(con: sqlite3.Connection, account: Account, now: float) -> tuple[int, int]:
    """Nano-dollars settled, and held by reservations that live at `now`."""
    key = (account.user_id, account.day.isoformat())
    settled = con.execute("SELECT settled_nanos FROM accounts WHERE user_id = ? AND day = ?", key).fetchone()
    held = con.execute(
        "SELECT coalesce(sum(nanos), 0) FROM holds WHERE user_id = ? AND day = ? AND expires_at > ?", (*key, now)
    ).fetchone()
    return (settled[0] if settled else 0), held[0]
