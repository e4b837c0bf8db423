"""Two sets of runs compared: which findings are new or gone, and how tokens, cost, turns and time per run have changed, agent by agent.

Each change of a mean comes with a 95 % interval, from the percentile bootstrap (Efron 1979; 2,000 resamples of each side, seeded,
so that the same runs give the same interval). An interval that holds zero says that the difference may be chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from analyzer.findings import Finding

MEASURES: Final = ("cost_usd", "input_tokens", "output_tokens", "model_calls", "tool_calls", "seconds")
"""Columns of `views.runs.summaries` that are compared."""
_RESAMPLES: Final = 2_000
_LEAST_RUNS: Final = 5
"""Runs on each side below which an interval would say nothing."""
_CHUNK: Final = 1_000_000
"""Numbers drawn at a time."""


@dataclass(frozen=True, slots=True)
class Change:
    """One measure of one agent's runs, before and after; means over the runs for which it is known."""

    agent_name: str | None
    measure: str
    runs_before: int
    runs_after: int
    before: float | None
    after: float | None
    low: float | None
    """Ends of the 95 % interval of `after - before`; None where there are too few runs."""
    high: float | None

    @property
    def certain(self) -> bool:
        """The interval does not hold zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True)
class Kind:
    """Findings of one detector about one agent and tool: in how many runs of each side."""

    detector: str
    agent_name: str | None
    tool_name: str | None
    before: int
    after: int
    severity: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed from one set of runs to another."""

    runs_before: int
    runs_after: int
    kinds: tuple[Kind, ...]
    changes: tuple[Change, ...]
    """Of the agents that ran on both sides."""
    only_before: tuple[tuple[str | None, int], ...]
    """Agents that ran on one side only, and how often."""
    only_after: tuple[tuple[str | None, int], ...]

    @property
    def new(self) -> tuple[Kind, ...]:
        """Findings of a kind that was not there before."""
        return tuple(k for k in self.kinds if not k.before)

    @property
    def gone(self) -> tuple[Kind, ...]:
        """Findings of a kind that is not there any more."""
        return tuple(k for k in self.kinds if not k.after)


def difference(
    before: pl.DataFrame, after: pl.DataFrame, found_before: Sequence[Finding], found_after: Sequence[Finding]
) -> Difference:
    """Compares two frames of `views.runs.summaries`, and the findings about them."""
    old, new = Counter(before["agent_name"].to_list()), Counter(after["agent_name"].to_list())
    changes = [
        _change(agent, measure, _known(before, agent, measure), _known(after, agent, measure))
        for agent in sorted(old.keys() & new.keys(), key=lambda name: name or "")
        for measure in MEASURES
    ]
    return Difference(
        before.height,
        after.height,
        _kinds(found_before, found_after),
        tuple(c for c in changes if c.before is not None or c.after is not None),
        tuple((agent, runs) for agent, runs in old.most_common() if agent not in new),
        tuple((agent, runs) for agent, runs in new.most_common() if agent not in old),
    )


def _kinds(before: Iterable[Finding], after: Iterable[Finding]) -> tuple[Kind, ...]:
    old, new = _runs_by_kind(before), _runs_by_kind(after)
    worst = {_kind(f): f.severity for f in sorted((*before, *after), key=lambda f: f.severity.rank)}
    kinds = [Kind(*key, old[key], new[key], str(worst[key])) for key in {**old, **new}]
    return tuple(sorted(kinds, key=lambda k: (k.before - k.after, k.detector, k.agent_name or "", k.tool_name or "")))


def _runs_by_kind(findings: Iterable[Finding]) -> Counter[tuple[str, str | None, str | None]]:
    return Counter(kind for kind, _ in {(_kind(f), f.run_id) for f in findings})


def _kind(finding: Finding) -> tuple[str, str | None, str | None]:
    tool = finding.evidence.get("tool_name")
    return finding.detector, finding.agent_name, tool if isinstance(tool, str) else None


def _known(runs: pl.DataFrame, agent: str | None, measure: str) -> npt.NDArray[np.float64]:
    own = runs.filter(pl.col("agent_name").eq_missing(pl.lit(agent, pl.String)))
    return own[measure].drop_nulls().cast(pl.Float64).to_numpy()


def _change(agent: str | None, measure: str, before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> Change:
    low, high = None, None
    if len(before) >= _LEAST_RUNS and len(after) >= _LEAST_RUNS:
        gap = _means(after, 1) - _means(before, 2)
        low, high = (float(q) for q in np.quantile(gap, (0.025, 0.975)))
    return Change(agent, measure, len(before), len(after), _mean(before), _mean(after), low, high)


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


def _means(values: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    """Means of resamples, drawn in pieces so that a million runs need no more memory than a thousand."""
    dice = np.random.default_rng(seed)
    piece = max(1, _CHUNK // len(values))
    means = [
        values[dice.integers(0, len(values), (min(piece, _RESAMPLES - start), len(values)))].mean(axis=1)
        for start in range(0, _RESAMPLES, piece)
    ]
    return np.concatenate(means)


def groups(changes: Sequence[Change]) -> Mapping[str | None, list[Change]]:
    """Changes by agent, in order."""
    found: dict[str | None, list[Change]] = {}
    for change in changes:
        found.setdefault(change.agent_name, []).append(change)
    return found
