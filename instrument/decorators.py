"""`@agent`, `@tool`, `@model`: a span around any function, whatever its colour.

What a decorated function takes and gives goes into the journal only, not onto the span. Recording errors never reach the function or its
caller. A span is never left current across the `yield` of a generator: it is attached for each step and detached after it.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, overload

from instrument import semconv
from instrument.call import Call, Spec, current

if TYPE_CHECKING:
    from instrument.policy import Policy

F = TypeVar("F", bound=Callable[..., Any])


class Decorator(Protocol):
    """What a decorator with arguments returns: it gives back a function of the same type."""

    def __call__(self, fn: F, /) -> F:
        """The function, recorded."""
        ...


@overload
def agent(fn: F, /) -> F: ...
@overload
def agent(
    *,
    name: str | None = None,
    user_id: str | None = None,
    conversation_id: str | None = None,
    policy: Policy | str | os.PathLike[str] | None = None,
) -> Decorator: ...
def agent(
    fn: Any = None,
    /,
    *,
    name: str | None = None,
    user_id: str | None = None,
    conversation_id: str | None = None,
    policy: Policy | str | os.PathLike[str] | None = None,
) -> Any:
    """A function that is one whole agent run. All that happens inside, in whatever library, belongs to this run.

    `name` is that of the agent (default: the function's). Works bare or with arguments, on functions, methods, coroutines, generators and
    async generators.

    With a `policy` (or the path of one) the run is guarded, as by `instrument.run`: decorated tools inside that must not run raise
    `CallRefused`, whose text is for the model, and decorated models raise `RunStopped` when the run has used up what it may.
    """
    return _decorator(fn, semconv.INVOKE_AGENT, name, user_id=user_id, conversation_id=conversation_id, policy=policy)


@overload
def tool(fn: F, /) -> F: ...
@overload
def tool(*, name: str | None = None) -> Decorator: ...
def tool(fn: Any = None, /, *, name: str | None = None) -> Any:
    """A function that is a tool. Records arguments as JSON by parameter name, and the result; an exception makes the call a failed one.

    `name` is what the model calls it (default: the function's name).
    """
    return _decorator(fn, semconv.EXECUTE_TOOL, name)


@overload
def model(fn: F, /) -> F: ...
@overload
def model(*, name: str | None = None, provider: str | None = None) -> Decorator: ...
def model(fn: Any = None, /, *, name: str | None = None, provider: str | None = None) -> Any:
    """A function that calls a model. Not needed around clients that make spans themselves, such as Anthropic's.

    `name` is the model's, unless the function has a parameter `model`. Of the other parameters `messages` (or `prompt`), `system` and
    `tools` are understood. Token counts come from a returned message (Anthropic's, or one that looks like it) or from `instrument.usage`.
    """
    return _decorator(fn, semconv.CHAT, name, provider=provider)


_USAGE: Final = (
    semconv.INPUT_TOKENS,
    semconv.OUTPUT_TOKENS,
    semconv.CACHE_READ_TOKENS,
    semconv.CACHE_WRITE_TOKENS,
    semconv.REASONING_TOKENS,
    semconv.RESPONSE_MODEL,
    semconv.RESPONSE_ID,
    semconv.FINISH_REASONS,
    semconv.COST_USD,
)


def usage(
    *,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    cache_read_tokens: int | None = None,
    cache_write_tokens: int | None = None,
    reasoning_tokens: int | None = None,
    model: str | None = None,
    response_id: str | None = None,
    finish_reason: str | None = None,
    cost_usd: float | None = None,
) -> None:
    """Says what the model call around it used; does nothing outside of one. `input_tokens` includes those of the prompt cache."""
    call = current()
    if call is None:
        return
    said = (
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cache_write_tokens,
        reasoning_tokens,
        model,
        response_id,
        None if finish_reason is None else (finish_reason,),
        cost_usd,
    )
    call.span.set_attributes({name: value for name, value in zip(_USAGE, said, strict=True) if value is not None})


def _decorator(fn: Any, operation: str, name: str | None, **given: Any) -> Any:
    def decorate(fn: Any) -> Any:
        if isinstance(fn, (staticmethod, classmethod)):
            return type(fn)(decorate(fn.__func__))
        return _wrapped(fn, Spec(fn, operation, name, **given))

    return decorate if fn is None else decorate(fn)


def _wrapped(fn: Callable[..., Any], spec: Spec) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(fn):
        wrapper = _async_generator(fn, spec)
    elif inspect.isgeneratorfunction(fn):
        wrapper = _generator(fn, spec)
    elif inspect.iscoroutinefunction(fn):
        wrapper = _coroutine(fn, spec)
    else:
        wrapper = _function(fn, spec)
    # With itself in it: `functools.wraps` copies this mark onto whatever somebody else wraps around it.
    wrapper.__flyball_operation__ = (wrapper, spec.operation, spec.name)  # type: ignore[attr-defined]
    return wrapper


def _function(fn: Callable[..., Any], spec: Spec) -> Callable[..., Any]:
    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = Call(spec, args, kwargs)
        call.ask(args, kwargs)
        call.enter()
        try:
            result = fn(*args, **kwargs)
        except BaseException as e:
            call.leave()
            call.failed(e)
            raise
        call.leave()
        if hasattr(type(result), "__await__"):  # a function that returns a coroutine: the work is still to come
            return _awaited(call, result)
        call.returned(result)
        return result

    return wrapper


async def _awaited(call: Call, work: Awaitable[Any]) -> Any:
    call.enter()
    try:
        result = await work
    except BaseException as e:
        call.leave()
        call.failed(e)
        raise
    call.leave()
    call.returned(result)
    return result


def _coroutine(fn: Callable[..., Any], spec: Spec) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = Call(spec, args, kwargs)
        call.ask(args, kwargs)
        return await _awaited(call, fn(*args, **kwargs))

    return wrapper


def _generator(fn: Callable[..., Any], spec: Spec) -> Callable[..., Any]:
    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        call = Call(spec, args, kwargs)
        call.ask(args, kwargs)
        inner = fn(*args, **kwargs)
        step, given = inner.send, None
        try:
            while True:
                with call:
                    item = step(given)
                call.collect(item)
                try:
                    step, given = inner.send, (yield item)
                except GeneratorExit:
                    with call:
                        inner.close()
                    raise
                except BaseException as e:  # noqa: BLE001 - the caller's throw() is the inner generator's business
                    step, given = inner.throw, e
        except StopIteration as stop:
            call.returned_items(stop.value)
            return stop.value
        except GeneratorExit:
            call.returned_items(None)
            raise
        except BaseException as e:
            call.failed(e)
            raise

    return wrapper


def _async_generator(fn: Callable[..., Any], spec: Spec) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        call = Call(spec, args, kwargs)
        call.ask(args, kwargs)
        inner = fn(*args, **kwargs)
        step, given = inner.asend, None
        try:
            while True:
                with call:
                    item = await step(given)
                call.collect(item)
                try:
                    step, given = inner.asend, (yield item)
                except GeneratorExit:
                    with call:
                        await inner.aclose()
                    raise
                except BaseException as e:  # noqa: BLE001 - the caller's athrow() is the inner generator's business
                    step, given = inner.athrow, e
        except StopAsyncIteration:
            call.returned_items(None)
        except GeneratorExit:
            call.returned_items(None)
            raise
        except BaseException as e:
            call.failed(e)
            raise

    return wrapper
