"""Ended spans as metrics: who listens, beside the recorders, to one tracer provider.

It works in the thread that ends the span and only adds numbers up; what is exported, and when, is the affair of the application's meter
provider. What goes wrong there is counted here and reaches nobody else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import MeterProvider, NoOpMeterProvider, get_meter_provider
from opentelemetry.metrics import _internal as _api
from opentelemetry.sdk.trace import ReadableSpan

from instrument import semconv
from instrument.context import Run
from instrument.metrics.facts import kind_of
from instrument.metrics.nesting import OpenSpan

if TYPE_CHECKING:
    from instrument.guards.facts import Intervention
    from instrument.metrics.meters import Meters

log = logging.getLogger("instrument")

_OPEN_KEPT: Final = 100_000


class Measuring:
    """Metrics of what one tracer provider sees. Without a `provider` of its own it uses the application's, once there is one."""

    def __init__(self, provider: MeterProvider | None, lost_spans: Callable[[], int]) -> None:
        self._provider, self._lost_spans = provider, lost_spans
        self.stays = False
        """It goes on when the last recording has ended."""
        self.failures = 0
        """Measurements that could not be made; the first is in the log."""
        self._windows: Mapping[str, int] = {}
        self._open: dict[int, OpenSpan] = {}
        self._meters: Meters | None = None
        self._broken = False
        get_meter_provider()  # loads the one that the environment names
        self.meters()

    def use(self, provider: MeterProvider) -> None:
        """Tells this provider from now on. One that was given before stays: both would be told the same."""
        if self._provider is None:
            self._provider, self._meters, self._broken = provider, None, False
            self.meters()
        elif self._provider is not provider:
            log.warning("metrics already go to another meter provider, which was given first; they stay there")

    def meters(self) -> Meters | None:
        """What to tell; None as long as nobody wants to know."""
        if self._meters is None and not self._broken:
            # Asked for each span: the public function looks into the environment each time, which is dear. A version of the API that has
            # no such variable is asked in public.
            if self._provider is None and getattr(_api, "_METER_PROVIDER", _api) is None:
                return None
            provider = self._provider or _api.get_meter_provider()
            if isinstance(provider, NoOpMeterProvider) or type(provider).__name__ == "_ProxyMeterProvider":
                return None
            try:
                # Here and not above: prices and windows take a third of a second to load, which is spent now or never.
                from instrument.metrics.meters import meters_for

                self._meters = meters_for(provider, self._lost_spans, self.failed, lambda: self._windows)
            except Exception as e:  # noqa: BLE001 - a meter provider of another make; the agent must not notice
                self._broken = True
                self.failed(e)
        return self._meters

    # --- spans (`instrument.tap.Recording`) ---------------------------------------------------------------------------

    def started(self, span: ReadableSpan, attributes: Mapping[str, Any], run: Run) -> None:  # noqa: ARG002 - as a recorder's
        """Keeps what spans below will have to know."""
        if self.meters() is None or span.context is None:
            return
        scope = _scope(span)
        parent = None if span.parent is None else self._open.get(span.parent.span_id)
        kind = kind_of(scope, attributes)
        self._open[span.context.span_id] = OpenSpan(parent, scope, kind, attributes.get(semconv.TOOL_NAME))
        if len(self._open) > _OPEN_KEPT:  # spans that never end must not fill the memory
            self._open.pop(next(iter(self._open)), None)

    def ended(self, span: ReadableSpan, attributes: dict[str, Any], captured: Mapping[str, Any], run: Run) -> None:
        """Measures a span."""
        opened = self._open.pop(span.context.span_id, None) if span.context is not None else None
        meters = self.meters()
        if meters is None:
            return
        scope = _scope(span)
        kind = kind_of(scope, attributes)
        if kind is None:
            return
        attributes.update(captured)
        # Without `opened`: it began before anybody wanted to know.
        meters.ended(span, kind, opened or OpenSpan(None, scope, kind, None), attributes, run.agent_name)

    def failed(self, error: Exception) -> None:
        """Counts what could not be measured."""
        self.failures += 1
        if self.failures == 1:
            log.warning("a measurement could not be made; further ones are only counted", exc_info=error)

    # --- what has no span of its own ----------------------------------------------------------------------------------

    def acted(self, agent: str, act: Intervention) -> None:
        """A guard has acted, or the runner has taken a measure."""
        self._tell(lambda meters: meters.acted(agent, act))

    def reviewed(self, agent: str, decision: str | None, seconds: float) -> None:
        """A run has waited for a person; `decision` is None where nobody answered."""
        self._tell(lambda meters: meters.reviewed(agent, decision, seconds))

    def know_windows(self, windows: Mapping[str, int]) -> None:
        """Context windows of a policy, in tokens: they hold for all calls of the process."""
        self._windows = {**self._windows, **windows}

    def _tell(self, tell: Callable[[Meters], None]) -> None:
        meters = self.meters()
        if meters is None:
            return
        try:
            tell(meters)
        except Exception as e:  # noqa: BLE001 - the run goes on, measured or not
            self.failed(e)


def _scope(span: ReadableSpan) -> str:
    scope = span.instrumentation_scope
    return scope.name if scope is not None else ""
