"""US dollars as integer nano-dollars: sums of integers are exact, sums of floats are not."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

NANOS: Final = 10**9
"""Nano-dollars of a dollar."""
_LARGEST_USD: Final = 1e9
"""More than this in one amount is a mistake; 10^18 nano-dollars also leave room in 64 bits."""


def nanos(usd: float) -> int:
    """An amount that is spent or reserved, rounded up: nothing is ever counted as less than it was.

    Raises `ValueError` for what is no amount: negative, infinite, not a number, above a thousand million dollars.
    """
    return int((_exact(usd) * NANOS).to_integral_value(ROUND_CEILING))


def limit_nanos(usd: float) -> int:
    """A limit, rounded down. Raises `ValueError` as `nanos` does."""
    return int((_exact(usd) * NANOS).to_integral_value(ROUND_FLOOR))


def dollars(amount_nanos: int) -> float:
    """Back to US dollars, to the nearest float."""
    return amount_nanos / NANOS


def _exact(usd: float) -> Decimal:
    if not (math.isfinite(usd) and 0 <= usd <= _LARGEST_USD):
        raise ValueError(f"{usd!r} is no amount of US dollars from 0 to {_LARGEST_USD:g}")
    # The shortest decimal that reads back as this float: 0.1 is a tenth, and not the nano-dollar more that its binary form is.
    return Decimal(repr(float(usd)))
