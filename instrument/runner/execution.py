"""Runs the tool calls of one turn, at the same time up to a limit, each within its time. Nothing a tool does gets out of here.

Tools that are functions run in daemon threads; coroutine functions as tasks, on the caller's loop or, in a synchronous run, on one of ours;
tools with `process` in a process. On time-out a process is killed, a task is cancelled, and a thread is given up: that is said and counted.
A coroutine function that blocks its loop without awaiting blocks an asynchronous run; no time-out can help there.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

from instrument.runner import threads
from instrument.runner.content import awaited, is_pending
from instrument.runner.event_loop import GRACE_SECONDS, run_alone
from instrument.runner.outcome import Ran, failed, not_run, out_of_time, succeeded, timed_out
from instrument.runner.threads import abandoned_threads
from instrument.runner.tools import RunnableTool

__all__ = ["Job", "Ran", "abandoned_threads", "arun_jobs", "run_jobs"]

_MAX_WAIT_SECONDS: Final = 3600.0

Emit = Callable[[Ran], object]
OnDone = Callable[[int, Ran], object]


@dataclass(frozen=True, slots=True)
class Job:
    """One tool call to run. `context` is the one that it runs in (a copy of it): with the call's span current."""

    tool: RunnableTool
    input: dict[str, Any]
    timeout_seconds: float
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    tool_use: Mapping[str, Any] = field(default_factory=dict)
    """The whole block; only members of toolsets look at it."""


def run_jobs(
    jobs: Sequence[Job], *, parallel: int, deadline_seconds: float | None = None, on_done: OnDone | None = None
) -> list[Ran]:
    """Runs the jobs and gives their outcomes in the order of the jobs.

    At most `parallel` run at the same time; a thread that was given up does not count. What has not ended `deadline_seconds` from now is
    given up, and what has not started by then does not. `on_done(index, ran)` is called here, in this thread, as each one ends; what it
    raises gets out, as does KeyboardInterrupt, after the running tools were told to stop.
    """
    ended: SimpleQueue[tuple[int, Ran]] = SimpleQueue()

    def start(index: int, job: Job) -> Attempt:
        def emit(ran: Ran) -> None:
            ended.put((index, ran))

        if job.tool.is_async and not job.tool.process:
            return job.tool.loop.start(lambda: _run_async(job, emit), job.context.copy())
        return _in_thread(job, emit)

    board = Board(jobs, start, parallel=parallel, deadline_seconds=deadline_seconds, on_done=on_done)
    try:
        while (wait_seconds := board.begin()) is not None:
            try:
                index, ran = ended.get(timeout=wait_seconds)
            except Empty:
                board.expire()
            else:
                board.ended(index, ran)
    except BaseException:
        board.drop()
        raise
    return board.outcomes()


async def arun_jobs(
    jobs: Sequence[Job], *, parallel: int, deadline_seconds: float | None = None, on_done: OnDone | None = None
) -> list[Ran]:
    """As `run_jobs`, for asynchronous runs. Cancelling it cancels the running tools first and gives them a second to clean up."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Queue[tuple[int, Ran]] = asyncio.Queue()
    tasks: set[asyncio.Task[None]] = set()

    def start(index: int, job: Job) -> Attempt:
        if not job.tool.is_async or job.tool.process:
            return _in_thread(job, lambda ran: loop.call_soon_threadsafe(ended.put_nowait, (index, ran)))
        work = _run_async(job, lambda ran: ended.put_nowait((index, ran)))
        task = loop.create_task(work, context=job.context.copy())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return _Task(task)

    board = Board(jobs, start, parallel=parallel, deadline_seconds=deadline_seconds, on_done=on_done)
    try:
        while (wait_seconds := board.begin()) is not None:
            try:
                async with asyncio.timeout(wait_seconds):
                    index, ran = await ended.get()
            except TimeoutError:
                board.expire()
            else:
                board.ended(index, ran)
    except BaseException:
        board.drop()
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE_SECONDS)
        raise
    return board.outcomes()


# --- what both drivers follow -----------------------------------------------------------------------------------------


class Attempt(Protocol):
    """A job under way."""

    def cancel(self) -> bool:
        """Asks it to end; False where that is impossible."""
        ...

    def abandon(self) -> bool:
        """Nobody waits for it any more. True if it still runs."""
        ...


@dataclass(slots=True)
class _Running:
    attempt: Attempt
    limit_at: float
    limit_seconds: float
    told: bool = False
    """It was over its time and was told to end."""
    over: bool = False
    """It was over its time and had just ended by itself: its outcome is on the way."""


class Board:
    """Which jobs wait, run and have ended: the part without threads, tasks and waiting."""

    def __init__(
        self,
        jobs: Sequence[Job],
        start: Callable[[int, Job], Attempt],
        *,
        parallel: int,
        deadline_seconds: float | None = None,
        on_done: OnDone | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs, self._start, self._on_done, self._clock = jobs, start, on_done, clock
        self._parallel = max(1, parallel)
        self._deadline_at = math.inf if deadline_seconds is None else clock() + deadline_seconds
        self._waiting = dict.fromkeys(range(len(jobs)))
        self._running: dict[int, _Running] = {}
        self._ran: dict[int, Ran] = {}
        self._halted: set[str] = set()

    def outcomes(self) -> list[Ran]:
        """One for each job, when all have ended."""
        return [self._ran[index] for index in range(len(self._jobs))]

    def begin(self) -> float | None:
        """Starts what may start; how many seconds to wait for the next end, or None when all have ended."""
        for index in list(self._waiting):
            if len(self._running) >= self._parallel:
                break
            self._begin_one(index, self._jobs[index])
        if not self._running:
            return None if not self._waiting else 0.0
        wait = min(running.limit_at for running in self._running.values()) - self._clock()
        return min(max(wait, 0.0), _MAX_WAIT_SECONDS)

    def _begin_one(self, index: int, job: Job) -> None:
        toolset = job.tool.toolset
        if toolset is not None and any(self._jobs[i].tool.toolset == toolset for i in self._running):
            return
        del self._waiting[index]
        now = self._clock()
        if toolset in self._halted:
            self._end(index, not_run(job.tool.name))
        elif now >= self._deadline_at:
            self._end(index, out_of_time(job.tool.name))
        else:
            limit_seconds = min(job.timeout_seconds, self._deadline_at - now)
            try:
                attempt = self._start(index, job)
            except Exception as e:  # noqa: BLE001 - no thread left, no file descriptor left: this call failed
                self._end(index, failed(e, time.perf_counter()))
            else:
                self._running[index] = _Running(attempt, now + limit_seconds, limit_seconds)

    def ended(self, index: int, ran: Ran) -> None:
        """An attempt has given its outcome; one that was given up before is not heard any more."""
        running = self._running.pop(index, None)
        if running is not None:
            if running.told:
                ran = timed_out(self._name(index), running.limit_seconds, abandoned=False)
            self._end(index, ran)

    def expire(self) -> None:
        """Gives up what is over its time."""
        now = self._clock()
        for index, running in list(self._running.items()):
            if now < running.limit_at:
                continue
            if not running.told and running.attempt.cancel():
                running.told, running.limit_at = True, now + GRACE_SECONDS
                continue
            abandoned = running.attempt.abandon()
            if not abandoned and not running.told and not running.over:
                running.over, running.limit_at = True, now + GRACE_SECONDS
                continue
            del self._running[index]
            self._end(index, timed_out(self._name(index), running.limit_seconds, abandoned=abandoned))

    def drop(self) -> None:
        """Nobody wants the outcomes any more."""
        for running in self._running.values():
            if not running.attempt.cancel():
                running.attempt.abandon()
        self._running.clear()

    def _end(self, index: int, ran: Ran) -> None:
        toolset = self._jobs[index].tool.toolset
        if ran.is_error and toolset is not None:
            self._halted.add(toolset)
        self._ran[index] = ran
        if self._on_done is not None:
            self._on_done(index, ran)

    def _name(self, index: int) -> str:
        return self._jobs[index].tool.name


# --- attempts ---------------------------------------------------------------------------------------------------------


class _Task:
    """A tool as a task on the caller's loop."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def cancel(self) -> bool:
        self._task.cancel()
        return True

    def abandon(self) -> bool:
        if self._task.done():
            return False
        _abandoned_tasks.add(self._task)  # the loop alone would let it be collected half-way
        self._task.add_done_callback(_abandoned_tasks.discard)
        return True


_abandoned_tasks: set[asyncio.Task[None]] = set()


class _Thread:
    """A tool in a thread, which nothing can stop."""

    def __init__(self, run: Callable[[], object]) -> None:
        self._work = threads.start(run)

    def cancel(self) -> bool:
        return False

    def abandon(self) -> bool:
        return self._work.abandon()


class _Process:
    """A tool in a process; a thread waits for it, and ends with it."""

    def __init__(self, job: Job, emit: Emit) -> None:
        from instrument.runner.processes import ToolProcess

        self._process = ToolProcess(job.tool.name, job.tool.target or b"", job.input)
        self._work = threads.start(lambda: self._process.run(emit))

    def cancel(self) -> bool:
        # In a thread: to kill is to wait for the end, and the caller may be an event loop.
        threads.start(self._process.kill)
        return True

    def abandon(self) -> bool:
        return self._work.abandon()


def _in_thread(job: Job, emit: Emit) -> Attempt:
    def heard(ran: Ran) -> None:
        with contextlib.suppress(RuntimeError):  # the caller's loop is closed: nobody waits for this any more
            emit(ran)

    if job.tool.process:
        return _Process(job, heard)
    return _Thread(lambda: heard(job.context.copy().run(_run, job)))


def _run(job: Job) -> Ran:
    began = time.perf_counter()
    try:
        value = job.tool.call(job.input, job.tool_use)
        if is_pending(value):
            value = run_alone(partial(awaited, value))
        return succeeded(value, began)
    except BaseException as e:  # noqa: BLE001 - SystemExit in a tool ends the tool, not the run
        return failed(e, began)


async def _run_async(job: Job, emit: Emit) -> None:
    began = time.perf_counter()
    try:
        ran = succeeded(await awaited(job.tool.call(job.input, job.tool_use)), began)
    except BaseException as e:  # noqa: BLE001 - CancelledError too: it is the tool's own, or the board knows of it
        ran = failed(e, began)
    emit(ran)
