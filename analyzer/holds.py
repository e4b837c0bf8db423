"""What the runner would have held for recorded requests: live, money is put aside for the worst case of a request before it is sent.

So a run that cost $0.80 is not finished under a limit of $0.80. What it takes is worked out here as `instrument.runner.money`
does it, but for one thing that a record does not have: how many tokens the new part of a request could have been at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import duckdb

from instrument.billing import Worst, worst_case
from instrument.policy import Policy
from instrument.prices import Prices

BYTES_PER_TOKEN: Final = 6
"""Live, a token is taken to have one byte. Prose and code have about four; the rest is for JSON's own signs."""
OVERHEAD_TOKENS: Final = 1_500
"""What messages, blocks and the tool prompt add to a bound at most; see `instrument.size_bounds`."""
COLUMNS: Final = (
    "provider",
    "model: coalesce(request_model, response_model)",
    "input_tokens",
    "output_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
)
"""Of model calls, beside `start_ns` and `cost_usd`: what `needed_limit_usd` reads."""


# UNION keeps each pair once, so that a ring of parents comes to an end. MATERIALIZED: see `detectors.context_growth`.
_BELOW: Final = """
WITH RECURSIVE parents AS MATERIALIZED (
    SELECT DISTINCT r.run_key, p.run_key AS parent_key FROM (FROM spans WHERE kind = 'agent' AND parent_span_id IS NOT NULL) r
    JOIN spans p ON p.trace_id = r.trace_id AND p.span_id = r.parent_span_id WHERE p.run_key <> r.run_key
), family AS (
    SELECT parent_key AS head, run_key FROM parents
    UNION
    SELECT family.head, parents.run_key FROM family JOIN parents ON parents.parent_key = family.run_key
), costs AS MATERIALIZED (
    SELECT run_key, sum(cost_usd) AS cost_usd FROM spans
    WHERE kind = 'model' AND duplicate_of IS NULL AND run_key IN (SELECT run_key FROM parents) GROUP BY run_key
)
SELECT head, sum(cost_usd) FROM family JOIN costs USING (run_key) WHERE head <> run_key GROUP BY head HAVING sum(cost_usd) IS NOT NULL
"""


def spent_below_usd(con: duckdb.DuckDBPyConnection) -> dict[int, float]:
    """Number of a run -> what its sub-agents cost, and theirs, in US dollars: they spend the money of the run that started them."""
    return dict(con.execute(_BELOW).fetchall())


def needed_limit_usd(calls: Sequence[Mapping[str, Any]], prices: Prices, policy: Policy) -> float | None:
    """About the smallest `cost.run_limit_usd` under which each of a run's model calls would have been sent as it was, in US dollars.

    `calls`: the run's model calls in order, with `COLUMNS`, `start_ns` and `cost_usd`. None where no call has both price and tokens.
    """
    marks, spent, known, needed = _marks(calls), 0.0, 0, None
    for call in calls:
        worst = _worst(call, known, prices, marks)
        if worst is not None:
            held = worst.usd(max(policy.cost.min_output_tokens, call["output_tokens"] or 0))
            keep = worst.usd(policy.loops.final_answer_tokens)
            needed = max(needed or 0.0, spent + held + keep)
        spent += call["cost_usd"] or 0.0
        known = (call["input_tokens"] or 0) + (call["output_tokens"] or 0) or known
    return None if needed is None else max(needed, spent)


def _worst(call: Mapping[str, Any], known: int, prices: Prices, marks: frozenset[str]) -> Worst | None:
    """`known`: tokens that the API has counted before, those of the last request and its answer."""
    size = call["input_tokens"]
    if size is None or call["model"] is None or call["start_ns"] is None:
        return None
    new = max(0, size - known)
    most = size + (BYTES_PER_TOKEN - 1) * new + OVERHEAD_TOKENS
    day = datetime.fromtimestamp(call["start_ns"] // 10**9, UTC).date()
    return worst_case(prices, {"model": call["model"]}, most, day, marks)


def _marks(calls: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Life times of the cache writes that the run asked for."""
    named = {"5m": "cache_write_5m_tokens", "1h": "cache_write_1h_tokens"}
    return frozenset(mark for mark, column in named.items() if any(call[column] for call in calls))
