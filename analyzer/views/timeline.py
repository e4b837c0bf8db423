"""The timeline of a run and its sub-agents: a tree of spans with self times, the gaps in it, and time with gaps left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import duckdb
import polars as pl

from analyzer.findings import Finding, Severity
from analyzer.views.known_times import END_NS, START_NS

DEPTH_SHOWN: Final = 12
"""Deeper spans are drawn at this depth: a chain of parents may be of any length."""
GAP_SECONDS: Final = 10.0
"""So long a silence is a gap in any run; in a short one a twentieth of it is, if it lasts a second."""
_GAP_SHARE: Final = 0.05
_GAP_LEAST_SECONDS: Final = 1.0
_LABEL_CHARS: Final = 80
SHORT_GAP_SHARE: Final = 0.03
"""Of what was worked on a page: how long a gap is drawn there that is left out."""

_FAMILY: Final = """
WITH own AS MATERIALIZED (SELECT DISTINCT trace_id FROM spans WHERE run_key = $run_key),
here AS MATERIALIZED (
    SELECT run_key, trace_id, span_id, parent_span_id FROM spans WHERE trace_id IN (SELECT trace_id FROM own)
)
SELECT DISTINCT p.run_key, c.run_key FROM here c JOIN here p ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id
WHERE c.run_key <> p.run_key ORDER BY ALL
"""
_SPANS: Final = f"""
SELECT run_key, run_id, trace_id, span_id, parent_span_id, duplicate_of, step, turn, kind::VARCHAR AS kind,
       substr(coalesce(CASE WHEN kind = 'tool' THEN tool_name WHEN kind = 'agent' THEN agent_name
                            WHEN kind = 'model' THEN coalesce(response_model, request_model) END, name, ''), 1, {_LABEL_CHARS}) AS label,
       (start_ns - $start_ns) / 1e9 AS start_seconds, (end_ns - $start_ns) / 1e9 AS end_seconds,
       start_ns IS NOT NULL AND end_ns IS NULL AND NOT coalesce(inferred, false) AS pending,
       coalesce(inferred, false) OR inferred_times IS NOT NULL AS inferred, coalesce(failed, false) AS failed,
       coalesce(rejected = 'blocked', false) AS blocked, cost_usd
FROM (SELECT * REPLACE ({START_NS} AS start_ns, {END_NS} AS end_ns) FROM spans WHERE list_contains($runs, run_key))
ORDER BY run_key = $run_key DESC, run_key, step
"""


@dataclass(frozen=True, slots=True)
class Timeline:
    """All spans of a run and of the runs that it started."""

    rows: pl.DataFrame
    """One span a row, each below its parent and children in order of start: `position` (from 0), `depth`, `run_key`, `run_id`,
    `parent_span_id`, `step`, `turn`, `kind`, `span_id`, `label`, `start_seconds` and `end_seconds` since the run began (null: not
    recorded), `self_seconds` (null: not known), `children`, `pending`, `inferred` (of its times), `failed`, `blocked`, `cost_usd`,
    `severity`."""
    gaps: pl.DataFrame
    """One silence a row: `start_seconds`, `end_seconds`; no model, tool or other span was at work."""

    @property
    def end_seconds(self) -> float:
        """When the last span ended, or the last one that has not ended began."""
        return max(_most(self.rows["end_seconds"]), _most(self.rows["start_seconds"]), 0.0)

    @property
    def gap_seconds(self) -> float:
        """All gaps together."""
        return float((self.gaps["end_seconds"] - self.gaps["start_seconds"]).sum())

    def position_of(self, span_id: str) -> int | None:
        """The row that shows a span; None where there is none."""
        found = self.rows.filter(pl.col("span_id") == span_id)
        return int(found["position"][0]) if found.height else None

    def position_at(self, run_key: int, step: int) -> int:
        """The row of a step of a run; the first row where the step has none."""
        found = self.rows.filter(pl.col("run_key") == run_key, pl.col("step") == step)
        return int(found["position"][0]) if found.height else 0


def timeline(con: duckdb.DuckDBPyConnection, run_key: int, start_ns: int, findings: Iterable[Finding] = ()) -> Timeline:
    """The spans of a run and of the runs below it; other reports of a call are left out, and what hangs below them moves up.

    `start_ns` is when the run began; `findings` (of this run) give `severity`. Costs time and memory by the number of spans.
    """
    runs = family(con, run_key)
    params = {"run_key": run_key, "start_ns": start_ns, "runs": runs}
    spans = con.sql(_SPANS, params=params).pl().with_row_index("at")
    rows = _nested(_with_self_time(_with_parents(spans)))
    return Timeline(_marked(rows, run_key, findings), gaps(rows))


def family(con: duckdb.DuckDBPyConnection, run_key: int) -> list[int]:
    """Keys of a run and of all runs that its spans started, directly or not; the run itself first."""
    below: dict[int, list[int]] = {}
    for parent, child in con.execute(_FAMILY, {"run_key": run_key}).fetchall():
        below.setdefault(parent, []).append(child)
    found = [run_key]
    for key in found:
        found += [child for child in below.get(key, ()) if child not in found]
    return found


def _with_parents(spans: pl.DataFrame) -> pl.DataFrame:
    """`spans` without duplicates, with `parent`: the row (`at`) each hangs below; null at the top.

    A span whose parent is not here, or that is its own, hangs below the agent span of its run.
    """
    own = spans.filter(pl.col("duplicate_of").is_null())
    ids = own.unique(["trace_id", "span_id"], keep="first", maintain_order=True)
    by_id = ids.select("trace_id", pl.col("span_id").alias("parent_span_id"), pl.col("at").alias("parent"))
    standing = spans.filter(pl.col("duplicate_of").is_not_null()).join(
        by_id.rename({"parent_span_id": "duplicate_of"}), on=["trace_id", "duplicate_of"]
    )
    aliases = standing.select("trace_id", pl.col("span_id").alias("parent_span_id"), "parent")
    known = pl.concat([by_id, aliases]).unique(["trace_id", "parent_span_id"], keep="first", maintain_order=True)
    agents = own.filter(pl.col("kind") == "agent", pl.col("span_id") == pl.col("run_id"))
    agents = agents.unique("run_key", keep="first").select("run_key", pl.col("at").alias("agent"))
    return (
        own.join(known, on=["trace_id", "parent_span_id"], how="left", maintain_order="left")
        .join(agents, on="run_key", how="left", maintain_order="left")
        .with_columns(parent=_not_itself("parent"))
        .with_columns(parent=pl.coalesce("parent", _not_itself("agent")))
    )


def _not_itself(column: str) -> pl.Expr:
    return pl.when(pl.col(column) != pl.col("at")).then(pl.col(column))


def _with_self_time(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with `children` and `self_seconds`: the duration less the time in which any child was at work.

    Children that ran side by side are counted once, and only as far as they lie inside their parent.
    """
    parents = rows.select(pl.col("at").alias("parent"), low="start_seconds", high="end_seconds")
    start, end = pl.col("start_seconds").clip(lower_bound=pl.col("low")), pl.col("end_seconds")
    inside = (
        rows.filter(pl.col("parent").is_not_null())
        .join(parents, on="parent")
        .with_columns(start=start, end=pl.min_horizontal(pl.coalesce(end, "high"), "high"))
        .sort("parent", "start", "at", nulls_last=True)
        .with_columns(before=pl.col("end").cum_max().shift().over("parent"))
        # An unknown time of a child makes the parent's own unknown.
        .with_columns(alone=(pl.col("end") - pl.max_horizontal("start", "before")).clip(lower_bound=0))
        .with_columns(unknown=pl.col("start_seconds").is_null())
        .group_by("parent")
        .agg(children=pl.len(), covered=pl.col("alone").sum(), unknown=pl.col("unknown").any())
        .rename({"parent": "at"})
    )
    duration = pl.col("end_seconds") - pl.col("start_seconds")
    self_seconds = (duration - pl.col("covered").fill_null(0)).clip(lower_bound=0)
    return (
        rows.join(inside, on="at", how="left", maintain_order="left")
        .with_columns(
            pl.col("children").fill_null(0),
            self_seconds=pl.when(~pl.col("unknown").fill_null(value=False)).then(self_seconds),
        )
        .drop("covered", "unknown")
    )


def _nested(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` in the order of the tree with `position` and `depth`; spans that are each other's parents stand at the top."""
    ordered = rows.sort(pl.col("start_seconds").fill_null(float("inf")), "run_key", "step", maintain_order=True)
    below: dict[int | None, list[int]] = {}
    for at, parent in ordered.select("at", "parent").iter_rows():
        below.setdefault(parent, []).append(at)
    depths: dict[int, int] = {}
    for root in (*below.get(None, ()), *ordered["at"]):
        waiting = [(root, 0)]
        while waiting:
            at, depth = waiting.pop()
            if at not in depths:
                depths[at] = depth
                waiting += [(child, min(depth + 1, DEPTH_SHOWN)) for child in reversed(below.get(at, ()))]
    order = pl.DataFrame(
        {"at": depths.keys(), "depth": depths.values()}, schema={"at": pl.UInt32, "depth": pl.Int64}
    ).with_row_index("position")
    return order.join(rows, on="at", how="left", maintain_order="left").drop(
        "at", "parent", "agent", "duplicate_of", "trace_id"
    )


def _marked(rows: pl.DataFrame, run_key: int, findings: Iterable[Finding]) -> pl.DataFrame:
    rank = pl.lit(None, pl.Int8)
    for finding in findings:
        inside = pl.col("step").is_between(finding.first_step, finding.last_step) & (pl.col("run_key") == run_key)
        rank = pl.max_horizontal(rank, pl.when(inside).then(pl.lit(finding.severity.rank, pl.Int8)))
    names: Mapping[int, str] = {severity.rank: severity.value for severity in Severity}
    return rows.with_columns(severity=rank.replace_strict(names, default=None, return_dtype=pl.String))


def gaps(rows: pl.DataFrame) -> pl.DataFrame:
    """Silences between spans that do the work (agent spans only hold others), in order: `start_seconds`, `end_seconds`.

    A span that never ended is at work from its start on, as nobody knows until when: no gap is seen after it.
    """
    working = rows.filter(pl.col("kind") != "agent", pl.col("start_seconds").is_not_null()).sort("start_seconds")
    end = pl.when("pending").then(float("inf")).otherwise(pl.coalesce("end_seconds", "start_seconds"))
    between = working.select(start_seconds=end.cum_max().shift(), end_seconds="start_seconds")
    whole = _most(rows["end_seconds"])
    least = max(_GAP_LEAST_SECONDS, min(GAP_SECONDS, _GAP_SHARE * whole))
    return between.filter(pl.col("end_seconds") - pl.col("start_seconds") >= least)


def without_gaps(times: pl.Series, gaps: pl.DataFrame, kept_seconds: float) -> pl.Series:
    """`times` (seconds) on an axis on which each gap is at most `kept_seconds` long; a time inside a gap lies as far in as fits."""
    starts, ends = gaps["start_seconds"].to_list(), gaps["end_seconds"].to_list()
    removed = [max(0.0, end - start - kept_seconds) for start, end in zip(starts, ends, strict=True)]
    total, before = 0.0, []
    for one in removed:
        before.append(total)
        total += one
    index = gaps["start_seconds"].search_sorted(times, side="left").to_list() if starts else [0] * len(times)
    return pl.Series(
        times.name,
        [
            time
            if time is None or not at
            else _shifted(time, starts[at - 1], before[at - 1], removed[at - 1], kept_seconds)
            for time, at in zip(times, index, strict=True)
        ],
        dtype=pl.Float64,
    )


def _shifted(time: float, start: float, before: float, removed: float, kept: float) -> float:
    into = time - start
    return time - before - (min(removed, max(0.0, into - kept)))


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a timeline on an axis of their own."""

    rows: pl.DataFrame
    """As `Timeline.rows`; where `shortened`, with times on the axis that leaves gaps out. `seconds` is the true duration."""
    gaps: pl.DataFrame
    """Gaps on this page: `start_seconds`, `end_seconds` on its axis, `seconds` as long as they were."""
    low: float
    high: float
    """Where the axis begins and ends, seconds."""
    shortened: bool
    """Gaps are drawn shorter than they were."""


def page(whole: Timeline, offset: int, limit: int, *, shorten: bool = False) -> Page:
    """`limit` rows from `offset` on. The axis holds the spans without children; others reach beyond it where they are longer.

    `shorten` draws each gap on the page as `SHORT_GAP_SHARE` of what was worked on it.
    """
    rows = whole.rows.slice(offset, limit).with_columns(seconds=pl.col("end_seconds") - pl.col("start_seconds"))
    low, high = _edges(rows)
    gaps = whole.gaps.filter(pl.col("end_seconds") > low, pl.col("start_seconds") < high).with_columns(
        seconds=pl.col("end_seconds") - pl.col("start_seconds")
    )
    if not shorten or gaps.is_empty():
        return Page(rows, gaps, low, high, shortened=False)
    worked = max(high - low - float(gaps["seconds"].sum()), 0.0)
    kept = SHORT_GAP_SHARE * (worked or high - low)
    ends = without_gaps(pl.Series([low, high]), gaps, kept)
    rows, gaps = (
        frame.with_columns(without_gaps(frame[name], gaps, kept) for name in ("start_seconds", "end_seconds"))
        for frame in (rows, gaps)
    )
    return Page(rows, gaps, float(ends[0]), float(ends[1]), shortened=True)


def _edges(rows: pl.DataFrame) -> tuple[float, float]:
    """First start and last end of the spans without children; of all where there are none."""
    inner = rows.filter(pl.col("children") == 0, pl.col("start_seconds").is_not_null())
    shown = inner if inner.height else rows
    low = float(shown["start_seconds"].min() or 0)  # type: ignore[arg-type]  # a numeric column
    return low, max(_most(shown["end_seconds"]), _most(shown["start_seconds"]), low)


def _most(column: pl.Series) -> float:
    return float(column.max() or 0)  # type: ignore[arg-type]  # a numeric column
