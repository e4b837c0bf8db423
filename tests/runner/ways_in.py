"""The ways in which a loop can be guarded, as functions of the same shape, and what goes wrong in each of them in the same way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anthropic
import msgspec
from anthropic import beta_async_tool, beta_tool

import instrument
from instrument.context import guarding
from instrument.policy import Policy
from instrument.runner.result import RunResult
from instrument.runner.stop import StopReason
from instrument.testing import ModelServer, error, text, tool_use

MODEL = "claude-sonnet-5-5"
PROMPT: dict[str, Any] = {"role": "user", "content": "What is x?"}
TOOLS: Any = [
    {
        "name": "search",
        "description": "Searches.",
        "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
    }
]
MOST_ROUNDS = 60
"""A loop without guards is cut off here."""
DEFAULT = Policy()
Tool = Callable[[str], Any]
Script = Callable[[Mapping[str, Any]], Any]
Way = Callable[[str, Tool, Policy], RunResult]


def policy(**sections: dict[str, Any]) -> Policy:
    """The default policy with some values changed."""
    base = Policy()
    changed = {name: msgspec.structs.replace(getattr(base, name), **values) for name, values in sections.items()}
    return msgspec.structs.replace(base, **changed)


# --- the six failures -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    """What the model and the tool do, and how every way must end."""

    script: Script
    stop: StopReason
    tool: Tool = lambda q: f"nothing about {q}"
    policy: Policy = DEFAULT


def closing(body: Mapping[str, Any]) -> bool:
    return bool(body.get("tool_choice", {}).get("type") == "none")


def asking(name: str = "search", words: str = "", *, same: bool = True) -> Script:
    def script(body: Mapping[str, Any]) -> Any:
        if closing(body):
            return text("I could not find it.")
        return tool_use(name, {"q": "x" if same else f"x{len(body['messages'])}"}, text=words or None)

    return script


def breaks(q: str) -> str:
    raise ConnectionError("no route")


FAILURES = {
    "tool errors": Failure(asking(), StopReason.ERROR_CASCADE, breaks),
    "loop": Failure(asking(), StopReason.REPEATED_CALL),
    "context": Failure(
        lambda body: error(400, message="prompt is too long: 210000 tokens > 200000 maximum"),
        StopReason.CONTEXT_OVERFLOW,
    ),
    "hallucinated tool": Failure(asking("serch", same=False), StopReason.UNKNOWN_TOOL),
    "stuck": Failure(lambda body: text("I am done." if closing(body) else ""), StopReason.EMPTY_RESPONSE),
    "cost": Failure(
        asking(words="word " * 400, same=False), StopReason.RUN_BUDGET, policy=policy(cost={"run_limit_usd": 0.03})
    ),
}


# --- the ways ---------------------------------------------------------------------------------------------------------


def client_of(url: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="test", base_url=url, max_retries=0)


def async_client_of(url: str) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(api_key="test", base_url=url, max_retries=0)


def own(url: str, tool: Tool, policy: Policy) -> RunResult:
    """`instrument.run` around a loop that does nothing for itself."""
    messages = [PROMPT]
    with client_of(url) as client, instrument.run(policy) as run:
        try:
            while not run.over:
                request = run.request(model=MODEL, max_tokens=600, messages=messages, tools=TOOLS)
                messages.append(run.answered(client.messages.create(**request)))
                for block in run.tool_uses:
                    with run.tool(block) as call:
                        if call.allowed:
                            call.result = tool(**block["input"])
                messages += run.results()
        except instrument.RunStopped:
            pass
        except anthropic.APIError as e:
            run.failed(e)
            run.close(e)
    return run.result


def own_async(url: str, tool: Tool, policy: Policy) -> RunResult:
    """The same with the other client."""

    async def main() -> RunResult:
        messages = [PROMPT]
        async with async_client_of(url) as client, instrument.run(policy) as run:
            try:
                while not run.over:
                    request = await run.arequest(model=MODEL, max_tokens=600, messages=messages, tools=TOOLS)
                    messages.append(run.answered(await client.messages.create(**request)))
                    for block in run.tool_uses:
                        with run.tool(block) as call:
                            if call.allowed:
                                call.result = tool(**block["input"])
                    messages += run.results()
            except instrument.RunStopped:
                pass
            except anthropic.APIError as e:
                run.failed(e)
                run.close(e)
        return run.result

    return asyncio.run(main())


def naive(ask: Callable[[list[Any]], Any], tool: Tool) -> None:
    """A loop as one finds it: errors are words, unknown tools too, and an empty answer is asked to go on."""
    messages: list[Any] = [PROMPT]
    for _ in range(MOST_ROUNDS):
        reply = ask(messages)
        messages.append({"role": "assistant", "content": reply.content})
        if not any(block.type == "tool_use" or block.text for block in reply.content):
            messages.append({"role": "user", "content": "Go on."})
            continue
        results = [answer(block, tool) for block in reply.content if block.type == "tool_use"]
        if not results:
            return
        messages.append({"role": "user", "content": results})
    raise AssertionError("nobody stopped it")


def answer(block: Any, tool: Tool) -> Any:
    try:
        content, failed = (tool(**block.input), False) if block.name == "search" else ("no such tool", True)
    except instrument.RunStopped:
        raise
    except Exception as e:  # noqa: BLE001 - what naive loops do
        content, failed = f"{type(e).__name__}: {e}", True
    return {"type": "tool_result", "tool_use_id": block.id, "content": content, "is_error": failed}


def plainly(client: anthropic.Anthropic) -> Callable[[list[Any]], Any]:
    return lambda messages: client.messages.create(model=MODEL, max_tokens=600, messages=messages, tools=TOOLS)


def streaming(client: anthropic.Anthropic) -> Callable[[list[Any]], Any]:
    def ask(messages: list[Any]) -> Any:
        with client.messages.stream(model=MODEL, max_tokens=600, messages=messages, tools=TOOLS) as stream:
            return stream.get_final_message()

    return ask


def guarded(kind: Callable[[anthropic.Anthropic], Callable[[list[Any]], Any]]) -> Way:
    """`instrument.guard(client)` inside of an `instrument.run`, and a loop that knows nothing of it."""

    def way(url: str, tool: Tool, policy: Policy) -> RunResult:
        with client_of(url) as client, instrument.run(policy) as run:
            try:
                naive(kind(instrument.guard(client)), tool)
            except (instrument.RunStopped, anthropic.APIError) as e:
                run.close(e)
        return run.result

    return way


def guarded_async(*, stream: bool) -> Way:
    """The same with the other client."""

    async def ask(client: anthropic.AsyncAnthropic, messages: list[Any]) -> Any:
        given: Any = {"model": MODEL, "max_tokens": 600, "messages": messages, "tools": TOOLS}
        if not stream:
            return await client.messages.create(**given)
        async with client.messages.stream(**given) as found:
            return await found.get_final_message()

    def way(url: str, tool: Tool, policy: Policy) -> RunResult:
        with instrument.run(policy) as run, asyncio.Runner() as runner:
            client = instrument.guard(async_client_of(url))
            try:
                naive(lambda messages: runner.run(ask(client, messages)), tool)
            except (instrument.RunStopped, anthropic.APIError) as e:
                run.close(e)
            runner.run(client.close())
        return run.result

    return way


def sdk(url: str, tool: Tool, policy: Policy) -> RunResult:
    """The SDK's own loop."""

    def search(q: str) -> str:
        """Searches.

        Args:
            q: What for.
        """
        return str(tool(q))

    with client_of(url) as client:
        loop = instrument.tool_runner(
            client, policy, tools=[beta_tool(search)], model=MODEL, max_tokens=600, messages=[PROMPT]
        )
        with contextlib.suppress(anthropic.APIError):
            loop.until_done()
        return loop.result


def sdk_async(url: str, tool: Tool, policy: Policy) -> RunResult:
    """The same with the other client."""

    async def search(q: str) -> str:
        """Searches.

        Args:
            q: What for.
        """
        return str(tool(q))

    async def main() -> RunResult:
        async with async_client_of(url) as client:
            loop = instrument.tool_runner(
                client, policy, tools=[beta_async_tool(search)], model=MODEL, max_tokens=600, messages=[PROMPT]
            )
            with contextlib.suppress(anthropic.APIError):
                await loop.auntil_done()
            return loop.result

    return asyncio.run(main())


def decorated(url: str, tool: Tool, policy: Policy) -> RunResult:
    """`@agent(policy=...)` and `@tool`, around a loop that knows nothing of it; a guarded client tells of the model."""
    found: list[Any] = []
    search = instrument.tool(name="search")(tool)

    @instrument.agent(policy=policy)
    def agent() -> None:
        found.append(guarding.get())
        with client_of(url) as client:
            naive(plainly(instrument.guard(client)), search)

    with contextlib.suppress(instrument.RunStopped, anthropic.APIError):
        agent()
    result: RunResult = found[0].result
    return result


def decorated_model(url: str, tool: Tool, policy: Policy) -> RunResult:
    """Everything through decorators, the model too: its requests are seen by nobody."""
    found: list[Any] = []
    search = instrument.tool(name="search")(tool)

    @instrument.agent(policy=policy)
    def agent() -> None:
        found.append(guarding.get())
        with client_of(url) as client:
            naive(instrument.model(name=MODEL)(plainly(client)), search)

    with contextlib.suppress(instrument.RunStopped, anthropic.APIError):
        agent()
    result: RunResult = found[0].result
    return result


def runner(url: str, tool: Tool, policy: Policy) -> RunResult:
    """Our own loop, which the others must be like."""

    def search(q: str) -> str:
        """Searches.

        Args:
            q: What for.
        """
        return str(tool(q))

    with client_of(url) as client:
        return instrument.GuardedRunner(client, model=MODEL, tools=[search], policy=policy, max_tokens=600).run(
            "What is x?"
        )


WAYS: dict[str, Way] = {
    "runner": runner,
    "own loop": own,
    "own loop, async": own_async,
    "guarded client": guarded(plainly),
    "guarded client, streaming": guarded(streaming),
    "guarded client, async": guarded_async(stream=False),
    "guarded client, async streaming": guarded_async(stream=True),
    "tool_runner": sdk,
    "tool_runner, async": sdk_async,
    "decorated": decorated,
}


def played(way: Way, failure: Failure) -> tuple[RunResult, ModelServer]:
    with ModelServer(failure.script) as server:
        return way(server.url, failure.tool, failure.policy), server
