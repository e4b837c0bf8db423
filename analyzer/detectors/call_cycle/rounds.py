"""Where a sequence of calls repeats itself."""

from __future__ import annotations

from typing import Final

import polars as pl

_ODD: Final = pl.lit(0x9E3779B97F4A7C15, pl.UInt64)


def periodic(sequence: pl.DataFrame, longest: int, rounds: int) -> pl.DataFrame:
    """One row is one longest stretch of `sequence` (`part`, `call_key`, `result_key`) that repeats with a `period` of 2 to `longest` calls for
    so many rounds: the row numbers of its `first` and `last` call. Nothing that repeats a single call, and of the periods of one stretch the
    smallest.
    """
    # Two keys as one number.
    calls = sequence.select("part", same=pl.col("call_key") * _ODD + pl.col("result_key"))
    found = pl.concat(_with_period(calls, period, rounds) for period in range(2, longest + 1))
    varied = calls.select(other=(pl.col("same") != pl.col("same").shift()).fill_null(False).cum_sum()).to_series()
    alike = pl.Series(varied.gather(found["first"])) == varied.gather(found["last"])
    return _smallest(found.filter(~alike)).sort("first", "last")


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


def _smallest(found: pl.DataFrame) -> pl.DataFrame:
    """`found` without what lies within a stretch of a smaller period: what repeats every two calls does so every four."""
    numbered = found.with_row_index("number")
    within = numbered.join_where(
        found,
        pl.col("period") > pl.col("period_right"),
        pl.col("first") >= pl.col("first_right"),
        pl.col("last") <= pl.col("last_right"),
    )
    return numbered.join(within.select("number"), on="number", how="anti").drop("number")
