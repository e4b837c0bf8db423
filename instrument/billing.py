"""What a request may cost before it is sent, and what it did cost, from the usage in the answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from instrument import semconv
from instrument.prices import Condition, Prices

SEARCHES: Final = 10
"""Web searches that a request without `max_uses` is taken to make at most; the API sets no limit of its own."""
_SERVICE_TIER: Final = "anthropic.response.service_tier"
_COMPACTION_INPUT: Final = "anthropic.usage.compaction.input_tokens"
_COMPACTION_OUTPUT: Final = "anthropic.usage.compaction.output_tokens"
_COUNTED: Final = ("input_tokens", "output_tokens")
"""What every usage says; one that does not is not known, and not free."""


@dataclass(frozen=True, slots=True)
class Worst:
    """The most a request can cost: `fixed_usd` for its input and searches, and `output_usd` for each output token."""

    fixed_usd: float
    output_usd: float

    def usd(self, max_tokens: int) -> float:
        """With at most so many output tokens."""
        return self.fixed_usd + self.output_usd * max_tokens

    def fitting_tokens(self, usd: float) -> int:
        """Output tokens that `usd` pay for at least; negative where not even the input fits."""
        left = usd - self.fixed_usd
        if left < 0:
            return -1
        return 2**31 if self.output_usd == 0 else math.floor(left / self.output_usd + 1e-9)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer or, summed, of a run. `input_tokens` holds all input, that read from and written to the cache included."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
        )


def worst_case(
    prices: Prices, body: Mapping[str, Any], input_tokens: int, day: date, marks: frozenset[str] = frozenset()
) -> Worst | None:
    """The most that `body`, a request to `/v1/messages` of at most `input_tokens`, can cost; None where its price is not known.
    `marks`: what `cache_marks` found in it.

    Each input token is taken at the dearest rate that applies: cache writes cost more than plain input, and a price that rises with the
    length of the request is taken at the highest step within reach.
    """
    steps = [
        r
        for r in prices.rates(_condition(body, str(body.get("model")), day, {}))
        if r.above_input_tokens == 0 or r.above_input_tokens < input_tokens
    ]
    if not steps:
        return None
    rate = max(
        max(r.input, r.cache_write_1h if "1h" in marks else 0.0, r.cache_write_5m if marks else 0.0) for r in steps
    )
    searches = sum(
        int(t.get("max_uses") or SEARCHES)
        for t in body.get("tools") or ()
        if isinstance(t, Mapping) and str(t.get("type", "")).startswith("web_search")
    )
    search = max(0.0 if r.web_search is None else r.web_search for r in steps)
    if searches and not search:
        return None
    fixed = input_tokens * rate + searches * search + max(r.request for r in steps)
    return Worst(fixed, max(r.output for r in steps))


def cost(prices: Prices, body: Mapping[str, Any], answer: Mapping[str, Any], day: date) -> float | None:
    """What an answer cost in US dollars, by the model that gave it; None where its usage or its price is not known.

    `usage.iterations` (beta) lists the passes of one request that the top-level counters leave out, compaction for one.
    """
    usage = answer.get("usage")
    if not isinstance(usage, Mapping) or any(not isinstance(usage.get(name), int) for name in _COUNTED):
        return None
    model = str(answer.get("model") or body.get("model"))
    condition = _condition(body, model, day, usage)
    if not prices.rates(condition):
        condition = _condition(body, str(body.get("model")), day, usage)
    extra = [i for i in usage.get("iterations") or () if isinstance(i, Mapping) and i.get("type") == "compaction"]
    server = usage.get("server_tool_use") or {}
    costs = [
        prices.cost_usd(
            condition,
            uncached_input_tokens=_count(part, "input_tokens"),
            output_tokens=_count(part, "output_tokens"),
            cache_read_tokens=_count(part, "cache_read_input_tokens"),
            cache_write_5m_tokens=_count(part, "cache_creation_input_tokens") - _hour(part),
            cache_write_1h_tokens=_hour(part),
            web_searches=_count(server, "web_search_requests") if part is usage else 0,
        )
        for part in (usage, *extra)
    ]
    return None if any(c is None for c in costs) else sum(c for c in costs if c is not None)


def cost_of_span(attributes: Mapping[str, Any], prices: Prices, day: date) -> float | None:
    """What a model call cost by the attributes of its span (`semconv`); None where usage or price are not known."""
    told = attributes.get(semconv.COST_USD)
    if isinstance(told, (int, float)):
        return float(told)
    model = attributes.get(semconv.RESPONSE_MODEL) or attributes.get(semconv.REQUEST_MODEL)
    whole, output = attributes.get(semconv.INPUT_TOKENS), attributes.get(semconv.OUTPUT_TOKENS)
    if not isinstance(model, str) or not isinstance(whole, int) or not isinstance(output, int):
        return None
    read = _count(attributes, semconv.CACHE_READ_TOKENS)
    write, hour = _count(attributes, semconv.CACHE_WRITE_TOKENS), _count(attributes, semconv.CACHE_WRITE_1H_TOKENS)
    provider, tier, speed, geo = (
        value if isinstance(value := attributes.get(name), str) else None
        for name in (semconv.PROVIDER, _SERVICE_TIER, semconv.SPEED, semconv.INFERENCE_GEO)
    )
    condition = Condition(provider, model, day, tier, speed, geo)
    asked = attributes.get(semconv.REQUEST_MODEL)
    if isinstance(asked, str) and not prices.rates(condition):
        condition = replace(condition, model=asked)
    usd = prices.cost_usd(
        condition,
        uncached_input_tokens=max(0, whole - read - write),
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_5m_tokens=max(0, write - hour),
        cache_write_1h_tokens=min(hour, write),
        web_searches=_count(attributes, semconv.WEB_SEARCHES),
    )
    shortened = (_count(attributes, _COMPACTION_INPUT), _count(attributes, _COMPACTION_OUTPUT))
    if usd is None or not any(shortened):
        return usd
    # The pass that shortened the conversation is billed beside the counters, at the price of its own length.
    extra = prices.cost_usd(condition, uncached_input_tokens=shortened[0], output_tokens=shortened[1])
    return None if extra is None else usd + extra


def tokens(answer: Mapping[str, Any]) -> Usage | None:
    """The tokens of an answer; None where it does not say."""
    usage = answer.get("usage")
    if not isinstance(usage, Mapping):
        return None
    read, write = _count(usage, "cache_read_input_tokens"), _count(usage, "cache_creation_input_tokens")
    return Usage(_count(usage, "input_tokens") + read + write, _count(usage, "output_tokens"), read, write)


def cache_marks(value: Any) -> frozenset[str]:
    """Life times (`5m`, `1h`) of the cache writes that a request, or a part of one, asks for."""
    if isinstance(value, Mapping):
        mark = value.get("cache_control")
        own = frozenset({str(mark.get("ttl", "5m"))}) if isinstance(mark, Mapping) else frozenset[str]()
        return own.union(*(cache_marks(v) for v in value.values() if isinstance(v, (Mapping, list, tuple))))
    if isinstance(value, (list, tuple)):
        return frozenset[str]().union(*(cache_marks(v) for v in value if isinstance(v, (Mapping, list, tuple))))
    return frozenset()


def _condition(body: Mapping[str, Any], model: str, day: date, usage: Mapping[str, Any]) -> Condition:
    def said(name: str) -> str | None:
        value = usage.get(name) or body.get(name)
        return value if isinstance(value, str) else None

    return Condition("anthropic", model, day, said("service_tier"), said("speed"), said("inference_geo"))


def _count(values: Mapping[str, Any], name: str) -> int:
    found = values.get(name)
    return found if isinstance(found, int) and found > 0 else 0


def _hour(usage: Mapping[str, Any]) -> int:
    """Cache writes kept for an hour, never more than all of them."""
    created = usage.get("cache_creation")
    hour = _count(created, "ephemeral_1h_input_tokens") if isinstance(created, Mapping) else 0
    return min(hour, _count(usage, "cache_creation_input_tokens"))
