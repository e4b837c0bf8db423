"""How full the context was after each request, and how many turns were left by then: what `trends` says of a run's end, at every step."""

from __future__ import annotations

from typing import Final

import polars as pl

from analyzer.detectors import context_growth

_OF: Final = ("run_key", "model")
_CONTEXT: Final = (*_OF, "context")


def growing(requests: pl.DataFrame) -> pl.DataFrame:
    """`requests` (`run_key`, `model`, `turn`, `input_tokens`, `window_tokens`; all known, in order) with `share` of the window in use,
    and `turns_left` until it is full at the rate of the context so far; null while there is no trend, or it does not grow."""
    tokens, turn = pl.col("input_tokens"), pl.col("turn")
    compacted = (tokens < context_growth.DROP * tokens.shift()).over(_OF).fill_null(False)
    split = requests.with_columns(compacted=compacted).with_columns(context=pl.col("compacted").cum_sum().over(_OF))
    rate = (tokens - tokens.first()) / (turn - turn.first())
    trend = pl.int_range(1, pl.len() + 1) >= context_growth.TREND_REQUESTS
    return split.with_columns(
        share=(tokens / pl.col("window_tokens")).round(6),
        rate=pl.when(trend & (rate > 0)).then(rate).over(_CONTEXT),
    ).with_columns(turns_left=((pl.col("window_tokens") - tokens) / pl.col("rate")).floor().cast(pl.Float64))
