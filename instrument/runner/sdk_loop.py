"""`instrument.tool_runner`: the SDK's own loop, with our guards around it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from anthropic.lib.tools import BetaAsyncBuiltinFunctionTool, BetaBuiltinFunctionTool, ToolError
from opentelemetry import trace

from instrument import semconv
from instrument.context import Run as Where
from instrument.context import current_run, guarding, in_tool
from instrument.errors import CallRefused, RunStopped
from instrument.policy import Policy
from instrument.runner.execution import Job, Ran, arun_jobs, run_jobs
from instrument.runner.guarding import guard
from instrument.runner.manual import GuardedRun
from instrument.runner.result import RunResult
from instrument.runner.reviewing import Reviewer
from instrument.runner.toolbox import toolbox
from instrument.runner.toolcall import ToolCall
from instrument.tap import capture

if TYPE_CHECKING:
    from anthropic import Anthropic, AsyncAnthropic

    from instrument.ledger import Ledger


class ToolRunner:
    """The SDK's `tool_runner` under guard; iterate over it (`for` or `async for`, as the client is), or `until_done()`."""

    def __init__(self, client: Any, run: GuardedRun, tools: Iterable[Any], arguments: dict[str, Any]) -> None:
        self.run = run
        self._client, self._tools, self._arguments = guard(client), list(tools), arguments

    @property
    def result(self) -> RunResult:
        """The run as it stands: stop reason, cost, what guards did."""
        return self.run.result

    def __iter__(self) -> Iterator[Any]:
        given: dict[str, Any] | None = self._given(_Tool)
        try:
            while given is not None:
                steps = iter(self._client.beta.messages.tool_runner(**given))
                while True:
                    with self._inside():
                        message = next(steps, None)
                    if message is None:
                        break
                    yield message
                given = self._continued(given)
        except RunStopped:  # after the final answer there is nothing more to ask
            pass
        except BaseException as e:
            self.run.close(e)
            raise
        self.run.close(None)

    async def __aiter__(self) -> AsyncIterator[Any]:
        given: dict[str, Any] | None = self._given(_AsyncTool)
        try:
            while given is not None:
                steps = aiter(self._client.beta.messages.tool_runner(**given))
                while True:
                    with self._inside():
                        message = await anext(steps, None)
                    if message is None:
                        break
                    yield message
                given = self._continued(given)
        except RunStopped:
            pass
        except BaseException as e:
            self.run.close(e)
            raise
        self.run.close(None)

    def until_done(self) -> Any:
        """Runs to the end; the last message of the model, None where there was none."""
        last = None
        for last in self:  # noqa: B007 - the last one is what we want
            pass
        return last

    async def auntil_done(self) -> Any:
        """As `until_done`, for an `AsyncAnthropic` client."""
        last = None
        async for last in self:  # noqa: B007 - as above
            pass
        return last

    def _given(self, kind: type[Any]) -> dict[str, Any]:
        # Whole conversations: the guards look at the messages that are sent, and an increment shows them nothing.
        return {"thread": False, **self._arguments, "tools": [_guarded(tool, kind) for tool in self._tools]}

    def _continued(self, given: dict[str, Any]) -> dict[str, Any] | None:
        """The SDK's loop ends with any answer that asks for no tool. Where guards have something to say to it, another one goes on."""
        spoken = self.run.spoken()
        return None if spoken is None else {**given, "messages": [*self.run.result.messages, spoken]}

    @contextmanager
    def _inside(self) -> Iterator[None]:
        run = self.run.run
        here = current_run.get()
        token = current_run.set(Where(here.run_id, here.agent_name, run.user_id, run.conversation_id, here.span_id))
        self.run.enter()
        try:
            yield
        finally:
            self.run.leave()
            current_run.reset(token)


def tool_runner(
    client: Anthropic | AsyncAnthropic,
    policy: Policy | str | os.PathLike[str] | None = None,
    *,
    tools: Iterable[Any] = (),
    name: str = "agent",
    user_id: str | None = None,
    ledger: str | os.PathLike[str] | Ledger | None = None,
    review: Reviewer | None = None,
    **arguments: Any,
) -> ToolRunner:
    """`client.beta.messages.tool_runner(tools=tools, **arguments)` with the guards, the budget and the tool limits of `policy`.

    Guard events stand on the spans of the SDK: of the request, or of the tool call.
    """
    run = GuardedRun(policy, name=name, user_id=user_id, ledger=ledger, review=review, recorded=_Current())  # type: ignore[arg-type]
    run.keep_no_results()
    return ToolRunner(client, run, tools, arguments)


class _Current:
    """Stands in for a recorded call: what is said of the run goes to the span that is current, which is the SDK's."""

    span = trace.INVALID_SPAN

    def event(self, name: str, attributes: Any) -> None:
        """An event of the current span."""
        trace.get_current_span().add_event(name, attributes)

    def set(self, name: str, value: Any) -> None:
        """An attribute of the current span."""
        trace.get_current_span().set_attribute(name, value)

    def refused(self, text: str, why: str) -> None:  # noqa: ARG002 - the SDK's span tells what the model read
        """The current tool call never ran."""
        self.set(semconv.REJECTED, why)


def _guarded(tool: Any, kind: type[Any]) -> Any:
    """A tool of the SDK's that asks the guards; a server tool stays as it is."""
    return tool if isinstance(tool, dict) else kind(tool)


class _Asked:
    def __init__(self, tool: Any) -> None:
        self._tool = tool
        box = toolbox([tool])
        found = box.get(tool.name)
        assert found is not None
        self._runnable = found

    def to_dict(self) -> Any:
        """As the tool declares itself."""
        return self._tool.to_dict()

    def _begin(self, arguments: Any) -> tuple[ToolCall, Job]:
        run = guarding.get()
        assert run is not None
        try:
            call = run.called(self._tool.name, arguments, _Current())  # type: ignore[arg-type]
        except CallRefused as e:
            raise ToolError(str(e)) from None
        limit = self._runnable.timeout_seconds or run.run.policy.tool_errors.tool_timeout_seconds
        context = copy_context()
        context.run(in_tool.set, call.fact.tool)
        return call, Job(self._runnable, dict(arguments), limit, context)

    def _end(self, call: ToolCall, ran: Ran) -> Any:
        call.finish(ran.content, ran.text, error_type=ran.error_type if ran.is_error else None, temporary=ran.temporary)
        if ran.timed_out and (span := trace.get_current_span()).is_recording():
            # The SDK's span would say no more than that the tool failed.
            capture(span.get_span_context().span_id, {semconv.ERROR_TYPE: ran.error_type})
        if ran.is_error:
            raise ToolError(call.text)
        return call.content


class _Tool(_Asked, BetaBuiltinFunctionTool):
    def call(self, input: object) -> Any:  # noqa: A002 - the SDK's name
        """Runs it, if the guards let it."""
        call, job = self._begin(input)
        return self._end(call, run_jobs([job], parallel=1)[0])


class _AsyncTool(_Asked, BetaAsyncBuiltinFunctionTool):
    async def call(self, input: object) -> Any:  # noqa: A002 - the SDK's name
        """Runs it, if the guards let it."""
        call, job = self._begin(input)
        return self._end(call, (await arun_jobs([job], parallel=1))[0])
