"""A report as Markdown, for a pull request, a job summary, an issue or a chat. What traces say stands in fenced blocks only.

Escaping would not do: @mentions, #issues and addresses become links where Markdown itself knows no markup, but nowhere in a fence.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from analyzer.findings import Outcome, Report, State
from analyzer.report import finding_markdown
from analyzer.report.amounts import counted, money, share, tokens
from analyzer.report.clean import one_line
from analyzer.report.finding_markdown import fenced
from analyzer.report.notes import issue_notes

_SHOWN: Final = 50


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
    if report.findings:
        yield ""
        yield finding_markdown.as_markdown(report.findings[:_SHOWN]).rstrip("\n")
    if len(report.findings) > _SHOWN:
        yield ""
        yield f"and {len(report.findings) - _SHOWN:,} more"
    unseen = [o for o in report.outcomes if o.state in (State.PARTIAL, State.BLIND)]
    if unseen:
        yield from ("", "### What could not be seen", "", fenced([*map(_outcome, unseen)]))
    if report.issues:
        told = [f"{note.kind}: {one_line(note.text, 1200)}" for note in issue_notes(report.issues)]
        yield from ("", "### While reading", "", fenced(told))


def _outcome(outcome: Outcome) -> str:
    saw = "nothing" if outcome.known is None or outcome.state is State.BLIND else share(outcome.known)
    return f"{outcome.detector}: saw {saw}" + (f" ({one_line(outcome.reason)})" if outcome.reason else "")
