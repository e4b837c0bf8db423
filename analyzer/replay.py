"""What a policy would have done to recorded runs: its guards, the very ones that guard live runs, are told the recorded steps.

A replay knows what the model did, and not what it would have done instead. A call that a guard refuses is told to the guards as refused,
as live; a nudge is taken to have changed nothing; the first stop ends the run. What is saved is what the record says was
spent after the turn that stopped it, less nothing: a live run spends a little of it on its final answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import duckdb
import polars as pl

from analyzer.detectors.changes import effects
from analyzer.detectors.invalid_arguments import refusable
from analyzer.detectors.unknown_tool.unknown import UNKNOWN
from analyzer.detectors.written import with_words
from analyzer.frames import Frames, in_order, partitions
from analyzer.holds import COLUMNS as HELD_COLUMNS
from analyzer.holds import needed_limit_usd, spent_below_usd
from analyzer.outcomes import kept, succeeded
from analyzer.play import Play
from analyzer.play import Reached as Reached  # noqa: PLC0414 - part of this module's front door
from analyzer.play import Replayed as Replayed  # noqa: PLC0414 - the same
from instrument.guards.facts import Intervention
from instrument.policy import Guards, InvalidArguments, Loops, Policy, Stuck, ToolErrors, UnknownTools
from instrument.prices import Prices

_PARTITION_SPANS: Final = 200_000
"""Spans replayed at a time; their steps lie in memory one by one."""
_RUNS_AT_ONCE: Final = 200
"""Of runs named one by one."""
_RUNS: Final = """
SELECT s.run_key, s.run_id, s.trace_id, any_value(s.conversation_id) AS conversation_id, any_value(s.agent_name) AS agent_name,
    min(s.start_ns) AS start_ns, max(s.end_ns) AS end_ns,
    sum(s.cost_usd) FILTER (s.kind = 'model' AND s.duplicate_of IS NULL) AS cost_usd,
    coalesce(any_value(a.attributes['flyball.outcome']::VARCHAR), any_value(g.status)) AS outcome
FROM spans s LEFT JOIN attribute_sets a ON s.kind = 'agent' AND a.attributes_key = s.attributes_key
LEFT JOIN guarded_runs g ON g.span_key = s.span_key
WHERE {where} GROUP BY ALL
"""


WATCHFUL: Final = Policy(
    guards=Guards(mode="observe"),
    tool_errors=ToolErrors(same_failure_calls=1, failed_calls=1, error_calls=1),
    loops=Loops(
        same_call_repeats=2,
        same_call_error_repeats=2,
        cycle_repeats=2,
        cycle_error_repeats=2,
        near_repeats=2,
        near_error_repeats=2,
        checkpoint_calls=1,
    ),
    unknown_tools=UnknownTools(calls=1, error_calls=1),
    invalid_arguments=InvalidArguments(calls=1, error_calls=1),
    stuck=Stuck(
        same_output_repeats=2,
        same_output_error_repeats=2,
        empty_answers=1,
        null_input_calls=1,
        null_input_error_calls=1,
    ),
)
"""Speaks up at the first sign of anything, and does nothing about it: what it says is how far a run went."""


def replay(
    con: duckdb.DuckDBPyConnection,
    policy: Policy,
    outcomes: Mapping[str, bool] | None = None,
    runs: pl.Series | None = None,
) -> tuple[Replayed, ...]:
    """Every run of the store under `policy`, in order; with `runs` those of these numbers (`run_key`) only.

    `outcomes` (run, trace or conversation id to success) go before those that the store was told (`flyball outcome`), and these before
    what was recorded.
    """
    found: list[Replayed] = []
    told = kept(con) | dict(outcomes or {})
    for frames in _frames(con, runs):
        found.extend(_partition(frames, policy, told))
    return tuple(found)


def reached(
    con: duckdb.DuckDBPyConnection,
    outcomes: Mapping[str, bool] | None = None,
    prices: Prices | None = None,
    base: Policy | None = None,
    runs: pl.Series | None = None,
) -> tuple[Reached, ...]:
    """How far every run of the store (or those numbered in `runs`) went in everything that a policy counts, whatever its policy was.

    `prices` and `base`, the policy that the runs are to have, say what would have been held for requests (`analyzer.holds`).
    """
    found: list[Reached] = []
    told, below = kept(con) | dict(outcomes or {}), spent_below_usd(con)
    for frames in _frames(con, runs):
        for run, play in _plays(frames, WATCHFUL):
            needed = None if prices is None else needed_limit_usd(play.models, prices, base or WATCHFUL)
            found.append(play.reached(succeeded_or(run, told), needed, below.get(run["run_key"], 0.0)))
    return tuple(found)


def _frames(con: duckdb.DuckDBPyConnection, runs: pl.Series | None) -> Iterator[Frames]:
    """The whole store, or some of its runs, a part at a time."""
    if runs is None:
        yield from partitions(con, {}, _PARTITION_SPANS)
        return
    for start in range(0, len(runs), _RUNS_AT_ONCE):
        yield Frames.of(con, runs[start : start + _RUNS_AT_ONCE])


def spoken(frames: Frames, policy: Policy) -> Iterator[tuple[int, int, Intervention]]:
    """What guards under `policy` say of the runs of `frames`: number of the run, when in nanoseconds since 1970, and what."""
    for run, play in _plays(frames, policy):
        yield from ((run["run_key"], at_ns, act) for at_ns, act in play.spoken())


def outcomes_of_runs(con: duckdb.DuckDBPyConnection) -> dict[str, bool | None]:
    """Run id -> how it ended, of every run with steps; None where nobody says."""
    told, found = kept(con), dict[str, bool | None]()
    for frames in partitions(con, {}, _PARTITION_SPANS):
        for run in frames.ask(_RUNS.format(where=frames.span)).sort("run_key").iter_rows(named=True):
            found[run["run_id"]] = succeeded_or(run, told)
    return found


def _partition(frames: Frames, policy: Policy, outcomes: Mapping[str, bool]) -> Iterator[Replayed]:
    for run, play in _plays(frames, policy):
        yield play.result(succeeded_or(run, outcomes))


def _plays(frames: Frames, policy: Policy) -> Iterator[tuple[Mapping[str, Any], Play]]:
    runs = frames.ask(_RUNS.format(where=frames.span)).sort("run_key")
    by_run = {key: rows for (key,), rows in _steps(frames).partition_by("run_key", as_dict=True).items()}
    for run in runs.iter_rows(named=True):
        rows = by_run.get(run["run_key"])
        if rows is not None:
            yield run, Play(policy, run, rows.to_dicts())


def _steps(frames: Frames) -> pl.DataFrame:
    """One row is one model call, one tool call, or one new word of the user, in the order in which the model met them."""
    calls = frames.calls(
        [
            "kind: 'tool'",
            "span_key",
            "tool_name",
            "tool_call_id",
            "call_key",
            "loose_call_key",
            "result_key",
            "failed",
            "failure_kind",
            "rejected",
            "null_input",
            f"unknown: {UNKNOWN}",
            "start_ns",
            "end_ns",
        ]
    )
    calls = with_words(frames, effects(frames, calls), times=2).join(
        refusable(frames), on=["run_key", "step"], how="left"
    )
    models = frames.rows(
        "kind = 'model'",
        [
            "kind: 'model'",
            "output_key",
            "loose_output_key",
            "output_chars",
            "requested_calls",
            "start_ns",
            "end_ns",
            "cost_usd",
            "tokens: input_tokens + output_tokens",
            "billed: NOT coalesce(failed, false)",
            *HELD_COLUMNS,
        ],
    )
    asked = frames.questions(calls["run_key"].unique()).select("run_key", "step", kind=pl.lit("user"))
    both = in_order(pl.concat([calls, models], how="diagonal_relaxed"))
    # A word of the user comes before the model call that it was sent with.
    return pl.concat(
        [asked.with_columns(order=pl.lit(0)), both.with_columns(order=pl.lit(1))], how="diagonal_relaxed"
    ).sort("run_key", "step", "order")


def succeeded_or(run: Mapping[str, Any], outcomes: Mapping[str, bool]) -> bool | None:
    """How a run ended: as `outcomes` says, else as it is recorded."""
    named = (outcomes.get(run[name]) for name in ("run_id", "trace_id", "conversation_id") if run[name] is not None)
    told = next((one for one in named if one is not None), None)
    return succeeded(run["outcome"]) if told is None else told
