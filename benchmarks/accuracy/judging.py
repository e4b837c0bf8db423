"""Samples through the project's own loader and judgement, some hundreds to a store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from analyzer.cases import Case, Run, Turn, load
from analyzer.findings import Finding, Severity, State
from analyzer.run import judge
from benchmarks.accuracy.healthy import Healthy
from benchmarks.accuracy.script import Placed, Sample, sized

_AT_ONCE: Final = 400
T = TypeVar("T")
_BADNESS: Final = (State.NOTHING_TO_CHECK, State.COMPLETE, State.PARTIAL, State.BLIND)


@dataclass(frozen=True, slots=True)
class Judged:
    """A sample and what all detectors found in its run."""

    sample: Sample
    findings: tuple[Finding, ...]
    outcomes: Mapping[str, State]
    """What each detector could see of the store that the sample was in."""

    def of(self, detector: str) -> list[Finding]:
        """The findings of one detector."""
        return [f for f in self.findings if f.detector == detector]


def judged(samples: Iterable[Sample], *, dialect: str | None = None, measured: bool = True) -> Iterator[Judged]:
    """Each sample in its own dialect, or all in `dialect`; `measured` False leaves out all token counts."""
    by_dialect: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_dialect[dialect or sample.dialect].append(sample)
    for spoken, told in sorted(by_dialect.items()):
        for some in _parts(told, _AT_ONCE):
            cases = [s.case if measured else unmeasured(s.case) for s in some]
            by_trace, seen = _found(cases, spoken)
            yield from (Judged(s, tuple(by_trace[s.trace_id]), seen) for s in some)


def states(told: Iterable[Judged]) -> dict[str, str]:
    """By detector the worst that it said of what it could see."""
    worst: dict[str, State] = {}
    for one in told:
        for slug, state in one.outcomes.items():
            worst[slug] = max(worst.get(slug, state), state, key=_BADNESS.index)
    return {slug: str(state) for slug, state in worst.items()}


def alarms(runs: Sequence[Healthy], dialect: str = "gen_ai", *, answer: str = "") -> dict[str, list[Finding]]:
    """By name, what is found in healthy runs as they are, of whatever severity; `answer` ends those that are pieces."""
    found: dict[str, list[Finding]] = {}
    for some in _parts(runs, _AT_ONCE // 4):
        cases = [untouched(run, answer) for run in some]
        by_trace, _ = _found(cases, dialect)
        found |= {run.name: by_trace[case.trace_ids()[0]] for run, case in zip(some, cases, strict=True)}
    return found


def untouched(run: Healthy, answer: str = "") -> Case:
    """A healthy run as a case, with a last answer where one is given."""
    entries = [*run.script, *([Turn(text=answer)] if answer else [])]
    script = [p.entry for p in sized([Placed(entry) for entry in entries])]
    return Case(f"healthy/{run.name}", [Run(script, run.name, run.question)], [])


def unmeasured(case: Case) -> Case:
    """The case without token counts."""
    runs = [
        replace(run, script=[replace(e, measured=False) if isinstance(e, Turn) else e for e in run.script])
        for run in case.runs()
    ]
    return replace(case, script=runs)


def alarming(findings: Iterable[Finding]) -> list[Finding]:
    """Those of severity warning or higher: a mere mention is no alarm."""
    return [f for f in findings if f.severity is not Severity.INFO]


def _parts(things: Sequence[T], size: int) -> list[Sequence[T]]:
    return [things[start : start + size] for start in range(0, len(things), size)]


def _found(cases: Sequence[Case], dialect: str) -> tuple[defaultdict[str, list[Finding]], dict[str, State]]:
    by_trace: defaultdict[str, list[Finding]] = defaultdict(list)
    report = judge(load(cases, dialect))
    for finding in report.findings:
        by_trace[finding.trace_id].append(finding)
    return by_trace, {o.detector: o.state for o in report.outcomes}
