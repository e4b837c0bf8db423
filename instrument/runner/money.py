"""Money is put aside before a request is sent, and the request made small enough to fit; so no limit is ever crossed."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from instrument import billing, tracing
from instrument.billing import Worst
from instrument.budget import Hold
from instrument.errors import LedgerError
from instrument.guards.facts import Action, Intervention
from instrument.ledger import Reservation, Review
from instrument.runner.run import Run
from instrument.runner.setup import Setup
from instrument.runner.sizing import Sizing
from instrument.runner.stop import StopReason
from instrument.runner.wants import Ask, Count, Reserve, Settle, Want

ANYBODY: Final = "(no user)"
"""Whose day is charged where no user is known: all of those share one budget."""
_LAST_WORDS_TOKENS: Final = 64
"""A final answer is asked for if at least this many tokens of it can be paid for."""
_COUNT_SLACK: Final = 64
"""The API calls its own count of tokens an estimate."""
Steps = Generator[Want, Any, Any]


@dataclass(frozen=True, slots=True)
class Held:
    """A request that may be sent, and the money put aside for it."""

    body: Mapping[str, Any]
    hold: Hold | None = None
    reservation: Reservation | None = None
    usd: float = 0.0


class Money:
    """Of one run."""

    def __init__(self, run: Run, setup: Setup, sizing: Sizing, prompt: str) -> None:
        self._run, self._setup, self._sizing, self._prompt = run, setup, sizing, prompt
        self._warned: set[str] = set()
        self._denied: Intervention | None = None
        """What a person, or nobody in time, has answered when asked whether to go on."""

    @property
    def limited(self) -> bool:
        """Whether anything limits what the run may spend."""
        cost = self._run.policy.cost
        return (
            self._run.budget.left_usd() is not None
            or cost.user_day_limit_usd is not None
            or self._run.budget.root.approved_nano is not None
        )

    def hold(self, body: Mapping[str, Any], *, final: bool = False) -> Generator[Want, Any, Held | Intervention]:
        """Puts money aside for `body`, lowered if need be. An `Intervention` where it may not be sent: it says which limit, and why."""
        run, cost = self._run, self._run.policy.cost
        if not self.limited:
            return Held(body)
        worst = self._worst(body, self._sizing.at_most(body))
        if worst is None:
            return self._unpriced(body)
        counting = run.policy.context.count_tokens == "near"
        wanted = int(body["max_tokens"])
        least = min(wanted, self._setup.thinking_tokens + (_LAST_WORDS_TOKENS if final else cost.min_output_tokens))
        # Where tools are at hand there will be another turn, and an answer is to be had even if that one does not fit.
        keep = 0.0 if final or not body.get("tools") else worst.usd(run.policy.loops.final_answer_tokens)
        why = StopReason.RUN_BUDGET
        while True:
            left = self._left()
            fit = wanted if left is None else min(wanted, worst.fitting_tokens(left - keep))
            if fit < least:
                counted = (yield Count(body, self._setup.betas)) if counting else None
                if counted is None:
                    return self._over(
                        StopReason.RUN_BUDGET, worst.usd(least), left, keep, "cost.run_limit_usd", self._limit()
                    )
                counting, worst = False, self._worst(body, counted + _COUNT_SLACK) or worst
                continue
            held = yield from self._held(worst.usd(fit))
            if isinstance(held, Held):
                return self._lowered(replace(held, body=body), fit, why)
            if isinstance(held, Intervention):
                return held
            # Less then: as much as this user's day has left; or a sub-agent was quicker, and it is tried again.
            why = StopReason.RUN_BUDGET if held is None else StopReason.USER_BUDGET
            wanted = fit - 1 if held is None else min(fit - 1, worst.fitting_tokens(held - keep))
            if held is not None and wanted < least:
                limit = cost.user_day_limit_usd
                return self._over(
                    StopReason.USER_BUDGET, worst.usd(least), held, keep, "cost.user_day_limit_usd", limit
                )

    def _held(self, usd: float) -> Generator[Want, Any, Held | Intervention | float | None]:
        """`usd` put aside everywhere; a float is what this user's day has left, None: the run has not that much any more.

        The body is the caller's to fill in.
        """
        run = self._run
        while run.budget.needs_review(usd):
            self._denied = self._denied or (yield from self._review(usd))
            if self._denied is not None:
                return self._denied
        hold = run.budget.hold(usd)
        if hold is None:
            return None
        reserved: Reservation | float | Intervention | None = 0.0
        try:
            reserved = yield from self._reserve(usd)
        finally:  # also when the caller goes away meanwhile
            if isinstance(reserved, (Intervention, float)):
                hold.release()
        if isinstance(reserved, (Intervention, float)):
            return reserved
        return Held({}, hold, reserved, usd)

    def _left(self) -> float | None:
        """What may be spent, None without a limit. Who was told no is not asked again: then it is what needs no asking."""
        limits = (self._run.budget.left_usd(), self._run.budget.unasked_usd() if self._denied else None)
        return min((left for left in limits if left is not None), default=None)

    def _lowered(self, held: Held, max_tokens: int, why: StopReason) -> Held:
        asked = int(held.body["max_tokens"])
        if max_tokens >= asked:
            return held
        self._run.measure(
            Action.LOWER,
            why,
            f"max_tokens was lowered from {asked:,} to {max_tokens:,} to fit the budget.",
            value=float(max_tokens),
            threshold=float(asked),
        )
        return replace(held, body={**held.body, "max_tokens": max_tokens})

    def settle(self, held: Held, message: Mapping[str, Any] | None, *, billed: bool = True) -> Steps:
        """A request has ended: with a message, or without one (`billed`: the provider may charge for it all the same)."""
        run = self._run
        cost: float | None = 0.0
        if message is not None:
            cost = billing.cost(run.prices, held.body, message, run.today())
            used = billing.tokens(message)
            if used is not None:
                run.usage = run.usage + used
        elif billed:
            cost = None
        if cost is None:
            run.budget.unknown()
        if held.hold is not None:
            held.hold.spend() if cost is None else held.hold.settle(cost)
        else:  # nothing was limited
            run.budget.spend(self._at_most_usd(held.body) if cost is None else cost)
        if held.reservation is not None:
            yield Settle(held.reservation, held.usd if cost is None else (cost if cost or billed else None))

    # --- the parts ----------------------------------------------------------------------------------------------------

    def _worst(self, body: Mapping[str, Any], input_tokens: int) -> Worst | None:
        run = self._run
        return billing.worst_case(run.prices, body, input_tokens, run.today(), self._sizing.marks)

    def _at_most_usd(self, body: Mapping[str, Any]) -> float:
        """What a request cost at most; 0 where its price is not known."""
        worst = self._worst(body, self._sizing.at_most(body))
        return 0.0 if worst is None else worst.usd(int(body["max_tokens"]))

    def _limit(self) -> float | None:
        budget = self._run.budget
        limits = [b.limit_usd for b in (budget, budget.root) if b.limit_usd is not None]
        return min(limits) if limits else None

    def _over(
        self, stop: StopReason, usd: float, left: float | None, keep: float, setting: str, limit: float | None
    ) -> Intervention:
        whose = "the run" if stop is StopReason.RUN_BUDGET else "this user's day"
        kept = f", of which ${keep:.4f} is kept for the final answer" if keep else ""
        return Intervention(
            stop,
            Action.STOP,
            f"The next request could have cost ${usd:.4f}, and of the ${limit or 0:g} of {whose} "
            f"${max(0.0, left or 0.0):.4f} was left{kept}.",
            setting,
            limit,
            usd,
            "The budget of this run is used up.",
            turn=self._run.turns,
        )

    def _unpriced(self, body: Mapping[str, Any]) -> Held | Intervention:
        run = self._run
        said = f"The price of {body.get('model')} is not known, so its cost cannot be held against a budget."
        if run.policy.cost.unknown_price == "refuse":
            return Intervention(
                StopReason.UNKNOWN_PRICE, Action.STOP, said, "cost.unknown_price", advice="", turn=run.turns
            )
        if "price" not in self._warned:
            self._warned.add("price")
            run.measure(Action.WARN, StopReason.UNKNOWN_PRICE, said, setting="cost.unknown_price")
        run.budget.unknown()
        return Held(body)

    def _reserve(self, usd: float) -> Generator[Want, Any, Reservation | float | Intervention | None]:
        """In the ledger, if the policy limits what a user may spend in a day; a float is what is left of that."""
        run, cost = self._run, self._run.policy.cost
        if cost.user_day_limit_usd is None:
            return None
        if run.user_id is None and "user" not in self._warned:
            self._warned.add("user")
            run.measure(
                Action.WARN,
                StopReason.USER_BUDGET,
                f"No user is known, so the day of “{ANYBODY}” is charged.",
                setting="cost.user_day_limit_usd",
            )
        answer = yield Reserve(run.user_id or ANYBODY, usd, cost.user_day_limit_usd, cost.reservation_seconds)
        if isinstance(answer, LedgerError):
            return Intervention(
                StopReason.USER_BUDGET,
                Action.STOP,
                f"The ledger could not be asked: {answer}",
                "cost.user_day_limit_usd",
                cost.user_day_limit_usd,
                turn=run.turns,
            )
        return answer if isinstance(answer, (Reservation, float)) else None

    def _review(self, usd: float) -> Generator[Want, Any, Intervention | None]:
        """Asks a person; None: go on."""
        run, review = self._run, self._run.policy.review
        assert review.over_usd is not None
        spent = run.budget.root.spent_usd
        reason = f"The run has cost ${spent:.4f}, and the next request may cost ${usd:.4f}."
        now = datetime.now(UTC)
        question = Review(
            review_id=f"rev_{uuid.uuid4().hex[:12]}",
            run_id=run.run_id or run.conversation_id,
            agent_name=run.name,
            user_id=run.user_id,
            model=run.model,
            reason=reason,
            spent_usd=spent,
            asked_usd=usd,
            limit_usd=run.budget.limit_usd,
            prompt=self._prompt,
            created_at=now,
            deadline_at=now + timedelta(seconds=review.timeout_seconds),
        )
        facts: dict[str, Any] = {"setting": "review.over_usd", "threshold": review.over_usd, "value": spent + usd}
        run.measure(Action.ASK, "review", f"A person was asked. {reason}", **facts)
        asked_at = run.clock()
        answer = yield Ask(question, review.timeout_seconds, review.on_timeout == "pause")
        waited_seconds = run.clock() - asked_at
        run.started_at += waited_seconds  # a person's time is not the run's
        if isinstance(answer, LedgerError):
            return Intervention(
                StopReason.REVIEW_DENIED, Action.STOP, f"Nobody could be asked: {answer}", turn=run.turns, **facts
            )
        decision = answer.decision if answer.decision != "timed_out" else None
        if (measuring := tracing.measuring()) is not None:
            measuring.reviewed(run.name, decision, waited_seconds)
        if decision == "approved" or (decision is None and review.on_timeout == "approve"):
            run.budget.approve(usd, review.over_usd)
            return None
        if decision is None and review.on_timeout == "pause":
            return Intervention(
                StopReason.REVIEW_PENDING,
                Action.STOP,
                f"Nobody answered within {review.timeout_seconds:g} s.",
                call_id=question.review_id,
                turn=run.turns,
                **facts,
            )
        said = f": {answer.note}" if answer.note else "."
        who = f"{answer.decided_by or 'The reviewer'} denied it" if decision else "Nobody answered in time"
        return Intervention(
            StopReason.REVIEW_DENIED,
            Action.STOP,
            f"{reason} {who}{said}",
            advice="Going on was not approved.",
            turn=run.turns,
            **facts,
        )
