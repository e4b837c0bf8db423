"""A model that misbehaves on purpose, and what it saw of the agent that talked to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any, Final

from instrument.messages import problems
from instrument.prices import Condition, Prices
from instrument.testing.faults import AnyReply
from instrument.testing.replies import Reply, error
from instrument.testing.sample_arguments import blank_arguments, same_in_other_words, sample_arguments
from instrument.testing.usage import Usage, estimated_tokens
from instrument.windows import window_of

STOPPED: Final = "this check has ended: the agent was allowed {calls} model calls, and wanted another"
USUAL_WINDOW_TOKENS: Final = 200_000
"""Of a model whose window is not known."""
ROUNDING_USD: Final = 1e-9
"""What adding up a few hundred prices may be off by."""
_ESCAPE_TOOL: Final = "task_complete"
"""A model that misbehaves does not think of ending the run."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One request, as the misbehaving model sees it."""

    number: int
    """From 1."""
    tools: Mapping[str, Mapping[str, Any]]
    """Schema of the arguments by name, of the tools that it may call; empty where the request allows none."""
    max_tokens: int

    def tool(self, wanted: str | None) -> str:
        """The name of the tool to call: `wanted`, one that ends like it, or else the first."""
        names = list(self.tools)
        fitting = [name for name in names if wanted and name.endswith(wanted)]
        return wanted if wanted in self.tools and wanted is not None else (fitting or names)[0]

    def arguments(self, tool: str, number: int | None = None) -> dict[str, Any]:
        """Arguments that fit the tool; others for each turn unless a `number` is given."""
        return sample_arguments(self.tools[tool], self.number if number is None else number)

    def rephrased(self, tool: str) -> dict[str, Any]:
        """Arguments that ask the same in other words than those of any other turn."""
        return same_in_other_words(self.tools[tool], self.number)

    def blanks(self, tool: str) -> dict[str, Any]:
        """Arguments for the tool that say nothing."""
        return blank_arguments(self.tools[tool])


Misbehaviour = Callable[[Turn], Reply]


@dataclass(slots=True)
class ScriptedModel:
    """Answers requests as `misbehave` says, for ever; a script for a `ModelServer`.

    Usage is what the sizes of request and reply say at 4 characters per token, and never more output than the request's
    `max_tokens`, so that an agent can know beforehand what a request may cost. Requests that the API would refuse are refused, and
    so is every one after the first `model_calls`, and after the first that went above `limit_usd`.
    """

    misbehave: Misbehaviour
    model_calls: int
    limit_usd: float | None = None
    """It answers no more once it has cost more than that; None: whatever it costs."""
    prices: Prices = field(default_factory=Prices)
    window_tokens: int | None = None
    """A longer prompt is refused; None: the window of the model in the request."""
    enforces_window: bool = False
    day: date = field(default_factory=lambda: datetime.now(UTC).date())

    requests: int = 0
    answered: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    """None once a price was not known."""
    models: Counter[str] = field(default_factory=Counter)
    tool_calls: Counter[str] = field(default_factory=Counter)
    refusals: list[str] = field(default_factory=list)
    """Requests that the API would have refused, why."""
    overflows: int = 0
    """Prompts that were too long."""
    cut_off: bool = False
    """It was asked for more than `model_calls`."""
    gone: bool = False
    """It answers no more: the agent's time or its money is spent."""

    def __call__(self, body: dict[str, Any]) -> AnyReply:
        """The answer to one request."""
        if self.gone or self.requests >= self.model_calls:
            self.cut_off = not self.gone
            return error(400, message=STOPPED.format(calls=self.model_calls))
        self.requests += 1
        self._learn_window(str(body.get("model")))
        if wrong := problems(body.get("messages") or [], tools=bool(body.get("tools"))):
            self.refusals.append(wrong[0])
            return error(400, message=wrong[0])
        prompt_tokens = estimated_tokens(body)
        if self.enforces_window and prompt_tokens > (self.window_tokens or prompt_tokens):
            self.overflows += 1
            return error(400, message=f"prompt is too long: {prompt_tokens} tokens > {self.window_tokens} maximum")
        reply = self.misbehave(_turn(self.requests, body))
        return self._counted(reply, str(body.get("model")), prompt_tokens, int(body.get("max_tokens", 1)))

    def leave(self) -> None:
        """Answers no more."""
        self.gone = True

    def _learn_window(self, model: str) -> None:
        if self.window_tokens is None and self.enforces_window:
            self.window_tokens = window_of(model, {}) or USUAL_WINDOW_TOKENS

    def _counted(self, reply: Reply, model: str, prompt_tokens: int, max_tokens: int) -> Reply:
        output_tokens = min(estimated_tokens(reply.content), max_tokens)
        self.answered += 1
        self.models[model] += 1
        self.input_tokens += prompt_tokens
        self.output_tokens += output_tokens
        self.tool_calls.update(block["name"] for block in reply.content if block["type"] == "tool_use")
        cost_usd = self.prices.cost_usd(
            Condition("anthropic", model, self.day), uncached_input_tokens=prompt_tokens, output_tokens=output_tokens
        )
        self.cost_usd = None if cost_usd is None or self.cost_usd is None else self.cost_usd + cost_usd
        self.gone = self.gone or (self.limit_usd is not None and (self.cost_usd or 0) > self.limit_usd + ROUNDING_USD)
        return replace(reply, usage=Usage(prompt_tokens, output_tokens))


def _turn(number: int, body: Mapping[str, Any]) -> Turn:
    choice = body.get("tool_choice") or {}
    declared = [] if choice.get("type") == "none" else body.get("tools") or []
    # The tools of the API itself have no schema, and their calls never reach the agent.
    tools = {str(each.get("name")): each["input_schema"] for each in declared if "input_schema" in each}
    tools.pop(_ESCAPE_TOOL, None)
    return Turn(number, tools, int(body.get("max_tokens", 1)))
