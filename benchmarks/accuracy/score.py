"""Precision, recall and their kin, out of judged samples."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median
from typing import Final

from analyzer.findings import Finding, Severity
from benchmarks.accuracy.judging import Judged, alarming
from benchmarks.accuracy.script import Truth

_Z: Final = 1.959963984540054
"""Of the normal distribution, for 95 %."""
_NEAR: Final = 0.05
"""Relative error of waste that counts as right."""

Share = tuple[int, int]
"""So many of so many."""
WASTED: Final = ("tokens", "dollars", "seconds")


@dataclass(frozen=True, slots=True)
class Stated:
    """How sure a finding said it was, and whether it was right: whether there was such a failure at its place."""

    confidence: float
    right: bool
    alarm: bool
    """Of severity warning or higher."""


@dataclass(frozen=True, slots=True)
class Miss:
    """One wrong answer, with enough to look it up."""

    name: str
    kind: str
    dialect: str
    what: str


@dataclass(frozen=True, slots=True)
class Score:
    """How one detector did on the samples of its class."""

    detector: str
    hits: int
    """Failing samples in which it found the failure where it is, at its severity or at warning at least."""
    failing: int
    false_alarms: int
    """Findings of severity warning or higher where there is nothing: at most one a sample."""
    healthy: int
    mentions: int
    """Healthy samples in which it found something of severity info and nothing worse: no alarm, and still wrong."""
    first: Share
    last: Share
    severity: Share
    waste: Mapping[str, Share]
    """By `WASTED`, hits whose waste was within 5 %, of those that claim any and of which it is known."""
    waste_error: Mapping[str, float]
    """By `WASTED`, the median relative error."""
    stated: tuple[Stated, ...]
    """Every finding of the class, mentions included."""
    left_out: int
    """Samples not counted, because the detector had found something in the healthy run before anything was put into it."""
    misses: tuple[Miss, ...]
    others: Mapping[str, int]
    """Failing samples in which another detector raised an alarm at the same place, by its slug."""

    @property
    def precision(self) -> float | None:
        """Of the alarms, the share that was right; None where there was none."""
        return self.hits / (self.hits + self.false_alarms) if self.hits + self.false_alarms else None

    @property
    def recall(self) -> float | None:
        """Of the failures, the share that was found."""
        return self.hits / self.failing if self.failing else None

    @property
    def f1(self) -> float:
        """Harmonic mean of the two; 0 where nothing was hit."""
        wrong = self.false_alarms + self.failing - self.hits
        return 2 * self.hits / (2 * self.hits + wrong) if self.hits else 0.0


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share (E. B. Wilson 1927, without continuity correction); the whole range where nothing was seen."""
    if not of:
        return 0.0, 1.0
    share, square = hits / of, _Z**2
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = _Z / (1 + square / of) * sqrt(share * (1 - share) / of + square / (4 * of**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def score(detector: str, judged: Sequence[Judged], before: Mapping[str, Collection[str]]) -> Score:
    """How the detector did; `before` says by piece which detectors had found something in it untouched."""
    counted = [j for j in judged if detector not in before.get(j.sample.base, ())]
    told = [(j, j.sample.truth, j.of(detector)) for j in counted]
    failing = [(j, truth, found) for j, truth, found in told if truth is not None]
    hits = [(truth, hit) for _, truth, found in failing if (hit := hit_of(truth, found)) is not None]
    errors = {name: [e for t, f in hits if (e := _waste_errors(t, f)[name]) is not None] for name in WASTED}
    misses = [m for j, truth, found in told for m in _wrong(j, truth, found)]
    return Score(
        detector=detector,
        hits=len(hits),
        failing=len(failing),
        false_alarms=sum(bool(_astray(truth, found)) for _, truth, found in told),
        healthy=len(told) - len(failing),
        mentions=sum(truth is None and bool(found) and not alarming(found) for _, truth, found in told),
        first=_share(t.first_step == f.first_step for t, f in hits),
        last=_share(t.last_step == f.last_step for t, f in hits),
        severity=_share(t.severity == f.severity for t, f in hits),
        waste={name: _share(error <= _NEAR for error in some) for name, some in errors.items()},
        waste_error={name: median(some) for name, some in errors.items() if some},
        stated=tuple(_stated(truth, f) for _, truth, found in told for f in found),
        left_out=len(judged) - len(counted),
        misses=tuple(misses),
        others=_others(detector, failing, before),
    )


def hit_of(truth: Truth, found: Iterable[Finding]) -> Finding | None:
    """The finding that names the injected failure: it overlaps it and is at least as severe as the failure, or as a warning."""
    least = min(Severity(truth.severity).rank, Severity.WARNING.rank)
    fitting = [f for f in found if _overlaps(truth, f) and f.severity.rank >= least]
    return max(
        fitting,
        key=lambda f: (min(f.last_step, truth.last_step) - max(f.first_step, truth.first_step), f.severity.rank),
        default=None,
    )


def _waste_errors(truth: Truth, finding: Finding) -> dict[str, float | None]:
    """By `WASTED` the relative error of what the finding claims; 1 where it claims nothing, None where there is nothing to compare."""
    claims = finding.wasted_tokens, finding.wasted_cost_usd, finding.wasted_seconds
    pairs = zip(WASTED, truth.waste, claims, strict=True)
    return {name: abs((claim or 0) - real) / real if real else None for name, real, claim in pairs}


def _stated(truth: Truth | None, finding: Finding) -> Stated:
    right = truth is not None and _overlaps(truth, finding)
    return Stated(finding.confidence, right, finding.severity is not Severity.INFO)


def baseline(fired: Iterable[bool], failing: Iterable[bool]) -> tuple[int, int, int, int]:
    """Hits, failing samples, false alarms and healthy samples of a check that says of a whole run that it fired."""
    told = Counter(zip(failing, fired, strict=True))
    return (
        told[True, True],
        told[True, True] + told[True, False],
        told[False, True],
        told[False, True] + told[False, False],
    )


def _overlaps(truth: Truth, finding: Finding) -> bool:
    return finding.first_turn <= truth.last_turn and finding.last_turn >= truth.first_turn


def _astray(truth: Truth | None, found: Iterable[Finding]) -> list[Finding]:
    return [f for f in alarming(found) if truth is None or not _overlaps(truth, f)]


def _wrong(judged: Judged, truth: Truth | None, found: Sequence[Finding]) -> list[Miss]:
    sample = judged.sample
    told = [f"{f.severity} {f.first_step}-{f.last_step}: {f.message}" for f in found]
    wrong = []
    if truth is not None:
        hit = hit_of(truth, found)
        where = f"{truth.severity} {truth.first_step}-{truth.last_step}"
        if hit is None:
            wrong.append(f"missed ({where}); found {told or 'nothing'}")
        elif (hit.first_step, hit.last_step) != (truth.first_step, truth.last_step):
            wrong.append(f"place: {where}, found {told}")
        elif hit.severity != truth.severity:
            wrong.append(f"severity: {where}, found {told}")
        elif far := [name for name, error in _waste_errors(truth, hit).items() if (error or 0) > _NEAR]:
            claims = hit.wasted_tokens, hit.wasted_cost_usd, hit.wasted_seconds
            wrong.append(f"waste in {' and '.join(far)}: {truth.waste}, found {claims}")
    wrong += [f"false alarm: {f.severity} {f.message}" for f in _astray(truth, found)]
    return [Miss(sample.case.name, sample.kind, sample.dialect, what) for what in wrong]


def _others(
    detector: str, failing: Iterable[tuple[Judged, Truth, object]], before: Mapping[str, Collection[str]]
) -> dict[str, int]:
    counts: defaultdict[str, int] = defaultdict(int)
    for judged, truth, _ in failing:
        known = before.get(judged.sample.base, ())
        for slug in {f.detector for f in alarming(judged.findings) if _overlaps(truth, f)} - {detector, *known}:
            counts[slug] += 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _share(right: Iterable[bool]) -> Share:
    told = list(right)
    return sum(told), len(told)
