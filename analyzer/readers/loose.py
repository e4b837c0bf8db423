"""What a file of somebody else's says, taken for what it is: each function gives the value asked for, or "not known"."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Any, Final

import orjson

_LATEST_SECONDS: Final = 4_102_444_800
"""2100-01-01; the store takes no later time either."""
_MILLISECONDS_FROM: Final = 100_000_000_000
"""As seconds this would be the year 5138, so a number from here on counts milliseconds."""
_NAN: Final = re.compile(rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")|-?(?:NaN|Infinity)', re.DOTALL)


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


def written_number(value: Any) -> float | None:
    """As `amount`, of a number that may stand there as text."""
    if isinstance(value, str) and len(value) < 40:
        try:
            value = float(value)
        except ValueError:
            return None
    return amount(value)


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
        factor = 1_000_000 if number >= _MILLISECONDS_FROM else 1_000_000_000
        # A fraction this large is exact to some hundred nanoseconds only.
        nanoseconds = value * factor if isinstance(value, int) else int(number * factor)
    return nanoseconds if 0 < nanoseconds < _LATEST_SECONDS * 1_000_000_000 else None


def later_ns(start_ns: int | None, seconds: float | None) -> int | None:
    """When that ended which began at `start_ns` and took `seconds`; None where either is not known."""
    if start_ns is None or seconds is None or seconds > _LATEST_SECONDS:
        return None
    end_ns = start_ns + int(seconds * 1e9)
    return end_ns if 0 < end_ns < _LATEST_SECONDS * 1_000_000_000 else None


def earlier_ns(end_ns: int | None, seconds: float | None) -> int | None:
    """When that began which ended at `end_ns` and took `seconds`; None where either is not known."""
    if end_ns is None or seconds is None or seconds * 1e9 >= end_ns:
        return None
    return end_ns - int(seconds * 1e9)


def dumps(value: Any) -> str:
    """A decoded JSON value as JSON."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # nested deeper than orjson writes
        return json.dumps(value, ensure_ascii=False)


def without_nan(data: bytes) -> bytes:
    """The JSON text with `null` for `NaN` and `Infinity`, which Python writes and JSON does not have."""
    if b"NaN" not in data and b"Infinity" not in data:
        return data
    return _NAN.sub(lambda found: found.group(1) or b"null", data)
