"""Everything a tool can do to an agent, as a catalogue to parametrise a test over.

@pytest.mark.parametrize("fault", TOOL_FAULTS.values(), ids=str)
def test_my_agent_survives(fault):
    run_my_agent(tools=[fault(search)])
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import inspect
import io
import itertools
import math
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeVar, cast

from instrument.testing.waiting import HANG_SECONDS, gate, pause, pause_async, pause_async_deaf, pause_deaf

F = TypeVar("F", bound=Callable[..., Any])
Tool = Callable[..., Any]

HUGE_CHARACTERS: Final = 50_000_000
"""Of the text that `returns_huge_text` gives."""
_DEEP: Final = 100_000
_LONG_MESSAGE_CHARACTERS: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class ToolFault:
    """A decorator for plain functions and coroutine functions that makes them go wrong in one way."""

    name: str
    sentence: str
    """What the tool does, for a person."""
    plain: Callable[[Tool, tuple[Any, ...], dict[str, Any]], Any]
    coroutine: Callable[[Tool, tuple[Any, ...], dict[str, Any]], Awaitable[Any]]

    def __call__(self, tool: F, /, *, after: int = 0) -> F:
        """The tool works for its first `after` calls, and goes wrong from then on. Name, signature and docstring stay."""
        calls = itertools.count()  # its next() is one step, so threads share it safely

        @functools.wraps(tool)
        async def faulty_async(*args: Any, **kwargs: Any) -> Any:
            return await (tool(*args, **kwargs) if next(calls) < after else self.coroutine(tool, args, kwargs))

        @functools.wraps(tool)
        def faulty(*args: Any, **kwargs: Any) -> Any:
            return tool(*args, **kwargs) if next(calls) < after else self.plain(tool, args, kwargs)

        return cast(F, faulty_async if inspect.iscoroutinefunction(tool) else faulty)

    def __str__(self) -> str:
        return self.name


_catalogue: dict[str, ToolFault] = {}
TOOL_FAULTS: Final[Mapping[str, ToolFault]] = MappingProxyType(_catalogue)
"""By name. Each is a decorator and says in `sentence` what it does."""


def _does(instead: Callable[[], Any]) -> Callable[[], Any]:
    """A fault that does the same in both colours, named and described as `instead` is."""

    def plain(tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001 - nothing of it matters
        return instead()

    async def coroutine(tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
        return instead()

    _add(instead.__name__, instead.__doc__, plain, coroutine)
    return instead


def _add(name: str, sentence: str | None, plain: Any, coroutine: Any) -> None:
    _catalogue[name] = ToolFault(name, sentence or "", plain, coroutine)


class UnprintableError(Exception):
    """An exception that cannot be turned into text. Its `repr` can: without one, asyncio cannot put back its signal handler."""

    def __str__(self) -> NoReturn:
        raise RuntimeError("this exception has no words")


class Unprintable:
    """A value that cannot be turned into text."""

    def __str__(self) -> NoReturn:
        raise RuntimeError("this value has no words")

    __repr__ = __str__


class OutOfTreeError(BaseException):
    """An exception that `except Exception` does not catch."""


# --- it raises ---------------------------------------------------------------------------------------------------


@_does
def raises() -> Any:
    """It raises an ordinary exception."""
    raise RuntimeError("the disk is full")


@_does
def raises_unprintable() -> Any:
    """It raises an exception whose `str()` raises."""
    raise UnprintableError


@_does
def raises_at_length() -> Any:
    """It raises an exception with a message of 10 million characters."""
    raise ValueError("x" * _LONG_MESSAGE_CHARACTERS)


@_does
def raises_group() -> Any:
    """It raises an exception group."""
    raise ExceptionGroup("two at once", [OSError("one"), ValueError("other")])


@_does
def raises_system_exit() -> Any:
    """It calls `sys.exit`."""
    raise SystemExit(3)


@_does
def raises_keyboard_interrupt() -> Any:
    """It raises KeyboardInterrupt, as if somebody had pressed Ctrl-C."""
    raise KeyboardInterrupt


@_does
def raises_base_exception() -> Any:
    """It raises an exception that `except Exception` does not catch."""
    raise OutOfTreeError("not for everybody")


@_does
def raises_cancelled() -> Any:
    """It raises `asyncio.CancelledError`, though nobody cancelled anything."""
    raise asyncio.CancelledError


@_does
def raises_stop_iteration() -> Any:
    """It raises StopIteration, which ends a generator that lets it through."""
    raise StopIteration


@_does
def recurses() -> Any:
    """It calls itself until Python gives up."""
    return recurses()


# --- it does not come back, or not alone -------------------------------------------------------------------------


def _hangs(tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    pause(HANG_SECONDS)
    return tool(*args, **kwargs)


async def _hangs_async(tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    await pause_async(HANG_SECONDS)
    return await tool(*args, **kwargs)


_add("hangs", "It hangs, for 30 seconds or until `release_tools`, then works.", _hangs, _hangs_async)


def _hangs_deaf(tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    pause_deaf(HANG_SECONDS)
    return tool(*args, **kwargs)


async def _hangs_deaf_async(tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    await pause_async_deaf(HANG_SECONDS)
    return await tool(*args, **kwargs)


_add("hangs_deaf", "It hangs and ignores being cancelled.", _hangs_deaf, _hangs_deaf_async)


def _kills_its_thread(tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    me = ctypes.c_ulong(threading.get_ident())
    ctypes.pythonapi.PyThreadState_SetAsyncExc(me, ctypes.py_object(SystemExit))
    while True:  # the exception comes out of whatever the thread does next
        time.sleep(0.001)


async def _kills_its_task(tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    task.cancel()
    await asyncio.sleep(0)
    return await tool(*args, **kwargs)


_add("kills_its_thread", "It ends the thread, or the task, in which it runs.", _kills_its_thread, _kills_its_task)

_leaked: set[asyncio.Task[None]] = set()  # the event loop keeps no strong reference to a task


def _leaks(tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    threading.Thread(target=gate().wait, args=(HANG_SECONDS,), name="leaked by a tool", daemon=True).start()
    return tool(*args, **kwargs)


async def _leaks_async(tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    task = asyncio.create_task(pause_async(HANG_SECONDS), name="leaked by a tool")
    _leaked.add(task)
    task.add_done_callback(_leaked.discard)
    return await tool(*args, **kwargs)


_add("leaks", "It works, and leaves a thread or a task behind that goes on.", _leaks, _leaks_async)


# --- it disturbs others ------------------------------------------------------------------------------------------

_stdout = threading.Lock()  # two at once would each put back the other's closed stream


@_does
def closes_stdout() -> Any:
    """It prints, finds standard output closed and fails over it; the real one is put back."""
    with _stdout, contextlib.redirect_stdout(io.StringIO()) as out:
        print("about to close", file=out)
        out.close()
        print("closed", file=out)


def _mutates(tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = tool(*args, **kwargs)
    _spoil([*args, *kwargs.values()])
    return result


async def _mutates_async(tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = await tool(*args, **kwargs)
    _spoil([*args, *kwargs.values()])
    return result


def _spoil(arguments: list[Any]) -> None:
    for value in arguments:
        if isinstance(value, dict):
            _spoil(list(value.values()))
            value.clear()
            value["mutated"] = True
        elif isinstance(value, list):
            _spoil(list(value))
            value[:] = ["mutated"]


_add("mutates_arguments", "It works, and changes the lists and objects it was given.", _mutates, _mutates_async)


# --- it returns something odd ------------------------------------------------------------------------------------


@_does
def returns_none() -> Any:
    """It returns None."""
    return None


@_does
def returns_huge_text() -> Any:
    """It returns 50 million characters."""
    return "x" * HUGE_CHARACTERS


@_does
def returns_bytes() -> Any:
    """It returns bytes that are no text."""
    return b"\x00\xff\xfe binary"


@_does
def returns_object() -> Any:
    """It returns an object that JSON has no form for."""
    return object()


@_does
def returns_unprintable() -> Any:
    """It returns an object whose `str()` and `repr()` raise."""
    return Unprintable()


@_does
def returns_surrogates() -> Any:
    """It returns text with lone surrogates, which UTF-8 has no bytes for."""
    return "before \ud800 between \udfff after"


@_does
def returns_nan() -> Any:
    """It returns NaN and infinities, which JSON has no form for."""
    return {"mean": math.nan, "largest": math.inf, "smallest": -math.inf}


@_does
def returns_cycle() -> Any:
    """It returns a list that contains itself."""
    cycle: list[Any] = ["first"]
    cycle.append(cycle)
    return cycle


@_does
def returns_deep() -> Any:
    """It returns lists nested 100,000 deep."""
    deep: list[Any] = []
    for _ in range(_DEEP):
        deep = [deep]
    return deep


@_does
def returns_odd_keys() -> Any:
    """It returns an object whose keys are no strings."""
    return {(1, 2): "tuple", None: "null", 3: "number", b"b": "bytes"}


@_does
def returns_generator() -> Any:
    """It returns a generator that raises after its first item."""

    def items() -> Any:
        yield "first"
        raise OSError("the second item is gone")

    return items()


async def _never_awaited() -> str:
    return "if anybody had awaited it"


@_does
def returns_coroutine() -> Any:
    """It returns a coroutine that nobody awaited; one that is dropped warns."""
    return _never_awaited()
