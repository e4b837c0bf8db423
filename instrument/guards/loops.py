"""`repeated_call` and `near_repeat`: the same question again, in the same words or in others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from instrument.effects import Effect
from instrument.guards.cycles import CallCycle
from instrument.guards.facts import Action, Call, Intervention, Outcome
from instrument.guards.story import Story, ended_seconds
from instrument.guards.turns import Turns
from instrument.guards.wording import about, plural, quoted
from instrument.policy import Loops

_ADVICE: Final = "Asking again will bring the same. Use what you know, try something else, or answer."


@dataclass(slots=True)
class _Stretch:
    """One call that keeps giving one result while nothing happens."""

    result: int
    happened: int
    place: int
    """Where it begins in the sequence of calls."""
    turns: Turns = field(default_factory=Turns)
    letters: int | None = None
    """Of a text written again and again: the first result to the letter, where `result` is its words."""
    varied: bool = False
    """Not all results were the same to the letter."""

    def goes_on(self, turn: int, happened: int, gap_turns: int) -> bool:
        """Whether asking in `turn` is still the same loop."""
        last = self.turns.last
        return happened == self.happened and (last is None or turn - last <= gap_turns)


class RepeatedCall:
    """Counts the turns in which one call gave one result, as the detector of that name does; one stretch per distinct call."""

    def __init__(self, params: Loops, story: Story, cycle: CallCycle, *, enforced: bool) -> None:
        self._params, self._story, self._cycle, self._enforced = params, story, cycle, enforced
        self._stretches: dict[int, _Stretch] = {}
        self._written: dict[int, _Stretch] = {}

    def asked(self, call: Call) -> Intervention | None:
        """Refuses a call that the model was told about, unless it last ran long ago: its answer may be another by now."""
        if call.call_key is None:
            return None
        return self._refused(call, self._stretches.get(call.call_key)) or self._refused(
            call, self._written.get(call.call_key)
        )

    def _refused(self, call: Call, stretch: _Stretch | None) -> Intervention | None:
        if stretch is None or not stretch.turns.refuses(call.turn) or self._story.changing(call):
            return None
        if not stretch.goes_on(call.turn, self._story.happened(call), self._params.same_call_gap_turns):
            return None
        if not stretch.varied and self._story.idle_seconds(call) >= self._params.poll_seconds:
            return None
        stop_at = self._params.same_call_error_repeats * (2 if stretch.varied else 1)
        action, count = stretch.turns.refusal(call.turn, stop_at, enforced=self._enforced)
        reason = (
            f"{quoted(call.tool)} was refused: the same call was asked for in {plural(count, 'turn')} "
            f"and gave {_result(stretch)} each time it ran."
        )
        return self._said(call, action, count, reason, stretch)

    def ran(self, call: Call, outcome: Outcome) -> Intervention | None:
        """To be told after `CallCycle` was."""
        if not _counts(call, outcome) or call.effect is Effect.WAITS:
            return None
        assert outcome.result_key is not None
        params = self._params
        stretch = self._stretch_of(call, outcome.result_key, self._stretches)
        act = self._goes_on(call, stretch, params.same_call_repeats, params.same_call_error_repeats)
        if outcome.words_key is None:
            return act
        # Answered by the length of the file or the id of the message, which are new each time and no news.
        written = self._stretch_of(call, outcome.words_key, self._written)
        written.letters = written.letters or outcome.result_key
        written.varied |= written.letters != outcome.result_key
        often = params.same_call_error_repeats
        anew = self._goes_on(call, written, often, 2 * often)
        return act or anew

    def _goes_on(self, call: Call, stretch: _Stretch, nudge_at: int, stop_at: int) -> Intervention | None:
        stretch.turns.add(call.turn)
        if stretch.turns.count < nudge_at or self._cycle.covers(stretch.place):
            return None
        if stretch.letters is not None and not stretch.varied:
            return None
        action = stretch.turns.rung(call.turn, nudge_at, stop_at)
        if action is None:
            return None
        count = stretch.turns.count
        reason = (
            f"{quoted(call.tool)} was called with the same arguments in {plural(count, 'turn')} "
            f"and gave {_result(stretch)} each time."
        )
        return self._said(call, action, count, reason, stretch)

    def _stretch_of(self, call: Call, result: int, known: dict[int, _Stretch]) -> _Stretch:
        """The stretch that `call` belongs to, perhaps as its first."""
        assert call.call_key is not None
        happened, stretch = self._story.happened(call), known.get(call.call_key)
        gap_turns = self._params.same_call_gap_turns
        if stretch is not None and stretch.result == result and stretch.goes_on(call.turn, happened, gap_turns):
            return stretch
        stretch = known[call.call_key] = _Stretch(result, happened, self._cycle.places - 1)
        return stretch

    def _said(self, call: Call, action: Action, count: int, reason: str, stretch: _Stretch) -> Intervention:
        late = action is Action.STOP or stretch.varied
        name = "same_call_error_repeats" if late else "same_call_repeats"
        return about(
            call,
            "repeated_call",
            action,
            reason,
            setting=f"loops.{name}",
            threshold=getattr(self._params, name),
            value=count,
            advice=f"{reason} {_ADVICE}",
        )


@dataclass(slots=True)
class _Question:
    """One question in several wordings that keeps giving one result while nothing happens."""

    stretch: _Stretch
    wording: int
    varied: bool = False
    ended_seconds: float = 0.0


class NearRepeat:
    """Counts the turns in which calls that ask the same in other words gave one result; one entry per distinct question.

    Only for calls that look: sending two messages of nearly the same words is work.
    """

    def __init__(self, params: Loops, story: Story, *, enforced: bool) -> None:
        self._params, self._story, self._enforced = params, story, enforced
        self._questions: dict[int, _Question] = {}

    def asked(self, call: Call) -> Intervention | None:
        """Refuses the question in whatever words, once the model was told; the same exception for polls as for a repeated call."""
        question = self._known(call)
        if question is None or not question.varied or not question.stretch.turns.refuses(call.turn):
            return None
        if call.at_seconds - question.ended_seconds >= self._params.poll_seconds or self._story.changing(call):
            return None
        if not self._goes_on(question, call):
            return None
        action, count = question.stretch.turns.refusal(
            call.turn, self._params.near_error_repeats, enforced=self._enforced
        )
        reason = (
            f"{quoted(call.tool)} was refused: it was asked nearly the same in {plural(count, 'turn')}, "
            "and gave the same result each time it ran."
        )
        return self._said(call, action, count, reason)

    def ran(self, call: Call, outcome: Outcome) -> Intervention | None:
        """Counts the question."""
        if call.loose_call_key is None or call.effect is not Effect.LOOKS or not _counts(call, outcome):
            return None
        assert call.call_key is not None
        assert outcome.result_key is not None
        question = self._questions.get(call.loose_call_key)
        if question is None or question.stretch.result != outcome.result_key or not self._goes_on(question, call):
            stretch = _Stretch(outcome.result_key, self._story.happened(call), 0)
            question = self._questions[call.loose_call_key] = _Question(stretch, call.call_key)
        turns = question.stretch.turns
        turns.add(call.turn)
        question.varied |= call.call_key != question.wording
        question.ended_seconds = ended_seconds(call, outcome)
        if not question.varied:
            return None
        action = turns.rung(call.turn, self._params.near_repeats, self._params.near_error_repeats)
        if action is None:
            return None
        reason = (
            f"{quoted(call.tool)} was asked nearly the same in {plural(turns.count, 'turn')} "
            "and gave the same result each time."
        )
        return self._said(call, action, turns.count, reason)

    def _known(self, call: Call) -> _Question | None:
        if call.effect is not Effect.LOOKS or call.loose_call_key is None:
            return None
        return self._questions.get(call.loose_call_key)

    def _goes_on(self, question: _Question, call: Call) -> bool:
        happened = self._story.happened(call)
        return question.stretch.goes_on(call.turn, happened, self._params.same_call_gap_turns)

    def _said(self, call: Call, action: Action, count: int, reason: str) -> Intervention:
        name = "near_error_repeats" if action is Action.STOP else "near_repeats"
        return about(
            call,
            "near_repeat",
            action,
            reason,
            setting=f"loops.{name}",
            threshold=getattr(self._params, name),
            value=count,
            advice=f"{reason} Other words will not change that. Use what you know, try something else, or answer.",
        )


def _result(stretch: _Stretch) -> str:
    return "a result of the same words" if stretch.varied else "the same result"


def _counts(call: Call, outcome: Outcome) -> bool:
    known = call.call_key is not None and outcome.result_key is not None
    return known and not outcome.failed and outcome.rejected is None
