"""Traces for `empty_response`, from both sides."""

from __future__ import annotations

from typing import Final

from analyzer.cases import DIALECTS, Case, Found, model_error, says, tool_call, turn, user

_EMPTY: Final = turn(output_tokens=3)
_READ: Final = tool_call("read", {"path": "a.md"}, "notes")
_DONE: Final = says("That is all there is to say.")
_THINKING: Final = frozenset({"gen_ai", "anthropic_sdk", "openllmetry", "messages_only", "hashed"})
"""Dialects that record thinking, or say that there were no words."""
_SPOKEN: Final = frozenset(DIALECTS) - {"hashed"}

CASES: Final = (
    Case(
        "twice in the middle",
        [_READ, _EMPTY, _EMPTY, _DONE],
        [Found("empty_response", turns=(2, 3), severity="warning")],
    ),
    Case(
        "many times, after which it goes on",
        [_READ, *[_EMPTY] * 5, tool_call("read", {"path": "b.md"}, "more"), _DONE],
        [Found("empty_response", turns=(2, 6))],
    ),
    Case(
        "thinking alone",
        [_READ, *[turn(thinking=f"Hm, {n}.", output_tokens=300) for n in range(3)], _DONE],
        [Found("empty_response", turns=(2, 4))],
        only=_THINKING,
    ),
    Case(
        "white space alone",
        [_READ, *[turn(text=" \n", output_tokens=2)] * 3, _DONE],
        [Found("empty_response", turns=(2, 4))],
    ),
    Case(
        "a failed request in between",
        [_READ, _EMPTY, model_error("overloaded_error", "Overloaded"), _EMPTY, _DONE],
        [Found("empty_response", turns=(2, 4))],
    ),
    Case(
        "quiet: answers that were billed and not recorded",
        [_READ, *[turn(output_tokens=120)] * 3, _DONE],
        [],
        only=_SPOKEN,
    ),
    Case("quiet: once", [_READ, _EMPTY, _READ, _DONE], []),
    Case("quiet: two that are not in a row", [_EMPTY, _READ, _EMPTY, _DONE], []),
    Case("quiet: tools alone", [*[tool_call("read", {"n": n}, f"text {n}") for n in range(5)], _DONE], []),
    Case("quiet: refusals", [_READ, *[turn(finish="refusal", output_tokens=3)] * 3, _DONE], []),
    Case(
        "quiet: the user spoke in between",
        [_READ, _EMPTY, user("And?"), _EMPTY, user("Well?"), _DONE],
        [],
        only=_SPOKEN,
    ),
)
