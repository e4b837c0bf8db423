"""Waiting that can be called off, because a thread that sleeps keeps its process from ending."""

from __future__ import annotations

import threading
import time
from collections.abc import Coroutine
from typing import Any, Final

HANG_SECONDS: Final = 30.0
"""How long a tool that hangs does so, unless `release_tools` wakes it: longer than any test should wait."""
_ASYNC_POLL_SECONDS: Final = 0.02

_gate = threading.Event()


def release_tools() -> None:
    """Wakes every tool that hangs on purpose, in whatever thread or task, and ends what leaking tools left behind."""
    global _gate  # the next tool to hang waits for the next release
    woken, _gate = _gate, threading.Event()
    woken.set()


def gate() -> threading.Event:
    """What the next `release_tools` sets."""
    return _gate


def pause(seconds: float) -> None:
    """Waits so long, or until `release_tools`."""
    _gate.wait(seconds)


def pause_async(seconds: float) -> Coroutine[Any, Any, None]:
    """As `pause`, and other tasks go on meanwhile."""
    return _wait_async(_gate, seconds)  # the gate of now, not of when a task gets to run


async def _wait_async(woken: threading.Event, seconds: float) -> None:
    import asyncio  # a test kit that is only imported should cost nothing

    end = time.monotonic() + seconds
    while not woken.is_set() and (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(left, _ASYNC_POLL_SECONDS))


def pause_deaf(seconds: float) -> None:
    """As `pause`, and an exception raised into the thread does not end it."""
    woken, end = _gate, time.monotonic() + seconds
    while not woken.is_set() and (left := end - time.monotonic()) > 0:
        try:
            woken.wait(min(left, _ASYNC_POLL_SECONDS))
        except BaseException:  # noqa: BLE001, S112 - to ignore whatever should end it is what this is for
            continue


async def pause_async_deaf(seconds: float) -> None:
    """As `pause_async`, and a cancelled task goes on waiting."""
    import asyncio

    woken, end = _gate, time.monotonic() + seconds
    while not woken.is_set() and (left := end - time.monotonic()) > 0:
        try:
            await asyncio.sleep(min(left, _ASYNC_POLL_SECONDS))
        except asyncio.CancelledError:
            continue
