"""From a place to the ledger that is there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from instrument.errors import LedgerError
from instrument.ledger.base import Ledger
from instrument.ledger.redis_ledger import RedisLedger
from instrument.ledger.sqlite_ledger import SqliteLedger

VARIABLE: Final = "FLYBALL_LEDGER"
DEFAULT: Final = "flyball.ledger"
_SERVERS: Final = ("redis://", "rediss://", "unix://")


def open_ledger(
    where: str | os.PathLike[str] | Ledger | None = None,
    *,
    must_exist: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> Ledger:
    """The ledger at `where`: a path (SQLite), an address (`redis://`, `rediss://`, `unix://`), or a ledger, which is returned.

    None or empty: what FLYBALL_LEDGER says, else `flyball.ledger` in the working directory. A file is made on first use; with
    `must_exist` a missing one raises `LedgerError`, as does an address that is none.
    """
    if isinstance(where, Ledger):
        return where
    place = os.fspath(where or environment.get(VARIABLE) or DEFAULT)
    if place.startswith(_SERVERS):
        return RedisLedger(place)
    if "://" in place:
        raise LedgerError(
            place.split("://", 1)[0] + "://", f"is no kind of ledger; give a path, or one of {', '.join(_SERVERS)}"
        )
    if must_exist and not Path(place).exists():
        raise LedgerError(place, f"no such ledger; name the one that the runs use with --ledger or {VARIABLE}")
    return SqliteLedger(place)
