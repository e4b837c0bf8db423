"""One call of a decorated function: its span, what was captured of it, and the context it runs in."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Final, Self

import orjson
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from instrument import genai_messages, semconv, tracing
from instrument.capture import LIMIT_CHARS, Parameters, as_json, as_text, message_of, type_of
from instrument.context import Run, current_run, guarding, in_tool
from instrument.errors import FlyballError
from instrument.items import Items, Known
from instrument.tap import capture

if TYPE_CHECKING:
    from instrument.runner.manual import GuardedRun
    from instrument.runner.toolcall import ToolCall

log = logging.getLogger("instrument")

_NAMED_BY: Final = {
    semconv.INVOKE_AGENT: semconv.AGENT_NAME,
    semconv.EXECUTE_TOOL: semconv.TOOL_NAME,
    semconv.CHAT: semconv.REQUEST_MODEL,
}


class Spec:
    """What is known of a decorated function before it is called."""

    def __init__(
        self,
        fn: Callable[..., Any],
        operation: str,
        name: str | None,
        *,
        user_id: str | None = None,
        conversation_id: str | None = None,
        provider: str | None = None,
        policy: Any = None,
    ) -> None:
        self.operation = operation
        self.policy = policy
        """Of an agent whose run is guarded."""
        self.parameters = Parameters(fn)
        self.user_id, self.conversation_id = user_id, conversation_id
        self.name = name or getattr(fn, "__name__", None) or type(fn).__name__
        self.kind = SpanKind.CLIENT if operation == semconv.CHAT else SpanKind.INTERNAL
        given = {semconv.OPERATION: operation, semconv.PROVIDER: provider}
        if operation != semconv.CHAT or name:  # a function's name is no model's
            given[_NAMED_BY[operation]] = self.name
        self.attributes = {k: v for k, v in given.items() if v is not None}
        self._policy: Any = None

    def given_policy(self) -> Any:
        """The policy and the prices of its file, read once. Raises `PolicyError`."""
        if self._policy is None:
            from instrument.runner.guarded import given_policy

            self._policy = given_policy(self.policy)
        return self._policy


class Call:
    """Starts the span when made; `returned`, `returned_items` or `failed` ends it. None of them raises."""

    __slots__ = (
        "_content",
        "_context",
        "_cut",
        "_guard",
        "_guarded",
        "_items",
        "_items_chars",
        "_outer_tool",
        "_run",
        "_spec",
        "_tokens",
        "span",
    )

    def __init__(self, spec: Spec, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._spec = spec
        self.span: trace.Span = trace.INVALID_SPAN
        self._content: dict[str, Any] | None = None
        self._items: list[Any] | None = None
        self._items_chars = self._cut = 0
        self._run: Run | None = None
        self._context: otel_context.Context | None = None
        self._tokens: tuple[Token[Any], Token[Any], Token[Any] | None] | None = None
        self._guard: GuardedRun | None = None
        """Of an agent with a policy: the run that it is."""
        self._guarded: ToolCall | GuardedRun | None = None
        """Of a tool or a model in a guarded run: who is told how it ended."""
        self._outer_tool: Token[str | None] | None = None
        try:
            self._start(args, kwargs)
        except Exception as e:  # noqa: BLE001 - the host's function runs, recorded or not
            tracing.complain(e)

    def _start(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        spec = self._spec
        if spec.operation == semconv.EXECUTE_TOOL and in_tool.get() == spec.name:
            return  # the guarded call around it is this very call, and has its span
        name, attributes, content = spec.name, spec.attributes, None
        if tracing.wants_content():
            content = {}
            bound = spec.parameters.bound(args, kwargs)
            if spec.operation == semconv.EXECUTE_TOOL:
                content[semconv.TOOL_ARGUMENTS], self._cut = as_json(bound)
            elif spec.operation == semconv.CHAT:
                name = self._asked(bound, content)
            else:
                content[semconv.INPUT_MESSAGES] = self._said("user", _only_text(bound))
        if spec.operation == semconv.CHAT and name != spec.name:
            attributes = {**attributes, semconv.REQUEST_MODEL: name}
        if spec.operation == semconv.INVOKE_AGENT:
            self._start_run(name, current_run.get())
        else:
            self.span = tracing.tracer().start_span(f"{spec.operation} {name}", kind=spec.kind, attributes=attributes)
        if self.span.is_recording():
            self._content = content
        if self.span.get_span_context().is_valid:
            self._context = trace.set_span_in_context(self.span)

    def _start_run(self, name: str, here: Run) -> None:
        spec = self._spec
        user_id, conversation_id = spec.user_id or here.user_id, spec.conversation_id or here.conversation_id
        token = current_run.set(Run(here.run_id, here.agent_name, user_id, conversation_id))
        try:
            self.span = tracing.tracer().start_span(
                f"{spec.operation} {name}", kind=spec.kind, attributes=spec.attributes
            )
        finally:
            current_run.reset(token)
        self._run = Run(f"{self.span.get_span_context().span_id:016x}", name, user_id, conversation_id)

    # --- the context the function runs in -----------------------------------------------------------------------------

    def ask(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Asks the guards of the run around, if there are any. Raises `CallRefused` for a tool, `RunStopped` for either, and
        `PolicyError` for an agent whose policy is none."""
        try:
            self._ask(args, kwargs)
        except FlyballError as e:
            if self.span.is_recording():  # a refusal has ended it already
                self.failed(e)
            raise
        except Exception as e:  # noqa: BLE001 - a defect of ours; the host's function runs, guarded or not
            tracing.complain(e)

    def _ask(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        spec = self._spec
        if spec.policy is not None:
            from instrument.runner.manual import GuardedRun

            here = self._run or current_run.get()
            policy, prices = spec.given_policy()
            self._guard = GuardedRun(
                policy,
                prices=prices,
                name=spec.name,
                user_id=here.user_id,
                conversation_id=here.conversation_id,
                recorded=self,
            )
            self._guard.run.declare()
            return
        guard = guarding.get()
        if guard is None:
            return
        if spec.operation == semconv.CHAT:
            guard.model_called(spec.parameters.bound(args, kwargs), self)
            self._guarded = guard
        elif spec.operation == semconv.EXECUTE_TOOL and in_tool.get() is None:
            self._guarded = guard.called(spec.name, spec.parameters.bound(args, kwargs), self)

    def enter(self) -> None:
        """Makes the span current."""
        if self._guard is not None:
            self._guard.enter()
        elif self._spec.operation == semconv.EXECUTE_TOOL and guarding.get() is not None:
            self._outer_tool = in_tool.set("")
        if self._context is not None:
            run = None if self._run is None else current_run.set(self._run)
            self._tokens = (otel_context.attach(self._context), _current.set(self), run)

    def leave(self) -> None:
        """Undoes `enter`."""
        if self._guard is not None:
            self._guard.leave()
        outer, self._outer_tool = self._outer_tool, None
        if self._tokens is not None:
            attached, call, run = self._tokens
            self._tokens = None
            otel_context.detach(attached)
            try:
                _current.reset(call)
                if run is not None:
                    current_run.reset(run)
            except ValueError:
                pass  # entered in another context: there is nothing to undo in this one
        if outer is not None:
            with contextlib.suppress(ValueError):  # as above
                in_tool.reset(outer)

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    # --- what it did --------------------------------------------------------------------------------------------------

    def set(self, name: str, value: Any) -> None:
        """Sets an attribute of the span."""
        self.span.set_attribute(name, value)

    def facts(self, result: Any) -> Mapping[str, Any]:
        """What is known of a model call: from its span, and from the message that it returned."""
        kept = getattr(self.span, "attributes", None)
        return {**self._spec.attributes, **_facts_of(result), **(kept or {})}

    def collect(self, item: Any) -> None:
        """Keeps an item that a generator yielded, up to the limit."""
        if self._content is None:
            return
        if self._items is None:
            self._items = []
        if self._items_chars < LIMIT_CHARS:
            try:
                text, cut = as_json(item)
            except Exception as e:  # noqa: BLE001 - the generator goes on, recorded or not
                tracing.complain(e)
                return
            self._items.append(orjson.Fragment(text))
            self._items_chars += len(text)
            self._cut += cut
        else:
            self._cut += 1  # at least: what is not kept is not measured

    def returned(self, result: Any) -> None:
        """The function has returned."""
        self._tell(result, None)
        if self._content is not None:
            try:
                self._answered(result, self._content)
            except Exception as e:  # noqa: BLE001 - the host gets its result, recorded or not
                tracing.complain(e)
        self._end()

    def returned_items(self, result: Any) -> None:
        """The generator has ended: what it yielded is its result, unless it returned something too."""
        self.returned(
            result if result is not None or self._items is None else orjson.Fragment(orjson.dumps(self._items))
        )

    def failed(self, error: BaseException) -> None:
        """The function has raised."""
        self._tell(None, error)
        try:
            self.span.set_attribute(semconv.ERROR_TYPE, type_of(error))
            self.span.set_status(Status(StatusCode.ERROR, message_of(error)))
        except Exception as e:  # noqa: BLE001 - the host gets its own exception, not ours
            tracing.complain(e)
        self._end()

    def refused(self, text: str, why: str) -> None:
        """The call never ran: `why` as `semconv.REJECTED` has it, and what the model read instead of a result."""
        self._explain(text, semconv.REJECTED, why)

    def answered_error(self, text: str, error_type: str) -> None:
        """The function ended in an error that the model reads as a result."""
        self._explain(text, semconv.ERROR_TYPE, error_type)

    def _explain(self, text: str, name: str, value: str) -> None:
        try:
            self.span.set_attribute(name, value)
            self.span.set_status(Status(StatusCode.ERROR, text[:LIMIT_CHARS]))
        except Exception as e:  # noqa: BLE001 - as in `failed`
            tracing.complain(e)
        self.returned(text)

    def event(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Adds an event to the span."""
        try:
            self.span.add_event(name, attributes)
        except Exception as e:  # noqa: BLE001 - the host goes on, recorded or not
            tracing.complain(e)

    def _tell(self, result: Any, error: BaseException | None) -> None:
        """Tells the guards how it ended."""
        guarded, self._guarded = self._guarded, None
        guard, self._guard = self._guard, None
        try:
            if guarded is not None:
                guarded.heard(result, error, self)
            if guard is not None:
                guard.close(error)
        except Exception as e:  # noqa: BLE001 - the host gets what its function gave, guarded or not
            tracing.complain(e)

    def _end(self) -> None:
        try:
            if self._content is not None:
                if self._cut:
                    self._content[semconv.CONTENT_CLIPPED] = self._cut
                capture(self.span.get_span_context().span_id, self._content)
            self.span.end()
        except Exception as e:  # noqa: BLE001 - another span processor may do what it likes
            tracing.complain(e)

    # --- content ------------------------------------------------------------------------------------------------------

    def _said(self, role: str, text: Any) -> str:
        content, cut = as_text(text)
        self._cut += cut
        return orjson_text([{"role": role, "parts": [{"type": "text", "content": content}]}])

    def _asked(self, given: dict[str, Any], content: dict[str, Any]) -> str:
        """What a model call sends, from parameters by their usual names, which it takes away. Returns the model's name."""
        asked = given.pop("model", None)
        if (system := given.pop("system", None)) is not None:
            self._put(content, semconv.SYSTEM_INSTRUCTIONS, _known.system(system))
        if isinstance(tools := given.pop("tools", None), (list, tuple)):
            self._put(content, semconv.TOOL_DEFINITIONS, _known.tools(tools))
        sent = given.get("messages")
        items = _known.messages(sent) if isinstance(sent, (list, tuple)) else None
        if items is not None:
            self._put(content, semconv.INPUT_MESSAGES, items)
        else:
            prompt = given.get("prompt")
            content[semconv.INPUT_MESSAGES] = self._said(
                "user", prompt if isinstance(prompt, str) else _only_text(given)
            )
        return asked if isinstance(asked, str) else self._spec.name

    def _put(self, content: dict[str, Any], name: str, items: Items) -> None:
        content[name] = items
        self._cut += items.cut

    def _answered(self, result: Any, content: dict[str, Any]) -> None:
        if self._spec.operation == semconv.EXECUTE_TOOL:
            content[semconv.TOOL_RESULT], cut = as_text(result)
            self._cut += cut
            return
        blocks = None if isinstance(result, str) else genai_messages.field(result, "content")
        if isinstance(blocks, (list, tuple)) and genai_messages.field(result, "role") == "assistant":
            content[semconv.OUTPUT_MESSAGES] = orjson_text(
                [{"role": "assistant", "parts": genai_messages.parts(blocks)}]
            )
            if self._spec.operation == semconv.CHAT:
                content.update(_facts_of(result))
        elif result is not None:
            content[semconv.OUTPUT_MESSAGES] = self._said("assistant", result)


def _facts_of(message: Any) -> dict[str, Any]:
    """Usage, ids and finish reason of a message as the Anthropic SDK returns it, or of anything that looks like one."""
    stop = genai_messages.field(message, "stop_reason")
    facts = {
        semconv.RESPONSE_ID: genai_messages.field(message, "id"),
        semconv.RESPONSE_MODEL: genai_messages.field(message, "model"),
        semconv.FINISH_REASONS: None if stop is None else [stop],
        **genai_messages.usage(genai_messages.field(message, "usage")),
    }
    return {k: v for k, v in facts.items() if v is not None}


def _only_text(bound: Mapping[str, Any]) -> Any:
    """The one text of a function that takes a question, else all of its arguments."""
    values = list(bound.values())
    return values[0] if len(values) == 1 and isinstance(values[0], str) else bound


def orjson_text(value: Any) -> str:
    """JSON of captured messages."""
    return as_json(value)[0]


_known = Known(as_json)
_current: ContextVar[Call | None] = ContextVar("flyball_call", default=None)


def current() -> Call | None:
    """The innermost decorated call that is running; None outside of one."""
    return _current.get()
