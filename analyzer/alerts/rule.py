"""What an alert rule is, as a value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf, isinf, nextafter
from typing import Final, Literal

import polars as pl

from analyzer.alerts.conditions import AtLeast, Condition
from analyzer.alerts.metrics import Metric

Severity = Literal["warning", "critical"]
Samples = Mapping[Metric, float]

VALUE: Final = "{value}"
"""Stands in a rule's texts where the measured value belongs."""


@dataclass(frozen=True, slots=True)
class Unit:
    """How a value reads: as a Go template for Prometheus, and as the printf format behind it."""

    template: str
    printf: str
    factor: float = 1.0

    def shown(self, value: float) -> str:
        """What Prometheus makes of `value`."""
        if isinf(value):
            return self.printf.split("%")[0] + "+Inf"
        return self.printf % (value * self.factor)


COUNT: Final = Unit('{{ printf "%.0f" $value }}', "%.0f")
USD: Final = Unit('${{ printf "%.2f" $value }}', "$%.2f")
SECONDS: Final = Unit('{{ printf "%.0f" $value }} s', "%.0f s")
RATIO: Final = Unit('{{ printf "%.2f" $value }}', "%.2f")
SHARE: Final = Unit("{{ $value | humanizePercentage }}", "%.4g%%", 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """What a person needs who was woken: whole sentences in Markdown."""

    meaning: str
    impact: str
    diagnosis: tuple[str, ...]
    mitigation: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """Samples, constant over time, and what the rule must make of them."""

    samples: Samples
    value: float | None = None
    """What `$value` is where it must fire; None: it must stay quiet."""


@dataclass(frozen=True, slots=True)
class Lined:
    """That a rule takes its line from a baseline where there is one for its labels, else from the policy."""

    metric: Metric
    """The line, as it is recorded."""
    otherwise: str
    """What the line is else: the setting of the policy, and its value."""
    cases: Callable[[float], tuple[Case, ...]]
    """The cases for a line of a baseline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One alert rule."""

    alert: str
    """Name in CamelCase; two rules share one where only their severity differs."""
    detectors: tuple[str, ...] = ()
    """Slugs of the detectors that report the same thing afterwards; none where there is nothing to find in a trace."""
    severity: Severity
    when: Condition
    summary: str
    """One sentence, present tense; `VALUE` is the measured value in `unit`."""
    description: str
    runbook: Runbook
    unit: Unit
    cases: tuple[Case, ...]
    """For every line in the condition samples that just reach it, and samples that just do not."""
    lined: Lined | None = None
    """None: its lines are those of the policy."""

    @property
    def fires(self) -> Case:
        """The first of the cases that fire."""
        return next(case for case in self.cases if case.value is not None)

    @property
    def expr(self) -> str:
        """PromQL."""
        return self.when.promql()

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels that its series, and so its alerts, carry."""
        return next(self.when.metrics()).labels

    @property
    def shown(self) -> pl.Expr:
        """`$value`, over a table of gauges."""
        return self.when.value()


def below(value: float) -> float:
    """The largest sample that must not reach `value`: a line that is wrong by the least bit shows."""
    return nextafter(value, -inf)


def share_parts(line: float, whole: float) -> tuple[float, float]:
    """The smallest part of `whole` whose share reaches `line`, and the largest whose share does not, in floating point."""
    reaches, misses = 2 * line * whole, 0.0
    while misses < (middle := misses + (reaches - misses) / 2) < reaches:
        reaches, misses = (middle, misses) if middle / whole >= line else (reaches, middle)
    return reaches, misses


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What rules about the same thing have in common; the fields are those of `Rule`."""

    alert: str
    detectors: tuple[str, ...] = ()
    summary: str
    description: str
    runbook: Runbook
    unit: Unit

    def rule(self, when: Condition, *cases: Case, severity: Severity = "warning", lined: Lined | None = None) -> Rule:
        """The rule that fires while `when` holds."""
        return Rule(
            alert=self.alert,
            detectors=self.detectors,
            severity=severity,
            when=when,
            summary=self.summary,
            description=self.description,
            runbook=self.runbook,
            unit=self.unit,
            cases=cases,
            lined=lined,
        )

    def above(self, metric: Metric, line: float, severity: Severity = "warning") -> Rule:
        """An alert from `line`."""
        return self.rule(
            AtLeast(metric, line), Case({metric: line}, line), Case({metric: below(line)}), severity=severity
        )

    def levels(self, metric: Metric, warn: float, error: float) -> Iterator[Rule]:
        """A warning from `warn`, a critical alert from `error`, never both; no warning where there is no room for one."""
        critical = max(warn, error)
        if warn < critical:
            last = below(critical)
            yield self.rule(
                AtLeast(metric, warn, critical),
                Case({metric: warn}, warn),
                Case({metric: last}, last),
                Case({metric: below(warn)}),
                Case({metric: critical}),
            )
        yield self.above(metric, critical, "critical")
