"""Where readers put what they read."""

from __future__ import annotations

from typing import Protocol

from instrument.otlp import Issue, TracesData


class Sink(Protocol):
    """The part of `instrument.store.load.Loader` that readers use."""

    def add_lines(self, data: bytes, source: str, first_line: int = 1) -> object:
        """Whole OTLP JSON lines, the first of them line `first_line` of `source`; broken ones become issues."""

    def add(self, document: TracesData, source: str) -> object:
        """Spans already decoded."""

    def add_issue(self, issue: Issue) -> object:
        """What could not be read."""
