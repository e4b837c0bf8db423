"""What a request may cost, and what it did cost."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrument import billing
from instrument.billing import Usage, Worst
from instrument.prices import Prices

MODEL, DAY, PRICES = "claude-sonnet-5-5", date(2026, 11, 30), Prices()
INPUT, OUTPUT, WRITE_5M, WRITE_1H, READ = 2e-6, 10e-6, 2.5e-6, 4e-6, 0.1e-6


def body(**more: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 1000, "messages": [], **more}


def answer(**usage: Any) -> dict[str, Any]:
    return {"model": MODEL, "usage": usage}


def cost(sent: dict[str, Any], got: dict[str, Any]) -> float | None:
    return billing.cost(PRICES, sent, got, DAY)


def test_the_cost_of_an_answer() -> None:
    created = {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 20}
    got = answer(
        input_tokens=100,
        output_tokens=10,
        cache_read_input_tokens=40,
        cache_creation_input_tokens=50,
        cache_creation=created,
    )
    assert cost(body(), got) == pytest.approx(100 * INPUT + 10 * OUTPUT + 40 * READ + 30 * WRITE_5M + 20 * WRITE_1H)
    assert billing.tokens(got) == Usage(190, 10, 40, 50)


@pytest.mark.parametrize(
    "usage", [None, {}, {"output_tokens": 3}, {"input_tokens": 3}, {"input_tokens": None, "output_tokens": 3}]
)
def test_a_usage_that_does_not_say_everything_is_not_known_and_not_free(usage: Any) -> None:
    assert cost(body(), {"model": MODEL, "usage": usage}) is None


def test_a_model_without_a_price_has_no_cost_and_no_worst_case() -> None:
    nobody = body(model="claude-of-nobody")
    assert billing.cost(PRICES, nobody, {"usage": {"input_tokens": 1, "output_tokens": 1}}, DAY) is None
    assert billing.worst_case(PRICES, nobody, 100, DAY) is None


def test_the_passes_that_the_counters_leave_out_are_paid_too() -> None:
    usage = {"input_tokens": 10, "output_tokens": 1}
    passes = [{"type": "message", **usage}, {"type": "compaction", "input_tokens": 500, "output_tokens": 50}]
    assert cost(body(), answer(**usage, iterations=passes)) == pytest.approx(510 * INPUT + 51 * OUTPUT)


def test_the_worst_case_is_the_dearest_way_to_take_the_input() -> None:
    assert billing.worst_case(PRICES, body(), 1000, DAY) == Worst(pytest.approx(1000 * INPUT), pytest.approx(OUTPUT))
    for marks, rate in (({"5m"}, WRITE_5M), ({"5m", "1h"}, WRITE_1H)):
        found = billing.worst_case(PRICES, body(), 1000, DAY, frozenset(marks))
        assert found is not None
        assert found.fixed_usd == pytest.approx(1000 * rate)


def test_searches_are_part_of_the_worst_case() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    found = billing.worst_case(PRICES, body(tools=[search]), 0, DAY)
    assert found is not None
    assert found.fixed_usd == pytest.approx(3 * 0.01)
    assert cost(
        body(), answer(input_tokens=0, output_tokens=0, server_tool_use={"web_search_requests": 3})
    ) == pytest.approx(0.03)


@given(st.integers(0, 10**6), st.floats(0, 20))
def test_what_fits_fits_and_one_token_more_does_not(input_tokens: int, usd: float) -> None:
    worst = billing.worst_case(PRICES, body(), input_tokens, DAY)
    assert worst is not None
    tokens = worst.fitting_tokens(usd)
    assert tokens < 0 or worst.usd(tokens) <= usd + 1e-9
    assert worst.usd(tokens + 1) > usd - 1e-9


@given(
    st.integers(0, 10**5),
    st.integers(0, 10**5),
    st.integers(0, 10**5),
    st.integers(0, 10**5),
    st.integers(0, 1000),
    st.booleans(),
)
def test_no_answer_within_the_bounds_costs_more_than_the_worst_case(
    plain: int, read: int, short: int, long: int, output: int, marked: bool
) -> None:
    created = {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long} if marked else {}
    writes = {"cache_creation_input_tokens": short + long, "cache_creation": created} if marked else {}
    usage = {"input_tokens": plain, "output_tokens": output, "cache_read_input_tokens": read, **writes}
    marks = frozenset({"5m", "1h"}) if marked else frozenset[str]()
    total = plain + read + (short + long if marked else 0)
    worst, real = billing.worst_case(PRICES, body(), total, DAY, marks), cost(body(), answer(**usage))
    assert worst is not None
    assert real is not None
    assert real <= worst.usd(1000) + 1e-12


def test_marks_of_the_cache_are_found_wherever_they_are() -> None:
    marked = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
    hour = {"name": "t", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert billing.cache_marks([None, "x", [{"content": [marked]}], (hour,)]) == {"5m", "1h"}
    assert billing.cache_marks(body()) == frozenset()
