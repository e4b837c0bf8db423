"""What was wasted: tokens, dollars and seconds of useless turns, and what detectors know of turns that were not useless as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from analyzer.frames import Frames

OWN: Final = pl.List(
    pl.Struct(
        {
            "turn": pl.Int32,
            "tokens": pl.Int64,
            "cost_usd": pl.Float64,
            "seconds": pl.Float64,
            "idle_seconds": pl.Float64,
        }
    )
)
"""Type of a pattern's `own_waste`: what was wasted within a turn that was not useless as a whole (null: not known), and for how many
seconds after it (`idle_seconds`) nothing was under way. One entry a turn at most."""

# A turn's tokens and cost are not known where any of its model calls has none; a turn without a recorded model call has none known either.
# Its time is known where its first call's start and its last one's end were measured; a call of a tool that is not declared never ran.
_SPENT: Final = """
WITH calls AS (
    SELECT run_key, kind, input_tokens + output_tokens AS tokens, cost_usd, start_ns, end_ns,
        inferred AND declared IS FALSE AS void,
        void OR coalesce(inferred_times NOT IN ('start', 'both'), true) AS begun,
        void OR coalesce(inferred_times NOT IN ('end', 'both'), true) AS ended,
        if(max(turn) OVER (PARTITION BY run_key) = 0, step, turn) AS turn
    FROM spans WHERE duplicate_of IS NULL AND kind IN ('model', 'tool') AND run_key IN (SELECT run_key FROM wanted)
)
SELECT c.run_key, c.turn::INTEGER AS turn,
    if(count(*) FILTER (kind = 'model') = count(tokens), sum(tokens), NULL)::BIGINT AS tokens,
    if(count(*) FILTER (kind = 'model') = count(cost_usd), sum(cost_usd), NULL) AS cost_usd,
    if(count(*) = count(start_ns) AND count(*) = count(end_ns) AND arg_min(begun, start_ns) AND arg_max(ended, end_ns),
        (max(end_ns) - min(start_ns)) / 1e9, NULL) AS seconds
FROM calls c JOIN wanted w ON w.run_key = c.run_key AND w.turn = c.turn GROUP BY ALL ORDER BY ALL
"""


@dataclass(frozen=True, slots=True)
class Waste:
    """What a pattern wasted; None where any of it is not known. `seconds` is wall time within useless turns, and idle time after turns."""

    tokens: int | None
    cost_usd: float | None
    seconds: float | None


def wasted(frames: Frames, patterns: pl.DataFrame) -> tuple[dict[int, Waste], pl.DataFrame]:
    """Waste by `pattern`, out of `patterns` (`pattern`, `run_key`, `useless_turns`, `own_waste`); and all of it together, where one row is
    one turn (`run_key`, `turn`) with the `tokens`, `cost_usd` and `seconds` that were wasted by it, however many patterns name it."""
    turns = patterns.select("pattern", "run_key", turn="useless_turns").explode("turn").drop_nulls()
    spent = spent_in(frames, turns.select("run_key", "turn").unique())
    own = patterns.select("pattern", "run_key", "own_waste").explode("own_waste").drop_nulls().unnest("own_waste")
    parts = pl.concat(
        [
            turns.join(spent, on=["run_key", "turn"], how="left").select("pattern", *_MEASURES),
            own.select("pattern", "tokens", "cost_usd", seconds=pl.col("seconds") + pl.col("idle_seconds")),
        ]
    )
    summed = parts.group_by("pattern").agg(
        pl.when(pl.col(c).null_count() == 0).then(pl.col(c).sum()) for c in _MEASURES
    )
    by_pattern = {pattern: Waste(tokens, cost, seconds) for pattern, tokens, cost, seconds in summed.iter_rows()}
    return by_pattern, _together(spent, own)


_MEASURES: Final = ("tokens", "cost_usd", "seconds")


def _together(spent: pl.DataFrame, own: pl.DataFrame) -> pl.DataFrame:
    """Of a turn that was useless as a whole no part is added, but for the time after it."""
    most = own.group_by("run_key", "turn").agg(pl.col(*_MEASURES, "idle_seconds").max())
    whole = spent.join(most.select("run_key", "turn", "idle_seconds"), on=["run_key", "turn"], how="left").with_columns(
        seconds=pl.col("seconds") + pl.col("idle_seconds").fill_null(0)
    )
    parts = most.join(spent, on=["run_key", "turn"], how="anti").with_columns(
        seconds=pl.col("seconds") + pl.col("idle_seconds")
    )
    columns = ("run_key", "turn", *_MEASURES)
    return pl.concat([whole.select(columns), parts.select(columns)])


def by_run(useless: Sequence[pl.DataFrame]) -> dict[int, float]:
    """Known US dollars by `run_key`, of the useless turns that `wasted` put together."""
    known = [turns.select("run_key", "cost_usd").drop_nulls() for turns in useless if len(turns)]
    return dict(pl.concat(known).group_by("run_key").agg(pl.col("cost_usd").sum()).iter_rows()) if known else {}


def spent_in(frames: Frames, turns: pl.DataFrame) -> pl.DataFrame:
    """One row is one turn of `turns` (`run_key`, `turn`), with `tokens` (input and output), `cost_usd` and `seconds`; null is not known."""
    if turns.is_empty():
        return turns.with_columns(
            tokens=pl.lit(None, pl.Int64), cost_usd=pl.lit(None, pl.Float64), seconds=pl.lit(None, pl.Float64)
        )
    return frames.ask(_SPENT, wanted=turns).with_columns(pl.col("run_key", "turn").cast(pl.Int32))
