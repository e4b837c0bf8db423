"""Traces for `repeated_output`, from both sides."""

from __future__ import annotations

from typing import Final

from analyzer.cases import Case, Found, says, tool_call, turn, user

_SAME: Final = "I will now continue with the next step of the plan."
_REFUSAL: Final = "I am sorry, but I cannot help you with that request."
_DONE: Final = says("That is what they say.")

CASES: Final = (
    Case(
        "three times the same",
        [says(_SAME)] * 3,
        [Found("repeated_output", turns=(1, 3), severity="warning")],
    ),
    Case(
        "only a number differs",
        [says(f"Let me try again, this is attempt {n}, please wait.") for n in range(6)],
        [Found("repeated_output", turns=(1, 6), severity="error")],
    ),
    Case(
        "nudged with the same words each time",
        [e for _ in range(4) for e in (says(_SAME), user("Please use a tool."))],
        ["repeated_output"],
    ),
    Case(
        "in the middle of a run",
        [tool_call("ls", {}, "a"), *[says(_SAME)] * 4, tool_call("cat", {}, "b"), _DONE],
        [Found("repeated_output", turns=(2, 5))],
    ),
    Case("quiet: twice", [says(_SAME)] * 2, []),
    Case("quiet: short answers", [says("Done.")] * 6, []),
    Case(
        "quiet: the same answer to different questions",
        [e for n in range(5) for e in (user(f"Do bad thing number {n}."), says(_REFUSAL))],
        [],
    ),
    Case(
        "quiet: the same words around calls that find something",
        [*[turn(tool_call("read", {"n": n}, f"text {n}"), text=_SAME) for n in range(6)], _DONE],
        [],
    ),
    Case(
        "quiet: something learned in between",
        [*[e for n in range(5) for e in (says(_SAME), tool_call("read", {"n": n}, f"text {n}"))], _DONE],
        [],
    ),
)
