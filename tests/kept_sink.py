"""A sink that keeps what readers give it, and OTLP lines to give them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from analyzer.readers import Reading, read, resolve
from instrument.otlp import Issue, TracesData


class Kept:
    """Everything readers yielded."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.issues: list[Issue] = []
        self.blocks: list[tuple[int, int]] = []
        """First line and size of each block of lines."""

    def add_lines(self, data: bytes, source: str, first_line: int = 1) -> None:
        self.blocks.append((first_line, len(data)))
        for number, line in enumerate(data.split(b"\n"), first_line):
            if not line.strip():
                continue
            try:
                self._take(json.loads(line))
            except ValueError as e:
                self.add_issue(Issue(kind="broken_line", source=source, line=number, message=str(e), remedy=""))

    def add(self, document: TracesData, source: str) -> None:
        self._take(msgspec.to_builtins(document))

    def add_issue(self, issue: Issue) -> None:
        self.issues.append(issue)

    def _take(self, document: Any) -> None:
        for resource in document.get("resourceSpans", []):
            for scope in resource.get("scopeSpans", []):
                self.spans += scope.get("spans", [])

    @property
    def kinds(self) -> list[str]:
        return [issue.kind for issue in self.issues]

    @property
    def names(self) -> list[str]:
        return [span["name"] for span in self.spans]


def reading_of(*paths: Path | str) -> tuple[Kept, Reading]:
    """What reading these paths gives."""
    kept, inputs = Kept(), resolve([str(p) for p in paths])
    reading = read(inputs.sources, kept)
    reading.refusals[:0] = inputs.refusals
    return kept, reading


def document(name: str, span_id: str = "00f067aa0ba902b7") -> dict[str, Any]:
    """An OTLP document with one span."""
    span = {"traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": span_id, "name": name, "startTimeUnixNano": "1"}
    return {"resourceSpans": [{"scopeSpans": [{"scope": {"name": "test"}, "spans": [span]}]}]}


def lines(names: Sequence[str]) -> bytes:
    """OTLP JSON Lines with one span a line."""
    return b"".join(json.dumps(document(name, f"{n:016x}")).encode() + b"\n" for n, name in enumerate(names, 1))
