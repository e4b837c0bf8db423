"""A report for a person at a terminal: what happened, where, what it cost, what to do; the worst comes first."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from analyzer.findings import Finding, Outcome, Report, Severity, State, Totals
from analyzer.report.amounts import counted, duration, money, share, tokens
from analyzer.report.clean import one_line
from analyzer.report.groups import Group as FindingGroup
from analyzer.report.groups import cost_of, grouped
from analyzer.report.notes import issue_notes

_COLOURS: Final = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
_EVIDENCE_CHARS: Final = 90
"""Of one piece of evidence; the whole is in the JSON and in the app."""
_WIDEST: Final = 110
"""Lines longer than this are hard to read, however wide the terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a report is to look."""

    width: int = 80
    """Columns there are."""
    colour: bool = False
    everything: bool = False
    """Every group of findings and every issue, not only the first."""
    groups_shown: int = 10
    runs_shown: int = 3
    """Further runs named under a finding that several have."""


def as_text(report: Report, look: Look = Look(), next_steps: Sequence[tuple[str, str]] = ()) -> str:
    """The report as lines of at most `look.width` columns. `next_steps` are commands and what each does.

    Nothing in a trace can do anything to the terminal: its text is made printable first and never read as markup.
    """
    out = io.StringIO()
    width = max(40, min(look.width, _WIDEST))
    console = Console(
        file=out,
        width=width,
        force_terminal=look.colour,
        color_system="standard" if look.colour else None,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    for part in _parts(report, look, next_steps):
        console.print(part)
    return "\n".join(line.rstrip() for line in out.getvalue().split("\n"))


def _parts(report: Report, look: Look, next_steps: Sequence[tuple[str, str]]) -> Iterable[RenderableType]:
    yield from _headline(report)
    yield from _findings(report, look)
    yield from _unseen(report.outcomes)
    yield from _issues(report, look)
    if next_steps:
        yield _titled("Next")
        yield _rows(((one_line(command), what) for command, what in next_steps), label="bold")


# --- The whole in five lines ------------------------------------------------------------------------------------------


def _headline(report: Report) -> Iterable[RenderableType]:
    totals = report.totals
    yield Text()
    yield _verdict(report)
    yield Text()
    yield _rows(_sums(totals))


def _verdict(report: Report) -> Text:
    where = counted(report.totals.runs, "run")
    counts = Counter(f.severity for f in report.findings)
    if counts:
        parts = [
            counted(counts[s], s.value) if s != Severity.INFO else f"{counts[s]:,} info"
            for s in reversed(Severity)
            if counts[s]
        ]
        colour = _COLOURS[max(counts, key=lambda s: s.rank)]
        return Text(f"{counted(len(report.findings), 'finding')} in {where}: {', '.join(parts)}", style=colour)
    short = [o for o in report.outcomes if o.state in (State.PARTIAL, State.BLIND)]
    if not report.totals.spans:
        return Text("Nothing to judge: no spans were read", style="yellow")
    if short:
        return Text(
            f"No findings in {where}, but {counted(len(short), 'detector')} could not see everything", style="yellow"
        )
    return Text(f"No findings in {where}", style="bold green")


def _sums(totals: Totals) -> Iterable[tuple[str, str]]:
    unfinished = f", {totals.unfinished_runs:,} of them unfinished" if totals.unfinished_runs else ""
    calls = f"{counted(totals.model_calls, 'model call')}, {counted(totals.tool_calls, 'tool call')}"
    yield "runs", f"{counted(totals.runs, 'run')}{unfinished}: {counted(totals.spans, 'span')}, {calls}"
    unmeasured = (
        f"; {counted(totals.unmeasured_calls, 'model call')} without token counts" if totals.unmeasured_calls else ""
    )
    yield "tokens", f"{tokens(totals.input_tokens)} in, {tokens(totals.output_tokens)} out{unmeasured}"
    unpriced = (
        f"; the price of {counted(totals.unpriced_calls, 'model call')} is unknown" if totals.unpriced_calls else ""
    )
    yield "cost", money(totals.cost_usd) + unpriced
    if any((totals.wasted_tokens, totals.wasted_cost_usd, totals.wasted_seconds)):
        yield "waste", _waste_of_all(totals)
    if totals.duplicate_model_calls:
        noun = "duplicate model call"
        yield "note", f"removed {counted(totals.duplicate_model_calls, noun)}, not counted twice"


def _waste_of_all(totals: Totals) -> str:
    of_cost = ""
    if totals.wasted_cost_usd and totals.cost_usd:
        of_cost = f" ({share(totals.wasted_cost_usd / totals.cost_usd)} of the cost)"
    return f"{money(totals.wasted_cost_usd)}{of_cost}" + _also(totals.wasted_tokens, totals.wasted_seconds)


def _also(wasted_tokens: int | None, wasted_seconds: float | None) -> str:
    parts = [f"{tokens(wasted_tokens)} tokens"] if wasted_tokens is not None else []
    parts += [duration(wasted_seconds)] if wasted_seconds is not None else []
    return "".join(f", {part}" for part in parts)


# --- Findings ---------------------------------------------------------------------------------------------------------


def _findings(report: Report, look: Look) -> Iterable[RenderableType]:
    groups = grouped(report.findings)
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
        (finding.severity.value, _COLOURS[finding.severity]), "  ", (one_line(finding.detector), "bold")
    )
    line.add_row(name, Text(_price(finding), style="bold"))
    return line


def _price(finding: Finding) -> str:
    wasted = (finding.wasted_cost_usd, finding.wasted_tokens, finding.wasted_seconds)
    if all(part is None for part in wasted) and cost_of(finding) is not None:
        return f"run cost {money(cost_of(finding))}"
    return f"cost {money(finding.wasted_cost_usd)}{_also(finding.wasted_tokens, finding.wasted_seconds)}"


def _body(group: FindingGroup, look: Look) -> RenderableType:
    worst = group.worst
    facts = [("where", _where(worst))]
    if evidence := _evidence(worst):
        facts.append(("proof", evidence))
    facts.append(("do", one_line(worst.advice, 600)))
    if len(group.findings) > 1:
        facts.append(("also", _others(group, look)))
    return Group(Text(one_line(worst.message, 600)), _rows(facts))


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
        return f"{value:,.4g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return " ".join(map(_value, value.values()))
    return ", ".join(map(_value, value)) if isinstance(value, list | tuple) else str(value)


def _others(group: FindingGroup, look: Look) -> str:
    others = group.findings[1:]
    shown = others if look.everything else others[: look.runs_shown]
    named = "; ".join(f"run {one_line(f.run_id, 40)}, {_steps(f)}, {money(cost_of(f))}" for f in shown)
    rest = f"; and {len(others) - len(shown):,} more" if len(others) > len(shown) else ""
    some_unknown = any(cost_of(f) is None for f in group.findings) and group.cost_usd is not None
    together = f"{'at least ' if some_unknown else ''}{money(group.cost_usd)}"
    return f"{counted(len(others), 'time')} more, together {together}: {named}{rest}"


# --- What was not seen, what was not read -----------------------------------------------------------------------------


def _unseen(outcomes: Sequence[Outcome]) -> Iterable[RenderableType]:
    short = [o for o in outcomes if o.state in (State.PARTIAL, State.BLIND)]
    idle = [one_line(o.detector) for o in outcomes if o.state == State.NOTHING_TO_CHECK]
    if not short and not idle:
        return
    yield _titled("What could not be seen")
    rows = [(one_line(o.detector), _sight(o)) for o in short]
    if idle:
        rows.append(("nothing to check", "for " + ", ".join(idle)))
    yield _rows(rows)


def _sight(outcome: Outcome) -> str:
    seen = (
        "saw nothing"
        if outcome.state == State.BLIND
        else f"saw {share(outcome.known)}"
        if outcome.known is not None
        else "saw part"
    )
    return f"{seen}: {one_line(outcome.reason)}" if outcome.reason else seen


def _issues(report: Report, look: Look) -> Iterable[RenderableType]:
    notes = issue_notes(report.issues, everything=look.everything)
    if notes:
        yield _titled("While reading")
        yield _rows((note.kind, note.text) for note in notes)


# --- Layout -----------------------------------------------------------------------------------------------------------


def _titled(title: str) -> RenderableType:
    return Text(f"\n{title}", style="bold")


def _rows(rows: Iterable[tuple[str, str]], label: str = "dim") -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=label, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(Text(name), Text(text))
    return Padding(grid, (0, 0, 0, 2))
