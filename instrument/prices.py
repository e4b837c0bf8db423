"""Usage to cost. Rates come from the genai-prices data set (offline, by date), the user's own come first; unknown stays unknown.

Prices are linear in each counter, so a rate per counter is worked out once for each (model, condition) and joined to a million spans in
SQL; a call of genai-prices per span would take longer than reading it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cache
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from instrument.errors import PolicyError

Rate = Annotated[float, Meta(ge=0)]

GEO_MULTIPLIERS: Final = {("anthropic", "us"): 1.1}
"""Anthropic bills requests pinned to US inference (`inference_geo: us`) at 1.1 times the rate
(platform.claude.com, pricing, "Data residency"); genai-prices 0.2.3 does not know it."""
_PROVIDERS: Final = {
    "gcp.vertex_ai": "google",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "aws.bedrock": "aws",
    "x_ai": "x-ai",
    "mistral_ai": "mistral",
}
"""Provider names of the GenAI conventions that genai-prices spells another way."""


class ModelRates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prices of one model in US dollars per million tokens, as `[prices."model"]` in `flyball.toml`; `web_search` per thousand."""

    input: Rate
    output: Rate
    cache_read: Rate | None = None
    cache_write_5m: Rate | None = None
    cache_write_1h: Rate | None = None
    web_search: Rate | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """What a price depends on besides the counters."""

    provider: str | None
    model: str
    day: date
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars per token (per search) for requests whose whole input is above `above_input_tokens`."""

    above_input_tokens: int
    input: float
    output: float
    cache_read: float
    cache_write_5m: float
    cache_write_1h: float
    web_search: float
    source: str


class Prices:
    """Rates by condition. `overrides` (model name to `ModelRates`) go before the data set."""

    def __init__(self, overrides: Mapping[str, ModelRates] | None = None) -> None:
        self._overrides = dict(overrides or {})
        self._known: dict[Condition, tuple[Rates, ...]] = {}

    def rates(self, condition: Condition) -> tuple[Rates, ...]:
        """The steps of the price, lowest first; empty where the price is not known."""
        if condition not in self._known:
            self._known[condition] = self._user(condition) or _listed(condition)
        return self._known[condition]

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
        if step is None:
            return None
        return (
            uncached_input_tokens * step.input
            + cache_read_tokens * step.cache_read
            + cache_write_5m_tokens * step.cache_write_5m
            + cache_write_1h_tokens * step.cache_write_1h
            + output_tokens * step.output
            + web_searches * step.web_search
        )

    def _user(self, condition: Condition) -> tuple[Rates, ...]:
        own = self._overrides.get(condition.model)
        if own is None:
            return ()
        million = 1e-6
        read, write = (
            (own.input if own.cache_read is None else own.cache_read),
            (own.input if own.cache_write_5m is None else own.cache_write_5m),
        )
        hour = write if own.cache_write_1h is None else own.cache_write_1h
        return (
            Rates(
                0,
                own.input * million,
                own.output * million,
                read * million,
                write * million,
                hour * million,
                (own.web_search or 0) * 1e-3,
                "user",
            ),
        )


def parse_prices(tables: dict[str, Any]) -> Prices:
    """Prices from the decoded TOML of a policy file: its `prices` table, a table per model. Raises `PolicyError`."""
    try:
        return Prices(msgspec.convert(tables.get("prices", {}), dict[str, ModelRates]))
    except msgspec.ValidationError as e:
        raise PolicyError(None, f"prices: {e}; give US dollars per million tokens as `input` and `output`") from None


def _listed(condition: Condition) -> tuple[Rates, ...]:
    """Rates of the genai-prices data set."""
    model = _model(condition.provider, condition.model)
    if model is None:
        return ()
    context = {}
    if condition.service_tier == "batch":
        context["processing"] = "batch"
    if condition.speed == "fast":
        context["speed"] = "fast"
    price = model.get_prices(datetime.combine(condition.day, time(12), UTC), context)
    if price.input_mtok is None or price.output_mtok is None:
        return ()
    factor = GEO_MULTIPLIERS.get((condition.provider or "anthropic", (condition.inference_geo or "").lower()), 1.0)
    source = f"genai-prices {_version()}"
    starts = sorted({0} | {tier.start for p in vars(price).values() for tier in getattr(p, "tiers", ())})
    return tuple(_step(price, start, factor, source) for start in starts)


def _step(price: Any, start: int, factor: float, source: str) -> Rates:
    def token(key: str, instead: float | None = None) -> float:
        found = _at(getattr(price, key), start)
        return found * 1e-6 * factor if found is not None else instead or 0.0

    # A counter without a price of its own is billed as what it is a part of, as genai-prices does.
    plain, write = token("input_mtok"), token("cache_write_mtok", token("input_mtok"))
    searches = _at(getattr(price, "web_searches_kcount", None), start)
    return Rates(
        start,
        plain,
        token("output_mtok"),
        token("cache_read_mtok", plain),
        write,
        token("cache_write_1h_mtok", write),
        (searches or 0.0) * 1e-3,
        source,
    )


def _at(price: Any, start: int) -> float | None:
    """The price per unit of a request whose input is just above `start`; a tier covers the whole request."""
    if price is None:
        return None
    price_of_tier = {tier.start: tier.price for tier in getattr(price, "tiers", ()) if 0 < tier.start <= start}
    return float(price_of_tier[max(price_of_tier)] if price_of_tier else getattr(price, "base", price))


@cache
def _model(provider: str | None, model: str) -> Any:
    from genai_prices import data_snapshot  # a third of a second to import, and not every process prices anything

    snapshot = data_snapshot.get_snapshot()
    for attempt in ((_PROVIDERS.get(provider, provider) if provider else None), None):
        try:
            return snapshot.find_provider_model(model, None, attempt, None)[1]
        except LookupError:
            continue
    return None


@cache
def _version() -> str:
    from importlib.metadata import version

    return version("genai-prices")


def context_window(provider: str | None, model: str) -> int | None:
    """Input tokens the model takes at most, as genai-prices knows it; None where it does not."""
    found = _model(provider, model)
    return None if found is None else found.context_window
