"""Runs that cost too much, and runs that merely cost. 100,000 input tokens of the model cost 30 cents."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Final

from analyzer.cases import Run, Turn
from benchmarks.accuracy.script import MODEL, Placed, Plan, reads
from instrument import semconv

_MODEL: Final = "claude-sonnet-4-5"
_DONE: Final = "That is all there is to say."


def _turns(rng: Random, tokens: int, count: int, model: str = _MODEL) -> list[Turn]:
    return [replace(t, input_tokens=tokens + 7 * n, model=model) for n, t in enumerate(reads(rng, count))]


# --- cost_outlier -------------------------------------------------------------------------------------------------------


def _usual(rng: Random, agent: str, count: int, tokens: int = 25_000) -> list[Run]:
    return [Run([*_turns(rng, int(tokens * rng.uniform(0.8, 1.25)), 2), Turn(text=_DONE)], agent) for _ in range(count)]


def _beside(
    rng: Random,
    kind: str,
    others: list[Run],
    agent: str,
    tokens: int,
    count: int,
    severity: str | None,
    model: str = _MODEL,
) -> Plan:
    """The last of several runs; a failure is the whole of it."""
    proof = (MODEL,) if severity else ()
    ending = Placed(Turn(text=_DONE, input_tokens=1_000, model=model), proof)
    return Plan(
        kind=kind,
        stretch=[Placed(t, proof) for t in _turns(rng, tokens, count, model)],
        severity=severity,
        place="whole",
        ending=[ending],
        others=others,
        agent=agent,
        wastes=False,
        whole_run=True,
    )


def _agent(rng: Random) -> str:
    return f"agent-{rng.getrandbits(48):x}"


def dear(rng: Random) -> Plan:
    """Several times the median of its like."""
    agent, times = _agent(rng), rng.uniform(4.5, 6.5)
    return _beside(
        rng, "far above its like", _usual(rng, agent, rng.randint(13, 18)), agent, int(25_000 * times), 2, "warning"
    )


def very_dear(rng: Random) -> Plan:
    """Many turns, and so fifteen times the median."""
    agent, count = _agent(rng), rng.randint(28, 45)
    return _beside(rng, "many turns", _usual(rng, agent, rng.randint(13, 18)), agent, 27_000, count, "error")


def over_the_line(rng: Random) -> Plan:
    """Too few to compare with: the line decides."""
    agent = _agent(rng)
    return _beside(rng, "over the line", _usual(rng, agent, 2), agent, 120_000, rng.randint(15, 24), "warning")


def twice_as_dear(rng: Random) -> Plan:
    """Twice the median."""
    agent = _agent(rng)
    return _beside(rng, "twice the median", _usual(rng, agent, 14), agent, 50_000, 2, None)


def another_agent(rng: Random) -> Plan:
    """Another agent has another usual."""
    agent = _agent(rng)
    return _beside(
        rng, "another agent", [*_usual(rng, _agent(rng), 13), *_usual(rng, agent, 13, 130_000)], agent, 130_000, 2, None
    )


def cents(rng: Random) -> Plan:
    """Ten times the median, and cents."""
    agent = _agent(rng)
    return _beside(rng, "cents", _usual(rng, agent, 14, 800), agent, 8_000, 2, None)


def unpriced(rng: Random) -> Plan:
    """A model without a price."""
    agent = _agent(rng)
    return _beside(rng, "no known price", [], agent, 180_000, 20, None, "in-house-7")


# --- over_budget --------------------------------------------------------------------------------------------------------

_EACH_USD: Final = 0.3
"""What a request of 100,000 input tokens costs, its answer left out."""


def _spent(rng: Random, kind: str, requests: int, limit: float, crossing: int | None, model: str = _MODEL) -> Plan:
    """`crossing`: the request, from 0, that goes over the limit; None: none does."""
    turns = [replace(t, input_tokens=100_000, output_tokens=10, model=model) for t in reads(rng, requests)]
    over = crossing if crossing is not None else requests
    stretch = [Placed(t, (MODEL,) if n >= over else (), n > over) for n, t in enumerate(turns)]
    return Plan(
        kind=kind,
        stretch=stretch,
        severity=None if crossing is None else "warning",
        place="whole",
        ending=[
            Placed(
                Turn(text=_DONE, input_tokens=100_000, output_tokens=10, model=model),
                (MODEL,) if crossing is not None else (),
                crossing is not None,
            )
        ],
        facts={semconv.BUDGET_USD: limit} if limit else {},
    )


def over_own(rng: Random) -> Plan:
    """Over the limit recorded on the run."""
    requests = rng.randint(2, 20)
    crossing = rng.randrange(requests)
    return _spent(rng, "over its own limit", requests, _EACH_USD * (crossing + 0.5), crossing)


def over_policy(rng: Random) -> Plan:
    """Over the policy's ten dollars."""
    return _spent(rng, "over the policy's", rng.randint(35, 50), 0, 33)


def within(rng: Random) -> Plan:
    """Within its limit."""
    requests = rng.randint(2, 15)
    return _spent(rng, "within its limit", requests, _EACH_USD * (requests + 1) * rng.uniform(1.1, 4), None)


def within_policy(rng: Random) -> Plan:
    """Within the policy's."""
    return _spent(rng, "within the policy's", rng.randint(5, 15), 0, None)


def no_price(rng: Random) -> Plan:
    """A model without a price."""
    return _spent(rng, "no known price", rng.randint(5, 15), 0.5, None, "in-house-7")


def wide_limit(rng: Random) -> Plan:
    """Beyond the policy's limit, and within its own."""
    return _spent(rng, "within its own, beyond the policy's", 36, 50.0, None)


FAILING = {"cost_outlier": (dear, very_dear, over_the_line), "over_budget": (over_own, over_policy)}
HEALTHY = {
    "cost_outlier": (twice_as_dear, another_agent, cents, unpriced),
    "over_budget": (within, within_policy, no_price, wide_limit),
}
