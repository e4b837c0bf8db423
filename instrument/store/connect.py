"""Opening the store so that nobody ever sees a lock error.

DuckDB admits one writing process or many reading ones. Flyball's own processes take turns through an advisory lock on a file
beside the database (`traces.duckdb.lock`): shared to read, exclusive to write, both briefly. A program that knows nothing of that
lock (a notebook, the DuckDB shell) shows as DuckDB's own lock error, which is retried until the time is up.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import duckdb

from instrument.errors import StoreEmpty, StoreError, StoreForeign, StoreLocked, StoreTooNew
from instrument.store import schema

_OFFLINE: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
_READ: Final = {**_OFFLINE, "enable_external_access": "false", "memory_limit": "1GB"}
"""The rest of a process that judges ten million spans takes nearly as much again. What does not fit is written to disk for the time being,
which needs no external access."""
_HOLDER = re.compile(r"held in ([^\n]*?\(PID \d+\))")
_FIRST_WAIT_SECONDS: Final = 0.004
_LONGEST_WAIT_SECONDS: Final = 0.06


@contextlib.contextmanager
def reading(path: Path, *, timeout_seconds: float = 30.0) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection, with no access to any other file. Hold it briefly: writers wait meanwhile.

    Raises `StoreLocked`, `StoreTooNew`, `StoreForeign`, or `FileNotFoundError`.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    deadline = time.monotonic() + timeout_seconds
    with _turn(path, fcntl.LOCK_SH, deadline, timeout_seconds):
        con = _open(path, True, deadline, timeout_seconds)
        try:
            if check_version(con, path) < schema.VERSION:
                _stand_in(con)
            yield con
        finally:
            con.close()


@contextlib.contextmanager
def writing(path: Path, *, timeout_seconds: float = 30.0) -> Iterator[duckdb.DuckDBPyConnection]:
    """The one writing connection; creates the database and its tables where they are missing.

    Raises `StoreLocked`, `StoreTooNew`, `StoreForeign` and `OSError`s of the file system.
    """
    deadline = time.monotonic() + timeout_seconds
    with _turn(path, fcntl.LOCK_EX, deadline, timeout_seconds):
        con = _open(path, False, deadline, timeout_seconds)
        try:
            prepare(con, path)
            yield con
        finally:
            con.close()


def in_memory() -> duckdb.DuckDBPyConnection:
    """An empty store that lives as long as the connection."""
    con = duckdb.connect(":memory:", config=dict(_OFFLINE))
    prepare(con, Path(":memory:"))
    return con


def prepare(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Creates the tables in an empty database, and in one of an earlier flyball those that are new; refuses one that is
    foreign or too new. Raises `StoreForeign`, `StoreTooNew`.
    """
    try:
        if check_version(con, path) == schema.VERSION:
            return
    except StoreEmpty:
        pass
    _create(con)


def _create(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("BEGIN")
    for made in (*schema.TABLES, *schema.MACROS):
        con.execute(made.ddl)
    for table, column in _missing(con):
        con.execute(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {column.type}")
    con.execute(f"DELETE FROM {schema.META.name} WHERE key = 'schema_version'")
    con.execute(f"INSERT INTO {schema.META.name} VALUES ('schema_version', ?)", [str(schema.VERSION)])
    con.execute("COMMIT")


def _stand_in(con: duckdb.DuckDBPyConnection) -> None:
    """What an earlier flyball did not have yet, for this connection alone: tables that are empty, columns of nulls."""
    there = {name for (name,) in con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    for table in schema.TABLES:
        if table.name not in there:
            con.execute(table.ddl.replace("CREATE TABLE", "CREATE TEMP TABLE", 1))
    new: dict[str, list[str]] = {}
    for table, column in _missing(con):
        new.setdefault(table.name, []).append(f"NULL::{column.type} AS {column.name}")
    for name, columns in new.items():
        # A copy, since readers ask for rows by number, which a view has none of.
        con.execute(f"CREATE TEMP TABLE {name} AS SELECT *, {', '.join(columns)} FROM main.{name}")


def _missing(con: duckdb.DuckDBPyConnection) -> list[tuple[schema.Table, schema.Column]]:
    """Columns that the tables which are there do not have yet."""
    rows = con.execute("SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal").fetchall()
    there = {name for name, _ in rows}
    known = set(rows)
    return [
        (table, column)
        for table in schema.TABLES
        if table.name in there
        for column in table.columns
        if (table.name, column.name) not in known
    ]


def check_version(con: duckdb.DuckDBPyConnection, path: Path) -> int:
    """The version of the schema. Raises `StoreForeign` where this is no flyball database, `StoreTooNew` where a later flyball
    wrote it, `StoreEmpty` without tables.
    """
    try:
        rows = con.execute(f"SELECT value FROM {schema.META.name} WHERE key = 'schema_version'").fetchall()
        version = int(rows[0][0]) if rows else 0
    except (duckdb.CatalogException, duckdb.BinderException, ValueError):
        # Only now: listing the tables takes longer than all else that opening does.
        if not con.execute("SELECT 1 FROM duckdb_tables() LIMIT 1").fetchall():
            raise StoreEmpty(path) from None
        raise StoreForeign(
            path, "is a DuckDB database, but not one of flyball's; choose another path with --db"
        ) from None
    if version > schema.VERSION:
        raise StoreTooNew(path, version, schema.VERSION)
    return version


@contextlib.contextmanager
def _turn(path: Path, mode: int, deadline: float, timeout_seconds: float) -> Iterator[None]:
    handle = _lock_file(path.with_name(path.name + ".lock"))
    if handle is None:  # a folder we may not write to: DuckDB's own lock is all there is
        yield
        return
    try:
        for wait in _waits():
            try:
                fcntl.flock(handle, mode | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreLocked(path, timeout_seconds, "a flyball process") from None
                time.sleep(wait)
        yield
    finally:
        os.close(handle)


def _lock_file(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # a lock needs no write permission
        except OSError:
            return None


def _waits() -> Iterator[float]:
    wait = _FIRST_WAIT_SECONDS
    while True:
        yield wait * random.uniform(0.5, 1.5)  # noqa: S311 - spreads the waiters, guards nothing
        wait = min(wait * 1.6, _LONGEST_WAIT_SECONDS)


def _open(path: Path, read_only: bool, deadline: float, timeout_seconds: float) -> duckdb.DuckDBPyConnection:
    config: dict[str, Any] = dict(_READ if read_only else _OFFLINE)
    if read_only and not os.access(path.parent, os.W_OK):
        # By default DuckDB's temporary files lie beside the database.
        config["temp_directory"] = tempfile.gettempdir()
    for wait in _waits():
        try:
            return duckdb.connect(str(path), read_only=read_only, config=config)
        except (duckdb.IOException, duckdb.ConnectionException) as e:
            text = str(e)
            if not ("lock" in text or "different configuration" in text):
                raise _damaged(path, e) from e
            if time.monotonic() > deadline:
                held = _HOLDER.search(text)
                raise StoreLocked(path, timeout_seconds, held.group(1) if held else "unknown program") from e
            time.sleep(wait)
        except duckdb.Error as e:
            raise _damaged(path, e) from e
    raise AssertionError("unreachable: the waits never end")


def _damaged(path: Path, error: duckdb.Error) -> StoreError:
    text = str(error).splitlines()[0]
    if re.search(r"permission|read-only file system|no space|cannot open", text, re.IGNORECASE):
        return StoreError(path, f"cannot be opened: {text}")
    return StoreForeign(
        path, f"is no usable DuckDB database ({text}); move it aside and run `flyball load {path}.journal --db {path}`"
    )
