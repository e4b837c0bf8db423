"""An event loop in a daemon thread, for asynchronous tools of a synchronous run.

One for all tools of a toolbox and all their calls: what a tool opened in one call (a session, a pool of connections) works in the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, Final

from instrument.runner import threads

GRACE_SECONDS: Final = 1.0
"""How long a cancelled task may go on cleaning up."""

Work = Callable[[], Coroutine[Any, Any, object]]


class ToolLoop:
    """Starts its thread on first use, and again after a tool has blocked it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: _Loop | None = None

    def start(self, work: Work, context: contextvars.Context) -> LoopTask:
        """Runs `work()` as a task in `context`."""
        with self._lock:
            if self._running is None or not self._running.is_alive():
                self._running = _Loop()
                # Not at exit: the thread is a daemon's, and the interpreter has better things to do by then.
                weakref.finalize(self, self._running.stop).atexit = False
            return LoopTask(self, self._running, work, context)

    def replace(self, blocked: _Loop) -> None:
        """A tool blocks the loop: the next call gets another one."""
        with self._lock:
            if self._running is blocked:
                self._running = None
        blocked.stop()
        blocked.thread.abandon()

    def close(self, timeout_seconds: float = GRACE_SECONDS) -> None:
        """Cancels what is left of the tools and ends the thread, unless a tool blocks it for longer than that."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            running.stop()
            if not running.ended.wait(timeout_seconds):
                running.thread.abandon()


class LoopTask:
    """A task on the loop, held from another thread."""

    def __init__(self, owner: ToolLoop, loop: _Loop, work: Work, context: contextvars.Context) -> None:
        self._owner, self._loop, self._work, self._context = owner, loop, work, context
        self._task: asyncio.Task[object] | None = None
        self._cancelled = self._heard = False
        loop.post(self._begin)

    def _begin(self) -> None:
        if not self._cancelled:
            self._task = self._loop.loop.create_task(_run(self._work), context=self._context)

    def cancel(self) -> bool:
        """Asks the task to end."""
        self._cancelled = True
        self._loop.post(self._cancel)
        return True

    def _cancel(self) -> None:
        self._heard = True
        if self._task is not None:
            self._task.cancel()

    def abandon(self) -> bool:
        """Nobody waits for it any more. True if it still runs."""
        if self._task is not None and self._task.done():
            return False
        if not self._heard:
            self._owner.replace(self._loop)
        return self._task is not None


def run_alone(work: Work) -> object:
    """Runs `work()` to its end on a loop of its own, in this thread; what it left behind is cancelled."""
    loop = _new_loop()
    try:
        return loop.run_until_complete(work())
    finally:
        _wind_down(loop)


class _Loop:
    """A running loop. The thread holds this and never the `ToolLoop`, which can so be collected."""

    def __init__(self) -> None:
        self.loop = _new_loop()
        self.ended = threading.Event()
        self._stopping = False
        self._pid = os.getpid()
        self.thread = threads.start(self._serve)

    def is_alive(self) -> bool:
        return not self._stopping and self._pid == os.getpid() and not self.loop.is_closed()

    def post(self, call: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # closed by now: nothing runs there any more
            self.loop.call_soon_threadsafe(call)

    def stop(self) -> None:
        self._stopping = True
        self.post(self.loop.stop)

    def _serve(self) -> None:
        try:
            while (
                not self._stopping and not self.loop.is_closed()
            ):  # a tool may stop the loop, or raise SystemExit in a task that it leaked
                with contextlib.suppress(BaseException):
                    self.loop.run_forever()
            _wind_down(self.loop)
        finally:
            self.ended.set()


async def _run(work: Work) -> object:
    return await work()


def _new_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_default_executor(threads.DaemonExecutor(1))
    return loop


def _wind_down(loop: asyncio.AbstractEventLoop) -> None:
    """As `asyncio.Runner.close`, but never waits longer than the grace, and not for threads."""
    with contextlib.suppress(BaseException):  # what leaked tasks raise while they are cancelled concerns nobody
        if leaked := asyncio.all_tasks(loop):
            for task in leaked:
                task.cancel()
            loop.run_until_complete(asyncio.wait(leaked, timeout=GRACE_SECONDS))
        loop.run_until_complete(loop.shutdown_asyncgens())
    with contextlib.suppress(Exception):
        loop.close()
