"""Traces for `tool_timeout`, from both sides."""

from __future__ import annotations

from typing import Any, Final

from analyzer.cases import DIALECTS, Call, Case, Found, says, tool_call, turn

_DONE: Final = says("The page did not load, so I cannot say.")
_WELL: Final = says("Here is what the page says.")
_TIMED: Final = frozenset(DIALECTS) - {"messages_only"}
"""Dialects with tool spans: what messages tell has no times."""


def _fetch(
    seconds: float | None, error: str | None = None, text: str = "hello", tool: str = "fetch", **facts: Any
) -> Call:
    return tool_call(tool, {"url": "http://x"}, text, error=error, seconds=seconds, **facts)


CASES: Final = (
    Case(
        "cut at the limit",
        [_fetch(120.5, "TimeoutError", "fetch gave no result within 120 seconds"), _DONE],
        [Found("tool_timeout", turns=(1, 1), severity="warning")],
        only=_TIMED,
    ),
    Case(
        "slow, and right in the end",
        [_fetch(300.0), _WELL],
        [Found("tool_timeout", turns=(1, 1), severity="info")],
        only=_TIMED,
    ),
    Case(
        "one finding for a tool however often",
        [*[_fetch(200.0 + n, text=f"page {n}") for n in range(3)], _WELL],
        [Found("tool_timeout", turns=(1, 3), severity="info")],
        only=_TIMED,
    ),
    Case(
        "two tools are two findings",
        [turn(_fetch(200.0), _fetch(300.0, tool="query")), _WELL],
        ["tool_timeout", "tool_timeout"],
        only=_TIMED,
    ),
    Case(
        "never ended, and the run went on much later",
        [turn(_fetch(None), _fetch(400.0, tool="query")), _WELL],
        [Found("tool_timeout", severity="warning"), Found("tool_timeout", severity="info")],
        only=_TIMED,
    ),
    Case(
        "a limit of its own, and it worked afterwards",
        [_fetch(60.0, "Timeout", "timed out after 60 s"), _fetch(1.0), _WELL],
        [Found("tool_timeout", turns=(1, 1), severity="info")],
        only=_TIMED,
    ),
    Case(
        "a limit of its own, and it never worked",
        [_fetch(60.0, "Timeout", "timed out after 60 s"), _DONE],
        [Found("tool_timeout", turns=(1, 1), severity="warning")],
        only=_TIMED,
    ),
    Case("quiet: just below the limit", [_fetch(119.0), _WELL], []),
    Case("quiet: a wait", [_fetch(600.0, tool="wait_for_build"), _WELL], []),
    Case(
        "quiet: a pause in a shell",
        [tool_call("bash", {"command": "sleep 300"}, "", seconds=300.0), _WELL],
        [],
        only=_TIMED - {"hashed"},
    ),
    Case(
        "quiet: a person is asked", [_fetch(900.0, tool="ask_user"), _fetch(900.0, tool="AskUserQuestion"), _WELL], []
    ),
    Case("quiet: a quick failure that speaks of time", [_fetch(0.5, "Timeout", "connect timed out"), _DONE], []),
    Case("quiet: long, but several calls together", [*[_fetch(50.0, text=f"{n}") for n in range(9)], _WELL], []),
)
