"""Where spans come in: one span processor per tracer provider, which hands every span to the recorders.

A processor cannot be removed from a provider again, so there is one for each and recorders come and go. Here too: which run a span belongs
to, and what was captured for a span outside of it (content is not put on the span itself: it is cheaper, and it stays out of whatever
other exporters the application has).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from instrument import semconv
from instrument.context import NOBODY, Run, current_run
from instrument.store.dialects import OPERATIONS, TEXT

Captured = Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Attributes for a span's line, or what works them out from the span's own when it is written."""

_OPEN_KEPT: Final = 100_000
_OPERATION_NAMES: Final = TEXT["operation"]


class Recording(Protocol):
    """What a recorder does with spans."""

    def started(self, span: ReadableSpan, attributes: Mapping[str, Any], run: Run) -> None:
        """A span has started."""

    def ended(self, span: ReadableSpan, attributes: dict[str, Any], captured: Mapping[str, Any], run: Run) -> None:
        """A span has ended. `attributes` is the recorder's to change."""

    def failed(self, error: Exception) -> None:
        """Recording a span went wrong; the program that is recorded must not notice."""


_captured: dict[int, Captured] = {}


def capture(span_id: int, captured: Captured) -> None:
    """Keeps `captured` for the line of the open span `span_id`; of several, the last one counts."""
    _captured[span_id] = captured
    if len(_captured) > _OPEN_KEPT:  # spans that never end must not fill the memory
        _captured.pop(next(iter(_captured)), None)


class Tap(SpanProcessor):
    """Hands every span of one tracer provider to `recorders`, and knows the run of each open one."""

    def __init__(self) -> None:
        self.recorders: tuple[Recording, ...] = ()
        self._runs: dict[int, Run] = {}

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK's interface
        """Called by the SDK in the thread that starts the span."""
        if not self.recorders:
            return
        try:
            attributes = _copied(span)
            run = self._enter(span, attributes)
        except Exception as e:  # noqa: BLE001 - nothing here may reach the host
            self._complain(e)
            return
        for recorder in self.recorders:
            try:
                recorder.started(span, attributes, run)
            except Exception as e:  # noqa: BLE001 - nothing here may reach the host
                recorder.failed(e)

    def on_end(self, span: ReadableSpan) -> None:
        """Called by the SDK in the thread that ends the span."""
        span_id = span.context.span_id if span.context is not None else 0
        run = self._runs.pop(span_id, NOBODY)
        captured: Captured | None = _captured.pop(span_id, None)
        if not self.recorders:
            return
        attributes = _copied(span)
        try:
            extra = (captured(attributes) if callable(captured) else captured) or {}
        except Exception as e:  # noqa: BLE001 - the span is written without it
            self._complain(e)
            extra = {}
        for recorder in self.recorders:
            try:
                recorder.ended(span, attributes.copy(), extra, run)
            except Exception as e:  # noqa: BLE001 - nothing here may reach the host
                recorder.failed(e)

    def _complain(self, error: Exception) -> None:
        for recorder in self.recorders:
            recorder.failed(error)

    def _enter(self, span: Span, attributes: Mapping[str, Any]) -> Run:
        """The run of a span that starts: its own if it is an agent's, else its parent's, else that of the context it starts in."""
        here = current_run.get()
        parent = self._runs.get(span.parent.span_id) if span.parent is not None else None
        base = parent if parent is not None else here
        user = here.user_id or base.user_id
        conversation = here.conversation_id or base.conversation_id
        span_id = span.get_span_context().span_id
        if _is_agent(attributes):
            name = attributes.get(semconv.AGENT_NAME) or span.name.removeprefix("invoke_agent ")
            run = Run(
                f"{span_id:016x}",
                name,
                attributes.get(semconv.USER_ID) or user,
                attributes.get(semconv.CONVERSATION_ID) or conversation,
                span_id,
            )
        elif user == base.user_id and conversation == base.conversation_id:
            run = base
        else:
            run = Run(base.run_id, base.agent_name, user, conversation)
        self._runs[span_id] = run
        if len(self._runs) > _OPEN_KEPT:
            self._runs.pop(next(iter(self._runs)), None)
        return run


def _copied(span: ReadableSpan) -> dict[str, Any]:
    # The SDK's own map copies in one step, where dict() of the public one takes a lock for every attribute.
    kept = getattr(span, "_attributes", None)
    return cast("dict[str, Any]", kept.copy()) if type(kept) is BoundedAttributes else dict(span.attributes or {})


def _is_agent(attributes: Mapping[str, Any]) -> bool:
    for name in _OPERATION_NAMES:
        operation = attributes.get(name)
        if operation is not None:
            return isinstance(operation, str) and OPERATIONS.get(operation.lower()) == "agent"
    return False


_taps: weakref.WeakKeyDictionary[TracerProvider, Tap] = weakref.WeakKeyDictionary()


def tap_of(provider: TracerProvider) -> Tap:
    """The tap of `provider`, attached to it the first time."""
    tap = _taps.get(provider)
    if tap is None:
        tap = _taps[provider] = Tap()
        provider.add_span_processor(tap)
    return tap
