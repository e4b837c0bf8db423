"""What the page of a run shows, worked out once for each version of the database, and where in the run the page opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st

from analyzer.findings import Finding, GuardAction, State
from analyzer.pages import data
from analyzer.views import behaviour, composition, run_span, timeline
from analyzer.views import conversation_folds as folding
from analyzer.views import run as views
from instrument.store.connect import reading


@dataclass(frozen=True)
class Facts:
    """A run with its findings and guard actions, and everything on its page but texts."""

    shown: data.Snapshot
    run: Mapping[str, Any]
    """A row of `views.runs.with_findings`."""
    findings: tuple[Finding, ...]
    """The worst first."""
    actions: tuple[GuardAction, ...]
    turns: pl.DataFrame
    entries: list[folding.Entry]
    density: pl.DataFrame
    timeline: timeline.Timeline
    composition: composition.Composition
    behaviour: behaviour.Behaviour

    @property
    def key(self) -> int:
        """The run's number in the database."""
        return int(self.run["run_key"])

    @property
    def lonely(self) -> bool:
        """No model call was recorded: each tool call is a turn of its own."""
        return not self.run["model_calls"]

    @cached_property
    def local(self) -> list[Finding]:
        """Findings about a part of the run."""
        return views.within(self.findings)

    @cached_property
    def dim(self) -> list[str]:
        """Detectors that could not see all they need."""
        return [o.detector for o in self.shown.report.outcomes if o.state in (State.BLIND, State.PARTIAL)]

    @cached_property
    def family(self) -> list[int]:
        """Keys of the run and of its sub-agents."""
        return [self.key, *(key for key in self.timeline.rows["run_key"].unique() if key != self.key)]

    @cached_property
    def started(self) -> dict[str, list[tuple[str, str]]]:
        """Span id -> run ids and names of the sub-agents that it started."""
        rows = self.timeline.rows.filter(pl.col("span_id") == pl.col("run_id"), pl.col("run_key") != self.key)
        found: dict[str, list[tuple[str, str]]] = {}
        for parent, run_id, label in rows.select("parent_span_id", "run_id", "label").iter_rows():
            found.setdefault(parent, []).append((run_id, label))
        return found


def facts(shown: data.Snapshot, run: Mapping[str, Any]) -> Facts:
    """What the page shows of a run; ends the page where the database cannot be opened."""
    findings = shown.by_run.get(run["run_id"], ())
    told = tuple((f.fingerprint, f.severity.value, f.first_step, f.last_step) for f in findings)
    with data.opened(shown):  # says so and ends the page where it cannot be
        return _facts((str(shown.path), shown.changed_ns, run["run_key"]), told, shown, run, findings)


@st.cache_resource(show_spinner="Reading the run …", max_entries=12)
def _facts(
    version: tuple[str, int, int],
    told: tuple[Any, ...],  # noqa: ARG001 - other findings, other page
    _shown: data.Snapshot,
    _run: Mapping[str, Any],
    _findings: tuple[Finding, ...],
) -> Facts:
    key, lonely = version[2], not _run["model_calls"]
    actions = _shown.actions.get(_run["run_id"], ())
    start_ns, end_ns = _run["start_ns"] or 0, _run["end_ns"] or 0
    with reading(Path(version[0])) as con:
        return Facts(
            _shown, _run, _findings, actions,
            turns=views.turns(con, key, lonely=lonely),
            entries=folding.entries(con, key, lonely=lonely),
            density=views.density(con, key, start_ns, end_ns),
            timeline=timeline.timeline(con, key, start_ns, views.within(_findings)),
            composition=composition.composition(con, key, actions),
            behaviour=behaviour.behaviour(con, key, _findings),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Aim:
    """Where in a run the page opens."""

    turn: int
    position: int
    """Row of the timeline."""
    span_id: str | None = None
    """The span that the address names, where there is such a span here."""
    finding: Finding | None = None
    """The finding that it names."""
    unknown: str | None = None
    """What it names and is not here."""

    @property
    def name(self) -> str:
        """Tells it from others of the run."""
        return f"{self.turn} {self.position} {self.span_id} {self.finding.fingerprint if self.finding else None}"


def aim(value: Facts, span_id: str | None, fingerprint: str | None) -> Aim:
    """The span that was asked for, else the finding, else the worst finding, else the beginning."""
    unknown = None
    if span_id:
        found = _at_span(value, span_id)
        if found is not None:
            return found
        unknown = f"span {span_id}"
    named = next((f for f in value.findings if f.fingerprint == fingerprint), None)
    if fingerprint and named is None:
        unknown = f"finding {fingerprint}"
    start = named or next(iter(value.findings), None)
    if start is None:
        return Aim(0, 0, unknown=unknown)
    return Aim(
        start.first_turn, value.timeline.position_at(value.key, start.first_step), finding=named, unknown=unknown
    )


def _at_span(value: Facts, span_id: str) -> Aim | None:
    position = value.timeline.position_of(span_id)
    if position is None:
        return None
    row = value.timeline.rows.row(position, named=True)
    if row["run_key"] != value.key:  # a sub-agent's: its turns are on its own page
        return Aim(0, position, span_id)
    return Aim(row["step"] if value.lonely else row["turn"], position, span_id)


def raw(value: Facts, span_id: str) -> run_span.Raw | None:
    """A span of the run or of its sub-agents as JSON."""
    with data.opened(value.shown) as con:
        return run_span.raw(con, value.family, span_id)
