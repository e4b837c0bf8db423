"""What the pages show: one snapshot of a database, judged once and kept until the file changes.

The database is open only while a query runs, so agents can go on recording; frames in a snapshot are shared by all
visitors and are never changed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import duckdb
import msgspec
import polars as pl
import streamlit as st

from analyzer.findings import Finding, Report
from analyzer.pages import layout, words
from analyzer.readers.paths import resolve
from analyzer.readers.reading import read
from analyzer.run import judge
from analyzer.views import runs as run_views
from instrument.errors import FlyballError, PolicyError
from instrument.policy import Policy, load_policy
from instrument.store.connect import reading, writing
from instrument.store.load import Loader

Version = tuple[str, int, int]
"""Path, mtime in nanoseconds and size in bytes: another version means that somebody wrote."""


@dataclass(frozen=True)
class Snapshot:
    """A database as it was at one version."""

    path: Path
    title: str
    changed_ns: int
    runs: pl.DataFrame
    """From `views.runs.with_findings`."""
    report: Report

    @cached_property
    def by_run(self) -> dict[str, tuple[Finding, ...]]:
        """Run id -> its findings, the worst first."""
        found: dict[str, list[Finding]] = {}
        for finding in self.report.findings:
            found.setdefault(finding.run_id, []).append(finding)
        return {run_id: tuple(findings) for run_id, findings in found.items()}


def policy() -> Policy:
    """The policy in force where the server was started; ends the page where the file says something it cannot."""
    try:
        return load_policy()
    except PolicyError as e:
        layout.stop(
            "The policy cannot be read", str(e), "Correct the file, or run `flyball detectors` to see what it may say."
        )


def snapshot() -> Snapshot:
    """The open database, judged; ends the page with what to do where it cannot be opened."""
    options = layout.options()
    rules = policy()
    try:
        path = options.db or _imported(options.paths)
        facts = path.stat()
        with st.spinner("Judging the runs …", show_time=True):
            return judged((str(path), facts.st_mtime_ns, facts.st_size), options.title, msgspec.json.encode(rules))
    except FileNotFoundError as e:
        layout.stop("There is no such file", str(e.filename or e), "flyball load PATH... --db FILE")
    except FlyballError as e:
        layout.stop("The database cannot be opened", str(e), "streamlit run app.py -- --db ANOTHER.duckdb")
    except duckdb.Error as e:  # damaged where opening it does not yet show it
        layout.stop(
            "The database cannot be read",
            str(e),
            "Move it aside and load its traces again: flyball load PATH... --db FILE",
        )


@contextmanager
def opened(shown: Snapshot) -> Iterator[duckdb.DuckDBPyConnection]:
    """The snapshot's database for a few queries; ends the page where it cannot be opened."""
    try:
        with reading(shown.path) as con:
            yield con
    except (FlyballError, FileNotFoundError, duckdb.Error) as e:
        layout.stop("The database cannot be opened", str(e), "Reload the page when it is free again.")


@st.cache_resource(show_spinner=False, max_entries=4)
def judged(version: Version, title: str, policy_json: bytes) -> Snapshot:
    path = Path(version[0])
    with reading(path) as con:
        report = judge(con, msgspec.json.decode(policy_json, type=Policy))
        runs = run_views.summaries(con)
    return Snapshot(path, title, version[1], run_views.with_findings(runs, report.findings), report)


@st.cache_resource(show_spinner="Reading the traces …", max_entries=4)
def _imported(paths: tuple[str, ...]) -> Path:
    """A temporary database that holds what the paths do; it lives as long as the server's process."""
    inputs = resolve(paths)
    if inputs.databases:
        return inputs.databases[0]
    if not inputs.sources:
        raise FileNotFoundError(2, "no trace there", ", ".join(paths))
    path = Path(_folder(os.getpid()).name) / f"{len(list(Path(_folder(os.getpid()).name).iterdir()))}.duckdb"
    with writing(path) as con, Loader(con) as loader:
        outcome = read(inputs.sources, loader)
        if not outcome.traces and outcome.refusals:
            raise outcome.refusals[0]
    return path


@st.cache_resource(show_spinner=False)
def _folder(process: int) -> tempfile.TemporaryDirectory[str]:  # noqa: ARG001 - one folder per process
    return tempfile.TemporaryDirectory(prefix="flyball-app-")


def subtitle(shown: Snapshot) -> str:
    """What is open and how fresh it is; plain text."""
    spans = words.plural(shown.report.totals.spans, "span")
    return f"{words.visible(shown.title)} · {spans} · as of {words.when(shown.changed_ns)} UTC"
