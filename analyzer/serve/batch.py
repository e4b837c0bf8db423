"""What one request brought, ready for the journal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


class Malformed(Exception):
    """The body is no export request; the text says why. The same body sent again would fare no better."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Spans as one line of OTLP JSON."""

    line: bytes
    """`{"resourceSpans":[...]}` and a newline; empty where there is nothing to keep."""
    spans: int
    """Spans in it."""
    rejected: int = 0
    """Spans of the request that are not in it."""
    reason: str = ""
    """Why the last of them is not."""


NO_ID: Final = "a span without a trace id or a span id cannot be told from others"
NO_SPAN: Final = "a span could not be decoded"
