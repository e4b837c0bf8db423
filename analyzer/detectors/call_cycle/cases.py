"""Traces for `call_cycle`, from both sides."""

from __future__ import annotations

from typing import Final

from analyzer.cases import DIALECTS, Call, Case, Entry, Found, rejected_call, says, tool_call, turn, user

_DONE: Final = says("That is all I could find out.")
_SPANS: Final = frozenset(DIALECTS) - {"messages_only"}
"""Dialects with tool spans: only these say that a call was blocked."""


def _calls(names: str) -> list[Call]:
    return [tool_call(name, {}, f"what {name} says") for name in names]


def _reads(count: int) -> list[Call]:
    return [tool_call("read_file", {"path": f"notes/{n}.md"}, f"notes of day {n}") for n in range(count)]


def _check(tests: str) -> list[Entry]:
    return [tool_call("build_status", {}, "running"), tool_call("test_status", {}, tests)]


def _asked_again(number: int) -> list[Entry]:
    return [*_calls("ab"), says(f"Here is try {number}."), user(f"Again, the {number}th time.")]


CASES: Final = (
    Case("two calls in turn", [*_calls("ab" * 6), _DONE], [Found("call_cycle", turns=(1, 12), severity="error")]),
    Case("three rounds", [*_calls("ab" * 3), _DONE], [Found("call_cycle", turns=(1, 6), severity="warning")]),
    Case("after a prefix", [*_reads(5), *_calls("abc" * 5), _DONE], [Found("call_cycle", turns=(6, 20))]),
    Case("before good calls", [*_calls("abcd" * 3), *_reads(12), _DONE], [Found("call_cycle", turns=(1, 12))]),
    Case("as long as is looked for", [*_calls("abcdefgh" * 3), _DONE], [Found("call_cycle", turns=(1, 24))]),
    Case("a round cut short", [*_calls("abc" * 3 + "ab"), _DONE], [Found("call_cycle", turns=(1, 11))]),
    Case("one call twice in a round", [*_calls("aab" * 3), _DONE], [Found("call_cycle", turns=(1, 9))]),
    Case(
        "one after another is two",
        [*_calls("ab" * 3), *_calls("cde" * 3), _DONE],
        [Found("call_cycle", turns=(1, 6)), Found("call_cycle", turns=(7, 15))],
    ),
    Case(
        "one tool with arguments in turn",
        [*[tool_call("open", {"file": f}, f"text of {f}") for f in ("a.py", "b.py")] * 4, _DONE],
        [Found("call_cycle", turns=(1, 8))],
    ),
    Case(
        "an edit taken back and made again",
        [
            *[
                tool_call("edit", {"file": "a.py", "to": 1}, "edited"),
                tool_call("run_tests", {}, "2 failed, 8 passed"),
                tool_call("edit", {"file": "a.py", "to": 0}, "edited"),
                tool_call("run_tests", {}, "3 failed, 7 passed"),
            ]
            * 4,
            _DONE,
        ],
        [Found("call_cycle", turns=(1, 16))],
    ),
    Case("in parallel, round after round", [*[turn(*_calls("ab"))] * 3, _DONE], [Found("call_cycle", turns=(1, 3))]),
    Case(
        "with pauses",
        [*[e for call in _calls("ab" * 4) for e in (call, tool_call("sleep", {"seconds": 1}, "slept"))], _DONE],
        [Found("call_cycle", turns=(1, 15))],
    ),
    Case(
        "a new thought each time",
        [*[turn(c, text=f"Perhaps now, the {n}th time.") for n, c in enumerate(_calls("ab" * 4))], _DONE],
        [Found("call_cycle", turns=(1, 8))],
    ),
    Case(
        "a guard refused the fourth round",
        [*_calls("ab" * 3), *[rejected_call(n, {}, f"`{n}` was refused, as before.") for n in "ab"], _DONE],
        [Found("call_cycle", turns=(1, 8))],
        only=_SPANS,
    ),
    Case("quiet: two rounds and a half", [*_calls("abcabcab"), _DONE], []),
    Case("quiet: one call alone", [*_calls("aaa"), _DONE], []),
    Case(
        "quiet: results that differ",
        [*[e for n in range(9) for e in (tool_call("a", {}, f"{n}"), tool_call("b", {}, f"b {n}"))], _DONE],
        [],
    ),
    Case(
        "quiet: edit and test with progress",
        [
            *[
                e
                for n in range(6)
                for e in (tool_call("edit", {"n": n}, "ok"), tool_call("run_tests", {}, f"{9 - n} failed"))
            ],
            _DONE,
        ],
        [],
    ),
    Case(
        "quiet: two checks until one of them arrives",
        [*_check("waiting") * 5, *_check("12 passed"), _DONE],
        [],
    ),
    Case(
        "quiet: the next page, and the next",
        [
            *[
                e
                for n in range(6)
                for e in (tool_call("click", {"on": "next"}, "ok"), tool_call("screen", {}, f"page {n}"))
            ],
            _DONE,
        ],
        [],
    ),
    Case("quiet: in parallel, twice", [*[turn(*_calls("abab"))] * 2, _DONE], []),
    Case(
        "quiet: the user in every round",
        [
            *[e for n in range(6) for e in _asked_again(n)],
            _DONE,
        ],
        [],
        only=frozenset({"gen_ai", "openinference", "messages_only", "anthropic_sdk"}),
    ),
    Case(
        "quiet: a failure in every round is no cycle",
        [
            *[e for n in range(4) for e in (*_calls("ab"), tool_call("c", {}, f"{'wxyz'[n]} is bad", error=f"E{n}"))][
                :8
            ],
            says("`c` failed each time."),
        ],
        [],
    ),
    Case(
        "quiet: the same files read again after each edit",
        [
            *[
                e
                for n in range(5)
                for e in (
                    tool_call("read_file", {"path": "a.py"}, "text of a"),
                    tool_call("read_file", {"path": "b.py"}, "text of b"),
                    tool_call("write_file", {"path": f"out/{n}.md"}, "written"),
                )
            ],
            _DONE,
        ],
        [],
    ),
)
