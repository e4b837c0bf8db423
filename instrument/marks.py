"""Marks of spans that have started, written when a span has been open for a moment.

A mark for every span would cost a third of what recording costs as a whole (measured with `benchmarks.recording`). So one is written only
for what is still open after `DELAY_SECONDS`: every call that hangs is visible while it hangs, and the many that end at once cost nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

DELAY_SECONDS: Final = 0.25


class Marks(Generic[T]):
    """Open spans that have no mark yet, and the daemon thread that hands them to `write`."""

    def __init__(self, write: Callable[[T], None]) -> None:
        self._write = write
        self.in_child()

    def in_child(self) -> None:
        """In a forked child the thread is gone, and the parent's open spans are the parent's to mark."""
        self._waiting: dict[int, T] = {}
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._idle = True
        self._closed = False

    def add(self, span_id: int, started: T) -> None:
        """`write` will be called with `started`, in another thread, unless `drop` comes first."""
        self._waiting[span_id] = started
        if self._idle:
            self._idle = False
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="flyball-marks", daemon=True)
                self._thread.start()
            self._wake.set()

    def drop(self, span_id: int) -> None:
        """The span has ended."""
        self._waiting.pop(span_id, None)

    def close(self) -> None:
        """Ends the thread."""
        self._closed = True
        self._wake.set()

    def _run(self) -> None:
        while not self._closed:
            # A copy, because spans start and end meanwhile; list() of a dict is one step for other threads.
            before = list(self._waiting)
            time.sleep(DELAY_SECONDS)
            for span_id in before:
                if (started := self._waiting.pop(span_id, None)) is not None:
                    self._write(started)
            if not self._waiting:
                self._wake.clear()
                self._idle = True
                if not self._waiting:  # nobody came between the look and the flag
                    self._wake.wait()
                self._idle = False
