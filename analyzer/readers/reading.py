"""Every source into one sink, each by the format its content shows. One bad file never stops the others."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from analyzer.readers.formats import format_of
from analyzer.readers.paths import STANDARD_INPUT, Source
from analyzer.readers.refusals import refusal
from analyzer.readers.sink import Sink
from analyzer.readers.streams import open_stream
from instrument.errors import UnreadableTrace
from instrument.otlp import Issue


@dataclass(slots=True)
class Reading:
    """What came of reading some sources; spans and issues are in the sink."""

    traces: int = 0
    """Files that were of a known format."""
    refusals: list[UnreadableTrace] = field(default_factory=list)
    """Files the user named that hold no trace or could not be opened."""


def read(
    sources: Iterable[Source],
    sink: Sink,
    *,
    stdin: BinaryIO | None = None,
    advance: Callable[[int], object] = lambda _bytes: None,
) -> Reading:
    """Reads all `sources` into `sink`, in order. `advance` hears the size in bytes of every piece read, for progress.

    A file found in a folder that holds no trace becomes an issue; one the user named, a refusal. Nothing about a file
    is raised.
    """
    reading = Reading()
    for source in sources:
        try:
            _read_one(source, sink, stdin, advance)
            reading.traces += 1
        except UnreadableTrace as problem:
            if source.named:
                reading.refusals.append(problem)
            else:
                sink.add_issue(_not_a_trace(problem))
        except OSError as e:
            failure = UnreadableTrace(source.path, f"cannot be read ({e.strerror or e}); check its permissions")
            if source.named:
                reading.refusals.append(failure)
            else:
                sink.add_issue(_unreadable(failure))
    return reading


def _read_one(source: Source, sink: Sink, stdin: BinaryIO | None, advance: Callable[[int], object]) -> None:
    with _opened(source, stdin) as file:
        stream = open_stream(file, source.path, sink, advance)
        found = format_of(stream.head)
        if found is None:
            raise UnreadableTrace(source.path, refusal(stream.head))
        try:
            found.read(stream, sink)
        except RecursionError:
            message = "values in it are nested too deeply to be read"
            remedy = "no tracer writes such a file; look at where it comes from"
            sink.add_issue(Issue(kind="too_deep", source=source.path, message=message, remedy=remedy))


@contextlib.contextmanager
def _opened(source: Source, stdin: BinaryIO | None) -> Iterator[BinaryIO]:
    if source.path == STANDARD_INPUT:
        yield stdin or sys.stdin.buffer
        return
    with Path(source.path).open("rb") as file:
        yield file


def _not_a_trace(problem: UnreadableTrace) -> Issue:
    return Issue(
        kind="not_a_trace",
        source=problem.path,
        message=str(problem).removeprefix(f"{problem.path}: "),
        remedy="name the file itself if it ought to hold a trace",
        error=False,
    )


def _unreadable(problem: UnreadableTrace) -> Issue:
    return Issue(
        kind="unreadable_file",
        source=problem.path,
        message=str(problem).removeprefix(f"{problem.path}: "),
        remedy="make the file readable and try again",
    )
