"""`no_progress`: many calls, and not one of them brought anything new."""

from __future__ import annotations

from instrument.effects import Effect
from instrument.guards.facts import Action, Call, Intervention, Outcome
from instrument.guards.wording import about, plural
from instrument.policy import Loops


class Checkpoint:
    """After every `loops.checkpoint_calls` calls asks for progress, or stops a run that made none.

    Calls that wait or never ran are not counted; the same call several times in one turn counts once. A result that is
    not known may have been new, and a change is progress.
    """

    def __init__(self, params: Loops) -> None:
        self._every = params.checkpoint_calls
        self._calls = self._news = 0
        self._turn = 0
        self._in_turn: set[int] = set()

    def ran(self, call: Call, outcome: Outcome, *, new: bool) -> Intervention | None:
        """`new`: the result had not been seen in this run before."""
        if outcome.rejected is not None or call.effect is Effect.WAITS or self._again(call):
            return None
        changed = call.effect is Effect.CHANGES and not outcome.failed
        self._calls += 1
        self._news += new or outcome.result_key is None or changed
        if self._calls < self._every:
            return None
        news, self._calls, self._news = self._news, 0, 0
        return self._asks(call, news) if news else self._ends(call)

    def _again(self, call: Call) -> bool:
        if call.turn != self._turn:
            self._turn = call.turn
            self._in_turn.clear()
        if call.call_key is None:
            return False
        again = call.call_key in self._in_turn
        self._in_turn.add(call.call_key)
        return again

    def _asks(self, call: Call, news: int) -> Intervention:
        reason = f"{plural(self._every, 'tool call')} were made since the last checkpoint, of which {news} brought something new."
        advice = (
            f"{plural(self._every, 'more tool call')} have been made. Say in one sentence what they brought and what is missing; "
            "if nothing is missing, give your final answer now."
        )
        return self._said(call, Action.NUDGE, self._every, reason, advice)

    def _ends(self, call: Call) -> Intervention:
        reason = f"The last {plural(self._every, 'tool call')} brought no result that had not been seen before."
        return self._said(call, Action.STOP, self._every, reason, f"{reason} Answer with what you know.")

    def _said(self, call: Call, action: Action, value: int, reason: str, advice: str) -> Intervention:
        return about(
            call,
            "no_progress",
            action,
            reason,
            setting="loops.checkpoint_calls",
            threshold=self._every,
            value=value,
            advice=advice,
        )
