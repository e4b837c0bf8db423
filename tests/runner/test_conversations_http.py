"""The laws of `test_conversations`, for a few dozen of the same conversations over HTTP, with the real SDK, drivers and tools."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instrument import billing
from instrument.ledger import Review
from instrument.messages import problems
from instrument.policy import Policy
from instrument.prices import Prices
from instrument.runner.stop import StopReason
from instrument.runner.wants import Failed
from instrument.testing import Reply, Usage, closed, error, estimated_tokens, text
from tests.runner.chaos import WAYS, Stage
from tests.runner.in_memory import DAY
from tests.runner.test_conversations import CENT, EXAMPLES, Case, cases, fail, huge, look, nothing


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage() as made:
        yield made


class Provider:
    """Plays the script of a case to a server, and adds up what it bills."""

    def __init__(self, case: Case) -> None:
        self._said, self._ids = iter(case.script), itertools.count(1)
        self.bodies: list[dict[str, Any]] = []
        self.billed_usd = 0.0

    def __call__(self, body: dict[str, Any]) -> Any:
        self.bodies.append(body)
        said = next(self._said, None)
        if said is None:
            return self._counted(body, text("That is all there is."))
        answer = said.answer(self._ids)
        if isinstance(answer, Failed):
            status = getattr(answer.error, "status_code", None)
            retry_after = 3600.0 if (answer.retry_after_seconds or 0) > 60 else 0.01
            return (
                closed()
                if status is None
                else error(status, message=str(answer.error), retry_after_seconds=retry_after)
            )
        content = tuple(
            {"caller": {"type": "direct"}, **b} if b["type"] == "tool_use" else b for b in answer.message["content"]
        )
        return self._counted(
            body, Reply(content, stop_reason=said.stop_reason, usage=Usage() if said.usage == "told" else None)
        )

    def _counted(self, body: dict[str, Any], reply: Reply) -> Reply:
        used = Usage(estimated_tokens(body), min(estimated_tokens(reply.content), body["max_tokens"]))
        told = {"input_tokens": used.input_tokens, "output_tokens": used.output_tokens}
        self.billed_usd += billing.cost(Prices(), body, {"usage": told}, DAY) or 0.0
        return reply if reply.usage is None else replace(reply, usage=used)


def quick(policy: Policy) -> Policy:
    """The policy without waiting, and without a ledger."""
    change = msgspec.structs.replace
    calls = change(policy.model_calls, retry_seconds=0.01, timeout_seconds=5.0)
    return change(policy, model_calls=calls, cost=change(policy.cost, user_day_limit_usd=None))


@settings(
    max_examples=max(40, EXAMPLES // 10),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(case=cases, way=st.sampled_from(WAYS))
def test_every_run_over_http_ends_for_one_reason_inside_its_limits(stage: Stage, case: Case, way: str) -> None:
    provider, policy, decisions = Provider(case), quick(case.policy), itertools.cycle(case.decisions)

    def reviewer(review: Review) -> Any:
        return replace(review, decision=next(decisions))

    setup = {"model": "claude-sonnet-5-5", "max_tokens": 1000, "task_complete": case.setup["task_complete"]}
    result = stage.play(way, provider, tools=[look, fail, huge, nothing], policy=policy, review=reviewer, **setup)

    assert result.stop_reason not in {StopReason.INTERNAL_ERROR, StopReason.CANCELLED}, result.error
    assert [wrong for body in provider.bodies for wrong in problems(body["messages"], tools="tools" in body)] == []
    assert len(provider.bodies) <= result.turns <= policy.loops.turns + policy.model_calls.retries
    assert result.tool_calls <= policy.loops.tool_calls
    assert provider.billed_usd <= result.cost_at_most_usd + CENT
    limit = policy.cost.run_limit_usd
    assert limit is None or result.cost_at_most_usd <= limit + CENT
    assert problems([*result.messages, {"role": "user", "content": "And y?"}]) == []
