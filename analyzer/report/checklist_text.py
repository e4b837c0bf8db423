"""The checklist for a person at a terminal: the verdict, then each point with its proof and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from analyzer.checklist.points import Checklist, Point
from analyzer.checklist.state import State
from analyzer.report.amounts import counted
from analyzer.report.clean import one_line
from analyzer.report.layout import Look, drawn, rows

_COLOURS: Final = {State.YES: "green", State.PARTLY: "yellow", State.NO: "bold red", State.CANNOT_SEE: "dim"}
_EVIDENCE_CHARS: Final = 400


def checklist_as_text(checklist: Checklist, look: Look) -> str:
    """The ten points as lines of at most `look.width` columns."""
    return drawn(_parts(checklist), look)


def _parts(checklist: Checklist) -> Iterable[RenderableType]:
    counts = Counter(point.state for point in checklist.points)
    told = ", ".join(f"{counts[state]} {state}" for state in State if counts[state])
    about = "a policy, without runs" if checklist.runs is None else counted(checklist.runs, "run")
    worst = next((s for s in (State.NO, State.PARTLY, State.YES) if counts[s]), State.CANNOT_SEE)
    yield Text()
    yield Text(f"Ready for production? {told}; judged from {about}", style=_COLOURS[worst])
    for point in checklist.points:
        yield Text()
        yield Text.assemble(
            (f"{point.number:>2}  ", "dim"), (f"{point.state:<10}", _COLOURS[point.state]), "  ", (point.title, "bold")
        )
        yield rows(_facts(point))


def _facts(point: Point) -> Iterable[tuple[str, str]]:
    for place, sentence in enumerate(point.evidence):
        yield "" if place else "seen", one_line(sentence, _EVIDENCE_CHARS)
    if point.state != State.YES:
        yield "do", point.remedy
