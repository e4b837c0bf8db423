"""What a file of somebody else's says, taken for what it is: each function gives the value asked for, or "not known"."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any, Final

import orjson

_LATEST_SECONDS: Final = 4_102_444_800
"""2100-01-01; the store takes no later time either."""
_MILLISECONDS_FROM: Final = 100_000_000_000
"""As seconds this would be the year 5138, so a number from here on counts milliseconds."""


def mapping(value: Any) -> dict[str, Any]:
    """A JSON object; an empty one where there is none."""
    return value if isinstance(value, dict) else {}


def listing(value: Any) -> list[Any]:
    """A JSON list; an empty one where there is none."""
    return value if isinstance(value, list) else []


def text(value: Any) -> str | None:
    """A text that is not empty, else None."""
    return value if isinstance(value, str) and value else None


def count(value: Any) -> int | None:
    """A whole number that may count something, else None."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def amount(value: Any) -> float | None:
    """A finite number, none below zero; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 2**53 and math.isfinite(value) else None


def moment_ns(value: Any) -> int | None:
    """Nanoseconds since 1970 of an ISO 8601 time (UTC where it names no zone) or of a number of seconds or milliseconds."""
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return None
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        since = found - datetime(1970, 1, 1, tzinfo=UTC)
        nanoseconds = (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
    else:
        number = amount(value)
        if number is None:
            return None
        nanoseconds = int(number * (1_000_000 if number >= _MILLISECONDS_FROM else 1_000_000_000))
    return nanoseconds if 0 < nanoseconds < _LATEST_SECONDS * 1_000_000_000 else None


def dumps(value: Any) -> str:
    """A decoded JSON value as JSON."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # nested deeper than orjson writes
        return json.dumps(value, ensure_ascii=False)
