"""A request to the model: afforded, sent, sent again where that may help, paid."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Final

from instrument.guards.facts import Action, Intervention
from instrument.runner.events import TurnStarted
from instrument.runner.money import Held, Money
from instrument.runner.run import Run
from instrument.runner.setup import Setup
from instrument.runner.sizing import Sizing
from instrument.runner.stop import StopReason
from instrument.runner.wants import Arrived, Failed, Send, Settle, Tell, Wait, Want

_LONGEST_BACKOFF: Final = 16
"""Times the first wait."""
_LONGEST_WAIT_SECONDS: Final = 60.0
"""A server may ask for more; then the request counts as failed, and the run ends with what it has."""
_LEAST_SECONDS: Final = 1.0
"""A request that is sent at the last moment has this much time."""
_FINAL_SHARE, _FINAL_LEAST_SECONDS, _FINAL_MOST_SECONDS = 0.1, 5.0, 60.0
"""When time is up, the final answer may take this share of the run's time, between these two."""


class Asking:
    """Of one run."""

    def __init__(self, run: Run, setup: Setup, money: Money, sizing: Sizing) -> None:
        self._run, self._setup, self._money, self._sizing = run, setup, money, sizing
        self.betas = setup.betas

    def ask(
        self, body: Mapping[str, Any], *, final: bool = False, shown: bool = True
    ) -> Generator[Want, Any, dict[str, Any] | Failed | Intervention]:
        """The model's message; or why there is none: `Failed`, or the limit that stood in the way.

        Every attempt is a turn, and is paid for by itself.
        """
        run, calls = self._run, self._run.policy.model_calls
        for attempt in range(calls.retries + 1):
            held = yield from self._money.hold(body, final=final)
            if isinstance(held, Intervention):
                return held
            run.turns += 1
            answer: Arrived | Failed | None = None
            sent = False
            try:
                if shown:
                    yield Tell(TurnStarted(run.turns))
                sent = True
                answer = yield self._sending(held, final=final, shown=shown)
            finally:
                if answer is None:  # the caller has gone away in the middle of it
                    self._abandon(held, sent=sent)
            if isinstance(answer, Arrived):
                yield from self._money.settle(held, answer.message)
                if shown:
                    self._sizing.answered(held.body, answer.message)
                return answer.message
            yield from self._money.settle(held, None, billed=answer.billed)
            wait = self._wait(answer, attempt)
            if wait is None or run.at_limit() is not None:
                return answer
            run.measure(
                Action.RETRY,
                "model_calls",
                f"A request failed ({type(answer.error).__name__}) and was sent again after {wait:.1f} s.",
                setting="model_calls.retries",
                threshold=calls.retries,
                value=attempt + 1,
            )
            yield Wait(wait)
        raise AssertionError("the last attempt returns")

    def _sending(self, held: Held, *, final: bool, shown: bool) -> Send:
        deadline = self._deadline(final)
        if held.reservation is not None:  # after that the ledger takes us for dead, and gives the money to others
            deadline = min(deadline, self._run.clock() + self._run.policy.cost.reservation_seconds)
        silence = min(self._run.policy.model_calls.timeout_seconds, max(_LEAST_SECONDS, deadline - self._run.clock()))
        return Send(held.body, self.betas if shown else None, silence, deadline, shown)

    def _abandon(self, held: Held, *, sent: bool) -> None:
        """Nothing can be yielded any more. What was put aside for a request that was sent counts as spent: the provider may bill for it."""
        if held.hold is not None:
            held.hold.spend() if sent else held.hold.release()
        if sent:
            self._run.budget.unknown()
        if held.reservation is not None:
            self._run.unsettled = Settle(held.reservation, held.usd if sent else None)

    def _deadline(self, final: bool) -> float:
        run = self._run
        if not final:
            return run.deadline
        grace = min(max(run.policy.loops.run_seconds * _FINAL_SHARE, _FINAL_LEAST_SECONDS), _FINAL_MOST_SECONDS)
        return max(run.deadline, run.clock()) + grace

    def _wait(self, failed: Failed, attempt: int) -> float | None:
        """Seconds before the next attempt; None: there is none."""
        calls = self._run.policy.model_calls
        if not failed.temporary or attempt >= calls.retries:
            return None
        asked = failed.retry_after_seconds
        wait = calls.retry_seconds * min(2**attempt, _LONGEST_BACKOFF) if asked is None else asked
        return None if wait > _LONGEST_WAIT_SECONDS or self._run.clock() + wait > self._run.deadline else wait


def stopped_by(failed: Failed) -> StopReason:
    """Why a run ends whose request failed for good."""
    from instrument.compaction import overflow

    return StopReason.CONTEXT_OVERFLOW if overflow(failed.error) else StopReason.MODEL_ERROR
