"""The judgement: detectors over the runs of a store, to findings, outcomes and totals.

Two halves, kept apart so that they can run on different machines: `judge_runs` looks at whole runs, a partition at a
time, and yields the patterns found in them and one small row per run; `compare_runs` looks at those rows of all runs
together. `judge` does both and makes values of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final

import duckdb
import polars as pl

from analyzer import confidence
from analyzer.absorbing import absorbed
from analyzer.confidence import Doubts
from analyzer.detectors import chosen
from analyzer.detectors.detector import LABELS, SAID, SAID_CHARS, Detector, Sight
from analyzer.findings import LOST, Finding, Outcome, Report, Severity, State
from analyzer.frames import ASKED, PARTITION_SPANS, Frames, columns_of, partitions
from analyzer.guarding import actions_of, guarded_runs, stops_of
from analyzer.totals import issues_of, lost_share, totals_of
from analyzer.waste import OWN, Waste, by_run, wasted
from instrument.policy import Policy

SPAN_IDS_SHOWN: Final = 100
"""Span ids that one finding names: the first ones and the last."""
_IDENTITY: Final = ("trace_id", "run_id", "span_id", "agent_name", "span_key", ASKED, "start_ns: coalesce(start_ns, 0)")


@dataclass(frozen=True, slots=True)
class Partition:
    """What one half of the judgement says of the runs of one partition."""

    findings: tuple[Finding, ...]
    summaries: pl.DataFrame
    """One row per run, as `Frames.runs`; empty where no detector compares runs."""
    sights: dict[str, Sight]
    useless: pl.DataFrame
    """One row is one turn (`run_key`, `turn`) of which at least one finding calls something wasted, with what that was."""


def judge(
    con: duckdb.DuckDBPyConnection,
    policy: Policy | None = None,
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    partition_spans: int = PARTITION_SPANS,
) -> Report:
    """Everything the detectors find in the store behind `con`, judged in partitions of about so many spans.

    Raises `UnknownDetector`, and `duckdb.Error` where the store cannot be read.
    """
    policy = policy or Policy()
    detectors = chosen(select, ignore)
    parts = [
        judge_runs(frames, policy, detectors)
        for frames in partitions(con, columns_of(d.reads for d in detectors), partition_spans)
    ]
    compared = compare_runs(con, [p.summaries for p in parts], policy, detectors)
    trust = 1 - lost_share(con)
    findings = [f for part in (*parts, compared) for f in part.findings]
    guarded, actions = guarded_runs(con), actions_of(con)
    stops = stops_of(guarded)
    totals = totals_of(con, [p.useless for p in parts])
    return Report(
        findings=tuple(sorted(findings, key=_worst_first)),
        outcomes=tuple(_outcome(d, [p.sights[d.slug] for p in parts], trust) for d in detectors),
        issues=issues_of(con),
        wasted_usd=by_run([p.useless for p in parts]),
        totals=replace(totals, guarded_runs=len(guarded), stopped_runs=len(stops), guard_actions=len(actions)),
        guard_actions=actions,
        stops=stops,
    )


def judge_runs(frames: Frames, policy: Policy, detectors: Sequence[Detector]) -> Partition:
    """The first half: what each run says by itself."""
    patterns = absorbed([(d, d.find(frames, policy)) for d in detectors if d.find is not None])
    findings, useless = _findings(frames, patterns)
    compares = any(d.compare is not None for d in detectors)
    return Partition(
        findings,
        frames.runs if compares else pl.DataFrame(),
        {d.slug: d.sight(frames, policy) for d in detectors},
        useless,
    )


def compare_runs(
    con: duckdb.DuckDBPyConnection, summaries: Sequence[pl.DataFrame], policy: Policy, detectors: Sequence[Detector]
) -> Partition:
    """The second half: what shows only when runs are laid beside each other."""
    comparing = [d for d in detectors if d.compare is not None]
    if not comparing or not summaries:
        return Partition((), pl.DataFrame(), {}, pl.DataFrame())
    runs = pl.concat(summaries)
    patterns = [(d, d.compare(runs, policy)) for d in comparing if d.compare is not None]
    findings, useless = _findings(Frames.all_of(con), patterns)
    return Partition(findings, runs, {}, useless)


# --- patterns to findings ---------------------------------------------------------------------------------------------


def _findings(
    frames: Frames, patterns: Sequence[tuple[Detector, pl.DataFrame]]
) -> tuple[tuple[Finding, ...], pl.DataFrame]:
    """Findings out of patterns, and the useless turns that they name, each once."""
    found = [_numbered(d, rows) for d, rows in patterns if len(rows)]
    if not found:
        return (), pl.DataFrame()
    common = pl.concat(
        [rows.select("run_key", "steps", "useless_turns", "own_waste", "talks", "hears") for _, rows in found]
    )
    common = common.with_row_index("pattern")
    labels = _labels(frames, common)
    waste, useless = wasted(frames, common)
    doubts = Doubts(frames, common["run_key"])
    findings: list[Finding] = []
    for detector, rows in found:
        for row in rows.iter_rows(named=True):
            label = labels[len(findings)]
            sure = round(row["confidence"] * doubts.left(detector.slug, label), 3)
            findings.append(_finding(detector, {**row, "confidence": sure}, label, waste.get(len(findings))))
    return tuple(findings), useless


def _numbered(detector: Detector, rows: pl.DataFrame) -> tuple[Detector, pl.DataFrame]:
    claims, own = (pl.col(c) if c in rows.columns else pl.lit(None) for c in ("useless_turns", "own_waste"))
    return detector, rows.with_columns(
        pl.col("steps").cast(pl.List(pl.Int32)),
        useless_turns=claims.cast(pl.List(pl.Int32)),
        own_waste=own.cast(OWN),
        talks=pl.lit(any(name in SAID for name in detector.evidence)),
        hears=pl.lit("result" in detector.evidence),
    )


def _labels(frames: Frames, patterns: pl.DataFrame) -> list[dict[str, Any]]:
    """Ids, names and texts of the spans of each pattern, in the order of `patterns`."""
    steps = pl.col("steps")
    shown = pl.when(steps.list.len() > SPAN_IDS_SHOWN).then(
        pl.concat_list(steps.list.head(SPAN_IDS_SHOWN - 1), steps.list.last())
    )
    spans = patterns.select("pattern", "run_key", "talks", "hears", step=shown.otherwise(steps)).explode("step")
    texts = [f"{name}: {sql}" for name, sql in LABELS.items()]
    told = frames.at(spans, [*_IDENTITY, *texts, *confidence.COLUMNS]).group_by("pattern", maintain_order=True)
    first = told.agg(pl.exclude("span_id").first(), pl.col("span_id").first(), *confidence.SHARES, span_ids="span_id")
    # Results lie far afield, and few findings show them.
    asked = frames.said(first.filter(pl.col("talks") & ~pl.col("hears")), ["arguments"])
    said = pl.concat([asked, frames.said(first.filter("hears"))], how="diagonal")
    said = said.select("pattern", pl.col(*SAID).str.head(SAID_CHARS))
    facts = first.join(said, on="pattern", how="left", maintain_order="left")
    return list(facts.iter_rows(named=True))


def _finding(detector: Detector, row: dict[str, Any], label: dict[str, Any], waste: Waste | None) -> Finding:
    facts = {**label, **row}
    evidence = {name: facts[name] for name in detector.evidence}
    return Finding(
        detector=detector.slug,
        severity=Severity(row["severity"]),
        confidence=row["confidence"],
        span_ids=tuple(label["span_ids"]),
        **{name: label[name] for name in ("trace_id", "run_id", "agent_name", "start_ns")},
        first_step=row["steps"][0],
        last_step=row["steps"][-1],
        first_turn=row["first_turn"],
        last_turn=row["last_turn"],
        message=detector.message({**evidence, "first_turn": row["first_turn"], "last_turn": row["last_turn"]}),
        evidence=evidence,
        wasted_tokens=waste.tokens if waste else None,
        wasted_cost_usd=waste.cost_usd if waste else None,
        wasted_seconds=waste.seconds if waste else None,
        advice=detector.advice,
        fingerprint=_fingerprint(detector.slug, label["trace_id"], label["span_id"], evidence.get("tool_name")),
    )


def _fingerprint(*facts: str | None) -> str:
    """Of what the producer recorded alone: no number of ours, nothing that grows while the run goes on."""
    return blake2b("\0".join(f or "" for f in facts).encode("utf-8", "replace"), digest_size=8).hexdigest()


def _worst_first(finding: Finding) -> tuple[Any, ...]:
    expense = finding.wasted_cost_usd if finding.wasted_cost_usd is not None else finding.evidence.get("cost_usd")
    return (
        -finding.severity.rank,
        -(expense or 0),
        -(finding.wasted_tokens or 0),
        -finding.confidence,
        finding.start_ns,
        finding.fingerprint,
    )


def _outcome(detector: Detector, sights: Iterable[Sight], trust: float) -> Outcome:
    sight = sum(sights, Sight(0, 0))
    if not sight.checked:
        return Outcome(detector=detector.slug, state=State.NOTHING_TO_CHECK, known=None)
    known = sight.known / sight.checked * trust
    if known == 1:
        return Outcome(detector=detector.slug, state=State.COMPLETE, known=1.0)
    reasons = [detector.unseen] if sight.known < sight.checked else []
    reasons += [LOST] if trust < 1 else []
    return Outcome(
        detector=detector.slug,
        state=State.PARTIAL if sight.known else State.BLIND,
        known=known,
        reason="; ".join(reasons),
    )
