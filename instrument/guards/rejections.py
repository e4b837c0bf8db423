"""`unknown_tool` and `invalid_arguments`: calls that cannot run. They are refused in every mode, there being nothing to run."""

from __future__ import annotations

from instrument.guards.facts import Action, Call, Intervention, Outcome
from instrument.guards.turns import Turns
from instrument.guards.wording import about, clean, listed, plural, quoted
from instrument.policy import InvalidArguments, UnknownTools


class UnknownTool:
    """Refuses tools that were not declared, and ends a run in which the model does not learn from that; a count per name."""

    def __init__(self, params: UnknownTools) -> None:
        self._params = params
        self._asked: dict[str, Turns] = {}

    def asked(self, call: Call) -> Intervention | None:
        """Refuses the call and names what may have been meant."""
        if not call.unknown:
            return None
        turns = self._asked.setdefault(call.tool, Turns())
        turns.add(call.turn)
        name = quoted(call.tool)
        reason = f"{name}, which does not exist, was asked for in {plural(turns.count, 'turn')}."
        meant = (
            f" Did you mean {listed(call.nearest, 'or')}?" if call.nearest else " Use only the tools you were given."
        )
        return about(
            call,
            "unknown_tool",
            Action.BLOCK,
            reason,
            setting="unknown_tools.calls",
            threshold=self._params.calls,
            value=turns.count,
            advice=f"There is no tool {name}.{meant}",
        )

    def ran(self, call: Call, outcome: Outcome) -> Intervention | None:
        """Ends the run when the refusals were of no use."""
        turns = self._asked.get(call.tool)
        if outcome.rejected != "unknown_tool" or turns is None or turns.count < self._params.error_calls:
            return None
        reason = (
            f"{quoted(call.tool)}, which does not exist, was asked for in {plural(turns.count, 'turn')} all the same."
        )
        return about(
            call,
            "unknown_tool",
            Action.STOP,
            reason,
            setting="unknown_tools.error_calls",
            threshold=self._params.error_calls,
            value=turns.count,
            advice=f"{reason} Answer with what you know.",
        )


class InvalidArgumentsGuard:
    """Refuses calls whose arguments do not fit, and ends a run in which that goes on; a count per tool, ended by a valid call."""

    def __init__(self, params: InvalidArguments) -> None:
        self._params = params
        self._asked: dict[str, Turns] = {}

    def asked(self, call: Call) -> Intervention | None:
        """Refuses the call and says what is wrong with it."""
        if call.unknown:
            return None
        if call.invalid is None:
            self._asked.pop(call.tool, None)
            return None
        turns = self._asked.setdefault(call.tool, Turns())
        turns.add(call.turn)
        reason = f"{quoted(call.tool)} was called with arguments that do not fit its schema in {plural(turns.count, 'turn')}."
        return about(
            call,
            "invalid_arguments",
            Action.BLOCK,
            reason,
            setting="invalid_arguments.calls",
            threshold=self._params.calls,
            value=turns.count,
            advice=f"The arguments of {quoted(call.tool)} do not fit its schema: {clean(call.invalid)}",
        )

    def ran(self, call: Call, outcome: Outcome) -> Intervention | None:
        """Ends the run when the refusals were of no use."""
        turns = self._asked.get(call.tool)
        if outcome.rejected != "invalid_arguments" or turns is None or turns.count < self._params.error_calls:
            return None
        reason = (
            f"{quoted(call.tool)} was called with arguments that do not fit its schema in {plural(turns.count, 'turn')}, "
            "with no valid call in between."
        )
        return about(
            call,
            "invalid_arguments",
            Action.STOP,
            reason,
            setting="invalid_arguments.error_calls",
            threshold=self._params.error_calls,
            value=turns.count,
            advice=f"{reason} Answer with what you know.",
        )
