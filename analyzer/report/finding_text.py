"""Findings in words: what happened, where, the proof, what it cost, what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from analyzer.findings import Finding
from analyzer.report.amounts import counted, money
from analyzer.report.clean import one_line
from analyzer.report.groups import Group, cost_of, grouped
from analyzer.report.headline import with_waste
from analyzer.report.layout import COLOURS, Look, rows

_EVIDENCE_CHARS: Final = 90
"""Of one piece of evidence; the whole is in the JSON and in the app."""


def findings_in_words(findings: Iterable[Finding], look: Look) -> Iterable[RenderableType]:
    """Groups of findings, the worst first; what is folded away is counted at the end."""
    groups = grouped(findings)
    shown = groups if look.everything else groups[: look.groups_shown]
    for group in shown:
        yield Text()
        yield _title(group.worst)
        yield Padding(_body(group, look), (0, 0, 0, 2))
    if folded := groups[len(shown) :]:
        yield Text()
        hidden = sum(len(g.findings) for g in folded)
        what = ", ".join(
            f"{name} {n:,}" for name, n in Counter(f.detector for g in folded for f in g.findings).most_common()
        )
        yield Text(f"and {hidden:,} more ({what}); --all shows them", style="dim")


def _title(finding: Finding) -> RenderableType:
    line = Table.grid(expand=True, padding=(0, 1))
    line.add_column(ratio=1)
    line.add_column(justify="right", no_wrap=True)
    name = Text.assemble(
        (finding.severity.value, COLOURS[finding.severity]), "  ", (one_line(finding.detector), "bold")
    )
    line.add_row(name, Text(_price(finding), style="bold"))
    return line


def _price(finding: Finding) -> str:
    wasted = (finding.wasted_cost_usd, finding.wasted_tokens, finding.wasted_seconds)
    if all(part is None for part in wasted):
        return f"run cost {money(cost_of(finding))}" if cost_of(finding) is not None else "waste unknown"
    return f"cost {money(finding.wasted_cost_usd)}{with_waste(finding.wasted_tokens, finding.wasted_seconds)}"


def _body(group: Group, look: Look) -> RenderableType:
    worst = group.worst
    facts = [("where", _where(worst))]
    if evidence := _evidence(worst):
        facts.append(("proof", evidence))
    facts.append(("do", one_line(worst.advice, 600)))
    if len(group.findings) > 1:
        facts.append(("also", _others(group, look)))
    return Lines(Text(one_line(worst.message, 600)), rows(facts))


def _where(finding: Finding) -> str:
    agent = f"{one_line(finding.agent_name, 60)}, " if finding.agent_name else ""
    trace = f" (trace {one_line(finding.trace_id, 9)})" if finding.trace_id != finding.run_id else ""
    return f"{agent}{_steps(finding)}, run {one_line(finding.run_id, 40)}{trace}"


def _steps(finding: Finding) -> str:
    one = finding.first_step == finding.last_step
    return f"step {finding.first_step}" if one else f"steps {finding.first_step} to {finding.last_step}"


def _evidence(finding: Finding) -> str:
    known = ((name, value) for name, value in finding.evidence.items() if value is not None)
    return "; ".join(f"{one_line(name, 40)}: {one_line(_value(value), _EVIDENCE_CHARS)}" for name, value in known)


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:,.4g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return " ".join(map(_value, value.values()))
    return ", ".join(map(_value, value)) if isinstance(value, list | tuple) else str(value)


def _others(group: Group, look: Look) -> str:
    others = group.findings[1:]
    shown = others if look.everything else others[: look.runs_shown]
    named = "; ".join(f"run {one_line(f.run_id, 40)}, {_steps(f)}, {money(cost_of(f))}" for f in shown)
    rest = f"; and {len(others) - len(shown):,} more" if len(others) > len(shown) else ""
    some_unknown = any(cost_of(f) is None for f in group.findings) and group.cost_usd is not None
    together = f"{'at least ' if some_unknown else ''}{money(group.cost_usd)}"
    return f"{counted(len(others), 'time')} more, together {together}: {named}{rest}"
