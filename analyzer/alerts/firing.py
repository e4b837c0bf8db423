"""When alerts fire: the rules over a table of gauges, with Prometheus' own meaning of `for` and `keep_firing_for`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analyzer.alerts.conditions import Condition, Grew
from analyzer.alerts.gauges import Gauges
from analyzer.alerts.rule import Rule
from analyzer.alerts.timing import Timing
from analyzer.alerts.windows import SECOND, Instants

_HOUR_NS = 3600 * SECOND


@dataclass(frozen=True, slots=True)
class Firing:
    """One alert, from when it fired until it was resolved."""

    rule: Rule
    labels: Mapping[str, str]
    since_ns: int
    """When its condition began to hold."""
    fired_ns: int
    resolved_ns: int | None
    """None: it was still firing at the last instant."""
    value: float
    """`$value` when it fired."""


Holding = Sequence[tuple[Rule, pl.DataFrame]]
"""Each rule with the instants at which its condition holds, as `holding` gives them."""


def firings(held: Holding, instants: Instants, timing: Timing) -> Iterator[Firing]:
    """Every alert over `instants`, which are `timing.interval_seconds` apart (gaps aside), by rule and then by labels and time."""
    for rule, rows in held:
        groups = rows.partition_by(rule.labels, as_dict=True) if rule.labels else {(): rows}
        for values, series in groups.items():
            labels = dict(zip(rule.labels, map(str, values), strict=True))
            yield from _of_series(rule, labels, series.sort("at_ns"), instants, timing)


def holding(rule: Rule, gauges: Gauges) -> pl.DataFrame:
    """One row is an instant (`at_ns`) and labels at which the rule's condition holds, with its `value`."""
    table = _table(rule.when, gauges, rule.labels)
    return table.filter(rule.when.holds()).select("at_ns", *rule.labels, value=rule.shown)


def _table(when: Condition, gauges: Gauges, labels: Sequence[str]) -> pl.DataFrame:
    """One row is one instant and label set with any sample, one column per metric; null without a sample."""
    on = ["at_ns", *labels]
    table: pl.DataFrame | None = None
    for metric in dict.fromkeys(when.metrics()):
        empty = pl.DataFrame(schema={"at_ns": pl.Int64, **dict.fromkeys(labels, pl.String), "value": pl.Float64})
        column = gauges.get(metric, empty).select(*on, pl.col("value").alias(metric.name))
        if isinstance(when, Grew):
            earlier = column.select(
                pl.col("at_ns") + _HOUR_NS, *labels, pl.col(metric.name).alias(f"{metric} offset 1h")
            )
            column = column.join(earlier, on=on, how="left")
        table = column if table is None else table.join(column, on=on, how="full", coalesce=True)
    assert table is not None
    return table


def _of_series(
    rule: Rule, labels: Mapping[str, str], series: pl.DataFrame, instants: Instants, timing: Timing
) -> Iterator[Firing]:
    values = series["value"].to_numpy()
    held = np.searchsorted(instants, series["at_ns"].to_numpy())
    keep_ns, for_ns = timing.keep_firing_seconds * SECOND, timing.for_seconds * SECOND
    firing: tuple[int, int, float] | None = None  # since, fired, value
    last_held = -1
    for first, last in _stretches(held):
        if firing is not None and int(instants[first]) - int(instants[last_held + 1]) >= keep_ns:
            yield Firing(rule, labels, *firing[:2], _resolved(instants, last_held, keep_ns), firing[2])
            firing = None
        if firing is None:
            fires = int(np.searchsorted(instants, instants[first] + for_ns))
            if fires <= last:
                at = int(np.searchsorted(held, fires))
                firing = int(instants[first]), int(instants[fires]), float(values[at])
        if firing is not None:
            last_held = last
    if firing is not None:
        yield Firing(rule, labels, *firing[:2], _resolved(instants, last_held, keep_ns), firing[2])


def _stretches(held: Instants) -> Iterator[tuple[int, int]]:
    """Numbers of instants that follow each other without a gap, as first and last."""
    if not len(held):
        return
    breaks = np.flatnonzero(np.diff(held) > 1)
    for start, end in zip([0, *(breaks + 1)], [*breaks, len(held) - 1], strict=True):
        yield int(held[start]), int(held[end])


def _resolved(instants: Instants, last_held: int, keep_ns: int) -> int | None:
    """The first instant at which an alert, that last held at number `last_held`, is no longer kept firing."""
    if last_held + 1 >= len(instants):
        return None
    at = int(np.searchsorted(instants, instants[last_held + 1] + keep_ns))
    return int(instants[at]) if at < len(instants) else None
