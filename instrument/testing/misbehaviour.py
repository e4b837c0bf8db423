"""Ways for a scripted model to misbehave for ever. Where a request allows no tools, it says its last words: so does a real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from instrument.testing.replies import Reply, text, together, tool_use
from instrument.testing.scripted_model import Misbehaviour, Turn
from instrument.testing.usage import CHARACTERS_PER_TOKEN

_Called = Callable[[Turn, str], Reply]

LAST_WORDS: Final = "This is what I could find out: the handbook has a page about it."
HALLUCINATED: Final = "search_the_whole_web"
_SAME_WORDS: Final = "Let me have another look at the handbook to be quite sure about it."
_ANNOUNCEMENT: Final = "I will now look into the handbook and report back to you."
_LONGEST_TOKENS: Final = 8_000
"""Of an answer that is to cost money; the request's `max_tokens` may be lower."""
_CALL_TOKENS: Final = 100
"""Room for the tool call beside the words."""


def explores(tool: str | None) -> Misbehaviour:
    """Calls one tool with ever new arguments."""
    return _while_allowed(lambda turn, name: tool_use(name, turn.arguments(name)), tool)


def repeats(tool: str | None) -> Misbehaviour:
    """Calls one tool with the same arguments."""
    return _while_allowed(lambda turn, name: tool_use(name, turn.arguments(name, 1)), tool)


def rephrases(tool: str | None) -> Misbehaviour:
    """Asks one tool the same in ever other words."""
    return _while_allowed(lambda turn, name: tool_use(name, turn.rephrased(name)), tool)


def parrots(tool: str | None) -> Misbehaviour:
    """Says the same words before the same call."""
    return _while_allowed(lambda turn, name: tool_use(name, turn.arguments(name, 1), text=_SAME_WORDS), tool)


def asks_blankly(tool: str | None) -> Misbehaviour:
    """Calls one tool with arguments that say nothing."""
    return _while_allowed(lambda turn, name: tool_use(name, turn.blanks(name)), tool)


def hallucinates(turn: Turn) -> Reply:
    """Calls a tool that nobody declared, with ever new arguments."""
    return tool_use(HALLUCINATED, {"query": f"attempt {turn.number}"}) if turn.tools else text(LAST_WORDS)


def announces(turn: Turn) -> Reply:
    """Says what it is going to do, and does nothing."""
    return text(_ANNOUNCEMENT if turn.tools else LAST_WORDS)


def says_nothing(turn: Turn) -> Reply:  # noqa: ARG001 - it does not look
    """Says nothing, with or without tools."""
    return together()


def spends(tool: str | None) -> Misbehaviour:
    """Says as much as the request allows and calls a tool with new arguments; the conversation grows by all of it."""

    def spend(turn: Turn) -> Reply:
        room = min(turn.max_tokens, _LONGEST_TOKENS) - _CALL_TOKENS
        words = f"Thought {turn.number}. ".ljust(max(0, room) * CHARACTERS_PER_TOKEN, "x")
        if not turn.tools:
            return text(words)
        if room <= 0:
            return text("Cut", stop_reason="max_tokens")
        name = turn.tool(tool)
        return tool_use(name, turn.arguments(name), text=words)

    return spend


def _while_allowed(reply: _Called, tool: str | None) -> Misbehaviour:
    return lambda turn: reply(turn, turn.tool(tool)) if turn.tools else text(LAST_WORDS)
