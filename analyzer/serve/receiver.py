"""From the body of a request to the journal; what came, what was refused, what was written, counted."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from analyzer.serve import documents
from analyzer.serve.answers import PROTOBUF
from analyzer.serve.batch import Batch, Malformed
from analyzer.serve.events import Events
from analyzer.serve.inflate import inflated
from analyzer.serve.metrics import data_points
from analyzer.serve.protobuf import Requests
from analyzer.serve.redaction import Redaction
from instrument.content import Mode
from instrument.journal import Journal, folder_of

log = logging.getLogger("flyball.serve")

RETRY_SECONDS: Final = 1
"""What a client that was turned away is asked to wait."""


@dataclass(slots=True)
class Counts:
    """Since the server started."""

    requests: int = 0
    """Export requests of spans answered with 200."""
    spans: int = 0
    """Spans written to the journal, those that came again and marks of runs that have begun included."""
    rejected_spans: int = 0
    """Spans that could not be kept, each told to its client."""
    malformed: int = 0
    """Requests answered with 400."""
    turned_away: int = 0
    """Requests answered with 503, to be sent again."""
    log_records: int = 0
    """Log records that were not kept, each told to its client."""
    data_points: int = 0
    """Measurements that were not kept, each told to its client."""


class Unwritable(Exception):
    """The journal takes nothing at the moment; the client should try again."""


@dataclass(slots=True)
class Receiver:
    """Takes bodies one at a time, from one thread."""

    database: Path
    content: Mode = "full"
    max_body_bytes: int = 64 << 20
    """After inflation."""
    counts: Counts = field(default_factory=Counts)
    problem: str | None = None
    """Why the journal could not be written last; None: it could."""
    journal: Journal = field(init=False)
    _requests: Requests = field(default_factory=Requests)
    _redaction: Redaction = field(init=False)
    _events: Events = field(default_factory=Events)

    def __post_init__(self) -> None:
        self.journal = Journal(folder_of(self.database))
        self._redaction = Redaction(self.content)

    def spans(self, body: bytes, media: str, coding: str) -> Batch:
        """Writes the spans of a body to the journal. When this returns they outlive the process.

        Raises `Malformed`, `TooLarge`, `Unwritable`.
        """
        body = inflated(body, coding, self.max_body_bytes)
        batch = self._requests.batch(body) if media == PROTOBUF else documents.batch(body)
        if batch.spans:
            self._write(batch)
        self.counts.requests += 1
        self.counts.spans += batch.spans
        self.counts.rejected_spans += batch.rejected
        return batch

    def events(self, body: bytes, media: str, coding: str) -> Batch:
        """Writes the calls that log events of coding agents tell of. Raises as `spans`."""
        batch = self._events.batch(inflated(body, coding, self.max_body_bytes), media)
        if batch.spans:
            self._write(batch)
        self.counts.spans += batch.spans
        self.counts.log_records += batch.rejected
        return batch

    def end_runs(self, *, everything: bool = False) -> None:
        """Writes that runs known from events are over: those that have been quiet for a while, or all."""
        batch = self._events.ended(everything=everything)
        if batch.spans:
            self._write(batch)
            self.counts.spans += batch.spans

    def points(self, body: bytes, media: str, coding: str) -> int:
        """Counts the measurements in a body. Raises `Malformed`, `TooLarge`."""
        count = data_points(inflated(body, coding, self.max_body_bytes), media)
        self.counts.data_points += count
        return count

    def _write(self, batch: Batch) -> None:
        try:
            line = self._redaction.of(batch.line)
        except (ValueError, RecursionError) as e:
            raise Malformed(f"the spans could not be redacted: {e}"[:300]) from None
        try:
            self.journal.append(line, batch.spans)
        except OSError as e:
            problem = f"{e.strerror or e} ({self.journal.folder})"
            if problem != self.problem:
                log.warning("nothing can be written to the journal: %s. Clients are asked to send again.", problem)
            self.problem = problem
            raise Unwritable(problem) from None
        if self.problem is not None:
            log.warning("the journal can be written again")
        self.problem = None

    def facts(self) -> dict[str, Any]:
        """The counts by name, for whoever asks how the server is."""
        return {**asdict(self.counts), "redacted_secrets": self._redaction.redacted, "journal_problem": self.problem}
