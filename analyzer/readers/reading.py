"""Every source into one sink, each by the format its content shows. One bad file never stops the others."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from analyzer.readers.archives import NESTED, Member, opener
from analyzer.readers.event_stores import Joined
from analyzer.readers.format import Format
from analyzer.readers.formats import FORMATS, format_of
from analyzer.readers.parquet import as_lines, is_parquet
from analyzer.readers.paths import STANDARD_INPUT, Source
from analyzer.readers.plugins import third_party
from analyzer.readers.refusals import refusal
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream, as_text, open_raw, unpacked
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
    reading, formats = Reading(), (*third_party(sink), *FORMATS)
    for source in sources:
        try:
            _read_one(source, sink, formats, stdin, advance)
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


def _read_one(
    source: Source,
    sink: Sink,
    formats: Sequence[Format],
    stdin: BinaryIO | None,
    advance: Callable[[int], object],
) -> None:
    heard = 0

    def hear(count: int) -> None:
        nonlocal heard
        heard += count
        advance(count)

    with _opened(source, stdin) as file:
        _read_stream(open_raw(file, source.path, sink, hear), sink, formats)
    if source.path != STANDARD_INPUT:  # archives and Parquet are read from wherever in the file their parts lie
        advance(max(Path(source.path).stat().st_size - heard, 0))


def _read_stream(stream: Stream, sink: Sink, formats: Sequence[Format], depth: int = 0) -> None:
    members = opener(stream.head)
    if members is not None:
        _read_members(members(stream, sink), stream.source, sink, formats, depth + 1)
    elif is_parquet(stream.head):
        with as_lines(stream, sink) as lines:
            _read_format(lines, sink, formats)
    else:
        _read_format(stream, sink, formats)


def _read_format(stream: Stream, sink: Sink, formats: Sequence[Format]) -> None:
    found = format_of(stream.head, formats, binary=True)
    if found is None:
        stream = as_text(stream)
        found = format_of(stream.head, formats)
    if found is None:
        raise UnreadableTrace(stream.source, refusal(stream.head))
    try:
        found.read(stream, sink)
    except RecursionError:
        message = "values in it are nested too deeply to be read"
        remedy = "no tracer writes such a file; look at where it comes from"
        sink.add_issue(Issue(kind="too_deep", source=stream.source, message=message, remedy=remedy))


def _read_members(members: Iterator[Member], source: str, sink: Sink, formats: Sequence[Format], depth: int) -> None:
    """All `members` of one archive. Those without a trace become one issue; UnreadableTrace where none has one."""
    traces, others = 0, list[UnreadableTrace]()
    for member in members:
        if depth > NESTED:
            raise UnreadableTrace(source, f"is an archive within {NESTED} others; unpack it first")
        try:
            _read_stream(unpacked(member.pieces, member.source, sink), sink, formats, depth)
            traces += 1
        except UnreadableTrace as problem:
            others.append(problem)
    if not traces:
        first = f" (the first {_said(others[0])})" if others else ""
        raise UnreadableTrace(source, f"is an archive without a trace in it that can be read{first}")
    if others:
        sink.add_issue(_not_traces(source, others))


@contextlib.contextmanager
def _opened(source: Source, stdin: BinaryIO | None) -> Iterator[BinaryIO]:
    if source.path == STANDARD_INPUT:
        yield stdin or sys.stdin.buffer
        return
    if source.parts:
        yield cast("BinaryIO", Joined(source.parts))
        return
    with Path(source.path).open("rb") as file:
        yield file


def _said(problem: UnreadableTrace) -> str:
    return str(problem).removeprefix(f"{problem.path}: ")


def _not_traces(source: str, problems: list[UnreadableTrace]) -> Issue:
    """Named one by one, the other files of an archive would hide what matters."""
    first = problems[0]
    return Issue(
        kind="not_a_trace",
        source=source,
        message=f"files in the archive hold no trace; {first.path.removeprefix(f'{source}!')} {_said(first)}",
        remedy="unpack the archive and name the file itself if it ought to hold a trace",
        count=len(problems),
        error=False,
    )


def _not_a_trace(problem: UnreadableTrace) -> Issue:
    return Issue(
        kind="not_a_trace",
        source=problem.path,
        message=_said(problem),
        remedy="name the file itself if it ought to hold a trace",
        error=False,
    )


def _unreadable(problem: UnreadableTrace) -> Issue:
    return Issue(
        kind="unreadable_file",
        source=problem.path,
        message=_said(problem),
        remedy="make the file readable and try again",
    )
