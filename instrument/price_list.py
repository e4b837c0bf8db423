"""Rates of the genai-prices data set (offline, by date), with what it leaves out.

Rates for batch, fast mode and service tiers are listed from the day they entered the data set, not from the day they were
offered. Before it they are taken as the same share of that day's standard price, and the source of the price says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cache
from typing import Any, Final

from instrument.price_names import spellings
from instrument.rates import Condition, Rates

GEO_MULTIPLIERS: Final = {("anthropic", "us"): Decimal("1.1")}
"""Anthropic bills tokens of requests pinned to US inference (`inference_geo: us`) at 1.1 times the rate
(platform.claude.com, pricing, "Data residency"); genai-prices 0.2.3 does not know it."""
NO_MODEL: Final = "no price for the model"
NO_TIER: Final = "no price for the service tier"
NO_SPEED: Final = "no price for the speed"

_HALF: Final = frozenset({"anthropic", "openai", "azure", "aws", "google"})
"""Bill batches at half the price by their price pages, also where the data set has no batch price for a model."""
_STANDARD: Final = frozenset({"", "standard", "standard_only", "default", "auto", "on_demand"})
_WITHOUT_A_LIST: Final = frozenset({("anthropic", "priority")})
"""Tiers that are bought ahead and have no price by the token: what they replace is the standard price."""
_TOKENS: Final = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok")
_OTHERS: Final = ("web_searches_kcount", "requests_kcount")
_NOON: Final = 24
_Listed = dict[str, Any]
"""Price by key of the data set: a Decimal, one with steps (`TieredPrices`), or None."""


def listed(condition: Condition) -> tuple[Rates, ...] | str:
    """The steps of the price, lowest first; else why there is none."""
    found = _found(condition.provider, condition.model)
    if found is None:
        return NO_MODEL
    provider, model = found
    at = _moment(condition)
    standard = model.get_prices(at)
    if standard.input_mtok is None or standard.output_mtok is None:
        return NO_MODEL
    prices: _Listed = {key: getattr(standard, key) for key in (*_TOKENS, *_OTHERS)}
    source = f"genai-prices {_version()}"
    for name, value, problem in _asked(provider, condition):
        since = _vary(prices, provider, model, {name: value}, at)
        if since is None:
            return problem
        source += since
    factor = GEO_MULTIPLIERS.get((provider, (condition.inference_geo or "").strip().lower()))
    if factor is not None:
        prices |= {key: _times(prices[key], factor) for key in _TOKENS}
        source += f", {factor} times for its region"
    starts = sorted({0} | {tier.start for price in prices.values() for tier in getattr(price, "tiers", ())})
    return tuple(_step(prices, start, source) for start in starts)


def has_hours(provider: str | None, model: str) -> bool:
    """Whether the price depends on the time of the day."""
    found = _found(provider, model)
    prices = found[1].prices if found is not None else None
    return isinstance(prices, list) and any(hasattr(p.constraint, "start_time") for p in prices)


def _moment(condition: Condition) -> datetime:
    half_hour = _NOON if condition.half_hour is None else condition.half_hour
    return datetime.combine(condition.day, time(half_hour // 2, half_hour % 2 * 30), UTC)


def _asked(provider: str, condition: Condition) -> Iterator[tuple[str, str, str]]:
    """What was asked for beyond the standard: name and value as the data set has them, and what to say where it has no such price."""
    tier = (condition.service_tier or "").strip().lower()
    if tier == "batch":
        yield "processing", "batch", NO_TIER
    elif tier not in _STANDARD and (provider, tier) not in _WITHOUT_A_LIST:
        yield "service_tier", tier, NO_TIER
    if (condition.speed or "").strip().lower() == "fast":
        yield "speed", "fast", NO_SPEED


def _vary(prices: _Listed, provider: str, model: Any, when: dict[str, str], at: datetime) -> str | None:
    """Puts what `when` changes into `prices`. Returns what to add to the source, None where the data set does not know."""
    variants = [variant for variant in model.price_variants or () if variant.when == when]
    active = [v for v in variants if v.constraint is None or v.constraint.active(at)]
    if active:
        prices |= _stated(active[0])
        return ""
    if variants:
        first = min(variants, key=lambda v: v.constraint.start_date)
        since = first.constraint.start_date
        then = model.get_prices(datetime.combine(since, time(), UTC))
        for key, price in _stated(first).items():
            usual = getattr(then, key)
            if usual is not None and prices[key] is not None:
                prices[key] = _times(prices[key], _base(price) / _base(usual))
        return f", {next(iter(when.values()))} as listed on {since}"
    if "processing" in when and provider in _HALF:
        prices |= {key: _times(prices[key], Decimal("0.5")) for key in _TOKENS}
        return ", batch at half"
    return None


def _stated(variant: Any) -> _Listed:
    return {key: price for key, price in vars(variant.prices).items() if key in _TOKENS and price is not None}


def _base(price: Any) -> Decimal:
    base: Decimal = getattr(price, "base", price)
    return base


def _times(price: Any, factor: Decimal) -> Any:
    from genai_prices.types import Tier, TieredPrices

    if price is None:
        return None
    if not hasattr(price, "tiers"):
        return price * factor
    return TieredPrices(price.base * factor, [Tier(tier.start, tier.price * factor) for tier in price.tiers])


def _step(prices: _Listed, start: int, source: str) -> Rates:
    plain, output, read, write, hour, search, request = (_at(prices[key], start) for key in (*_TOKENS, *_OTHERS))
    # A counter without a price of its own is billed as what it is a part of, as genai-prices does.
    write = plain if write is None else write
    return Rates(
        start,
        _each(plain, 1_000_000),
        _each(output, 1_000_000),
        _each(plain if read is None else read, 1_000_000),
        _each(write, 1_000_000),
        _each(write if hour is None else hour, 1_000_000),
        None if search is None else _each(search, 1_000),
        source,
        _each(request, 1_000),
    )


def _each(price: Decimal | None, of: int) -> float:
    return float((price or Decimal(0)) / of)


def _at(price: Any, start: int) -> Decimal | None:
    """The price of a request whose input is just above `start`; a step covers the whole request."""
    if price is None:
        return None
    price_of_tier = {tier.start: tier.price for tier in getattr(price, "tiers", ()) if 0 < tier.start <= start}
    return price_of_tier[max(price_of_tier)] if price_of_tier else _base(price)


@cache
def _found(provider: str | None, model: str) -> tuple[str, Any] | None:
    """The provider's id and the model in the data set."""
    from genai_prices import data_snapshot  # a third of a second to import, and not every process prices anything

    snapshot = data_snapshot.get_snapshot()
    for home, name in dict.fromkeys(spellings(provider, model)):
        try:
            found, listed_model = snapshot.find_provider_model(name, None, home, None)
        except LookupError:
            continue
        return found.id, listed_model
    return None


@cache
def _version() -> str:
    from importlib.metadata import version

    return version("genai-prices")
