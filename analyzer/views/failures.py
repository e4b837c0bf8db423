"""Findings as a frame, and what the pages say of them: by failure mode, by detector, by agent, over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from analyzer.detectors import DETECTORS
from analyzer.findings import Finding
from analyzer.views import runs_wanted
from analyzer.views.known_times import known
from analyzer.views.runs import bucket_seconds

MODES: Final = tuple(dict.fromkeys(d.failure_mode for d in DETECTORS.values()))
"""The six failure modes, in the order in which detectors name them."""

_NS: Final = 1_000_000_000
_FOUND: Final = {
    "position": pl.UInt32, "run_id": pl.String, "detector": pl.String, "mode": pl.String, "severity": pl.String,
    "rank": pl.Int8, "agent_name": pl.String, "tool_name": pl.String, "start_ns": pl.Int64, "wasted_usd": pl.Float64,
    "wasted_tokens": pl.Int64, "wasted_seconds": pl.Float64, "confidence": pl.Float64, "fingerprint": pl.String,
    "message": pl.String,
}  # fmt: skip


def mode_of(detector: str) -> str:
    """The failure mode that a detector looks for; that of a detector nobody knows any more is its own name."""
    known = DETECTORS.get(detector)
    return known.failure_mode if known else detector


def found(findings: Sequence[Finding]) -> pl.DataFrame:
    """One row is one finding, in their order; `position` is its place in `findings`, `tool_name` null where it names no tool, `start_ns`
    null where it is not known (`views.known_times`).
    """
    rows = [
        (
            position, f.run_id, f.detector, mode_of(f.detector), f.severity.value, f.severity.rank, f.agent_name, _tool(f),
            f.start_ns, f.wasted_cost_usd, f.wasted_tokens, f.wasted_seconds, f.confidence, f.fingerprint, f.message,
        )
        for position, f in enumerate(findings)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=_FOUND, orient="row").with_columns(known())


def _tool(finding: Finding) -> str | None:
    name = finding.evidence.get("tool_name")
    return name if isinstance(name, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which findings to show; an empty field asks for all."""

    modes: Sequence[str] = ()
    agents: Sequence[str] = ()
    tools: Sequence[str] = ()
    severities: Sequence[str] = ()
    without: frozenset[str] = frozenset()
    """Fingerprints to leave out: those that are accepted."""


def matching(frame: pl.DataFrame, wanted: Wanted) -> pl.DataFrame:
    """The rows of `frame` (from `found`) that `wanted` asks for, in their order."""
    fields = {
        "mode": wanted.modes,
        "agent_name": wanted.agents,
        "tool_name": wanted.tools,
        "severity": wanted.severities,
    }
    conditions = [pl.col(column).is_in(list(values)) for column, values in fields.items() if values]
    if wanted.without:
        conditions.append(~pl.col("fingerprint").is_in(list(wanted.without)))
    return frame.filter(conditions) if conditions else frame


def modes_over_time(runs: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """One row per stretch of time and failure mode: `start` (UTC), `bucket_seconds`, `mode`, `findings`, `runs`, and
    `since_ns`, the start as text (a browser rounds so large a number).

    The stretches are those of `views.runs.spend_over_time(runs)`, so that the two charts read side by side; findings of unknown time are
    left out.
    """
    size = _size(runs)
    return (
        frame.drop_nulls("start_ns")
        .group_by(start=_start(size), mode="mode")
        .agg(findings=pl.len(), runs=pl.col("run_id").n_unique())
        .with_columns(bucket_seconds=pl.lit(size), since_ns=pl.col("start").dt.epoch("ns").cast(pl.String))
        .sort("start", "mode")
    )


def by_mode(frame: pl.DataFrame) -> pl.DataFrame:
    """One row per failure mode, all six in their order: `mode`, `findings`, `errors`, `runs`, `wasted_usd` (null: not known), `detectors`.

    `wasted_usd` counts of each run its largest finding of that mode, so that no turn counts twice within a mode.
    """
    largest = frame.group_by("mode", "run_id").agg(pl.col("wasted_usd").max()).group_by("mode").agg(_sum("wasted_usd"))
    counts = frame.group_by("mode").agg(
        findings=pl.len(),
        errors=(pl.col("severity") == "error").sum(),
        runs=pl.col("run_id").n_unique(),
        detectors=pl.col("detector").unique().sort(),
    )
    modes = pl.DataFrame({"mode": MODES})
    return (
        modes.join(counts, on="mode", how="left", maintain_order="left")
        .join(largest, on="mode", how="left", maintain_order="left")
        .with_columns(pl.col("findings", "errors", "runs").fill_null(0), pl.col("detectors").fill_null([]))
    )


def by_detector(runs: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """One row per detector that found something, the worst and dearest first: `detector`, `mode`, `severity` (the worst), `findings`,
    `runs`, `agents`, `wasted_usd` (null: not known; of each run its largest finding), `last_ns`, and `trend`: findings per stretch of time,
    from the first run to the last of known time.
    """
    largest = frame.group_by("detector", "run_id").agg(pl.col("wasted_usd").max())
    waste = largest.group_by("detector").agg(_sum("wasted_usd"))
    rows = frame.group_by("detector", "mode").agg(
        rank=pl.col("rank").max(),
        severity=pl.col("severity").get(pl.col("rank").arg_max()),
        findings=pl.len(),
        runs=pl.col("run_id").n_unique(),
        agents=pl.col("agent_name").n_unique(),
        last_ns=pl.col("start_ns").max(),
    )
    return (
        rows.join(waste, on="detector", how="left")
        .join(_trends(runs, frame), on="detector", how="left")
        .sort("rank", "wasted_usd", "findings", "detector", descending=[True, True, True, False], nulls_last=True)
        .drop("rank")
    )


def _trends(runs: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    size = _size(runs)
    place = pl.col("start_ns") // (size * _NS)
    bounds = pl.concat([runs.select(place=place), frame.select(place=place)])["place"].drop_nulls()
    if bounds.is_empty():
        return pl.DataFrame(schema={"detector": pl.String, "trend": pl.List(pl.UInt32)})
    first, last = int(bounds.min()), int(bounds.max())  # type: ignore[arg-type]  # a BIGINT column that is not empty
    every = frame.select(pl.col("detector").unique()).join(
        pl.DataFrame({"place": range(first, last + 1)}, schema={"place": pl.Int64}), how="cross"
    )
    counts = frame.drop_nulls("start_ns").group_by("detector", place=place).agg(findings=pl.len())
    return (
        every.join(counts, on=["detector", "place"], how="left")
        .sort("detector", "place")
        .group_by("detector", maintain_order=True)
        .agg(trend=pl.col("findings").fill_null(0))
    )


def affected(runs: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """One row per agent with a finding, the most runs first: `agent_name`, `findings`, `runs` with one, `of_runs`, `wasted_usd`."""
    largest = frame.group_by("agent_name", "run_id").agg(pl.col("wasted_usd").max())
    waste = largest.group_by("agent_name").agg(_sum("wasted_usd"))
    every = runs.group_by("agent_name").agg(of_runs=pl.len())
    return (
        frame.group_by("agent_name")
        .agg(findings=pl.len(), runs=pl.col("run_id").n_unique())
        .join(every, on="agent_name", how="left", nulls_equal=True)
        .join(waste, on="agent_name", how="left", nulls_equal=True)
        .sort("runs", "findings", "agent_name", descending=[True, True, False])
    )


def runs_of(picked: Mapping[str, Any], over_time: pl.DataFrame) -> runs_wanted.Wanted:
    """The runs that a column of the chart stands for: `picked` names its `since_ns` and `mode`, `over_time` is from `modes_over_time`."""
    since_ns = int(picked["since_ns"])
    detectors = tuple(slug for slug in DETECTORS if mode_of(slug) == picked["mode"])
    until_ns = since_ns + int(over_time["bucket_seconds"][0]) * _NS
    return runs_wanted.Wanted(since_ns=since_ns, until_ns=until_ns, detectors=detectors)


def chosen(findings: Sequence[Finding], frame: pl.DataFrame) -> list[Finding]:
    """The findings that the rows of `frame` stand for, in the order of the rows."""
    return [findings[position] for position in frame["position"]]


def evidence(finding: Finding) -> Iterable[tuple[str, object]]:
    """What a finding shows as its proof, by name; what is not known is left out."""
    return ((name, value) for name, value in finding.evidence.items() if value is not None)


def _size(runs: pl.DataFrame) -> int:
    known = runs["start_ns"].drop_nulls()
    return bucket_seconds(int(known.min()), int(known.max())) if len(known) else bucket_seconds(0, 0)  # type: ignore[arg-type]  # as above


def _start(size_seconds: int) -> pl.Expr:
    size_ns = size_seconds * _NS
    return (pl.col("start_ns") // size_ns * (size_seconds * 1_000_000)).cast(pl.Datetime("us"))


def _sum(column: str) -> pl.Expr:
    """The sum of what is known; null where nothing is."""
    return pl.when(pl.col(column).count() > 0).then(pl.col(column).sum())
