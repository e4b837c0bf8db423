"""Stretches of time in which nothing was under way in a run."""

from __future__ import annotations

from typing import Final

import polars as pl

from analyzer.frames import Frames

# Work of other runs of the same trace counts where it began after this run: what began before waits for it. A wrapper is at work only
# while something within it is, so of spans that are neither model nor tool call the innermost count.
_WORK: Final = """
WITH own AS (
    SELECT run_key, trace_id, min(start_ns) AS since FROM spans WHERE run_key IN (SELECT run_key FROM wanted) GROUP BY ALL
), near AS (
    SELECT run_key, trace_id, span_id, parent_span_id, kind, start_ns, end_ns FROM spans
    WHERE trace_id IN (SELECT trace_id FROM own) AND duplicate_of IS NULL AND start_ns IS NOT NULL AND NOT inferred
), parents AS (
    SELECT DISTINCT trace_id, parent_span_id AS span_id FROM near WHERE parent_span_id IS NOT NULL
)
SELECT own.run_key, near.start_ns, near.end_ns, near.kind = 'model' AS asks FROM own JOIN near USING (trace_id)
WHERE (near.run_key = own.run_key OR near.start_ns > own.since) AND (near.kind IN ('model', 'tool') OR (
    NOT EXISTS (FROM parents p WHERE p.trace_id = near.trace_id AND p.span_id = near.span_id)
    AND NOT (near.kind = 'agent' AND near.run_key = own.run_key)
))
ORDER BY ALL
"""
_LASTING: Final = """
SELECT run_key FROM spans WHERE kind <> 'agent' AND run_key BETWEEN {first} AND {last}
GROUP BY run_key HAVING max(coalesce(end_ns, start_ns)) - min(start_ns) >= {least_ns} ORDER BY run_key
"""
_FOREVER: Final = 2**63 - 1


def lasting(frames: Frames, least_ns: int) -> pl.Series:
    """Runs (`run_key`) whose spans, but for agents', lie so far apart that a gap of `least_ns` fits between them."""
    keys = pl.concat([frames.model_calls["run_key"], frames.tool_calls["run_key"]])
    if keys.is_empty():
        return keys
    first, last = keys.to_frame().select(first=pl.first().min(), last=pl.first().max()).row(0)
    return frames.ask(_LASTING.format(first=first, last=last, least_ns=least_ns))["run_key"]


def work(frames: Frames, runs: pl.Series) -> pl.DataFrame:
    """One row is one thing that was under way on behalf of one of `runs`: `run_key`, `start_ns`, `end_ns` (null: it
    still is), whether it `asks` a model; in order of start. What never ended was under way until a model was asked next: then nobody
    waited for it any more."""
    found = frames.ask(_WORK, wanted=pl.DataFrame({"run_key": runs.unique()}))
    asked = found.filter("asks").select("run_key", next_ns="start_ns")
    return found.join_asof(
        asked,
        left_on="start_ns",
        right_on="next_ns",
        by="run_key",
        strategy="forward",
        allow_exact_matches=False,
        coalesce=False,
        check_sortedness=False,
    ).with_columns(end_ns=pl.coalesce("end_ns", "next_ns"))


def gaps(under_way: pl.DataFrame, least_ns: int) -> pl.DataFrame:
    """One row is one stretch of at least `least_ns` between two things of `work`, in which none was under way:
    `run_key`, `from_ns`, `to_ns`."""
    return (
        under_way.with_columns(until=pl.col("end_ns").fill_null(_FOREVER).cum_max().over("run_key"))
        .with_columns(from_ns=pl.col("until").shift().over("run_key"), to_ns=pl.col("start_ns"))
        .filter(pl.col("from_ns") <= pl.col("to_ns") - least_ns)
        .select("run_key", "from_ns", "to_ns")
    )
