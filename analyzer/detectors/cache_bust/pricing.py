"""What tokens cost beyond their price from the cache."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import polars as pl

from instrument.prices import Condition, Prices

_CONDITION: Final = ("provider", "model", "day")
_RATES: Final = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
_TOLERANCE: Final = 0.02
"""The call's own cost may differ so much from ours; beyond that it was billed by other rates (batch, a user's own),
which we do not know here."""


def extra_usd(calls: pl.DataFrame) -> pl.DataFrame:
    """`calls` (rows of `busts`) plus `extra_usd`: `lost_tokens` at what they were billed as, less the same read from
    the cache. Null: not known."""
    day = pl.from_epoch(pl.col("start_ns"), time_unit="ns").dt.date()
    dated = calls.with_row_index("row").with_columns(day=day)
    rates = _rates(dated.select(_CONDITION).unique(maintain_order=True))
    priced = (
        dated.sort("input_tokens")
        .join_asof(
            rates.sort("above"),
            left_on="input_tokens",
            right_on="above",
            by=_CONDITION,
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .sort("row")
    )
    plain = pl.col("input_tokens") - pl.col("read") - pl.col("written")
    short = pl.col("written") - pl.col("written_1h")
    write = pl.when(pl.col("written_1h") > 0).then("cache_write_1h").otherwise("cache_write_5m")
    ours = (
        plain * pl.col("input")
        + pl.col("read") * pl.col("cache_read")
        + short * pl.col("cache_write_5m")
        + pl.col("written_1h") * pl.col("cache_write_1h")
        + pl.col("output_tokens") * pl.col("output")
    )
    right = (ours - pl.col("cost_usd")).abs() <= _TOLERANCE * pl.col("cost_usd")
    again = pl.min_horizontal("lost_tokens", "written")
    billed = again * write + (pl.col("lost_tokens") - again) * pl.col("input")
    return priced.with_columns(
        extra_usd=pl.when(right).then(billed - pl.col("lost_tokens") * pl.col("cache_read"))
    ).drop("row", "day", "above", *_RATES)


def _rates(conditions: pl.DataFrame) -> pl.DataFrame:
    prices = Prices()
    rows = [
        # The first step holds for a request of any size.
        (provider, model, day, step.above_input_tokens or -1, *(getattr(step, name) for name in _RATES))
        for provider, model, day in conditions.iter_rows()
        for step in (prices.rates(Condition(provider, model, day or datetime.now(UTC).date())) if model else ())
    ]
    schema = {
        "provider": pl.String,
        "model": pl.String,
        "day": pl.Date,
        "above": pl.Int64,
        **dict.fromkeys(_RATES, pl.Float64),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")
