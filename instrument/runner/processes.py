"""A tool in a process of its own, which can be killed, with everything that it has started.

The function is found by name in a new Python process ("spawn": a forked one could hang on a lock of a thread that it does not have). Its
result is turned into content there, so it need not be sent. Context variables and the current span stay behind.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from instrument.capture import message_of
from instrument.runner.content import awaited, is_pending
from instrument.runner.event_loop import run_alone
from instrument.runner.outcome import Ran, failed, succeeded

_END_SECONDS: Final = 1.0
_spawn = multiprocessing.get_context("spawn")


class ToolProcessDied(RuntimeError):
    """The process of a tool ended without a result. `exit_code` is negative for a signal."""

    def __init__(self, tool: str, exit_code: int | None) -> None:
        self.exit_code = exit_code
        super().__init__(f"the process of {tool} ended with exit code {exit_code} before it gave a result")


class ToolProcess:
    """One call in a process. `run` blocks; `kill` comes from another thread."""

    def __init__(self, tool: str, target: bytes, given: Mapping[str, Any]) -> None:
        self._tool = tool
        self._receiver, self._sender = _spawn.Pipe(duplex=False)
        # Not a daemon in the sense of multiprocessing: that one may have no processes of its own.
        self._process = _spawn.Process(target=_serve, args=(self._sender, target, dict(given)), name="flyball-tool")
        self._lock = threading.Lock()
        self._killed = False

    def run(self, emit: Callable[[Ran], object]) -> None:
        """Starts the process, hands its outcome to `emit`, and sees to its end."""
        began = time.perf_counter()
        try:
            ran = self._outcome(began)
        except BaseException as e:  # noqa: BLE001 - no process, no memory, a result that cannot be read: a failed call
            ran = failed(e, began)
        emit(ran)
        with contextlib.suppress(Exception):  # never started, or gone
            self._process.join(_END_SECONDS)
        self.kill()
        self._receiver.close()
        _live.discard(self)

    def _outcome(self, began: float) -> Ran:
        with self._lock:
            if self._killed:
                return failed(ToolProcessDied(self._tool, None), began)
            _live.add(self)
            try:
                self._process.start()
            finally:
                self._sender.close()  # or the end of the process would never be seen
        try:
            ran: Ran = pickle.loads(self._receiver.recv_bytes())  # noqa: S301 - from our own process
            error = self._receiver.recv_bytes()
        except (EOFError, OSError):
            self._process.join(_END_SECONDS)
            return failed(ToolProcessDied(self._tool, self._process.exitcode), began)
        with contextlib.suppress(Exception):  # a class that only the tool's process has
            return replace(ran, error=pickle.loads(error))  # noqa: S301
        return ran

    def kill(self) -> None:
        """Ends the process and all that it has started."""
        with self._lock:
            self._killed = True
            if self._process.pid is None or self._process.exitcode is not None:
                return
            if hasattr(os, "killpg"):
                with contextlib.suppress(OSError):  # not yet at the head of its own group
                    os.killpg(self._process.pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                self._process.kill()
            self._process.join(_END_SECONDS)


def _kill_all() -> None:
    for process in list(_live):
        process.kill()


_live: set[ToolProcess] = set()
# After multiprocessing's own, so before it: that one waits for processes that are still running.
atexit.register(_kill_all)


# --- in the new process -----------------------------------------------------------------------------------------------


def _serve(sender: Connection, target: bytes, given: dict[str, Any]) -> None:
    if hasattr(os, "setsid"):
        os.setsid()  # a group of its own, to be killed as a whole
    threading.Thread(target=_end_with_parent, daemon=True).start()
    ran = _ran(target, given)
    error = _sendable(ran.error)
    sender.send_bytes(pickle.dumps(replace(ran, error=None)))
    sender.send_bytes(error)


def _ran(target: bytes, given: dict[str, Any]) -> Ran:
    began = time.perf_counter()
    try:
        value = pickle.loads(target)(**given)  # noqa: S301 - pickled by the process that started this one
        if is_pending(value):
            value = run_alone(partial(awaited, value))
        return succeeded(value, began)
    except BaseException as e:  # noqa: BLE001 - SystemExit too: the caller is told
        return failed(e, began)


def _sendable(error: BaseException | None) -> bytes:
    try:
        sent = pickle.dumps(error)
        # An exception with arguments of its own often cannot be read back, or comes back as another.
        if error is None or message_of(pickle.loads(sent)) != message_of(error):  # noqa: S301 - our own
            return pickle.dumps(None)
    except Exception:  # noqa: BLE001 - its type and text are sent in any case
        return pickle.dumps(None)
    return sent


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)
