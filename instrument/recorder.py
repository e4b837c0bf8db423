"""One recording: spans in, lines of the journal out, checkpoints into the database."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from instrument import otlp_line, semconv
from instrument.content import Mode, keys_of, without
from instrument.context import Run
from instrument.encoding import Attributes, redacted
from instrument.journal import Journal, folder_of
from instrument.marks import Marks
from instrument.redact import Redactor
from instrument.store.checkpoint import Checkpoints

log = logging.getLogger("instrument")

_ON_MARKS: Final = (
    semconv.OPERATION,
    semconv.AGENT_NAME,
    semconv.TOOL_NAME,
    semconv.TOOL_CALL_ID,
    semconv.PROVIDER,
    semconv.REQUEST_MODEL,
)


@dataclass(frozen=True, slots=True)
class Stats:
    """What one process has recorded, counted since it started recording."""

    spans: int
    """Ended spans in the journal."""
    marks: int
    """Spans in the journal that had not ended when they were written."""
    lost_spans: int
    """Ended spans that could not be written."""
    lost_reason: str | None
    """Why the last of them could not be."""
    redacted: int
    """Secrets replaced."""
    errors: int
    """Times that recording a span went wrong in flyball itself; the span or a part of it is missing."""
    last_error: str | None
    checkpoints: int
    """Times the journal was brought into the database by this process."""
    checkpoint_problem: str | None
    """Why the last attempt to do so failed; None: it did not. The journal keeps everything meanwhile."""


class Recorder:
    """A running recording; `record` makes it. Use `with` or call `close` to end it before the process does."""

    def __init__(
        self, path: Path, *, content: Mode, redactor: Redactor, user_id: str | None, checkpoint_seconds: float | None
    ) -> None:
        self.path = path
        """The database."""
        self.content: Final = content
        self.journal = Journal(folder_of(path))
        self.checkpoints = Checkpoints(path, seconds=checkpoint_seconds)
        self._marks = Marks(self._mark)
        self._redactor = redactor
        self._attributes = Attributes(redactor)
        self._user_id = user_id
        self._prefixes = otlp_line.Prefixes()
        self._lock = threading.Lock()
        self._redacted = self._errors = 0
        self._last_error: str | None = None
        self._closed = False

    # --- what the tap calls -------------------------------------------------------------------------------------------

    def started(self, span: ReadableSpan, attributes: Mapping[str, Any], run: Run) -> None:
        """Sees to it that a span that stays open can be seen. That of a whole run at once, all others after a moment."""
        context = span.context
        if context is None:
            return
        if run.span_id == context.span_id:
            self._mark((span, attributes, run))
        else:
            self._marks.add(context.span_id, (span, attributes, run))

    def _mark(self, started: tuple[ReadableSpan, Mapping[str, Any], Run]) -> None:
        span, attributes, run = started
        facts = {name: attributes[name] for name in _ON_MARKS if name in attributes}
        self._stamp(facts, run)
        facts[semconv.PENDING] = True
        self._write(span, otlp_line.started(span, facts), mark=True)

    def ended(self, span: ReadableSpan, attributes: dict[str, Any], captured: Mapping[str, Any], run: Run) -> None:
        """Writes an ended span."""
        if span.context is not None:
            self._marks.drop(span.context.span_id)
        attributes.update(captured)
        self._stamp(attributes, run)
        message = span.status.description
        events: list[_Event] = []
        if getattr(span, "_events", True):  # the public property takes a lock and a copy, nearly always of nothing
            events = [(e.name, e.timestamp, dict(e.attributes or {})) for e in span.events]
        found = 0
        if message or events:
            message, events, found = self._cleaned(message, events)
        if self.content == "full":
            encoded, more = self._attributes.of(attributes)
        else:
            attributes, more = redacted(attributes, self._redactor)
            attributes = self._reduced(span, attributes, message, events)
            message, events = None, [(name, at, without(facts)) for name, at, facts in events]
            encoded = [otlp_line.attribute(name, value) for name, value in attributes.items()]
        if found := found + more:
            encoded.append(otlp_line.attribute(semconv.CONTENT_REDACTED, found))
            with self._lock:
                self._redacted += found
        self._write(span, *otlp_line.ended(span, encoded, message, _events(events)))

    def failed(self, error: Exception) -> None:
        """Counts an error of flyball's own."""
        with self._lock:
            self._errors += 1
            self._last_error = f"{type(error).__name__}: {error}"
        log.debug("a span could not be recorded as it should", exc_info=error)

    def _stamp(self, attributes: dict[str, Any], run: Run) -> None:
        if run.run_id is not None:
            attributes[semconv.RUN_ID] = run.run_id
        if run.agent_name is not None:
            attributes.setdefault(semconv.AGENT_NAME, run.agent_name)
        if (user_id := run.user_id or self._user_id) is not None:
            attributes.setdefault(semconv.USER_ID, user_id)
        if run.conversation_id is not None:
            attributes.setdefault(semconv.CONVERSATION_ID, run.conversation_id)

    def _cleaned(self, message: str | None, events: list[_Event]) -> tuple[str | None, list[_Event], int]:
        """Status message and events without secrets, and how many were replaced."""
        count = 0
        if message:
            message, count = self._redactor.text(message)
        cleaned = []
        for name, at, facts in events:
            clean, found = redacted(facts, self._redactor)
            cleaned.append((name, at, clean))
            count += found
        return message, cleaned, count

    def _reduced(
        self, span: ReadableSpan, attributes: Mapping[str, Any], message: str | None, events: list[_Event]
    ) -> dict[str, Any]:
        """The attributes without content, and with its keys in `hashed` mode."""
        keys: dict[str, Any] = {}
        if self.content == "hashed":
            thrown: Mapping[str, Any] = next((facts for name, _, facts in events if name == "exception"), {})
            error_type = attributes.get(semconv.ERROR_TYPE) or thrown.get("exception.type")
            status = span.status.status_code
            failed = status is StatusCode.ERROR or (status is StatusCode.UNSET and error_type is not None)
            text = attributes.get("error.message") or thrown.get("exception.message") or message
            keys = keys_of(attributes, failed=failed, error_type=error_type, message=text)
        return {**without(attributes), **keys, semconv.CONTENT_MODE: self.content}

    def _write(self, span: ReadableSpan, *body: bytes, mark: bool = False) -> None:
        prefix = self._prefixes.of(span.resource, span.instrumentation_scope)
        self.journal.write(b"".join((prefix, *body, otlp_line.TAIL)), mark=mark)

    # --- what the host calls ------------------------------------------------------------------------------------------

    @property
    def stats(self) -> Stats:
        """Counts so far."""
        journal, checkpoints = self.journal, self.checkpoints
        return Stats(
            spans=journal.spans,
            marks=journal.marks,
            lost_spans=journal.lost,
            lost_reason=journal.reason,
            redacted=self._redacted,
            errors=self._errors,
            last_error=self._last_error,
            checkpoints=checkpoints.done,
            checkpoint_problem=checkpoints.problem,
        )

    def flush(self, timeout_seconds: float = 30.0) -> bool:
        """Brings everything recorded so far into the database. False: not possible now; the journal keeps it and it is tried again."""
        return self.checkpoints.now(timeout_seconds)

    def close(self) -> None:
        """Ends the recording: a last checkpoint, and a line in the log if anything was lost. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        from instrument import tracing  # it knows who feeds this recorder; imported here because it imports us

        tracing.forget(self)
        self._marks.close()
        self.settle()

    def settle(self) -> None:
        """Gives up the journal segment, brings it into the database and reports what was lost. Recording may go on afterwards."""
        self.journal.close()
        self.checkpoints.stop()
        if self.journal.unreported:
            log.warning(
                "%d spans could not be recorded in %s: %s. Free the disk or make the folder writable; until then findings will miss them.",
                self.journal.unreported, self.journal.folder, self.journal.reason,
            )  # fmt: skip
            self.journal.unreported = 0

    def in_child(self) -> None:
        """Called in a forked child: a segment and a thread of its own."""
        self._lock = threading.Lock()
        self._redacted = self._errors = 0
        self._marks.in_child()
        self.journal.in_child()
        self.checkpoints.in_child()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_Event = tuple[str, int, dict[str, Any]]


def _events(events: list[_Event]) -> list[dict[str, Any]]:
    return [
        {"name": name, "timeUnixNano": str(at), "attributes": otlp_line.encoded(facts)} for name, at, facts in events
    ]
