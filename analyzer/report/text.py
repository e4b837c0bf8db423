"""A report for a person at a terminal: what happened, where, what it cost, what to do; the worst comes first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rich.console import RenderableType

from analyzer.findings import LOST, Outcome, Report, State
from analyzer.report.amounts import share
from analyzer.report.clean import one_line
from analyzer.report.finding_text import findings_in_words
from analyzer.report.guard_text import guards_in_words
from analyzer.report.headline import headline
from analyzer.report.layout import Look, drawn, rows, titled
from analyzer.report.notes import issue_notes

__all__ = ["Look", "as_text"]


def as_text(report: Report, look: Look, next_steps: Sequence[tuple[str, str]] = ()) -> str:
    """The report as lines of at most `look.width` columns. `next_steps` are commands and what each does.

    Nothing in a trace can do anything to the terminal: its text is made printable first and never read as markup.
    """
    return drawn(_parts(report, look, next_steps), look)


def _parts(report: Report, look: Look, next_steps: Sequence[tuple[str, str]]) -> Iterable[RenderableType]:
    yield from headline(report)
    yield from findings_in_words(report.findings, look)
    yield from guards_in_words(report, look)
    yield from _unseen(report.outcomes)
    yield from _issues(report, look)
    if next_steps:
        yield titled("Next")
        yield rows(((one_line(command), what) for command, what in next_steps), label="bold")


def _unseen(outcomes: Sequence[Outcome]) -> Iterable[RenderableType]:
    short = [o for o in outcomes if o.state in (State.PARTIAL, State.BLIND)]
    idle = [one_line(o.detector) for o in outcomes if o.state == State.NOTHING_TO_CHECK]
    if not short and not idle:
        return
    yield titled("What could not be seen")
    told = []
    if len(short) > 1 and all((o.reason or "").endswith(LOST) for o in short):
        told.append(("every detector", LOST))
        own = [replace(o, reason=(o.reason or "").removesuffix(LOST).removesuffix("; ")) for o in short]
        short = [o for o in own if o.reason]
    told += [(one_line(o.detector), _sight(o)) for o in short]
    if idle:
        told.append(("nothing to check", "for " + ", ".join(idle)))
    yield rows(told)


def _sight(outcome: Outcome) -> str:
    part = f"saw {share(outcome.known)}" if outcome.known is not None else "saw part"
    seen = "saw nothing" if outcome.state == State.BLIND else part
    return f"{seen}: {one_line(outcome.reason)}" if outcome.reason else seen


def _issues(report: Report, look: Look) -> Iterable[RenderableType]:
    notes = issue_notes(report.issues, everything=look.everything)
    if notes:
        yield titled("While reading")
        yield rows((note.kind, note.text) for note in notes)
