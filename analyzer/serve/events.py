"""Log events of coding agents, as they come, to spans: what they export where no spans are switched on.

A run is all events of one prompt, and nobody says when it is over. So its agent span is written as begun with the first event, and as
ended when nothing has come for some minutes or the server stops. If the server is killed in between, the run shows as unfinished.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import orjson

from analyzer.readers import logs_protobuf
from analyzer.readers.otlp_logs import EventReader, log_records
from analyzer.serve.answers import JSON
from analyzer.serve.batch import Batch, Malformed
from instrument.otlp import Issue, ResourceSpans, TracesData

_IDLE_SECONDS: Final = 600.0
_MOST_RUNS: Final = 10_000
"""Runs that are open at a time; of more, those that have been quiet longest are ended."""
_SOURCE: Final = "flyball serve"


@dataclass
class _Kept:
    """A sink that holds what was read until it is written."""

    resources: list[ResourceSpans] = field(default_factory=list)

    def add(self, document: TracesData, source: str) -> None:  # noqa: ARG002 - the readers' interface
        self.resources += document.resourceSpans

    def add_lines(self, data: bytes, source: str, first_line: int = 1) -> None:  # noqa: ARG002 - as above
        raise AssertionError("events are never read from lines of spans")

    def add_issue(self, issue: Issue) -> None:
        raise AssertionError(f"what is left out is counted by the server: {issue.message}")

    def take(self) -> Batch:
        """All of it as one line."""
        resources, self.resources = self.resources, []
        spans = sum(len(scope.spans) for resource in resources for scope in resource.scopeSpans)
        plain = _without_nulls(msgspec.to_builtins(TracesData(resources)))
        return Batch(orjson.dumps(plain, option=orjson.OPT_APPEND_NEWLINE) if spans else b"", spans)


class Events:
    """Turns log records into spans; holds what must be remembered between requests."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sink = _Kept()
        self._made: Counter[str] = Counter()
        self._reader = EventReader(_SOURCE, self._sink, self._made)
        self._heard: dict[tuple[str, ...], float] = {}
        """When the last event of each run came."""

    def batch(self, body: bytes, media: str) -> Batch:
        """The calls an export request tells of. `rejected` are records that tell of none. Raises `Malformed`."""
        before = self._made["odd"] + self._made["other_events"]
        try:
            for values, record in log_records(_document(body, media), self._made):
                self._take(values, record)
        except (RecursionError, ValueError, AttributeError, TypeError) as e:
            self._sink.take()
            raise Malformed(f"the body is no export request of logs: {e}"[:300]) from None
        rejected = self._made["odd"] + self._made["other_events"] - before
        batch = self._sink.take()
        return Batch(batch.line, batch.spans, rejected, "records that tell of no call of an agent are not kept")

    def _take(self, values: dict[str, Any], record: dict[str, Any]) -> None:
        run = self._reader.take(values, record)
        if run is not None:
            if run.key not in self._heard:
                self._reader.put_agent(run, pending=True)
            self._heard[run.key] = self._clock()

    def ended(self, *, everything: bool = False) -> Batch:
        """The agent spans of runs of which nothing has come for a while, or of all."""
        latest = self._clock() - _IDLE_SECONDS
        quiet = sorted(self._heard, key=self._heard.__getitem__)
        too_many = len(quiet) - _MOST_RUNS
        for number, key in enumerate(quiet):
            if everything or number < too_many or self._heard[key] < latest:
                self._reader.put_agent(self._reader.runs.pop(key))
                del self._heard[key]
        return self._sink.take()


def _document(body: bytes, media: str) -> Any:
    if media == JSON:
        document = orjson.loads(body)
        if not isinstance(document, dict):
            raise Malformed("the body is no export request of logs: it must be an object")
        return document
    try:
        return logs_protobuf.document(body)
    except ValueError as e:
        raise Malformed(f"the body is no export request of logs: {e}") from None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(v) for name, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value
