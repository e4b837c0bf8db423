"""The file of a `SqliteLedger`: opened, created, shared between threads, processes and forked children."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from instrument.errors import LedgerError

APPLICATION_ID: Final = 0x666C7962
"""Written to the file's header, so that no other program's database is ever taken for a ledger: "flyb"."""
VERSION: Final = 1
_TABLES: Final = (
    # Holds of calls that run. A row past `expires_at` counts for nothing and goes with the next reservation.
    "CREATE TABLE holds (reservation_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, day TEXT NOT NULL, "
    "nanos INTEGER NOT NULL, expires_at REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX holds_of_account ON holds (user_id, day, expires_at, nanos)",
    # What makes settling twice the same as settling once.
    "CREATE TABLE settled (reservation_id TEXT PRIMARY KEY, day TEXT NOT NULL, nanos INTEGER NOT NULL) WITHOUT ROWID",
    # The sum of an account, so that asking costs the same at the end of the day.
    "CREATE TABLE accounts (user_id TEXT, day TEXT, settled_nanos INTEGER NOT NULL, PRIMARY KEY (user_id, day)) "
    "WITHOUT ROWID",
    "CREATE TABLE reviews (review_id TEXT PRIMARY KEY, created_at REAL NOT NULL, document TEXT NOT NULL, "
    "decision TEXT, note TEXT, decided_by TEXT, decided_at REAL)",
    "CREATE INDEX reviews_in_order ON reviews (decision IS NULL, created_at)",
    "CREATE TABLE states (review_id TEXT PRIMARY KEY, state BLOB NOT NULL, taken_by TEXT, taken_until REAL)",
)
_RETRY_SECONDS: Final = 0.002
_TURNS_IN_A_ROW: Final = 64
"""Writes of one process after which it pauses for as long."""
_IMPATIENCE: Final = 20.0
"""How many times as often who has waited for a second looks."""
_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC})
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})


class LedgerFile:
    """One connection per process, which its threads use in turns: SQLite admits one writer at a time, so more would only wait
    for each other, and by polling.

    Written ahead (WAL), without waiting for the disk at each commit: killing a process loses nothing that was committed; a power
    cut may lose the last moments, and damages nothing.
    """

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        self.path = path
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._turns = 0
        self._connection: sqlite3.Connection | None = None
        with _fork_gate:
            _FILES.add(self)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that nobody else writes during; rolled back where the block raises. Raises `LedgerError`."""
        self._give_way()
        with self._turn() as con:
            self._patiently(con, "BEGIN IMMEDIATE")
            try:
                yield con
                con.execute("COMMIT")
            except BaseException:
                if con.in_transaction:  # a full disk may have ended it already
                    con.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the file, whatever is written meanwhile. Raises `LedgerError`."""
        with self._turn() as con:
            self._patiently(con, "BEGIN", "SELECT 1 FROM sqlite_schema LIMIT 1")
            try:
                yield con
            finally:
                con.execute("ROLLBACK")

    def close(self) -> None:
        """Closes the connection; the next use opens another one."""
        with self._lock:
            self._disconnect()

    @contextlib.contextmanager
    def _turn(self) -> Iterator[sqlite3.Connection]:
        if not self._lock.acquire(timeout=self._timeout_seconds):
            raise self._held()
        try:
            if self._connection is None:
                self._connection = self._open()
            yield self._connection
        except sqlite3.Error as e:
            raise self._explained(e) from e
        finally:
            self._lock.release()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite gives the files it puts beside this one the same mode. Never opened where it exists: closing any descriptor
            # of a file drops all locks that the process has on it, those of another ledger on the same path too.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            pass  # the usual case
        except OSError as e:
            raise LedgerError(str(self.path), f"cannot be made ({e.strerror}); {_ELSEWHERE}") from e
        # Autocommit, because transactions are begun and ended here by name; the lock is what keeps threads apart.
        con = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(con)
        except BaseException:
            con.close()
            raise
        return con

    def _prepare(self, con: sqlite3.Connection) -> None:
        # Making the file is the one thing that would wait for the disk, with everybody else behind it; a new ledger holds nothing yet.
        con.execute("PRAGMA synchronous = OFF")
        self._patiently(con, "BEGIN IMMEDIATE")
        application, version = (
            con.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        empty = not con.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
        if application != APPLICATION_ID and not (application == 0 and empty):
            raise LedgerError(str(self.path), f"is another program's SQLite database; {_ELSEWHERE}")
        if version > VERSION:
            raise LedgerError(
                str(self.path),
                f"has ledger version {version}, this flyball knows up to {VERSION}; upgrade with `pip install -U flyball`",
            )
        if empty:
            for statement in (
                *_TABLES,
                f"PRAGMA application_id = {APPLICATION_ID}",
                f"PRAGMA user_version = {VERSION}",
            ):
                con.execute(statement)
        con.execute("COMMIT")
        self._patiently(con, "PRAGMA journal_mode = WAL")
        con.execute("PRAGMA synchronous = NORMAL")

    def _give_way(self) -> None:
        """A pause now and then: threads of one process that follow each other would keep other processes, which poll, out for seconds."""
        self._turns += 1
        if self._turns % _TURNS_IN_A_ROW == 0:
            with self._lock:
                time.sleep(_RETRY_SECONDS)

    def _patiently(self, con: sqlite3.Connection, *statements: str) -> None:
        """Begins what others may be in the way of. SQLite's own way of waiting sleeps ever longer, so that whoever has waited
        longest comes last: under load that is seconds, where this is milliseconds. Nor does it wait when many open a new file.
        """
        began = time.monotonic()
        deadline = began + self._timeout_seconds
        while True:
            try:
                for statement in statements:
                    con.execute(statement).fetchone()
            except sqlite3.OperationalError as e:
                if con.in_transaction:
                    con.execute("ROLLBACK")
                if not _is(e, _BUSY) or time.monotonic() > deadline:
                    raise
                # Who has waited longer looks more often.
                impatience = 1 + _IMPATIENCE * (time.monotonic() - began)
                time.sleep(_RETRY_SECONDS * random.uniform(0.5, 1.5) / impatience)  # noqa: S311 - spreads the waiters, guards nothing
            else:
                return

    def _held(self) -> LedgerError:
        return LedgerError(
            str(self.path),
            f"was held by others for {self._timeout_seconds:g} s; "
            "close the program that keeps it in a transaction, or use Redis for so many processes",
        )

    def _explained(self, error: sqlite3.Error) -> LedgerError:
        text = str(error)
        if _is(error, _BUSY):
            return self._held()
        if _is(error, _FULL):
            return LedgerError(str(self.path), f"cannot be written ({text}); make room on the disk, or {_ELSEWHERE}")
        if _is(error, frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})):
            return LedgerError(str(self.path), f"is no ledger, or damaged ({text}); move it aside, or {_ELSEWHERE}")
        return LedgerError(str(self.path), f"cannot be used ({text}); check its permissions, or {_ELSEWHERE}")


def _is(error: sqlite3.Error, codes: frozenset[int]) -> bool:
    """Extended codes carry what they refine in their low byte. Errors of Python's own have no code."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code in codes or code & 0xFF in codes)


_ELSEWHERE: Final = "name another place with --ledger or FLYBALL_LEDGER"

# --- Forks ------------------------------------------------------------------------------------------------------------
# A child that inherits an open SQLite connection can use neither that nor a new one safely: SQLite keeps its locks per process
# and does not learn that this is another (https://sqlite.org/howtocorrupt.html, 2.6). So there is none open at that moment.

_FILES: Final[weakref.WeakSet[LedgerFile]] = weakref.WeakSet()
_fork_gate = threading.Lock()
_held_for_fork: list[LedgerFile] = []


def _before_fork() -> None:
    _fork_gate.acquire()
    _held_for_fork[:] = list(_FILES)
    for file in _held_for_fork:
        file._lock.acquire()
        file._disconnect()


def _after_fork() -> None:
    for file in _held_for_fork:
        file._lock.release()
    _held_for_fork.clear()
    _fork_gate.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
