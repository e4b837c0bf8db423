"""What a run gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from instrument.billing import Usage
from instrument.errors import RunStopped
from instrument.guards.facts import Intervention
from instrument.runner.stop import StopReason

Status = Literal["completed", "failed", "partial"]


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. Nothing here is recorded content's copy: `messages` are the very ones that were sent."""

    answer: str
    """The best answer that could be had; empty where the model never said anything."""
    stop_reason: StopReason
    status: Status | None = None
    """What the agent said of its task when it called `task_complete`; None where it did not."""
    turns: int = 0
    """Requests sent to the model, failed ones included."""
    tool_calls: int = 0
    """Tool calls that ran."""
    usage: Usage = field(default_factory=Usage)
    """Tokens of this run, without those of sub-agents."""
    cost_usd: float | None = 0.0
    """What this run cost in US dollars, sub-agents included; None where a price or a usage was not known."""
    cost_at_most_usd: float = 0.0
    """The same with everything unknown taken at its worst: what the budget was charged with."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    """The conversation, valid to be continued."""
    actions: tuple[Intervention, ...] = ()
    """What guards did, in order."""
    error: Exception | None = None
    """Of a `model_error`."""
    review_id: str | None = None
    """Of a `review_pending`: what `flyball reviews` lists and `resume` takes."""
    run_id: str | None = None
    trace_id: str | None = None
    """Where the run is recorded; None where nothing was."""
    conversation_id: str | None = None

    @property
    def ok(self) -> bool:
        """The model gave its answer by itself, and no guard had to end the run."""
        return self.stop_reason is StopReason.COMPLETED and self.status in (None, "completed")

    def raise_for_stop(self) -> RunResult:
        """This result, where the model gave its answer by itself; raises `RunStopped`, from `error` if there is one, otherwise."""
        if self.ok:
            return self
        last = next((a.reason for a in reversed(self.actions) if a.guard == self.stop_reason), "")
        said = f"the run ended in {self.stop_reason}" + (f" ({self.status})" if self.status else "")
        raise RunStopped(self.stop_reason, f"{said}: {last}" if last else said) from self.error
