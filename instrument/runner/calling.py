"""Between the loop and the SDK: a request as its keyword arguments, a message as JSON, an error as what can be done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from instrument.runner.events import TextDelta, ThinkingDelta
from instrument.runner.wants import Arrived, CanEdit, Count, Failed, Send

if TYPE_CHECKING:
    from instrument.runner.run import Run

_COUNTED: Final = ("model", "messages", "system", "tools", "tool_choice", "thinking", "context_management")
"""What counting tokens takes of a request."""
_EDITING: Final = "clear_tool_uses_20250919"
_CONNECT_SECONDS: Final = 10.0
_ASIDE_SECONDS: Final = 20.0
_NEVER_SENT: Final = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "LocalProtocolError"}
)
"""Errors of the HTTP client from before the request was on its way."""
_TEMPORARY: Final = frozenset({408, 409, 429})


def arguments(want: Send) -> dict[str, Any]:
    """Keyword arguments of `messages.create` and `messages.stream`. What these do not know goes into the body as it is."""
    import httpx2

    found = dict(want.body)
    if want.betas:
        found["betas"] = list(want.betas)
    found["timeout"] = httpx2.Timeout(want.timeout_seconds, connect=min(want.timeout_seconds, _CONNECT_SECONDS))
    return found


def endpoint(client: Any, betas: Sequence[str] | None) -> Any:
    """`client.messages`, or its beta form where the request needs one."""
    return client.messages if betas is None else client.beta.messages


def counting(want: Count) -> dict[str, Any]:
    """Keyword arguments of `messages.count_tokens`."""
    found = {k: v for k, v in want.body.items() if k in _COUNTED}
    return {**found, "betas": list(want.betas)} if want.betas else found


def can_edit(want: CanEdit, model: Any) -> bool:
    """Whether the model's own description says that it has the API's context editing."""
    management = getattr(getattr(model, "capabilities", None), "context_management", None)
    return want.model != "" and bool(getattr(getattr(management, _EDITING, None), "supported", False))


def arrived(message: Any) -> Arrived | Failed:
    """A message of the SDK as JSON."""
    if not hasattr(message, "model_dump"):
        return Failed(ValueError(f"the answer was no message but {str(message)[:200]!r}"), temporary=True)
    found = message.model_dump(mode="json", exclude_unset=True, warnings=False)
    content = found.get("content")
    if not isinstance(content, list):
        return Failed(ValueError("the answer had no content"), temporary=True)
    for block in content:
        block.pop("parsed_output", None)  # the SDK's, and not the API's
    return Arrived(found)


def shown(event: Any) -> TextDelta | ThinkingDelta | None:
    """What an event of the SDK's stream means for whoever watches."""
    kind = getattr(event, "type", None)
    if kind == "text":
        return TextDelta(event.text)
    return ThinkingDelta(event.thinking) if kind == "thinking" else None


def aside(run: Run) -> float:
    """Seconds for a request whose answer is only good to know."""
    return min(_ASIDE_SECONDS, run.policy.model_calls.timeout_seconds)


def failed(error: Exception, *, sent: bool = False) -> Failed:
    """What an error means: whether to try again, when, and whether it may have been billed; surely so if it was `sent`."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and status >= 400:
        headers: Mapping[str, str] = getattr(getattr(error, "response", None), "headers", None) or {}
        told = headers.get("x-should-retry")
        temporary = told == "true" or (told != "false" and (status in _TEMPORARY or status >= 500))
        return Failed(error, temporary, billed=False, retry_after_seconds=_retry_after(headers))
    # A parameter that the SDK does not take, text that UTF-8 has no bytes for, or a warning that the host has made an error.
    if isinstance(error, (TypeError, UnicodeEncodeError, Warning)) and not sent:
        return Failed(error, temporary=False, billed=False)
    causes = {type(e).__name__ for e in (error, error.__cause__) if e is not None}
    return Failed(error, temporary=True, billed=sent or not causes & _NEVER_SENT)


def late(seconds: float) -> Failed:
    """A request that was still coming in when its time was up."""
    return Failed(TimeoutError(f"the answer had not arrived after {seconds:.0f} s"))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            found = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        return found if found >= 0 else None
    return None
