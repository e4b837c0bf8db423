"""What inputs are given to: the readers into a real store, `flyball serve`'s decoders, and in the end the judgement."""

from __future__ import annotations

import io
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import duckdb

from analyzer.readers import Source, read
from analyzer.run import judge
from analyzer.serve import documents
from analyzer.serve.answers import JSON, PROTOBUF
from analyzer.serve.batch import Batch, Malformed
from analyzer.serve.events import Events
from analyzer.serve.inflate import TooLarge, inflated
from analyzer.serve.metrics import data_points
from analyzer.serve.protobuf import Requests
from analyzer.serve.redaction import Redaction
from benchmarks.fuzzing.seeds import Seed
from instrument.store.connect import in_memory
from instrument.store.lines import decode
from instrument.store.load import Loader

_BODY_BYTES = 1 << 20
ANSWERS = (Malformed, TooLarge)
"""How `flyball serve` refuses a body."""
_OF_SERVE = frozenset(("OTLP JSON", "OTLP protobuf", "log events of a coding agent", "container", "none"))
"""Seeds that are also sent to `flyball serve`, which takes no others."""


class Hang(Exception):
    """An input took longer than it may."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises `Hang` in what runs inside when the time is up. On the main thread only."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Hang(f"took longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Target:
    """One store in memory; inputs go in one after the other, and `finish` settles and judges them together."""

    def __init__(self) -> None:
        self.con: duckdb.DuckDBPyConnection = in_memory()
        self.loader = Loader(self.con)
        self.counts: Counter[str] = Counter()
        self._requests, self._events = Requests(), Events()
        self._redactions = {mode: Redaction(mode) for mode in ("full", "hashed")}

    def give(self, seed: Seed, data: bytes) -> None:
        """One input to the readers, and to `flyball serve` where that might get such a one. Whatever is raised is a defect."""
        reading = read([Source("-", named=True)], self.loader, stdin=io.BytesIO(data))
        self.counts["read" if reading.traces else "refused"] += 1
        self.counts[f"read as {seed.form}"] += reading.traces
        if seed.form in _OF_SERVE:
            self.send(data)

    def send(self, body: bytes) -> None:
        """The body of a request to each of the three addresses of `flyball serve`. What it keeps, the store must take."""
        for coding in ("", "gzip") if body[:2] == b"\x1f\x8b" else ("",):
            self._answered(lambda coding=coding: self._keep(documents.batch(inflated(body, coding, _BODY_BYTES))))
            self._answered(lambda coding=coding: self._keep(self._requests.batch(inflated(body, coding, _BODY_BYTES))))
        for media in (JSON, PROTOBUF):
            self._answered(lambda media=media: self._keep(self._events.batch(body, media)))
            self._answered(lambda media=media: data_points(body, media))

    def _answered(self, take: Callable[[], object]) -> None:
        try:
            take()
            self.counts["bodies accepted"] += 1
        except ANSWERS:
            self.counts["bodies refused"] += 1

    def _keep(self, batch: Batch) -> None:
        if not batch.spans:
            return
        for redaction in self._redactions.values():
            try:
                line = redaction.of(batch.line)
            except (ValueError, RecursionError):
                continue  # answered with 400 by the receiver
            broken = [found for found in decode(line, 1) if isinstance(found, tuple)]
            assert not broken, f"the store cannot read what `flyball serve` kept: {broken}"
        self.loader.add_lines(batch.line, "serve")

    def finish(self) -> None:
        """Settles everything and judges it."""
        loaded = self.loader.finish()
        self.counts["spans"] += loaded.spans
        self.counts["issues"] += loaded.issues
        self.counts["findings"] += len(judge(self.con).findings)

    def close(self) -> None:
        """Frees the store."""
        self.loader.__exit__()
        self.con.close()
