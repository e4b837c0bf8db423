"""Two agents of a page each: a naive loop as one finds it in tutorials, and a careful one without Flyball's guards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import anthropic

MODEL = "claude-opus-5-5"
INPUT_USD, OUTPUT_USD = 4e-6, 20e-6
"""Price of a token of `MODEL`."""
GOOD_ENOUGH = "I could not find out more."


def schema_of(tool: Callable[..., Any]) -> dict[str, Any]:
    names = [name for name in tool.__annotations__ if name != "return"]
    properties = {name: {"type": "string"} for name in names}
    schema = {"type": "object", "properties": properties, "required": names}
    return {"name": tool.__name__, "description": (tool.__doc__ or "").split("\n")[0], "input_schema": schema}


def naive(client: anthropic.Anthropic, prompt: str, tools: Sequence[Callable[..., Any]]) -> str:
    """Goes on for as long as the model does, and believes whatever it says."""
    messages: list[Any] = [{"role": "user", "content": prompt}]
    by_name = {tool.__name__: tool for tool in tools}
    declared: Any = [schema_of(tool) for tool in tools]
    while True:
        message = client.messages.create(model=MODEL, max_tokens=1024, messages=messages, tools=declared)
        messages.append({"role": "assistant", "content": message.content})
        calls = [block for block in message.content if block.type == "tool_use"]
        if not calls and message.content:
            return "".join(block.text for block in message.content if block.type == "text")
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": str(by_name[call.name](**call.input))}
            for call in calls
        ]
        messages.append({"role": "user", "content": results or "Go on."})


async def naive_async(client: anthropic.AsyncAnthropic, prompt: str, tools: Sequence[Callable[..., Any]]) -> str:
    """The same, for the other client, without anything that could go well."""
    messages: list[Any] = [{"role": "user", "content": prompt}]
    declared: Any = [schema_of(tool) for tool in tools]
    while True:
        message = await client.messages.create(model=MODEL, max_tokens=1024, messages=messages, tools=declared)
        call = next((block for block in message.content if block.type == "tool_use"), None)
        if call is None:
            return "done"
        result = {"type": "tool_result", "tool_use_id": call.id, "content": str(tools[0](**call.input))}
        messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]


class Careful:
    """A loop with the simplest answer to each failure mode: so many turns, so much money, so long a text."""

    def __init__(self, client: anthropic.Anthropic, tools: Sequence[Callable[..., Any]], *, limit_usd: float = 0.5):
        self.client = client
        self.tools = {tool.__name__: tool for tool in tools}
        self.left_usd = limit_usd
        self.messages: list[Any] = []

    def run(self, prompt: str) -> str:
        self.messages = [{"role": "user", "content": prompt}]
        for _ in range(10):
            message = self._ask()
            if message is None:
                return GOOD_ENOUGH
            calls = [block for block in message.content if block.type == "tool_use"]
            if not calls:
                return "".join(block.text for block in message.content if block.type == "text") or GOOD_ENOUGH
            results = [self._result(call) for call in calls]
            self.messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
        return GOOD_ENOUGH

    def _ask(self) -> Any:
        request: Any = {"model": MODEL, "max_tokens": 1024, "tools": [schema_of(tool) for tool in self.tools.values()]}
        request["messages"] = self.messages
        # At least two characters of the request are a token of its prompt, and no more than max_tokens come back.
        cost_usd = len(json.dumps(request, default=lambda block: block.to_dict())) / 2 * INPUT_USD + 1024 * OUTPUT_USD
        if cost_usd > self.left_usd:
            return None
        self.left_usd -= cost_usd
        return self.client.messages.create(**request)

    def _result(self, call: Any) -> dict[str, Any]:
        try:
            content, failed = str(self.tools[call.name](**call.input))[:4_000], False
        except Exception as raised:  # noqa: BLE001 - a careful loop tells the model whatever went wrong
            content, failed = repr(raised), True
        return {"type": "tool_result", "tool_use_id": call.id, "content": content, "is_error": failed}


def careful(client: anthropic.Anthropic, prompt: str, tools: Sequence[Callable[..., Any]]) -> str:
    return Careful(client, tools).run(prompt)


async def careful_async(client: anthropic.AsyncAnthropic, prompt: str, tools: Sequence[Callable[..., Any]]) -> str:
    """The careful one in a thread, with a client of its own at the same address."""
    with anthropic.Anthropic(api_key="test", base_url=client.base_url) as plain:
        return await asyncio.to_thread(careful, plain, prompt, tools)
