"""Formats that other packages bring, each an entry point of the group `flyball.readers` whose value is a `Format`.

They are asked before our own, as whoever installs a reader wants it to be used. One that is broken costs its own files and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from importlib import metadata
from typing import Final

from analyzer.readers.format import Format
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument.errors import UnreadableTrace
from instrument.otlp import Issue

GROUP: Final = "flyball.readers"


def third_party(sink: Sink) -> Iterator[Format]:
    """The formats of installed packages, by name; what is wrong with one becomes an issue."""
    for entry in _entries(tuple(sys.path)):
        try:
            found = entry.load()
        except Exception as problem:  # noqa: BLE001 - code of others, which may raise anything
            sink.add_issue(_broken(entry, entry.value, f"cannot be loaded ({_named(problem)})"))
            continue
        if isinstance(found, Format):
            yield _guarded(found, entry, sink)
        else:
            sink.add_issue(_broken(entry, entry.value, f"is no `Format` but {type(found).__name__}"))


@lru_cache(maxsize=4)
def _entries(_path: tuple[str, ...]) -> list[metadata.EntryPoint]:
    """By name. Looking through all installed packages takes longer than reading a small file, so it is done once for each path."""
    return sorted(metadata.entry_points(group=GROUP), key=lambda e: e.name)


def _guarded(found: Format, entry: metadata.EntryPoint, sink: Sink) -> Format:
    """The same format, whose errors are issues."""

    def sniff(head: bytes) -> bool:
        try:
            return bool(found.sniff(head))
        except Exception as problem:  # noqa: BLE001 - as above
            if not told:
                told.append(problem)
                sink.add_issue(_broken(entry, entry.value, f"failed to look at a file ({_named(problem)})"))
            return False

    def read(stream: Stream, into: Sink) -> None:
        try:
            found.read(stream, into)
        except (UnreadableTrace, RecursionError, OSError):
            raise
        except Exception as problem:  # noqa: BLE001 - as above
            into.add_issue(_broken(entry, stream.source, f"failed in the middle of the file ({_named(problem)})"))

    told: list[Exception] = []
    return replace(found, sniff=sniff, read=read)


def _named(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}"[:300].encode("utf-8", "replace").decode()


def _broken(entry: metadata.EntryPoint, source: str, problem: str) -> Issue:
    package = entry.dist.name if entry.dist is not None else "an installed package"
    return Issue(
        kind="broken_reader",
        source=source,
        message=f"the reader `{entry.name}` of {package} {problem}",
        remedy=f"update or uninstall {package}, or tell its authors",
    )
