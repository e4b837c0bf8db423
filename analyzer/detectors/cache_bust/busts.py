"""Requests that paid anew for tokens which an earlier request of the same conversation had in the prompt cache."""

from __future__ import annotations

from typing import Final

import polars as pl

from analyzer.frames import Frames

LEAST_TOKENS: Final = 1024
"""The shortest prompt that providers cache; less is the end of a request that no cache point covered."""
_KEPT: Final = 0.95
"""A request smaller than this share of the one before was compacted, or is about something else: what it no longer
holds it need not read."""
_GUESSED: Final = 0.5
"""Where messages were not recorded, reading less than this share of what was cached is taken for a bust, and more for
another conversation."""
_TAIL: Final = 40
"""Messages at the end of a request among which the last one of the request before it is looked for."""
_REASONED: Final = 50
"""The dearest of a run's busts for which messages are compared."""
_LIFE_SECONDS: Final = (300, 3600)
"""How long a provider keeps a prompt after its last use: Anthropic's two kinds of cache; the others promise less."""
_NS: Final = 1_000_000_000

_COLUMNS: Final = (
    "span_key",
    "start_ns",
    "provider",
    "model: coalesce(response_model, request_model)",
    "toolset_key",
    "input_tokens",
    "uncached_input_tokens",
    "output_tokens",
    "read: cache_read_tokens",
    "written: coalesce(cache_write_tokens, 0)",
    "written_1h: coalesce(cache_write_1h_tokens, 0)",
    "cost_usd",
    "system_key: contents.system_key",
    "last_key: contents.input_keys[-1]",
)
_TAILS: Final = f"""
SELECT w.run_key, w.step, unnest(c.input_keys[-{_TAIL}:]) AS key FROM wanted w JOIN contents c USING (span_key)
"""
# MATERIALIZED: see `context_growth.filling`.
_CHANGED: Final = """
WITH sent AS MATERIALIZED (
    SELECT w.run_key, w.step, w.span_key_before AS span_key, j.input_keys AS now
    FROM wanted w JOIN contents j ON j.span_key = w.span_key
)
SELECT run_key, step, now[1:len(p.input_keys)] IS DISTINCT FROM p.input_keys AS changed
FROM sent JOIN contents p USING (span_key)
"""
BECAUSE: Final = {
    "model": "the model changed",
    "tools": "the declared tools changed",
    "system": "the system instructions changed",
    "expired": "more time had passed than the cache is kept",
    "messages": "messages before the end changed",
    "unknown": "nothing that was recorded says why",
}


def busts(frames: Frames, runs: pl.Series) -> pl.DataFrame:
    """One row is one request that paid for `lost_tokens` anew, with `reason` (a key of `BECAUSE`), `writes` (the run writes to the cache),
    `told` (its messages were recorded) and what it and the request before it (`step_before`) counted."""
    calls = frames.rows("kind = 'model' AND NOT coalesce(failed, false) AND input_tokens IS NOT NULL", _COLUMNS, runs)
    calls = calls.filter(pl.col("read").is_not_null()).with_columns(cached=pl.col("read") + pl.col("written"))
    pairs = calls.join(before(frames, calls), on=["run_key", "step"], maintain_order="left").join(
        calls.drop("turn"),
        left_on=["run_key", "step_before"],
        right_on=["run_key", "step"],
        suffix="_before",
        maintain_order="left",
    )
    lost = pl.min_horizontal(pl.col("cached_before") - pl.col("read"), pl.col("input_tokens") - pl.col("read"))
    told = pl.col("last_key").is_not_null() & pl.col("last_key_before").is_not_null()
    found = pairs.with_columns(lost_tokens=lost, told=told).filter(
        lost >= LEAST_TOKENS,
        pl.col("input_tokens") >= _KEPT * pl.col("input_tokens_before"),
        told | (pl.col("read") < _GUESSED * pl.col("cached_before")),
    )
    writing = calls.group_by("run_key").agg(writes=(pl.col("written") > 0).any(), hour=(pl.col("written_1h") > 0).any())
    found = found.join(writing, on="run_key", how="left", maintain_order="left")
    return found.join(_changes(frames, found), on=["run_key", "step"], how="left", maintain_order="left").with_columns(
        reason=_reason()
    )


def before(frames: Frames, calls: pl.DataFrame) -> pl.DataFrame:
    """One row is one of `calls` (`run_key`, `step`) with the `step_before` of the request that it goes on from.

    That is the latest whose last message it holds near its end; where messages were not recorded, the one before it to the same model.
    """
    told = calls.filter(pl.col("last_key").is_not_null())
    paying = told.filter(pl.col("input_tokens") - pl.col("read") >= LEAST_TOKENS)
    tails = frames.ask(_TAILS, wanted=paying.select("run_key", "step", "span_key"))
    lasts = told.select("run_key", key="last_key", at=pl.col("step"))
    linked = (
        tails.sort("run_key", "step")
        .join_asof(
            lasts,
            left_on="step",
            right_on="at",
            by=["run_key", "key"],
            allow_exact_matches=False,
            coalesce=False,
            check_sortedness=False,
        )
        .group_by("run_key", "step")
        .agg(step_before=pl.col("at").max())
    )
    silent = calls.filter(pl.col("last_key").is_null()).select(
        "run_key", "step", step_before=pl.col("step").shift().over("run_key", "model")
    )
    return pl.concat([linked, silent]).drop_nulls()


def _changes(frames: Frames, found: pl.DataFrame) -> pl.DataFrame:
    """For the dearest of each run's busts, whether messages that both requests held are no longer the same."""
    rank = pl.col("lost_tokens").rank("ordinal", descending=True).over("run_key")
    dearest = found.filter(pl.col("told"), rank <= _REASONED)
    return frames.ask(_CHANGED, wanted=dearest.select("run_key", "step", "span_key", "span_key_before"))


def _reason() -> pl.Expr:
    def changed(column: str) -> pl.Expr:
        return (pl.col(column) != pl.col(f"{column}_before")).fill_null(False)

    passed = (pl.col("start_ns") - pl.col("start_ns_before")) / _NS
    life = pl.when("hour").then(_LIFE_SECONDS[1]).otherwise(_LIFE_SECONDS[0])
    return (
        pl.when(changed("model"))
        .then(pl.lit("model"))
        .when(changed("toolset_key"))
        .then(pl.lit("tools"))
        .when(changed("system_key"))
        .then(pl.lit("system"))
        .when((passed > life).fill_null(False))
        .then(pl.lit("expired"))
        .when(pl.col("changed").fill_null(False))
        .then(pl.lit("messages"))
        .otherwise(pl.lit("unknown"))
    )
