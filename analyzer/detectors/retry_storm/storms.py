"""Failed attempts in the order of time, and where they are dense."""

from __future__ import annotations

from typing import Final

import polars as pl

_WHO: Final = ("run_key", "kind", "who")
_NS: Final = 1_000_000_000


def waves(calls: pl.DataFrame, seconds: float) -> pl.DataFrame:
    """One row is one attempt at a tool or model (`run_key`, `kind`, `who`): calls that overlap in time, which nobody
    made because another had failed. So an error that was copied to the spans around it counts once, and so do parallel
    calls.

    `failures`: how often it failed, the client's own retries included; `weight`: how many of these fall within so many
    `seconds`, if they were evenly spread; `worked`: it did not fail in the end, or for another reason than transport.
    """
    start, end = pl.col("start_ns"), pl.max_horizontal("start_ns", "end_ns")
    # What is known from messages alone has the time of the answer that asked for it: there the turn tells what was parallel.
    apart = (start >= end.cum_max().shift()) & ~(pl.col("inferred") & (pl.col("turn") == pl.col("turn").shift()))
    return (
        calls.sort("run_key", "kind", "who", "start_ns", "step")
        .with_columns(wave=apart.over(_WHO).fill_null(True).cum_sum())
        .group_by("wave", *_WHO, maintain_order=True)
        .agg(
            steps="step",
            turn=pl.col("turn").first(),
            last_turn=pl.col("turn").last(),
            start_ns=start.first(),
            end_ns=end.max(),
            resent=pl.col("resent").max(),
            failures=(pl.col("resent") + pl.col("transport").cast(pl.Int64)).max(),
            worked=(~pl.col("transport")).any(),
            succeeded=(~pl.col("failed")).any(),
            failure_kind=pl.col("failure_kind").drop_nulls().first(),
            inferred=pl.col("failure_inferred").any(),
        )
        .sort("wave")
        .with_columns(share=(seconds * _NS / (pl.col("end_ns") - start)).clip(upper_bound=1).fill_nan(1))
        .with_columns(weight=pl.col("failures") - (pl.col("resent") * (1 - pl.col("share"))).ceil().cast(pl.Int64))
    )


def dense(attempts: pl.DataFrame, calls: int, seconds: float) -> pl.DataFrame:
    """One row is one storm: the attempts of one stretch without a success that lie in some time of so many `seconds`
    with at least `calls` failures.
    """
    width, start = int(seconds * _NS), pl.col("start_ns")
    # A success with retries before it belongs to the failures it ends.
    stretch = pl.col("worked").cast(pl.Int32).shift(1, fill_value=0).cum_sum().over(_WHO)
    failing = (
        attempts.with_columns(stretch=stretch, later=pl.col("succeeded").cum_sum(reverse=True).over(_WHO))
        .filter(pl.col("failures") > 0)
        .with_columns(stretch=pl.struct(*_WHO, "stretch").rle_id(), place=pl.int_range(pl.len()))
    )
    # Sums over the time before each attempt, without a window per row: what had failed by now less what had failed before that time.
    total = pl.col("weight").cum_sum().over("stretch")
    counted = failing.with_columns(total=total, since=start - width)
    before = counted.select("stretch", until=start, before="total")
    counted = counted.join_asof(
        before,
        left_on="since",
        right_on="until",
        by="stretch",
        strategy="backward",
        allow_exact_matches=False,
        check_sortedness=False,
    )
    full = pl.col("total") - pl.col("before").fill_null(0) >= calls
    return _summed(
        counted.with_columns(storm=pl.when(full).then(start).fill_null(strategy="backward").over("stretch"))
        .filter(pl.col("storm") - start <= width)
        .with_columns(gap=(pl.col("place").diff() != 1) | (start.diff() > width))
        .with_columns(storm=pl.struct("stretch", pl.col("gap").fill_null(False).cum_sum()).rle_id())
    )


def _summed(attempts: pl.DataFrame) -> pl.DataFrame:
    turn = pl.col("turn")
    return (
        attempts.group_by("storm", maintain_order=True)
        .agg(
            pl.col(_WHO).first(),
            steps=pl.col("steps").explode(),
            attempts=pl.col("failures").sum(),
            resent=pl.col("resent").sum(),
            seconds=(
                pl.max_horizontal(pl.col("start_ns").max(), pl.when(pl.col("resent") > 0).then(pl.col("end_ns")).max())
                - pl.col("start_ns").min()
            )
            / _NS,
            first_turn=turn.first(),
            second_turn=turn.filter(turn > turn.first()).first(),
            last_turn=pl.col("last_turn").last(),
            failure_kind=pl.col("failure_kind").drop_nulls().first(),
            inferred=pl.col("inferred").any(),
            recovered=pl.col("later").last() > 0,
        )
        .with_columns(pl.col("steps").list.sort())
        .with_columns(first_step=pl.col("steps").list.first())
    )
