"""The difference between two sets of runs, in words and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from analyzer.diff import Change, Difference, Kind, groups
from analyzer.report.amounts import counted, duration, money
from analyzer.report.clean import one_line
from analyzer.report.layout import Look, drawn, titled

_SHOWN: Final = 12
_LABELS: Final = {
    "cost_usd": "cost",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
    "model_calls": "turns",
    "tool_calls": "tool calls",
    "seconds": "duration",
}


def as_text(found: Difference, look: Look) -> str:
    """Findings that are new or gone first, then what a run costs and takes, agent by agent."""
    return drawn(_parts(found, look), look)


def as_json(found: Difference) -> str:
    """`{"runs_before", "runs_after", "kinds": [...], "changes": [...]}` with the field names of `analyzer.diff`."""
    return json.dumps(msgspec.to_builtins(found), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _parts(found: Difference, look: Look) -> Iterable[RenderableType]:
    before, after = counted(found.runs_before, "run"), counted(found.runs_after, "run")
    yield Text(f"{before} before, {after} after", style="bold")
    yield from _kinds("New findings", found.new, look, "red")
    yield from _kinds("Findings that are gone", found.gone, look, "green")
    changed = tuple(k for k in found.kinds if k.before and k.after)
    yield from _kinds("In both", changed, look, "default")
    for agent, changes in groups(found.changes).items():
        yield titled(f"{one_line(agent or 'unnamed agent', 60)}, a run on average")
        yield _table(changes)
    for title, agents in (("Ran before only", found.only_before), ("Ran after only", found.only_after)):
        if agents:
            named = ", ".join(f"{one_line(name or 'unnamed agent', 40)} ({runs:,})" for name, runs in agents[:_SHOWN])
            more = f" and {len(agents) - _SHOWN} more" if len(agents) > _SHOWN else ""
            yield titled(title)
            yield Text(f"  {named}{more}")
    yield Text("\n* the 95 % interval of the change does not hold zero", style="dim")


def _kinds(title: str, kinds: Sequence[Kind], look: Look, colour: str) -> Iterable[RenderableType]:
    if not kinds:
        return
    yield titled(title)
    shown = kinds if look.everything else kinds[:_SHOWN]
    for kind in shown:
        tool = f" `{one_line(kind.tool_name, 40)}`" if kind.tool_name else ""
        agent = f"  {one_line(kind.agent_name, 40)}" if kind.agent_name else ""
        line = Text(f"  {kind.detector}{tool}", style=colour)
        yield line.append(f"{agent}  in {kind.before} then {counted(kind.after, 'run')}", style="default")
    if len(kinds) > len(shown):
        yield Text(f"  and {len(kinds) - len(shown)} more (--all)", style="dim")


def _table(changes: Sequence[Change]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in ("", "before", "after", "change", "95 % interval", "runs"):
        table.add_column(head, justify="left" if not head else "right")
    for change in changes:
        table.add_row(*_cells(change))
    return table


def _cells(change: Change) -> tuple[str, ...]:
    gap = None if change.before is None or change.after is None else change.after - change.before
    interval = (
        "too few runs" if change.low is None else f"{_signed(change, change.low)} to {_signed(change, change.high)}"
    )
    return (
        _LABELS[change.measure],
        _amount(change.measure, change.before),
        _amount(change.measure, change.after),
        (_signed(change, gap) + ("*" if change.certain else "")) if gap is not None else "",
        interval,
        f"{change.runs_before}, {change.runs_after}",
    )


def _signed(change: Change, value: float | None) -> str:
    if value is None:
        return ""
    return ("-" if value < 0 else "+") + _amount(change.measure, abs(value))


def _amount(measure: str, value: float | None) -> str:
    if value is None:
        return "unknown"
    if measure == "cost_usd":
        return money(value)
    return duration(value) if measure == "seconds" else f"{value:,.1f}"
