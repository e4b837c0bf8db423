"""A report as Markdown, for a pull request, an issue or a chat. What traces say stays text: it is no markup, no link and calls nobody."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from analyzer.findings import Finding, Outcome, Report, State
from analyzer.report.amounts import counted, duration, money, share, tokens
from analyzer.report.clean import one_line
from analyzer.report.notes import issue_notes

_MARKUP: Final = re.compile(r"([\\`*_{}\[\]()<>#+!|~$&:-])")
_CALLS: Final = re.compile(r"(?<=[@#/])(?=\w)|(?<=[^\W\d])(?=\.[^\W\d])|(?=://)")
"""Where a name is called, an issue is meant, or an address becomes a link by itself: an invisible stop keeps them apart."""
_STOP: Final = "\u2060"
_SHOWN: Final = 50


def escaped(text: object, limit: int = 400) -> str:
    """`text` as one line of Markdown that shows it as it is, on GitHub, GitLab and in chats."""
    return _MARKUP.sub(r"\\\1", _CALLS.sub(_STOP, one_line(text, limit)))


def as_markdown(report: Report) -> str:
    """Totals, findings, what could not be seen, and issues."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterable[str]:
    totals = report.totals
    yield f"## Flyball: {counted(len(report.findings), 'finding')} in {counted(totals.runs, 'run')}"
    yield ""
    yield (
        f"{counted(totals.model_calls, 'model call')}, {counted(totals.tool_calls, 'tool call')}, {tokens(totals.input_tokens)} tokens in, "
        f"{tokens(totals.output_tokens)} out, cost {money(totals.cost_usd)}"
        + (f" ({counted(totals.unpriced_calls, 'call')} without a price)" if totals.unpriced_calls else "")
    )
    if totals.duplicate_calls:
        yield f"{counted(totals.duplicate_calls, 'repeated report')} of a call not counted twice"
    for finding in report.findings[:_SHOWN]:
        yield ""
        yield from _finding(finding)
    if len(report.findings) > _SHOWN:
        yield ""
        yield f"and {len(report.findings) - _SHOWN:,} more"
    unseen = [o for o in report.outcomes if o.state in (State.PARTIAL, State.BLIND)]
    if unseen:
        yield from ("", "### What could not be seen", "", *map(_outcome, unseen))
    if report.issues:
        yield from ("", "### While reading", "")
        yield from (f"- **{escaped(note.kind)}** {escaped(note.text, 1200)}" for note in issue_notes(report.issues))


def _finding(finding: Finding) -> Iterable[str]:
    steps = f"steps {finding.first_step} to {finding.last_step}"
    agent = f"{escaped(finding.agent_name, 60)}, " if finding.agent_name else ""
    yield f"### {finding.severity.value}: {finding.detector}"
    yield ""
    yield escaped(finding.message, 600)
    yield ""
    yield f"- where: {agent}{steps}, run {escaped(finding.run_id, 40)}"
    waste = (finding.wasted_cost_usd, finding.wasted_tokens, finding.wasted_seconds)
    if any(part is not None for part in waste):
        yield f"- waste: {money(waste[0])}, {tokens(waste[1])} tokens, {duration(waste[2])}"
    for name, value in finding.evidence.items():
        if value is not None:
            shown = f"{value:.6g}" if isinstance(value, float) else value
            yield f"- {escaped(name, 60)}: {escaped(shown, 200)}"
    yield f"- do: {escaped(finding.advice, 600)}"
    yield f"- confidence: {finding.confidence:.2f}, fingerprint {finding.fingerprint}"


def _outcome(outcome: Outcome) -> str:
    saw = "nothing" if outcome.known is None or outcome.state is State.BLIND else share(outcome.known)
    return f"- {outcome.detector}: saw {saw}" + (f" ({escaped(outcome.reason)})" if outcome.reason else "")
