"""What a scripted model can answer: values, made by small functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypedDict, Unpack

from instrument.testing.usage import Usage

StopReason = Literal[
    "end_turn", "tool_use", "max_tokens", "pause_turn", "refusal", "stop_sequence", "model_context_window_exceeded"
]

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
# The two that are known word for word: the first from recorded exchanges, the second from the API's documentation.
_ERROR_MESSAGES = {"authentication_error": "invalid x-api-key", "overloaded_error": "Overloaded"}


RAW_INPUT: Final = "raw input of the test kit"
"""Key of a tool use in a `Reply`, for the text of its arguments in a stream; never sent."""


@dataclass(frozen=True, slots=True)
class Fault:
    """How an answer goes wrong on its way. Pieces are the events of a stream, or the two halves of a plain body."""

    delay_seconds: float = 0.0  # before anything is answered
    piece_delay_seconds: float = 0.0  # before each piece
    stall_seconds: float = 0.0  # once, before piece number `stall_after`
    stall_after: int | None = None  # None: half of the pieces
    cut: bool = False  # the connection is closed before piece number `cut_after`
    cut_after: int | None = None  # None: half of the pieces
    cut_error: ErrorReply | None = None  # a stream ends in order, with this as its last event
    closed: bool = False  # the connection is closed instead of any answer
    malformed: bool = False  # the length is right and the JSON is not


@dataclass(frozen=True, slots=True)
class Reply:
    """One assistant message. `content` holds blocks as on the wire; a tool use whose id is None gets the next free one.

    `stop_reason` None means `tool_use` if there is a tool use, else `end_turn`; `model` None means the request's.
    `usage` None leaves it out of the answer, which the API never does.
    """

    content: tuple[dict[str, Any], ...] = ()
    usage: Usage | None = field(default_factory=Usage)
    stop_reason: StopReason | str | None = None
    model: str | None = None
    fault: Fault = field(default_factory=Fault)


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error the API answers with; `retry_after_seconds` None sends no such header."""

    status: int
    type: str
    message: str
    retry_after_seconds: float | None = None
    fault: Fault = field(default_factory=Fault)


class Settings(TypedDict, total=False):
    """What every reply can be told beside its content."""

    usage: Usage | None
    stop_reason: StopReason | str  # a text of tomorrow's API too
    model: str


def text(words: str, **settings: Unpack[Settings]) -> Reply:
    """A reply of one text block."""
    return Reply(({"type": "text", "text": words},), **settings)


def tool_use(
    name: str,
    input: object = None,  # noqa: A002 - `input` and `id` are the API's own names
    *,
    text: str | None = None,
    id: str | None = None,  # noqa: A002
    raw_input: str | None = None,
    **settings: Unpack[Settings],
) -> Reply:
    """A reply that asks for one tool, after `text` if that is given. `together` makes parallel ones.

    `input` should be an object; anything else that JSON has a form for is sent as it is. A stream spells the arguments out
    as `raw_input`, if that is given, however broken its JSON.
    """
    said = () if text is None else ({"type": "text", "text": text},)
    arguments = {} if input is None else dict(input) if isinstance(input, Mapping) else input
    call = {"type": "tool_use", "id": id, "name": name, "input": arguments, "caller": {"type": "direct"}}
    return Reply((*said, call if raw_input is None else call | {RAW_INPUT: raw_input}), **settings)


def thinking(thoughts: str, *, signature: str = "c2lnbmF0dXJl", **settings: Unpack[Settings]) -> Reply:
    """A reply of one thinking block; put it before others with `together`."""
    return Reply(({"type": "thinking", "thinking": thoughts, "signature": signature},), **settings)


def together(*parts: Reply, **settings: Unpack[Settings]) -> Reply:
    """One reply with the content of all `parts` in order: thinking before text, several tools at once.

    Without parts it is the empty message that models do send. Settings belong here and not on a part: ValueError.
    """
    if any(part != Reply(part.content) for part in parts):
        raise ValueError("give usage, stop_reason, model and faults to together(), not to its parts")
    return Reply(tuple(block for part in parts for block in part.content), **settings)


def error(
    status: int,
    type: str | None = None,  # noqa: A002 - the API's own name
    message: str | None = None,
    *,
    retry_after_seconds: float | None = None,
) -> ErrorReply:
    """An error of the API. `type` defaults to the one that belongs to `status`, `message` to a few words.

    The message of a prompt that is too long reads `prompt is too long: 210000 tokens > 200000 maximum` (status 400).
    The SDK tries 408, 409, 429 and 5xx again, after `retry_after_seconds` (fractions allowed) or 0.5 s and more.
    """
    type = type or _ERROR_TYPES.get(status, "api_error")  # noqa: A001
    message = message or _ERROR_MESSAGES.get(type, type.replace("_", " "))
    return ErrorReply(status, type, message, retry_after_seconds)
