"""`cache_bust`: what was in the prompt cache was paid for anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.cache_bust.busts import BECAUSE, LEAST_TOKENS, busts
from analyzer.detectors.cache_bust.pricing import extra_usd
from analyzer.detectors.detector import Detector, Sight, between, plural
from analyzer.frames import Frames
from instrument.policy import Policy

_SILENT: Final = "kind = 'model' AND cache_read_tokens IS NOT NULL AND NOT coalesce(failed, false) AND content_state IN ('hashed', 'none')"
_WASTED: Final = pl.struct(
    turn=pl.element().struct.field("turn"),
    tokens=0,
    cost_usd=pl.element().struct.field("extra_usd"),
    seconds=0.0,
    idle_seconds=0.0,
)


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one run that paid anew for tokens it had had in the prompt cache, `context.cache_bust_tokens` of
    them or more."""
    least = policy.context.cache_bust_tokens
    suspected = suspects(frames, least)
    if suspected.is_empty():
        return pl.DataFrame()
    # A cache that nobody writes to on purpose promises nothing, and one that ran out was nobody's change.
    ours = (pl.col("reason") != "expired") & (pl.col("writes") | (pl.col("reason") != "unknown"))
    lost, turn = pl.col("lost_tokens"), pl.col("turn")
    found = busts(frames, suspected).with_columns(ours=ours)
    reported = (
        found.with_columns(avoidable=lost.filter("ours").sum().over("run_key") >= least)
        .filter(lost.sum().over("run_key") >= least, pl.col("ours") | ~pl.col("avoidable"))
        .pipe(extra_usd)
    )
    by_reason = pl.struct("reason", "lost_tokens")
    return (
        reported.group_by("run_key", maintain_order=True)
        .agg(
            pl.col("model").first(),
            pl.col("avoidable").first(),
            lost_tokens=lost.sum(),
            busts=pl.len(),
            reason=by_reason.sort_by(lost.sum().over("reason"), "reason", descending=True)
            .first()
            .struct.field("reason"),
            reasons=pl.col("reason").unique().sort(),
            extra_usd=pl.when(pl.col("extra_usd").null_count() == 0).then(pl.col("extra_usd").sum()),
            steps=pl.col("step"),
            first_turn=turn.first(),
            last_turn=turn.last(),
            told=pl.col("told").all(),
            # The tokens would have been sent all the same: only their price was wasted.
            own_waste=pl.struct("turn", "extra_usd"),
        )
        .with_columns(own_waste=pl.when("avoidable").then(pl.col("own_waste").list.eval(_WASTED)))
        .with_columns(
            severity=pl.when("avoidable").then(pl.lit("warning")).otherwise(pl.lit("info")),
            confidence=pl.when(~pl.col("told")).then(0.6).when(pl.col("reason") == "unknown").then(0.75).otherwise(0.9),
        )
    )


def suspects(frames: Frames, least: int) -> pl.Series:
    """Runs (`run_key`) whose requests could have lost `least` tokens, if all of a run were one conversation: the most
    there can be."""
    calls = frames.model_calls.select(
        "run_key",
        read=pl.col("cache_read_tokens"),
        paid=pl.col("input_tokens") - pl.col("cache_read_tokens"),
        cached=pl.col("cache_read_tokens") + pl.col("cache_write_tokens").fill_null(0),
    ).filter(pl.col("paid").is_not_null())
    paying = calls.group_by("run_key").agg(pl.col("paid").sum()).filter(pl.col("paid") >= least)
    lost = pl.min_horizontal(pl.col("cached").cum_max().shift().over("run_key") - pl.col("read"), "paid")
    return (
        calls.join(paying.select("run_key"), on="run_key", how="semi", maintain_order="left")
        .with_columns(lost=lost)
        .filter(pl.col("lost") >= LEAST_TOKENS)
        .group_by("run_key")
        .agg(pl.col("lost").sum())
        .filter(pl.col("lost") >= least)["run_key"]
        .sort()
    )


def message(facts: Mapping[str, Any]) -> str:
    """212,000 tokens that were in the prompt cache were paid for again ..."""
    cost = f", ${facts['extra_usd']:,.2f} more than from the cache" if facts["extra_usd"] is not None else ""
    often = f"in {plural(facts['busts'], 'request')}, {between(facts)}"
    more = " (mostly)" if len(facts["reasons"]) > 1 else ""
    return (
        f"{facts['lost_tokens']:,} tokens that had been in the prompt cache were paid for again {often}{cost}: "
        f"{BECAUSE[facts['reason']]}{more}."
    )


def sight(frames: Frames, _: Policy) -> Sight:
    """Model calls that say what they read from the cache, or failed. Where messages were not recorded and a run asked several models,
    nobody knows which request goes on from which."""
    calls = frames.model_calls
    told = calls.filter(pl.col("cache_read_tokens").is_not_null() | pl.col("failed").fill_null(False))
    silent = frames.rows(_SILENT, ["model: hash(coalesce(response_model, request_model))"])
    several = silent.filter(pl.col("model").n_unique().over("run_key") > 1)
    return Sight(len(calls), len(told) - len(several))


DETECTOR = Detector(
    slug="cache_bust",
    failure_mode="context overflow",
    title="The prompt cache missed",
    finds="Tokens that an earlier request of the run had written to the prompt cache, or read from it, were paid for "
    "anew by a later request of the same conversation.",
    matters="Read from the cache, a token costs a tenth of its price or less; written anew, a quarter more than its "
    "price. A prompt that changes near its beginning loses all of that in every turn.",
    wrong="Which request goes on from which is told by its messages; a producer that records only what is new in each "
    "is not judged, and where no messages were recorded the requests of one model are taken for one conversation."
    " Compaction and requests that became smaller are left out. Time that ran out is only mentioned, as are "
    "misses without a visible reason of caches that nobody writes to on purpose. The life time is five minutes "
    "from the last use, an hour where the run wrote such entries.",
    advice="Keep what comes first the same to the letter: no dates or ids in system instructions, tools declared in one "
    "order and none added midway, one model per conversation, messages appended and never rewritten. For pauses "
    "of more than five minutes write with a life of an hour.",
    params="context",
    evidence={
        "lost_tokens": "Tokens that had been cached and were paid for again.",
        "busts": "Requests in which that happened.",
        "reason": "Why, of most of these tokens: `model`, `tools`, `system`, `messages` (changed), `expired`, or `unknown`.",
        "reasons": "All reasons there were.",
        "extra_usd": "What that cost beyond reading them from the cache, in US dollars; null where prices are not known.",
        "model": "Model of the first of these requests.",
    },
    reads={"model_calls": ("input_tokens", "cache_read_tokens", "cache_write_tokens", "failed")},
    message=message,
    sight=sight,
    unseen="what was read from the prompt cache, or which request went on from which, was not recorded",
    find=find,
)
