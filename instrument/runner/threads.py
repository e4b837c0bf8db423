"""Daemon threads for tools, used again when they are free. Unlike those of a `ThreadPoolExecutor` they never keep a program from ending.

A thread cannot be killed. One that is given up is counted for as long as it runs.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any, Final

log = logging.getLogger("instrument")

_IDLE_SECONDS: Final = 30.0
_MAX_IDLE: Final = 16


class Work:
    """A function under way in a thread."""

    __slots__ = ("_abandoned", "_done", "_fn")

    def __init__(self, fn: Callable[[], object]) -> None:
        self._fn = fn
        self._done = self._abandoned = False

    def run(self) -> None:
        """Calls the function; whatever it raises ends here."""
        try:
            self._fn()
        except BaseException:
            # The functions we are given catch everything; this is an exception thrown into the thread from outside.
            log.warning("a tool's thread was interrupted", exc_info=True)
        finally:
            with _lock:
                self._done = True
                if self._abandoned:
                    _count(-1)

    def abandon(self) -> bool:
        """Nobody waits for it any more. True if it still runs; it is then counted until it ends."""
        with _lock:
            if self._done:
                return False
            if not self._abandoned:
                self._abandoned = True
                _count(+1)
            return True


def start(fn: Callable[[], object]) -> Work:
    """Runs `fn` in a free thread, or a new one. Raises RuntimeError where no thread can be started."""
    work = Work(fn)
    try:
        inbox = _idle.pop()
    except IndexError:
        inbox = SimpleQueue()
        threading.Thread(target=_serve, args=(inbox,), name="flyball-tool", daemon=True).start()
    inbox.put(work)
    return work


def abandoned_threads() -> int:
    """Threads of tools that were given up and still run."""
    return _abandoned


class DaemonExecutor(ThreadPoolExecutor):
    """What an event loop of ours runs `asyncio.to_thread` in, so that a hanging call there does not keep the program from ending either."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `ThreadPoolExecutor.submit`, without its limit of workers."""
        future: Future[Any] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as e:  # noqa: BLE001 - the exception belongs to whoever awaits the future
                future.set_exception(e)
            else:
                future.set_result(result)

        start(run)
        return future


def _serve(inbox: SimpleQueue[Work]) -> None:
    while True:
        try:
            work = inbox.get(timeout=_IDLE_SECONDS)
        except Empty:
            try:
                _idle.remove(inbox)
            except ValueError:
                continue  # taken in this very moment: work is coming
            return
        work.run()
        del work  # or the idle thread would keep the tool's arguments
        if len(_idle) >= _MAX_IDLE:
            return
        _idle.append(inbox)


def _count(change: int) -> None:
    global _abandoned  # noqa: PLW0603 - one number per process
    _abandoned += change


def _after_fork() -> None:
    """A forked process has none of the threads."""
    global _abandoned, _lock
    _idle.clear()
    _abandoned, _lock = 0, threading.Lock()


# Appending, popping and removing are each one step under the interpreter's lock.
_idle: list[SimpleQueue[Work]] = []
_abandoned = 0
_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
