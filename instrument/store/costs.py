"""What each staged model call cost: one row of rates per (model, condition, input step), joined."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, Final

import duckdb
import pyarrow as pa

from instrument.prices import Condition, Prices

_CONDITION: Final = "provider, coalesce(response_model, request_model) AS model, CAST(make_timestamp_ns(start_ns) AS DATE) AS day, service_tier, speed, inference_geo"


_COUNTERS: Final = """
    -- Cache tokens above the input mean a producer that counts them beside it (Anthropic's own way), not inside.
    SELECT *, coalesce(cache_write_tokens, cache_write_5m_tokens + cache_write_1h_tokens) AS written,
        CASE WHEN coalesce(cache_read_tokens, 0) + coalesce(cache_write_tokens, 0) > input_tokens OR dialect = 'claude-code'
            THEN input_tokens + coalesce(cache_read_tokens, 0) + coalesce(cache_write_tokens, 0) ELSE input_tokens END AS whole_input
    FROM (SELECT * REPLACE (
        {only_models}
    ) FROM stage)
"""
_MODEL_COLUMNS: Final = (
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens",
    "reasoning_tokens", "web_searches", "compaction_input_tokens", "compaction_output_tokens",
)  # fmt: skip


_SUM: Final = """(
    (whole_input - coalesce(cache_read_tokens, 0) - coalesce(written, 0)) * r.input + coalesce(cache_read_tokens, 0) * r.cache_read
    -- What is written without a stated life time is kept five minutes, the API's default.
    + (coalesce(written, 0) - coalesce(cache_write_1h_tokens, 0)) * r.cache_write_5m + coalesce(cache_write_1h_tokens, 0) * r.cache_write_1h
    + output_tokens * r.output + coalesce(web_searches, 0) * r.web_search
    + coalesce(compaction_input_tokens, 0) * r.input + coalesce(compaction_output_tokens, 0) * r.output
)"""


def register_rates(con: duckdb.DuckDBPyConnection, prices: Prices) -> None:
    """Registers `flyball_rates`: one row of rates for each model, condition and step of input found in `stage`."""
    conditions = con.execute(
        f"SELECT DISTINCT {_CONDITION} FROM stage WHERE kind = 'model' AND start_ns IS NOT NULL"
    ).fetchall()
    con.register("flyball_rates", _rates(conditions, prices))


def priced() -> str:
    """SELECT over `stage` and `flyball_rates`: counters put right, and `usage_state`, `cost_usd` and `price_source` beside them."""
    return f"""
        SELECT c.*,
            CASE WHEN kind <> 'model' THEN NULL
                WHEN whole_input IS NULL AND output_tokens IS NULL THEN 'missing'
                WHEN whole_input IS NULL OR output_tokens IS NULL THEN 'partial'
                -- A stream that was cut has counters of its beginning.
                WHEN coalesce(streaming, false) AND finish_reason IS NULL THEN 'partial'
                ELSE 'complete' END AS usage_state,
            CASE WHEN kind = 'model' THEN coalesce({_SUM}, reported_usd) END AS cost_usd,
            CASE WHEN kind <> 'model' THEN NULL
                WHEN {_SUM} IS NOT NULL THEN r.source
                WHEN reported_usd IS NOT NULL THEN 'reported'
                WHEN whole_input IS NULL OR output_tokens IS NULL THEN 'unknown: no usage'
                WHEN coalesce(response_model, request_model) IS NULL THEN 'unknown: no model'
                ELSE 'unknown: no price for the model' END AS price_source
        FROM ({_counters()}) AS c LEFT JOIN flyball_rates AS r
            ON r.provider IS NOT DISTINCT FROM c.provider AND r.model = coalesce(c.response_model, c.request_model)
            AND r.day = CAST(make_timestamp_ns(c.start_ns) AS DATE) AND r.service_tier IS NOT DISTINCT FROM c.service_tier
            AND r.speed IS NOT DISTINCT FROM c.speed AND r.inference_geo IS NOT DISTINCT FROM c.inference_geo
            AND c.kind = 'model' AND (c.whole_input > r.above OR r.above = 0) AND (c.whole_input <= r.below OR r.below IS NULL)
    """


def _counters() -> str:
    """SELECT over `stage` with token counters on model calls only, `written` and `whole_input` worked out."""
    only = ", ".join(f"CASE WHEN kind = 'model' AND {c} >= 0 THEN {c} END AS {c}" for c in _MODEL_COLUMNS)
    return _COUNTERS.format(only_models=only)


def _rates(conditions: list[tuple[Any, ...]], prices: Prices) -> pa.Table:
    rows = []
    for condition in conditions:
        provider, model, day, tier, speed, geo = condition
        if model is None or day is None:
            continue
        steps = prices.rates(Condition(provider, model, day, tier, speed, geo))
        for step, following in zip_longest(steps, steps[1:]):
            below = None if following is None else following.above_input_tokens
            rows.append(
                (
                    *condition,
                    step.above_input_tokens,
                    below,
                    step.input,
                    step.output,
                    step.cache_read,
                    step.cache_write_5m,
                    step.cache_write_1h,
                    step.web_search,
                    step.source,
                )
            )
    text, real = pa.string(), pa.float64()
    types = {
        "provider": text, "model": text, "day": pa.date32(), "service_tier": text, "speed": text, "inference_geo": text, "above": pa.int64(), "below": pa.int64(),
        "input": real, "output": real, "cache_read": real, "cache_write_5m": real, "cache_write_1h": real, "web_search": real, "source": text,
    }  # fmt: skip
    by_column = list(zip(*rows, strict=True)) if rows else [()] * len(types)
    return pa.table([pa.array(list(v), t) for v, t in zip(by_column, types.values(), strict=True)], names=list(types))
