"""`call_cycle`: two or more calls that go round and round."""

from __future__ import annotations

from collections import deque
from typing import Final

from instrument.effects import Effect
from instrument.guards.facts import Action, Call, Intervention, Outcome
from instrument.guards.story import Story
from instrument.guards.wording import about, listed, plural, quoted
from instrument.policy import Loops

_SLUG: Final = "call_cycle"
_ADVICE: Final = "Another round will bring nothing new. Do something else with what you know, or answer with it."


class CallCycle:
    """Watches the sequence of calls with their results for a period of 2 to `loops.cycle_calls`, wherever it begins.

    For each period one counter of consecutive calls that equal the one a period before; so a call costs `cycle_calls` comparisons,
    and the state is that many counters and calls. Failed calls and what is not known whole break a cycle; calls that only
    wait are no part of one (a check, a pause, a check ... is one call that is repeated).
    """

    def __init__(self, params: Loops, story: Story, *, enforced: bool) -> None:
        self._params, self._story, self._enforced = params, story, enforced
        self._recent: deque[tuple[int, int, str]] = deque(maxlen=params.cycle_calls)
        """Call, result and tool of the latest calls."""
        self._matches = [0] * (params.cycle_calls + 1)
        self.places = 0
        """Calls that the sequence has had so far."""
        self._turn = 0
        self._in_turn: set[tuple[int, int]] = set()
        self._period: int | None = None
        """That of the cycle which the model was told of in turn `_noticed`."""
        self._noticed = 0
        self._spoke: int | None = None
        self._ahead = 0
        """Calls of this turn that continue the cycle and have not run yet."""

    def heard(self) -> None:
        """The user spoke: whatever comes now was asked for."""
        self._break()

    def asked(self, call: Call) -> Intervention | None:
        """Refuses the call that would continue a cycle."""
        self._begin(call.turn)
        if self._period is None or call.turn <= self._noticed:
            return None
        key, result, tool = self._recent[self._ahead % self._period - self._period]
        if key != call.call_key or self._story.changing(call):
            return None
        if self._story.idle_seconds(call) >= self._params.poll_seconds:
            self._ahead += 1
            return None
        rounds = (self._matches[self._period] + self._ahead + 1) // self._period + 1
        names = self._names()
        if self._enforced:
            self._push(key, result, tool)  # as if it had answered what it answered before
        else:
            self._ahead += 1
        self._spoke = call.turn
        stops = rounds >= self._params.cycle_error_repeats
        reason = f"{quoted(call.tool)} was refused: with {names} it had gone round with the same results for {plural(rounds, 'round')}."
        return self._said(call, Action.STOP if stops else Action.BLOCK, rounds, reason)

    def ran(self, call: Call, outcome: Outcome) -> Intervention | None:
        """Appends the call; speaks when a cycle has gone round often enough."""
        self._begin(call.turn)
        if outcome.rejected == "blocked" or call.effect is Effect.WAITS:
            return None
        if outcome.failed or outcome.rejected or call.call_key is None or outcome.result_key is None:
            self._break()
            return None
        if (call.call_key, outcome.result_key) in self._in_turn:
            return None
        self._ahead = max(0, self._ahead - 1)
        self._push(call.call_key, outcome.result_key, call.tool)
        return self._notice(call)

    def covers(self, place: int) -> bool:
        """Whether every call from that place in the sequence (`places` counts them) to the last repeats with one period of two
        or more, more than twice: then a cycle is what happened, and not a call that was repeated."""
        length = self.places - place
        if self._matches[1] >= length - 1:
            return False
        periods = range(2, len(self._matches))
        return any(length > 2 * p and self._matches[p] >= length - p for p in periods)

    def _begin(self, turn: int) -> None:
        if turn != self._turn:
            self._turn, self._ahead = turn, 0
            self._in_turn.clear()

    def _push(self, key: int, result: int, tool: str) -> None:
        self._in_turn.add((key, result))
        token, recent = (key, result), self._recent
        for period in range(1, min(len(recent), len(self._matches) - 1) + 1):
            same = recent[-period][:2] == token
            self._matches[period] = self._matches[period] + 1 if same else 0
        recent.append((key, result, tool))
        self.places += 1
        if self._period is not None and not self._matches[self._period]:
            self._period = None

    def _break(self) -> None:
        self._recent.clear()
        self._matches = [0] * len(self._matches)
        self._period = None
        self._ahead = 0

    def _notice(self, call: Call) -> Intervention | None:
        period = self._going_round()
        if period is None or self._spoke == call.turn:
            return None
        rounds = self._matches[period] // period + 1
        stops = rounds >= self._params.cycle_error_repeats
        if self._period is not None and not stops:
            return None
        if self._period is None:
            self._period, self._noticed = period, call.turn
        self._spoke = call.turn
        reason = f"{self._names()} were called in turn, with the same results each time, for {plural(rounds, 'round')}."
        return self._said(call, Action.STOP if stops else Action.NUDGE, rounds, reason)

    def _going_round(self) -> int | None:
        """The smallest period that has come round often enough; not where the calls are all one."""
        for period in range(2, len(self._matches)):
            rounds = self._matches[period] // period + 1
            if rounds >= max(2, self._params.cycle_repeats) and self._matches[1] < period - 1:
                return period
        return None

    def _names(self) -> str:
        assert self._period is not None
        return listed(tool for _, _, tool in list(self._recent)[-self._period :])

    def _said(self, call: Call, action: Action, rounds: int, reason: str) -> Intervention:
        stops = action is Action.STOP
        field = "cycle_error_repeats" if stops else "cycle_repeats"
        threshold = getattr(self._params, field)
        return about(
            call,
            _SLUG,
            action,
            reason,
            setting=f"loops.{field}",
            threshold=threshold,
            value=rounds,
            advice=f"{reason} {_ADVICE}",
        )
