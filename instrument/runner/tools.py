"""What a tool is: the value that users make, and the one that the runner calls."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from operator import attrgetter
from typing import Any

from instrument import semconv
from instrument.runner.event_loop import ToolLoop


@dataclass(frozen=True)
class Tool:
    """A tool by its schema and a callable, or a function with a limit of its own (`limited`).

    `call` takes the properties of `input_schema` (JSON Schema 2020-12 of an object) as keyword arguments, just as the model gave them, and
    may be a coroutine function. `timeout_seconds` is used instead of the policy's. With `process` each call has a process of its own, which
    is killed on time-out with all it has started; `call` must then be something that a new Python process can import.
    """

    name: str
    description: str
    input_schema: Mapping[str, Any] | None
    """None with `limited`: what the signature says."""
    call: Callable[..., Any]
    timeout_seconds: float | None = None
    process: bool = False


@dataclass(frozen=True)
class RunnableTool:
    """A tool as the runner sees it, whatever it was made of."""

    name: str
    definition: dict[str, Any] | None
    """Its entry in the request's `tools`; None for a member of a toolset, which the toolset's entry declares."""
    schema: Mapping[str, Any] | None
    """What its input is checked against; None where the tool checks it itself."""
    is_async: bool
    call: Callable[[dict[str, Any], Mapping[str, Any]], Any]
    """Runs it: `call(input, tool_use)`; the second is the whole `tool_use` block."""
    timeout_seconds: float | None = None
    process: bool = False
    target: bytes | None = None
    """The pickled function of a tool that runs in a process."""
    toolset: str | None = None
    """The family of a member of a toolset. Members of one toolset run one after another, in the order in which they were asked for."""
    loop: ToolLoop = field(default_factory=ToolLoop)
    """Where it runs when the runner is synchronous and the tool is not."""


def limited(fn: Callable[..., Any], *, timeout_seconds: float | None = None, process: bool = False) -> Tool:
    """A function as a tool with a time limit of its own, or in a process that is killed at the limit.

    Schema and description come from its signature and docstring, when a runner is made with it. A new process costs the time that Python
    and the imports of the program's main module and of the function's take: 0.15 s at least, over a second with `anthropic` among them.
    """
    call = FromSignature(fn)
    return Tool(call.name, "", None, call, timeout_seconds, process)


class FromSignature:
    """A function called with what the model gave, turned into the types that its signature names (by pydantic).

    Pickled as the name of the function, so that a process gets it even where the name stands for a `Tool` by now.
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn
        bare, name = undecorated(fn)
        self.name = str(name or getattr(bare, "__name__", type(bare).__name__))
        self.is_async = is_async(bare)

    @cached_property
    def _checked(self) -> Callable[..., Any]:
        from pydantic import validate_call

        checked: Callable[..., Any] = validate_call(undecorated(self.fn)[0])
        return checked

    def __call__(self, **arguments: Any) -> Any:
        return self._checked(**arguments)

    def __reduce__(self) -> Any:
        where = (self.fn.__module__, self.fn.__qualname__)
        if undecorated(found_by_name(*where).fn)[0] is not undecorated(self.fn)[0]:
            raise TypeError(f"{'.'.join(where)} is another function")
        return found_by_name, where


def found_by_name(module: str, qualname: str) -> FromSignature:
    """The function that `module` holds under that name, plain, decorated or as a tool. Raises ImportError and AttributeError."""
    found = attrgetter(qualname)(import_module(module))
    if isinstance(found, Tool):
        found = found.call
    if isinstance(found, FromSignature):
        return found
    return FromSignature(
        found if inspect.isroutine(found) else found.func
    )  # a tool object of the SDK has its function there


def undecorated(fn: Any) -> tuple[Any, str | None]:
    """A function without the recording of `@instrument.tool`, since the runner records it; and the name it was given there.

    Decorators of others, above or below, stay.
    """
    inner = getattr(fn, "__func__", fn)
    mark = getattr(inner, "__flyball_operation__", None)
    if mark is None or mark[0] is not inner or mark[1] != semconv.EXECUTE_TOOL:
        return fn, None
    bare = inner.__wrapped__
    return (types.MethodType(bare, fn.__self__) if inner is not fn else bare), mark[2]


def is_async(fn: Any) -> bool:
    """Whether calling it gives a coroutine or an asynchronous generator."""
    call = fn if inspect.isroutine(fn) else getattr(type(fn), "__call__", fn)  # noqa: B004 - to look at it, not to ask for it
    return any(judge(f) for judge in (inspect.iscoroutinefunction, inspect.isasyncgenfunction) for f in (fn, call))
