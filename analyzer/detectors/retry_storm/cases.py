"""Traces for `retry_storm`, from both sides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from analyzer.cases import DIALECTS, Call, Case, Entry, Found, Turn, model_error, says, tool_call, turn

_DONE: Final = says("The service cannot be reached, so I give up on this.")
_SPANS: Final = frozenset(DIALECTS) - {"messages_only"}
"""Dialects with tool spans: only these have times of their own for calls."""
_WORDS: Final = frozenset(DIALECTS) - {"hashed"}
"""Dialects that record what errors say."""


def _overloaded(**facts: Any) -> Turn:
    return model_error("overloaded_error", "Overloaded", **facts)


def _fetch(error: str | None = "ConnectError", text: str = "connection refused") -> Call:
    return tool_call("fetch", {"url": "http://x"}, text if error else "hello", error=error)


def _kinds() -> list[Entry]:
    errors = [
        ("RateLimitError", "429 Too Many Requests"),
        ("ReadTimeout", "read timed out"),
        ("ConnectionError", "connection reset by peer"),
        ("HTTPError", "status 503: service unavailable"),
        ("HTTPError", "502 Bad Gateway"),
        ("RateLimitError", "429 Too Many Requests"),
    ]
    return [tool_call("fetch", {"url": "http://x"}, text, error=kind) for kind, text in errors]


CASES: Final = (
    Case(
        "a model that is overloaded",
        [*[_overloaded()] * 5],
        [Found("retry_storm", turns=(1, 5), severity="warning"), Found("error_cascade", turns=(1, 5))],
    ),
    Case(
        "and is let in at last",
        [*[_overloaded()] * 5, says("Here is what you asked for.")],
        [Found("retry_storm", turns=(1, 5), severity="info"), Found("error_cascade", severity="info")],
    ),
    Case(
        "a client that retries inside a loop that retries",
        [*[_overloaded(retries=2)] * 2],
        [Found("retry_storm", turns=(1, 2), severity="error")],
    ),
    Case(
        "one request sent again and again by the client",
        [turn(text="Here is what you asked for.", retries=9)],
        [Found("retry_storm", turns=(1, 1), severity="info")],
    ),
    Case(
        "a tool that cannot be reached",
        [*[_fetch()] * 6, _DONE],
        [Found("retry_storm", turns=(1, 6), severity="error"), Found("error_cascade", turns=(1, 6))],
    ),
    Case(
        "failing in every way that a network has",
        [*_kinds(), _DONE],
        [Found("retry_storm", turns=(1, 6), severity="error"), Found("error_cascade", turns=(1, 6))],
        only=_WORDS,
    ),
    Case(
        "after good calls of the same tool",
        [*[_fetch(None)] * 3, *[_fetch()] * 5, _DONE],
        [Found("retry_storm", turns=(4, 8)), Found("error_cascade", turns=(4, 8))],
    ),
    Case("four times is a cascade at most", [*[_overloaded()] * 4], [Found("error_cascade", turns=(1, 4))]),
    Case(
        "with pauses it is a cascade and no storm",
        [*[replace(_overloaded(), pause_seconds=20.0)] * 6],
        [Found("error_cascade", turns=(1, 6))],
    ),
    Case(
        "what does not come of the network is a cascade and no storm",
        [
            *[tool_call("read_file", {"path": f"/{n}"}, f"no such file '/{n}'", error="NotFound") for n in range(8)],
            _DONE,
        ],
        [Found("error_cascade", turns=(1, 8))],
    ),
    Case(
        "slow time-outs are a cascade and no storm",
        [*[replace(_fetch("Timeout", "timed out after 30 s"), seconds=30.0)] * 5, _DONE],
        [Found("error_cascade", turns=(1, 5)), Found("tool_timeout", turns=(1, 5))],
        only=_SPANS,
    ),
    Case("quiet: nine calls at once", [turn(*[_fetch()] * 9), _DONE], []),
    Case("quiet: two waves at once", [turn(*[_fetch()] * 9), turn(*[_fetch()] * 9), _DONE], []),
    Case(
        "quiet: a success in between",
        [*[e for n in range(4) for e in (_fetch(), _fetch(), tool_call("fetch", {"url": n}, f"page {n}"))], _DONE],
        [],
    ),
    Case(
        "quiet: two retries now and then, and the request gets through",
        [*[turn(tool_call("ls", {"n": n}, f"file {n}"), retries=2) for n in range(6)], says("These are the files.")],
        [],
    ),
    Case(
        "quiet: retries over a long time",
        [turn(text="Here is what you asked for.", retries=6, seconds=300.0)],
        [],
    ),
    Case(
        "quiet: a log that speaks of time-outs",
        [
            *[tool_call("grep", {"q": n}, f"log {n}: connection timed out, retrying") for n in range(8)],
            says("These are the lines with an error."),
        ],
        [],
    ),
)
