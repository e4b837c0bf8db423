"""Stuck states: `repeated_output`, `empty_response`, answers that announce and do nothing, and `null_input`."""

from __future__ import annotations

from dataclasses import dataclass

from instrument.guards.facts import Action, Answer, Call, Intervention, Outcome
from instrument.guards.story import Story
from instrument.guards.turns import Turns
from instrument.guards.wording import about, plural, quoted
from instrument.policy import Stuck


@dataclass(slots=True)
class _Saying:
    learned: int
    turns: Turns


class RepeatedOutput:
    """Counts answers that say the same without a tool call, with nothing learned in between; one entry per distinct answer."""

    def __init__(self, params: Stuck, story: Story) -> None:
        self._params, self._story = params, story
        self._sayings: dict[int, _Saying] = {}

    def answered(self, answer: Answer) -> Intervention | None:
        """Answers that ask for a tool are judged by their calls."""
        key, learned = answer.loose_output_key, self._story.learned
        if answer.calls or key is None or answer.output_chars < self._params.output_chars:
            return None
        saying = self._sayings.get(key)
        if saying is None or saying.learned != learned:
            saying = self._sayings[key] = _Saying(learned, Turns())
        saying.turns.add(answer.turn)
        action = saying.turns.rung(
            answer.turn, self._params.same_output_repeats, self._params.same_output_error_repeats
        )
        if action is None:
            return None
        name = "same_output_error_repeats" if action is Action.STOP else "same_output_repeats"
        reason = f"The model gave nearly the same answer in {plural(saying.turns.count, 'turn')}, having learned nothing new."
        advice = "You have said this before. Call the tool that brings you further, or say plainly what is missing."
        return _of(answer, "repeated_output", action, reason, self._params, name, saying.turns.count, advice)


class EmptyResponse:
    """Counts answers in a row with neither words nor a tool call."""

    def __init__(self, params: Stuck) -> None:
        self._params = params
        self._count = 0

    def heard(self) -> None:
        """The user spoke."""
        self._count = 0

    def answered(self, answer: Answer) -> Intervention | None:
        """Nudges after the first ones, and then ends the run."""
        empty = answer.output_key is None and not answer.output_chars and not answer.calls
        self._count = self._count + 1 if empty else 0
        if not empty:
            return None
        action = Action.STOP if self._count >= self._params.empty_answers else Action.NUDGE
        reason = f"The model gave {plural(self._count, 'empty answer')} in a row."
        advice = "Your answer was empty. Call a tool, or give your answer in words."
        return _of(answer, "empty_response", action, reason, self._params, "empty_answers", self._count, advice)


class IdleAnswer:
    """Counts answers in a row that announce an action and take none; nudges until the last one is taken as it is."""

    def __init__(self, params: Stuck) -> None:
        self._params = params
        self._count = 0

    def heard(self) -> None:
        """The user spoke."""
        self._count = 0

    def answered(self, answer: Answer) -> Intervention | None:
        """A nudge, below `stuck.idle_answers`."""
        idle = answer.idle and not answer.calls
        self._count = self._count + 1 if idle else 0
        if not idle or self._count >= self._params.idle_answers:
            return None
        reason = f"The model announced what it would do and did nothing in {plural(self._count, 'answer')} in a row."
        advice = "You said what you would do and called no tool. Do it now, or give your final answer."
        return _of(answer, "idle_answer", Action.NUDGE, reason, self._params, "idle_answers", self._count, advice)


class NullInput:
    """Counts turns in a row in which a tool was called with nothing but empty values. Any call with real input ends it."""

    def __init__(self, params: Stuck) -> None:
        self._params = params
        self._tools: dict[str, Turns] = {}

    def ran(self, call: Call, outcome: Outcome) -> Intervention | None:
        """Blocked calls count: it is the asking that shows the state. What the other checks of input reject is theirs."""
        if outcome.rejected in {"unknown_tool", "invalid_arguments"}:
            return None
        if not call.null_input:
            self._tools.clear()
            return None
        turns = self._tools.setdefault(call.tool, Turns())
        turns.add(call.turn)
        action = turns.rung(call.turn, self._params.null_input_calls, self._params.null_input_error_calls)
        if action is None:
            return None
        name = "null_input_error_calls" if action is Action.STOP else "null_input_calls"
        reason = (
            f"{quoted(call.tool)} was called with nothing but empty values in {plural(turns.count, 'turn')} in a row."
        )
        return about(
            call,
            "null_input",
            action,
            reason,
            setting=f"stuck.{name}",
            threshold=getattr(self._params, name),
            value=turns.count,
            advice=f"{reason} Fill in the values, or say which of them you do not have.",
        )


def _of(
    answer: Answer, guard: str, action: Action, reason: str, params: Stuck, name: str, value: int, advice: str
) -> Intervention:
    threshold = getattr(params, name)
    return Intervention(guard, action, reason, f"stuck.{name}", threshold, value, advice, turn=answer.turn)
