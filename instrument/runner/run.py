"""One guarded run: its counters, its guards, its money and its record. Knows nothing of how models and tools are called."""

from __future__ import annotations

import re
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from instrument import sameness, semconv, tracing
from instrument.billing import Usage
from instrument.budget import Budget
from instrument.call import Call as Recorded
from instrument.call import Spec
from instrument.capture import as_json
from instrument.context import current_run
from instrument.effects import effect_of, writes
from instrument.guards.facts import Action, Answer, Call, Intervention, Outcome
from instrument.guards.panel import Panel
from instrument.policy import Policy
from instrument.prices import Prices
from instrument.runner.stop import StopReason
from instrument.windows import window_of

if TYPE_CHECKING:
    from instrument.runner.wants import Settle

_REMEMBERED_CALLS: Final = 128
_REMEMBERED_CHARS: Final = 4_000
_ANNOUNCES: Final = re.compile(
    r"(?:^|[.!?:\n]\s*)(?:ok(?:ay)?[,.]?\s+|now,?\s+|next,?\s+|first,?\s+|so,?\s+)*"
    r"(?:let me|i(?:'|\u2019)?ll|i will|i am going to|i(?:'|\u2019)m going to)\b(?!\s+(?:know|be happy|be glad))"
    r"[^.!?\n]*(?:[.:…]|\.\.\.)?\s*$",
    re.IGNORECASE,
)
"""The last sentence says what will be done next."""

active: ContextVar[Run | None] = ContextVar("flyball_guarded_run", default=None)
"""The innermost guarded run around the code that is running: whose budget a sub-agent inherits."""


class Run:
    """State of one run. `clock` gives seconds that only move forward, `today` the UTC date.

    A run started inside a tool of another one spends that one's budget too.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        name: str,
        model: str = "",
        user_id: str | None = None,
        conversation_id: str | None = None,
        prices: Prices | None = None,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], date] | None = None,
    ) -> None:
        self.policy, self.name, self.model = policy, name, model
        self.user_id = user_id or current_run.get().user_id
        self.conversation_id = conversation_id or current_run.get().conversation_id or f"conv_{uuid.uuid4().hex}"
        self.prices = prices or Prices()
        self.clock = clock
        self.today = today or (lambda: datetime.now(UTC).date())
        around = active.get()
        self.budget: Budget = Budget(policy.cost.run_limit_usd, around.budget if around is not None else None)
        if around is None and policy.review.over_usd is not None:
            self.budget.approve_from(policy.review.over_usd)
        self.panel = Panel(policy)
        self.started_at = clock()
        self.turns = self.tool_calls = 0
        self.usage = Usage()
        self.actions: list[Intervention] = []
        self.stop: StopReason | None = None
        self.window = window_of(model, policy.context.windows) if model else None
        if policy.context.windows and (measuring := tracing.measuring()) is not None:
            measuring.know_windows(policy.context.windows)
        self.recorded: Recorded | None = None
        self.unsettled: Settle | None = None
        """What is left to do for a request that the caller left in the middle of."""
        self._results: OrderedDict[int, str] = OrderedDict()

    # --- record -------------------------------------------------------------------------------------------------------

    def record(self, prompt: Any) -> Recorded:
        """Starts the span of the run. The caller enters and leaves it."""
        spec = Spec(
            _agent,
            semconv.INVOKE_AGENT,
            self.name,
            user_id=self.user_id,
            conversation_id=self.conversation_id,
        )
        self.recorded = Recorded(spec, (prompt,), {})
        self.declare()
        return self.recorded

    def declare(self) -> None:
        """Writes on the span of the run what it may do."""
        if self.recorded is not None:
            self.recorded.set(semconv.POLICY, msgspec.json.encode(self.policy).decode())
            if self.budget.limit_usd is not None:
                self.recorded.set(semconv.BUDGET_USD, self.budget.limit_usd)

    def act(self, intervention: Intervention, on: Recorded | None = None) -> Intervention:
        """Keeps and records an action, on the span of the call concerned, else on that of the run."""
        self.actions.append(intervention)
        if (measuring := tracing.measuring()) is not None:
            measuring.acted(self.name, intervention)
        recorded = on or self.recorded
        if recorded is not None:
            recorded.event(semconv.GUARD_EVENT, _attributes(intervention))
        return intervention

    def measure(self, action: Action, guard: str, reason: str, **facts: Any) -> Intervention:
        """Records a measure of the runner's own."""
        return self.act(Intervention(guard, action, reason, turn=self.turns, **facts))

    def measure_on(self, on: Recorded, action: Action, guard: str, reason: str, **facts: Any) -> Intervention:
        """The same, recorded on the span of a tool call."""
        return self.act(Intervention(guard, action, reason, turn=self.turns, **facts), on)

    def ended(self, answer: str, status: str | None = None) -> None:
        """Ends the span of the run, with what it came to."""
        self.describe(status)
        if self.recorded is not None:
            self.recorded.returned(answer)

    def describe(self, status: str | None = None) -> None:
        """Writes on the span of the run what it came to."""
        recorded = self.recorded
        if recorded is None:
            return
        facts = {
            semconv.STOP_REASON: self.stop,
            semconv.RUN_STATUS: status,
            semconv.RUN_COST_USD: self.budget.spent_usd if self.cost_known else None,
        }
        for name, value in facts.items():
            if value is not None:
                recorded.set(name, str(value) if isinstance(value, StopReason) else value)

    @property
    def trace_id(self) -> str | None:
        """Trace of the run's span; None where none is recorded."""
        context = self.recorded.span.get_span_context() if self.recorded is not None else None
        return f"{context.trace_id:032x}" if context is not None and context.is_valid else None

    @property
    def run_id(self) -> str | None:
        """Id of the run's span; None where none is recorded."""
        context = self.recorded.span.get_span_context() if self.recorded is not None else None
        return f"{context.span_id:016x}" if context is not None and context.is_valid else None

    @property
    def cost_known(self) -> bool:
        """Whether what was spent is known, that of sub-agents included, and not only at most."""
        return self.budget.known

    # --- limits -------------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """When, on the run's clock, it has used up its time."""
        return self.started_at + self.policy.loops.run_seconds

    def at_limit(self) -> Intervention | None:
        """The hard limit that has been reached, if one has. The last turn is left for the final answer."""
        loops = self.policy.loops
        seconds = self.clock() - self.started_at
        for stop, value, threshold, setting, said in (
            (StopReason.TURN_LIMIT, self.turns, loops.turns - 1, "turns", f"{self.turns} requests were sent"),
            (
                StopReason.TOOL_CALL_LIMIT,
                self.tool_calls,
                loops.tool_calls,
                "tool_calls",
                f"{self.tool_calls} tool calls ran",
            ),
            (StopReason.TIME_LIMIT, seconds, loops.run_seconds, "run_seconds", f"{seconds:.0f} s had passed"),
        ):
            if value >= threshold:
                limit = getattr(loops, setting)
                return Intervention(
                    stop,
                    Action.STOP,
                    f"{said} of the {limit:g} that a run may have.",
                    f"loops.{setting}",
                    limit,
                    value,
                    "The limit of this run has been reached.",
                    turn=self.turns,
                )
        return None

    # --- facts for the guards -----------------------------------------------------------------------------------------

    def call(
        self,
        name: str,
        arguments: Any,
        call_id: str,
        *,
        unknown: bool = False,
        nearest: tuple[str, ...] = (),
        invalid: str | None = None,
        null_input: bool = False,
    ) -> Call:
        """What the guards need to know of a tool call."""
        exact, loose = sameness.call_keys(name, arguments)
        text = as_json(arguments)[0]
        effect, puts_down = effect_of(name, text), writes(name, text)
        return Call(
            self.turns,
            call_id,
            name,
            exact,
            loose,
            effect,
            unknown,
            nearest,
            invalid,
            null_input,
            self.clock(),
            puts_down,
        )

    def outcome(self, call: Call, text: str, *, error_type: str | None = None, temporary: bool = False) -> Outcome:
        """What the guards need to know of its result; `error_type` None: the tool said nothing of an error."""
        failed = error_type is not None or sameness.says_error(text)
        kind = sameness.failure_kind(error_type, text) if failed else None
        if call.call_key is not None:
            self._remember(call.call_key, text)
        words_key = sameness.loose_result_key(text) if call.writes else None
        return Outcome(sameness.result_key(text), failed, kind, temporary, at_seconds=self.clock(), words_key=words_key)

    def refused_text(self, call: Call, verdict: Intervention) -> str:
        """What a call that was not allowed to run is answered with: why, and what it returned before."""
        earlier = self._results.get(call.call_key) if call.call_key is not None else None
        if earlier is None or verdict.guard not in ("repeated_call", "call_cycle", "near_repeat", "error_cascade"):
            return verdict.advice or verdict.reason
        return f"{verdict.advice or verdict.reason}\n\nThe earlier call returned:\n{earlier}"

    def answer(self, text: str, calls: int) -> Answer:
        """What the guards need to know of what the model said."""
        idle = calls == 0 and _ANNOUNCES.search(text[-400:].strip()) is not None
        return Answer(
            self.turns, sameness.output_key(text), sameness.loose_output_key(text), len(text.strip()), calls, idle
        )

    def _remember(self, key: int, text: str) -> None:
        self._results[key] = text[:_REMEMBERED_CHARS]
        self._results.move_to_end(key)
        if len(self._results) > _REMEMBERED_CALLS:
            self._results.popitem(last=False)


def _attributes(intervention: Intervention) -> Mapping[str, Any]:
    facts = {
        semconv.GUARD_NAME: intervention.guard,
        semconv.GUARD_ACTION: str(intervention.action),
        semconv.GUARD_REASON: intervention.reason,
        semconv.GUARD_SETTING: intervention.setting or None,
        semconv.GUARD_THRESHOLD: intervention.threshold,
        semconv.GUARD_VALUE: intervention.value,
        semconv.GUARD_TURN: intervention.turn,
        semconv.GUARD_TOOL: intervention.tool,
        semconv.GUARD_OBSERVED: intervention.observed or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _agent(prompt: str) -> str:
    """What the span of a run is the span of; its parameter names what is recorded."""
    return prompt
