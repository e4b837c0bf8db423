"""One tool call of a loop that is not ours: asked for, refused or run, answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

from instrument import sameness, semconv
from instrument.call import Call as Recorded
from instrument.call import Spec
from instrument.capture import type_of
from instrument.context import in_tool
from instrument.guards.facts import Action, Call, Intervention, Outcome
from instrument.runner.content import Content, as_content
from instrument.runner.failures import error_content, is_temporary
from instrument.runner.sending import FETCH
from instrument.runner.stop import StopReason
from instrument.runner.validation import check

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from instrument.runner.manual import GuardedRun

Body = dict[str, Any]
_REFUSED: Final = frozenset({"unknown_tool", "invalid_arguments"})
"""Guards whose refusal has a name of its own in the record; every other one blocks."""


class ToolCall:
    """One tool call of a `GuardedRun`. In its `with` statement an exception becomes the call's result, and goes no further."""

    def __init__(self, run: GuardedRun, block: Body, *, declared: bool = False, turn: int | None = None) -> None:
        self._owner, self.block = run, block
        name, arguments = str(block.get("name")), block.get("input")
        tool = None if declared else run.declared.get(name)
        known = declared or tool is not None or not run.declared.names
        fact = run.run.call(
            name,
            arguments,
            str(block.get("id")),
            unknown=not known,
            nearest=() if known else run.declared.nearest(name),
            invalid=check(tool.schema, arguments) if tool is not None and tool.schema is not None else None,
            null_input=sameness.is_null_input(arguments),
        )
        self.fact: Call = fact if turn is None else replace(fact, turn=turn)
        self.allowed = False
        """Whether it may run; known inside the `with` statement."""
        self.result: Any = None
        """What it gave; to be set by you."""
        self.text = ""
        """What the model reads, once it has ended."""
        self.content: Content = ""
        """The same as the content of its `tool_result`."""
        self.begun = self.ended = False
        self._error_type: str | None = None
        self._recorded: Recorded | None = None
        self._token: Token[str | None] | None = None

    def __enter__(self) -> Self:
        recorded = self._span()
        self.begin(recorded)
        if self.allowed:
            recorded.enter()
            # A decorated function inside is this very call, and not one more.
            self._token = in_tool.set(self.fact.tool)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not self.allowed:
            # A loop that does not look at `allowed` gets a KeyError of its own for a tool that does not exist: the refusal answers it.
            return isinstance(raised, Exception)
        recorded = self._recorded
        assert recorded is not None
        if self._token is not None:
            in_tool.reset(self._token)
        recorded.leave()
        self.heard(self.result, raised, recorded)
        if self._error_type is None:
            recorded.returned(self.text)
        else:
            recorded.answered_error(self.text, self._error_type)
        return raised is None or isinstance(raised, Exception)

    def heard(self, result: Any, error: BaseException | None, recorded: Recorded) -> None:  # noqa: ARG002 - as a run's
        """The decorated function that it is has ended."""
        if error is None:
            self.finish(*as_content(result))
        else:
            text = error_content(error)
            self.finish(text, text, error_type=type_of(error), temporary=is_temporary(error))

    def begin(self, recorded: Recorded) -> None:
        """Asks the guards; a call that they refuse ends here, its span too."""
        with self._owner.lock:
            self.begun, self._recorded = True, recorded
            if self._is_fetching():
                self._fetch(recorded)
                return
            verdict = self._verdict(recorded)
            self.allowed = verdict is None
            if verdict is None:
                self._owner.run.tool_calls += 1
            else:
                self._refuse(verdict, recorded)

    def finish(
        self, content: Content, text: str, *, error_type: str | None = None, temporary: bool = False, cut: bool = True
    ) -> None:
        """Tells the guards how it ended; they speak through the run. `cut`: a long result may still be made shorter."""
        owner, run = self._owner, self._owner.run
        limit = run.policy.context.result_chars
        if cut and (len(text) > limit or isinstance(content, list)):
            content, text = self._cut(content, text, limit)
        with owner.lock:
            self.ended, self.content, self.text, self._error_type = True, content, text, error_type
            outcome = run.outcome(self.fact, text, error_type=error_type, temporary=temporary)
            for act in run.panel.ran(self.fact, outcome):
                owner.heed(run.act(act, self._recorded))

    def heard_of(self, text: str, is_error: bool) -> None:
        """It ran without us, and its result is on its way to the model. What guards would have refused they can only speak about."""
        owner, run = self._owner, self._owner.run
        with owner.lock:
            verdict = None if self.begun else run.panel.asked(self.fact)
            if verdict is not None and verdict.guard in _REFUSED and (is_error or sameness.says_error(text)):
                self._refused_elsewhere(verdict, text)
                return
            run.tool_calls += not self.begun
            self.begun = True
            if verdict is not None:
                owner.heed(run.act(_too_late(verdict)))
        self.finish(text, text, error_type="tool_error" if is_error else None, cut=False)

    def block_of_result(self) -> Body:
        """The `tool_result` block; one that never ran says so."""
        content = self.content if self.ended else "The call was not run."
        found: Body = {"type": "tool_result", "tool_use_id": self.fact.call_id, "content": content}
        if toolset := self.block.get("toolset_name"):
            found["toolset_name"] = toolset
        return {**found, "is_error": True} if self._error_type is not None or not self.ended else found

    # --- the parts ----------------------------------------------------------------------------------------------------

    def _span(self) -> Recorded:
        given = self.block.get("input")
        arguments = given if isinstance(given, Mapping) else {"input": given}
        recorded = Recorded(Spec(_tool, semconv.EXECUTE_TOOL, self.fact.tool), (), arguments)
        recorded.set(semconv.TOOL_CALL_ID, self.fact.call_id)
        return recorded

    def _verdict(self, recorded: Recorded) -> Intervention | None:
        run = self._owner.run
        verdict = run.panel.asked(self.fact)
        if verdict is not None and verdict.observed:
            run.act(verdict, recorded)
            verdict = None
        limit = run.policy.loops.tool_calls
        if verdict is not None or run.tool_calls < limit:
            return verdict
        return Intervention(
            StopReason.TOOL_CALL_LIMIT,
            Action.BLOCK,
            f"{limit} tool calls had run, and a run may have no more.",
            "loops.tool_calls",
            limit,
            limit + 1,
            "No more tool calls are allowed in this run.",
            self.fact.tool,
            self.fact.call_id,
            self.fact.turn,
        )

    def _refuse(self, verdict: Intervention, recorded: Recorded) -> None:
        run = self._owner.run
        self.ended = True
        run.act(verdict, recorded)
        self._error_type = verdict.guard if verdict.guard in _REFUSED else "blocked"
        self.text = self.content = run.refused_text(self.fact, verdict)
        recorded.refused(self.text, self._error_type)
        if verdict.action is Action.STOP:
            self._owner.heed(verdict)
        for act in run.panel.ran(self.fact, Outcome(rejected=self._error_type)):
            self._owner.heed(run.act(act))

    def _refused_elsewhere(self, verdict: Intervention, text: str) -> None:
        """The host has refused it by itself. The span says that it never ran, and the model is told what we know of it."""
        self._refuse(verdict, self._span())
        self.text = self.content = text
        self._owner.heed(replace(verdict, action=Action.NUDGE))

    def _cut(self, content: Content, text: str, limit: int) -> tuple[Content, str]:
        run, spill = self._owner.run, self._owner.spill
        shown, cuts = spill.cut_content(content, limit)
        if not cuts:
            return content, text
        self._owner.can_fetch()
        if self._recorded is not None:
            said = f"A result of {len(text):,} characters was cut."
            facts: dict[str, Any] = {"setting": "context.result_chars", "threshold": limit, "value": len(text)}
            run.measure_on(self._recorded, Action.CUT, "context", said, tool=self.fact.tool, **facts)
        return shown, sameness.result_text(shown) or ""

    def _is_fetching(self) -> bool:
        return self.fact.tool == FETCH and self._owner.fetches

    def _fetch(self, recorded: Recorded) -> None:
        """The rest of a result that was cut: ours to answer, and nothing for the host to run."""
        given = self.block.get("input")
        given = given if isinstance(given, Mapping) else {}
        found = self._owner.spill.fetch(given.get("id"), given.get("start_char", 0), given.get("max_chars"))
        self.ended, self.text, self.content = True, found, found
        recorded.returned(found)


def _too_late(verdict: Intervention) -> Intervention:
    """What a guard says of a call that it would have refused, and that ran all the same."""
    reason, advice = (
        t.replace(" was refused: ", " would have been refused: ") for t in (verdict.reason, verdict.advice)
    )
    action = Action.STOP if verdict.action is Action.STOP else Action.NUDGE
    return replace(verdict, action=action, reason=reason, advice=advice)


def _tool(**arguments: Any) -> Any:
    """What the span of a tool call is the span of."""
    return arguments
