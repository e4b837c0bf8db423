"""What turns cost: tokens, dollars and seconds of one model call and the tools it asked for."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from analyzer.frames import Frames

# A turn's tokens and cost are not known where any of its model calls has none; a turn without a recorded model call has none known either.
_SPENT = """
WITH calls AS (
    SELECT run_key, kind, input_tokens + output_tokens AS tokens, cost_usd, start_ns, end_ns,
        if(max(turn) OVER (PARTITION BY run_key) = 0, step, turn) AS turn
    FROM spans WHERE duplicate_of IS NULL AND kind IN ('model', 'tool') AND run_key IN (SELECT run_key FROM wanted)
)
SELECT c.run_key, c.turn::INTEGER AS turn,
    if(count(*) FILTER (kind = 'model') = count(tokens), sum(tokens), NULL)::BIGINT AS tokens,
    if(count(*) FILTER (kind = 'model') = count(cost_usd), sum(cost_usd), NULL) AS cost_usd,
    (max(end_ns) - min(start_ns)) / 1e9 AS seconds
FROM calls c JOIN wanted w ON w.run_key = c.run_key AND w.turn = c.turn GROUP BY ALL ORDER BY ALL
"""


@dataclass(frozen=True, slots=True)
class Waste:
    """What a pattern's useless turns cost; None where any of it is not known. `seconds` is wall time within the turns."""

    tokens: int | None
    cost_usd: float | None
    seconds: float | None

    @staticmethod
    def by_pattern(turns: pl.DataFrame, spent: pl.DataFrame) -> dict[int, Waste]:
        """Waste by `pattern`, out of `turns` (`pattern`, `run_key`, `turn`) and what each of these cost."""
        summed = (
            turns.join(spent, on=["run_key", "turn"], how="left")
            .group_by("pattern")
            .agg(pl.when(pl.col(c).null_count() == 0).then(pl.col(c).sum()) for c in ("tokens", "cost_usd", "seconds"))
        )
        return {pattern: Waste(tokens, cost, seconds) for pattern, tokens, cost, seconds in summed.iter_rows()}


def spent_in(frames: Frames, turns: pl.DataFrame) -> pl.DataFrame:
    """One row is one turn of `turns` (`run_key`, `turn`), with `tokens` (input and output), `cost_usd` and `seconds`; null is not known."""
    if turns.is_empty():
        return turns.with_columns(
            tokens=pl.lit(None, pl.Int64), cost_usd=pl.lit(None, pl.Float64), seconds=pl.lit(None, pl.Float64)
        )
    return frames.ask(_SPENT, wanted=turns)
