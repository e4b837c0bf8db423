"""`record()`: from then on every span of the process lands in a journal and, from there, in a DuckDB file."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from re import Pattern
from typing import TYPE_CHECKING, Final, get_args

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, TracerProvider

from instrument import semconv
from instrument.tap import Tap, tap_of

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

    from instrument.content import Mode
    from instrument.metrics.measuring import Measuring
    from instrument.recorder import Recorder
    from instrument.redact import Redactor, Replace

log = logging.getLogger("instrument")

_NATIVE_CONTENT: Final = "ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE"
_ATTRIBUTES: Final = 4_096
"""The SDK's default of 128 drops the oldest attributes of a long conversation: model and provider, for a start."""

_lock = threading.RLock()
_recorders: dict[Path, Recorder] = {}
_taps: dict[Path, Tap] = {}
_provider: TracerProvider | None = None
_tracer: trace.Tracer | None = None
_measuring: Measuring | None = None
_lost_before = 0
"""Spans that recorders lost which have ended."""
_set_native_content = False
_wants_content = False


def record(
    path: str | os.PathLike[str] = "traces.duckdb",
    *,
    content: Mode = "full",
    redact: Redactor | Replace | Iterable[str | Pattern[str]] | bool = True,
    user_id: str | None = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    checkpoint_seconds: float | None = 2.0,
) -> Recorder:
    """Starts recording into the DuckDB file at `path`. Called again for the same path, gives the same recorder.

    `content`: `full` writes messages, arguments and results with secrets redacted; `hashed` writes keys in their place, with which the
    detectors still work; `none` writes neither. `redact`: True for the default rules, patterns or a function on top of them, or a
    `Redactor`; False for no redaction. `user_id` is the user of all that names no other. Spans come from `tracer_provider`, else from the
    application's provider, else from one that is installed now. Metrics (docs/metrics.md) go to `meter_provider`, else to that of the
    application, and nowhere where it has none. Every `checkpoint_seconds` the journal is brought into the database;
    None leaves that to the end of the process and to readers.

    Clients of the Anthropic SDK made afterwards record their content by themselves; `watch(client)` records more. Never raises for what the
    file system or the database does: see `Recorder.stats`. Raises `ValueError` for a `content` that does not exist.
    """
    # Here and not above: a program that only decorates its functions pays for none of this.
    from instrument.content import Mode
    from instrument.recorder import Recorder
    from instrument.redact import redactor

    if content not in get_args(Mode):
        raise ValueError(f"content={content!r}: choose one of {', '.join(get_args(Mode))}")
    # Not resolve(): the folder may not exist yet, and a link to the database should stay one.
    database = Path(os.path.abspath(path))  # noqa: PTH100
    with _lock:
        if (known := _recorders.get(database)) is not None:
            return known
        provider = _provide(tracer_provider)
        recorder = Recorder(
            database,
            content=content,
            redactor=redactor(redact),
            user_id=user_id,
            checkpoint_seconds=checkpoint_seconds,
        )
        tap = tap_of(provider)
        tap.recorders += (recorder,)
        _recorders[database], _taps[database] = recorder, tap
        _measure(tap, meter_provider)
        if content != "none":
            _capture_content()
        recorder.checkpoints.start()
        return recorder


def measure(meter_provider: MeterProvider | None, tracer_provider: TracerProvider | None) -> None:
    """What `instrument.metrics.measure` does."""
    with _lock:
        _measure(tap_of(_provide(tracer_provider)), meter_provider, stays=True)


def _measure(tap: Tap, meter_provider: MeterProvider | None, *, stays: bool = False) -> None:
    global _measuring  # noqa: PLW0603 - it goes with the provider
    from instrument.metrics.listening import listen

    _measuring = listen(tap, meter_provider, lost_spans, stays=stays)


def measuring() -> Measuring | None:
    """What measures the spans of the provider recorded from; None before the first `record`."""
    return _measuring


def lost_spans() -> int:
    """Spans that this process could not write, of all its recordings so far."""
    return _lost_before + sum(recorder.journal.lost for recorder in list(_recorders.values()))


def _provide(given: TracerProvider | None) -> TracerProvider:
    """The provider to listen to, which our own spans then come from too."""
    global _provider, _tracer
    provider = given
    if provider is None:
        current = trace.get_tracer_provider()
        if isinstance(current, TracerProvider):
            provider = current
        else:
            # Without an SDK provider spans go nowhere. One of another make stays in place, and our own spans get one of their own.
            limits = SpanLimits(max_span_attributes=_ATTRIBUTES, max_event_attributes=_ATTRIBUTES)
            provider = _provider or TracerProvider(span_limits=limits)
            if isinstance(current, trace.ProxyTracerProvider):
                trace.set_tracer_provider(provider)
            else:
                log.warning(
                    "the tracer provider in use (%s) is not OpenTelemetry's SDK: only flyball's own spans and watched clients are recorded",
                    type(current).__name__,
                )
    _provider, _tracer = provider, provider.get_tracer(semconv.SCOPE)
    return provider


def provider_in_use() -> TracerProvider | None:
    """The provider recorded from; None before the first `record`."""
    return _provider


def tracer() -> trace.Tracer:
    """What our decorators make spans with. Before `record` these go wherever the application's own provider sends them."""
    return _tracer if _tracer is not None else trace.get_tracer(semconv.SCOPE)


def wants_content() -> bool:
    """Whether anybody would write content down."""
    return _wants_content


def complain(error: Exception) -> None:
    """Counts an error of flyball's own, wherever it happened."""
    for recorder in list(_recorders.values()):
        recorder.failed(error)


def _capture_content() -> None:
    global _set_native_content, _wants_content  # noqa: PLW0603 - so is the environment
    _wants_content = True
    if _NATIVE_CONTENT not in os.environ:
        os.environ[_NATIVE_CONTENT] = "content"
        _set_native_content = True


def forget(recorder: Recorder) -> None:
    """Feeds no more spans to `recorder`; takes back the environment variable with the last one."""
    global _set_native_content, _wants_content, _measuring, _lost_before  # noqa: PLW0603 - so is the environment
    with _lock:
        if _recorders.pop(recorder.path, None) is not None:
            _lost_before += recorder.journal.lost
        tap = _taps.pop(recorder.path, None)
        if tap is not None:
            from instrument.metrics.listening import without_listener

            tap.recorders = tuple(r for r in tap.recorders if r is not recorder)
            without_listener(tap)
            if _provider is not None and tap is tap_of(_provider) and not tap.recorders:
                _measuring = None
        _wants_content = any(r.content != "none" for r in _recorders.values())
        if not _wants_content and _set_native_content:
            os.environ.pop(_NATIVE_CONTENT, None)
            _set_native_content = False


def _at_exit() -> None:
    for recorder in list(_recorders.values()):
        # Spans that other exit handlers end after this still reach the journal, and the next reader.
        try:
            recorder.settle()
        except Exception:
            log.warning("recording could not be brought to its end", exc_info=True)


def _in_child() -> None:
    global _lock, _lost_before  # the thread that may hold the parent's lock does not exist here
    _lock, _lost_before = threading.RLock(), 0
    for recorder in list(_recorders.values()):
        recorder.in_child()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_in_child)
