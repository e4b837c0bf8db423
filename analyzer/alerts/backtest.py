"""What the alert rules would have done over recorded history, and what the detectors say of the same time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import duckdb
import numpy as np
import polars as pl

from analyzer.alerts.baselines import Baseline
from analyzer.alerts.firing import Firing, Holding, firings, holding
from analyzer.alerts.gauges import gauges, grid
from analyzer.alerts.metrics import HOUR_SECONDS, NOW_ONLY
from analyzer.alerts.rule import Rule
from analyzer.alerts.rules import rules
from analyzer.alerts.stretches import runs_between
from analyzer.alerts.timing import Timing
from analyzer.alerts.windows import SECOND, Instants
from analyzer.findings import Finding, Severity
from analyzer.run import judge
from instrument.policy import Policy

_CHUNK: Final = 5_000
"""Instants evaluated at a time: two days of half minutes, whatever the length of the history."""
_TAIL_SECONDS: Final = 2 * HOUR_SECONDS
"""After a run has ended rules about the last hour still speak of it."""


@dataclass(frozen=True, slots=True)
class Tested:
    """One rule over the history."""

    rule: Rule
    firings: tuple[Firing, ...]
    with_finding: int | None
    """Of these, firings with a finding of the rule's detectors behind them; None where no detector looks at the same thing."""
    behind: tuple[bool, ...] = ()
    """Of each firing, whether there is one."""

    @property
    def without_finding(self) -> int | None:
        """The others."""
        return None if self.with_finding is None else len(self.firings) - self.with_finding


@dataclass(frozen=True, slots=True)
class Backtest:
    """All rules over the history."""

    tested: tuple[Tested, ...]
    not_testable: tuple[Rule, ...]
    """Rules about what the record has no time for: lost spans, waiting reviews."""
    unseen: tuple[Finding, ...]
    """Findings of severity warning or above in whose time and agent no rule fired."""
    findings: int
    """How many of that severity there are."""
    instants: Instants


def backtest(
    con: duckdb.DuckDBPyConnection,
    policy: Policy,
    timing: Timing | None = None,
    *,
    instants: Instants | None = None,
    findings: Sequence[Finding] | None = None,
    baselines: Sequence[Baseline] = (),
) -> Backtest:
    """The rules of `policy` evaluated every `timing.interval_seconds` of the record in which anything went on, and a little longer.

    `instants` are some of the `active_instants` where not all of the history is wanted; `findings` those of `judge`, where they are known.
    """
    when = timing or Timing()
    possible = [r for r in rules(policy, baselines) if not _timeless(r)]
    partly = instants is not None
    instants = active_instants(con, when.interval_seconds) if instants is None else instants
    fired = list(firings(held_over(con, policy, possible, instants, baselines), instants, when))
    judged = judge(con, policy).findings if findings is None else findings
    found = _placed(con, [f for f in judged if f.severity is not Severity.INFO])
    if partly:
        found = [place for place in found if len(instants) and place.end_ns >= instants[0]]
    seen = [[any(_behind(place, f) for f in fired if f.rule is rule) for place in found] for rule in possible]
    tested = tuple(_tested(rule, [f for f in fired if f.rule is rule], found) for rule in possible)
    unseen = tuple(place.finding for n, place in enumerate(found) if not any(column[n] for column in seen))
    return Backtest(tested, tuple(r for r in rules(policy) if _timeless(r)), unseen, len(found), instants)


def held_over(
    con: duckdb.DuckDBPyConnection,
    policy: Policy,
    some: Sequence[Rule],
    instants: Instants,
    baselines: Sequence[Baseline] = (),
) -> Holding:
    """When the conditions of `some` rules hold, evaluated a part of `instants` at a time so that memory stays bounded."""
    parts: list[list[pl.DataFrame]] = [[] for _ in some]
    for start in range(0, len(instants), _CHUNK):
        now = instants[start : start + _CHUNK]
        values = {**gauges(con, policy, now), **{baseline.metric: baseline.at(now) for baseline in baselines}}
        for rule, part in zip(some, parts, strict=True):
            part.append(holding(rule, values))
    return [(rule, pl.concat(part)) for rule, part in zip(some, parts, strict=True) if part]


def active_instants(con: duckdb.DuckDBPyConnection, seconds: float) -> Instants:
    """The instants of Prometheus' evaluations during all runs and for a while after each; silence in between is left out."""
    runs = runs_between(con, -(2**62), 2**62)
    spans = [
        grid(start, until + int(_TAIL_SECONDS * SECOND), seconds)
        for start, until in runs.select("start_ns", "until_ns").sort("start_ns").pipe(_merged, seconds).iter_rows()
    ]
    return np.unique(np.concatenate(spans)) if spans else np.array([], dtype=np.int64)


def _merged(runs: pl.DataFrame, seconds: float) -> pl.DataFrame:
    """Overlapping stretches of time as one."""
    gap = int((_TAIL_SECONDS + seconds) * SECOND)
    apart = pl.col("start_ns") > pl.col("until_ns").cum_max().shift() + gap
    return (
        runs.with_columns(block=apart.fill_null(False).cum_sum())
        .group_by("block", maintain_order=True)
        .agg(pl.col("start_ns").min(), pl.col("until_ns").max())
        .drop("block")
    )


@dataclass(frozen=True, slots=True)
class _Placed:
    finding: Finding
    agent_name: str
    model: str
    start_ns: int
    end_ns: int


_ENDS: Final = """
SELECT n, coalesce(max(end_ns), max(start_ns)) AS end_ns FROM spans JOIN wanted
    ON spans.run_id = wanted.run_id AND spans.trace_id = wanted.trace_id AND spans.step BETWEEN first_step AND last_step
GROUP BY n ORDER BY n
"""


def _placed(con: duckdb.DuckDBPyConnection, findings: Sequence[Finding]) -> list[_Placed]:
    """Each finding with the labels of its run and when its last span ended; findings without times are left out."""
    if not findings:
        return []
    wanted = pl.DataFrame(
        [(n, f.run_id, f.trace_id, f.first_step, f.last_step) for n, f in enumerate(findings)],
        {"n": pl.Int64, "run_id": pl.String, "trace_id": pl.String, "first_step": pl.Int64, "last_step": pl.Int64},
        orient="row",
    )
    con.register("wanted", wanted.to_arrow())
    try:
        ends = dict(con.execute(_ENDS).fetchall())
    finally:
        con.unregister("wanted")
    runs = runs_between(con, -(2**62), 2**62)
    labels = {
        run_id: (agent, model) for run_id, agent, model in runs.select("run_id", "agent_name", "model").iter_rows()
    }
    return [
        _Placed(f, *labels[f.run_id], f.start_ns, ends[n])
        for n, f in enumerate(findings)
        if f.run_id in labels and ends.get(n) is not None
    ]


def _tested(rule: Rule, fired: list[Firing], found: list[_Placed]) -> Tested:
    behind = tuple(any(_behind(place, f) for place in found) for f in fired)
    return Tested(rule, tuple(fired), sum(behind) if rule.detectors else None, behind)


def _behind(place: _Placed, fired: Firing) -> bool:
    """Whether the finding may be what the alert fired for: same thing, same labels, and at that time or in the hour before."""
    if place.finding.detector not in fired.rule.detectors:
        return False
    labels = {"agent_name": place.agent_name}
    if "agent_name" in fired.labels:  # else it is about the model of a request, of which a run may ask several
        labels["model"] = place.model
    if any(labels.get(name, value) != value for name, value in fired.labels.items()):
        return False
    until = fired.resolved_ns if fired.resolved_ns is not None else 2**63
    return place.start_ns <= until and place.end_ns >= fired.since_ns - int(HOUR_SECONDS * SECOND)


def _timeless(rule: Rule) -> bool:
    return not NOW_ONLY.isdisjoint(rule.when.metrics())


def history(con: duckdb.DuckDBPyConnection, policy: Policy, instants: Instants) -> Iterator[tuple[str, pl.DataFrame]]:
    """Name and samples of every metric over `instants`, a part of them at a time: for charts, and to fill a Prometheus with."""
    for start in range(0, len(instants), _CHUNK):
        for metric, rows in gauges(con, policy, instants[start : start + _CHUNK]).items():
            yield metric.name, rows
