"""A report as workflow commands, which GitHub shows as annotations of a run.

The format and what must be escaped in it:
https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#setting-an-error-message
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from analyzer.findings import Finding, Report, Severity
from analyzer.report.amounts import counted
from analyzer.report.clean import one_line
from instrument.otlp import Issue

_LEVELS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
_TEXT: Final = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_FIELD: Final = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"})


def as_github(report: Report) -> str:
    """One line per finding and per issue, the worst first; GitHub shows the first ten of each level."""
    return "\n".join((*map(_finding, report.findings), *_issues(report.issues))) + "\n"


def _finding(finding: Finding) -> str:
    agent = f" ({finding.agent_name})" if finding.agent_name else ""
    where = f"run {finding.run_id}, steps {finding.first_step} to {finding.last_step}"
    text = f"{finding.message} [{where}] {finding.advice}"
    return _command(_LEVELS[finding.severity], text, title=f"flyball {finding.detector}{agent}")


def _issues(issues: Iterable[Issue]) -> Iterable[str]:
    for issue in sorted(issues, key=lambda i: not i.error):
        times = f" ({counted(issue.count, 'time')})" if issue.count > 1 else ""
        line = {} if issue.line is None else {"line": str(issue.line)}
        text = f"{issue.message}{times}. {issue.remedy}"
        yield _command(
            "warning" if issue.error else "notice", text, title=f"flyball {issue.kind}", file=issue.source, **line
        )


def _command(level: str, text: str, **fields: str) -> str:
    named = ",".join(f"{name}={one_line(value, 300).translate(_FIELD)}" for name, value in fields.items())
    return f"::{level} {named}::{one_line(text, 1000).translate(_TEXT)}"
