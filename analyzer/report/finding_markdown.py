"""Findings as Markdown, to paste into an issue. What a trace says stands in fenced blocks only: there it is text and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from analyzer.detectors import DETECTORS
from analyzer.findings import Finding
from analyzer.report.amounts import duration, money, tokens
from analyzer.report.clean import one_line

_TICKS: Final = re.compile("`+")
_VALUE_CHARS: Final = 400


def as_markdown(findings: Sequence[Finding]) -> str:
    """One section per finding: what was found, where, what it cost, the proof, what to do.

    Ids, names and texts of the trace stand in fenced blocks, where Markdown has no markup, no links, no HTML and no @mentions.
    """
    return "\n".join(_section(finding) for finding in findings)


def _section(finding: Finding) -> str:
    known = DETECTORS.get(finding.detector)
    title = known.title if known else "Finding"
    facts = [
        ("found", finding.message),
        ("detector", f"{finding.detector} ({finding.severity.value}, {finding.confidence:.0%} sure)"),
        ("agent", finding.agent_name),
        ("run", finding.run_id),
        ("trace", finding.trace_id if finding.trace_id != finding.run_id else None),
        ("turns", f"{finding.first_turn} to {finding.last_turn}" if finding.first_turn else None),
        ("wasted", _wasted(finding)),
        *((name, value) for name, value in finding.evidence.items()),
        ("fingerprint", finding.fingerprint),
    ]
    lines = [
        f"{one_line(name, 40)}: {one_line(_short(value), _VALUE_CHARS)}" for name, value in facts if value is not None
    ]
    return f"### {title}\n\n{fenced(lines)}\n\n**What to do:** {finding.advice}\n"


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def _wasted(finding: Finding) -> str | None:
    parts = [
        money(finding.wasted_cost_usd) if finding.wasted_cost_usd is not None else "",
        f"{tokens(finding.wasted_tokens)} tokens" if finding.wasted_tokens is not None else "",
        duration(finding.wasted_seconds) if finding.wasted_seconds is not None else "",
    ]
    return ", ".join(part for part in parts if part) or None


def fenced(lines: Sequence[str]) -> str:
    """Lines in a fence that none of them can end."""
    longest = max((len(run) for line in lines for run in _TICKS.findall(line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}text", *lines, fence])
