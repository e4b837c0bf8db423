"""Reports for machines that show them to people: what a trace says stays text in Markdown, in XML and in workflow commands."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from analyzer.cli import main
from analyzer.detectors import DETECTORS
from analyzer.findings import Finding, Outcome, Report, Severity, State
from analyzer.report.as_github import as_github
from analyzer.report.as_junit import as_junit
from analyzer.report.as_markdown import as_markdown
from analyzer.report.clean import one_line
from instrument.otlp import Issue

SAMPLES = Path(__file__).resolve().parents[1] / "sample_traces"
HOSTILE = [
    "<script>alert(1)</script>",
    "](javascript:alert(1)) [x](http://evil.example)",
    "**bold** _it_ ~~gone~~ `code` ``` fence",
    "a | b |\n|---|---|\n# heading\n- item\n> quote",
    "@everyone fixes #12 http://evil.example/x www.evil.example",
    "::error::injected\r\n::set-output name=x::y",
    "]]></failure><x/>&amp; \x00\x1b[31m\ud800 \ufffe",
    "{{ .Labels }} $x^2$ <!-- comment --> ![img](x)",
    "\\`\\*",
]


def report(text: str) -> Report:
    finding = Finding(
        detector="repeated_call", severity=Severity.ERROR, confidence=0.9, trace_id="t" * 32, run_id=text, agent_name=text,
        span_ids=("s",), first_step=1, last_step=3, first_turn=1, last_turn=2, start_ns=1, message=text,
        evidence={"tool_name": text, "repeats": 5}, advice="Stop it.", fingerprint="f" * 16,
    )  # fmt: skip
    outcomes = (
        Outcome(detector="repeated_call", state=State.COMPLETE, known=1.0),
        Outcome(detector="unknown_tool", state=State.BLIND, known=0.0, reason=text),
        Outcome(detector="call_cycle", state=State.COMPLETE, known=1.0),
    )
    issue = Issue(kind="broken_line", source=text, message=text, remedy=text, line=7, count=3)
    return Report(findings=(finding,), outcomes=outcomes, issues=(issue,))


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_what_a_trace_says_as_it_is_and_in_fences_only(text: str) -> None:
    tokens = MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(as_markdown(report(text)))
    fences = [t.content for t in tokens if t.type == "fence"]
    assert len(fences) == 3
    assert all(one_line(text) in fence for fence in fences)
    inline = [t for t in tokens if t.type == "inline"]
    # Code is what our own advice has for names of settings.
    assert {child.type for t in inline for child in t.children or ()} <= {
        "text",
        "strong_open",
        "strong_close",
        "code_inline",
    }
    assert not any(called in t.content for t in inline for called in ("http:", "www.", "@", "#", "evil"))
    assert {t.type for t in tokens if t.level == 0 and t.type != "inline"} == {
        "heading_open", "heading_close", "fence", "paragraph_open", "paragraph_close",
    }  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_a_report_in_markdown_has_the_headings_it_ought_to_have(text: str) -> None:
    tokens = MarkdownIt("commonmark").parse(as_markdown(report(text)))
    headings = [tokens[n + 1].content for n, t in enumerate(tokens) if t.type == "heading_open"]
    assert headings == [
        "Flyball: 1 finding in 0 runs", DETECTORS["repeated_call"].title, "What could not be seen", "While reading",
    ]  # fmt: skip
    assert not [t for t in tokens if t.type in ("html_block", "code_block")]


@pytest.mark.parametrize("text", HOSTILE)
def test_junit_is_xml_whatever_a_trace_says(text: str) -> None:
    suite = ElementTree.fromstring(as_junit(report(text)))[0]
    assert {k: suite.get(k) for k in ("tests", "failures", "skipped")} == {
        "tests": "3",
        "failures": "1",
        "skipped": "1",
    }
    assert [case.get("classname") for case in suite.iter("testcase")] == [
        "flyball.repeated_call", "flyball.unknown_tool", "flyball.call_cycle",
    ]  # fmt: skip
    assert [e.tag for e in suite.iter()].count("failure") == 1
    assert "broken_line" in (suite.findtext("system-out") or "")


def test_a_mild_finding_fails_no_test() -> None:
    suite = ElementTree.fromstring(as_junit(report("x"), fail_on=None))[0]
    assert suite.get("failures") == "0"


@pytest.mark.parametrize("text", HOSTILE)
def test_a_workflow_hears_one_command_per_finding_and_issue(text: str) -> None:
    lines = as_github(report(text)).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning"]
    assert lines[1].startswith("::warning title=flyball broken_line,file=")
    assert ",line=7::" in lines[1]


def test_every_format_tells_of_every_finding_and_issue(capsys: pytest.CaptureFixture[str]) -> None:
    told = {}
    for form in ("json", "markdown", "junit", "github"):
        assert main(["check", str(SAMPLES), "--format", form]) == 1
        told[form] = capsys.readouterr().out
    document = json.loads(told["json"])
    findings = len(document["findings"])
    assert told["markdown"].count("fingerprint: ") == findings
    assert told["junit"].count("fingerprint ") == findings
    assert len(told["github"].splitlines()) == findings + len(document["issues"])
    for issue in document["issues"]:
        assert all(issue["kind"] in told[form].replace("\\", "") for form in told)
