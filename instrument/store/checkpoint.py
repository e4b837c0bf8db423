"""From the journal into the database: every few seconds while a process records, at its end, and before anybody reads.

Whoever does it adopts every segment in the journal's folder, those of other and of killed processes included. How far each has been read
stands in the database (`sources.bytes_read`) and changes in the same transaction as the rows, so each line arrives exactly once. A segment
whose owner is dead and that has been read to its end is deleted.

Imports DuckDB and the loader only when there is something to do: importing `instrument` must stay cheap.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import math
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from instrument.journal import folder_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from instrument.otlp import Issue
    from instrument.store.load import Loaded

log = logging.getLogger("instrument")

_CHUNK_BYTES: Final = 8_000_000
_TRANSACTION_BYTES: Final = 32_000_000
_TRANSACTION_SEGMENTS: Final = 100
_BUSY_SHARE: Final = 0.05
"""Checkpoints take at most this share of the time, however slow the disk."""
_LOCK_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
_CLOSING_SECONDS: Final = 30.0
_FAILURES_UNTIL_WARNING: Final = 4
"""In a row. Fewer are everyday life: somebody else has the database open for a moment."""


_adopted: dict[Path, dict[str, int]] = {}
"""Sizes of the segments when this process last adopted all of them."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """What one round brought into the database."""

    spans: int = 0
    """Spans that are new there."""
    seen: int = 0
    """Spans that were read: those that are new, those that came again, and marks whose end has come."""
    segments: int = 0
    """Segments that had something new."""
    issues: tuple[Issue, ...] = ()
    """Why segments could not be adopted; empty when all were."""
    complete: bool = True
    """False: `longest_seconds` were over before all was read."""


def adopt(
    path: Path,
    *,
    timeout_seconds: float = 30.0,
    even_if_unchanged: bool = False,
    longest_seconds: float = math.inf,
) -> Adopted:
    """Brings all of the journal of the database at `path` into it, and creates the database if there is only a journal.

    Costs next to nothing while the journal has not grown since this process last did it. Does not raise where it cannot be done: says so
    in `issues`, and `unread` gives what the database lacks. After `longest_seconds` no further transaction is begun, so that readers
    get their turn; then `complete` is False.
    """
    waiting = _sizes(path)
    if not waiting or (waiting == _adopted.get(path) and not even_if_unchanged and path.exists()):
        return Adopted()
    import duckdb

    from instrument.errors import StoreError
    from instrument.otlp import Issue

    try:
        adopted = _adopt(path, timeout_seconds, longest_seconds)
        if adopted.complete:
            _adopted[path] = waiting
        return adopted
    except (StoreError, OSError, duckdb.Error) as e:
        problem = str(e).splitlines()[0] if str(e) else type(e).__name__
        remedy = f"solve that, then read again: nothing is lost, it lies in {folder_of(path)}"
        message = f"what {len(waiting)} journal segments hold could not be brought into the database: {problem}"
        return Adopted(
            issues=(Issue("journal_not_adopted", str(folder_of(path)), message, remedy, count=len(waiting)),)
        )


def unread(path: Path) -> Iterator[tuple[str, bytes, int]]:
    """What lies in the journal and not in the database: (source, whole lines, number of the first), for `Loader.add_lines`.

    For readers that may not write. Reads offsets from the database where it can be opened, else gives the whole journal.
    """
    offsets: dict[str, int] = {}
    if path.exists():
        from instrument.errors import StoreError
        from instrument.store.connect import reading

        with (
            contextlib.suppress(StoreError, OSError),
            reading(path, timeout_seconds=_LOCK_SECONDS) as con,
        ):  # then: all of it
            offsets = _offsets(con)
    for file in _segments(path):
        with contextlib.suppress(FileNotFoundError):  # somebody has adopted it meanwhile
            yield from _lines(file, _Progress(_source(file), offsets.get(_source(file), 0)))


def _segments(path: Path) -> list[Path]:
    try:
        return sorted(folder_of(path).glob("*.jsonl"))
    except OSError:
        return []


def _source(segment: Path) -> str:
    """The name of a segment in the database: without the place, so that both can be moved together."""
    return f"{segment.parent.name}/{segment.name}"


def _offsets(con: DuckDBPyConnection) -> dict[str, int]:
    rows = con.execute("SELECT name, bytes_read FROM sources WHERE bytes_read IS NOT NULL").fetchall()
    return {str(name): int(read) for name, read in rows}


@dataclass
class _Progress:
    """How far one segment has been read."""

    source: str
    offset: int
    owner_is_dead: bool = False
    lock: int | None = None


def _adopt(path: Path, timeout_seconds: float, longest_seconds: float) -> Adopted:
    from instrument.store.connect import writing

    spans = seen = segments = 0
    with _no_fork(), writing(path, timeout_seconds=timeout_seconds) as con:
        offsets = _offsets(con)
        waiting = _segments(path)
        until = time.monotonic() + longest_seconds
        while waiting and time.monotonic() < until:
            batch, waiting = waiting[:_TRANSACTION_SEGMENTS], waiting[_TRANSACTION_SEGMENTS:]
            more, loaded, touched = _transaction(con, batch, offsets)
            waiting = more + waiting
            spans += loaded.spans
            seen += loaded.seen
            segments += touched
    return Adopted(spans, seen, segments, complete=not waiting)


def _transaction(con: DuckDBPyConnection, files: list[Path], offsets: dict[str, int]) -> tuple[list[Path], Loaded, int]:
    """Reads from `files` up to a limit. Returns those to go on with, what was added and the segments that had something new."""
    from instrument.store.load import Loaded, Loader

    budget, touched, later, done = _TRANSACTION_BYTES, 0, [], []
    con.execute("BEGIN")
    # What comes again was sent again, which is no issue of a recording, and which `flyball serve` counts itself.
    with contextlib.ExitStack() as locks, Loader(con, tells_repeats=False) as loader:
        for file in files:
            if budget <= 0:
                later.append(file)
                continue
            progress = locks.enter_context(_held(file, offsets.get(_source(file), 0)))
            if progress is None:
                continue
            before = progress.offset
            for source, data, first_line in _lines(file, progress, budget):
                loader.add_lines(data, source, first_line)
                budget -= len(data)
            if progress.owner_is_dead and budget > 0 and (torn := _torn(file, progress)):
                loader.add_issue(torn)
            if progress.offset > before:
                touched += 1
            if budget <= 0:
                later.append(file)
            done.append((file, progress))
        loaded = loader.finish() if touched else Loaded(0, 0, 0)
        for _, progress in done:
            _remember(con, progress.source, progress.offset)
        con.execute("COMMIT")
        for file, progress in done:
            offsets[progress.source] = progress.offset
            _delete_if_consumed(file, progress)
    return later, loaded, touched


def _remember(con: DuckDBPyConnection, source: str, offset: int) -> None:
    if not offset:
        return
    known = con.execute(
        "UPDATE sources SET bytes_read = ? WHERE name = ? RETURNING source_key", [offset, source]
    ).fetchall()
    if not known:
        con.execute("INSERT INTO sources SELECT coalesce(max(source_key), 0) + 1, ?, ? FROM sources", [source, offset])


@contextlib.contextmanager
def _held(file: Path, offset: int) -> Iterator[_Progress | None]:
    """Tries the owner's lock: whoever gets it knows that the owner is dead. None: the segment is gone."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        progress = _Progress(_source(file), offset, lock=handle)
        with contextlib.suppress(
            OSError
        ):  # held: its owner lives; or a file system without locks, where we cannot know
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            progress.owner_is_dead = True
        yield progress
    finally:
        os.close(handle)


def _lines(file: Path, progress: _Progress, budget: int | None = None) -> Iterator[tuple[str, bytes, int]]:
    """Whole lines from where `progress` stands, in pieces; moves it on. Ends at a line that is not complete yet."""
    with file.open("rb") as stream:
        if os.fstat(stream.fileno()).st_size <= progress.offset:
            return
        line = 1 + _count_lines(stream, progress.offset)
        rest = b""
        while budget is None or budget > 0:
            piece = stream.read(_CHUNK_BYTES)
            end = piece.rfind(b"\n") + 1
            if not piece:
                return
            if not end:  # one line longer than a piece
                rest += piece
                continue
            data, rest = rest + piece[:end], piece[end:]
            progress.offset += len(data)
            yield progress.source, data, line
            line += data.count(b"\n")
            if budget is not None:
                budget -= len(data)


def _count_lines(stream: BinaryIO, offset: int) -> int:
    """Newlines before `offset`; leaves the stream there."""
    lines = 0
    while offset > 0:
        piece = stream.read(min(offset, _CHUNK_BYTES))
        if not piece:
            break
        lines += piece.count(b"\n")
        offset -= len(piece)
    return lines


def _torn(file: Path, progress: _Progress) -> Issue | None:
    """The last line of a dead process's segment, if the process died while writing it."""
    from instrument.otlp import Issue

    left = file.stat().st_size - progress.offset
    if left <= 0:
        return None
    progress.offset += left
    message = f"the last line is cut off after {left} bytes: the process ended while it was being written"
    return Issue("torn_line", progress.source, message, "nothing to do: everything before it was read")


def _delete_if_consumed(file: Path, progress: _Progress) -> None:
    if not progress.owner_is_dead or progress.lock is None or os.fstat(progress.lock).st_size > progress.offset:
        return
    with contextlib.suppress(
        OSError
    ):  # a folder we may not write to: it stays, and its offset says that it has been read
        file.unlink()


# --- in the background ------------------------------------------------------------------------------------------------

_gate_held = False
_fork_gate = threading.Lock()
"""Held while the database is open: a child forked in that moment would inherit its file descriptors, and with them its locks."""


@contextlib.contextmanager
def _no_fork() -> Iterator[None]:
    with _fork_gate:
        yield


def _before_fork() -> None:
    global _gate_held  # noqa: PLW0603 - the three fork hooks have nothing else in common
    _gate_held = _fork_gate.acquire(timeout=_CLOSING_SECONDS)


def _after_fork_in_parent() -> None:
    if _gate_held:
        _fork_gate.release()


def _after_fork_in_child() -> None:
    global _fork_gate  # noqa: PLW0603 - the thread that may hold the parent's does not exist here
    _fork_gate = threading.Lock()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


@dataclass
class Checkpoints:
    """The rounds of one recorder: a daemon thread, started with the first call of `start`."""

    path: Path
    seconds: float | None
    """Pause between rounds; None: none in the background, only at the end and on demand."""
    done: int = 0
    problem: str | None = None
    _failures: int = 0
    _thread: threading.Thread | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _one: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Starts the thread unless it runs."""
        if self.seconds is not None and self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="flyball-checkpoint", daemon=True)
            self._thread.start()

    def in_child(self) -> None:
        """In a forked child the thread is gone and its locks may be held for ever."""
        self._thread, self._stop, self._one = None, threading.Event(), threading.Lock()
        self.done, self.problem = 0, None
        self.start()

    def stop(self) -> None:
        """Ends the thread and does a last round."""
        if self._thread is not None:
            self._stop.set()
            if self._thread is not threading.current_thread():
                self._thread.join(_CLOSING_SECONDS)
            self._thread = None
        # The journal may not have grown since the last round, but now its owner is gone and it can be deleted.
        if not self.now(_CLOSING_SECONDS, even_if_unchanged=True):
            self._warn()

    def now(self, timeout_seconds: float, *, even_if_unchanged: bool = False) -> bool:
        """One round, if there is anything new. False: it failed; `problem` says why."""
        with self._one:
            try:
                adopted = adopt(self.path, timeout_seconds=timeout_seconds, even_if_unchanged=even_if_unchanged)
            except Exception as e:  # noqa: BLE001 - whatever it is, it must not end the thread or reach the host
                self._failed(f"{type(e).__name__}: {e}")
                return False
            if adopted.issues:
                self._failed(adopted.issues[0].message)
                return False
            self.problem, self._failures = None, 0
            self.done += 1 if adopted.segments else 0
            return True

    def _failed(self, problem: str) -> None:
        self.problem = problem
        self._failures += 1
        if self._failures == _FAILURES_UNTIL_WARNING:
            self._warn()

    def _warn(self) -> None:
        log.warning(
            "%s. Everything stays in %s; the next reader or recorder brings it in.", self.problem, folder_of(self.path)
        )

    def _run(self) -> None:
        assert self.seconds is not None
        pause = self.seconds
        while not self._stop.wait(pause):
            began = time.monotonic()
            fine = self.now(_LOCK_SECONDS)
            took = time.monotonic() - began
            pause = max(self.seconds, took / _BUSY_SHARE) if fine else min(max(pause, 0.1) * 2, _LONGEST_PAUSE_SECONDS)


def _sizes(path: Path) -> dict[str, int]:
    sizes = {}
    for file in _segments(path):
        with contextlib.suppress(OSError):  # deleted meanwhile
            sizes[file.name] = file.stat().st_size
    return sizes
