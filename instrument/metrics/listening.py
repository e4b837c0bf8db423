"""Who measures: one `Measuring` for each tracer provider that is listened to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from instrument.metrics.measuring import Measuring

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

    from instrument.tap import Tap


def measure(*, meter_provider: MeterProvider | None = None, tracer_provider: TracerProvider | None = None) -> None:
    """Metrics without a recording: for those who want numbers and no database. `instrument.record` measures by itself.

    They go to `meter_provider`, else to the application's own, whenever that is set. They are made from spans of `tracer_provider`, as
    with `record`. Goes on until the process ends. Calling it again changes nothing.
    """
    from instrument import tracing  # it starts the measuring of `record`, and so knows this module

    tracing.measure(meter_provider, tracer_provider)


def listen(
    tap: Tap, provider: MeterProvider | None, lost_spans: Callable[[], int], *, stays: bool = False
) -> Measuring:
    """What measures the spans of `tap`, made the first time."""
    found = next((r for r in tap.recorders if isinstance(r, Measuring)), None)
    if found is None:
        found = Measuring(provider, lost_spans)
        tap.recorders += (found,)
    elif provider is not None:
        found.use(provider)
    found.stays = found.stays or stays
    return found


def without_listener(tap: Tap) -> None:
    """Takes the `Measuring` of `tap` away where only it is left and it is not to stay."""
    if all(isinstance(r, Measuring) and not r.stays for r in tap.recorders):
        tap.recorders = ()
