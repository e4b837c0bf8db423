"""The tools of an agent under test: some of ours for agents that bring none, and faults put on a team's own."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any


def lookup(question: str) -> str:
    """Looks a question up in the handbook.

    Args:
        question: What to look up.
    """
    words = " ".join(sorted(question.split()))  # the same question in another order has the same answer
    return f"Page {zlib.crc32(words.encode()) % 9_000} of the handbook is about: {words}"


def note(sentence: str) -> str:
    """Writes a sentence down.

    Args:
        sentence: What to remember.
    """
    return f"Noted, {len(sentence)} characters: {sentence}"


TOOLS = (lookup, note)


def name_of(tool: Any) -> str:
    """What a model calls the tool."""
    return str(getattr(tool, "name", None) or getattr(tool, "__name__", tool))


def spoilt(tools: Sequence[Any], which: str | None, fault: Callable[[Any], Any]) -> tuple[list[Any], str]:
    """The tools with `fault` on the one named `which` (default: the first), and its name.

    Tools are functions, or those that `anthropic.beta_tool` makes. Raises ValueError where there is no such tool, and TypeError
    for one that no fault can be put on.
    """
    names = [name_of(tool) for tool in tools]
    if not names or (which is not None and which not in names):
        raise ValueError(f"no tool named {which!r} to break; there are: {', '.join(names) or 'none'}")
    at = 0 if which is None else names.index(which)
    return [*tools[:at], _with_fault(tools[at], fault), *tools[at + 1 :]], names[at]


def _with_fault(tool: Any, fault: Callable[[Any], Any]) -> Any:
    if callable(getattr(tool, "func", None)) and hasattr(tool, "input_schema"):
        same = {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}
        return type(tool)(fault(tool.func), **same)
    if callable(tool) and hasattr(tool, "__name__"):
        return fault(tool)
    raise TypeError(
        f"{tool!r} is neither a function nor made by anthropic.beta_tool: put the fault on its function yourself"
    )
