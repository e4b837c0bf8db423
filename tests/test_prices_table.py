"""What calls cost, against sums written out by hand from the public price pages, exact to a billionth of a dollar.

Rates are US dollars per million tokens: platform.claude.com, openai.com/api/pricing, ai.google.dev, aws.amazon.com/bedrock/pricing,
api-docs.deepseek.com, docs.x.ai, docs.perplexity.ai. No expected number is worked out by the code under test.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any

import pytest

from instrument.billing import cost_of_span
from instrument.otlp import Span
from instrument.prices import Prices, parse_prices
from instrument.store.connect import in_memory
from instrument.store.load import Loader
from tests.store.build import SECOND_NS, START_NS, document, rows, span

M = 1e-6
SEARCH = 10 / 1000
"""A web search at Anthropic and OpenAI: $10 per thousand."""
EXACT = 1e-9
LIST = f"genai-prices {version('genai-prices')}"


@dataclass(frozen=True)
class Call:
    """A model call and what it costs; None: nobody knows."""

    name: str
    facts: dict[str, Any]
    usd: float | None
    source: str = LIST
    on: str = "2026-11-20T12:00"


def call(model: str, plain: int, out: int, **more: Any) -> dict[str, Any]:
    """Attributes by the conventions: the input holds what was read from and written to the cache."""
    read, write, hour = more.pop("read", 0), more.pop("write", 0), more.pop("hour", None)
    facts: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": model,
        "gen_ai.provider.name": more.pop("provider", "anthropic"),
        "gen_ai.usage.input_tokens": plain + read + write,
        "gen_ai.usage.output_tokens": out,
    }
    if read:
        facts["gen_ai.usage.cache_read.input_tokens"] = read
    if write:
        facts["gen_ai.usage.cache_write.input_tokens"] = write
    if hour is not None:
        facts["anthropic.usage.cache_creation.ephemeral_1h_input_tokens"] = hour
        facts["anthropic.usage.cache_creation.ephemeral_5m_input_tokens"] = write - hour
    names = {
        "tier": "anthropic.response.service_tier",
        "openai_tier": "openai.response.service_tier",
        "speed": "flyball.response.speed",
        "geo": "flyball.response.inference_geo",
        "searches": "flyball.usage.web_searches",
        "reasoning": "gen_ai.usage.reasoning.output_tokens",
        "answered_by": "gen_ai.response.model",
    }
    return facts | {names.get(name, name): value for name, value in more.items()}


def openai(model: str, plain: int, out: int, **more: Any) -> dict[str, Any]:
    return call(model, plain, out, provider="openai", **more)


def google(model: str, plain: int, out: int, **more: Any) -> dict[str, Any]:
    return call(model, plain, out, provider="gcp.gemini", **more)


SONNET, OPUS, HAIKU = "claude-sonnet-4-5", "claude-opus-5-5", "claude-haiku-5-5"

CALLS = [
    # Plain input and output
    Call("sonnet", call(SONNET, 1000, 100), 1000 * 3 * M + 100 * 15 * M),
    Call("opus", call(OPUS, 12_345, 678), 12_345 * 4 * M + 678 * 20 * M),
    Call("haiku", call("claude-haiku-4-5", 7, 3), 7 * 1 * M + 3 * 5 * M),
    Call("nothing used", call(SONNET, 0, 0), 0.0),
    Call("gpt-4o", openai("gpt-4o", 1000, 100), 1000 * 2.5 * M + 100 * 10 * M),
    Call("gpt-4.1-mini", openai("gpt-4.1-mini", 1000, 100), 1000 * 0.4 * M + 100 * 1.6 * M),
    Call("gemini", google("gemini-2.5-flash-lite", 1000, 100), 1000 * 0.1 * M + 100 * 0.4 * M),
    Call("grok", call("grok-4-0709", 1000, 100, provider="x_ai"), 1000 * 3 * M + 100 * 15 * M),
    Call("nova", call("amazon.nova-lite-v1:0", 1000, 100, provider="aws.bedrock"), 1000 * 0.06 * M + 100 * 0.24 * M),
    # By the request: Perplexity's Sonar, $12 per thousand requests beside its tokens
    Call("sonar", call("sonar", 1000, 100, provider="perplexity"), 1000 * 1 * M + 100 * 1 * M + 12 / 1000),
    # The prompt cache: read, written for five minutes, for an hour, for both, for nobody says how long
    Call("read", call(SONNET, 600, 100, read=400), 600 * 3 * M + 400 * 0.3 * M + 100 * 15 * M),
    Call("read at a fortieth", call(OPUS, 10, 1, read=90_000), 10 * 4 * M + 90_000 * 0.2 * M + 1 * 20 * M),
    Call("written 5 min", call(SONNET, 600, 100, write=400, hour=0), 600 * 3 * M + 400 * 3.75 * M + 100 * 15 * M),
    Call("written 1 h", call(SONNET, 600, 100, write=400, hour=400), 600 * 3 * M + 400 * 6 * M + 100 * 15 * M),
    Call("written both", call(SONNET, 600, 100, write=400, hour=300), 600 * 3 * M + 100 * 3.75 * M + 300 * 6 * M + 100 * 15 * M),
    Call("written", call(SONNET, 600, 100, write=400), 600 * 3 * M + 400 * 3.75 * M + 100 * 15 * M),
    Call("read and written", call(OPUS, 5, 50, read=20_000, write=3_000, hour=1_000),
         5 * 4 * M + 20_000 * 0.2 * M + 2_000 * 5 * M + 1_000 * 8 * M + 50 * 20 * M),
    Call("lifetimes without their sum",
         call(SONNET, 1000, 100, **{"anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 300}),
         700 * 3 * M + 300 * 6 * M + 100 * 15 * M),
    Call("an hour longer than all", call(SONNET, 600, 100, write=400, **{
        "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 900}), 600 * 3 * M + 400 * 6 * M + 100 * 15 * M),
    # OpenAI and Google count what was cached within the input
    Call("gpt-4o cached", openai("gpt-4o", 200, 100, read=800), 200 * 2.5 * M + 800 * 1.25 * M + 100 * 10 * M),
    Call("gpt-5 cached", openai("gpt-5", 200, 100, read=800), 200 * 1.25 * M + 800 * 0.125 * M + 100 * 10 * M),
    Call("gpt-6 written", openai("gpt-6-sol", 200, 100, write=800), 200 * 2 * M + 800 * 2.5 * M + 100 * 10 * M),
    Call("gemini cached", google("gemini-2.5-pro", 200, 100, read=800), 200 * 1.25 * M + 800 * 0.125 * M + 100 * 10 * M),
    # Anthropic's own way, beside the input: told by an input smaller than its cache
    Call("raw counters", {**call(SONNET, 10, 100), "gen_ai.usage.cache_read.input_tokens": 500},
         10 * 3 * M + 500 * 0.3 * M + 100 * 15 * M),
    # Reasoning is part of the output, and Gemini's thoughts are beside it
    Call("reasoning", openai("o3", 1000, 500, reasoning=400), 1000 * 2 * M + 500 * 8 * M),
    Call("nothing but reasoning", openai("o4-mini", 1000, 400, reasoning=400), 1000 * 1.1 * M + 400 * 4.4 * M),
    Call("thinking", call(OPUS, 1000, 500, reasoning=100), 1000 * 4 * M + 500 * 20 * M),
    Call("thoughts beside", google("gemini-2.5-flash", 1000, 50, reasoning=700), 1000 * 0.3 * M + 750 * 2.5 * M),
    # Batches at half
    Call("batch", call(SONNET, 1000, 100, tier="batch"), 1000 * 1.5 * M + 100 * 7.5 * M),
    Call("batch with cache", call(SONNET, 600, 100, read=300, write=100, tier="batch"),
         600 * 1.5 * M + 300 * 0.15 * M + 100 * 1.875 * M + 100 * 7.5 * M),
    Call("batch of last year", call(SONNET, 1000, 100, tier="batch"), 1000 * 1.5 * M + 100 * 7.5 * M,
         f"{LIST}, batch as listed on 2026-10-14", "2025-12-01T08:00"),
    Call("batch before a new price", openai("gpt-5.6-sol", 1000, 100, openai_tier="batch"), 1000 * 2.5 * M + 100 * 15 * M,
         f"{LIST}, batch as listed on 2026-10-14", "2026-08-01T08:00"),
    Call("gpt batch", openai("gpt-5", 200, 100, read=800, openai_tier="batch"), 200 * 0.625 * M + 800 * 0.0625 * M + 100 * 5 * M),
    Call("long batch", call(SONNET, 250_000, 100, tier="batch"), 250_000 * 3 * M + 100 * 11.25 * M),
    Call("bedrock batch", call("us.anthropic.claude-haiku-4-5-20251001-v1:0", 1000, 100, provider="aws.bedrock", tier="batch"),
         1000 * 0.55 * M + 100 * 2.75 * M, f"{LIST}, batch at half"),
    # Fast mode at twice
    Call("fast", call(OPUS, 1000, 100, speed="fast"), 1000 * 8 * M + 100 * 40 * M),
    Call("fast with cache", call(OPUS, 600, 100, read=300, write=100, hour=100, speed="fast"),
         600 * 8 * M + 300 * 0.4 * M + 100 * 16 * M + 100 * 40 * M),
    Call("standard speed", call(OPUS, 1000, 100, speed="standard"), 1000 * 4 * M + 100 * 20 * M),
    Call("fast without a price", call(SONNET, 1000, 100, speed="fast"), None, "unknown: no price for the speed"),
    # Service tiers
    Call("standard tier", call(SONNET, 1000, 100, tier="standard"), 1000 * 3 * M + 100 * 15 * M),
    Call("anthropic priority", call(SONNET, 1000, 100, tier="priority"), 1000 * 3 * M + 100 * 15 * M),
    Call("priority", openai("gpt-5", 200, 100, read=800, openai_tier="priority"), 200 * 2.5 * M + 800 * 0.25 * M + 100 * 20 * M),
    Call("flex", openai("gpt-5", 1000, 100, openai_tier="flex"), 1000 * 0.625 * M + 100 * 5 * M),
    Call("flex of last summer", openai("o3", 1000, 100, openai_tier="flex"), 1000 * 1 * M + 100 * 4 * M,
         f"{LIST}, flex as listed on 2026-10-12", "2025-07-01T08:00"),
    Call("default tier", openai("gpt-5", 1000, 100, openai_tier="default"), 1000 * 1.25 * M + 100 * 10 * M),
    Call("old names", openai("gpt-5", 1000, 100, **{"gen_ai.openai.response.service_tier": "flex"}),
         1000 * 0.625 * M + 100 * 5 * M),
    Call("tier without a price", openai("gpt-4.1", 1000, 100, openai_tier="scale"), None, "unknown: no price for the service tier"),
    # Where it was computed
    Call("us", call(OPUS, 600, 100, read=400, geo="us"), 1.1 * (600 * 4 * M + 400 * 0.2 * M + 100 * 20 * M),
         f"{LIST}, 1.1 times for its region"),
    Call("global", call(OPUS, 1000, 100, geo="global"), 1000 * 4 * M + 100 * 20 * M),
    Call("us batch", call(OPUS, 1000, 100, geo="us", tier="batch"), 1.1 * (1000 * 2 * M + 100 * 10 * M)),
    Call("us search", call(OPUS, 1000, 100, geo="us", searches=2), 1.1 * (1000 * 4 * M + 100 * 20 * M) + 2 * SEARCH),
    Call("us of others", openai("gpt-4o", 1000, 100, geo="us"), 1000 * 2.5 * M + 100 * 10 * M),
    # Long context: the whole request at the higher price, and the cache counts
    Call("at the step", call(SONNET, 200_000, 100), 200_000 * 3 * M + 100 * 15 * M),
    Call("above the step", call(SONNET, 200_001, 100), 200_001 * 6 * M + 100 * 22.5 * M),
    Call("above by its cache", call(SONNET, 1, 100, read=150_000, write=50_000),
         1 * 6 * M + 150_000 * 0.6 * M + 50_000 * 7.5 * M + 100 * 22.5 * M),
    Call("haiku's step", call(HAIKU, 100_000, 100), 100_000 * 0.1 * M + 100 * 0.5 * M),
    Call("above haiku's step", call(HAIKU, 100_001, 100), 100_001 * 0.5 * M + 100 * 2.5 * M),
    Call("long gemini", google("gemini-2.5-pro", 200, 100, read=200_000), 200 * 2.5 * M + 200_000 * 0.25 * M + 100 * 15 * M),
    Call("long gpt", openai("gpt-5.4", 272_001, 100), 272_001 * 5 * M + 100 * 22.5 * M),
    # By the day, and for DeepSeek by the hour
    Call("o3 at first", openai("o3", 1000, 100), 1000 * 10 * M + 100 * 40 * M, on="2025-06-09T23:59"),
    Call("o3 cut", openai("o3", 1000, 100), 1000 * 2 * M + 100 * 8 * M, on="2025-06-10T00:00"),
    Call("opus 4.6 long, at first", call("claude-opus-4-6", 200_001, 100), 200_001 * 10 * M + 100 * 37.5 * M, on="2026-03-12T12:00"),
    Call("opus 4.6 long, later", call("claude-opus-4-6", 200_001, 100), 200_001 * 5 * M + 100 * 25 * M, on="2026-03-13T12:00"),
    Call("deepseek by day", call("deepseek-v4-pro", 1000, 100, provider="deepseek"),
         1000 * 1.32 * M + 100 * 3.96 * M, on="2026-11-20T03:59"),
    Call("deepseek by night", call("deepseek-v4-pro", 1000, 100, provider="deepseek"),
         1000 * 0.66 * M + 100 * 1.98 * M, on="2026-11-20T04:00"),
    # Web searches
    Call("searches", call(SONNET, 1000, 100, searches=3), 1000 * 3 * M + 100 * 15 * M + 3 * SEARCH),
    Call("google searches", google("gemini-2.5-pro", 1000, 100, searches=2), 1000 * 1.25 * M + 100 * 10 * M + 2 * 35 / 1000),
    Call("searches without a price", call("claude-3-haiku-20240307", 1000, 100, searches=1), None,
         "unknown: no price for web searches"),
    # A compaction is a pass of its own, at the price of its own length, and not in the other counters
    Call("compaction", call(SONNET, 1000, 100, **{"anthropic.usage.compaction.input_tokens": 150_000,
         "anthropic.usage.compaction.output_tokens": 2_000}), 151_000 * 3 * M + 2_100 * 15 * M),
    Call("a long compaction", call(HAIKU, 1000, 100, **{"anthropic.usage.compaction.input_tokens": 150_000,
         "anthropic.usage.compaction.output_tokens": 2_000}), 1000 * 0.1 * M + 100 * 0.5 * M + 150_000 * 0.5 * M + 2_000 * 2.5 * M),
    # Names
    Call("dated", call("claude-sonnet-4-5-20250929", 1000, 100), 1000 * 3 * M + 100 * 15 * M),
    Call("bedrock", call("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 1000, 100, provider="aws.bedrock"),
         1000 * 3.3 * M + 100 * 16.5 * M),
    Call("bedrock global", call("global.anthropic.claude-sonnet-4-5-20250929-v1:0", 1000, 100, provider="aws.bedrock"),
         1000 * 3 * M + 100 * 15 * M),
    Call("bedrock by Anthropic's client", call("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", 1000, 100), 1000 * 3.3 * M + 100 * 16.5 * M),
    Call("vertex", call("claude-sonnet-4-5@20250929", 1000, 100, provider="gcp.vertex_ai"), 1000 * 3 * M + 100 * 15 * M),
    Call("vertex by Anthropic's client", call("claude-opus-5-5@20261001", 1000, 100), 1000 * 4 * M + 100 * 20 * M),
    Call("proxy", call("bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0", 1000, 100, provider="litellm"),
         1000 * 1.1 * M + 100 * 5.5 * M),
    Call("path", call("anthropic/claude-sonnet-4.5", 1000, 100, provider="gateway"), 1000 * 3 * M + 100 * 15 * M),
    Call("colon", call("openai:gpt-4o", 1000, 100, provider=""), 1000 * 2.5 * M + 100 * 10 * M),
    Call("google's path", call("publishers/google/models/gemini-2.5-pro", 1000, 100, provider=""), 1000 * 1.25 * M + 100 * 10 * M),
    Call("azure", call("gpt-4o", 1000, 100, provider="azure.ai.openai"), 1000 * 2.5 * M + 100 * 10 * M),
    Call("vercel", call("claude-sonnet-4-5", 1000, 100, provider="anthropic.messages"), 1000 * 3 * M + 100 * 15 * M),
    Call("claude code's note", call("claude-sonnet-4-5[1m]", 200_001, 100), 200_001 * 6 * M + 100 * 22.5 * M),
    Call("dated and compact", openai("gpt-4o-20240806", 1000, 100), 1000 * 2.5 * M + 100 * 10 * M),
    Call("the answerer", call("claude-haiku-4-5", 1000, 100, answered_by="claude-opus-5-5"), 1000 * 4 * M + 100 * 20 * M),
    Call("the asked, for an answerer nobody knows", openai("gpt-4o", 1000, 100, answered_by="deployment-7"), 1000 * 2.5 * M + 100 * 10 * M),
    # Unknown stays unknown
    Call("unknown model", call("my-own-model", 1000, 100), None, "unknown: no price for the model"),
    Call("own machine", call("deepseek-r1:14b", 1000, 100, provider="ollama"), None, "unknown: no price for the model"),
    Call("no model", {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 5}, None,
         "unknown: no model"),
    Call("no usage", {"gen_ai.operation.name": "chat", "gen_ai.request.model": SONNET}, None, "unknown: no usage"),
    Call("no output", {"gen_ai.operation.name": "chat", "gen_ai.request.model": SONNET, "gen_ai.usage.input_tokens": 5}, None,
         "unknown: no usage"),
    Call("negative input", call(SONNET, -1000, 100), None, "unknown: no usage"),
    Call("absurd output", call(SONNET, 1000, 2**60), None, "unknown: no usage"),
    Call("negative cache", {**call(SONNET, 1000, 100), "gen_ai.usage.cache_read.input_tokens": -5}, 1000 * 3 * M + 100 * 15 * M),
    Call("negative searches", call(SONNET, 1000, 100, searches=-3), 1000 * 3 * M + 100 * 15 * M),
    # What the producer says
    Call("reported, without a list price", {**call("my-own-model", 1000, 100), "operation.cost": 0.25}, 0.25, "reported"),
    Call("reported as billed", {**call(SONNET, 1000, 100), "flyball.cost_usd": 0.25, "flyball.cost.source": "reported"}, 0.25, "reported"),
    Call("a list price before a library's", {**call(SONNET, 1000, 100), "operation.cost": 0.25}, 1000 * 3 * M + 100 * 15 * M),
]  # fmt: skip

OWN = """
[prices."my-own-model"]
input = 1.0
output = 2.0

[prices."claude-sonnet-4-5"]
input = 2.0
output = 12.0
cache_read = 0.2
cache_write_5m = 2.5
cache_write_1h = 4.0
web_search = 8
service_tier = { batch = 0.4, priority = 1.5 }
speed = { fast = 3 }
inference_geo = { us = 1.2 }
long_context = [{ above_input_tokens = 100_000, input = 4, output = 20, cache_read = 0.4 }]
changes = [{ since = 2027-01-01, input = 1, output = 5 }]
"""
MINE = [
    Call("own", call("my-own-model", 1000, 100), 1000 * 1 * M + 100 * 2 * M, "user"),
    Call("own cache", call("my-own-model", 600, 100, read=300, write=100), 1000 * 1 * M + 100 * 2 * M, "user"),
    Call("own batch", call("my-own-model", 1000, 100, tier="batch"), (1000 * 1 * M + 100 * 2 * M) / 2, "user"),
    Call("own unknown search", call("my-own-model", 1000, 100, searches=1), None, "unknown: no price for web searches"),
    Call("instead of the list", call(SONNET, 1000, 100), 1000 * 2 * M + 100 * 12 * M, "user"),
    Call("all counters", call(SONNET, 500, 100, read=300, write=200, hour=150, searches=2),
         500 * 2 * M + 300 * 0.2 * M + 50 * 2.5 * M + 150 * 4 * M + 100 * 12 * M + 2 * 8 / 1000, "user"),
    Call("own batch share", call(SONNET, 1000, 100, tier="batch"), 0.4 * (1000 * 2 * M + 100 * 12 * M), "user"),
    Call("own tier", call(SONNET, 1000, 100, tier="priority"), 1.5 * (1000 * 2 * M + 100 * 12 * M), "user"),
    Call("own speed and region", call(SONNET, 1000, 100, speed="fast", geo="us"), 3 * 1.2 * (1000 * 2 * M + 100 * 12 * M), "user"),
    Call("own step", call(SONNET, 1, 100, read=100_000), 1 * 4 * M + 100_000 * 0.4 * M + 100 * 20 * M, "user"),
    Call("own change", call(SONNET, 1000, 100), 1000 * 1 * M + 100 * 5 * M, "user", "2027-01-01T00:00"),
    Call("all its names", call("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 1000, 100, provider="aws.bedrock"),
         1000 * 2 * M + 100 * 12 * M, "user"),
    Call("no other's", call("claude-sonnet-4-6", 1000, 100), 1000 * 3 * M + 100 * 15 * M),
]  # fmt: skip


def told(number: int, one: Call) -> Span:
    at = datetime.fromisoformat(one.on).replace(tzinfo=UTC).timestamp() - START_NS / SECOND_NS
    return span("m", trace=str(number), at=at, **one.facts)


@cache
def priced(own: str) -> list[tuple[float | None, str]]:
    """Cost and price source of each call, in order."""
    calls = MINE if own else CALLS
    con = in_memory()
    with Loader(con, prices=parse_prices(tomllib.loads(own)) if own else Prices()) as loader:
        loader.add(document(*(told(n, one) for n, one in enumerate(calls)), scope="some.library"), "x")
        loader.finish()
    found = {t: (usd, source) for t, usd, source in rows(con, "SELECT trace_id, cost_usd, price_source FROM spans")}
    return [found[told(n, one).traceId] for n, one in enumerate(calls)]


@pytest.mark.parametrize("number", range(len(CALLS)), ids=[c.name for c in CALLS])
def test_a_call_costs_what_the_price_pages_say(number: int) -> None:
    check(CALLS[number], *priced("")[number])


@pytest.mark.parametrize("number", range(len(MINE)), ids=[c.name for c in MINE])
def test_the_users_own_prices_go_first(number: int) -> None:
    check(MINE[number], *priced(OWN)[number])


def check(one: Call, usd: float | None, source: str) -> None:
    assert usd == (None if one.usd is None else pytest.approx(one.usd, rel=0, abs=EXACT)), one.name
    assert source.startswith(one.source)


LIVE = (
    "sonnet",
    "read",
    "written both",
    "batch",
    "fast",
    "us",
    "above by its cache",
    "searches",
    "bedrock",
    "unknown model",
    "no usage",
)


@pytest.mark.parametrize("one", [c for c in CALLS if c.name in LIVE], ids=lambda c: c.name)
def test_a_guard_that_counts_by_the_span_counts_the_same(one: Call) -> None:
    usd = cost_of_span(one.facts, Prices(), datetime.fromisoformat(one.on).date())
    assert usd == (None if one.usd is None else pytest.approx(one.usd, rel=0, abs=EXACT))


def test_there_are_enough_cases_and_each_is_another() -> None:
    assert len(CALLS) + len(MINE) >= 60
    assert len({c.name for c in (*CALLS, *MINE)}) == len(CALLS) + len(MINE)
