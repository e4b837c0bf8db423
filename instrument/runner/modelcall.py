"""Model calls of which only a decorated function tells: nobody sees the request, so they are paid for after the fact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from instrument import genai_messages, semconv
from instrument.billing import Usage, cost_of_span
from instrument.call import Call as Recorded
from instrument.errors import LedgerError, RunStopped
from instrument.guards.facts import Action, Intervention
from instrument.ledger import Reservation
from instrument.runner.answers import said
from instrument.runner.money import ANYBODY
from instrument.runner.services import Services
from instrument.runner.stop import StopReason
from instrument.runner.wants import Reserve, Settle
from instrument.runner.words import Words

if TYPE_CHECKING:
    from instrument.runner.manual import GuardedRun

_LEAST_USD: Final = 1e-9
"""What is put aside for a request whose price nobody can tell: enough to learn that a day's money is used up."""


class ModelCalls:
    """Of one run. A limit may be passed by what one call costs; the next one is not made."""

    def __init__(self, owner: GuardedRun, services: Services) -> None:
        self._owner, self._services = owner, services
        self._reserved: dict[int, Reservation] = {}
        self.words = Words()

    def asked(self, recorded: Recorded, given: Mapping[str, Any], stop: Intervention | None) -> None:
        """One is about to be made, with `given` as its arguments. Raises `RunStopped` where the run has used up what it may."""
        run = self._owner.run
        found = stop or run.at_limit() or self._spent() or self._reserve(recorded)
        if found is not None:
            if found is not stop:
                run.act(found, recorded)
                self._owner.heed(found)
            run.stop = StopReason(found.guard)
            recorded.refused(found.reason, "blocked")
            raise RunStopped(found.guard, found.reason)
        run.turns += 1
        with self._owner.lock:
            if self.words.new(given):
                run.panel.heard()

    def heard(self, result: Any, error: BaseException | None, recorded: Recorded) -> None:
        """It has ended."""
        owner, run = self._owner, self._owner.run
        facts = recorded.facts(result)
        usd = cost_of_span(facts, run.prices, run.today())
        run.usage = run.usage + _usage(facts)
        if usd is not None:
            run.budget.spend(usd)
        elif error is None:
            run.budget.unknown()
            self._unpriced()
        held = self._reserved.pop(id(recorded), None)
        if held is not None:
            self._services.settle(Settle(held, usd))
        if error is None:
            self._judge(owner, result)

    def _judge(self, owner: GuardedRun, result: Any) -> None:
        text, calls = _answer(result)
        with owner.lock:
            for act in owner.run.panel.answered(owner.run.answer(text, calls)):
                owner.heed(owner.run.act(act))

    def _spent(self) -> Intervention | None:
        run, limit = self._owner.run, self._owner.run.budget.limit_usd
        left = run.budget.left_usd()
        if left is None or left > 0:
            return None
        reason = f"The run has cost ${run.budget.spent_usd:.4f}, and nothing is left of its budget."
        return self._stop(StopReason.RUN_BUDGET, reason, "cost.run_limit_usd", limit, run.budget.spent_usd)

    def _reserve(self, recorded: Recorded) -> Intervention | None:
        run, cost = self._owner.run, self._owner.run.policy.cost
        limit = cost.user_day_limit_usd
        if limit is None:
            return None
        answer = self._services.reserve(Reserve(run.user_id or ANYBODY, _LEAST_USD, limit, cost.reservation_seconds))
        if isinstance(answer, Reservation):
            self._reserved[id(recorded)] = answer
            return None
        why = (
            f"The ledger could not be asked: {answer}"
            if isinstance(answer, LedgerError)
            else "Nothing is left of this user's day."
        )
        return self._stop(StopReason.USER_BUDGET, why, "cost.user_day_limit_usd", limit, None)

    def _unpriced(self) -> None:
        run = self._owner.run
        if run.policy.cost.unknown_price == "refuse" and run.budget.left_usd() is not None:
            reason = "What a model call cost is not known, so it cannot be held against the budget."
            self._owner.heed(run.act(self._stop(StopReason.UNKNOWN_PRICE, reason, "cost.unknown_price", None, None)))

    def _stop(
        self, stop: StopReason, reason: str, setting: str, threshold: float | None, value: float | None
    ) -> Intervention:
        return Intervention(stop, Action.STOP, reason, setting, threshold, value, turn=self._owner.run.turns)


def _answer(result: Any) -> tuple[str, int]:
    """The words of what a model function returned, and how many tool calls are in it."""
    content = genai_messages.field(result, "content")
    if isinstance(result, str) or not isinstance(content, (list, tuple)):
        return (result, 0) if isinstance(result, str) else ("", 1)  # nobody knows: it is not taken for an empty answer
    found = [
        b if isinstance(b, dict) else b.model_dump() for b in content if isinstance(b, dict) or hasattr(b, "model_dump")
    ]
    return said(found), sum(b.get("type") == "tool_use" for b in found)


def _usage(facts: Any) -> Usage:
    names = (semconv.INPUT_TOKENS, semconv.OUTPUT_TOKENS, semconv.CACHE_READ_TOKENS, semconv.CACHE_WRITE_TOKENS)
    return Usage(*(n if isinstance(n := facts.get(name), int) else 0 for name in names))
