"""`GuardedRunner`: an agent loop that always ends, inside its budget, with the best answer that could be had."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instrument.errors import ResumeError
from instrument.policy import Policy, load_policy, policy_tables
from instrument.prices import Prices, parse_prices
from instrument.runner import async_driver, sync_driver
from instrument.runner.events import Ended, Event
from instrument.runner.loop import Loop
from instrument.runner.result import RunResult
from instrument.runner.reviewing import Reviewer
from instrument.runner.run import Run
from instrument.runner.services import Services
from instrument.runner.setup import Setup
from instrument.runner.state import State, loaded, restore
from instrument.runner.toolbox import toolbox
from instrument.spill import Spill

if TYPE_CHECKING:
    from anthropic import Anthropic, AsyncAnthropic

    from instrument.ledger import Ledger

Prompt = str | Sequence[Mapping[str, Any]]
"""A question, or content blocks of one user message, or a list of messages."""
_TAKEN_SECONDS = 3600.0


class GuardedRunner:
    """Runs an agent on the Anthropic SDK, with all guards of the policy on.

        runner = GuardedRunner(anthropic.Anthropic(), model="claude-sonnet-5-5", tools=[search, read_file])
        result = runner.run("Why did the build fail?")
        result.answer, result.stop_reason, result.cost_usd, result.actions

    `tools`: functions, `anthropic.beta_tool` objects, toolsets, `Tool`s, server tools as dicts; sync or async, mixed.
    `policy`: a `Policy`, a path, or None for the nearest `flyball.toml`.
    `ledger`: where budgets per user and reviews are kept, a path or `redis://`.
    `review`: a function that is asked before expensive requests, in place of the ledger's queue.
    `task_complete`: the model gets a tool of that name and ends the task with it.
    `prices` go before those of the policy's file.
    Everything else (`thinking`, `tool_choice`, `cache_control`, `metadata`, ...) goes into each request as it is.

    One runner may run many times, at the same time too. It raises for wrong arguments here, and for nothing that happens in a run; see
    `RunResult.raise_for_stop`.
    """

    def __init__(
        self,
        client: Anthropic | AsyncAnthropic,
        *,
        model: str,
        tools: Iterable[Any] = (),
        system: Any = None,
        policy: Policy | str | os.PathLike[str] | None = None,
        max_tokens: int = 4096,
        name: str = "agent",
        user_id: str | None = None,
        ledger: str | os.PathLike[str] | Ledger | None = None,
        review: Reviewer | None = None,
        task_complete: bool = False,
        prices: Prices | None = None,
        betas: Sequence[str] = (),
        spill: Spill | None = None,
        clock: Callable[[], float] = time.monotonic,
        **request: Any,
    ) -> None:
        self.policy, found = given_policy(policy)
        self._prices = prices or found
        self._clock = clock
        self.name, self.user_id = name, user_id
        self._services = Services(client, ledger=ledger, review=review)
        box = toolbox(tools)
        self._setup = Setup(
            model=model,
            toolbox=box,
            policy=self.policy,
            spill=spill or Spill(),
            max_tokens=max_tokens,
            system=system,
            task_complete=task_complete,
            request=request,
            betas=tuple(betas) if betas or box.needs_beta else None,
        )

    def run(
        self, prompt: Prompt, *, user_id: str | None = None, conversation: RunResult | Prompt | None = None
    ) -> RunResult:
        """Runs to the end. `conversation`: an earlier result, or messages, that `prompt` continues."""
        return _last(self._follow(self._loop(prompt, user_id, conversation), streaming=False))

    def stream(
        self, prompt: Prompt, *, user_id: str | None = None, conversation: RunResult | Prompt | None = None
    ) -> Iterator[Event]:
        """The run's events as they come; the last one is `Ended`, with the result. Left early, the run is cancelled."""
        return self._follow(self._loop(prompt, user_id, conversation), streaming=True)

    async def arun(
        self, prompt: Prompt, *, user_id: str | None = None, conversation: RunResult | Prompt | None = None
    ) -> RunResult:
        """As `run`, for an `AsyncAnthropic` client."""
        return await _alast(self._afollow(self._loop(prompt, user_id, conversation), streaming=False))

    def astream(
        self, prompt: Prompt, *, user_id: str | None = None, conversation: RunResult | Prompt | None = None
    ) -> AsyncGenerator[Event, None]:
        """As `stream`, for an `AsyncAnthropic` client. Who may leave it early does so in a `contextlib.aclosing`."""
        return self._afollow(self._loop(prompt, user_id, conversation), streaming=True)

    def resume(self, review_id: str) -> RunResult:
        """Goes on with a run that ended in `review_pending`, in whatever process, once its review is approved.

        Raises `ResumeError` where it is not, is unknown, or another process has taken it.
        """
        return _last(self._follow(self._resumed(review_id), streaming=False))

    async def aresume(self, review_id: str) -> RunResult:
        """As `resume`, for an `AsyncAnthropic` client."""
        return await _alast(self._afollow(self._resumed(review_id), streaming=False))

    def close(self) -> None:
        """Gives back what tools and cut results hold. Not needed at the end of a program."""
        self._setup.toolbox.close()
        self._setup.spill.close()

    # --- a run --------------------------------------------------------------------------------------------------------

    def _loop(self, prompt: Prompt, user_id: str | None, conversation: RunResult | Prompt | None) -> Loop:
        earlier = conversation.messages if isinstance(conversation, RunResult) else _messages(conversation)
        run = self._run(user_id, conversation.conversation_id if isinstance(conversation, RunResult) else None)
        return Loop(run, self._setup, [*earlier, *_messages(prompt)], _text(prompt))

    def _run(self, user_id: str | None, conversation_id: str | None) -> Run:
        return Run(
            self.policy,
            name=self.name,
            model=self._setup.model,
            user_id=user_id or self.user_id,
            conversation_id=conversation_id,
            prices=self._prices,
            clock=self._clock,
        )

    def _resumed(self, review_id: str) -> Loop:
        state, approved_usd = self._taken(review_id)
        run = self._run(state.user_id, state.conversation_id)
        restore(run, state)
        if self.policy.review.over_usd is not None:
            run.budget.approve(approved_usd, self.policy.review.over_usd)
        return Loop(run, self._setup, state.messages, state.prompt)

    def _taken(self, review_id: str) -> tuple[State, float]:
        ledger = self._services.ledger
        review = ledger.review(review_id)
        if review is None:
            raise ResumeError(review_id, "there is no such review in this ledger")
        if review.decision != "approved":
            raise ResumeError(review_id, f"it is {review.decision or 'not answered yet'}; see `flyball reviews list`")
        state = ledger.load_state(review_id)
        if state is None:
            raise ResumeError(review_id, "its run did not wait for the answer")
        if not ledger.take(review_id, f"process {os.getpid()}", hold_seconds=_TAKEN_SECONDS):
            raise ResumeError(review_id, "another process has taken it")
        return loaded(state), review.asked_usd

    def _follow(self, loop: Loop, *, streaming: bool) -> Iterator[Event]:
        if self._services.is_async:
            raise TypeError(
                "this runner has an AsyncAnthropic client: use arun, astream or aresume, or give it an Anthropic one"
            )
        return sync_driver.follow(loop, self._services, streaming=streaming)

    def _afollow(self, loop: Loop, *, streaming: bool) -> AsyncGenerator[Event, None]:
        if not self._services.is_async:
            raise TypeError(
                "this runner has an Anthropic client: use run, stream or resume, or give it an AsyncAnthropic one"
            )
        return async_driver.follow(loop, self._services, streaming=streaming)


def given_policy(given: Policy | str | os.PathLike[str] | None) -> tuple[Policy, Prices]:
    """A policy, with the prices of its file: given, at a path, or in the nearest `flyball.toml`. Raises `PolicyError`."""
    if isinstance(given, Policy):
        return given, Prices()
    path = None if given is None else Path(given)
    return load_policy(path), parse_prices(policy_tables(path)[0])


def _messages(prompt: Any) -> list[dict[str, Any]]:
    """A question as messages."""
    if prompt is None:
        return []
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    items = [_plain(item) for item in prompt]
    return items if all("role" in item for item in items) else [{"role": "user", "content": items}]


def _plain(value: Any) -> Any:
    """The value with the SDK's objects, such as the content of its messages, as JSON."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value.model_dump(mode="json", exclude_unset=True) if hasattr(value, "model_dump") else value


def _text(prompt: Any) -> str:
    """The words of a question, for the record and for reviews: those of its last message."""
    from instrument.sameness import result_text

    messages = _messages(prompt)
    return (result_text(messages[-1].get("content")) or "") if messages else ""


def _last(events: Iterator[Event]) -> RunResult:
    for event in events:
        if isinstance(event, Ended):
            return event.result
    raise AssertionError("the last event of a run is Ended")


async def _alast(events: AsyncGenerator[Event, None]) -> RunResult:
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Ended):
                return event.result
    raise AssertionError("the last event of a run is Ended")
