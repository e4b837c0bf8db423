"""When rules are evaluated, and for how long what they wait for must hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """When rules are evaluated and how long a condition must hold, in whole seconds."""

    interval_seconds: int = 30
    for_seconds: int = 60
    """Two evaluations: a condition that one scrape saw half written wakes nobody. Less than an hour: rules look back as far."""
    keep_firing_seconds: int = 300
    """Bridges a missed scrape, or a run that ends and starts again and would page twice (Prometheus 2.42 and later)."""

    def evaluations(self, seconds: int) -> int:
        """How many evaluations it takes for so many seconds to pass."""
        return -(-seconds // self.interval_seconds)
