"""Traces for `context_growth`, from both sides; the window of the cases' model is 200,000 tokens."""

from __future__ import annotations

from typing import Final

from analyzer.cases import DIALECTS, Case, Entry, Found, model_error, tool_call, turn


def _growing(*thousands: int, model: str = "claude-sonnet-4-5") -> list[Entry]:
    *read, answered = thousands
    return [
        *(
            turn(tool_call("read", {"n": n}, f"text {n}"), input_tokens=t * 1000, model=model)
            for n, t in enumerate(read)
        ),
        turn(text="That is what they say.", input_tokens=answered * 1000, model=model),
    ]


CASES: Final = (
    Case(
        "three quarters full", _growing(20, 60, 110, 150), [Found("context_growth", turns=(1, 4), severity="warning")]
    ),
    Case("nearly full", _growing(20, 80, 140, 185), [Found("context_growth", turns=(1, 4), severity="error")]),
    Case("compacted in time", _growing(40, 90, 150, 30, 50), [Found("context_growth", turns=(1, 3), severity="info")]),
    Case(
        "the trend starts anew after a compaction",
        _growing(90, 135, 20, 60, 95, 150),
        [Found("context_growth", turns=(3, 6), severity="warning")],
    ),
    Case("about to be full", _growing(20, 45, 70, 95, 120), [Found("context_growth", severity="info")]),
    Case(
        "over the window: that it happened is another's",
        [
            *_growing(20, 150),
            model_error("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
        ],
        [Found("context_overflow", severity="error")],
        only=frozenset(DIALECTS) - {"hashed"},
    ),
    Case("quiet: grows threefold and stays small", _growing(5, 10, 15, 20, 25), []),
    Case("quiet: half full and steady", _growing(100, 100, 101, 101, 102), []),
    Case("quiet: many requests whose sum is large", _growing(*[60] * 20), []),
    Case("quiet: a model nobody knows", _growing(20, 80, 140, 185, model="in-house-7"), []),
    Case("quiet: more than the window, and answered", _growing(100, 180, 260, 320), []),
    Case(
        "quiet: tokens not recorded",
        [
            *[turn(tool_call("read", {"n": n}, f"text {n}"), measured=False) for n in range(5)],
            turn(text="That is what they say.", measured=False),
        ],
        [],
    ),
)
