"""Findings, outcomes and the report that holds them: plain values, the same for terminal, JSON, app and CI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from instrument.otlp import Issue


class Severity(StrEnum):
    """How bad it is. Ordered: `info` < `warning` < `error`."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """0, 1, 2 from the mildest."""
        return list(Severity).index(self)


class State(StrEnum):
    """How much of what it needs a detector could see."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    BLIND = "blind"
    NOTHING_TO_CHECK = "nothing_to_check"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One answer with its proof."""

    detector: str
    """Slug of the detector."""
    severity: Severity
    confidence: float
    """How sure, 0..1."""
    trace_id: str
    run_id: str
    agent_name: str | None = None
    span_ids: tuple[str, ...]
    """Spans that prove it, in order; at most `run.SPAN_IDS_SHOWN`, the first and the last always among them."""
    first_step: int
    last_step: int
    """Steps of the first and the last span of the pattern."""
    first_turn: int
    last_turn: int
    """Turns they belong to."""
    start_ns: int
    """Start of the first span, nanoseconds since 1970."""
    message: str
    """What happened, past tense, one sentence, with the numbers."""
    evidence: dict[str, Any]
    """The detector's declared columns."""
    wasted_tokens: int | None = None
    wasted_cost_usd: float | None = None
    wasted_seconds: float | None = None
    """Spent from the first useless turn to the end of the pattern; None: not known."""
    advice: str
    """The guard setting or code change that prevents it."""
    fingerprint: str
    """16 hex digits, the same whenever the same trace is judged again."""


LOST: Final = "spans were lost or could not be read"
"""What no detector could see, as the last of an outcome's reasons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one detector could see."""

    detector: str
    state: State
    known: float | None
    """Share (0..1) of the spans it looks at for which everything it needs was recorded; None: there were no such spans."""
    reason: str | None = None
    """What was missing, where something was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardAction:
    """One thing that a guard did while the run went on, as recorded; None: not said."""

    run_id: str
    trace_id: str
    span_id: str
    """The tool call concerned, else the agent span."""
    agent_name: str | None = None
    step: int
    turn: int
    """Both as findings count them."""
    guard: str
    """Slug; that of the detector that finds the same, where there is one."""
    action: str
    """`nudge`, `block`, `stop`, or a measure of the runner's own (`retry`, `cut`, `compact`, ...)."""
    reason: str | None = None
    setting: str | None = None
    """Field of the policy that decided."""
    threshold: float | None = None
    value: float | None = None
    tool: str | None = None
    observed: bool = False
    """The policy only observed: nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A guarded run that ended otherwise than by the model's answer."""

    run_id: str
    trace_id: str
    agent_name: str | None = None
    stop_reason: str
    """`instrument.runner.stop.StopReason`; where a guard stopped the run, the guard's slug."""
    status: str | None = None
    cost_usd: float | None = None
    limit_usd: float | None = None
    """By the runner's own account, sub-agents included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over everything that was judged. Tokens and cost are of model calls only, each counted once."""

    runs: int = 0
    unfinished_runs: int = 0
    spans: int = 0
    model_calls: int = 0
    duplicate_model_calls: int = 0
    """Further reports of a model call that was already counted."""
    duplicate_calls: int = 0
    """The same with those of tool calls."""
    duplicate_tokens: int = 0
    """Input and output tokens that the further reports hold: what a sum over all spans would count again."""
    duplicate_cost_usd: float | None = None
    """What those tokens cost; None where no further report has a price."""
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    """None where no call has a price; else the sum of those that have."""
    unpriced_calls: int = 0
    unmeasured_calls: int = 0
    """Model calls without token counts."""
    wasted_tokens: int | None = None
    wasted_cost_usd: float | None = None
    wasted_seconds: float | None = None
    """Union over findings: a turn that three findings name is counted once. None: there is waste and none of it has a known size."""
    guarded_runs: int = 0
    """Runs that recorded being under a guard."""
    stopped_runs: int = 0
    """Of these, those that ended otherwise than by the model's answer."""
    guard_actions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything one judgement says."""

    findings: tuple[Finding, ...] = ()
    """Worst and most expensive first."""
    outcomes: tuple[Outcome, ...] = ()
    issues: tuple[Issue, ...] = ()
    totals: Totals = field(default_factory=Totals)
    wasted_usd: Mapping[int, float] = field(default_factory=dict)
    """Known cost of the useless turns of each run that has any, each turn once, by the number of the run in the store."""
    guard_actions: tuple[GuardAction, ...] = ()
    """By run, in order of time."""
    stops: tuple[Stop, ...] = ()
