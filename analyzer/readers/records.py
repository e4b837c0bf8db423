"""JSON Lines of somebody else's format, one object at a time; memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from analyzer.readers.lines import decode, line_blocks, values
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument.otlp import Issue

_SHOWN: Final = 20
"""Broken lines named one by one; the rest are counted together."""


def records(stream: Stream, sink: Sink) -> Iterator[tuple[int | None, dict[str, Any]]]:
    """Line number and content of each JSON object of `stream`. What is no object becomes an issue.

    A file that is one document (which may hold its records in a list) is read whole; its records have no line.
    """
    if not _is_lines(stream.head):
        for value in values(stream, sink):
            found = value if isinstance(value, list) else [value]
            yield from ((None, v) for v in found if isinstance(v, dict))
            _report(stream.source, sink, sum(not isinstance(v, dict) for v in found))
        return
    broken = 0
    for block in line_blocks(stream, sink):
        for line, data in enumerate(block.data.split(b"\n"), block.first_line):
            if not data.strip():
                continue
            try:
                value = decode(data)
            except ValueError as problem:
                value = problem
            if isinstance(value, dict):
                yield line, value
                continue
            broken += 1
            if broken <= _SHOWN:
                message = (
                    f"the line is no JSON: {value}" if isinstance(value, ValueError) else "the line is no JSON object"
                )
                sink.add_issue(_broken(stream.source, message, line))
    _report(stream.source, sink, broken - _SHOWN)


def _is_lines(head: bytes) -> bool:
    """A document over many lines has a first line that ends open."""
    first = head.lstrip().split(b"\n", 1)[0].strip()
    return (first.startswith(b"{") and not first.endswith((b"{", b"[", b","))) or (
        len(head.splitlines()) > 1 and first == b""
    )


def _report(source: str, sink: Sink, further: int) -> None:
    if further > 0:
        sink.add_issue(_broken(source, "records are no JSON objects", None, further))


def _broken(source: str, message: str, line: int | None, count: int = 1) -> Issue:
    remedy = "the rest was read; repair or remove what is broken"
    return Issue(kind="broken_line", source=source, line=line, message=message, remedy=remedy, count=count)
