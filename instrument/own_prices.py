"""A user's own prices, as `[prices."model"]` of `flyball.toml` gives them. They go before any list."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from math import prod
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from instrument.price_names import plain
from instrument.rates import Condition, Rates

Rate = Annotated[float, Meta(ge=0)]
_BATCH: Final = 0.5
"""What every provider that has a batch API lists for it."""


class TokenRates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars per million tokens; `web_search` per thousand searches. What is left out of the cache counters costs as `input`."""

    input: Rate
    output: Rate
    cache_read: Rate | None = None
    cache_write_5m: Rate | None = None
    cache_write_1h: Rate | None = None
    web_search: Rate | None = None


class LongRates(TokenRates, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rates of requests whose whole input, the cache included, is above so many tokens."""

    above_input_tokens: Annotated[int, Meta(gt=0)]


class FullRates(TokenRates, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rates with all they depend on."""

    long_context: tuple[LongRates, ...] = ()
    service_tier: dict[str, Rate] = {}
    speed: dict[str, Rate] = {}
    inference_geo: dict[str, Rate] = {}


class Change(FullRates, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rates from a day (UTC) on, instead of those before."""

    since: date


class ModelRates(FullRates, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Prices of one model in US dollars per million tokens, as `[prices."model"]` in `flyball.toml`; `web_search` per thousand.

    What is left out of the cache counters costs as `input`. `long_context` lists further rates, each with `above_input_tokens`,
    that hold for the whole request; `changes` lists rates that replace all of these from a day on, each with `since`.
    `service_tier`, `speed` and `inference_geo` multiply the price of tokens: `service_tier = { batch = 0.5, priority = 1.75 }`,
    `speed = { fast = 2 }`, `inference_geo = { us = 1.1 }`; what they do not name costs the same, `batch` half.
    A name without date, version and provider stands for the model under all its names.
    """

    changes: tuple[Change, ...] = ()


def own_rates(own: Mapping[str, ModelRates], condition: Condition) -> tuple[Rates, ...]:
    """The steps of the user's price, lowest first; empty where the user has none for the model."""
    found = own.get(condition.model) or own.get(plain(condition.model))
    if found is None:
        return ()
    begun = [change for change in found.changes if change.since <= condition.day]
    now: FullRates = max(begun, key=lambda change: change.since) if begun else found
    factor = prod((
        ({"batch": _BATCH} | now.service_tier).get(_word(condition.service_tier), 1.0),
        now.speed.get(_word(condition.speed), 1.0),
        now.inference_geo.get(_word(condition.inference_geo), 1.0),
    ))  # fmt: skip
    steps = sorted(now.long_context, key=lambda step: step.above_input_tokens)
    return _step(now, now, 0, factor), *(_step(step, now, step.above_input_tokens, factor) for step in steps)


def _word(said: str | None) -> str:
    return (said or "").strip().lower()


def _step(rates: TokenRates, first: TokenRates, above_input_tokens: int, factor: float) -> Rates:
    read = rates.input if rates.cache_read is None else rates.cache_read
    write = rates.input if rates.cache_write_5m is None else rates.cache_write_5m
    hour = write if rates.cache_write_1h is None else rates.cache_write_1h
    search = first.web_search if rates.web_search is None else rates.web_search
    million = factor * 1e-6
    return Rates(
        above_input_tokens,
        rates.input * million,
        rates.output * million,
        read * million,
        write * million,
        hour * million,
        None if search is None else search * 1e-3,
        "user",
    )
