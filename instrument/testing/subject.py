"""Any agent as one thing that can be run: plain or async, a function or an object, with or without tools of its own."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from instrument.testing.waiting import release_tools

_GOODBYE_SECONDS = 2.0  # for an agent that was still running when its time was up
_WAKE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class AgentUnderTest:
    """What a team hands over: `agent(client, prompt)`, or with a parameter named `tools`, which then gets a list of tools.

    A function of a client alone (and `tools`) is taken for one that makes the agent: what it returns has `run(prompt)`, or
    `arun(prompt)` for an async client. An object that is no function is used by its method `run`.
    A coroutine function, or one whose first parameter is annotated `AsyncAnthropic`, gets an async client.
    """

    call: Callable[..., Any]
    takes_prompt: bool
    takes_tools: bool
    is_async: bool

    @classmethod
    def of(cls, agent: Any) -> Self:
        """How to run `agent`. Raises TypeError where that cannot be seen from its parameters."""
        call = agent if callable(agent) else getattr(agent, "run", None)
        if call is None:
            raise TypeError(f"{agent!r} is no agent: give a function of (client, prompt) or (client, prompt, tools)")
        parameters = inspect.signature(call).parameters
        places = [
            p
            for p in parameters.values()
            if p.name != "tools" and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        if not places:
            raise TypeError(f"{agent!r} takes no client: an agent under test is a function of (client, prompt)")
        in_colour = inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, "__call__", None))  # noqa: B004
        return cls(call, len(places) > 1, "tools" in parameters, in_colour or "Async" in str(places[0].annotation))

    def answer(self, url: str, prompt: str, tools: Sequence[Any]) -> Any:
        """Runs the agent to its end, against the server at `url`, and gives what it returned. Raises what it raises."""
        return (
            asyncio.run(self._answer_async(url, prompt, tools)) if self.is_async else self._answer(url, prompt, tools)
        )

    def _answer(self, url: str, prompt: str, tools: Sequence[Any]) -> Any:
        import anthropic

        with anthropic.Anthropic(api_key="test", base_url=url) as client:
            result = self._start(client, prompt, tools, method="run")
            return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result

    async def _answer_async(self, url: str, prompt: str, tools: Sequence[Any]) -> Any:
        import anthropic

        async with anthropic.AsyncAnthropic(api_key="test", base_url=url) as client:
            result = self._start(client, prompt, tools, method="arun")
            return await result if inspect.isawaitable(result) else result

    def _start(self, client: Any, prompt: str, tools: Sequence[Any], *, method: str) -> Any:
        given: dict[str, Any] = {"tools": list(tools)} if self.takes_tools else {}
        if self.takes_prompt:
            return self.call(client, prompt, **given)
        made = self.call(client, **given)
        return getattr(made, method, made.run)(prompt)


async def _awaited(result: Any) -> Any:
    return await result


@dataclass(slots=True)
class Ending:
    """How a run ended."""

    returned: Any = None
    raised: BaseException | None = None
    ended: bool = False
    """False: it was still running when its time was up."""


def run_within(seconds: float, work: Callable[[], Any], give_up: Callable[[], None]) -> Ending:
    """Runs `work` in a thread of its own, with the caller's context, and waits no longer than `seconds` for it.

    A thread cannot be killed: when the time is up `give_up` is called and every tool that hangs on purpose is woken, until the
    thread ends or has had two seconds more. Then it is left behind as a daemon.
    """
    ending = Ending()

    def attempt() -> None:
        try:
            ending.returned = work()
        except BaseException as raised:  # noqa: BLE001 - whatever the agent lets out is what the check is about
            ending.raised = raised

    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(attempt,), name="agent under test", daemon=True
    )
    thread.start()
    thread.join(seconds)
    ending.ended = not thread.is_alive()
    if ending.ended:
        release_tools()  # threads that still hang would keep the process from ending
        return ending
    give_up()
    end = time.monotonic() + _GOODBYE_SECONDS
    while thread.is_alive() and time.monotonic() < end:
        release_tools()
        thread.join(_WAKE_SECONDS)
    return Ending()  # what came late counts for nothing


def text_of(result: Any) -> str:
    """The words in what an agent returned: a text, something with an `answer`, a message with `content`; else its `str()`."""
    if result is None:
        return ""
    if isinstance(result, str):
        return result
    if hasattr(result, "answer"):
        return text_of(result.answer)
    content = result.get("content") if isinstance(result, dict) else getattr(result, "content", None)
    if isinstance(content, list | tuple):
        return "".join(text_of(_text(block)) for block in content)
    return text_of(content) if content is not None else str(result)


def _text(block: Any) -> Any:
    return block.get("text") if isinstance(block, dict) else getattr(block, "text", None)
