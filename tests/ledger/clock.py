"""Time in the tests of ledgers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

NOON = 1_796_040_000.0
"""2026-11-30 12:00:00 UTC."""


@dataclass
class Clock:
    """Moved by hand."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now


def wait_for(ready: Callable[[], object], seconds: float = 20.0) -> None:
    """Really waits, for other processes."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)
