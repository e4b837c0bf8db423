"""The rules' own tests, for `promtool test rules`: every line just reached and just not, every wait just over and just not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isinf
from typing import Final

from analyzer.alerts.baselines import Baseline, Line
from analyzer.alerts.conditions import Grew, number
from analyzer.alerts.metrics import HOUR_SECONDS, Metric
from analyzer.alerts.rule import Case, Rule
from analyzer.alerts.timing import Timing
from analyzer.alerts.wording import filled, labels
from analyzer.alerts.yaml import Value

_OTHERS: Final = {"model": "claude-test", "kind": "overloaded"}
"""Labels that are not the first of their rule."""


def document(
    rules_file: str, rules: Sequence[Rule], baselines: Sequence[Baseline], timing: Timing, runbooks: str
) -> Value:
    """What promtool reads."""
    writing = _Writing(timing, runbooks)
    tests = [writing.test(place, samples) for place, samples in enumerate(_packed(_samples(rules, baselines)), 1)]
    return {"rule_files": [rules_file], "evaluation_interval": f"{timing.interval_seconds}s", "tests": [*tests]}


@dataclass(frozen=True, slots=True)
class _Sample:
    """A case of a rule, with labels."""

    rule: Rule
    case: Case
    labels: Mapping[str, str]
    origin: str | None = None

    @property
    def series(self) -> dict[str, float]:
        """Value by series."""
        return {_series(metric, self.labels): value for metric, value in self.case.samples.items()}


def _samples(rules: Sequence[Rule], baselines: Sequence[Baseline]) -> Iterator[_Sample]:
    """Every case of every rule, and again at each line of a baseline."""
    for rule in rules:
        baseline = next((b for b in baselines if rule.lined is not None and b.metric == rule.lined.metric), None)
        for place, case in enumerate(rule.cases, 1):
            yield _Sample(rule, case, _labels(rule, case, place, baseline))
        for line in baseline.known if baseline is not None else ():
            for case in rule.lined.cases(_known(line.value)) if rule.lined is not None else ():
                yield _Sample(rule, case, _named(rule, line), line.origin)


def _labels(rule: Rule, case: Case, place: int, baseline: Baseline | None) -> dict[str, str]:
    """The first says which case it is; such that no line of a baseline is theirs."""
    said = f"{rule.alert} {rule.severity} {'is quiet' if case.value is None else 'fires'} {place}"
    found = {name: said if n == 0 else _OTHERS[name] for n, name in enumerate(rule.labels)}
    while baseline is not None and any(_named(rule, line) == found for line in baseline.known):
        found = {name: f"{value}'" for name, value in found.items()}
    return found


def _packed(samples: Iterable[_Sample]) -> list[list[_Sample]]:
    """In few tests, since promtool takes its time for each: none holds a series twice, or two rules of one name or about one metric.

    What must be quiet has tests of its own, because another rule of the same name (the warning, below the critical line) may fire there.
    """
    tests: list[list[_Sample]] = []
    for sample in samples:
        fitting = (test for test in tests if not any(_clash(sample, other) for other in test))
        test = next(fitting, None)
        if test is None:
            tests.append([sample])
        else:
            test.append(sample)
    return tests


def _clash(one: _Sample, other: _Sample) -> bool:
    if _lasts(one.rule) != _lasts(other.rule) or (one.case.value is None) != (other.case.value is None):
        return True
    if one.rule is not other.rule:
        metrics = set(one.rule.when.metrics())
        return one.rule.alert == other.rule.alert or not metrics.isdisjoint(other.rule.when.metrics())
    return one.labels == other.labels


def _lasts(rule: Rule) -> bool:
    # What grew within the hour stops growing by itself; all else is over when its series are.
    return isinstance(rule.when, Grew)


class _Writing:
    """Tests as values, at some timing."""

    def __init__(self, timing: Timing, runbooks: str) -> None:
        self._timing, self._runbooks = timing, runbooks
        self._fires_at = timing.evaluations(timing.for_seconds)
        self._kept = timing.evaluations(timing.keep_firing_seconds)

    def test(self, place: int, samples: Sequence[_Sample]) -> dict[str, Value]:
        """Those of the samples that should fire do, and no others; not an evaluation too early, and not one too long."""
        lasts = _lasts(samples[0].rule)
        gone = self._timing.evaluations(int(HOUR_SECONDS)) if lasts else self._fires_at + 1
        series: list[Value] = [
            {"series": name, "values": _constant(value, gone + self._kept + 1) if lasts else f"{_constant(value, self._fires_at)} stale"}
            for sample in samples
            for name, value in sample.series.items()
        ]  # fmt: skip
        by_rule: dict[str, list[_Sample]] = {}
        for sample in samples:
            by_rule.setdefault(f"{sample.rule.alert} {sample.rule.severity}", []).append(sample)
        test: dict[str, Value] = {"name": f"Cases {place}", "interval": self._time(1), "input_series": series}
        if samples[0].case.value is None:
            quiet: list[Value] = [self._asked(group[0].rule, self._fires_at, 0, state="") for group in by_rule.values()]
            return {**test, "promql_expr_test": quiet}
        test["alert_rule_test"] = [self._said(group) for group in by_rule.values()]
        return {**test, "promql_expr_test": [asked for group in by_rule.values() for asked in self._times(group, gone)]}

    def _said(self, samples: Sequence[_Sample]) -> Value:
        said: list[Value] = [
            {
                # A label without a value is none.
                "exp_labels": {**labels(s.rule), **{name: value for name, value in s.labels.items() if value}},
                "exp_annotations": filled(s.rule, s.labels, s.case.value, self._runbooks, s.origin),
            }
            for s in samples
            if s.case.value is not None
        ]
        return {"eval_time": self._time(self._fires_at), "alertname": samples[0].rule.alert, "exp_alerts": said}

    def _times(self, samples: Sequence[_Sample], gone: int) -> Iterator[Value]:
        """Not an evaluation too early, and until the last one for which it is kept firing."""
        over = gone + self._kept
        if self._fires_at > 0:
            yield self._asked(samples[0].rule, self._fires_at - 1, 0)
        if over > self._fires_at + 1:
            yield self._asked(samples[0].rule, over - 1, len(samples))
        yield self._asked(samples[0].rule, over, 0)

    def _asked(self, rule: Rule, evaluation: int, firing: int, state: str = ', alertstate="firing"') -> Value:
        expr = f'count(ALERTS{{alertname="{rule.alert}", severity="{rule.severity}"{state}}})'
        found: list[Value] = [{"labels": "{}", "value": firing}] if firing else []
        return {"eval_time": self._time(evaluation), "expr": expr, "exp_samples": found}

    def _time(self, evaluation: int) -> str:
        return f"{evaluation * self._timing.interval_seconds}s"


def _named(rule: Rule, line: Line) -> dict[str, str]:
    return dict(zip(rule.labels, line.labels, strict=True))


def _known(value: float | None) -> float:
    assert value is not None
    return value


def _series(metric: Metric, values: Mapping[str, str]) -> str:
    named = ", ".join(f"{name}={json.dumps(values[name], ensure_ascii=False)}" for name in metric.labels)
    return f"{metric}{{{named}}}"


def _constant(value: float, more: int) -> str:
    """The value and so many more of it. promtool reads "3x20" but not "Infx20"."""
    return " ".join(["Inf"] * (more + 1)) if isinf(value) else f"{number(value)}x{more}"
