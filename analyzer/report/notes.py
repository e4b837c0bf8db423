"""Issues of one kind, told once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from analyzer.report.clean import one_line
from instrument.otlp import Issue

_SHOWN: Final = 3
"""Places named for each kind of issue that cost something; of what is merely mentioned, different messages, with one place each."""


@dataclass(frozen=True, slots=True)
class Note:
    """All issues of one kind in a few lines."""

    kind: str
    text: str


def issue_notes(issues: Iterable[Issue], *, everything: bool = False) -> list[Note]:
    """One note a kind of issue, errors first, with the first places where it occurred or, with `everything`, all."""
    kinds: dict[tuple[bool, str], list[Issue]] = {}
    for issue in issues:
        kinds.setdefault((not issue.error, issue.kind), []).append(issue)
    return [Note(one_line(kind, 40), _told(found, everything)) for (_, kind), found in sorted(kinds.items())]


def _told(issues: list[Issue], everything: bool) -> str:
    shown = issues if everything else (issues if issues[0].error else _first_of_each(issues))[:_SHOWN]
    told = "; ".join(map(_place, shown))
    more = sum(issue.count for issue in issues) - sum(issue.count for issue in shown)
    rest = f"; and {more:,} more" if more else ""
    todo = "; ".join(dict.fromkeys(one_line(issue.remedy) for issue in shown))
    return f"{told}{rest}. To do: {todo}"


def _first_of_each(issues: list[Issue]) -> list[Issue]:
    """One issue of each message."""
    first: dict[str, Issue] = {}
    for issue in issues:
        first.setdefault(issue.message, issue)
    return list(first.values())


def _place(issue: Issue) -> str:
    line = f", line {issue.line:,}" if issue.line is not None else ""
    times = f" ({issue.count:,} times)" if issue.count > 1 else ""
    return f"{one_line(issue.source, 120)}{line}: {one_line(issue.message, 200)}{times}"
