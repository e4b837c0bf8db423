"""Traces for `unknown_tool`, from both sides."""

from __future__ import annotations

from typing import Final

from analyzer.cases import DIALECTS, Case, Entry, Found, rejected_call, says, tool_call

_DONE: Final = says("I cannot search the web.")
_REAL: Final = tool_call("search_web", {"q": "x"}, "found it")


def _made_up(number: int, name: str = "web_serch") -> Entry:
    return tool_call(name, {"q": f"try {number}"}, f"Error: unknown tool {name}", error="ToolNotFound", declared=False)


_TELLS: Final = frozenset({"gen_ai", "gen_ai_old", "openinference", "openllmetry", "messages_only", "hashed"})
"""Dialects that record declarations."""

CASES: Final = (
    Case(
        "four times, arguments varying",
        [_REAL, *[_made_up(n) for n in range(4)], _DONE],
        [Found("unknown_tool", turns=(2, 5), severity="error")],
    ),
    Case("once", [_REAL, _made_up(1), _DONE], [Found("unknown_tool", turns=(2, 2), severity="warning")]),
    Case(
        "asked for and never run",
        [_REAL, *[tool_call("web_serch", {"q": n}, "x", ran=False, declared=False) for n in range(3)], _DONE],
        ["unknown_tool"],
        only=_TELLS,
    ),
    Case(
        "refused before anything ran",
        [
            _REAL,
            *[rejected_call("web_serch", {"q": n}, "no such tool: `web_serch`", why="unknown_tool") for n in range(3)],
            _DONE,
        ],
        [Found("unknown_tool", turns=(2, 4), severity="error")],
        only=frozenset(DIALECTS) - {"messages_only"},
    ),
    Case(
        "two made-up tools are two findings",
        [_REAL, _made_up(1), _made_up(2, "browse"), _DONE],
        ["unknown_tool", "unknown_tool"],
    ),
    Case(
        "the error says so, nothing else does",
        [_REAL, *[_made_up(n) for n in range(3)], _DONE],
        ["unknown_tool"],
        declares=False,
    ),
    Case(
        "undeclared, and answered all the same",
        [_REAL, tool_call("helper", {}, "fine", declared=False), _DONE],
        [Found("unknown_tool", severity="info")],
        only=_TELLS - {"messages_only"},
    ),
    Case(
        "quiet: a search that found a hammer",
        [*[tool_call("search", {"q": n}, "no such tool as a hammer") for n in range(2)], _DONE],
        [],
        declares=False,
    ),
    Case(
        "quiet: declared, whatever its result says",
        [*[tool_call("search", {"q": n}, "Error: unknown tool search", error="Error") for n in range(2)], _DONE],
        [],
        only=_TELLS,
    ),
    Case(
        "quiet: what the tool called was not found",
        [tool_call("bash", {"q": 1}, "Tool execution failed with error: Command not found", error="ToolError"), _DONE],
        [],
        declares=False,
    ),
    Case("quiet: every tool declared", [_REAL, tool_call("ls", {}, "a b"), _DONE], []),
    Case("quiet: declarations not recorded", [_REAL, tool_call("ls", {}, "a b"), _DONE], [], declares=False),
    Case(
        "quiet: a guard's words that quote an error",
        [
            _REAL,
            *[
                rejected_call("search_web", {"q": n}, "The earlier call returned:\nError: unknown tool x")
                for n in range(3)
            ],
            _DONE,
        ],
        [],
        declares=False,
        only=frozenset(DIALECTS) - {"messages_only"},
    ),
    Case(
        "quiet: a tool that speaks of tools",
        [tool_call("run_sql", {"q": 1}, "function count_all() does not exist", error="SqlError"), _DONE],
        [],
        declares=False,
    ),
)
