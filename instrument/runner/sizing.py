"""How large the next request is: what the API said of the last one, and an estimate of what has come since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from instrument import sizes
from instrument.billing import cache_marks, tokens

_UNBOUNDED_FACTOR: Final = 2
_UNBOUNDED_TOKENS: Final = 50_000
"""What a request may turn into at most cannot be said where the API itself fetches something (an address, a file, a server tool):
twice the estimate and this many tokens stand in for a bound."""


class Sizing:
    """Of one run. Costs what is new since the last answer, not what the whole conversation holds."""

    def __init__(self, marks: frozenset[str]) -> None:
        self.marks = marks
        """Life times of the cache writes that requests ask for."""
        self._last: tuple[Mapping[str, Any], int, int] | None = None

    def mark(self, body: Mapping[str, Any]) -> None:
        """Looks for cache writes in a request that was not made here: in all but its older messages, which were looked at before."""
        head = {name: value for name, value in body.items() if name != "messages"}
        self.marks |= cache_marks(head) | cache_marks(list(body.get("messages") or ())[-2:])

    def answered(self, body: Mapping[str, Any], message: Mapping[str, Any]) -> None:
        """The API has said how large `body` was."""
        used = tokens(message)
        if used is not None and used.input_tokens > 0:
            self._last = (body, used.input_tokens, used.output_tokens)

    def forget(self) -> None:
        """The conversation was rewritten: what was said of it holds no longer."""
        self._last = None

    def estimate(self, body: Mapping[str, Any]) -> int:
        """Input tokens of `body`, as well as we know."""
        if self._last is None:
            return sizes.estimated_tokens(body)
        return sizes.estimated_more(*self._last, body)

    def at_most(self, body: Mapping[str, Any]) -> int:
        """Input tokens that `body` cannot be above; see `_UNBOUNDED_TOKENS` for where nobody can say."""
        bound = sizes.at_most_tokens(body) if self._last is None else sizes.at_most_more(*self._last, body)
        return bound if bound is not None else self.estimate(body) * _UNBOUNDED_FACTOR + _UNBOUNDED_TOKENS
