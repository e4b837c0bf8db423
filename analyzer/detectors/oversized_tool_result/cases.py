"""Traces for `oversized_tool_result`, from both sides; the window of the cases' model is 200,000 tokens."""

from __future__ import annotations

from typing import Any, Final

from analyzer.cases import DIALECTS, Case, Found, Turn, says, tool_call, turn

_DONE: Final = says("That is all there is to say.", input_tokens=60_000)
_READABLE: Final = frozenset(DIALECTS) - {"hashed"}


def _text(words: int) -> str:
    return "word " * words


def _reads(chars: int, *, path: str = "log.txt", **facts: Any) -> Turn:
    return turn(tool_call("read_file", {"path": path}, _text(chars // 5)), **facts)


CASES: Final = (
    Case(
        "counted by the next request",
        [_reads(160_000, input_tokens=5_000), turn(text="A long log, that.", input_tokens=45_050)],
        [Found("oversized_tool_result", turns=(1, 1), severity="warning")],
    ),
    Case(
        "estimated where nothing was counted",
        [_reads(160_000, measured=False), turn(text="A long log, that.", measured=False)],
        [Found("oversized_tool_result", turns=(1, 1))],
    ),
    Case(
        "twice is one finding",
        [
            _reads(160_000, input_tokens=5_000),
            _reads(170_000, path="b.txt", input_tokens=45_050),
            turn(text="Two long logs.", input_tokens=90_000),
        ],
        [Found("oversized_tool_result", turns=(1, 2))],
    ),
    Case(
        "one of several calls at once",
        [
            turn(
                tool_call("read_file", {"path": "a"}, _text(40_000)),
                tool_call("list_files", {}, "a, b"),
                input_tokens=5_000,
            ),
            turn(text="A long file, that.", input_tokens=55_000),
        ],
        [Found("oversized_tool_result", turns=(1, 1))],
    ),
    Case("quiet: results of an ordinary size", [*[_reads(8_000, path=f"{n}") for n in range(6)], _DONE], []),
    Case(
        "quiet: recorded whole, and the model was given less",
        [_reads(160_000, input_tokens=5_000), turn(text="The beginning of it.", input_tokens=8_000)],
        [],
    ),
    Case(
        "quiet: an image",
        [
            turn(
                tool_call(
                    "screenshot",
                    {},
                    [
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo" * 20_000},
                        }
                    ],
                ),
                measured=False,
            ),
            turn(text="A window with a button.", measured=False),
        ],
        [],
        only=_READABLE,
    ),
    Case(
        "quiet: a window that nobody knows",
        [_reads(160_000, model="in-house-7"), turn(text="A long log, that.", model="in-house-7")],
        [],
    ),
)
