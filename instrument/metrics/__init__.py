"""OpenTelemetry metrics of what agents do: made from the spans as they end, and told to the application's meter provider."""

from __future__ import annotations

from instrument.metrics.listening import measure

__all__ = ["measure"]
