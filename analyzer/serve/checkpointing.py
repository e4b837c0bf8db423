"""The process beside the receiver that brings the journal into the database: `python -m analyzer.serve.checkpointing DB SECONDS`.

A process of its own, so that receiving keeps its core. It reads notes on standard input (`Note` as JSON, one a line), and tells each
round on standard output (`Round`). When its input ends the receiver is gone, closed or killed: it does a last round and ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

_HOLD_SECONDS: Final = 2.0
"""After which the database is given up for a moment, so that readers get their turn."""
_TURN_SECONDS: Final = 0.2
_LOCK_SECONDS: Final = 30.0
_NICENESS: Final = 5
"""Receiving comes first: what waits in the journal is safe."""
_READ_BYTES: Final = 65_536
SOURCE: Final = "flyball serve"
"""Source of the issues that this process writes."""
_ISSUES: Final = {
    "not_kept": (
        "log records that tell of no call, and measurements, were received and not kept",
        "set OTEL_LOGS_EXPORTER and OTEL_METRICS_EXPORTER to none, or to where they are wanted",
        False,
    ),
    "rejected_spans": (
        "spans were received that could not be kept; their client was told why",
        "look at the client's log: the answer names the reason",
        True,
    ),
    "repeated_spans": (
        "spans came more than once, as when a client sends again what was not acknowledged; each is kept once",
        "nothing to do",
        False,
    ),
}


class Note(msgspec.Struct):
    """Something to be added to the issues of the database: `kind` a key of `_ISSUES`, `count` how many more."""

    kind: str
    count: int


class Round(msgspec.Struct):
    """One look at the journal."""

    spans: int
    """Spans that are new in the database."""
    repeated: int
    """Spans that were there already."""
    seconds: float
    problem: str | None = None
    """Why the journal could not be brought in; it keeps everything meanwhile."""


def rounds(database: Path, waiting: Counter[str], *, last: bool = False) -> Iterator[Round]:
    """Brings all there is into the database, round by round, and gives it up between two. Takes what it wrote from `waiting`."""
    from instrument.store.checkpoint import adopt

    complete = False
    while not complete:
        began = time.monotonic()
        # In the last round the receiver's segment may be whole and known, and yet has to be deleted.
        adopted = adopt(database, timeout_seconds=_LOCK_SECONDS, even_if_unchanged=last, longest_seconds=_HOLD_SECONDS)
        repeated = adopted.seen - adopted.spans
        waiting["repeated_spans"] += repeated
        problem = adopted.issues[0].message if adopted.issues else None
        if problem is None and any(waiting.values()) and database.exists():
            problem = _add_issues(database, waiting)
        yield Round(adopted.spans, repeated, round(time.monotonic() - began, 3), problem)
        complete = adopted.complete
        if not complete:
            time.sleep(_TURN_SECONDS)


def _add_issues(database: Path, waiting: Counter[str]) -> str | None:
    """Adds the counts to the issues in the database. Returns why it could not."""
    import duckdb

    from instrument.errors import StoreError
    from instrument.otlp import Issue
    from instrument.store.connect import writing
    from instrument.store.load import write_issues

    try:
        with writing(database, timeout_seconds=_LOCK_SECONDS) as con:
            con.execute("BEGIN")
            for kind, count in waiting.items():
                message, remedy, error = _ISSUES[kind]
                again = "UPDATE issues SET count = count + ? WHERE kind = ? AND source = ? RETURNING count"
                if count and not con.execute(again, [count, kind, SOURCE]).fetchall():
                    write_issues(con, [Issue(kind, SOURCE, message, remedy, count=count, error=error)])
            con.execute("COMMIT")
    except (StoreError, OSError, duckdb.Error) as e:
        return str(e).splitlines()[0]
    waiting.clear()
    return None


def main(database: Path, seconds: float, notes: int, out: int) -> None:
    """Rounds until `notes` (a file descriptor) ends; each is told on `out`."""
    waiting: Counter[str] = Counter()
    rest, ended = b"", False
    while not ended:
        for told in rounds(database, waiting):
            _tell(told, out)
        until = time.monotonic() + seconds
        while not ended and (left := until - time.monotonic()) > 0:
            if select.select([notes], [], [], left)[0]:
                piece = os.read(notes, _READ_BYTES)
                ended = not piece
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    note = msgspec.json.decode(line, type=Note)
                    waiting[note.kind] += note.count
    for told in rounds(database, waiting, last=True):
        _tell(told, out)


def _tell(told: Round, out: int) -> None:
    with contextlib.suppress(
        BrokenPipeError
    ):  # the receiver was killed; what it has written is brought in all the same
        os.write(out, msgspec.json.encode(told) + b"\n")


if __name__ == "__main__":
    # Ctrl-C and the stop of the whole group are for the receiver, which closes our input when it is done.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    main(Path(sys.argv[1]), float(sys.argv[2]), sys.stdin.fileno(), sys.stdout.fileno())
