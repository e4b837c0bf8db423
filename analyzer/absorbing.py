"""One cause, one alarm: a finding whose spans another one explains is only mentioned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from analyzer.detectors.detector import Detector

EXPLAINED_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "error_cascade": ("retry_storm", "invalid_arguments", "null_input"),
    "repeated_call": ("call_cycle",),
}
"""By detector, those that say why its spans failed, or came again. A cascade says that nobody changed course; these say what was wrong with
it. A call that comes again in each round of a cycle is that cycle's."""
MOST_OF: Final = frozenset({"repeated_call"})
"""Those of which more than half of the steps are enough: a cycle has begun, and may go on, with a round that is not whole."""
_RANK: Final = {"info": 0, "warning": 1, "error": 2}

Patterns = Sequence[tuple[Detector, pl.DataFrame]]


def absorbed(patterns: Patterns) -> Patterns:
    """`patterns` (those of each detector), in which one becomes a mention (`severity` info, `explained_by` the other's slug) where all of
    its steps (`MOST_OF`: more than half) are steps of a pattern that explains it and is at least as severe.
    What was not asked for explains nothing."""
    found = {detector.slug: rows for detector, rows in patterns if len(rows)}
    return [(detector, _explained(rows, detector.slug, found)) for detector, rows in patterns]


def _explained(rows: pl.DataFrame, slug: str, found: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    causes = [
        found[cause].select("run_key", _steps().alias("theirs"), _rank().alias("their_rank"), cause=pl.lit(cause))
        for cause in EXPLAINED_BY.get(slug, ())
        if cause in found
    ]
    if rows.is_empty() or not causes:
        return rows
    numbered = rows.with_row_index("pattern")
    pairs = numbered.select("pattern", "run_key", steps=_steps(), rank=_rank()).join(pl.concat(causes), on="run_key")
    other, all_ = pl.col("steps").list.set_difference("theirs").list.len(), pl.col("steps").list.len()
    enough = other * 2 < all_ if slug in MOST_OF else other == 0
    told = pairs.filter(enough, pl.col("their_rank") >= pl.col("rank"))
    named = told.group_by("pattern", maintain_order=True).agg(pl.col("cause").first())
    return (
        numbered.join(named, on="pattern", how="left", maintain_order="left")
        .with_columns(
            severity=pl.when(pl.col("cause").is_null()).then("severity").otherwise(pl.lit("info")),
            explained_by=pl.coalesce("cause", "explained_by"),
        )
        .drop("pattern", "cause")
    )


def _steps() -> pl.Expr:
    return pl.col("steps").cast(pl.List(pl.Int32))


def _rank() -> pl.Expr:
    return pl.col("severity").replace_strict(_RANK, return_dtype=pl.Int32)
