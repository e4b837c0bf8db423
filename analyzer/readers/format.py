"""What a format is to the dispatcher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream


@dataclass(frozen=True, slots=True)
class Format:
    """One format of trace files."""

    name: str
    """As a reader of a report would call it."""
    sniff: Callable[[bytes], bool]
    """Whether the first bytes of a file, decompressed and in UTF-8, are of this format."""
    read: Callable[[Stream, Sink], None]
    """Puts every span of the stream into the sink, and an issue for whatever was not read."""
