"""Traces for `repeated_call`, from both sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from analyzer.cases import DIALECTS, Call, Case, Entry, Found, rejected_call, says, tool_call, turn, user

_SEARCH: Final = tool_call("search", {"q": "refund policy"}, "no results")
_DONE: Final = says("That is all I could find out.")


def _read(number: int) -> Entry:
    return tool_call("read_file", {"path": f"notes/{number}.md"}, f"notes of day {number}")


def _import(number: int) -> Entry:
    return tool_call("edit_file", {"path": "a.py", "insert": "import os"}, f"[a.py has {number + 7} lines]\nimport os")


def _blocked(times: int) -> Call:
    return rejected_call(
        "search",
        {"q": "refund policy"},
        f"`search` was refused: it was asked for in {times} turns.\n\nThe earlier call returned:\nno results",
    )


def _poll(result: str) -> Call:
    return tool_call("build_status", {}, result)


def _prompted(prompts: Sequence[str], call: Call = _SEARCH) -> list[Entry]:
    """Requests that hold one message each, and `call` after every one of them."""
    return [turn(call, prompt=prompt) for prompt in prompts]


_TASK: Final = "Find out what our refund policy says."
_STEP: Final = "\nThought: I shall search for it.\nAction: search(refund policy)\nObservation: no results"
_CUSTOMERS: Final = ("Ada, who is angry", "Ben from Leeds", "our oldest client", "the school in Kiel", "a new shop")
_PROMPTED: Final = frozenset({"gen_ai", "anthropic_sdk", "gen_ai_old", "openinference", "openllmetry"})
"""Dialects that tell the words of a request, and of a tool also what no request repeats."""

_TOLD: Final = frozenset(DIALECTS) - {"hashed"}
"""Dialects that tell the words of a result."""

_SPANS: Final = frozenset(DIALECTS) - {"messages_only"}
"""Dialects with tool spans: only these say that a call was blocked."""

CASES: Final = (
    Case("five times the same", [*[_SEARCH] * 5, _DONE], [Found("repeated_call", turns=(1, 5), severity="warning")]),
    Case(
        "a hundred times is one finding",
        [*[_SEARCH] * 100, _DONE],
        [Found("repeated_call", turns=(1, 100), severity="error")],
    ),
    Case(
        "other calls in between do not hide it",
        [entry for n in range(6) for entry in (_SEARCH, _read(n))] + [_DONE],
        [Found("repeated_call", turns=(1, 11))],
    ),
    Case(
        "a new thought each time",
        [*[turn(_SEARCH, text=f"Perhaps {w} helps.") for w in ("one", "this", "more", "luck", "hope")], _DONE],
        ["repeated_call"],
    ),
    Case(
        "a loop, then twelve good calls",
        [*[_SEARCH] * 5, *[_read(n) for n in range(12)], _DONE],
        [Found("repeated_call", turns=(1, 5))],
    ),
    Case(
        "twelve good calls, then a loop",
        [*[_read(n) for n in range(12)], *[_SEARCH] * 5, _DONE],
        [Found("repeated_call", turns=(13, 17))],
    ),
    Case(
        "arguments in another order are the same",
        [*[tool_call("f", {"a": 1, "b": 2}), tool_call("f", {"b": 2, "a": 1.0})] * 2, _DONE],
        ["repeated_call"],
    ),
    Case(
        "one text written again and again, as the file grows",
        [*[_import(n) for n in range(12)], _DONE],
        [Found("repeated_call", turns=(1, 12), severity="error")],
        only=_TOLD,
    ),
    Case(
        "one message sent again and again, each with a new id",
        [*[tool_call("send_message", {"to": "ops", "text": "restart"}, {"id": f"m{n}17"}) for n in range(9)], _DONE],
        [Found("repeated_call", turns=(1, 9), severity="error")],
        only=_TOLD,
    ),
    Case(
        "several calls in no order are one finding, and mentions",
        [*[_read(int(number)) for number in "123213312132231"], _DONE],
        [
            Found("repeated_call", turns=(1, 15), severity="warning"),
            Found("repeated_call", severity="info"),
            Found("repeated_call", severity="info"),
        ],
    ),
    Case(
        "a cycle with a failure in each round is no cycle, and still a loop",
        [*[_SEARCH, _read(1), tool_call("create", {"path": "a.py"}, "it exists", error="Error")] * 5, _DONE],
        [
            Found("repeated_call", turns=(1, 13), severity="warning"),
            Found("repeated_call", severity="info"),
            Found("error_cascade", turns=(3, 15)),
        ],
    ),
    Case("quiet: seven times one text", [*[_import(n) for n in range(7)], _DONE], []),
    Case(
        "quiet: keys pressed again, and text that is read on",
        [
            *[tool_call("press_key", {"key": "Down"}, f"row {n}") for n in range(9)],
            *[tool_call("scroll_down", {}, f"line {n}") for n in range(9)],
            *[tool_call("write_stdin", {"chars": "x"}, f"step {n}") for n in range(9)],
            _DONE,
        ],
        [],
    ),
    Case(
        "an edit that is made again and again",
        [*[tool_call("edit_file", {"path": "a.py", "text": "x"}, "ok")] * 5, _DONE],
        ["repeated_call"],
    ),
    Case(
        "a guard blocked it from the fifth time on",
        [*[_SEARCH] * 4, *[_blocked(n) for n in range(5, 9)], _DONE],
        [Found("repeated_call", turns=(1, 8), severity="error")],
        only=_SPANS,
    ),
    Case(
        "a stricter guard than this policy",
        [*[_SEARCH] * 2, *[_blocked(n) for n in range(3, 7)], _DONE],
        [Found("repeated_call", turns=(1, 6), severity="warning")],
        only=_SPANS,
    ),
    Case(
        "a refusal in the middle is no new answer",
        [*[_SEARCH] * 2, _blocked(3), *[_SEARCH] * 2, _DONE],
        [Found("repeated_call", turns=(1, 5))],
        only=_SPANS,
    ),
    Case(
        "quiet: polling until it changes, refused now and then",
        [
            *[_poll("running")] * 4,
            *[rejected_call("build_status", {}, f"refused, {n} turns") for n in (5, 6)],
            _poll("running"),
            _poll("passed"),
            _DONE,
        ],
        [],
        only=_SPANS,
    ),
    Case(
        "quiet: refused each time and never run",
        [*[rejected_call("search", {"q": "x"}, "The limit of this run has been reached.")] * 6, _DONE],
        [],
        only=_SPANS,
    ),
    Case("quiet: three times", [*[_SEARCH] * 3, _DONE], []),
    Case("quiet: in parallel", [turn(*[_SEARCH] * 6), _DONE], []),
    Case("quiet: two turns of parallel twins", [turn(*[_SEARCH] * 3), turn(*[_SEARCH] * 3), _DONE], []),
    Case(
        "quiet: polling a build until it changes",
        [*[tool_call("build_status", {}, "running")] * 6, tool_call("build_status", {}, "passed"), _DONE],
        [],
    ),
    Case(
        "quiet: polling with pauses",
        [
            *[tool_call("job", {}, "busy"), tool_call("sleep", {"seconds": 5}, "slept")] * 6,
            tool_call("job", {}, "done"),
            _DONE,
        ],
        [],
    ),
    Case("quiet: progress in numbers", [*[tool_call("status", {}, f"{n} of 9") for n in range(9)], _DONE], []),
    Case(
        "quiet: the same check after each edit",
        [
            entry
            for n in range(8)
            for entry in (tool_call("edit", {"n": n}), tool_call("bash", {"command": "make test"}, "all passed"))
        ]
        + [_DONE],
        [],
    ),
    Case(
        "quiet: the same check after each change by shell",
        [
            entry
            for n in range(8)
            for entry in (
                tool_call("bash", {"command": f"sed -i 's/a/{n}/' x.py"}, ""),
                tool_call("bash", {"command": "pytest"}, "1 passed"),
            )
        ]
        + [_DONE],
        [],
    ),
    Case(
        "quiet: the next page",
        [
            entry
            for n in range(8)
            for entry in (tool_call("click", {"on": "next"}), tool_call("screen", {}, f"page {n}"))
        ]
        + [_DONE],
        [],
    ),
    Case(
        "quiet: the user asks again",
        [entry for n in range(6) for entry in (user(f"And now, {n}?"), _SEARCH, says(f"Still nothing on try {n}."))],
        [],
        only=frozenset({"gen_ai", "openinference", "messages_only", "anthropic_sdk"}),
    ),
    Case(
        "quiet: far apart",
        [entry for n in range(4) for entry in (_SEARCH, *[_read(n * 10 + k) for k in range(9)])] + [_DONE],
        [],
    ),
    Case(
        "two calls taking turns are a cycle",
        [*[tool_call("a", {}, "1"), tool_call("b", {}, "2")] * 6, _DONE],
        [Found("call_cycle", turns=(1, 12))],
    ),
    Case(
        "three calls going round are a cycle",
        [*[tool_call("a", {}, "1"), tool_call("b", {}, "2"), tool_call("c", {}, "3")] * 5, _DONE],
        [Found("call_cycle", turns=(1, 15))],
    ),
    Case(
        "a check with a pause after each is one call",
        [*[tool_call("job", {}, "busy"), tool_call("sleep", {"seconds": 5}, "slept")] * 6, _DONE],
        [Found("repeated_call", turns=(1, 11))],
    ),
    Case("quiet: a batch", [*[tool_call("check", {"attachment": n}, True) for n in range(9)], _DONE], []),
    Case(
        "quiet: nothing recorded of the results",
        [*[tool_call("poke", {}, "x", ran=False)] * 6, _DONE],
        [],
        only=frozenset({"hashed"}),
    ),
    Case(
        "a prompt to which each step is appended",
        [*_prompted([_TASK + _STEP * n for n in range(5)]), _DONE],
        [Found("repeated_call", turns=(1, 5))],
        only=_PROMPTED,
    ),
    Case(
        "a template into which the steps so far are filled",
        [*_prompted([f"You have tools.\n{_TASK}\nStep {n} of 10.{_STEP * n}\nWhat is next?" for n in range(5)]), _DONE],
        [Found("repeated_call", turns=(1, 5))],
        only=_PROMPTED,
    ),
    Case(
        "a template of which only the last steps are kept",
        [*_prompted([f"{_TASK}{_STEP * min(n, 2)}\nThat was step {n}." for n in range(6)]), _DONE],
        [Found("repeated_call", turns=(1, 6))],
        only=_PROMPTED,
    ),
    Case(
        "quiet: a template filled with one question after another",
        [*_prompted([f"Look up what applies to this customer: {who}.\nUse the tools." for who in _CUSTOMERS]), _DONE],
        [],
        only=_PROMPTED,
    ),
    Case(
        "quiet: questions about numbers, each of them answered",
        [
            entry
            for n in range(5)
            for entry in (
                turn(_SEARCH, prompt=f"May order {4000 + 37 * n} be sent back?"),
                turn(
                    text=f"Nothing is said about order {4000 + 37 * n}.",
                    prompt=f"May order {4000 + 37 * n} be sent back? no results",
                ),
            )
        ],
        [],
        only=_PROMPTED,
    ),
)
