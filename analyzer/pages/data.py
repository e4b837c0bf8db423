"""What the pages show: one snapshot of a database, judged once and kept until the file changes.

The database is open only while a query runs, so agents can go on recording; frames in a snapshot are shared by all
visitors and are never changed.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import msgspec
import polars as pl
import streamlit as st

from analyzer.findings import Finding, GuardAction, Report
from analyzer.guarding import by_run
from analyzer.pages import layout, words
from analyzer.run import judge
from analyzer.views import failures
from analyzer.views import runs as run_views
from analyzer.views.runs_table import RunTable
from instrument.errors import FlyballError, PolicyError, StoreError, UnreadableTrace
from instrument.otlp import Issue
from instrument.policy import Policy, load_policy
from instrument.store.connect import reading, writing

T = TypeVar("T")
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

    @cached_property
    def answers(self) -> dict[tuple[Any, ...], Any]:
        """Query and arguments -> what the database said; see `asked`."""
        return {}

    @cached_property
    def found(self) -> pl.DataFrame:
        """The findings as a frame, one a row; see `views.failures.found`."""
        return failures.found(self.report.findings)

    @cached_property
    def run_table(self) -> RunTable:
        """`runs`, to be filtered, sorted and cut into pages by DuckDB."""
        return RunTable(self.runs)

    @cached_property
    def actions(self) -> dict[str, tuple[GuardAction, ...]]:
        """Run id -> what guards did in it, in order."""
        return by_run(self.report.guard_actions)


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
        path = options.db or _database(options.paths)
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
    """The database at one version, judged by one policy; kept for all visitors. Raises as `reading` and `judge` do."""
    path = Path(version[0])
    with reading(path) as con:
        report = judge(con, msgspec.json.decode(policy_json, type=Policy))
        runs = run_views.summaries(con)
    return Snapshot(path, title, version[1], run_views.with_findings(runs, report.findings, report.wasted_usd), report)


def asked(shown: Snapshot, query: Callable[..., T], *arguments: Any) -> T:
    """What `query(con, *arguments)` says of the snapshot's database, asked once for all visitors; frames must not be changed."""
    key = (query, arguments)
    if key not in shown.answers:
        with opened(shown) as con:
            shown.answers[key] = query(con, *arguments)
    answer: T = shown.answers[key]
    return answer


def _database(paths: tuple[str, ...]) -> Path:
    """The one database that `paths` name, or a temporary one that holds what they do. Raises `FlyballError`."""
    from analyzer.readers.paths import resolve

    databases = resolve(paths).databases
    if len(databases) == 1 == len(paths):
        return databases[0]
    if databases:
        raise StoreError(
            databases[0], "is a database among other paths; open it alone, or load the others into it first"
        )
    return _imported(paths)


@st.cache_resource(show_spinner="Reading the traces …", max_entries=4)
def _imported(paths: tuple[str, ...]) -> Path:
    """A temporary database that holds what the paths do; it goes when the server does. Raises `FlyballError`."""
    from analyzer.readers.paths import resolve
    from analyzer.readers.reading import read
    from instrument.store.load import Loader

    inputs = resolve(paths)
    folder = tempfile.mkdtemp(prefix="flyball-app-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "traces.duckdb"
    with writing(path) as con, Loader(con) as loader:
        outcome = read(inputs.sources, loader)
        refusals = [*inputs.refusals, *outcome.refusals]
        if not outcome.traces:
            raise refusals[0] if refusals else UnreadableTrace(", ".join(paths), "holds no trace; name files of traces")
        for refusal in refusals:
            loader.add_issue(Issue("unreadable", refusal.path, str(refusal), "the other files were read"))
        loader.finish()
    return path


def subtitle(shown: Snapshot) -> str:
    """What is open and how fresh it is; plain text."""
    spans = words.plural(shown.report.totals.spans, "span")
    return f"{words.visible(shown.title)} · {spans} · as of {words.when(shown.changed_ns)} UTC"
