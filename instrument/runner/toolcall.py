"""One tool call of a loop that is not ours: asked for, refused or run, answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from instrument import semconv
from instrument.call import Call as Recorded
from instrument.call import Spec
from instrument.capture import message_of, type_of
from instrument.context import guarding
from instrument.guards.facts import Action, Call, Outcome
from instrument.runner.content import as_content
from instrument.runner.failures import is_temporary
from instrument.runner.validation import check, is_null_input

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from instrument.runner.manual import GuardedRun

Body = dict[str, Any]
_REFUSED: Final = {"unknown_tool": "unknown_tool", "invalid_arguments": "invalid_arguments"}


class ToolCall:
    """One tool call of a `GuardedRun`. In its `with` statement an exception becomes the call's result, and goes no further."""

    def __init__(self, run: GuardedRun, block: Body, *, declared: bool = False) -> None:
        self._owner, self.block = run, block
        name, arguments = str(block.get("name")), block.get("input")
        tool = None if declared else run.declared.get(name)
        known = declared or tool is not None or not run.declared.names
        self.fact: Call = run.run.call(
            name,
            arguments,
            str(block.get("id")),
            unknown=not known,
            nearest=() if known else run.declared.nearest(name),
            invalid=check(tool.schema, arguments) if tool is not None and tool.schema is not None else None,
            null_input=is_null_input(arguments),
        )
        self.allowed = False
        """Whether it may run; known inside the `with` statement."""
        self.result: Any = None
        """What it gave; to be set by you."""
        self.text = ""
        self.begun = self.ended = False
        self._content: Any = ""
        self._error_type: str | None = None
        self._recorded: Recorded | None = None
        self._token: Token[GuardedRun | None] | None = None

    def __enter__(self) -> Self:
        given = self.block.get("input")
        arguments = given if isinstance(given, Mapping) else {"input": given}
        recorded = Recorded(Spec(_tool, semconv.EXECUTE_TOOL, self.fact.tool), (), arguments)
        recorded.set(semconv.TOOL_CALL_ID, self.fact.call_id)
        self.begin(recorded)
        if self.allowed:
            recorded.enter()
            # A decorated function inside is this very call, and not one more.
            self._token = guarding.set(None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not self.allowed:
            return isinstance(raised, Exception)
        recorded = self._recorded
        assert recorded is not None
        recorded.leave()
        if self._token is not None:
            guarding.reset(self._token)
        self.heard(self.result, raised, recorded)
        if raised is None:
            recorded.returned(self.text)
            return False
        recorded.answered_error(self.text, type_of(raised))
        return isinstance(raised, Exception)

    def heard(self, result: Any, error: BaseException | None, recorded: Recorded) -> None:  # noqa: ARG002 - as a run's
        """The decorated function that it is has ended."""
        if error is None:
            self.finish(*as_content(result))
        else:
            text = f"{type(error).__name__}: {message_of(error)[:2000]}"
            self.finish(text, text, error_type=type_of(error), temporary=is_temporary(error))

    def begin(self, recorded: Recorded) -> None:
        """Asks the guards; a call that they refuse ends here, its span too."""
        run = self._owner.run
        self.begun, self._recorded = True, recorded
        verdict = run.panel.asked(self.fact)
        if verdict is not None and verdict.observed:
            run.act(verdict, recorded)
            verdict = None
        self.allowed = verdict is None
        if verdict is None:
            run.tool_calls += 1
            return
        self.ended = True
        run.act(verdict, recorded)
        self._error_type = _REFUSED.get(verdict.guard, "blocked")
        self.text = self._content = run.refused_text(self.fact, verdict)
        recorded.refused(self.text, self._error_type)
        if verdict.action is Action.STOP:
            self._owner.heed(verdict)
        for act in run.panel.ran(self.fact, Outcome(rejected=self._error_type)):
            self._owner.heed(run.act(act))

    def finish(self, content: Any, text: str, *, error_type: str | None = None, temporary: bool = False) -> None:
        """Tells the guards how it ended; they speak through the run."""
        run = self._owner.run
        self.ended, self._content, self.text, self._error_type = True, content, text, error_type
        outcome = run.outcome(self.fact, text, error_type=error_type, temporary=temporary)
        for act in run.panel.ran(self.fact, outcome):
            self._owner.heed(run.act(act, self._recorded))

    def heard_of(self, text: str, is_error: bool) -> None:
        """It ran without us."""
        run = self._owner.run
        if not self.begun:
            verdict = run.panel.asked(self.fact)
            self.begun = True
            run.tool_calls += 1
            if verdict is not None and verdict.action is Action.STOP:
                self._owner.heed(run.act(verdict))
        self.finish(text, text, error_type="tool_error" if is_error else None)

    def block_of_result(self) -> Body:
        """The `tool_result` block; one that never ran says so."""
        content = self._content if self.ended else "The call was not run."
        found: Body = {"type": "tool_result", "tool_use_id": self.fact.call_id, "content": content}
        return {**found, "is_error": True} if self._error_type is not None or not self.ended else found


def _tool(**arguments: Any) -> Any:
    """What the span of a tool call is the span of."""
    return arguments
