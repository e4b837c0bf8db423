"""How a run went from tool to tool: tools as nodes, transitions with counts, loops that findings name, and places to draw them at."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import polars as pl

from analyzer.findings import Finding, Severity
from analyzer.views.known_times import KNOWN

TOOLS_SHOWN: Final = 40
"""The commonest; the rest are one node."""
TRANSITIONS_SHOWN: Final = 80
"""The commonest, loops first; the rest are counted."""
LOOPS: Final = frozenset({"repeated_call", "call_cycle", "near_repeat", "retry_storm"})
"""Detectors that say that calls came again."""
OTHERS: Final = "other tools"
UNNAMED: Final = "unnamed tool"
_NAME_CHARS: Final = 80

_CALLS: Final = f"""
SELECT step, span_id, substr(coalesce(tool_name, '{UNNAMED}'), 1, {_NAME_CHARS}) AS tool,
       coalesce(failed, false) AND rejected IS DISTINCT FROM 'blocked' AS failed,
       coalesce(rejected = 'blocked', false) AS blocked,
       CASE WHEN inferred_times IS NULL AND NOT coalesce(inferred, false) AND {KNOWN} THEN (end_ns - start_ns) / 1e9 END AS seconds
FROM spans WHERE run_key = $run_key AND kind = 'tool' AND duplicate_of IS NULL ORDER BY step
"""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The graph of a run's tool calls."""

    tools: pl.DataFrame
    """One tool a row in order of first use, the rest of the tools last: `node`, `tool`, `calls`, `failed`, `blocked`, `failed_share`,
    `seconds` (together; null: not known), `severity` of the worst loop through it (null: none)."""
    transitions: pl.DataFrame
    """One pair a row: `source` and `target` (nodes; the same for a tool called again), `times`, `severity` and `detector` of the
    worst finding that names it as a loop (null: none)."""
    left_out: int = 0
    """Transitions, of those that were counted, that are not among them."""


def behaviour(con: duckdb.DuckDBPyConnection, run_key: int, findings: Iterable[Finding] = ()) -> Behaviour:
    """The graph of one run, without its sub-agents: which tool call followed which, in order of step.

    Calls that a model asked for at once count in the order in which they began.
    """
    calls = con.sql(_CALLS, params={"run_key": run_key}).pl()
    return graph(calls, list(findings))


def graph(calls: pl.DataFrame, findings: Sequence[Finding]) -> Behaviour:
    """The graph of calls in order: columns `step`, `span_id`, `tool`, `failed`, `blocked`, `seconds`."""
    common = calls["tool"].value_counts().sort(["count", "tool"], descending=[True, False])["tool"].head(TOOLS_SHOWN)
    named = calls.with_columns(
        tool=pl.when(pl.col("tool").is_in(common.to_list())).then("tool").otherwise(pl.lit(OTHERS))
    )
    tools = (
        named.group_by("tool", maintain_order=True)
        .agg(
            calls=pl.len(),
            failed=pl.col("failed").sum(),
            blocked=pl.col("blocked").sum(),
            seconds=pl.when(pl.col("seconds").count() > 0).then(pl.col("seconds").sum()),
        )
        .sort(pl.col("tool") == OTHERS, maintain_order=True)
        .with_row_index("node")
        .with_columns(failed_share=pl.col("failed") / pl.col("calls"))
    )
    steps, places = named["step"].to_list(), dict(tools.select("tool", "node").iter_rows())
    nodes = [places[tool] for tool in named["tool"]]
    counts = Counter(itertools.pairwise(nodes))
    looped = _looped(steps, nodes, named["span_id"].to_list(), findings)
    rows = [
        (source, target, times, *looped.get((source, target), (None, None)))
        for (source, target), times in sorted(
            counts.items(), key=lambda item: (item[0] not in looped, -item[1], item[0])
        )
    ]
    shown = pl.DataFrame(rows[:TRANSITIONS_SHOWN], schema=_TRANSITION, orient="row")
    through = {node: severity for pair, (severity, _) in reversed(looped.items()) for node in pair}
    marks = pl.Series("severity", [through.get(node) for node in tools["node"]], pl.String)
    return Behaviour(tools.with_columns(marks), shown, sum(row[2] for row in rows[TRANSITIONS_SHOWN:]))


_TRANSITION: Final[dict[str, Any]] = {
    "source": pl.Int64, "target": pl.Int64, "times": pl.Int64, "severity": pl.String, "detector": pl.String,
}  # fmt: skip


def _looped(
    steps: Sequence[int], nodes: Sequence[int], spans: Sequence[str], findings: Sequence[Finding]
) -> dict[tuple[int, int], tuple[str, str]]:
    """Transition -> severity and detector of the worst finding that names it as a loop, the worst first.

    It is one where it happened twice or more between calls of the tools that the finding's spans are of, within its steps.
    """
    tool_of = dict(zip(spans, nodes, strict=True))
    found: dict[tuple[int, int], tuple[str, str]] = {}
    for finding in sorted(findings, key=lambda f: -f.severity.rank):
        named = {tool_of[span] for span in finding.span_ids if span in tool_of}
        if finding.detector not in LOOPS or not named:
            continue
        inside = [n for step, n in zip(steps, nodes, strict=True) if finding.first_step <= step <= finding.last_step]
        pairs = Counter(pair for pair in itertools.pairwise(inside) if named.issuperset(pair))
        for pair in sorted(pair for pair, times in pairs.items() if times > 1):
            found.setdefault(pair, (Severity(finding.severity).value, finding.detector))
    return found


@dataclass(frozen=True, slots=True)
class Arc:
    """A transition as it is drawn: tools stand below each other at y = node, x grows to the right."""

    points: tuple[tuple[float, float], ...]
    """From the source to the target."""
    label: tuple[float, float]
    """Where its count stands."""


LANE: Final = 0.8
"""How far an arc reaches out for each tool that it passes, in distances between tools; less the further it goes."""
_POINTS: Final = 20
_LOOP_REACH: Final = 0.42
_LOOP_HEIGHT: Final = 0.17
_PORT: Final = 0.1
"""Arcs leave a tool below its middle and arrive above it (upward ones the other way round), so that both ends can be told."""


def arcs(transitions: Iterable[tuple[int, int]]) -> list[Arc]:
    """Where each transition (source, target) is drawn: onward on the right, back on the left, again as a small loop on the right.

    All tools on one line with arcs beside it: no arc crosses a name, however many there are.
    """
    return [_loop(source) if source == target else _arc(source, target) for source, target in transitions]


def drawn(value: Behaviour) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The transitions as they are drawn, the frequent ones last (on top): points of their curves, and one row for each.

    Both: `arc` (its number), `source` and `target` (names), `times`, `severity`, `detector`. The first: `point` (its number), `x`, `y`.
    The second: `x`, `y` of the count, `end_x`, `end_y` of the head, `side` (1: right, -1: left).
    """
    names = value.tools["tool"].to_list()
    rows = value.transitions.sort("times", maintain_order=True).rows(named=True)
    points, ends = [], []
    for number, (row, arc) in enumerate(zip(rows, arcs((r["source"], r["target"]) for r in rows), strict=True)):
        of = (number, names[row["source"]], names[row["target"]], row["times"], row["severity"], row["detector"])
        points += [(*of, place, x, y) for place, (x, y) in enumerate(arc.points)]
        ends.append((*of, *arc.label, *arc.points[-1], 1 if arc.label[0] > 0 else -1))
    curves = pl.DataFrame(points, schema={**_DRAWN, "point": pl.Int64, "x": pl.Float64, "y": pl.Float64}, orient="row")
    places = dict.fromkeys(("x", "y", "end_x", "end_y"), pl.Float64)
    return curves, pl.DataFrame(ends, schema={**_DRAWN, **places, "side": pl.Int64}, orient="row")


_DRAWN: Final[dict[str, Any]] = {
    "arc": pl.Int64, "source": pl.String, "target": pl.String, "times": pl.Int64, "severity": pl.String, "detector": pl.String,
}  # fmt: skip


def _arc(source: int, target: int) -> Arc:
    side = 1 if target > source else -1
    reach = side * LANE * abs(target - source) ** 0.72
    start, end = source + side * _PORT, target - side * _PORT
    points = tuple(_bow(start, end, reach, i / (_POINTS - 1)) for i in range(_POINTS))
    return Arc(points, (reach, (start + end) / 2))


def _bow(start: float, end: float, reach: float, part: float) -> tuple[float, float]:
    """A point of a cubic curve whose middle reaches `reach` to the side and whose ends are level."""
    bend = 4 / 3 * reach
    keep, go = 1 - part, part
    return round(3 * keep * go * bend, 3), round(
        start * (keep**3 + 3 * keep**2 * go) + end * (3 * keep * go**2 + go**3), 3
    )


def _loop(node: int) -> Arc:
    points = []
    for i in range(_POINTS):
        part = i / (_POINTS - 1)
        x = 3 * part * (1 - part) * 4 / 3 * _LOOP_REACH
        points.append((round(x, 3), round(node + _LOOP_HEIGHT * (2 * part - 1) * (1 + 2 * part * (1 - part)), 3)))
    # Downward as all on the right: it leaves above and comes in below.
    return Arc(tuple(points), (_LOOP_REACH, float(node)))
