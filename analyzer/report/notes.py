"""Issues of one kind, told once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from analyzer.report.clean import one_line
from instrument.otlp import Issue

_SHOWN: Final = 3
"""Places named for each kind of issue that cost something; of what is merely mentioned, different messages, with one place each."""
_NOTHING_TO_DO: Final = ("none", "nothing to do")
"""How the remedy begins where there is none: the format does not say more, or all is well."""
_TOLD_ONE_BY_ONE: Final = 3
"""Kinds of these that are told like the others; more of them would bury what can be mended."""


@dataclass(frozen=True, slots=True)
class Note:
    """All issues of one kind in a few lines."""

    kind: str
    text: str


def issue_notes(issues: Iterable[Issue], *, everything: bool = False) -> list[Note]:
    """One note a kind of issue, errors first, with the first places where it occurred or, with `everything`, all.

    Without `everything`, kinds about which nothing can be done are only counted where there are many of them.
    """
    kinds: dict[tuple[bool, str], list[Issue]] = {}
    for issue in issues:
        kinds.setdefault((not issue.error, issue.kind), []).append(issue)
    told = sorted(kinds.items())
    idle = [] if everything else [(key, found) for key, found in told if not any(map(_mendable, found))]
    if len(idle) <= _TOLD_ONE_BY_ONE:
        idle = []
    notes = [Note(one_line(key[1], 40), _told(found, everything)) for key, found in told if (key, found) not in idle]
    return [*notes, Note("no remedy", _counted(idle))] if idle else notes


def _mendable(issue: Issue) -> bool:
    return issue.error or not issue.remedy.startswith(_NOTHING_TO_DO)


def _counted(kinds: list[tuple[tuple[bool, str], list[Issue]]]) -> str:
    counts = sorted(
        ((sum(issue.count for issue in found), one_line(kind, 40)) for (_, kind), found in kinds), reverse=True
    )
    listed = ", ".join(f"{kind} {count:,}" for count, kind in counts)
    return f"{listed}: what the files do not say, or what was put right; --all shows where"


def _told(issues: list[Issue], everything: bool) -> str:
    shown = issues if everything else _first(issues)[:_SHOWN]
    told = "; ".join(map(_place, shown))
    more = sum(issue.count for issue in issues) - sum(issue.count for issue in shown)
    rest = f"; and {more:,} more" if more else ""
    todo = "; ".join(dict.fromkeys(one_line(issue.remedy) for issue in shown))
    return f"{told}{rest}. To do: {todo}"


def _first(issues: list[Issue]) -> list[Issue]:
    """What is to be named first: errors as they come, else one issue of each message, of those that can be mended if there are any."""
    if issues[0].error:
        return issues
    first: dict[str, Issue] = {}
    for issue in list(filter(_mendable, issues)) or issues:
        first.setdefault(issue.message, issue)
    return list(first.values())


def _place(issue: Issue) -> str:
    line = f", line {issue.line:,}" if issue.line is not None else ""
    times = f" ({issue.count:,} times)" if issue.count > 1 else ""
    return f"{one_line(issue.source, 120)}{line}: {one_line(issue.message, 200)}{times}"
