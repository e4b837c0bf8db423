"""Traces for `cache_bust`, from both sides."""

from __future__ import annotations

from typing import Any, Final

from analyzer.cases import DIALECTS, Case, Entry, Found, Turn, says, tool_call, turn

_SYSTEM: Final = frozenset({"gen_ai", "anthropic_sdk", "openllmetry", "messages_only"})
"""Dialects that hold system instructions apart."""
_SPANS: Final = frozenset(DIALECTS) - {"messages_only"}
_DONE: Final = says("That is all.", input_tokens=60_000)


def _asks(number: int, whole: int, read: int, **facts: Any) -> Turn:
    """A request of `whole` thousand tokens of which `read` thousand came from the cache and the rest went into it."""
    call = tool_call("read", {"n": number}, f"text {number}")
    return turn(call, input_tokens=whole * 1000, cached=(read * 1000, (whole - read) * 1000), **facts)


def _good(*thousands: int) -> list[Entry]:
    return [_asks(n, whole, before) for n, (before, whole) in enumerate(zip((0, *thousands), thousands, strict=False))]


def _done(whole: int, read: int, **facts: Any) -> Turn:
    return turn(text="That is all.", input_tokens=whole * 1000, cached=(read * 1000, (whole - read) * 1000), **facts)


CASES: Final = (
    Case(
        "everything written anew, and nothing says why",
        [*_good(20, 60, 62), _asks(7, 64, 0), _done(66, 64)],
        [Found("cache_bust", turns=(4, 4), severity="warning")],
    ),
    Case(
        "in every turn, a little of it",
        [*_good(20, 30), *[_asks(n, 30 + n, 10) for n in range(1, 5)], _done(36, 35)],
        [Found("cache_bust", turns=(3, 6), severity="warning")],
    ),
    Case(
        "a tool was added",
        [
            *_good(20, 60),
            *[_asks(n, 60 + n, 0 if n == 1 else 59 + n, more_tools=("late",)) for n in (1, 2)],
            _done(64, 62, more_tools=("late",)),
        ],
        [Found("cache_bust", turns=(3, 3), severity="warning")],
    ),
    Case(
        "a date in the system instructions",
        [
            _asks(0, 60, 0, system="It is 9:00."),
            _asks(1, 62, 0, system="It is 9:01."),
            _asks(2, 64, 0, system="It is 9:02."),
            _done(66, 64, system="It is 9:02."),
        ],
        [Found("cache_bust", turns=(2, 3), severity="warning")],
        only=_SYSTEM,
    ),
    Case(
        "another model took over",
        [*_good(20, 60, 62), _asks(7, 64, 0, model="claude-opus-4-5"), _done(66, 64, model="claude-opus-4-5")],
        [Found("cache_bust", turns=(4, 4), severity="warning")],
        only=frozenset(DIALECTS) - {"hashed"},
    ),
    Case(
        "the cache ran out while nothing happened",
        [*_good(20, 60, 62), _asks(7, 64, 0, pause_seconds=400), _asks(8, 66, 64), _done(67, 66)],
        [Found("cache_bust", turns=(4, 4), severity="info"), Found("silent_gap")],
        only=_SPANS,
    ),
    Case("quiet: each request goes on from the one before", [*_good(20, 60, 62, 64, 66), _done(67, 66)], []),
    Case("quiet: little was lost", [*_good(20, 30, 32), _asks(7, 34, 0), _done(35, 34)], []),
    Case("quiet: compacted", [*_good(20, 90, 120), _asks(7, 60, 5), _asks(8, 62, 60), _done(63, 62)], []),
    Case(
        "quiet: no cache in use",
        [*[turn(tool_call("read", {"n": n}, f"text {n}"), input_tokens=60_000) for n in range(5)], _DONE],
        [],
    ),
    Case(
        "quiet: another conversation in between",
        [*_good(20, 60, 62), _asks(7, 55, 0, model="claude-haiku-4-5"), _asks(8, 64, 62), _done(65, 64)],
        [],
    ),
    Case(
        "quiet: every token was new",
        [_asks(1, 60, 0), _asks(2, 130, 60), _done(131, 130)],
        [],
    ),
)
