"""Runs loops without HTTP, threads or time: thousands of conversations in a minute. What the provider bills is counted here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any

from instrument import billing
from instrument.ledger import Account, Reservation, Review
from instrument.messages import problems
from instrument.policy import Policy
from instrument.prices import Prices
from instrument.runner.execution import Job, Ran
from instrument.runner.loop import Loop
from instrument.runner.outcome import failed, succeeded
from instrument.runner.result import RunResult
from instrument.runner.run import Run
from instrument.runner.setup import Setup
from instrument.runner.toolbox import Toolbox
from instrument.runner.wants import (
    Arrived,
    Ask,
    CanEdit,
    Count,
    Failed,
    Pause,
    Reserve,
    RunTools,
    Send,
    Settle,
    Tell,
    Wait,
    Want,
)
from instrument.spill import Spill
from instrument.testing import estimated_tokens

MODEL = "claude-sonnet-5-5"
DAY = date(2026, 11, 30)
MOST_WANTS = 20_000
"""A run that wants more than this does not end."""
Answer = Arrived | Failed
Model = Callable[[Mapping[str, Any]], Answer]


@dataclass
class Clock:
    """Moved by what is done."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """What a run talks to. `reviewer` gives a decision for each question; `day_limit` is kept by `ledger`."""

    model: Model
    reviewer: Callable[[Review], str | None] = lambda _: "denied"
    counts: float | None = 1.0
    """The API's count of tokens, as a share of the test kit's estimate; None: it cannot be asked."""
    edits: bool = False
    send_seconds: float = 1.0
    clock: Clock = field(default_factory=Clock)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Why the API would have refused a request that was sent."""
    billed_usd: float = 0.0
    unpriced: bool = False
    ran: list[str] = field(default_factory=list)
    settled_usd: float = 0.0
    reserved: dict[str, float] = field(default_factory=dict)
    most_usd: float = 0.0
    """The most that was settled and reserved at any time."""
    asked: list[Review] = field(default_factory=list)
    paused: list[Pause] = field(default_factory=list)
    told: list[Any] = field(default_factory=list)

    def play(self, loop: Loop) -> RunResult:
        """Runs the loop to its end."""
        steps, answer = loop.steps(), None
        for _ in range(MOST_WANTS):
            try:
                want = steps.send(answer)
            except StopIteration:
                return loop.result()
            answer = self.do(want)
        raise AssertionError("the run does not end")

    def do(self, want: Want) -> Any:
        match want:
            case Send():
                return self._send(want)
            case RunTools():
                ran = [self._ran(job) for job in want.jobs]
                self.clock.now += 0.5
                for index, each in enumerate(ran):
                    want.done(index, each)
                return ran
            case Reserve():
                return self._reserve(want)
            case Settle():
                self.settled_usd += want.usd or 0.0
                return self.reserved.pop(want.reservation.reservation_id) and None
            case Wait():
                self.clock.now += want.seconds
            case Count():
                return None if self.counts is None else round(estimated_tokens(want.body) * self.counts)
            case CanEdit():
                return self.edits
            case Ask():
                self.asked.append(want.review)
                decision: Any = self.reviewer(want.review)
                return replace(want.review, decision=decision)
            case Pause():
                self.paused.append(want)
            case Tell():
                self.told.append(want.event)
        return None

    def _send(self, want: Send) -> Answer:
        self.clock.now += self.send_seconds
        body = dict(want.body)
        self.bodies.append(body)
        self.refused += problems(body["messages"], tools=bool(body.get("tools")))
        answer = self.model(body)
        prompt = estimated_tokens(body)
        if isinstance(answer, Failed):
            if answer.billed:  # it broke off near its end, say
                self._bill(body, {"usage": {"input_tokens": prompt, "output_tokens": body["max_tokens"]}})
            return answer
        output = min(estimated_tokens(answer.message["content"]), body["max_tokens"])
        usage = {"input_tokens": prompt, "output_tokens": output}
        self._bill(body, {"usage": usage})
        told = {"usage": usage, **answer.message}
        return Arrived({k: v for k, v in told.items() if v is not None})

    def _bill(self, body: Mapping[str, Any], message: Mapping[str, Any]) -> None:
        cost = billing.cost(Prices(), body, message, DAY)
        self.unpriced |= cost is None
        self.billed_usd += cost or 0.0

    def _ran(self, job: Job) -> Ran:
        self.ran.append(job.tool.name)
        began = time.perf_counter()
        try:
            return succeeded(job.context.copy().run(job.tool.call, job.input, job.tool_use), began)
        except Exception as e:  # noqa: BLE001 - as the real drivers do
            return failed(e, began)

    def _reserve(self, want: Reserve) -> Reservation | float:
        used = self.settled_usd + sum(self.reserved.values())
        if used + want.usd > want.limit_usd:
            return max(0.0, want.limit_usd - used)
        name = f"res_{len(self.bodies)}_{len(self.reserved)}"
        self.reserved[name] = want.usd
        self.most_usd = max(self.most_usd, used + want.usd)
        return Reservation(name, Account(want.user_id, DAY), round(want.usd * 1e9), datetime.now(UTC))


def made(
    policy: Policy, box: Toolbox, world: World, *, messages: Sequence[Mapping[str, Any]] | None = None, **setup: Any
) -> Loop:
    """A loop whose clock is the world's."""
    run = Run(
        policy,
        name="agent",
        model=setup.pop("model", MODEL),
        user_id=setup.pop("user_id", "ann"),
        clock=world.clock,
        today=lambda: DAY,
    )
    values: dict[str, Any] = {
        "model": run.model,
        "toolbox": box,
        "policy": policy,
        "spill": Spill(),
        "max_tokens": 1000,
        **setup,
    }
    asked = [dict(m) for m in messages or ({"role": "user", "content": "What is x?"},)]
    return Loop(run, Setup(**values), asked, "What is x?")
