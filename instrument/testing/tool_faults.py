"""Decorators that make a tool go wrong on purpose, plain functions and coroutine functions alike."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from instrument.testing.waiting import pause, pause_async

F = TypeVar("F", bound=Callable[..., Any])


def failing(message: str, *, after: int = 0, error: type[Exception] = RuntimeError) -> Callable[[F], F]:
    """The tool works for its first `after` calls; from then on each call raises `error(message)` instead."""

    def fail() -> Any:
        raise error(message)

    return faulty(after, instead=fail)


def returning(value: Any, *, after: int = 0) -> Callable[[F], F]:
    """The tool works for its first `after` calls; from then on each call gives `value` and does nothing."""
    return faulty(after, instead=lambda: value)


def hanging(seconds: float, *, after: int = 0) -> Callable[[F], F]:
    """The tool works for its first `after` calls; from then on each call waits `seconds` first, or until `release_tools`."""
    return faulty(after, wait_seconds=seconds)


def faulty(after: int, *, instead: Callable[[], Any] | None = None, wait_seconds: float = 0.0) -> Callable[[F], F]:
    """After `after` good calls the tool waits `wait_seconds` and then works, or does what `instead` does."""

    def decorate(tool: F) -> F:
        calls = itertools.count()  # its next() is one step, so threads share it safely

        @functools.wraps(tool)
        async def faulty_async(*args: Any, **kwargs: Any) -> Any:
            if next(calls) < after:
                return await tool(*args, **kwargs)
            await pause_async(wait_seconds)
            return await tool(*args, **kwargs) if instead is None else instead()

        @functools.wraps(tool)
        def faulty_plain(*args: Any, **kwargs: Any) -> Any:
            if next(calls) < after:
                return tool(*args, **kwargs)
            pause(wait_seconds)
            return tool(*args, **kwargs) if instead is None else instead()

        return cast(F, faulty_async if inspect.iscoroutinefunction(tool) else faulty_plain)

    return decorate
