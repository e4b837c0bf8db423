"""The journal: what a process records, appended to its own file the moment it happens.

`<database>.journal/<start>-<pid>-<random>.jsonl` holds OTLP JSON lines. Each process writes its own segment and holds an advisory lock on
it for as long as it lives, so that anybody can tell a segment that still grows from one whose owner is dead. One `write` per line, straight
to the kernel: killing the process loses nothing that was written. Nothing here ever raises into the program that is being recorded.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from instrument import semconv
from instrument.otlp_line import TAIL, Prefixes, own_line

SEGMENT_BYTES: Final = 64_000_000
"""A segment that has grown beyond this is closed, so that it can be deleted once it has been read."""
_REOPEN_SECONDS: Final = 1.0


def folder_of(database: Path) -> Path:
    """Where the journal of `database` lies: beside it."""
    return database.with_name(database.name + ".journal")


class Journal:
    """One process's segment. Thread-safe; also against itself, because the garbage collector may end a span in the middle of a write."""

    def __init__(
        self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.folder = folder
        self.bytes_written = 0
        """Since the process started, all segments together."""
        self.spans = self.marks = 0
        """Ended and started spans written."""
        self.lost = 0
        """Ended spans that could not be written."""
        self.reason: str | None = None
        """Why the last of them could not be written."""
        self.unreported = 0
        """Of these, how many the journal itself does not mention yet."""
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._after_fork()

    def _after_fork(self) -> None:
        self._lock = threading.RLock()
        self._fd: int | None = None
        self._size = 0
        self._torn = False
        self._next_try, self._why = 0.0, ""

    def in_child(self) -> None:
        """To be called in a forked child: leaves the parent's segment alone and starts another one with the next line."""
        if self._fd is not None:
            with contextlib.suppress(OSError):  # a descriptor that is closed already is what we want
                os.close(self._fd)
        self.spans = self.marks = self.lost = self.unreported = 0
        self._after_fork()

    def write(self, line: bytes, *, mark: bool = False) -> bool:
        """Appends a whole line, its newline included. A `mark` that cannot be written is no loss. False: not written."""
        with self._lock:
            try:
                fd = self._fd if self._fd is not None else self._open()
                self._append(fd, line)
            except OSError as e:
                self._failed(e, mark)
                return False
            if mark:
                self.marks += 1
            else:
                self.spans += 1
            return True

    def append(self, line: bytes, spans: int) -> None:
        """Appends a whole line that holds `spans` ended spans.

        Raises `OSError`; then nothing of it is there, and the caller still has them.
        """
        with self._lock:
            fd = self._fd if self._fd is not None else self._open()
            before = os.fstat(fd).st_size
            try:
                self._append(fd, line)
            except OSError:
                # A part of a line has no line end, so nobody has read it.
                os.ftruncate(fd, before)
                self._torn = False
                raise
            self.spans += spans

    def _append(self, fd: int, line: bytes) -> None:
        if self._torn or self.unreported:
            self._close_gap(fd)
        written = os.write(fd, line)
        self._size += written
        self.bytes_written += written
        if written < len(line):
            self._torn = True
            # Writing on gives the reason: a full disk, a file size limit. After an interruption it simply goes on.
            written += os.write(fd, line[written:])
            if written < len(line):
                raise OSError(errno.ENOSPC, "the disk took only part of a line")
            self._torn = False
        if self._size >= self._segment_bytes:
            self._release()

    def _close_gap(self, fd: int) -> None:
        """Ends a torn line and reports what was lost, now that writing may work again."""
        if self._torn:
            os.write(fd, b"\n")
            self._torn = False
        if self.unreported:
            facts = {semconv.LOST_SPANS: self.unreported, semconv.LOST_REASON: self.reason or "unknown"}
            span = own_line(semconv.LOSS_SPAN, os.urandom(16).hex(), os.urandom(8).hex(), self._clock(), facts)
            line = _LOSS_PREFIX + span + TAIL
            written = os.write(fd, line)
            if written < len(line):
                self._torn = True
                raise OSError(errno.ENOSPC, "the disk took only part of a line")
            self.unreported = 0

    def _failed(self, error: OSError, mark: bool) -> None:
        if not mark:
            self.lost += 1
            self.unreported += 1
            self.reason = f"{error.strerror or error} ({self.folder})"

    def _open(self) -> int:
        # A folder that cannot be written is tried once a second, not once a span.
        now = time.monotonic()
        if now < self._next_try:
            raise OSError(errno.EAGAIN, self._why)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._fd = _new_segment(self.folder, self._clock() // 1000)
        except OSError as e:
            self._next_try, self._why = now + _REOPEN_SECONDS, e.strerror or str(e)
            raise
        self._size, self._torn = 0, False
        return self._fd

    def _release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def close(self) -> None:
        """Gives the segment up. A later line starts another one."""
        with self._lock:
            if self.unreported and self._fd is not None:
                with contextlib.suppress(OSError):  # the caller reports what stays unreported
                    self._close_gap(self._fd)
            self._release()


def _new_segment(folder: Path, started_us: int, lock: Callable[[int, int], object] = fcntl.flock) -> int:
    """A new file, opened and locked. Between the two an adopting process may take it for a dead one's and delete it: then another."""
    while True:
        path = folder / f"{started_us}-{os.getpid()}-{os.urandom(4).hex()}.jsonl"
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(
            OSError
        ):  # a file system without locks: nobody else gets one either, so nobody deletes it
            lock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return fd
        os.close(fd)


_LOSS_PREFIX: Final = (
    Prefixes().of(None, None).replace(b'"scope":{}', b'"scope":{"name":"%b"}' % semconv.SCOPE.encode())
)
