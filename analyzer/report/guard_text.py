"""What guards did, in words: a line for all runs, and one for each run in which they acted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import RenderableType

from analyzer.findings import GuardAction, Report, Stop, Totals
from analyzer.guarding import by_run
from analyzer.report.amounts import counted
from analyzer.report.clean import one_line
from analyzer.report.layout import Look, rows, titled

_RUNS_SHOWN: Final = 5
_REASON_CHARS: Final = 160
_LADDER: Final = ("nudge", "block")
NOUNS: Final = {"retry": "retries", "compact": "compactions", "lower": "lowered limits", "ask": "questions"}
"""Plurals of actions that do not just take an s; the word itself where the count is one."""


def guards_in_words(report: Report, look: Look) -> Iterable[RenderableType]:
    """The runs in which guards acted, those that were stopped first; nothing where there are none."""
    acted, stops = by_run(report.guard_actions), {stop.run_id: stop for stop in report.stops}
    runs = sorted({**acted, **dict.fromkeys(stops)}, key=lambda run_id: run_id not in stops)
    if not runs:
        return
    yield titled("Guards")
    shown = runs if look.everything else runs[:_RUNS_SHOWN]
    told = [_run(run_id, acted.get(run_id, ()), stops.get(run_id)) for run_id in shown]
    if len(runs) > len(shown):
        told.append(("more", f"{counted(len(runs) - len(shown), 'run')}; --all shows them"))
    yield rows(told)


def guards_of_all(totals: Totals, actions: Sequence[GuardAction]) -> str:
    """`1 of 40 guarded runs stopped: 2 nudges, 3 blocks, 1 stop`."""
    ended = f"{totals.stopped_runs:,} of {counted(totals.guarded_runs, 'guarded run')} stopped"
    done = summed(actions)
    return f"{ended}: {done}" if done else f"{ended}; no guard had to act"


def summed(actions: Iterable[GuardAction]) -> str:
    """`1 nudge, 3 blocks, 2 nudges observed`, the ladder first; empty where there is nothing."""
    counts = Counter((a.observed, a.action) for a in actions)
    order = {name: place for place, name in enumerate((*_LADDER, "stop"))}
    parts = sorted(counts, key=lambda k: (k[0], order.get(k[1], len(order)), k[1]))
    return ", ".join(_named(counts[key], key[1]) + (" observed" if key[0] else "") for key in parts)


def _named(count: int, action: str) -> str:
    word = one_line(action, 20)
    return f"{count:,} {NOUNS[word]}" if count != 1 and word in NOUNS else counted(count, word)


def _run(run_id: str, actions: Sequence[GuardAction], stop: Stop | None) -> tuple[str, str]:
    """The run's agent, and what was done in it."""
    agents = [*(a.agent_name for a in actions), stop.agent_name if stop is not None else None]
    agent = next((name for name in agents if name), None)
    steps = [a for a in actions if a.action != "stop" or a.observed]
    parts = [summed(steps)] if steps else []
    if stop is not None:
        turn = next((f" in turn {a.turn:,}" for a in actions if a.guard == stop.stop_reason and a.action == "stop"), "")
        parts.append(f"stopped{turn} ({one_line(stop.stop_reason, 40)})")
    last = next((a.reason for a in reversed(actions) if a.reason), None)
    why = f": {one_line(last, _REASON_CHARS)}" if last else ""
    return one_line(agent or "unnamed agent", 24), f"run {one_line(run_id, 40)}: {', '.join(parts)}{why}"
