"""Traces for `error_cascade`, from both sides."""

from __future__ import annotations

from typing import Final

from analyzer.cases import DIALECTS, Call, Case, Entry, Found, model_error, rejected_call, says, tool_call, turn

_DONE: Final = says("I give up on this.")


def _missing(number: int) -> Call:
    return tool_call(
        "read_file", {"path": f"/src/{number}.py"}, f"File '/src/{number}.py' not found", error="FileNotFoundError"
    )


def _fetch(error: str | None = "Timeout") -> Entry:
    return tool_call("fetch", {"url": "http://x"}, "timed out after 30 s" if error else "hello", error=error)


def _refused(number: int) -> Call:
    return rejected_call("fetch", {"url": "http://x"}, f"`fetch` was refused: it failed in {number} turns.")


_SPANS: Final = frozenset(DIALECTS) - {"messages_only"}
"""Dialects with tool spans: only these say that a call never ran."""

CASES: Final = (
    Case(
        "the same call failing four times",
        [*[_fetch()] * 4, _DONE],
        [Found("error_cascade", turns=(1, 4), severity="warning")],
    ),
    Case(
        "arguments vary, the failure does not",
        [*[_missing(n) for n in range(12)], _DONE],
        [Found("error_cascade", turns=(1, 12), severity="error")],
    ),
    Case(
        "only the text says so",
        [*[tool_call("fetch", {"n": n}, "Error: host unreachable") for n in range(4)], _DONE],
        [Found("error_cascade", turns=(1, 4))],
    ),
    Case(
        "other tools working in between do not end it",
        [e for n in range(4) for e in (_missing(n), tool_call("ls", {"n": n}, f"file {n}"))] + [_DONE],
        ["error_cascade"],
    ),
    Case(
        "recovered in the end",
        [*[_fetch()] * 4, _fetch(None), _DONE],
        [Found("error_cascade", turns=(1, 4), severity="info")],
    ),
    Case(
        "one tool after the other",
        [*[tool_call(t, {}, f"{t} broke", error="Error") for t in ("a", "b", "c", "d", "e")], _DONE],
        [Found("error_cascade", turns=(1, 5))],
    ),
    Case(
        "a test that fails the same after every edit",
        [e for n in range(4) for e in (tool_call("edit", {"n": n}), tool_call("run_tests", {}, "FAILED (failures=3)"))]
        + [_DONE],
        ["error_cascade"],
    ),
    Case(
        "the model itself",
        [*[model_error("overloaded_error", "Overloaded")] * 4],
        [Found("error_cascade", turns=(1, 4))],
    ),
    Case(
        "what a guard blocked afterwards is no failure of the tool",
        [*[_fetch()] * 3, *[_refused(n) for n in range(4, 9)], _DONE],
        [Found("error_cascade", turns=(1, 3), severity="warning")],
        only=_SPANS,
    ),
    Case("quiet: twice, then blocked", [*[_fetch()] * 2, *[_refused(n) for n in range(3, 9)], _DONE], [], only=_SPANS),
    Case(
        "arguments that were refused before the tool ran",
        [
            *[
                rejected_call("book", {"n": n}, "'date' is a required property", why="invalid_arguments")
                for n in range(6)
            ],
            _DONE,
        ],
        [Found("invalid_arguments", turns=(1, 6))],
        only=_SPANS,
    ),
    Case("quiet: twice", [*[_fetch()] * 2, _DONE], []),
    Case(
        "quiet: a success in between",
        [e for n in range(5) for e in (_fetch(), tool_call("fetch", {"url": n}, f"page {n}"))] + [_DONE],
        [],
    ),
    Case("quiet: five at once", [turn(*[_missing(n) for n in range(5)]), _DONE], []),
    Case(
        "quiet: tests with fewer failures each time",
        [
            e
            for n in range(6)
            for e in (tool_call("edit", {"n": n}), tool_call("run_tests", {}, f"FAILED (failures={6 - n})"))
        ]
        + [_DONE],
        [],
    ),
    Case(
        "quiet: results that merely speak of errors",
        [*[tool_call("grep", {"q": n}, f"log {n}: error was fixed") for n in range(8)], _DONE],
        [],
    ),
    Case(
        "quiet: a few different failures far apart",
        [
            _missing(1),
            tool_call("ls", {}, "a"),
            tool_call("get", {}, "bad", error="E"),
            tool_call("ls", {}, "b"),
            _fetch(),
            _DONE,
        ],
        [],
    ),
)
