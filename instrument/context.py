"""Who a piece of work is done for, and how that follows it through tasks, threads and executors."""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from instrument.runner.manual import GuardedRun

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Run:
    """What every span below an agent span is stamped with in the journal."""

    run_id: str | None = None
    """Span id (16 hex digits) of the nearest agent span."""
    agent_name: str | None = None
    user_id: str | None = None
    conversation_id: str | None = None
    span_id: int | None = None
    """The same number as OpenTelemetry has it; None where only decorators know the run."""


NOBODY: Final = Run()
current_run: ContextVar[Run] = ContextVar("flyball_run", default=NOBODY)
"""What our own decorators and the two functions below have set. Spans of other libraries inherit it through the context too."""

guarding: ContextVar[GuardedRun | None] = ContextVar("flyball_guarding", default=None)
"""The `instrument.run` around the code that is running; decorated tools and models ask it."""


in_tool: ContextVar[str | None] = ContextVar("flyball_in_tool", default=None)
"""Set inside a tool call of such a run, where what is called is the tool's own affair: the call's name until its function
is entered, then ""."""


@contextlib.contextmanager
def user(user_id: str) -> Iterator[None]:
    """Everything recorded inside belongs to this user."""
    with _set(replace(current_run.get(), user_id=user_id)):
        yield


@contextlib.contextmanager
def conversation(conversation_id: str) -> Iterator[None]:
    """Everything recorded inside belongs to this conversation."""
    with _set(replace(current_run.get(), conversation_id=conversation_id)):
        yield


@contextlib.contextmanager
def _set(run: Run) -> Iterator[None]:
    token = current_run.set(run)
    try:
        yield
    finally:
        current_run.reset(token)


def in_context(fn: Callable[P, R]) -> Callable[P, R]:
    """`fn`, to be run in another thread with the context of here and now: its spans become children of the current span.

        threading.Thread(target=instrument.in_context(work)).start()

    Each call runs in a copy of its own, so the same function may run in several threads at once.
    """
    context = contextvars.copy_context()

    @functools.wraps(fn)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.copy().run(fn, *args, **kwargs)

    return run


class ContextThreadPool(ThreadPoolExecutor):
    """A `ThreadPoolExecutor` whose work runs in the context it was submitted from."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """As `ThreadPoolExecutor.submit`; `map` goes through here too."""
        return super().submit(in_context(fn), *args, **kwargs)
