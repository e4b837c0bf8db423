"""All guards of one run, behind one face."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from instrument.guards.cycles import CallCycle
from instrument.guards.facts import Action, Answer, Call, Intervention, Outcome
from instrument.guards.loops import NearRepeat, RepeatedCall
from instrument.guards.progress import Checkpoint
from instrument.guards.rejections import InvalidArgumentsGuard, UnknownTool
from instrument.guards.story import Story
from instrument.guards.stuck import EmptyResponse, IdleAnswer, NullInput, RepeatedOutput
from instrument.guards.tool_errors import ErrorCascade
from instrument.policy import Policy

_WEIGHT: Final = {Action.STOP: 0, Action.BLOCK: 1, Action.NUDGE: 2}


class Panel:
    """Told of each step of a run, says what to do about it. Holds keys and counters, no content, and has no clock of its own.

    Steps come in the order of the run: `answered`, then for the calls of that answer `asked` and `ran`, either all asked first or
    one after the other; `ran` also for calls that were rejected or blocked. A step costs the same however long
    the run is; the state grows with the distinct calls, results and answers of the run.

    In mode `observe` the state goes on as if nothing had been done, and interventions are marked `observed`; in mode `off`
    there are none. Calls that cannot run (unknown tools, arguments that do not fit) are refused in every mode.
    """

    def __init__(self, policy: Policy) -> None:
        self._mode = policy.guards.mode
        enforced = self._mode == "enforce"
        self._story = Story()
        self._unknown = UnknownTool(policy.unknown_tools)
        self._invalid = InvalidArgumentsGuard(policy.invalid_arguments)
        self._cycle = CallCycle(policy.loops, self._story, enforced=enforced)
        self._repeated = RepeatedCall(policy.loops, self._story, self._cycle, enforced=enforced)
        self._near = NearRepeat(policy.loops, self._story, enforced=enforced)
        self._checkpoint = Checkpoint(policy.loops)
        self._errors = ErrorCascade(policy.tool_errors, self._story, enforced=enforced)
        self._null_input = NullInput(policy.stuck)
        self._output = RepeatedOutput(policy.stuck, self._story)
        self._empty = EmptyResponse(policy.stuck)
        self._idle = IdleAnswer(policy.stuck)
        self._turn = 0
        self._verdicts: dict[int, Intervention | None] = {}

    def asked(self, call: Call) -> Intervention | None:
        """Before a call runs. `BLOCK` or `STOP`: it must not (unless `observed`); None: it may."""
        rejected = self._unknown.asked(call) or self._invalid.asked(call)
        if rejected is not None or self._mode == "off":
            return rejected
        if call.turn != self._turn:
            self._turn = call.turn
            self._verdicts.clear()
        if call.call_key is None:
            return self._judged(call)
        # The same call twice in one turn gets one verdict, and counts once.
        if call.call_key not in self._verdicts:
            self._verdicts[call.call_key] = self._judged(call)
        verdict = self._verdicts[call.call_key]
        return verdict and replace(verdict, call_id=call.call_id)

    def ran(self, call: Call, outcome: Outcome) -> list[Intervention]:
        """After a call ran or was rejected; what weighs most comes first."""
        if self._mode == "off":
            return []
        new = outcome.rejected != "blocked" and self._story.ran(call, outcome)
        found = [
            self._unknown.ran(call, outcome),
            self._invalid.ran(call, outcome),
            self._null_input.ran(call, outcome),
            self._cycle.ran(call, outcome),
            self._repeated.ran(call, outcome),
            self._near.ran(call, outcome),
            *self._errors.ran(call, outcome),
            self._checkpoint.ran(call, outcome, new=new),
        ]
        return self._told(found)

    def answered(self, answer: Answer) -> list[Intervention]:
        """After an answer of the model, before its calls."""
        if self._mode == "off":
            return []
        return self._told(g.answered(answer) for g in (self._output, self._empty, self._idle))

    def heard(self) -> None:
        """The user said something new: what was asked before may be asked again, and what was said may be said again."""
        self._story.heard()
        self._cycle.heard()
        self._empty.heard()
        self._idle.heard()

    def _judged(self, call: Call) -> Intervention | None:
        found = [g.asked(call) for g in (self._cycle, self._repeated, self._near, self._errors)]
        told = self._told(found)
        if not told:
            self._story.let_through(call)
        return told[0] if told else None

    def _told(self, found: Iterable[Intervention | None]) -> list[Intervention]:
        told = sorted((i for i in found if i is not None), key=lambda i: _WEIGHT[i.action])
        return [replace(i, observed=True) for i in told] if self._mode == "observe" else told
