"""The agents of the demonstration: an ordinary loop around the real Anthropic SDK, decorated, and the conversations they are led through.

The model is a script on a local server (`instrument.testing`); everything else is real: the client, HTTP, the spans, the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import instrument
from instrument.policy import Policy
from instrument.testing import Reply

Tools = dict[str, Callable[..., str]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One agent run: what it is asked, what the model will say, which tools there are."""

    agent: str
    model: str
    prompt: str
    replies: Sequence[Reply]
    tools: Tools = field(default_factory=dict)
    nudge: str | None = None
    """What the loop says when the model answers without calling a tool and the script goes on."""
    user_id: str | None = None
    policy: Policy | None = None
    """Under which `GuardedRunner` runs it; None: an ordinary loop that nobody guards."""
    final: Reply | None = None
    """What the model says when it is asked for an answer without tools, wherever the script stands."""


def play(scenario: Scenario, client: Any) -> str:
    """Runs the scenario's agent with an Anthropic `client` that talks to the scripted server. Returns its last words."""
    if scenario.policy is not None:
        return guarded(scenario, client, scenario.policy)

    @instrument.agent(name=scenario.agent, user_id=scenario.user_id)
    def run(prompt: str) -> str:
        messages: list[Any] = [{"role": "user", "content": prompt}]
        for left in range(len(scenario.replies) - 1, -1, -1):
            answer = client.messages.create(
                model=scenario.model,
                max_tokens=1024,
                system=f"You are {scenario.agent}. Use the tools, then answer.",
                tools=[declaration(name) for name in scenario.tools],
                messages=messages,
            )
            messages.append({"role": "assistant", "content": answer.content})
            results = [result(call, decorated) for call in answer.content if call.type == "tool_use"]
            words = "".join(block.text for block in answer.content if block.type == "text")
            if results:
                messages.append({"role": "user", "content": results})
            elif left and scenario.nudge:
                messages.append({"role": "user", "content": scenario.nudge})
            else:
                return words
        return words

    decorated = {name: instrument.tool(name=name)(function) for name, function in scenario.tools.items()}
    return run(scenario.prompt)


def guarded(scenario: Scenario, client: Any, policy: Policy) -> str:
    """The same with our loop in place of theirs."""
    runner = instrument.GuardedRunner(
        client,
        model=scenario.model,
        system=f"You are {scenario.agent}. Use the tools, then answer.",
        tools=[instrument.Tool(call=function, **declaration(name)) for name, function in scenario.tools.items()],
        policy=policy,
        max_tokens=1024,
        name=scenario.agent,
        user_id=scenario.user_id,
    )
    try:
        return runner.run(scenario.prompt).answer
    finally:
        runner.close()


def result(call: Any, tools: Tools) -> dict[str, Any]:
    """Runs one tool call; what goes wrong becomes a result that the model can read."""
    tool = tools.get(call.name)
    if tool is None:
        return {
            "type": "tool_result",
            "tool_use_id": call.id,
            "content": f"Error: unknown tool {call.name!r}",
            "is_error": True,
        }
    try:
        return {"type": "tool_result", "tool_use_id": call.id, "content": tool(**call.input)}
    except Exception as e:  # noqa: BLE001 - whatever a tool raises is for the model to read
        return {"type": "tool_result", "tool_use_id": call.id, "content": f"{type(e).__name__}: {e}", "is_error": True}


def declaration(name: str) -> dict[str, Any]:
    """A tool's declaration for the model."""
    return {
        "name": name,
        "description": name.replace("_", " "),
        "input_schema": {"type": "object", "additionalProperties": True},
    }
