"""One agent against a server and tools that go wrong, in the four ways to run it; and what the provider would bill."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import anthropic
import msgspec

from instrument import billing
from instrument.policy import Policy
from instrument.prices import Prices
from instrument.runner.events import Ended
from instrument.runner.guarded import GuardedRunner
from instrument.runner.result import RunResult
from instrument.testing import ApiFault, ErrorReply, ModelServer, Reply, Usage, estimated_tokens, text, tool_use
from instrument.testing.faults import AnyReply
from tests.runner.in_memory import DAY, MODEL

WAYS = ("run", "stream", "arun", "astream")
LIMIT_USD = 0.1
ENOUGH_SECONDS = 20.0
"""No run may take longer, whatever goes wrong."""
POLICY = msgspec.convert(
    {
        "tool_errors": {"tool_timeout_seconds": 0.15},
        "loops": {"turns": 10, "tool_calls": 20, "run_seconds": 5.0, "final_answer_tokens": 300},
        "context": {"result_chars": 2_000},
        "cost": {"run_limit_usd": LIMIT_USD, "min_output_tokens": 32},
        "model_calls": {"retries": 2, "retry_seconds": 0.01, "timeout_seconds": 0.3},
    },
    Policy,
)


async def lookup_async(question: str = "", deep: Any = None) -> str:
    """Looks something up."""
    return f"on {question} the handbook says nothing"


lookup_async.__name__ = "lookup"


def lookup(question: str = "", deep: Any = None) -> str:
    """Looks something up."""
    return f"on {question} the handbook says nothing"


class Provider:
    """The script of a server: a tool call, the fault, another tool call, and an answer. Adds up what it bills."""

    def __init__(self, fault: ApiFault) -> None:
        calls = (tool_use("lookup", {"question": f"number {n}", "deep": [{"n": n}]}) for n in (1, 2))
        first, second = calls
        self._replies: Iterator[AnyReply] = itertools.chain(
            [first], fault("lookup"), [second], itertools.repeat(text("That is all."))
        )
        self.billed_usd = 0.0
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, body: dict[str, Any]) -> AnyReply:
        self.bodies.append(body)
        reply = next(self._replies)
        if not isinstance(reply, Reply):
            return reply
        if reply.fault.closed:
            return reply
        # As the API: never more output than was allowed. What does not arrive is billed all the same.
        output = min(estimated_tokens(reply.content), int(body["max_tokens"]))
        told = reply.usage
        used = told if told is not None and told.input_tokens is not None else Usage(estimated_tokens(body), output)
        message = {"usage": {"input_tokens": used.input_tokens, "output_tokens": used.output_tokens}}
        self.billed_usd += billing.cost(Prices(), body, message, DAY) or 0.0
        return reply if told is None else replace(reply, usage=used)


class Stage:
    """One server and the two clients for many runs, one after the other."""

    def __init__(self) -> None:
        self._script: Callable[[dict[str, Any]], AnyReply] = lambda _: ErrorReply(400, "nobody", "nothing is played")
        self._number = 0
        self.server = ModelServer(self._answer)
        self.loop = asyncio.new_event_loop()

    def __enter__(self) -> Stage:
        self.server.__enter__()
        self.client = anthropic.Anthropic(api_key="test", base_url=self.server.url)
        self.async_client = anthropic.AsyncAnthropic(api_key="test", base_url=self.server.url)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.loop.run_until_complete(self.async_client.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.server.__exit__(None, None, None)

    def tasks_left(self) -> set[str]:
        """Names of tasks that are still on the loop after a moment."""
        self.loop.run_until_complete(asyncio.sleep(0.1))
        return {task.get_name() for task in asyncio.all_tasks(self.loop)}

    def _answer(self, body: dict[str, Any]) -> AnyReply:
        if body.get("metadata") != {"user_id": str(self._number)}:
            return ErrorReply(400, "late", "this request is of a run that is over")
        return self._script(body)

    def play(self, way: str, script: Callable[[dict[str, Any]], AnyReply], **settings: Any) -> RunResult:
        """Runs the agent in one of the four ways, and closes it."""
        self._script, self._number = script, self._number + 1
        settings["metadata"] = {"user_id": str(self._number)}
        client = self.async_client if way.startswith("a") else self.client
        runner = GuardedRunner(client, **{"model": MODEL, "max_tokens": 400, "policy": POLICY, **settings})
        try:
            match way:
                case "run":
                    return runner.run("What does the handbook say?")
                case "stream":
                    return last(list(runner.stream("What does the handbook say?")))
                case "arun":
                    return self.loop.run_until_complete(runner.arun("What does the handbook say?"))
            return self.loop.run_until_complete(_streamed(runner))
        finally:
            runner.close()


async def _streamed(runner: GuardedRunner) -> RunResult:
    async with aclosing(runner.astream("What does the handbook say?")) as events:
        return last([event async for event in events])


def last(events: list[Any]) -> RunResult:
    """The result of a stream, which is its last event and nowhere else."""
    *before, ended = events
    assert isinstance(ended, Ended)
    assert not any(isinstance(event, Ended) for event in before)
    return ended.result


def threads_of_ours() -> set[threading.Thread]:
    """Threads of tools that are alive."""
    return {t for t in threading.enumerate() if t.name == "flyball-tool"}


__all__ = ["LIMIT_USD", "POLICY", "WAYS", "Provider", "Stage", "lookup", "lookup_async", "threads_of_ours"]
