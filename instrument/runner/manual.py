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

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from instrument.call import Call as Recorded
from instrument.context import guarding, in_tool
from instrument.errors import CallRefused, RunStopped
from instrument.guards.facts import Action, Intervention
from instrument.messages import repaired
from instrument.policy import Policy
from instrument.prices import Prices
from instrument.runner import async_driver, sync_driver
from instrument.runner.answers import Taken, taken
from instrument.runner.course import Course
from instrument.runner.declared import Declared
from instrument.runner.guarded import given_policy
from instrument.runner.modelcall import ModelCalls
from instrument.runner.money import Held
from instrument.runner.result import RunResult
from instrument.runner.reviewing import Reviewer
from instrument.runner.run import Run, active
from instrument.runner.sending import Body, Sending, Sent, with_words
from instrument.runner.services import Services
from instrument.runner.stop import StopReason
from instrument.runner.toolcall import ToolCall
from instrument.runner.wants import Want
from instrument.spill import Spill

if TYPE_CHECKING:
    from contextvars import Token

    from instrument.ledger import Ledger

_OWN_END: Final = frozenset({StopReason.COMPLETED, StopReason.MAX_TOKENS, StopReason.REFUSED})
"""The model ended these by itself: a loop that asks again goes on."""
_NO_ANSWER: Final = frozenset({StopReason.UNKNOWN_PRICE, StopReason.REVIEW_PENDING, StopReason.CONTEXT_OVERFLOW})
"""Stops after which the model is not asked again."""
_CLIENTS: Final = frozenset({"anthropic", "httpx", "httpx2"})


class GuardedRun:
    """One run of a loop of your own; made by `instrument.run`.

    `prompt` is what reviewers are shown of the task (default: the first question that is sent). With a `client`, a full context may be
    summarised by a model; without one, old tool results are taken out. Tools may run in several threads at once; requests that
    do go through a client of `instrument.guard`.
    """

    def __init__(
        self,
        policy: Policy | str | os.PathLike[str] | None = None,
        *,
        name: str = "agent",
        prompt: str = "",
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
        self.run.recorded = recorded
        self.lock = threading.RLock()
        """Held while guards are told something."""
        self._prompt = prompt
        self._services = Services(client, ledger=ledger, review=review)
        self._sending = Sending(self.run, prompt=prompt, can_ask=client is not None)
        self._course = Course(self)
        self._models = ModelCalls(self, self._services)
        self._sent: Sent | None = None
        """What `request` gave and `answered` has not had an answer for."""
        self._finals = 0
        self._error: BaseException | None = None
        """Of the last request, if that failed."""
        self._messages: list[Any] = []
        self._tokens: tuple[Token[Any], ...] = ()

    # --- its beginning and end ----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.run.record(self._prompt).enter()
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
            recorded.returned(self._course.answer)
        else:
            recorded.failed(raised)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, raised, trace)

    def enter(self) -> None:
        """Makes it the run of the code that is running."""
        self._tokens = (active.set(self.run), guarding.set(self), in_tool.set(None))

    def leave(self) -> None:
        """Undoes `enter`."""
        tokens, self._tokens = self._tokens, ()
        for token in tokens:
            # Entered in another context, there is nothing to undo in this one.
            with contextlib.suppress(ValueError):
                token.var.reset(token)

    def close(self, raised: BaseException | None) -> None:
        """The run is over; its span is still to be ended."""
        run, sent = self.run, self._sent
        self._sent = None
        if sent is not None:
            self.broke(sent, raised if _of_a_request(raised) else None)
        if run.stop is None:
            run.stop = self._course.ended_by(raised, self._error)
        run.describe()
        self._sending.spill.close()

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
            answer=self._course.answer,
            stop_reason=run.stop or StopReason.CANCELLED,
            turns=run.turns,
            tool_calls=run.tool_calls,
            usage=run.usage,
            cost_usd=run.budget.spent_usd if run.cost_known else None,
            cost_at_most_usd=run.budget.spent_usd,
            messages=repaired(self._messages),
            actions=self.actions,
            error=self._error if isinstance(self._error, Exception) else None,
            run_id=run.run_id,
            trace_id=run.trace_id,
            conversation_id=run.conversation_id,
        )

    # --- model calls --------------------------------------------------------------------------------------------------

    def request(self, **body: Any) -> Body:
        """The request as it may be sent: within the budget, with what the guards have to say, and shortened where the context is full.

        After a stop it is one that can only be answered in words. Raises `RunStopped` where not even that may be sent, and
        after the last answer. A request that fails is given to `failed`, unless the run ends with it; else all that was put aside
        for it counts as spent.
        """
        self._drop_unanswered()
        return self._first(self.begin(body))

    async def arequest(self, **body: Any) -> Body:
        """As `request`, without blocking the event loop while a ledger or a person is asked."""
        self._drop_unanswered()
        return self._first(await self.abegin(body))

    def answered(self, message: Any) -> Body:
        """The model's answer (of the SDK, or as JSON), paid for and judged. Returns it as a message to append."""
        reply = message if isinstance(message, dict) else message.model_dump(mode="json", exclude_unset=True)
        sent, self._sent = self._sent, None
        if sent is not None:
            return {"role": "assistant", "content": self.arrived(sent, reply).content}
        found = taken(reply)
        self._course.judge(reply, found)
        return {"role": "assistant", "content": found.content}

    def failed(self, error: Exception) -> None:
        """The request did not bring an answer. Whether it may be billed is judged by the error."""
        sent, self._sent = self._sent, None
        if sent is not None:
            self.broke(sent, error)

    def model_called(self, given: Mapping[str, Any], recorded: Recorded) -> None:
        """A decorated model is about to be called with these arguments. Raises `RunStopped` where the run has used up what it may."""
        self._models.asked(recorded, given, self._course.stop)

    def heard(self, result: Any, error: BaseException | None, recorded: Recorded) -> None:
        """A decorated model has answered."""
        self._models.heard(result, error, recorded)

    # --- tool calls ---------------------------------------------------------------------------------------------------

    @property
    def tool_uses(self) -> list[Body]:
        """The `tool_use` blocks of the last answer that have no result yet."""
        return [call.block for call in self._course.calls.values() if not call.ended]

    def tool(self, block: Any) -> ToolCall:
        """One call of the last answer, to be run in a `with` statement: its span, its guards, its errors as results."""
        found = block if isinstance(block, dict) else block.model_dump(mode="json")
        call = self._course.calls.get(str(found.get("id")))
        if call is None:
            call = self._course.calls[str(found.get("id"))] = ToolCall(self, found)
        return call

    def results(self) -> list[Body]:
        """The message that answers the calls of the last answer, with what the guards have to say; empty where there is nothing."""
        found = self._course.results()
        self._messages = [*self._messages, *found]
        return found

    def called(self, name: str, arguments: Mapping[str, Any], recorded: Recorded) -> ToolCall:
        """A tool that is about to run by itself, decorated with `@instrument.tool`.

        Raises `CallRefused` where it must not, and `RunStopped` from the turn on that follows a stop.
        """
        with self.lock:
            self._models.words.acted()
            call = self._course.waiting(name, arguments) or self._course.unasked(name, arguments)
            stop = self._course.stop or (self._limit() if not self.run.turns else None)
            if stop is not None and call.fact.turn > stop.turn:
                self._course.stop, self.run.stop = stop, StopReason(stop.guard)
                recorded.refused(stop.reason, "blocked")
                raise RunStopped(stop.guard, stop.reason)
            call.begin(recorded)
        if not call.allowed:
            raise CallRefused(name, call.text)
        return call

    # --- for the ways in ----------------------------------------------------------------------------------------------

    def begin(self, body: Body) -> Sent:
        """A request of the host's, as it may be sent. Raises `RunStopped`. To be ended by `arrived` or `broke`."""
        return self._checked(self._drive(self._ready(body)))

    async def abegin(self, body: Body) -> Sent:
        """As `begin`, without blocking the event loop."""
        return self._checked(await self._adrive(self._ready(body)))

    def arrived(self, sent: Sent, reply: Body) -> Taken:
        """It was answered."""
        self._drive(self._sending.settle(sent, reply))
        return self._arrived(sent, reply)

    async def aarrived(self, sent: Sent, reply: Body) -> Taken:
        """As `arrived`, without blocking the event loop."""
        await self._adrive(self._sending.settle(sent, reply))
        return self._arrived(sent, reply)

    def broke(self, sent: Sent, error: BaseException | None) -> None:
        """It was not answered, and the host may send it again."""
        if not sent.open:
            return
        self._drive(self._sending.drop(sent, error))
        self._course.advice = [*sent.advice, *self._course.advice]
        self._error = error

    def heed(self, act: Intervention) -> None:
        """What a guard wants done takes effect with the next request."""
        self._course.heed(act)

    def spoken(self) -> Body | None:
        """What guards have to say to a model that has asked for no tool, as a message; None where nothing is to be said."""
        return self._course.spoken()

    def overflow(self) -> None:
        """An answer did not fit the context: the next request is made shorter."""
        self._sending.overflow()

    def can_fetch(self) -> None:
        """A result was cut: from the next request on the model can fetch the rest of it."""
        self._sending.fetching = True

    def keep_no_results(self) -> None:
        """Nobody could fetch them: what is cut from a result is lost."""
        self._sending.spill.close()

    @property
    def fetches(self) -> bool:
        """Whether it can."""
        return self._sending.fetching

    @property
    def spill(self) -> Spill:
        """Where results that were cut are kept whole."""
        return self._sending.spill

    @property
    def declared(self) -> Declared:
        """The tools of the last request."""
        return self._sending.declared

    # --- a request ----------------------------------------------------------------------------------------------------

    def _ready(self, body: Body) -> Generator[Want, Any, Sent | Intervention]:
        run = self.run
        if in_tool.get() is not None:
            return (yield from self._inner(body))
        if run.stop is not None and run.stop not in _OWN_END:
            return Intervention(run.stop, Action.STOP, f"The run has ended: {run.stop}.")
        messages = self._sending.take(body)
        self._course.listen(body.get("messages") or ())
        run.stop = None
        self._course.stop = self._course.stop or self._limit()
        if self._course.stop is None:
            found = yield from self._affordable(messages)
            if isinstance(found, Sent):
                return found
            self._course.stop = found if any(act is found for act in run.actions) else run.act(found)
        found = self._course.stop
        if StopReason(found.guard) not in _NO_ANSWER and self._finals <= run.policy.model_calls.retries:
            self._finals += 1
            held = yield from self._sending.money.hold(self._sending.final(messages, found), final=True)
            if isinstance(held, Held):
                return self._counted(Sent(held, messages, final=True))
        run.stop = StopReason(found.guard)
        return found

    def _affordable(self, given: list[Any]) -> Generator[Want, Any, Sent | Intervention]:
        messages = yield from self._sending.room(given)
        if isinstance(messages, Intervention):
            return messages
        limit = self.run.at_limit()  # a summary is a request too
        if limit is not None:
            return limit
        advice, self._course.advice = self._course.advice, []
        if advice:
            messages = with_words(messages, advice)
        self._sending.declare()
        held = yield from self._sending.money.hold(self._sending.body(messages))
        if isinstance(held, Held):
            return self._counted(Sent(held, messages, advice=advice))
        return held

    def _inner(self, body: Body) -> Generator[Want, Any, Sent | Intervention]:
        """A tool asks a model of its own."""
        run, inner = self.run, Sending(self.run, prompt=self._prompt, can_ask=False)
        messages = inner.take(body)
        limit = run.at_limit()
        held = limit or (yield from inner.money.hold(inner.body(messages)))
        if isinstance(held, Held):
            return self._counted(Sent(held, messages, inner=True))
        return held

    def _counted(self, sent: Sent) -> Sent:
        self.run.turns += 1
        if not sent.inner:
            self._messages = sent.messages
        return sent

    def _first(self, sent: Sent) -> Body:
        self._sent = sent
        self._course.calls.clear()
        return sent.body

    def _drop_unanswered(self) -> None:
        sent, self._sent = self._sent, None
        if sent is not None:
            self.broke(sent, None)

    def _limit(self) -> Intervention | None:
        limit = self.run.at_limit()
        return None if limit is None else self.run.act(limit)

    # --- an answer ----------------------------------------------------------------------------------------------------

    def _arrived(self, sent: Sent, reply: Body) -> Taken:
        found = taken(reply)
        if sent.inner:
            return found
        self._error = None
        if sent.final:
            self._course.conclude(found)
        else:
            self._course.judge(reply, found)
        if found.content:
            self._messages = [*self._messages, {"role": "assistant", "content": found.content}]
        return found

    # --- the parts ----------------------------------------------------------------------------------------------------

    def _checked(self, found: Sent | Intervention) -> Sent:
        if isinstance(found, Intervention):
            raise RunStopped(found.guard, found.reason)
        return found

    def _drive(self, steps: Generator[Want, Any, Any]) -> Any:
        return sync_driver.drive(steps, self.run, self._services)

    async def _adrive(self, steps: Generator[Want, Any, Any]) -> Any:
        return await async_driver.drive(steps, self.run, self._services)


run = GuardedRun
"""What `instrument.run(...)` is."""


def _of_a_request(error: BaseException | None) -> bool:
    """Whether an exception comes from a client, and not from the host's own code."""
    return type(error).__module__.partition(".")[0] in _CLIENTS
