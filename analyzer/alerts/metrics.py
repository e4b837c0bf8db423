"""The metrics that the alert rules rest on, once. Rules, their tests and the exporter take the names from here.

All are gauges that speak about the worst run now active, not counters: a threshold of the policy is about one run,
`increase()` rounds and misses a series that is born above zero, and a gauge that goes away with its run resolves its
alert. Labels are bounded: `agent_name` and `model`, never a run, a user or a tool. Names hold no dot: Prometheus 2
refuses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LABELS: Final = ("agent_name", "model")
"""On every series. `agent_name` is empty where spans name none."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A gauge: its name on the wire and what one value means."""

    name: str
    meaning: str

    def __str__(self) -> str:
        return self.name


REPEATED_CALLS: Final = Metric(
    "flyball_repeated_calls_max",
    "Turns of one active run in which the same call gave the same result; the worst of the active runs.",
)
SAME_FAILURES: Final = Metric(
    "flyball_same_failures_max",
    "Calls of one tool that failed the same way, with no success of that tool between; the worst of the active runs.",
)
FAILED_CALLS: Final = Metric(
    "flyball_failed_calls_max", "Failed tool calls in a row, of whatever tools; the worst of the active runs."
)
CONTEXT_SHARE: Final = Metric(
    "flyball_context_share_max", "Share (0..1) of the model's context window in use; the fullest of the active runs."
)
CONTEXT_TURNS_LEFT: Final = Metric(
    "flyball_context_turns_left_min",
    "Turns until the window of that fullest run is full at its present rate; no series while it does not grow.",
)
UNKNOWN_TOOL_CALLS: Final = Metric(
    "flyball_unknown_tool_calls_max",
    "Calls of one tool that the request did not declare; the worst of the active runs.",
)
REPEATED_OUTPUTS: Final = Metric(
    "flyball_repeated_outputs_max",
    "Turns with the same or nearly the same answer; the worst of the active runs.",
)
RUN_COST: Final = Metric("flyball_run_cost_usd_max", "Cost so far in US dollars; the dearest of the active runs.")
GROUP_COST: Final = Metric(
    "flyball_group_cost_usd_median", "Median cost in US dollars of the finished runs of this agent and model."
)
GROUP_DEVIATION: Final = Metric(
    "flyball_group_cost_log_deviation",
    "Robust standard deviation of the natural logarithm of those costs (1.4826 times the median absolute deviation).",
)
GROUP_RUNS: Final = Metric("flyball_group_runs", "Finished runs of this agent and model that have a known cost.")

METRICS: Final = (
    REPEATED_CALLS,
    SAME_FAILURES,
    FAILED_CALLS,
    CONTEXT_SHARE,
    CONTEXT_TURNS_LEFT,
    UNKNOWN_TOOL_CALLS,
    REPEATED_OUTPUTS,
    RUN_COST,
    GROUP_COST,
    GROUP_DEVIATION,
    GROUP_RUNS,
)
