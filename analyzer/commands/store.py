"""From the paths of a command line to an open store that holds what they say."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.commands.progress import reading_progress
from analyzer.readers import Inputs, load, resolve
from instrument.errors import StoreError, UnreadableTrace
from instrument.otlp import Issue

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from instrument.prices import Prices


@dataclass(slots=True)
class Opened:
    """A store open for reading, and what did not get into it."""

    con: DuckDBPyConnection
    refusals: list[UnreadableTrace] = field(default_factory=list)
    """What the user named and we could not read."""
    issues: list[Issue] = field(default_factory=list)
    """Issues that are not in the store's own table."""


@contextlib.contextmanager
def opened(paths: Sequence[str], db: Path | None, prices: Prices) -> Iterator[Opened]:
    """A store with everything at `paths`: a database as it is, anything else loaded into `db` or a temporary database.

    Without `paths` it is `db` as it stands. Raises `StoreError`, and `UnreadableTrace` where a database is mixed with
    other files.
    """
    from instrument.store.connect import reading

    inputs = resolve(paths) if db is None or paths else Inputs(databases=[db])
    alone = inputs.databases[0] if len(inputs.databases) == 1 and not inputs.sources else None
    if alone is not None and (db is None or not paths):
        issues = _adopted(alone)
        with reading(alone) as con:
            yield Opened(con, inputs.refusals, issues)
        return
    with tempfile.TemporaryDirectory(prefix="flyball-", ignore_cleanup_errors=True) as folder:
        target = db or Path(folder, "traces.duckdb")
        with reading_progress(inputs.sources) as advance:
            _, refusals = load(inputs, target, prices=prices, advance=advance)
        with reading(target) as con:
            yield Opened(con, refusals)


def _adopted(db: Path) -> list[Issue]:
    """Brings what was recorded since the last checkpoint into the database; what cannot be brought is an issue."""
    from instrument.store.checkpoint import adopt

    issues = list(adopt(db).issues)
    if not db.exists():
        raise StoreError(db, issues[0].message if issues else "no such file; check the path")
    return issues
