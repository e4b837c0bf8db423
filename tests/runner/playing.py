"""One guarded run against a scripted server, in any of the four ways, and what was sent."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any

import anthropic
import msgspec

from instrument.policy import Policy
from instrument.runner.guarded import GuardedRunner
from instrument.runner.result import RunResult
from instrument.testing import ModelServer, Reply, tool_use
from tests.runner.chaos import WAYS, last
from tests.runner.in_memory import MODEL

Script = Iterable[Any] | Callable[[dict[str, Any]], Any]
__all__ = ["WAYS", "Played", "call", "forces_words", "play", "policy", "sync_and_async"]


class Played:
    """A result and the bodies of the requests that led to it."""

    def __init__(self, result: RunResult, bodies: list[dict[str, Any]]) -> None:
        self.result, self.bodies = result, bodies

    @property
    def did(self) -> list[tuple[str, str]]:
        """Guard and action of what was done."""
        return [(a.guard, str(a.action)) for a in self.result.actions]

    @property
    def results(self) -> list[dict[str, Any]]:
        """All tool results that the model was sent, in order."""
        return [b for m in self.result.messages for b in _blocks(m) if b["type"] == "tool_result"]


def _blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return content if isinstance(content, list) else []


def policy(fields: Mapping[str, Any] | None = None) -> Policy:
    """The default policy with some fields, named as `section.field`, changed. Retries do not wait."""
    tables: dict[str, dict[str, Any]] = {"model_calls": {"retry_seconds": 0.01}}
    for path, value in (fields or {}).items():
        section, name = path.split(".")
        tables.setdefault(section, {})[name] = value
    return msgspec.convert(tables, Policy)


def play(
    way: str, script: Script, fields: Mapping[str, Any] | None = None, *, prompt: Any = "What is x?", **settings: Any
) -> Played:
    """Runs one agent to its end. `conversation` and `user_id` go to the run, all else to the runner."""
    of_run = {name: settings.pop(name) for name in ("conversation",) if name in settings}
    settings = {"model": MODEL, "policy": policy(fields), **settings}
    with ModelServer(script) as server:
        if way in ("run", "stream"):
            with anthropic.Anthropic(api_key="test", base_url=server.url) as client:
                runner = GuardedRunner(client, **settings)
                result = runner.run(prompt, **of_run) if way == "run" else last([*runner.stream(prompt, **of_run)])
                runner.close()
        else:
            result = asyncio.run(_async(way, server.url, settings, prompt, of_run))
        return Played(result, [dict(request.body) for request in server.requests])


async def _async(way: str, url: str, settings: dict[str, Any], prompt: Any, of_run: dict[str, Any]) -> RunResult:
    async with anthropic.AsyncAnthropic(api_key="test", base_url=url) as client:
        runner = GuardedRunner(client, **settings)
        if way == "arun":
            return await runner.arun(prompt, **of_run)
        async with aclosing(runner.astream(prompt, **of_run)) as events:
            return last([event async for event in events])


def forces_words(reply: Callable[[dict[str, Any]], Any], words: Reply) -> Callable[[dict[str, Any]], Any]:
    """A model that does one thing for ever, and answers in words when it may call no tools."""
    return lambda body: words if body.get("tool_choice", {}).get("type") == "none" else reply(body)


def call(name: str, **arguments: Any) -> Reply:
    """A reply that asks for one tool."""
    return tool_use(name, arguments)


def sync_and_async(fn: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """The function, and a coroutine function that does the same."""

    async def coroutine(**arguments: Any) -> Any:
        await asyncio.sleep(0)
        return fn(**arguments)

    coroutine.__name__, coroutine.__doc__, coroutine.__annotations__ = fn.__name__, fn.__doc__, fn.__annotations__
    coroutine.__signature__ = inspect.signature(fn)  # type: ignore[attr-defined]
    return {"plain": fn, "coroutine": coroutine}
