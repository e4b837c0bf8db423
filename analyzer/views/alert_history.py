"""What the alert rules did over recorded history, as frames for charts and tables; and the files of the rules as one archive."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import duckdb
import numpy as np
import polars as pl

from analyzer.alerts.backtest import Backtest, Tested, active_instants, history
from analyzer.alerts.conditions import AtLeast, AtMost
from analyzer.alerts.prometheus import Timing
from analyzer.alerts.rule import Rule
from analyzer.alerts.rules import rules as all_rules
from analyzer.alerts.windows import SECOND, Instants
from instrument.policy import Policy

INSTANTS_TRIED: Final = 20_000
"""Evaluations of one backtest here: a week in which something always goes on. `flyball alerts backtest` takes all."""
DAYS: Final = (1, 7, 30, None)
"""How far back from the newest run; None: as far as `INSTANTS_TRIED` reaches."""
POINTS: Final = 240
"""Of one series of a small chart."""
SERIES: Final = 4
"""In one small chart: those that went furthest."""
_BREAK_SECONDS: Final = 1_800
_DAY_NS: Final = 86_400 * SECOND

WITH, WITHOUT, NOBODY = "with a finding", "without a finding", "no detector looks at it"


@dataclass(frozen=True, slots=True)
class Period:
    """A part of the history."""

    instants: Instants
    left_out: int
    """Evaluations before it, within the days that were asked for."""


def period(con: duckdb.DuckDBPyConnection, days: int | None, timing: Timing | None = None) -> Period:
    """The newest evaluations of the history, of at most so many days before the last and at most `INSTANTS_TRIED`."""
    instants = active_instants(con, (timing or Timing()).interval_seconds)
    if days is not None and len(instants):
        instants = instants[instants >= instants[-1] - days * _DAY_NS]
    return Period(instants[-INSTANTS_TRIED:], max(0, len(instants) - INSTANTS_TRIED))


def name_of(rule: Rule) -> str:
    """Alert and severity: two rules share a name where only their severity differs."""
    return f"{rule.alert} ({rule.severity})"


def firings(result: Backtest) -> pl.DataFrame:
    """One row is one firing, in order of time: `rule`, `severity`, `labels`, `since`, `fired`, `resolved` (UTC; null: still firing at the
    end), `until` (the same, or the end), `value` (with its unit) and `behind` (`WITH`, `WITHOUT` or `NOBODY`).
    """
    end_ns = int(result.instants[-1]) if len(result.instants) else 0
    rows = [
        (
            name_of(tested.rule), tested.rule.severity, ", ".join(f"{k} {v}" for k, v in fired.labels.items() if v), fired.since_ns,
            fired.fired_ns, fired.resolved_ns, end_ns if fired.resolved_ns is None else fired.resolved_ns,
            tested.rule.unit.shown(fired.value), _behind(tested, n),
        )
        for tested in result.tested
        for n, fired in enumerate(tested.firings)
    ]  # fmt: skip
    names = ("rule", "severity", "labels", "since", "fired", "resolved", "until", "value", "behind")
    times = ("since", "fired", "resolved", "until")
    schema = {name: pl.Int64 if name in times else pl.String for name in names}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(_moment(name) for name in times).sort("fired", "rule")


def _behind(tested: Tested, number: int) -> str:
    if tested.with_finding is None:
        return NOBODY
    return WITH if tested.behind[number] else WITHOUT


def _moment(column: str) -> pl.Expr:
    return (pl.col(column) // 1_000_000).cast(pl.Datetime("ms")).alias(column)


def unseen(result: Backtest) -> pl.DataFrame:
    """One row is one finding that no rule saw, in order of time (`at`, UTC): `severity`, `detector`, `agent_name`, `message`, `run_id`."""
    rows = [(f.start_ns, f.severity.value, f.detector, f.agent_name, f.message, f.run_id) for f in result.unseen]
    schema = {"at": pl.Int64, **dict.fromkeys(("severity", "detector", "agent_name", "message", "run_id"), pl.String)}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(_moment("at")).sort("at", "detector", "run_id")


@dataclass(frozen=True, slots=True)
class Gauge:
    """One metric over the history, with the lines of the rules about it."""

    name: str
    meaning: str
    samples: pl.DataFrame
    """`at` (UTC), `series` (its labels), `block` (stretches without a long silence), `value`."""
    lines: pl.DataFrame
    """`line`, `severity`."""


def gauges(
    con: duckdb.DuckDBPyConnection, policy: Policy, instants: Instants, rules: Sequence[Rule]
) -> tuple[Gauge, ...]:
    """The metrics of those `rules` that wait for one metric to reach one line, with all lines there are for it.

    Thinned for small charts: of each part of the time the worst value.
    """
    wanted = {rule.when.metric for rule in rules if isinstance(rule.when, (AtLeast, AtMost))}
    lines: dict[str, list[Rule]] = {}
    for rule in all_rules(policy):
        if isinstance(rule.when, (AtLeast, AtMost)) and rule.when.metric in wanted:
            lines.setdefault(rule.when.metric.name, []).append(rule)
    parts: dict[str, list[pl.DataFrame]] = {name: [] for name in lines}
    for name, rows in history(con, policy, instants) if lines else ():
        if name in parts and rows.height:
            parts[name].append(rows)
    return tuple(_gauge(lines[name], pl.concat(found), instants) for name, found in parts.items() if found)


def _gauge(rules: Sequence[Rule], rows: pl.DataFrame, instants: Instants) -> Gauge:
    when = rules[0].when
    assert isinstance(when, (AtLeast, AtMost))
    least = isinstance(when, AtMost)
    label = pl.concat_str([pl.when(pl.col(n) == "").then(None).otherwise(pl.col(n)) for n in when.metric.labels] or [pl.lit("all")],
                          separator=" on ", ignore_nulls=True)  # fmt: skip
    named = rows.filter(pl.col("value").is_finite()).with_columns(series=label)
    furthest = named.group_by("series").agg(pl.col("value").min() if least else pl.col("value").max())
    shown = furthest.sort("value", "series", descending=[not least, False]).head(SERIES)["series"]
    group = max(1, -(-len(instants) // POINTS))
    breaks = np.concatenate([[0], np.cumsum(np.diff(instants) > _BREAK_SECONDS * SECOND)])
    at = np.searchsorted(instants, named["at_ns"].to_numpy())
    samples = (
        named.with_columns(part=pl.Series(at // group), block=pl.Series(breaks[at]))
        .filter(pl.col("series").is_in(shown.implode()))
        .group_by("series", "block", "part")
        .agg(at=pl.col("at_ns").max(), value=pl.col("value").min() if least else pl.col("value").max())
        .with_columns(_moment("at"))
        .sort("series", "at")
        .select("at", "series", "block", "value")
    )
    drawn = pl.DataFrame([(float(r.when.line), str(r.severity)) for r in rules if isinstance(r.when, (AtLeast, AtMost))],
                         schema={"line": pl.Float64, "severity": pl.String}, orient="row")  # fmt: skip
    return Gauge(when.metric.name, when.metric.meaning, samples, drawn)


def archive(files: Mapping[str, str]) -> bytes:
    """All files in one zip; the same files give the same bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        for name, text in files.items():
            target.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text.encode(), zipfile.ZIP_DEFLATED)
    return made.getvalue()
