"""What an alert waits for, as a value: written as PromQL for Prometheus, and evaluated over a table of gauges for the backtest.

One tree for both, so that the two cannot disagree about what a rule means. All metrics of one condition carry the same labels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from math import isinf

import polars as pl

from analyzer.alerts.metrics import Metric


def number(value: float) -> str:
    """`value` as PromQL writes it: whole numbers without a point, infinity as `Inf`."""
    if isinf(value):
        return "Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))


class Condition(ABC):
    """What must hold for one set of labels at one instant."""

    @abstractmethod
    def promql(self) -> str:
        """The expression; its value is that of `value`."""

    @abstractmethod
    def holds(self) -> pl.Expr:
        """Whether it holds (never null), over columns named as the metrics; null where a series has no sample."""

    @abstractmethod
    def value(self) -> pl.Expr:
        """What Prometheus gives as `$value` where it holds."""

    @abstractmethod
    def metrics(self) -> Iterator[Metric]:
        """All metrics named in it, first come first."""


def _false(held: pl.Expr) -> pl.Expr:
    """PromQL leaves out what it cannot compare."""
    return held.fill_null(False)


@dataclass(frozen=True, slots=True)
class _OfOne(Condition):
    metric: Metric

    def value(self) -> pl.Expr:
        """The metric's."""
        return pl.col(self.metric.name)

    def metrics(self) -> Iterator[Metric]:
        """One."""
        yield self.metric


@dataclass(frozen=True, slots=True)
class _OfParts(Condition):
    parts: tuple[Condition, ...]

    def metrics(self) -> Iterator[Metric]:
        """Of all parts."""
        for part in self.parts:
            yield from part.metrics()


@dataclass(frozen=True, slots=True)
class AtLeast(_OfOne):
    """`metric >= line`, and below `ceiling` where there is one."""

    line: float
    ceiling: float | None = None

    def promql(self) -> str:
        """`m >= 4 < 8`."""
        ceiling = "" if self.ceiling is None else f" < {number(self.ceiling)}"
        return f"{self.metric} >= {number(self.line)}{ceiling}"

    def holds(self) -> pl.Expr:
        """Both bounds."""
        reached = pl.col(self.metric.name) >= float(self.line)
        return _false(reached if self.ceiling is None else reached & (pl.col(self.metric.name) < float(self.ceiling)))


@dataclass(frozen=True, slots=True)
class AtLeastLine(Condition):
    """`metric >= line`, where the line is a metric with the same labels; where there is none, it does not hold."""

    metric: Metric
    line: Metric

    def promql(self) -> str:
        """`m >= line`."""
        return f"{self.metric} >= {self.line}"

    def holds(self) -> pl.Expr:
        """Against the line of the same labels."""
        return _false(pl.col(self.metric.name) >= pl.col(self.line.name))

    def value(self) -> pl.Expr:
        """The metric's."""
        return pl.col(self.metric.name)

    def metrics(self) -> Iterator[Metric]:
        """Two."""
        yield self.metric
        yield self.line


@dataclass(frozen=True, slots=True)
class Known(_OfOne):
    """The metric has a sample."""

    def promql(self) -> str:
        """`m`."""
        return str(self.metric)

    def holds(self) -> pl.Expr:
        """Whatever its value."""
        return pl.col(self.metric.name).is_not_null()


@dataclass(frozen=True, slots=True)
class AtMost(_OfOne):
    """`metric <= line`."""

    line: float

    def promql(self) -> str:
        """`m <= 10`."""
        return f"{self.metric} <= {number(self.line)}"

    def holds(self) -> pl.Expr:
        """Not above the line."""
        return _false(pl.col(self.metric.name) <= float(self.line))


@dataclass(frozen=True, slots=True)
class TimesAtLeast(Condition):
    """`metric >= factor * other`."""

    metric: Metric
    factor: float
    other: Metric

    def promql(self) -> str:
        """`m >= 3 * n`."""
        return f"{self.metric} >= {number(self.factor)} * {self.other}"

    def holds(self) -> pl.Expr:
        """Against the other's value at the same instant."""
        return _false(pl.col(self.metric.name) >= float(self.factor) * pl.col(self.other.name))

    def value(self) -> pl.Expr:
        """The metric's."""
        return pl.col(self.metric.name)

    def metrics(self) -> Iterator[Metric]:
        """Two."""
        yield self.metric
        yield self.other


@dataclass(frozen=True, slots=True)
class ShareAtLeast(Condition):
    """`part / whole >= line`, the line a number or a metric with the same labels; and below `ceiling` where there is one."""

    part: Metric
    whole: Metric
    line: float | Metric
    ceiling: float | None = None

    def promql(self) -> str:
        """`p / w >= 0.5`."""
        line = str(self.line) if isinstance(self.line, Metric) else number(self.line)
        ceiling = "" if self.ceiling is None else f" < {number(self.ceiling)}"
        return f"{self.part} / {self.whole} >= {line}{ceiling}"

    def holds(self) -> pl.Expr:
        """0 / 0 is not a number, and at least nothing."""
        line = pl.col(self.line.name) if isinstance(self.line, Metric) else pl.lit(float(self.line))
        reached = (pl.col(self.whole.name) > 0) & (self.value() >= line)
        return _false(reached if self.ceiling is None else reached & (self.value() < float(self.ceiling)))

    def value(self) -> pl.Expr:
        """The share."""
        return pl.col(self.part.name) / pl.col(self.whole.name)

    def metrics(self) -> Iterator[Metric]:
        """Two, or three."""
        yield self.part
        yield self.whole
        if isinstance(self.line, Metric):
            yield self.line


@dataclass(frozen=True, slots=True)
class DeviatesBy(Condition):
    """`ln(metric) >= ln(median) + deviations * deviation`: the line of `cost_outlier`."""

    metric: Metric
    median: Metric
    deviation: Metric
    deviations: float

    def promql(self) -> str:
        """In natural logarithms."""
        return f"ln({self.metric}) >= ln({self.median}) + {number(self.deviations)} * {self.deviation}"

    def holds(self) -> pl.Expr:
        """The logarithm of nothing is minus infinity, on both sides as in PromQL."""
        line = pl.col(self.median.name).log() + float(self.deviations) * pl.col(self.deviation.name)
        return _false(self.value() >= line)

    def value(self) -> pl.Expr:
        """The logarithm."""
        return pl.col(self.metric.name).log()

    def metrics(self) -> Iterator[Metric]:
        """Three."""
        yield self.metric
        yield self.median
        yield self.deviation


@dataclass(frozen=True, slots=True)
class Grew(_OfOne):
    """The metric is higher than an hour ago; where there was no series then, above zero."""

    def promql(self) -> str:
        """With `offset`, which asks the same series an hour earlier."""
        before = f"({self.metric} offset 1h)"
        return f"{self.metric} > {before}\nor\n({self.metric} > 0 unless {before})"

    def holds(self) -> pl.Expr:
        """Over the column `<name> offset 1h` beside the metric's own."""
        before = pl.col(f"{self.metric.name} offset 1h")
        return _false(pl.col(self.metric.name) > before.fill_null(0.0))


@dataclass(frozen=True, slots=True)
class Both(_OfParts):
    """The first, while the others hold too."""

    def promql(self) -> str:
        """Joined by `and`."""
        return "\nand ".join(_inner(part) for part in self.parts)

    def holds(self) -> pl.Expr:
        """All of them."""
        return pl.all_horizontal([part.holds() for part in self.parts])

    def value(self) -> pl.Expr:
        """The first one's."""
        return self.parts[0].value()


@dataclass(frozen=True, slots=True)
class Either(_OfParts):
    """Any of them; the value is that of the first that holds."""

    def promql(self) -> str:
        """Joined by `or`."""
        return "\nor\n".join(_inner(part) for part in self.parts)

    def holds(self) -> pl.Expr:
        """One of them."""
        return pl.any_horizontal([part.holds() for part in self.parts])

    def value(self) -> pl.Expr:
        """Of the first that holds."""
        return pl.coalesce([pl.when(part.holds()).then(part.value()) for part in self.parts])


@dataclass(frozen=True, slots=True)
class Unless(Condition):
    """The first, while the second does not hold."""

    first: Condition
    second: Condition

    def promql(self) -> str:
        """Joined by `unless`."""
        return f"{_inner(self.first)}\nunless\n{_inner(self.second)}"

    def holds(self) -> pl.Expr:
        """A second one that nobody can judge does not hold."""
        return self.first.holds() & ~self.second.holds()

    def value(self) -> pl.Expr:
        """The first one's."""
        return self.first.value()

    def metrics(self) -> Iterator[Metric]:
        """Of both."""
        yield from self.first.metrics()
        yield from self.second.metrics()


def _inner(part: Condition) -> str:
    return f"({part.promql()})" if isinstance(part, (Both, Either, Unless, Grew)) else part.promql()
