"""Traces for `over_budget`, from both sides. 100,000 input tokens of the cases' model cost 30 cents."""

from __future__ import annotations

from typing import Final

from analyzer.cases import Case, Entry, Found, agent_run, says, tool_call, turn
from instrument import semconv as sc

_DONE: Final = says("That is all there is to say.")


def _dear(times: int, model: str = "claude-sonnet-4-5") -> list[Entry]:
    return [
        turn(tool_call("read", {"n": n}, f"text {n}"), input_tokens=100_000, output_tokens=10, model=model)
        for n in range(times)
    ]


CASES: Final = (
    Case(
        "over the limit recorded on it",
        [agent_run([*_dear(5), _DONE], facts={sc.BUDGET_USD: 1.0})],
        [Found("over_budget", turns=(4, 6), severity="warning")],
    ),
    Case(
        "over it with the third call",
        [agent_run([*_dear(3), _DONE], facts={sc.BUDGET_USD: 0.7})],
        [Found("over_budget", turns=(3, 4))],
    ),
    Case(
        "over the policy's",
        [*_dear(40), _DONE],
        [Found("over_budget", turns=(34, 41), severity="warning"), Found("cost_outlier")],
    ),
    Case(
        "each run by its own limit",
        [agent_run([*_dear(4), _DONE], facts={sc.BUDGET_USD: limit}) for limit in (0.5, 5.0)],
        [Found("over_budget", turns=(2, 5))],
    ),
    Case("quiet: within its limit", [agent_run([*_dear(5), _DONE], facts={sc.BUDGET_USD: 2.0})], []),
    Case("quiet: within the policy's", [*_dear(12), _DONE], []),
    Case(
        "quiet: a price that nobody knows",
        [agent_run([*_dear(5, model="in-house-7"), _DONE], facts={sc.BUDGET_USD: 0.5})],
        [],
    ),
    Case(
        "quiet: two runs that are over it together",
        [agent_run([*_dear(2), _DONE], facts={sc.BUDGET_USD: 1.0}) for _ in range(3)],
        [],
    ),
)
