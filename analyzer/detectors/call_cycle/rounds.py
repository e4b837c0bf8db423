"""Where a sequence of calls repeats itself."""

from __future__ import annotations

from typing import Final

import polars as pl

_ODD: Final = pl.lit(0x9E3779B97F4A7C15, pl.UInt64)


def periodic(sequence: pl.DataFrame, longest: int, rounds: int) -> pl.DataFrame:
    """One row is one longest stretch of `sequence` (`part`, `call_key`, `result_key`) that repeats with a `period` of
    2 to `longest` calls for so many rounds: the row numbers of its `first` and `last` call. Nothing that repeats a
    single call, and of the periods of one stretch the smallest.
    """
    # Two keys as one number.
    calls = sequence.select("part", same=pl.col("call_key") * _ODD + pl.col("result_key"))
    changes = calls.select((pl.col("same") != pl.col("same").shift()).fill_null(False).cum_sum()).to_series()
    found = pl.DataFrame(schema={"first": pl.Int64, "last": pl.Int64, "period": pl.Int64})
    for period in range(2, longest + 1):
        more = _with_period(calls, period, rounds)
        more = more.filter(changes.gather(more["first"]) != changes.gather(more["last"]))
        found = pl.concat([found, _outside(more, found)]).sort("first")
    return found


def _with_period(calls: pl.DataFrame, period: int, rounds: int) -> pl.DataFrame:
    again = (pl.col("same") == pl.col("same").shift(period)) & (pl.col("part") == pl.col("part").shift(period))
    return (
        calls.select(again=again.fill_null(False), place=pl.int_range(pl.len()))
        .with_columns(stretch=pl.col("again").rle_id())
        .filter("again")
        .group_by("stretch", maintain_order=True)
        .agg(first=pl.col("place").first() - period, last=pl.col("place").last())
        .select("first", "last", period=pl.lit(period, pl.Int64))
        .filter(pl.col("last") - pl.col("first") + 1 >= rounds * period)
    )


def _outside(stretches: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """`stretches` without what lies within one that was `found`: what repeats every two calls does so every four."""
    reach = found.select("first", reach=pl.col("last").cum_max())
    within = stretches.join_asof(reach, on="first").with_columns(pl.col("reach").fill_null(-1))
    return within.filter(pl.col("reach") < pl.col("last")).drop("reach")
