"""`over_budget`: a run, or a user's day, cost more than it may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.detector import Detector, Sight, plural, seen
from analyzer.detectors.over_budget.spending import limits, spending, suspects, user_days
from analyzer.frames import Frames
from instrument.policy import Policy

_COLUMNS: Final = (
    "run_key", "steps", "first_turn", "last_turn", "useless_turns", "cost_usd", "limit_usd", "after_usd", "calls_after", "unpriced_calls",
    "budget", "user_id",
)  # fmt: skip


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one budget that was crossed: of a run, or of a user and UTC day (then the run is the one that
    crossed it)."""
    found = [runs_over(frames, policy.cost.run_limit_usd)]
    if policy.cost.user_day_limit_usd is not None:
        found.append(days_over(frames, policy.cost.user_day_limit_usd))
    rows = [rows.select(_COLUMNS) for rows in found if not rows.is_empty()]
    if not rows:
        return pl.DataFrame()
    return (
        pl.concat(rows, how="vertical_relaxed")
        .sort("run_key", "budget")
        .with_columns(severity=pl.lit("warning"), confidence=pl.lit(0.95))
    )


def runs_over(frames: Frames, run_limit_usd: float | None) -> pl.DataFrame:
    """One row is one run that cost more than the limit recorded on it, or than that of the policy; a sub-agent counts
    towards its caller."""
    recorded, least_usd = limits(frames, run_limit_usd)
    if least_usd is None:
        return pl.DataFrame()
    suspected = suspects(frames, least_usd)
    if suspected.is_empty():
        return pl.DataFrame()
    spent, limit = pl.col("spent_usd"), pl.col("limit_usd")
    over = spent > limit
    crossed = (
        spending(frames, suspected)
        .join(recorded.rename({"run_key": "head"}), on="head", how="left", maintain_order="left")
        .with_columns(
            # The policy's own limit is for whole tasks: what a sub-agent spends is in its caller's.
            limit_usd=pl.when(pl.col("limit_usd").is_null() & ~pl.col("below"))
            .then(pl.lit(run_limit_usd, pl.Float64))
            .otherwise("limit_usd"),
            budget=pl.when(pl.col("limit_usd").is_null()).then(pl.lit("the policy's")).otherwise(pl.lit("the run's")),
        )
        .filter((spent.last() > limit.first()).over("head").fill_null(False))
        .group_by("head", "budget", "limit_usd", maintain_order=True)
        .agg(
            cost_usd=spent.last(),
            after_usd=spent.last() - spent.filter(over).first(),
            calls_after=over.sum() - 1,
            unpriced_calls=pl.col("unpriced").sum(),
            crossed_ns=pl.col("start_ns").filter(over).first(),
            crossed_step=pl.col("step").filter(over & (pl.col("run_key") == pl.col("head"))).first(),
            crossed_itself=pl.col("run_key").filter(over).first() == pl.col("head").first(),
        )
        .rename({"head": "run_key"})
    )
    own = frames.rows("kind IN ('model', 'tool')", ["kind: kind::VARCHAR", "start_ns"], crossed["run_key"]).join(
        crossed.select("run_key", "crossed_ns", "crossed_step", "crossed_itself"), on="run_key", maintain_order="left"
    )
    # Where a sub-agent crossed it, the call that was under way then, or the last before, stands for it.
    at = pl.when(pl.col("crossed_itself")).then(pl.col("step") == pl.col("crossed_step"))
    begun = (pl.col("start_ns") <= pl.col("crossed_ns")).fill_null(False)
    last_begun = pl.col("step") == pl.col("step").filter(begun).last().over("run_key")
    step, turn = pl.col("step"), pl.col("turn")
    here = pl.col("here")
    marked = own.with_columns(here=at.otherwise(last_begun.fill_null(step == step.first().over("run_key"))))
    own = marked.group_by("run_key", maintain_order=True).agg(
        steps=step.filter((step >= step.filter(here).first()) & (here | (pl.col("kind") == "model"))),
        first_turn=turn.filter(here).first(),
        last_turn=turn.last(),
        useless_turns=turn.filter(turn > turn.filter(here).first()).unique(maintain_order=True),
    )
    return crossed.join(own, on="run_key", maintain_order="left").with_columns(user_id=pl.lit(None, pl.String))


def days_over(frames: Frames, limit_usd: float) -> pl.DataFrame:
    """One row is one user's day over the limit, as the run of these `frames` that crossed it."""
    own = frames.model_calls["run_key"].unique()
    step = pl.col("step")
    return (
        user_days(frames, limit_usd)
        .filter(pl.col("run_key").is_in(own.implode()))
        .with_columns(
            steps=pl.concat_list(step.cast(pl.Int32)),
            first_turn=pl.col("turn"),
            last_turn=pl.col("turn"),
            useless_turns=pl.lit(None, pl.List(pl.Int32)),
            limit_usd=pl.lit(limit_usd, pl.Float64),
            calls_after=pl.lit(None, pl.Int64),
            unpriced_calls=pl.lit(0, pl.Int64),
            budget=pl.lit("a user's day"),
        )
    )


def message(facts: Mapping[str, Any]) -> str:
    """The run crossed its limit of $10.00 in turn 31 and went on to $14.20 ..."""
    least = "at least " if facts["unpriced_calls"] else ""
    if facts["user_id"] is not None:
        return (
            f"The user's limit of ${facts['limit_usd']:,.2f} a day was crossed in turn {facts['first_turn']} of this run; "
            f"${facts['after_usd']:,.2f} were spent after it."
        )
    whose = "its limit" if facts["budget"] == "the run's" else "the limit"
    after = (
        f"; {plural(facts['calls_after'], 'model call')} after that cost {least}${facts['after_usd']:,.2f}"
        if facts["calls_after"]
        else ""
    )
    limit, cost = f"${facts['limit_usd']:,.2f}", f"{least}${facts['cost_usd']:,.2f}"
    return f"The run crossed {whose} of {limit} in turn {facts['first_turn']} and cost {cost}{after}."


def sight(frames: Frames, policy: Policy) -> Sight:
    """Model calls whose price is known, if there is any limit."""
    _, least_usd = limits(frames, policy.cost.run_limit_usd)
    if least_usd is None and policy.cost.user_day_limit_usd is None:
        return Sight(0, 0)
    return seen(frames.model_calls, pl.col("cost_usd").is_not_null() | pl.col("failed"))


DETECTOR = Detector(
    slug="over_budget",
    failure_mode="cost explosions",
    title="Dearer than it may be",
    finds="A run, its sub-agents included, cost more than the limit recorded on it or that of the policy; or all runs "
    "of one user cost more in one UTC day than that user may spend.",
    matters="A limit that nothing enforces is found out on the bill. What was spent after it was crossed is what an "
    "enforced one would have kept.",
    wrong="The policy's limit need not be the one that held when the run took place; one recorded on the run goes "
    "before it. Calls without a known price are not counted, so such a run costs at least what is shown. "
    "Sub-agents are found by their parent spans: one that was started without a trace context counts for itself.",
    advice="Let `GuardedRunner` or `instrument.run` reserve each call against the limit (`cost.run_limit_usd`, "
    "`cost.user_day_limit_usd`), so that none is sent that could cross it.",
    params="cost",
    evidence={
        "cost_usd": "What the run, or the user's day, cost in US dollars.",
        "limit_usd": "The limit.",
        "budget": "Whose limit: `the run's`, `the policy's`, `a user's day`.",
        "after_usd": "Spent after the call that crossed it, in US dollars.",
        "calls_after": "Model calls after that one; null for a user's day.",
        "unpriced_calls": "Model calls without a known price, not in the cost.",
        "user_id": "The user, where it is a day's limit.",
    },
    reads={"model_calls": ("cost_usd", "failed")},
    message=message,
    sight=sight,
    unseen="model calls had no token counts or their model no known price",
    find=find,
)
