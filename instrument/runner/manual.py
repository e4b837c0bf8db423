"""`instrument.run`: the same guards, budget and record for a loop that is not ours, as explicit calls around it.

with instrument.run(policy, name="triage", user_id="u1") as run:
    while not run.over:
        reply = client.messages.create(**run.request(model=MODEL, max_tokens=1024, messages=messages, tools=TOOLS))
        messages.append(run.answered(reply))
        for block in run.tool_uses:
            with run.tool(block) as call:
                if call.allowed:
                    call.result = TOOL_FUNCTIONS[block["name"]](**block["input"])
        messages += run.results()
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from instrument import sameness
from instrument.billing import cost_of_span
from instrument.call import Call as Recorded
from instrument.context import guarding
from instrument.errors import CallRefused, RunStopped
from instrument.guards.facts import Action, Intervention
from instrument.policy import Policy
from instrument.prices import Prices
from instrument.runner import async_driver, sync_driver
from instrument.runner.answers import said
from instrument.runner.asking import Asking
from instrument.runner.declared import Declared
from instrument.runner.guarded import given_policy
from instrument.runner.loop import FINAL
from instrument.runner.money import Held, Money
from instrument.runner.result import RunResult
from instrument.runner.reviewing import Reviewer
from instrument.runner.room import Room
from instrument.runner.run import Run, active
from instrument.runner.services import Services
from instrument.runner.setup import Setup
from instrument.runner.sizing import Sizing
from instrument.runner.stop import StopReason
from instrument.runner.toolbox import toolbox
from instrument.runner.toolcall import Body, ToolCall
from instrument.runner.wants import Want
from instrument.spill import Spill

if TYPE_CHECKING:
    from contextvars import Token

    from instrument.ledger import Ledger


class GuardedRun:
    """One run of a loop of your own; made by `instrument.run`. Not for several threads at once."""

    def __init__(
        self,
        policy: Policy | str | os.PathLike[str] | None = None,
        *,
        name: str = "agent",
        user_id: str | None = None,
        conversation_id: str | None = None,
        client: Any = None,
        ledger: str | os.PathLike[str] | Ledger | None = None,
        review: Reviewer | None = None,
        prices: Prices | None = None,
        clock: Callable[[], float] = time.monotonic,
        recorded: Recorded | None = None,
    ) -> None:
        found, listed = given_policy(policy)
        self.run = Run(
            found, name=name, user_id=user_id, conversation_id=conversation_id, prices=prices or listed, clock=clock
        )
        setup = Setup("", toolbox(()), found, Spill(), 0)
        self._sizing = Sizing(setup.marks)
        self._services = Services(client, ledger=ledger, review=review)
        self._money = Money(self.run, setup, self._sizing, name)
        asking = Asking(self.run, setup, self._money, self._sizing)
        self._body: Body = {}
        self._room = Room(self.run, setup, asking, self._sizing, self._with, can_ask=client is not None)
        self.declared = Declared(())
        self._held: Held | None = None
        self._stop: Intervention | None = None
        self._last = False
        self._kept: tuple[int, list[Any]] = (0, [])
        """So many of the caller's first messages are sent as these."""
        self._calls: dict[str, ToolCall] = {}
        self._advice: list[str] = []
        self._answer = ""
        self._messages: list[Any] = []
        self.run.recorded = recorded
        self._tokens: tuple[Token[Any], Token[Any]] | None = None

    # --- its beginning and end ----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.run.record(self.run.name).enter()
        self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        self.close(raised)
        recorded = self.run.recorded
        if recorded is None:
            return
        recorded.leave()
        if raised is None or isinstance(raised, RunStopped):
            recorded.returned(self._answer)
        else:
            recorded.failed(raised)

    def enter(self) -> None:
        """Makes it the run of the code that is running."""
        self._tokens = (active.set(self.run), guarding.set(self))

    def leave(self) -> None:
        """Undoes `enter`."""
        tokens, self._tokens = self._tokens, None
        if tokens is None:
            return
        try:
            active.reset(tokens[0])
            guarding.reset(tokens[1])
        except ValueError:
            pass  # entered in another context: there is nothing to undo in this one

    def close(self, raised: BaseException | None) -> None:
        """The run is over; its span is still to be ended."""
        run = self.run
        held, self._held = self._held, None
        if held is not None:
            self._drive(self._money.settle(held, None))
        if run.stop is None:
            run.stop = StopReason.COMPLETED if raised is None else StopReason.CANCELLED
        run.describe()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, raised, trace)

    @property
    def over(self) -> bool:
        """Whether the run has come to its end: the model has answered without asking for tools, or a guard stopped it."""
        return self.run.stop is not None

    @property
    def stop_reason(self) -> StopReason | None:
        """Why; None while it goes on."""
        return self.run.stop

    @property
    def actions(self) -> tuple[Intervention, ...]:
        """What guards did so far."""
        return tuple(self.run.actions)

    @property
    def result(self) -> RunResult:
        """The run as it stands."""
        run = self.run
        return RunResult(
            answer=self._answer,
            stop_reason=run.stop or StopReason.CANCELLED,
            turns=run.turns,
            tool_calls=run.tool_calls,
            usage=run.usage,
            cost_usd=run.budget.spent_usd if run.cost_known else None,
            cost_at_most_usd=run.budget.spent_usd,
            messages=list(self._messages),
            actions=self.actions,
            run_id=run.run_id,
            trace_id=run.trace_id,
            conversation_id=run.conversation_id,
        )

    # --- model calls --------------------------------------------------------------------------------------------------

    def request(self, **body: Any) -> Body:
        """The request as it may be sent: within the budget, with what the guards have to say, and shortened where the context is full.

        After a stop it is one that can only be answered in words. Raises `RunStopped` where not even that may be sent, and
        after the last answer.
        """
        return self._checked(self._drive(self._ready(body)))

    async def arequest(self, **body: Any) -> Body:
        """As `request`, without blocking the event loop while a ledger or a person is asked."""
        return self._checked(await self._adrive(self._ready(body)))

    def answered(self, message: Any) -> Body:
        """The model's answer (of the SDK, or as JSON), paid for and judged. Returns it as a message to append."""
        reply = message if isinstance(message, dict) else message.model_dump(mode="json", exclude_unset=True)
        run, held = self.run, self._held
        self._held = None
        if held is not None:
            self._drive(self._money.settle(held, reply))
            self._sizing.answered(held.body, reply)
        content = [b for b in reply.get("content") or () if isinstance(b, dict)]
        blocks = [b for b in content if b.get("type") == "tool_use"]
        text = said(reply.get("content") or ())
        self._answer = text or self._answer
        for act in run.panel.answered(run.answer(text, len(blocks))):
            self.heed(run.act(act))
        self._calls = {c.fact.call_id: c for c in (ToolCall(self, b) for b in blocks)}
        if self._last:
            run.stop = StopReason(self._stop.guard) if self._stop is not None else StopReason.COMPLETED
            self._calls = {}
        elif not blocks and reply.get("stop_reason") != "pause_turn" and not self._advice and self._stop is None:
            run.stop = StopReason.COMPLETED
        return {"role": "assistant", "content": content}

    def failed(self, error: Exception) -> None:
        """The request did not bring an answer. Whether it may be billed is judged by the error."""
        from instrument.runner.calling import failed

        held, self._held = self._held, None
        if held is not None:
            self._drive(self._money.settle(held, None, billed=failed(error).billed))

    # --- tool calls ---------------------------------------------------------------------------------------------------

    @property
    def tool_uses(self) -> list[Body]:
        """The `tool_use` blocks of the last answer that have no result yet."""
        return [call.block for call in self._calls.values() if not call.ended]

    def tool(self, block: Any) -> ToolCall:
        """One call of the last answer, to be run in a `with` statement: its span, its guards, its errors as results."""
        found = block if isinstance(block, dict) else block.model_dump(mode="json")
        call = self._calls.get(str(found.get("id")))
        if call is None:
            call = self._calls[str(found.get("id"))] = ToolCall(self, found)
        return call

    def results(self) -> list[Body]:
        """The message that answers the calls of the last answer, with what the guards have to say; empty where there is nothing."""
        calls, self._calls = list(self._calls.values()), {}
        content: list[Body] = [call.block_of_result() for call in calls]
        if self._advice:
            content.append(_words(self._advice))
            self._advice = []
        return [{"role": "user", "content": content}] if content else []

    def model_called(self, recorded: Recorded) -> None:
        """A decorated model is about to be called. Raises `RunStopped` where the run has used up what it may."""
        run = self.run
        left = run.budget.left_usd()
        stop = self._stop or run.at_limit()
        if stop is None and left is not None and left <= 0:
            limit = run.budget.limit_usd
            stop = Intervention(
                StopReason.RUN_BUDGET,
                Action.STOP,
                f"The run has cost ${run.budget.spent_usd:.4f}.",
                "cost.run_limit_usd",
                limit,
                run.budget.spent_usd,
                turn=run.turns,
            )
        if stop is not None:
            self._stop, run.stop = stop, StopReason(stop.guard)
            recorded.refused(run.act(stop).reason, "blocked")
            raise RunStopped(stop.guard, stop.reason)
        run.turns += 1

    def heard(self, result: Any, error: BaseException | None, recorded: Recorded) -> None:
        """A decorated model has answered: it is paid for after the fact, since nobody could hold money for a request he did not see."""
        run = self.run
        usd = cost_of_span(recorded.facts(result), run.prices, run.today())
        if usd is not None:
            run.budget.spend(usd)
        elif error is None:
            run.budget.unknown()

    def called(self, name: str, arguments: Mapping[str, Any], recorded: Recorded) -> ToolCall:
        """A tool that is about to run by itself, decorated with `@instrument.tool`. Raises `CallRefused` where it must not."""
        key = sameness.call_key(name, dict(arguments))
        waiting = (c for c in self._calls.values() if c.fact.call_key == key and not c.begun)
        block = {"type": "tool_use", "id": f"call_{self.run.tool_calls + 1}", "name": name, "input": dict(arguments)}
        call = next(waiting, None) or ToolCall(self, block, declared=True)
        call.begin(recorded)
        if not call.allowed:
            raise CallRefused(name, call.text)
        return call

    # --- the parts ----------------------------------------------------------------------------------------------------

    def _ready(self, body: Body) -> Generator[Want, Any, Body | Intervention]:
        run = self.run
        if run.stop is not None:
            return Intervention(run.stop, Action.STOP, f"The run has ended: {run.stop}.")
        self._know(body)
        messages = self._shortened(list(body.get("messages") or ()))
        self._judge(messages)
        if self._advice:
            messages = _said(messages, self._advice)
            self._advice = []
        self._stop = self._stop or self._limit()
        if self._stop is None:
            messages = yield from self._watched(messages)
            held = yield from self._money.hold(self._with(messages))
            if isinstance(held, Held):
                return self._sent(held, messages)
            self._stop = run.act(held)
        held = yield from self._money.hold(self._final(messages, self._stop), final=True)
        if isinstance(held, Held):
            self._last = True
            return self._sent(held, messages)
        run.stop = StopReason(self._stop.guard)
        return self._stop

    def _sent(self, held: Held, messages: list[Any]) -> Body:
        self._held, self._messages = held, messages
        self.run.turns += 1
        return dict(held.body)

    def _know(self, body: Body) -> None:
        from instrument.windows import window_of

        run, model = self.run, str(body.get("model") or "")
        self._body = body
        if model != run.model:
            run.model, run.window = model, window_of(model, run.policy.context.windows)
        self.declared = self.declared.for_request(body.get("tools") or ())
        self._sizing.mark(body)

    def _with(self, messages: list[Any]) -> Body:
        return {**self._body, "messages": list(messages), **self._room.edits}

    def _final(self, messages: list[Any], stop: Intervention) -> Body:
        limit = self.run.policy.loops.final_answer_tokens
        body = {**self._with(_said(messages, [f"{stop.advice} {FINAL}".strip()]))}
        body["max_tokens"] = min(int(body.get("max_tokens") or limit), limit)
        if body.get("tools"):
            body["tool_choice"] = {"type": "none"}
        return body

    def _shortened(self, messages: list[Any]) -> list[Any]:
        count, instead = self._kept
        return [*instead, *messages[count:]] if 0 < count <= len(messages) else messages

    def _watched(self, messages: list[Any]) -> Generator[Want, Any, list[Any]]:
        shorter = yield from self._room.watch(messages)
        if shorter is not messages:
            given = len(self._body.get("messages") or ())
            self._kept = (given, list(shorter))
        return shorter

    def _limit(self) -> Intervention | None:
        limit = self.run.at_limit()
        return None if limit is None else self.run.act(limit)

    def _judge(self, messages: Sequence[Any]) -> None:
        """Results of calls that ran without `tool`: the guards hear of them when they are sent back."""
        waiting = {i: c for i, c in self._calls.items() if not c.ended}
        for message in messages[-1:] if waiting else ():
            content = message.get("content")
            for block in content if isinstance(content, list) else ():
                call = waiting.get(str(block.get("tool_use_id"))) if isinstance(block, dict) else None
                if call is not None:
                    call.heard_of(sameness.result_text(block.get("content")) or "", bool(block.get("is_error")))
        self._calls = {}

    def heed(self, act: Intervention) -> None:
        """What a guard wants done takes effect with the next request."""
        if act.observed:
            return
        if act.action is Action.STOP:
            self._stop = self._stop or act
        elif act.action is Action.NUDGE and act.advice:
            self._advice.append(act.advice)

    def _checked(self, found: Body | Intervention) -> Body:
        if isinstance(found, Intervention):
            raise RunStopped(found.guard, found.reason)
        return found

    def _drive(self, steps: Generator[Want, Any, Any]) -> Any:
        return sync_driver.drive(steps, self.run, self._services)

    async def _adrive(self, steps: Generator[Want, Any, Any]) -> Any:
        return await async_driver.drive(steps, self.run, self._services)


run = GuardedRun
"""What `instrument.run(...)` is."""


def _words(advice: Iterable[str]) -> Body:
    return {"type": "text", "text": "\n".join(dict.fromkeys(advice))}


def _said(messages: Sequence[Any], advice: Sequence[str]) -> list[Any]:
    """The messages with words of ours at the end, in the user's place."""
    last = messages[-1] if messages else None
    if last is None or last.get("role") != "user":
        return [*messages, {"role": "user", "content": [_words(advice)]}]
    content = last.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    return [*messages[:-1], {**last, "content": [*blocks, _words(advice)]}]
