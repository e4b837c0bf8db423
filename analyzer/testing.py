"""For tests: what an agent did is recorded, and judged as `flyball check` judges it.

from analyzer.testing import assert_no_findings

assert_no_findings("traces.duckdb", ignore=["cost_outlier"])
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from analyzer.findings import Finding, Report, Severity

if TYPE_CHECKING:
    from instrument.policy import Policy
    from instrument.recorder import Recorder

_COLUMNS = 100


def assert_no_findings(
    path: str | os.PathLike[str],
    *,
    fail_on: Severity | str = Severity.WARNING,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    policy: Policy | None = None,
) -> Report:
    """Judges a database, or any trace file that `flyball check` reads. AssertionError with the report if something is found.

    Counts findings of severity `fail_on` (`info`, `warning`, `error`) and above. `select` and `ignore` take slugs of detectors.
    `policy` None takes the nearest `flyball.toml` or `pyproject.toml`, as the command does. A file without a single span fails too:
    nothing was looked at. Raises `FlyballError` where the file cannot be read.
    """
    report = judged(path, select=select, ignore=ignore, policy=policy)
    _complain_about(report, Severity(fail_on), path)
    return report


def judged(
    path: str | os.PathLike[str],
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    policy: Policy | None = None,
) -> Report:
    """What `flyball check` says of a database or a trace file. Raises `FlyballError` where it cannot be read."""
    from analyzer.commands.store import opened
    from analyzer.run import judge
    from instrument.policy import parse_policy, policy_tables
    from instrument.prices import parse_prices

    tables, found = policy_tables()
    with opened([os.fspath(path)], None, parse_prices(tables)) as store:
        if store.refusals:
            raise store.refusals[0]
        return judge(store.con, policy or parse_policy(tables, found), select=tuple(select), ignore=tuple(ignore))


def in_words(report: Report) -> str:
    """The report as `flyball check` prints it."""
    from analyzer.report.text import Look, as_text

    return as_text(report, Look(width=_COLUMNS)).strip("\n")


class Recording:
    """A running recording of one test, into a database of its own. The fixture `flyball_recording` makes one."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.path: Path = recorder.path
        """The database."""

    @classmethod
    def start(cls, path: Path) -> Self:
        """Records from now on all that this process does, clients made before this moment without their content."""
        import instrument

        return cls(instrument.record(path, checkpoint_seconds=None))

    def rows(self, sql: str = "SELECT * FROM spans ORDER BY step", *parameters: Any) -> list[dict[str, Any]]:
        """What a query finds in what was recorded so far, a dict per row; docs/schema.md has the tables.

        Raises `duckdb.Error` for SQL that is none, and `StoreError` while the database cannot be written.
        """
        from instrument.store.connect import reading

        self._bring_up_to_date()
        with reading(self.path) as con:
            found = con.execute(sql, parameters)
            names = [column[0] for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def report(self, **choice: Any) -> Report:
        """What `flyball check` says of it so far; `choice` as for `assert_no_findings`, without `fail_on`."""
        self._bring_up_to_date()
        return judged(self.path, **choice)

    def findings(self, **choice: Any) -> tuple[Finding, ...]:
        """The findings of `report`, worst first."""
        return self.report(**choice).findings

    def assert_no_findings(self, *, fail_on: Severity | str = Severity.WARNING, **choice: Any) -> Report:
        """As the function of the same name, of what was recorded so far."""
        report = self.report(**choice)
        _complain_about(report, Severity(fail_on), self.path)
        return report

    def close(self) -> None:
        """Ends the recording. Safe to call twice."""
        self._recorder.close()

    def _bring_up_to_date(self) -> None:
        if not self._recorder.flush():
            from instrument.errors import StoreError

            raise StoreError(self.path, self._recorder.stats.checkpoint_problem or "could not be brought up to date")
        if not self.path.exists():  # nothing has been recorded yet
            from instrument.store.connect import writing

            with writing(self.path):
                pass


def _complain_about(report: Report, fail_on: Severity, path: str | os.PathLike[str]) -> None:
    if not report.totals.spans:
        raise AssertionError(f"nothing was recorded in {os.fspath(path)}, so nothing could be found")
    found = [finding for finding in report.findings if finding.severity.rank >= fail_on.rank]
    if found:
        slugs = ", ".join(dict.fromkeys(finding.detector for finding in found))
        raise AssertionError(f"{len(found)} findings from {fail_on} up: {slugs}\n{in_words(report)}")
