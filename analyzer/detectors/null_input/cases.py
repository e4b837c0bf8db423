"""Traces for `null_input`, from both sides."""

from __future__ import annotations

from typing import Any, Final

from analyzer.cases import DIALECTS, Case, Entry, Found, rejected_call, says, tool_call, turn

_DONE: Final = says("That is all there is to say.")
_SPANS: Final = frozenset(DIALECTS) - {"messages_only"}


def _asks(number: int, **arguments: Any) -> Entry:
    return tool_call("search", arguments, f"result {number}")


CASES: Final = (
    Case(
        "three times",
        [*[_asks(n, query="") for n in range(3)], _DONE],
        [Found("null_input", turns=(1, 3), severity="warning")],
    ),
    Case(
        "five times, with several arguments",
        [_asks(9, query="x"), *[_asks(n, query="", filters=[], page=None) for n in range(5)], _DONE],
        [Found("null_input", turns=(2, 6), severity="error")],
    ),
    Case(
        "empty in different ways",
        [_asks(1, query=""), _asks(2, query=None), _asks(3, query=""), _asks(4, query={}), _DONE],
        [Found("null_input", turns=(1, 4))],
    ),
    Case(
        "empty in another way each time",
        [_asks(1, query=""), _asks(2, query=None), _asks(3, query=[]), _DONE],
        [Found("null_input", turns=(1, 3))],
    ),
    Case(
        "another empty call in between",
        [e for n in range(3) for e in (_asks(n, query=""), tool_call("note", {"text": ""}, f"kept {n}"))] + [_DONE],
        [Found("null_input", turns=(1, 5)), Found("null_input", turns=(2, 6))],
    ),
    Case(
        "those that a guard blocked count",
        [
            *[_asks(n, query="") for n in range(3)],
            *[rejected_call("search", {"query": ""}, f"Refused, {n}.") for n in range(2)],
            _DONE,
        ],
        [Found("null_input", turns=(1, 5), severity="error")],
        only=_SPANS,
    ),
    Case("quiet: twice", [*[_asks(n, query="") for n in range(2)], _DONE], []),
    Case("quiet: no arguments at all", [*[_asks(n) for n in range(6)], _DONE], []),
    Case("quiet: some values are filled in", [*[_asks(n, query="", limit=n) for n in range(6)], _DONE], []),
    Case("quiet: nought and no are values", [*[_asks(n, page=0, exact=False) for n in range(6)], _DONE], []),
    Case(
        "quiet: real input in between",
        [e for n in range(4) for e in (_asks(n, query=""), _asks(n + 9, query=f"q{n}"))] + [_DONE],
        [],
    ),
    Case("quiet: five at once", [turn(*[tool_call("search", {"query": ""}, "all")] * 5), _DONE], []),
    Case(
        "quiet: those that were refused because of their arguments do not count",
        [
            _asks(1, query=""),
            rejected_call("search", {"query": ""}, "'' is too short", why="invalid_arguments"),
            _asks(2, query=""),
            _DONE,
        ],
        [],
        only=_SPANS,
    ),
)
