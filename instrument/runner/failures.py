"""What a failed tool call tells: the text for the model, and whether the failure may pass by itself. Nothing here raises."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator
from typing import Any, Final

from instrument.capture import message_of
from instrument.runner.content import Content, as_content, only_text, well_formed

MESSAGE_CHARS: Final = 2_000
"""A longer message of an exception is cut: nobody learns from the rest, and it stays in the conversation."""
_EMPTY: Final = "The tool failed and gave no reason."
_CHAIN: Final = 4
_PROBLEMS: Final = 3
_STATUSES: Final = frozenset({408, 425, 429})
"""HTTP answers below 500 that ask to come again later: RFC 9110 (408), 8470 (425), 6585 (429)."""
_NETWORK: Final = frozenset(
    getattr(errno, name)
    for name in (
        *("EAGAIN", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EHOSTDOWN", "EHOSTUNREACH"),
        *("ENETDOWN", "ENETRESET", "ENETUNREACH", "ENOTCONN", "EPIPE", "ETIMEDOUT"),
    )
    if hasattr(errno, name)
) | {socket.EAI_AGAIN}
_BY_NAME: Final = re.compile(
    r"""(?x)
    (?:Connect|Connection|Read|Write|Pool|Server|API|Socket|ClientOS|Request)?Time(?:d)?out(?:Error|Exception|Expired)?
    | Connect(?:ion)?Error | (?:API|Client)Connect(?:ion|or)Error | ReadError | WriteError | NetworkError
    | (?:Remote)?ProtocolError | ServerDisconnectedError | ChunkedEncodingError | IncompleteRead | NewConnectionError
    | RateLimitError | TooManyRequests | ServiceUnavailable(?:Error)? | OverloadedError | ThrottlingException
    """
)
"""Classes of clients that we do not import: httpx, httpx2, requests, urllib3, aiohttp, botocore, and the SDKs made with them."""


def is_temporary(error: BaseException) -> bool:
    """Whether the same call may succeed later: time-outs, lost connections, and HTTP 408, 425, 429 and 5xx.

    A status on the exception decides; else its class; else, in the same way, the exception it was raised from.
    """
    try:
        # Not SystemExit: what is 500 there is no HTTP status.
        return isinstance(error, Exception) and any(_temporary(e) for e in _causes(error))
    except Exception:  # noqa: BLE001 - an exception whose attributes raise: nothing says that it passes
        return False


def error_content(error: BaseException) -> str:
    """What the model reads of an exception: what a `ToolError` of the SDK says, or "TypeName: message". Never a traceback, never empty.

    Text only, even where a `ToolError` holds images: the API refuses anything else in an error result.
    """
    content: Content
    try:
        if _is_tool_error(error):
            content, _ = as_content(error.content)  # type: ignore[attr-defined]
            return only_text(content, _EMPTY)
        return well_formed(_described(error))[:MESSAGE_CHARS]
    except Exception:  # noqa: BLE001 - an exception whose attributes raise still has a type
        return type(error).__name__


def _described(error: BaseException) -> str:
    if (invalid := _validation(error)) is not None:
        return f"Invalid arguments: {invalid}"
    name, message = type(error).__name__, message_of(error)
    return f"{name}: {message}" if message.strip() else name


def _validation(error: BaseException) -> str | None:
    """The problems that pydantic found. The SDK hides them behind "Invalid arguments for function f"."""
    for found in (error, error.__cause__):
        cls = type(found)
        if found is not None and cls.__name__ == "ValidationError" and cls.__module__.startswith("pydantic"):
            problems = found.errors(include_url=False, include_context=False, include_input=False)  # type: ignore[attr-defined]
            told = (f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in problems[:_PROBLEMS])
            return "; ".join(told)
    return None


def _is_tool_error(error: BaseException) -> bool:
    # By name: whoever raises one has imported the SDK, and we need not.
    return hasattr(error, "content") and any(
        cls.__name__ == "ToolError" and cls.__module__.startswith("anthropic.") for cls in type(error).__mro__
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(_CHAIN):
        if seen is None:
            return
        yield seen
        if _status(seen) is not None:
            return
        seen = seen.__cause__


def _temporary(error: BaseException) -> bool:
    if (status := _status(error)) is not None:
        return status in _STATUSES or status >= 500
    if isinstance(error, (TimeoutError, ConnectionError)) or (isinstance(error, OSError) and error.errno in _NETWORK):
        return True
    return any(_BY_NAME.fullmatch(cls.__name__) for cls in type(error).__mro__)


def _status(error: BaseException) -> int | None:
    """The HTTP status that a client left on its exception: httpx, requests, aiohttp, urllib, botocore-like."""
    response = getattr(error, "response", None)
    found: Any
    for holder, name in (
        (error, "status_code"),
        (response, "status_code"),
        (error, "status"),
        (response, "status"),
        (error, "code"),
    ):
        found = getattr(holder, name, None)
        if type(found) is int and 100 <= found <= 599:
            return found
    return None
