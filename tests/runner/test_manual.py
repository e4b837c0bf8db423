"""Loops that are not ours, under the same guards: `instrument.run` and `instrument.guard`."""

from __future__ import annotations

import pytest

from instrument.messages import problems
from tests.runner.ways_in import FAILURES, WAYS, played


@pytest.mark.filterwarnings("ignore:Tool .serch. not found in tool runner")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("failure", FAILURES)
def test_every_way_in_ends_each_failure_for_the_same_reason(way: str, failure: str) -> None:
    case = FAILURES[failure]
    result, server = played(WAYS[way], case)
    assert result.stop_reason is case.stop
    assert result.cost_at_most_usd <= (case.policy.cost.run_limit_usd or 0)
    assert [problems(r.body["messages"]) for r in server.requests if problems(r.body["messages"])] == []
    if failure in ("tool errors", "loop", "hallucinated tool", "cost"):
        assert result.answer == "I could not find it."
        assert server.requests[-1].body["tool_choice"] == {"type": "none"}
