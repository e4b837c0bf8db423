"""Traces for `truncated_response`, from both sides."""

from __future__ import annotations

from typing import Final

from analyzer.cases import DIALECTS, Case, Found, rejected_call, says, tool_call, turn, user

_READ: Final = tool_call("read", {"path": "a.md"}, "notes")
_CUT: Final = turn(text="The report: first of all", finish="max_tokens", output_tokens=1024)
_WRITE: Final = tool_call("write", {"path": "a.md", "text": "# Repo"}, "written")
_DONE: Final = says("That is all there is to say.")
_SPANS: Final = frozenset(DIALECTS) - {"messages_only"}

CASES: Final = (
    Case("the last answer", [_READ, _CUT], [Found("truncated_response", turns=(2, 2), severity="warning")]),
    Case(
        "in another provider's word",
        [_READ, turn(text="The report: first", finish="length", output_tokens=500)],
        [Found("truncated_response", turns=(2, 2), severity="warning")],
    ),
    Case(
        "a tool call that ran with half its arguments",
        [_READ, turn(_WRITE, finish="max_tokens", output_tokens=1024), _DONE],
        [Found("truncated_response", turns=(2, 2), severity="warning")],
    ),
    Case(
        "continued",
        [_READ, _CUT, user("Go on."), says("and secondly, which is all.")],
        [Found("truncated_response", turns=(2, 2), severity="info")],
    ),
    Case(
        "a cut tool call that nobody ran",
        [
            turn(
                rejected_call("write", {"path": "a.md"}, "'text' is required", why="invalid_arguments"),
                finish="max_tokens",
                output_tokens=1024,
            ),
            turn(_WRITE),
            _DONE,
        ],
        [Found("truncated_response", turns=(1, 1), severity="info")],
        only=_SPANS,
    ),
    Case("quiet: ended by itself", [_READ, turn(text="That is all of it.", finish="end_turn")], []),
    Case("quiet: a label was wanted", [turn(text="spam", finish="max_tokens", output_tokens=1)], []),
    Case("quiet: a stop sequence", [_READ, turn(text="The report.", finish="stop_sequence")], []),
    Case("quiet: stopped for a tool", [turn(_WRITE, finish="tool_use", output_tokens=1024), _DONE], []),
)
