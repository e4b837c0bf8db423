"""The metrics that the alert rules rest on, once. Rules, their tests, the exporter and the backtest take the names from here.

All are gauges, not counters: a threshold of the policy is about one run or one stretch of time, `increase()` rounds and misses
a series that is born above zero, and a gauge that goes away with its run resolves its alert. Labels are bounded: agents, models
and tools, the commonest of them by name and the rest as `other`; never a run or a user. Names hold no dot: Prometheus 2 refuses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RUN_LABELS: Final = ("agent_name", "model")
"""Of a metric about runs. `agent_name` is empty where spans name none."""
AGENT_LABELS: Final = ("agent_name",)
TOOL_LABELS: Final = ("tool_name",)
MODEL_LABELS: Final = ("provider", "model")
"""Of a metric about requests to a model, whichever agent made them: what fails there fails for all."""
KIND_LABELS: Final = (*MODEL_LABELS, "kind")
"""`kind`: one of those in `analyzer.alerts.model_calls.KINDS`."""
NO_LABELS: Final = ()

OTHER: Final = "other"
"""Label value of all that are not among the commonest `MOST_VALUES`."""
MOST_VALUES: Final = 100
"""Distinct values of one label: a hostile trace may name a million tools, and each would be a series for ever."""

RECENT_SECONDS: Final = 600.0
"""What "recent" means for calls of a tool or a model: long enough for ten calls, short enough to notice that it is mended."""
HOUR_SECONDS: Final = 3600.0
USUAL_DAYS: Final = 7
"""Earlier days whose same hour says what an hour usually costs: one of each weekday."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A gauge: its name on the wire and what one value means."""

    name: str
    meaning: str
    labels: tuple[str, ...] = RUN_LABELS

    def __str__(self) -> str:
        return self.name


ACTIVE_RUNS: Final = Metric("flyball_active_runs", "Runs now active.")
REPEATED_CALLS: Final = Metric(
    "flyball_repeated_calls_max",
    "Turns of one active run in which the same call gave the same result; the worst of the active runs.",
)
CYCLE_ROUNDS: Final = Metric(
    "flyball_cycle_rounds_max",
    "Rounds of the same calls with the same results in one active run; the worst of the active runs.",
)
NEAR_REPEATS: Final = Metric(
    "flyball_near_repeats_max",
    "Turns of one active run in which one question in other words gave the same result; the worst of the active runs.",
)
SAME_FAILURES: Final = Metric(
    "flyball_same_failures_max",
    "Calls of one tool that failed the same way, with no success of that tool between; the worst of the active runs.",
)
FAILED_CALLS: Final = Metric(
    "flyball_failed_calls_max",
    "Turns with failing tool calls in a row, of whatever tools; the worst of the active runs.",
)
CONTEXT_SHARE: Final = Metric(
    "flyball_context_share_max", "Share (0..1) of the model's context window in use; the fullest of the active runs."
)
CONTEXT_TURNS_LEFT: Final = Metric(
    "flyball_context_turns_left_min",
    "Turns until the window of an active run is full at its present rate; the soonest. No series while none grows.",
)
UNKNOWN_TOOL_CALLS: Final = Metric(
    "flyball_unknown_tool_calls_max",
    "Calls of one tool that the request did not declare; the worst of the active runs.",
)
INVALID_CALLS: Final = Metric(
    "flyball_invalid_calls_max",
    "Turns in which one tool was called with arguments that do not fit it; the worst of the active runs.",
)
REPEATED_OUTPUTS: Final = Metric(
    "flyball_repeated_outputs_max",
    "Turns with the same or nearly the same answer; the worst of the active runs.",
)
SILENT_SECONDS: Final = Metric(
    "flyball_run_silent_seconds_max",
    "Seconds since anything began or ended in a run that has not ended; the longest of them.",
)
RUN_SECONDS: Final = Metric("flyball_run_seconds_max", "Age in seconds of a run that has not ended; the oldest.")
RUN_COST: Final = Metric("flyball_run_cost_usd_max", "Cost so far in US dollars; the dearest of the active runs.")
GROUP_COST: Final = Metric(
    "flyball_group_cost_usd_median", "Median cost in US dollars of the finished runs of this agent and model."
)
GROUP_DEVIATION: Final = Metric(
    "flyball_group_cost_log_deviation",
    "Robust standard deviation of the natural logarithm of those costs (1.4826 times the median absolute deviation).",
)
GROUP_RUNS: Final = Metric("flyball_group_runs", "Finished runs of this agent and model that have a known cost.")

HOUR_RUNS: Final = Metric("flyball_hour_runs", "Runs that ended in the last hour, or are active.", AGENT_LABELS)
HOUR_LOOPS: Final = Metric("flyball_hour_looping_runs", "Of these, runs in which a loop was seen.", AGENT_LABELS)
HOUR_STOPS: Final = Metric("flyball_hour_guard_stops", "Runs that a guard stopped within the last hour.", AGENT_LABELS)
HOUR_COST: Final = Metric("flyball_hour_cost_usd", "US dollars spent in the last hour.", AGENT_LABELS)
HOUR_COST_USUAL: Final = Metric(
    "flyball_hour_cost_usd_usual",
    f"Median of what the same hour of the day cost on the {USUAL_DAYS} days before, in US dollars; "
    "no series before the record reaches back three days.",
    AGENT_LABELS,
)
TOOL_CALLS: Final = Metric(
    "flyball_recent_tool_calls", "Calls of the tool that ended within the last ten minutes.", TOOL_LABELS
)
TOOL_FAILURES: Final = Metric("flyball_recent_tool_failures", "Of these, calls that failed.", TOOL_LABELS)
MODEL_REQUESTS: Final = Metric(
    "flyball_recent_model_requests",
    "Requests to the model that were answered or given up within the last ten minutes; a request that is sent again counts once.",
    MODEL_LABELS,
)
MODEL_FAILURES: Final = Metric(
    "flyball_recent_model_failures",
    "Of these, requests that have failed after all their retries, and so for whoever asked.",
    MODEL_LABELS,
)
MODEL_RETRIES: Final = Metric(
    "flyball_recent_model_retries",
    "How often these requests were sent again, as far as it was recorded.",
    MODEL_LABELS,
)
MODEL_FAILURE_KINDS: Final = Metric(
    "flyball_recent_model_failures_by_kind",
    "The failed ones by why they failed: authentication, billing, rate_limit, overloaded, timeout, connection, server_error, "
    "too_long, bad_request or other.",
    KIND_LABELS,
)
MODEL_REFUSALS: Final = Metric(
    "flyball_recent_model_refusals",
    "The failed ones that no retry can help: the provider did not accept the key, its rights, or the account's balance.",
    KIND_LABELS,
)
SPEND_5M: Final = Metric("flyball_spend_5m_usd", "US dollars spent in the last 5 minutes.", NO_LABELS)
SPEND_30M: Final = Metric("flyball_spend_30m_usd", "US dollars spent in the last 30 minutes.", NO_LABELS)
SPEND_1H: Final = Metric("flyball_spend_1h_usd", "US dollars spent in the last hour.", NO_LABELS)
SPEND_6H: Final = Metric("flyball_spend_6h_usd", "US dollars spent in the last 6 hours.", NO_LABELS)
USER_DAY_COST: Final = Metric(
    "flyball_user_day_cost_usd_max",
    "US dollars that the runs of one user have cost since midnight UTC; the dearest user, who is not named.",
    NO_LABELS,
)
LOST_SPANS: Final = Metric("flyball_lost_spans", "Spans that were lost while recording, so far.", NO_LABELS)
UNPRICED_CALLS: Final = Metric(
    "flyball_unpriced_calls", "Model calls of the last hour without a known price.", NO_LABELS
)
REVIEWS_WAITING: Final = Metric("flyball_reviews_waiting", "Requests that wait for a person's answer.", NO_LABELS)
REVIEW_WAIT_SECONDS: Final = Metric(
    "flyball_review_wait_seconds_max", "Seconds for which the oldest of them has been waiting.", NO_LABELS
)

METRICS: Final = (
    ACTIVE_RUNS,
    REPEATED_CALLS,
    CYCLE_ROUNDS,
    NEAR_REPEATS,
    SAME_FAILURES,
    FAILED_CALLS,
    CONTEXT_SHARE,
    CONTEXT_TURNS_LEFT,
    UNKNOWN_TOOL_CALLS,
    INVALID_CALLS,
    REPEATED_OUTPUTS,
    SILENT_SECONDS,
    RUN_SECONDS,
    RUN_COST,
    GROUP_COST,
    GROUP_DEVIATION,
    GROUP_RUNS,
    HOUR_RUNS,
    HOUR_LOOPS,
    HOUR_STOPS,
    HOUR_COST,
    HOUR_COST_USUAL,
    TOOL_CALLS,
    TOOL_FAILURES,
    MODEL_REQUESTS,
    MODEL_FAILURES,
    MODEL_RETRIES,
    MODEL_FAILURE_KINDS,
    MODEL_REFUSALS,
    SPEND_5M,
    SPEND_30M,
    SPEND_1H,
    SPEND_6H,
    USER_DAY_COST,
    LOST_SPANS,
    UNPRICED_CALLS,
    REVIEWS_WAITING,
    REVIEW_WAIT_SECONDS,
)

NOW_ONLY: Final = frozenset({LOST_SPANS, REVIEWS_WAITING, REVIEW_WAIT_SECONDS})
"""Metrics of which the record has no history: how many, but not since when."""

RUN_COST_LINE: Final = Metric("flyball:run_cost_usd:line", "Cost of one run in US dollars from which it is unusual.")
SILENT_LINE: Final = Metric(
    "flyball:run_silent_seconds:line", "Seconds of silence in one run from which it is unusual."
)
LOOP_LINE: Final = Metric(
    "flyball:hour_loop_share:line", "Share (0..1) of looping runs from which it is unusual.", AGENT_LABELS
)
TOOL_FAILURE_LINE: Final = Metric(
    "flyball:recent_tool_failure_share:line",
    "Share (0..1) of failed calls of a tool from which it is unusual.",
    TOOL_LABELS,
)
"""Lines from recorded history (`analyzer.alerts.baselines`): constants that Prometheus records, and no gauges of the database."""
