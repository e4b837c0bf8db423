"""Traces for `invalid_arguments`, from both sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from analyzer.cases import DIALECTS, Call, Case, Found, rejected_call, says, tool_call, turn

_DONE: Final = says("I could not book a table.")
_TELLS: Final = frozenset({"gen_ai", "gen_ai_old", "openinference", "openllmetry", "messages_only"})
"""Dialects that record schemas and arguments."""
_SPANS: Final = frozenset(DIALECTS) - {"messages_only"}
"""Dialects with tool spans: only these say that a call never ran."""
_BOOK: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "place": {"type": "string"},
        "guests": {"type": "integer", "minimum": 1, "maximum": 12},
        "when": {"type": "string", "enum": ["noon", "evening"]},
        "notes": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["place", "guests"],
    "additionalProperties": False,
}
_SCHEMAS: Final = {"book": _BOOK}


def _book(error: bool = True, **arguments: Any) -> Call:
    return tool_call(
        "book", arguments, "no table was booked" if error else "booked", error="BookingError" if error else None
    )


def _refused(number: int) -> Call:
    return rejected_call(
        "book", {"place": f"p{number}"}, 'The arguments do not fit: "guests" is missing', why="invalid_arguments"
    )


def _case(name: str, wrong: list[dict[str, Any]], severity: str) -> Case:
    """Calls that each are wrong in one way, and fail in as many words: no cascade of one kind."""
    found = Found("invalid_arguments", turns=(1, len(wrong)), severity=severity)
    return Case(name, [*[_book(**w) for w in wrong], _DONE], [found], only=_TELLS, schemas=_SCHEMAS)


CASES: Final = (
    _case("something is missing", [{"place": "Ada"}, {"place": "Bo"}], "warning"),
    _case("names that do not exist", [{"place": "Ada", "guests": n, "seats": n} for n in (2, 3)], "warning"),
    _case("values of another type", [{"place": "Ada", "guests": "two"}, {"place": 7, "guests": 2}], "warning"),
    _case("out of range", [{"place": "Ada", "guests": n} for n in (0, 13)], "warning"),
    _case("no such value", [{"place": "Ada", "guests": 2, "when": w} for w in ("night", "dawn")], "warning"),
    _case("deep inside", [{"place": "Ada", "guests": 2, "notes": [n]} for n in (1, 2)], "warning"),
    Case(
        "refused before the tool ran",
        [*[_refused(n) for n in range(5)], _DONE],
        [Found("invalid_arguments", turns=(1, 5), severity="error")],
        only=_SPANS,
    ),
    Case(
        "asked for and never run",
        [*[tool_call("book", {"place": f"p{n}"}, "Error: how many guests?", ran=False) for n in range(2)], _DONE],
        [Found("invalid_arguments", turns=(1, 2), severity="warning")],
        only=_TELLS - {"openllmetry"},
        schemas=_SCHEMAS,
    ),
    Case(
        "only the error says so",
        [
            *[
                tool_call("book", {"place": "Ada", "n": n}, f"Missing required {what}", error="E")
                for n, what in enumerate(("parameter", "property"))
            ],
            _DONE,
        ],
        [Found("invalid_arguments", turns=(1, 2), severity="warning")],
        declares=False,
        only=frozenset(DIALECTS) - {"hashed"},
    ),
    Case(
        "a stricter schema than the tool",
        [*[_book(error=False, place="Ada", guests=n, table=n) for n in (2, 3)], says("Both are booked.")],
        [Found("invalid_arguments", turns=(1, 2), severity="info")],
        only=_TELLS,
        schemas=_SCHEMAS,
    ),
    Case(
        "put right each time",
        [
            *[
                e
                for n in range(1, 4)
                for e in (_book(place=f"p{n}"), tool_call("book", {"place": f"p{n}", "guests": n}, f"booked p{n}"))
            ],
            says("All three are booked."),
        ],
        [Found("invalid_arguments", severity="info")],
        only=_TELLS,
        schemas=_SCHEMAS,
    ),
    Case(
        "quiet: once",
        [_book(place="Ada"), _book(error=False, place="Ada", guests=2), says("Booked.")],
        [],
        schemas=_SCHEMAS,
    ),
    Case(
        "quiet: everything fits",
        [
            *[
                tool_call(
                    "book", {"place": f"p{n}", "guests": n, "when": "noon", "notes": ["by the window"]}, f"booked {n}"
                )
                for n in range(1, 9)
            ],
            says("All are booked."),
        ],
        [],
        schemas=_SCHEMAS,
    ),
    Case(
        "quiet: twice in one turn is once",
        [turn(_book(place="Ada"), _book(place="Bo")), _book(error=False, place="Ada", guests=2), says("Booked.")],
        [],
        schemas=_SCHEMAS,
    ),
    Case(
        "quiet: tools without a schema",
        [*[tool_call("note", {"text": n, "x": None}, f"noted {n}") for n in range(6)], says("All is noted.")],
        [],
    ),
    Case(
        "quiet: a tool that fails for reasons of its own",
        [
            *[tool_call("book", {"place": f"p{n}", "guests": 2}, "no table is free", error="Full") for n in range(2)],
            _DONE,
        ],
        [],
        schemas=_SCHEMAS,
    ),
    Case(
        "quiet: code that complains of arguments",
        [
            *[
                tool_call(
                    "python",
                    {"code": f"f({n})"},
                    f"f() missing 1 required positional argument: '{w}'",
                    error="TypeError",
                )
                for n, w in enumerate("ab")
            ],
            _DONE,
        ],
        [],
    ),
)
