"""Usage to cost. The user's own prices come first, then the genai-prices data set (offline, by date); unknown stays unknown.

Prices are linear in each counter, so a rate per counter is worked out once for each (model, condition) and joined to a million spans as
whole columns; a call of genai-prices per span would take longer than reading it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from instrument.errors import PolicyError
from instrument.own_prices import ModelRates, own_rates
from instrument.price_list import listed
from instrument.rates import Condition, Rates

__all__ = ["Condition", "ModelRates", "Prices", "Rates", "parse_prices"]


class Prices:
    """Rates by condition. `overrides` (model name to `ModelRates`) go before the data set."""

    def __init__(self, overrides: Mapping[str, ModelRates] | None = None) -> None:
        self._overrides = dict(overrides or {})
        self._known: dict[Condition, tuple[Rates, ...] | str] = {}

    def rates(self, condition: Condition) -> tuple[Rates, ...]:
        """The steps of the price, lowest first; empty where the price is not known."""
        found = self._looked_up(condition)
        return () if isinstance(found, str) else found

    def source(self, condition: Condition) -> str:
        """Where the price comes from: `user`, `genai-prices <version>`, or `unknown: <why>`."""
        found = self._looked_up(condition)
        return f"unknown: {found}" if isinstance(found, str) else found[0].source

    def cost_usd(
        self,
        condition: Condition,
        *,
        uncached_input_tokens: int,
        output_tokens: int,
        cache_read_tokens: int = 0,
        cache_write_5m_tokens: int = 0,
        cache_write_1h_tokens: int = 0,
        web_searches: int = 0,
    ) -> float | None:
        """Price of one call in US dollars, None where the price is not known. The same sum as the store's, for one call."""
        whole = uncached_input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens
        step = next(
            (r for r in reversed(self.rates(condition)) if whole > r.above_input_tokens or r.above_input_tokens == 0),
            None,
        )
        if step is None or (web_searches and step.web_search is None):
            return None
        return (
            uncached_input_tokens * step.input
            + cache_read_tokens * step.cache_read
            + cache_write_5m_tokens * step.cache_write_5m
            + cache_write_1h_tokens * step.cache_write_1h
            + output_tokens * step.output
            + web_searches * (step.web_search or 0.0)
            + step.request
        )

    def _looked_up(self, condition: Condition) -> tuple[Rates, ...] | str:
        if condition not in self._known:
            self._known[condition] = own_rates(self._overrides, condition) or listed(condition)
        return self._known[condition]


def parse_prices(tables: dict[str, Any]) -> Prices:
    """Prices from the decoded TOML of a policy file: its `prices` table, a table per model. Raises `PolicyError`."""
    try:
        return Prices(msgspec.convert(tables.get("prices", {}), dict[str, ModelRates]))
    except msgspec.ValidationError as e:
        raise PolicyError(None, f"prices: {e}; give US dollars per million tokens as `input` and `output`") from None
