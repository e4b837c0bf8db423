"""Tokens and dollars. The rates are written out by hand from the price pages, in US dollars per million tokens."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from instrument.prices import Condition, ModelRates, Prices, parse_prices
from instrument.store.connect import in_memory
from instrument.store.load import Loader
from tests.store.build import document, loaded, model, rows, span

M = 1e-6


def cost(**attrs: Any) -> Any:
    return rows(
        loaded(document(model("m", **attrs), scope="com.anthropic.sdk.python")),
        "SELECT cost_usd, price_source FROM spans",
    )[0]


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({}, 1000 * 3 * M + 100 * 15 * M),
        ({"gen_ai__usage__cache_read__input_tokens": 400}, 600 * 3 * M + 400 * 0.3 * M + 100 * 15 * M),
        ({"gen_ai__usage__cache_write__input_tokens": 400}, 600 * 3 * M + 400 * 3.75 * M + 100 * 15 * M),
        (
            {
                "gen_ai__usage__cache_write__input_tokens": 400,
                "anthropic__usage__cache_creation__ephemeral_1h_input_tokens": 300,
                "anthropic__usage__cache_creation__ephemeral_5m_input_tokens": 100,
            },
            600 * 3 * M + 100 * 3.75 * M + 300 * 6 * M + 100 * 15 * M,
        ),
        ({"flyball__usage__web_searches": 3}, 1000 * 3 * M + 100 * 15 * M + 3 * 0.01),
        (
            {"gen_ai__request__model": "claude-haiku-5-5", "gen_ai__usage__input_tokens": 100_000},
            100_000 * 0.1 * M + 100 * 0.5 * M,
        ),
        (
            {"gen_ai__request__model": "claude-haiku-5-5", "gen_ai__usage__input_tokens": 100_001},
            100_001 * 0.5 * M + 100 * 2.5 * M,
        ),
        ({"gen_ai__request__model": "claude-opus-5-5"}, 1000 * 4 * M + 100 * 20 * M),
        (
            {"gen_ai__request__model": "claude-opus-5-5", "flyball__response__inference_geo": "us"},
            1.1 * (1000 * 4 * M + 100 * 20 * M),
        ),
        (
            {"gen_ai__request__model": "claude-sonnet-5-5", "gen_ai__usage__cache_read__input_tokens": 1000},
            1000 * 0.1 * M + 100 * 10 * M,
        ),
    ],
)
def test_a_call_costs_what_the_price_page_says(attrs: dict[str, Any], expected: float):
    found, source = cost(**attrs)
    assert found == pytest.approx(expected, abs=1e-12)
    assert source.startswith("genai-prices")


def test_unknown_is_unknown_and_says_why():
    assert cost(gen_ai__request__model="my-own-model") == (None, "unknown: no price for the model")
    assert cost(gen_ai__request__model="my-own-model", operation__cost=0.25) == (0.25, "reported")
    con = loaded(document(span("m", gen_ai__operation__name="chat", gen_ai__request__model="claude-sonnet-4-5")))
    assert rows(con, "SELECT cost_usd, price_source, usage_state FROM spans") == [
        (None, "unknown: no usage", "missing")
    ]


def test_tokens_on_an_agent_span_are_a_sum_and_not_counted():
    con = loaded(
        document(
            span("a", gen_ai__operation__name="invoke_agent", gen_ai__usage__input_tokens=5000),
            model("m", parent="a", at=1),
        )
    )
    assert rows(con, "SELECT sum(input_tokens), sum(cost_usd) IS NOT NULL FROM spans") == [(1000, True)]


def test_cache_tokens_beside_the_input_are_added_to_it():
    """Anthropic's raw counters exclude the cache; more cache than input is the sign."""
    con = loaded(document(model("m", gen_ai__usage__input_tokens=10, gen_ai__usage__cache_read__input_tokens=500)))
    assert rows(con, "SELECT input_tokens, uncached_input_tokens, cache_read_tokens FROM spans") == [(510, 10, 500)]


def test_a_stream_that_was_cut_has_partial_usage():
    con = loaded(
        document(
            model("m", gen_ai__request__stream=True),
            model("n", at=1, gen_ai__request__stream=True, gen_ai__response__finish_reasons=["end_turn"]),
        )
    )
    assert rows(con, "SELECT usage_state, finish_reason FROM spans ORDER BY step") == [
        ("partial", None),
        ("complete", "end_turn"),
    ]


def test_the_users_own_prices_go_first():
    prices = parse_prices({"prices": {"claude-sonnet-4-5": {"input": 1, "output": 2, "cache_read": 0.5}}})
    con = in_memory()
    with Loader(con, prices=prices) as loader:
        loader.add(document(model("m", gen_ai__usage__cache_read__input_tokens=400)), "x")
        loader.finish()
    assert rows(con, "SELECT cost_usd, price_source FROM spans") == [
        (pytest.approx(600 * M + 400 * 0.5 * M + 200 * M), "user")
    ]


def test_the_single_call_form_agrees_with_the_store():
    found, _ = cost(gen_ai__usage__cache_read__input_tokens=300)
    condition = Condition("anthropic", "claude-sonnet-4-5", date(2026, 9, 21))
    assert Prices().cost_usd(
        condition, uncached_input_tokens=700, cache_read_tokens=300, output_tokens=100
    ) == pytest.approx(found, abs=1e-12)
    assert (
        Prices().cost_usd(Condition(None, "nobody-knows", date(2026, 1, 1)), uncached_input_tokens=1, output_tokens=1)
        is None
    )
    assert Prices({"m": ModelRates(1, 1)}).rates(Condition(None, "m", date(2026, 1, 1)))[0].source == "user"
