"""Lines that a policy leaves open, from recorded history: what is usual for each agent, model and tool, and how far from it is not.

A line is known only where enough was recorded (`alerts.baseline_runs`); elsewhere it stays the policy's. Each says where it comes from.
Cost and silence: `alerts.baseline_ratio` times what `alerts.baseline_quantile` of the healthy runs stay within. Shares: the policy's
line, moved to the smallest share of the fewest calls (or runs) that a rule judges which chance alone reaches less often than
`alerts.baseline_chance`, if as many fail as have failed so far; no further than what is known of that demands (Wilson's 95 % interval:
E. B. Wilson, "Probable inference", J. Am. Stat. Assoc. 22, 1927).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, comb, sqrt
from pathlib import Path
from typing import Any, Final

import duckdb
import msgspec
import numpy as np
import polars as pl

from analyzer.alerts import metrics
from analyzer.alerts.metrics import MOST_VALUES, OTHER, Metric
from analyzer.alerts.stretches import runs_between
from analyzer.alerts.windows import SECOND, Instants
from analyzer.findings import Severity
from analyzer.run import judge
from instrument.errors import StoreError
from instrument.policy import Policy

FILE: Final = "flyball.baselines.json"
SETTINGS: Final[dict[Metric, str]] = {
    metrics.RUN_COST_LINE: "cost.run_usd",
    metrics.SILENT_LINE: "alerts.silent_seconds",
    metrics.LOOP_LINE: "alerts.loop_share",
    metrics.TOOL_FAILURE_LINE: "alerts.tool_failure_share",
}
"""The line by the setting of the policy that it stands in for, where a policy file does not name it."""
_LOOPS: Final = frozenset({"repeated_call", "call_cycle", "near_repeat"})
_LATEST_RUNS: Final = 1000
"""Of a group: prices and prompts change, as in `analyzer.alerts.usual`."""
_Z: Final = 1.959964
"""Of Wilson's interval, 95 %, both sides."""


@dataclass(frozen=True, slots=True)
class Line:
    """The line for one set of labels."""

    labels: tuple[str, ...]
    value: float | None
    """None: too little was recorded to know it."""
    seen: int
    """How many runs or calls it rests on."""
    origin: str
    """Where it comes from, or why it is not known: one sentence."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """All lines of one metric."""

    metric: Metric
    lines: tuple[Line, ...]

    @property
    def known(self) -> tuple[Line, ...]:
        """Those that have a value."""
        return tuple(line for line in self.lines if line.value is not None)

    def at(self, instants: Instants) -> pl.DataFrame:
        """As a gauge of `analyzer.alerts.gauges`: the same at all instants."""
        rows = [(int(at), *line.labels, line.value) for line in self.known for at in instants]
        schema = {"at_ns": pl.Int64, **dict.fromkeys(self.metric.labels, pl.String), "value": pl.Float64}
        return pl.DataFrame(rows, schema, orient="row")


def measured(con: duckdb.DuckDBPyConnection, policy: Policy, given: Collection[str] = ()) -> tuple[Baseline, ...]:
    """The baselines of all settings that are not `given` (`section.name`), from everything that is recorded."""
    runs = _judged(con, policy)
    healthy = runs.filter("healthy")
    found: dict[Metric, Callable[[], Iterator[Line]]] = {
        metrics.RUN_COST_LINE: lambda: _costs(healthy, policy),
        metrics.SILENT_LINE: lambda: _silences(con, healthy, policy),
        metrics.LOOP_LINE: lambda: _loops(runs, policy),
        metrics.TOOL_FAILURE_LINE: lambda: _tools(con, policy),
    }
    return tuple(
        Baseline(metric, tuple(sorted(lines(), key=lambda line: line.labels)))
        for metric, lines in found.items()
        if SETTINGS[metric] not in given
    )


# --- what was recorded ------------------------------------------------------------------------------------------------


def _judged(con: duckdb.DuckDBPyConnection, policy: Policy) -> pl.DataFrame:
    """`runs_between` of all that ended, with `looped` and `healthy`: nothing worse than a mention was found in it."""
    runs = runs_between(con, -(2**62), 2**62).filter(~pl.col("pending"))
    found = judge(con, policy).findings
    schema = {"trace_id": pl.String, "run_id": pl.String}
    ill = [(f.trace_id, f.run_id) for f in found if f.severity is not Severity.INFO]
    looped = [(f.trace_id, f.run_id) for f in found if f.detector in _LOOPS]
    marked = {
        name: pl.DataFrame(rows, schema, orient="row").unique().with_columns(pl.lit(True).alias(name))
        for name, rows in (("ill", ill), ("looped", looped))
    }
    for rows in marked.values():
        runs = runs.join(rows, on=["trace_id", "run_id"], how="left", maintain_order="left")
    return runs.with_columns(healthy=pl.col("ill").is_null(), looped=pl.col("looped").fill_null(False))


_SILENCES: Final = """
WITH signs AS MATERIALIZED (
    SELECT trace_id, at_ns FROM (SELECT trace_id, unnest([start_ns, end_ns]) AS at_ns FROM spans) WHERE at_ns IS NOT NULL GROUP BY ALL
), gaps AS MATERIALIZED (
    SELECT trace_id, at_ns, lead(at_ns) OVER (PARTITION BY trace_id ORDER BY at_ns) - at_ns AS gap_ns FROM signs
)
SELECT w.run_key, max(gap_ns) / 1e9 AS seconds FROM wanted w JOIN gaps g ON g.trace_id = w.trace_id
    AND g.at_ns >= w.start_ns AND g.at_ns < w.last_ns
WHERE gap_ns IS NOT NULL GROUP BY w.run_key ORDER BY w.run_key
"""
_TOOLS: Final = """
SELECT tool_name, count(*) AS seen, count(*) FILTER (failed) AS failed, min(start_ns) AS first_ns,
    max(coalesce(end_ns, start_ns)) AS last_ns
FROM spans WHERE kind = 'tool' AND duplicate_of IS NULL AND tool_name IS NOT NULL AND failed IS NOT NULL AND rejected IS NULL
    AND coalesce(end_ns, start_ns) IS NOT NULL
GROUP BY tool_name ORDER BY seen DESC, tool_name LIMIT ?
"""


def _costs(healthy: pl.DataFrame, policy: Policy) -> Iterator[Line]:
    priced = healthy.filter(pl.col("unpriced_calls") == 0, pl.col("cost_usd") > 0).with_columns(amount="cost_usd")
    return _usual(priced, policy, "cost", lambda usd: f"${usd:.4g}", policy.cost.outlier_usd)


def _silences(con: duckdb.DuckDBPyConnection, healthy: pl.DataFrame, policy: Policy) -> Iterator[Line]:
    con.register("wanted", healthy.select("run_key", "trace_id", "start_ns", "last_ns").to_arrow())
    try:
        silent: pl.DataFrame = con.sql(_SILENCES).pl()
    finally:
        con.unregister("wanted")
    runs = healthy.join(silent, on="run_key").with_columns(amount="seconds")
    # A tool that is allowed to take so long does not hang before.
    least = policy.tool_errors.tool_timeout_seconds
    return _usual(runs, policy, "were silent for", lambda seconds: f"{seconds:.4g} s", least)


def _usual(runs: pl.DataFrame, policy: Policy, did: str, shown: Callable[[float], str], least: float) -> Iterator[Line]:
    """By agent and model, from `amount` of each run."""
    alerts = policy.alerts
    for (agent, model), group in _groups(runs, metrics.RUN_LABELS):
        latest = group.sort("last_ns").tail(_LATEST_RUNS)
        count, when = latest.height, _dates(latest["start_ns"].min(), latest["last_ns"].max())
        if count < alerts.baseline_runs:
            yield Line((agent, model), None, count, _too_few(count, "healthy run", alerts.baseline_runs, when))
            continue
        rank = min(count, ceil(alerts.baseline_quantile * (count + 1)))
        usual = float(np.sort(latest["amount"].to_numpy())[rank - 1])
        line = max(least, float(f"{alerts.baseline_ratio * usual:.3g}"))
        told = f"{shown(line)}: {rank:,} of {count:,} healthy runs {when} {did} at most {shown(usual)}"
        told += f"; the line is {alerts.baseline_ratio:g} times that, and at least {shown(least)}."
        yield Line((agent, model), line, count, told)


def _loops(runs: pl.DataFrame, policy: Policy) -> Iterator[Line]:
    for (agent,), group in _groups(runs, metrics.AGENT_LABELS):
        latest = group.sort("last_ns").tail(_LATEST_RUNS)
        when = _dates(latest["start_ns"].min(), latest["last_ns"].max())
        looped = int(latest["looped"].sum())
        yield _share(
            (agent,),
            looped,
            latest.height,
            ("run", "looped"),
            policy.alerts.loop_runs,
            policy.alerts.loop_share,
            policy,
            when,
        )


def _tools(con: duckdb.DuckDBPyConnection, policy: Policy) -> Iterator[Line]:
    for tool, seen, failed, first_ns, last_ns in con.execute(_TOOLS, [MOST_VALUES]).fetchall():
        least = policy.alerts.tool_failure_calls
        yield _share(
            (tool,),
            failed,
            seen,
            ("call", "failed"),
            least,
            policy.alerts.tool_failure_share,
            policy,
            _dates(first_ns, last_ns),
        )


def _share(
    labels: tuple[str, ...],
    failed: int,
    seen: int,
    words: tuple[str, str],
    least: int,
    policy_line: float,
    policy: Policy,
    when: str,
) -> Line:
    what, did = words
    alerts = policy.alerts
    if seen < alerts.baseline_runs:
        return Line(labels, None, seen, _too_few(seen, what, alerts.baseline_runs, when))
    line = moved_share(policy_line, failed, seen, least, alerts.baseline_chance)
    told = f"{100 * line:.4g} %: {failed:,} of {seen:,} {what}s {when} {did}"
    if line == policy_line:
        return Line(labels, line, seen, f"{told}, which does not contradict the policy's line.")
    if line == 1:
        return Line(labels, line, seen, f"{told}; fewer than all of {least} say nothing new.")
    chance = f"once in {1 / alerts.baseline_chance:,.0f} times"
    return Line(labels, line, seen, f"{told}; chance brings such a share of {least} about less than {chance}.")


def moved_share(line: float, failed: int, seen: int, least: int, chance: float) -> float:
    """`line`, moved as far as the record demands: where `failed` of `seen` did so far, to what chance hardly reaches and no further.

    It stays where the record does not know the share well enough to contradict it.
    """
    low, high = wilson(failed, seen)
    return min(max(line, unlikely_share(low, least, chance)), unlikely_share(high, least, chance))


def wilson(failed: int, seen: int) -> tuple[float, float]:
    """Both ends of Wilson's interval for the share that fails."""
    share = failed / seen
    middle = share + _Z**2 / (2 * seen)
    spread = _Z * sqrt(share * (1 - share) / seen + (_Z / (2 * seen)) ** 2)
    return max(0.0, (middle - spread) / (1 + _Z**2 / seen)), min(1.0, (middle + spread) / (1 + _Z**2 / seen))


def unlikely_share(share: float, least: int, chance: float) -> float:
    """The smallest share of `least` calls, two at least, that fails with less than `chance` where each fails with `share`; or 1."""
    most = min(least, _MOST_JUDGED)
    beyond = 0.0
    for failing in range(most, 1, -1):
        beyond += comb(most, failing) * share**failing * (1 - share) ** (most - failing)
        if beyond >= chance:
            return min(1.0, (failing + 1) / most)
    return min(1.0, 2 / most)


_MOST_JUDGED: Final = 200
"""Calls: with more the share hardly changes, and their binomial coefficients are too large for a float."""


def _groups(runs: pl.DataFrame, labels: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], pl.DataFrame]]:
    """The largest groups; what is no name of one thing but of all the others is left out."""
    named = runs.filter(pl.all_horizontal(pl.col(name) != OTHER for name in labels))
    groups: Iterable[tuple[tuple[Any, ...], pl.DataFrame]] = named.partition_by(labels, as_dict=True).items()
    return iter(sorted(groups, key=lambda group: (-group[1].height, group[0]))[:MOST_VALUES])


def _dates(first_ns: Any, last_ns: Any) -> str:
    days = [datetime.fromtimestamp(int(ns) // SECOND, UTC).strftime("%Y-%m-%d") for ns in (first_ns, last_ns)]
    return f"from {days[0]} to {days[1]}"


def _too_few(count: int, what: str, needed: int, when: str) -> str:
    return f"Not known: {count:,} {what}{'' if count == 1 else 's'} {when}, and it takes {needed:,} (alerts.baseline_runs)."


# --- as a file ----------------------------------------------------------------------------------------------------------


def as_json(baselines: Sequence[Baseline]) -> str:
    """`[{"line", "setting", "labels": [...], "lines": [{"labels", "value", "seen", "origin"}]}]`, for `read`."""
    told = [
        {"line": b.metric.name, "setting": SETTINGS[b.metric], "labels": b.metric.labels, "lines": b.lines}
        for b in baselines
    ]
    return msgspec.json.format(msgspec.json.encode(told), indent=1).decode() + "\n"


class _Read(msgspec.Struct):
    line: str
    lines: list[Line]


def read(path: Path) -> tuple[Baseline, ...]:
    """What `as_json` wrote. Raises `StoreError`."""
    by_name = {metric.name: metric for metric in SETTINGS}
    try:
        told = msgspec.json.decode(path.read_bytes(), type=list[_Read])
        found = tuple(Baseline(by_name[one.line], tuple(one.lines)) for one in told)
    except OSError as e:
        raise StoreError(
            path, f"cannot be read ({e.strerror}); name the file that `flyball alerts generate` wrote"
        ) from None
    except (msgspec.DecodeError, KeyError) as e:
        raise StoreError(path, f"holds no baselines ({e}); write it anew with `flyball alerts generate --db`") from None
    if any(len(line.labels) != len(b.metric.labels) for b in found for line in b.lines):
        raise StoreError(path, "holds lines with other labels; write it anew with `flyball alerts generate --db`")
    return found
