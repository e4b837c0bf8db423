"""How far a pattern has gone, and how far up the ladder its guard has climbed."""

from __future__ import annotations

from dataclasses import dataclass

from instrument.guards.facts import Action


@dataclass(slots=True)
class Turns:
    """The turns of one pattern. However many parallel calls a turn has, it counts once and is spoken about once."""

    count: int = 0
    last: int | None = None
    """The latest of them."""
    noticed: int | None = None
    """Turn in which the guard first spoke."""
    spoke: int | None = None
    """Turn in which it last did."""

    def add(self, turn: int) -> None:
        """The pattern went on in `turn`."""
        if turn != self.last:
            self.count += 1
            self.last = turn

    def rung(self, turn: int, nudge_at: int, stop_at: int) -> Action | None:
        """What is due after `turn` was added: one nudge, or the end. `stop_at` below `nudge_at` means at `nudge_at`."""
        if self.count < nudge_at or self.spoke == turn:
            return None
        if self.count < stop_at and self.noticed is not None:
            return None
        self._speak(turn)
        return Action.STOP if self.count >= stop_at else Action.NUDGE

    def refuses(self, turn: int) -> bool:
        """Whether the model was told in an earlier turn than this and should know better."""
        return self.noticed is not None and turn > self.noticed

    def refusal(self, turn: int, stop_at: int, *, enforced: bool) -> tuple[Action, int]:
        """What to do about asking on in `turn`, and the count with that. An enforced refusal counts as a turn of the
        pattern; one that is merely observed does not, for the call runs and counts by itself."""
        count = self.count + (turn != self.last)
        if enforced:
            self.add(turn)
        self._speak(turn)
        return (Action.STOP if count >= stop_at else Action.BLOCK), count

    def _speak(self, turn: int) -> None:
        self.spoke = turn
        if self.noticed is None:
            self.noticed = turn
