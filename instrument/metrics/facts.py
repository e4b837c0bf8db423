"""What the attributes of an ended span say, as metrics need it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from instrument import semconv

_SDK_SCOPE: Final = "com.anthropic.sdk"
_KINDS: Final = frozenset({semconv.CHAT, semconv.INVOKE_AGENT, semconv.EXECUTE_TOOL})
_TIMED_OUT: Final = re.compile(r"time.?out|timed.?out|deadline.?exceeded", re.IGNORECASE)
_STATUS: Final = "http.response.status_code"


def kind_of(scope: str, attributes: Mapping[str, Any]) -> str | None:
    """The operation of a span that is ours or the Anthropic SDK's. Other libraries that make such spans make metrics of them, too."""
    if scope != semconv.SCOPE and not scope.startswith(_SDK_SCOPE):
        return None
    operation = attributes.get(semconv.OPERATION)
    return operation if operation in _KINDS else None


def outcome_of(attributes: Mapping[str, Any], *, failed: bool) -> str:
    """How a tool call ended, as `semconv.TOOL_OUTCOME` has it."""
    rejected = attributes.get(semconv.REJECTED)
    if rejected is not None:
        return "blocked" if rejected == "blocked" else "rejected"
    error_type = attributes.get(semconv.ERROR_TYPE)
    if not failed and error_type is None:
        return "ok"
    if error_type in ("cancelled", "CancelledError"):
        return "cancelled"
    return "timed_out" if isinstance(error_type, str) and _TIMED_OUT.search(error_type) else "error"


def refused_by_api(attributes: Mapping[str, Any]) -> bool:
    """Whether the API answered with an error, which costs nothing."""
    status = attributes.get(_STATUS)
    return isinstance(status, int) and status >= 400


def count_of(value: Any) -> int | None:
    """A counter of tokens; None where the span has none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


@dataclass(frozen=True, slots=True)
class Reported:
    """What one span says of a model call."""

    scope: str
    model: Any
    response_id: Any
    input_tokens: int | None
    output_tokens: int | None

    @property
    def has_usage(self) -> bool:
        """Whether it says anything of tokens."""
        return self.input_tokens is not None or self.output_tokens is not None

    def same(self, other: Reported) -> bool:
        """Whether a span and the one around it report one call: the rule of `instrument.store.reconcile` for nested spans."""
        if _differ(self.model, other.model) or _differ(self.response_id, other.response_id):
            return False
        if self.input_tokens is None or other.input_tokens is None:
            return self.scope != other.scope
        return (self.input_tokens, self.output_tokens) == (other.input_tokens, other.output_tokens)


def _differ(one: Any, other: Any) -> bool:
    return one is not None and other is not None and one != other


def reported(scope: str, attributes: Mapping[str, Any]) -> Reported:
    """Of the span of a model call."""
    return Reported(
        scope,
        attributes.get(semconv.REQUEST_MODEL),
        attributes.get(semconv.RESPONSE_ID),
        count_of(attributes.get(semconv.INPUT_TOKENS)),
        count_of(attributes.get(semconv.OUTPUT_TOKENS)),
    )
