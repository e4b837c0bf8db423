"""Words in which guards speak. Names come from the model and texts from tools: both are cut and cleaned before they are said again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from instrument.guards.facts import Action, Call, Intervention

NAME_CHARS: Final = 80
"""As much of a tool's name as is repeated."""
TEXT_CHARS: Final = 400
"""As much of any other text."""
_NAMES: Final = 4
_READ_CHARS: Final = 2_000


def clean(text: str, chars: int = TEXT_CHARS) -> str:
    """At most so many characters of `text`, with white space made single and everything that does not print left out."""
    printed = "".join(c if c.isprintable() else " " for c in text[:_READ_CHARS])
    line = " ".join(printed.split())
    return line if len(line) <= chars else line[: chars - 1] + "…"


def quoted(name: str) -> str:
    """A tool's name between back ticks."""
    return f"`{clean(name, NAME_CHARS).replace('`', '')}`"


def listed(names: Iterable[str], joint: str = "and") -> str:
    """`a`, `b` and 2 more: each name once, the first few."""
    each = list(dict.fromkeys(names))
    rest = [f"{len(each) - _NAMES} more"] if len(each) > _NAMES else []
    *first, last = [*(quoted(n) for n in each[:_NAMES]), *rest]
    return f"{', '.join(first)} {joint} {last}" if first else last


def plural(count: int, noun: str) -> str:
    """`1 turn`, `3 turns`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def about(
    call: Call, guard: str, action: Action, reason: str, *, setting: str, threshold: float, value: float, advice: str
) -> Intervention:
    """An intervention that concerns `call`."""
    tool = clean(call.tool, NAME_CHARS)
    return Intervention(guard, action, reason, setting, threshold, value, advice, tool, call.call_id, call.turn)
