"""Traces for `context_overflow`, from both sides."""

from __future__ import annotations

from typing import Final

from analyzer.cases import DIALECTS, Case, Entry, Found, model_error, says, tool_call, turn

_DONE: Final = says("That is all I could find out.")
_TOO_LONG: Final = model_error("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")
_FINISH: Final = frozenset({"gen_ai", "anthropic_sdk", "gen_ai_old", "openinference", "openllmetry", "hashed"})


_WORDS: Final = frozenset(DIALECTS) - {"hashed"}
"""Dialects that record what errors say."""


def _reads(count: int, first: int = 0) -> list[Entry]:
    return [tool_call("read", {"n": n}, f"text {n}") for n in range(first, first + count)]


CASES: Final = (
    Case(
        "refused, and that was the end",
        [*_reads(3), _TOO_LONG],
        [Found("context_overflow", turns=(4, 4), severity="error")],
        only=_WORDS,
    ),
    Case(
        "refused twice with the same request",
        [*_reads(2), _TOO_LONG, _TOO_LONG],
        [Found("context_overflow", turns=(3, 4), severity="error")],
        only=_WORDS,
    ),
    Case(
        "compacted after the refusal",
        [*_reads(3), _TOO_LONG, *_reads(2, 3), _DONE],
        [Found("context_overflow", turns=(4, 4), severity="warning")],
        only=_WORDS,
    ),
    Case(
        "in another provider's words",
        [
            *_reads(1),
            model_error(
                "BadRequestError",
                "This model's maximum context length is 128000 tokens. However, your messages resulted in 130211 tokens.",
            ),
        ],
        [Found("context_overflow", turns=(2, 2), severity="error")],
        only=_WORDS,
    ),
    Case(
        "and in a third one's",
        [
            model_error(
                "ClientError", "The input token count (1201041) exceeds the maximum number of tokens allowed (1048575)."
            )
        ],
        [Found("context_overflow", turns=(1, 1))],
        only=_WORDS,
    ),
    Case(
        "an answer cut because the window was full",
        [*_reads(2), turn(text="The report begins with", finish="model_context_window_exceeded")],
        [Found("context_overflow", turns=(3, 3), severity="error")],
        only=_FINISH,
    ),
    Case("quiet: everything fits", [*_reads(4), _DONE], []),
    Case(
        "quiet: too many tokens in a minute",
        [
            model_error(
                "rate_limit_error", "This request would exceed the rate limit of 30,000 input tokens per minute."
            ),
            model_error("ThrottlingException", "Too many input tokens, please wait before trying again."),
            *_reads(2),
            _DONE,
        ],
        [],
    ),
    Case(
        "quiet: refused for another reason",
        [
            model_error(
                "invalid_request_error", "max_tokens: 9000 > 8192, which is the maximum allowed for this model"
            ),
            _DONE,
        ],
        [],
    ),
    Case(
        "quiet: a tool that speaks of a context window",
        [tool_call("grep", {"q": "limit"}, "prompt is too long: context length exceeded"), *_reads(2), _DONE],
        [],
    ),
)
