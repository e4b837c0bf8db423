"""What has happened in the run so far, as far as it can excuse asking the same again. Shared by the guards of a panel."""

from __future__ import annotations

from dataclasses import dataclass

from instrument.effects import Effect
from instrument.guards.facts import Call, Outcome


@dataclass(slots=True)
class _Own:
    """What one call, however often it was made, did itself."""

    changes: int = 0
    news: int = 0
    ended_seconds: float = 0.0


class Story:
    """Counters that stand still as long as nothing happens; the live twin of `analyzer.detectors.stories`.

    State: one entry per distinct call and one per distinct result.
    """

    def __init__(self) -> None:
        self.learned = 0
        """New or unknown results of tools, and words of the user."""
        self._spoken = 0
        self._changes = 0
        self._news = 0
        self._results: set[int] = set()
        self._own: dict[int, _Own] = {}
        self._turn = 0
        self._changing: set[int | None] = set()

    def heard(self) -> None:
        """The user spoke."""
        self._spoken += 1
        self.learned += 1

    def let_through(self, call: Call) -> None:
        """`call` is about to run."""
        if call.turn != self._turn:
            self._turn = call.turn
            self._changing.clear()
        if call.effect is Effect.CHANGES:
            self._changing.add(call.call_key)

    def ran(self, call: Call, outcome: Outcome) -> bool:
        """Takes in what `call` brought (also a refusal that the model has not read before); whether that was new in this run."""
        key = outcome.result_key
        new = key is not None and key not in self._results
        if key is not None:
            self._results.add(key)
        changed = call.effect is Effect.CHANGES and outcome.failed is not True and outcome.rejected is None
        self._news += new
        self._changes += changed
        self.learned += new or (key is None and outcome.rejected is None)
        if call.call_key is not None:
            own = self._own.setdefault(call.call_key, _Own())
            own.news += new
            own.changes += changed
            if outcome.rejected is None:
                own.ended_seconds = ended_seconds(call, outcome)
        return new

    def happened(self, call: Call) -> int:
        """How often others changed something or the user spoke. For a call that itself changes things others' news count too:
        clicking "next" answers "ok" each time, and whether it gets anywhere shows in what other calls then see."""
        own = _NOTHING if call.call_key is None else self._own.get(call.call_key, _NOTHING)
        events = self._spoken + self._changes - own.changes
        return events + self._news - own.news if call.effect is Effect.CHANGES else events

    def changing(self, call: Call) -> bool:
        """Whether another call of the same turn, asked before this one, is about to change something."""
        if call.turn != self._turn or not self._changing:
            return False
        return len(self._changing) > 1 or call.call_key not in self._changing

    def idle_seconds(self, call: Call) -> float:
        """Seconds since this very call last ended. It must have run before."""
        assert call.call_key is not None
        return call.at_seconds - self._own[call.call_key].ended_seconds


_NOTHING = _Own()


def ended_seconds(call: Call, outcome: Outcome) -> float:
    """When `call` ended, as far as that is known."""
    return call.at_seconds if outcome.at_seconds is None else outcome.at_seconds
