"""What a database shows of how its runs were kept in check: counts, and nothing judged yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb
import msgspec
import polars as pl

from analyzer.detectors.overflowed import OVERFLOWED
from analyzer.detectors.unknown_tool.unknown import UNKNOWN
from analyzer.findings import Finding, Report, Severity
from analyzer.guarding import COMPLETED, guarded_runs
from instrument.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Facts of all runs of a database; `runs` None: there is none, and `policies` holds the one policy to be judged."""

    runs: int | None = None
    policies: tuple[tuple[Policy | None, int], ...] = ()
    """Policies and how many guarded runs recorded each; None: the runs said that they were guarded, and not by what policy."""
    troubled: Mapping[str, int] = field(default_factory=dict)
    """Detector -> runs under no guard in which it found something, warnings and worse."""
    actions: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(guard, action) -> how often; what was merely observed left out."""
    stopped: int = 0
    """Guarded runs that a guard or a limit ended ..."""
    answered: int = 0
    """... and how many of these still asked the model for an answer afterwards."""
    failed_calls: int = 0
    """Tool calls that ran and failed ..."""
    unanswered_calls: int = 0
    """... and were the last thing their run did: the model never read of them."""
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Why -> tool calls that were refused before they ran."""
    unknown_ran: int = 0
    """Calls of tools that do not exist, which nobody refused."""
    longest_turns: int = 0
    model_calls: int = 0
    measured_calls: int = 0
    """Model calls with token counts."""
    priced_calls: int = 0
    """Model calls with a price, and those that failed without one: they are not billed."""
    overflows: int = 0
    """Model calls that failed because the context was full."""
    dearest_run_usd: float | None = None
    dearest_day_usd: float | None = None
    """Most that one known user cost in one UTC day."""
    anonymous: int = 0
    """Runs that do not say on whose behalf they ran."""

    @property
    def guarded(self) -> int:
        """Runs under a guard."""
        return sum(runs for _, runs in self.policies)


_COUNTS = f"""
SELECT
    (SELECT count(*) FROM spans WHERE step = 0) AS runs,
    (SELECT count(*) FROM spans WHERE step = 0 AND user_id IS NULL) AS anonymous,
    (SELECT coalesce(max(turn), 0) FROM spans) AS longest_turns,
    count(*) AS model_calls,
    count(coalesce(input_tokens, output_tokens)) AS measured_calls,
    count(*) FILTER (cost_usd IS NOT NULL OR failed) AS priced_calls,
    count(*) FILTER ({OVERFLOWED}) AS overflows
FROM spans WHERE kind = 'model' AND duplicate_of IS NULL
"""
_CALLS = f"""
WITH failed AS (
    SELECT run_key, step, turn FROM spans WHERE kind = 'tool' AND duplicate_of IS NULL AND failed AND rejected IS NULL
), heard AS (
    SELECT run_key, max(step) AS step FROM spans
    WHERE kind = 'model' AND run_key IN (SELECT run_key FROM failed) GROUP BY run_key
)
SELECT (SELECT count(*) FROM failed) AS failed_calls,
    -- Where no model call was recorded, nobody knows what the model read.
    (SELECT count(*) FROM failed JOIN heard USING (run_key) WHERE failed.step > heard.step) AS unanswered_calls,
    (SELECT count(*) FROM spans WHERE kind = 'tool' AND rejected IS NULL AND {UNKNOWN}) AS unknown_ran
"""
_DEAREST = """
SELECT (SELECT max(usd) FROM (SELECT sum(cost_usd) AS usd FROM spans WHERE kind = 'model' AND duplicate_of IS NULL GROUP BY run_key))
        AS dearest_run_usd,
    (SELECT max(usd) FROM (SELECT sum(cost_usd) AS usd FROM spans WHERE kind = 'model' AND duplicate_of IS NULL
        AND user_id IS NOT NULL GROUP BY user_id, start_ns // 86_400_000_000_000)) AS dearest_day_usd
"""
_ANSWERED = """
SELECT count(DISTINCT s.run_key) FROM guard_actions a JOIN spans s USING (span_key)
    JOIN spans m ON m.run_key = s.run_key AND m.kind = 'model' AND m.start_ns >= a.at_ns
WHERE a.action = 'stop' AND NOT a.observed
"""


# The SDK's own loop (`tool_runner`) is an agent span, and so a run: below the run that guards it, or beside it with the guard's actions.
_WITHIN = """
SELECT run_id FROM guard_actions JOIN spans USING (span_key)
WHERE run_key NOT IN (SELECT run_key FROM guarded_runs JOIN spans USING (span_key))
UNION
SELECT s.run_id FROM spans s
JOIN (SELECT trace_id, span_id FROM guarded_runs JOIN spans USING (span_key)) g
    ON g.trace_id = s.trace_id AND g.span_id = s.parent_span_id
WHERE s.kind = 'agent' AND s.duplicate_of IS NULL AND s.span_key NOT IN (SELECT span_key FROM guarded_runs)
"""


def seen_of_policy(policy: Policy) -> Seen:
    """Nothing but a policy: what it would do."""
    return Seen(policies=((policy, 0),))


def seen_in(con: duckdb.DuckDBPyConnection, report: Report) -> Seen:
    """What the store behind `con` shows; `report` is its judgement. Raises `duckdb.Error` where it cannot be read."""
    guarded = guarded_runs(con)
    facts: dict[str, Any] = {}
    for sql in (_COUNTS, _CALLS, _DEAREST):
        facts |= con.sql(sql).pl().row(0, named=True)
    within = {run_id for (run_id,) in con.execute(_WITHIN).fetchall()}
    facts["runs"] -= len(within)
    rejected = con.execute("SELECT rejected, count(*) FROM spans WHERE rejected IS NOT NULL GROUP BY ALL").fetchall()
    ((answered,),) = con.execute(_ANSWERED).fetchall()
    return Seen(
        policies=_policies(guarded),
        troubled=_troubled(report.findings, set(guarded["run_id"]) | within),
        actions=Counter((a.guard, a.action) for a in report.guard_actions if not a.observed),
        stopped=guarded.filter(pl.col("stop_reason").is_not_null(), pl.col("stop_reason") != COMPLETED).height,
        answered=answered,
        rejected=dict(rejected),
        **facts,
    )


def _policies(guarded: pl.DataFrame) -> tuple[tuple[Policy | None, int], ...]:
    texts = guarded.group_by("policy").len().sort("len", "policy", descending=True)
    return tuple((_policy(text), runs) for text, runs in texts.iter_rows())


def _policy(text: str | None) -> Policy | None:
    """A recorded policy; None where it is none that this flyball knows."""
    try:
        return msgspec.json.decode(text or "", type=Policy)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return None


def _troubled(findings: tuple[Finding, ...], guarded: set[str]) -> dict[str, int]:
    runs = {(f.detector, f.run_id) for f in findings if f.severity != Severity.INFO and f.run_id not in guarded}
    return dict(Counter(detector for detector, _ in runs))
