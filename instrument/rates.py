"""What a price depends on, and what it is: the values that the price list, a user's own prices and the sums share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Condition:
    """What a price depends on besides the counters."""

    provider: str | None
    model: str
    day: date
    """UTC day of the request."""
    service_tier: str | None = None
    """`batch`, `priority`, `flex`, ...; None, `standard`, `default` and `auto` mean the standard one."""
    speed: str | None = None
    """`fast`, where it was served in fast mode."""
    inference_geo: str | None = None
    """`us`, where inference was kept there."""
    half_hour: int | None = None
    """Half hour of the UTC day (0..47), which the few prices with hours of their own depend on; None: noon."""


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars per token (per search, per request) for requests whose whole input is above `above_input_tokens`."""

    above_input_tokens: int
    input: float
    output: float
    cache_read: float
    cache_write_5m: float
    cache_write_1h: float
    web_search: float | None
    """None: not known."""
    source: str
    request: float = 0.0
