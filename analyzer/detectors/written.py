"""The words of what calls that write were answered: of one text written again and again, the answers differ in nothing but numbers."""

from __future__ import annotations

import polars as pl

from analyzer.detectors.changes import Effect
from analyzer.detectors.stories import CALL
from analyzer.frames import Frames
from instrument.effects import writes
from instrument.sameness import loose_result_key


def with_words(frames: Frames, calls: pl.DataFrame, times: int) -> pl.DataFrame:
    """`calls` (with `effect`) plus `words_key`: key of the words of the result, where a call that writes was made `times` times or more and
    its results were not all the same; else null.
    """
    often = calls.filter(
        pl.col("effect") == Effect.CHANGES, pl.col("call_key").is_not_null(), pl.col("result_key").is_not_null()
    ).filter(pl.len().over(CALL) >= times, pl.col("result_key").n_unique().over(CALL) > 1)
    if often.is_empty():
        return calls.with_columns(words_key=pl.lit(None, pl.UInt64))
    told = frames.said(often.select("run_key", "step", "tool_name"))
    keys = [
        loose_result_key(result) if writes(tool, arguments) else None
        for tool, arguments, result in told.select("tool_name", "arguments", "result").iter_rows()
    ]
    told = told.select("run_key", "step", words_key=pl.Series(keys, dtype=pl.UInt64))
    return calls.join(told, on=["run_key", "step"], how="left", maintain_order="left")
