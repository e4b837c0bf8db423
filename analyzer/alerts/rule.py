"""What an alert rule is, as a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
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
SHARE: Final = Unit("{{ $value | humanizePercentage }}", "%.4g%%", 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """What a person needs who was woken: whole sentences in Markdown."""

    meaning: str
    impact: str
    diagnosis: tuple[str, ...]
    mitigation: tuple[str, ...]


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
    fires: Samples
    """Samples at the threshold."""
    quiet: Samples
    """Samples just below it."""
    value: float
    """What `$value` is in the case that fires."""

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
    """The largest sample that must not fire: one less for a count, the next smaller float for anything else."""
    return value - 1 if isinstance(value, int) and value < 2**53 else nextafter(value, -inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What rules about the same thing have in common; the fields are those of `Rule`."""

    alert: str
    detectors: tuple[str, ...] = ()
    summary: str
    description: str
    runbook: Runbook
    unit: Unit

    def rule(
        self, when: Condition, *, fires: Samples, quiet: Samples, value: float, severity: Severity = "warning"
    ) -> Rule:
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
            fires=fires,
            quiet=quiet,
            value=value,
        )

    def above(self, metric: Metric, line: float) -> Rule:
        """A warning from `line`."""
        return self.rule(AtLeast(metric, line), fires={metric: line}, quiet={metric: below(line)}, value=line)

    def levels(self, metric: Metric, warn: float, error: float) -> Iterator[Rule]:
        """A warning from `warn`, a critical alert from `error`, never both; no warning where there is no room for one."""
        critical = max(warn, error)
        if warn < critical:
            between = AtLeast(metric, warn, critical)
            yield self.rule(between, fires={metric: warn}, quiet={metric: below(warn)}, value=warn)
        yield replace(self.above(metric, critical), severity="critical")
