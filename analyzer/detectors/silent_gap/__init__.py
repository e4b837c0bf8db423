"""`silent_gap`: nothing was under way in a run, and nobody was asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.detector import Detector, Sight, between, plural
from analyzer.detectors.silent_gap.gaps import gaps, lasting, work
from analyzer.detectors.silent_gap.hanging import MODEL, NEWEST, never_ended
from analyzer.frames import Frames
from instrument.policy import Policy

_NS: Final = 1_000_000_000
_CALLS: Final = "kind IN ('model', 'tool')"
_REVIEWS: Final = """
SELECT DISTINCT w.run_key, w.from_ns FROM wanted w JOIN spans s USING (run_key) JOIN guard_actions a USING (span_key)
WHERE a.action = 'ask' AND a.at_ns BETWEEN w.from_ns - 10_000_000_000 AND w.to_ns
"""


_UNTIMED: Final = "start_ns IS NULL OR inferred OR inferred_times IN ('start', 'both')"


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one run with time in which nothing was under way, though it was nobody's turn but the agent's; or
    that fell silent for good; or that waited for a call that never ended."""
    least_ns = int(policy.stuck.gap_seconds * _NS)
    hanging = never_ended(frames, least_ns, policy.tool_errors.tool_timeout_seconds)
    found = pl.concat([_NONE, between_calls(frames, least_ns), since_then(frames, least_ns), hanging], how="diagonal")
    if found.is_empty():
        return pl.DataFrame()
    seconds = pl.col("gap_seconds")
    shown = ("before", "never_ended", "went_on", "first_step", "last_step", "first_turn", "last_turn")
    return (
        # Of the gaps of one run the longest of those that nothing may explain stands for all.
        found.sort("run_key", "severity", "gap_seconds", "from_ns", descending=[False, True, True, False])
        .with_columns(own_waste=_waste())
        .group_by("run_key", maintain_order=True)
        .agg(
            pl.col("severity", "confidence", "gap_seconds", *shown).first(),
            gaps=pl.len(),
            silent_seconds=seconds.sum(),
            own_waste=pl.col("own_waste").drop_nulls(),
        )
        .with_columns(steps=pl.concat_list("first_step", "last_step").list.unique(maintain_order=True))
    )


def _waste() -> pl.Expr:
    """The time of a gap; null where somebody may have had a reason for it. No tokens and no money were spent in it."""
    seconds = pl.col("gap_seconds")
    within = (pl.col("first_turn") == pl.col("last_turn")) & (
        pl.col("before").is_not_null() | pl.col("never_ended").is_not_null()
    )
    return pl.when(severity="warning").then(
        pl.struct(
            turn="first_turn",
            tokens=0,
            cost_usd=0.0,
            seconds=pl.when(within).then(seconds).otherwise(0.0),
            idle_seconds=pl.when(within).then(0.0).otherwise(seconds),
        )
    )


def between_calls(frames: Frames, least_ns: int) -> pl.DataFrame:
    """One row is one gap between two calls of a run, with the call before it (`first_step`) and the one that ended it
    (`last_step`)."""
    times = frames.rows(_CALLS, ["start_ns", "end_ns"], lasting(frames, least_ns))
    apart = pl.col("start_ns") - pl.coalesce("end_ns", "start_ns").shift() >= least_ns
    runs = times.filter(apart & (pl.col("run_key") == pl.col("run_key").shift()))["run_key"].unique()
    found = gaps(work(frames, runs), least_ns) if len(runs) else pl.DataFrame()
    if found.is_empty():
        return _NONE
    told = ["kind: kind::VARCHAR", "failed: coalesce(failed, false)", "inferred", "requested_calls", "start_ns"]
    calls = frames.rows(_CALLS, told, found["run_key"]).with_columns(
        asks=((pl.col("kind") == "tool").any() | (pl.col("requested_calls") > 0).any()).over("run_key", "turn"),
        unseen=pl.col("inferred").any().over("run_key", "turn"),
    )
    calls = calls.filter(pl.col("start_ns").is_not_null()).sort("run_key", "start_ns", "step")
    ends = calls.join(found.select("run_key", start_ns="to_ns", from_ns="from_ns"), on=["run_key", "start_ns"]).unique(
        ["run_key", "from_ns"], keep="first", maintain_order=True
    )
    # The last call that had begun before the gap.
    pairs = ends.sort("run_key", "from_ns").join_asof(
        calls, left_on="from_ns", right_on="start_ns", by="run_key", suffix="_before", check_sortedness=False
    )
    asked = frames.questions(pairs["run_key"]).select("run_key", "step", asked=True)
    reviewed = frames.ask(_REVIEWS, wanted=pairs.select("run_key", "from_ns", to_ns="start_ns"))
    tools_done = (pl.col("kind_before") == "tool") & (pl.col("kind") == "model")
    return (
        pairs.join(asked, on=["run_key", "step"], how="left", maintain_order="left")
        .join(reviewed, on=["run_key", "from_ns"], how="anti", maintain_order="left")
        .filter(
            pl.col("asked").is_null(),
            # After an answer it is the user's turn; a tool that no span tells of may have been at work.
            (pl.col("asks_before") | pl.col("failed_before")) & ~pl.col("unseen_before"),
        )
        .select(
            "run_key",
            "from_ns",
            severity=pl.when(tools_done).then(pl.lit("warning")).otherwise(pl.lit("info")),
            confidence=pl.when(tools_done).then(0.85).otherwise(0.5),
            gap_seconds=(pl.col("start_ns") - pl.col("from_ns")) / _NS,
            before=pl.when(pl.col("kind") == "model").then(pl.lit("a model call")).otherwise(pl.lit("a tool call")),
            first_step=pl.col("step_before"),
            last_step=pl.col("step"),
            first_turn=pl.col("turn_before"),
            last_turn=pl.col("turn"),
        )
    )


def since_then(frames: Frames, least_ns: int) -> pl.DataFrame:
    """One row is one run that has not ended and in which nothing has been under way since its last call, by the
    newest span of the database."""
    runs = frames.rows(_OPEN, [])["run_key"].unique()
    if runs.is_empty():
        return _NONE
    newest_ns = frames.ask(NEWEST).item()
    stopped = (
        work(frames, runs)
        .group_by("run_key", maintain_order=True)
        .agg(from_ns=pl.col("end_ns").max(), running=pl.col("end_ns").is_null().any())
        .filter(~pl.col("running"), pl.col("from_ns") <= newest_ns - least_ns)
    )
    told = ["asks: NOT inferred AND (kind = 'tool' OR coalesce(requested_calls, 0) > 0 OR coalesce(failed, false))"]
    last = frames.rows(_CALLS, told, stopped["run_key"]).unique("run_key", keep="last", maintain_order=True)
    return (
        # After an answer it is the user's turn; a tool that no span tells of may be at work.
        last.filter("asks")
        .join(stopped, on="run_key", maintain_order="left")
        .select(
            "run_key",
            "from_ns",
            severity=pl.lit("warning"),
            confidence=pl.lit(0.8),
            gap_seconds=(newest_ns - pl.col("from_ns")) / _NS,
            first_step=pl.col("step"),
            last_step=pl.col("step"),
            first_turn=pl.col("turn"),
            last_turn=pl.col("turn"),
        )
    )


_OPEN: Final = "kind = 'agent' AND start_ns IS NOT NULL AND end_ns IS NULL AND span_id = run_id"
"""Runs that have not ended. Where no times were recorded at all, nobody knows."""
_NONE: Final = pl.DataFrame(
    schema={
        "run_key": pl.Int32,
        "from_ns": pl.Int64,
        "severity": pl.String,
        "confidence": pl.Float64,
        "gap_seconds": pl.Float64,
        "before": pl.String,
        "never_ended": pl.String,
        "went_on": pl.Boolean,
        "first_step": pl.Int32,
        "last_step": pl.Int32,
        "first_turn": pl.Int32,
        "last_turn": pl.Int32,
    }
)


def message(facts: Mapping[str, Any]) -> str:
    """Nothing was under way for 12 minutes before a model call ..."""
    longest = _spoken(facts["gap_seconds"])
    if facts["never_ended"] is not None:
        who = "A request to the model" if facts["never_ended"] == MODEL else f"A call of `{facts['never_ended']}`"
        end = ", and the run went on without it" if facts["went_on"] else ""
        return f"{who} in turn {facts['last_turn']} was under way for {longest} and never ended{end}."
    if facts["before"] is None:
        return (
            f"The run never ended, and nothing has been under way in it for {longest} since turn {facts['last_turn']}."
        )
    more = facts["gaps"] - 1
    others = f" ({plural(more, 'more such gap')}, {_spoken(facts['silent_seconds'])} in all)" if more else ""
    return f"Nothing was under way for {longest} before {facts['before']} {between(facts)}{others}."


def _spoken(seconds: float) -> str:
    """`45 seconds`, `12 minutes`, `3.5 hours`, `2.1 days`."""
    for size, noun in ((86_400, "days"), (3_600, "hours")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {noun}"
    return plural(round(seconds / 60), "minute") if seconds >= 120 else plural(round(seconds), "second")


def sight(frames: Frames, _: Policy) -> Sight:
    """Calls of models and tools of which it was measured when they began; where that was worked out from the end of what came before,
    nobody can tell waiting from work."""
    calls = len(frames.model_calls) + len(frames.tool_calls)
    return Sight(calls, calls - len(frames.rows(f"{_CALLS} AND ({_UNTIMED})", [])))


DETECTOR = Detector(
    slug="silent_gap",
    failure_mode="stuck states",
    title="Nothing under way",
    finds="For a long time nothing was under way in a run, neither a model call nor a tool call, though it was the "
    "agent's turn; or the run never ended and has been silent since its last call; or it waited for a call that never ended.",
    matters="Somebody waits for an agent that does nothing: a lost worker, a lock, a queue, a process that died. No "
    "time-out of a call sees it.",
    wrong="What is not recorded looks like silence: a tool without a span, a retrieval, a person who was asked for "
    "permission. Time before a new message of the user, after an answer, and during a review is left out; a gap "
    "before a tool call is only mentioned, since somebody may have had to allow it. A run that was resumed later "
    "has a gap of that time. How long a run that never ended has been silent is measured against the newest span "
    "of the database, so an old database of one process says little. A call without an end may have ended after its "
    "process was killed. Tools that held up a run for longer than their limit are `tool_timeout`'s.",
    advice="Record what the agent does between its calls (`@instrument.tool`), give waits a time-out, and let a run end "
    "by a limit on its time (`loops.run_seconds`).",
    params="stuck",
    evidence={
        "gap_seconds": "The longest gap, in seconds.",
        "gaps": "How many there were.",
        "silent_seconds": "All of them together, in seconds.",
        "before": "What ended the longest; null where nothing has.",
        "never_ended": "Tool, or `the model`, whose call was under way all that time and never ended; null where nothing was.",
        "went_on": "Whether the run went on without it.",
    },
    reads={"model_calls": (), "tool_calls": ()},
    message=message,
    sight=sight,
    unseen="when calls ran was not recorded",
    find=find,
)
