"""A report as JUnit XML, for CI that shows test results: a suite, and in it a test per detector.

There is no standard; this keeps to what Jenkins and GitLab read: https://github.com/testmoapp/junitxml.
"""

from __future__ import annotations

import re
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from analyzer.findings import Finding, Outcome, Report, Severity, State
from analyzer.report.amounts import money
from analyzer.report.notes import issue_notes

_ILLEGAL: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped: https://www.w3.org/TR/xml/#charsets."""


def as_junit(report: Report, fail_on: Severity | None = Severity.WARNING) -> str:
    """A test fails for each finding of `fail_on` or above (None: none fails); a blind detector is skipped; issues are in `system-out`.

    A detector that found several things has a test for each of them.
    """
    by_detector: dict[str, list[Finding]] = {}
    for finding in report.findings:
        by_detector.setdefault(finding.detector, []).append(finding)
    suite = Element("testsuite", name="flyball")
    for outcome in report.outcomes:
        found = by_detector.pop(outcome.detector, [])
        for finding in found:
            _found(suite, finding, fail_on)
        if not found:
            _quiet(suite, outcome)
    for found in by_detector.values():
        for finding in found:
            _found(suite, finding, fail_on)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    notes = issue_notes(report.issues, everything=True)
    if notes:
        SubElement(suite, "system-out").text = _legal("\n".join(f"{note.kind}: {note.text}" for note in notes))
    root = Element("testsuites")
    root.append(suite)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _found(suite: Element, finding: Finding, fail_on: Severity | None) -> None:
    case = SubElement(suite, "testcase", classname=f"flyball.{finding.detector}", name=_legal(_name(finding)))
    text = _legal(
        f"{finding.message}\nwaste: {money(finding.wasted_cost_usd)}\n{finding.advice}\n"
        f"run {finding.run_id}, steps {finding.first_step} to {finding.last_step}, fingerprint {finding.fingerprint}"
    )
    if fail_on is not None and finding.severity.rank >= fail_on.rank:
        SubElement(case, "failure", type=finding.severity.value, message=_legal(finding.message)).text = text
    else:
        SubElement(case, "system-out").text = text


def _name(finding: Finding) -> str:
    agent = f"{finding.agent_name}, " if finding.agent_name else ""
    return f"{agent}run {finding.run_id}, step {finding.first_step}"


def _quiet(suite: Element, outcome: Outcome) -> None:
    case = SubElement(suite, "testcase", classname=f"flyball.{outcome.detector}", name="all runs")
    if outcome.state is not State.COMPLETE:
        reason = outcome.reason or outcome.state.value.replace("_", " ")
        if outcome.state is State.PARTIAL:
            SubElement(case, "system-out").text = _legal(f"saw {outcome.known or 0:.0%}: {reason}")
        else:
            SubElement(case, "skipped", message=_legal(reason))


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
