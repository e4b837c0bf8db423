"""`error_cascade`: one failure after another; and the breaker that refuses a tool which keeps failing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from instrument.guards.facts import Action, Call, Intervention, Outcome
from instrument.guards.story import Story, ended_seconds
from instrument.guards.turns import Turns
from instrument.guards.wording import about, clean, plural, quoted
from instrument.policy import ToolErrors

_KIND_CHARS: Final = 160


@dataclass(slots=True)
class _Chain:
    """Failures of one tool and one kind, with no success of the tool and no sign of progress between."""

    kind: str
    turns: Turns = field(default_factory=Turns)
    temporary: bool = True
    """All of them were."""
    call: int | None = None
    answer: int | None = None
    others: int = 0
    """Of the latest failure: its call, its result, and how many calls of other tools had succeeded."""

    def moved(self, call: Call, outcome: Outcome, others: int) -> bool:
        """The same question, another failing answer, and something else done in between: a test that fails on fewer cases."""
        if call.call_key is None or call.call_key != self.call or others == self.others:
            return False
        return None not in (self.answer, outcome.result_key) and self.answer != outcome.result_key


@dataclass(slots=True)
class _Tool:
    """What is known of one tool since its last success."""

    successes: int = 0
    chains: dict[str, _Chain] = field(default_factory=dict)
    failed: dict[int, tuple[str, int]] = field(default_factory=dict)
    """By call: the kind of its latest failure, and what had happened in the run by then."""
    breaker: _Chain | None = None
    """The latest chain that the model was told of, if its failures were temporary."""
    failed_seconds: float = 0.0
    trial: int | None = None
    """Turn in which the one call was let through that may find the tool working again."""


@dataclass(slots=True)
class _Streak:
    """Failures in a row, of whatever tools."""

    turns: Turns = field(default_factory=Turns)
    first: tuple[str, str | None] | None = None
    varied: bool = False


class ErrorCascade:
    """Counts failing turns per tool and kind of failure, and failures in a row; calls that were rejected are no failures.

    The breaker after `tool_errors.same_failure_calls`: a tool whose failures are temporary is refused for
    `breaker_seconds`, then one call may try; of another tool only those calls are refused that failed so before,
    and only until something was changed that might mend them.
    """

    def __init__(self, params: ToolErrors, story: Story, *, enforced: bool) -> None:
        self._params, self._story, self._enforced = params, story, enforced
        self._tools: dict[str, _Tool] = {}
        self._successes = 0
        self._streak = _Streak()

    def asked(self, call: Call) -> Intervention | None:
        """Refuses what is all but certain to fail once more."""
        tool = self._tools.get(call.tool)
        if tool is None:
            return None
        if tool.breaker is not None and tool.breaker.temporary:
            return self._while_open(tool, tool.breaker, call)
        return self._failed_before(tool, call)

    def ran(self, call: Call, outcome: Outcome) -> list[Intervention]:
        """Counts a failure, or forgets the tool's failures after a success."""
        if outcome.rejected is not None or outcome.failed is None:
            return []
        tool = self._tools.setdefault(call.tool, _Tool())
        if not outcome.failed:
            self._worked(tool)
            return []
        tool.failed_seconds = ended_seconds(call, outcome)
        return [i for i in (self._chained(tool, call, outcome), self._in_a_row(call, outcome)) if i is not None]

    def _worked(self, tool: _Tool) -> None:
        self._successes += 1
        self._streak = _Streak()
        tool.successes += 1
        tool.chains.clear()
        tool.failed.clear()
        tool.breaker = tool.trial = None

    # --- counting -----------------------------------------------------------------------------------------------------

    def _chained(self, tool: _Tool, call: Call, outcome: Outcome) -> Intervention | None:
        if outcome.failure_kind is None:
            return None
        chain = self._chain_of(tool, call, outcome, outcome.failure_kind)
        chain.turns.add(call.turn)
        chain.temporary &= outcome.temporary
        if call.call_key is not None:
            tool.failed[call.call_key] = outcome.failure_kind, self._story.happened(call)
        action = chain.turns.rung(call.turn, self._params.same_failure_calls, self._params.error_calls)
        if chain.temporary and chain.turns.noticed is not None:
            tool.breaker = chain
        if action is None:
            return None
        count, name, kind = chain.turns.count, quoted(call.tool), clean(outcome.failure_kind, _KIND_CHARS)
        reason = f"{name} failed the same way in {plural(count, 'turn')} (“{kind}”), with no success in between."
        return self._said(call, action, count, reason, "same_failure_calls", _course(name))

    def _chain_of(self, tool: _Tool, call: Call, outcome: Outcome, kind: str) -> _Chain:
        """The chain that this failure belongs to, with its latest failure noted."""
        others = self._successes - tool.successes
        chain = tool.chains.get(kind)
        if chain is None or chain.moved(call, outcome, others):
            if tool.breaker is chain:
                tool.breaker = None
            chain = tool.chains[kind] = _Chain(kind)
        chain.call, chain.answer, chain.others = call.call_key, outcome.result_key, others
        return chain

    def _in_a_row(self, call: Call, outcome: Outcome) -> Intervention | None:
        streak, this = self._streak, (call.tool, outcome.failure_kind)
        streak.first = streak.first or this
        streak.varied |= this != streak.first
        streak.turns.add(call.turn)
        if not streak.varied:  # one tool failing one way is counted above
            return None
        nudge_at = self._params.failed_calls
        action = streak.turns.rung(call.turn, nudge_at, max(self._params.error_calls, nudge_at + 1))
        if action is None:
            return None
        count = streak.turns.count
        reason = f"Tool calls failed in {plural(count, 'turn')} in a row, in different ways."
        advice = "Stop and read the errors: answer with what you know, or take another way than these calls."
        return self._said(call, action, count, reason, "failed_calls", advice)

    # --- the breaker --------------------------------------------------------------------------------------------------

    def _while_open(self, tool: _Tool, chain: _Chain, call: Call) -> Intervention | None:
        if not chain.turns.refuses(call.turn):
            return None
        waited = call.at_seconds - tool.failed_seconds
        if waited >= self._params.breaker_seconds and tool.trial != call.turn:
            tool.trial = call.turn
            return None
        left = max(1, round(self._params.breaker_seconds - waited))
        advice = (
            f"It may work again in {plural(left, 'second')}. Until then use another tool, or answer with what you know."
        )
        return self._refuse(chain, call, advice)

    def _failed_before(self, tool: _Tool, call: Call) -> Intervention | None:
        if call.call_key is None or call.call_key not in tool.failed or self._story.changing(call):
            return None
        kind, happened = tool.failed[call.call_key]
        chain = tool.chains.get(kind)
        if chain is None or not chain.turns.refuses(call.turn) or self._story.happened(call) != happened:
            return None
        return self._refuse(chain, call, _course(quoted(call.tool)))

    def _refuse(self, chain: _Chain, call: Call, advice: str) -> Intervention:
        action, count = chain.turns.refusal(call.turn, self._params.error_calls, enforced=self._enforced)
        reason = (
            f"{quoted(call.tool)} was refused: it was asked for in {plural(count, 'turn')} "
            f"and failed the same way each time it ran (“{clean(chain.kind, _KIND_CHARS)}”)."
        )
        return self._said(call, action, count, reason, "same_failure_calls", advice)

    def _said(self, call: Call, action: Action, count: int, reason: str, name: str, advice: str) -> Intervention:
        threshold: int = getattr(self._params, name)
        if action is Action.STOP:
            # Failures in a row stop no earlier than one turn after the model was told of them.
            threshold = max(self._params.error_calls, threshold + (name == "failed_calls"))
            name = "error_calls"
        return about(
            call,
            "error_cascade",
            action,
            reason,
            setting=f"tool_errors.{name}",
            threshold=threshold,
            value=count,
            advice=f"{reason} {advice}",
        )


def _course(name: str) -> str:
    return (
        f"The same call of {name} will fail again: use other arguments or another tool, or answer with what you know."
    )
