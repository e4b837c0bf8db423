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
    """Whether the first bytes of a file, decompressed and (unless `binary`) in UTF-8, are of this format."""
    read: Callable[[Stream, Sink], None]
    """Puts every span of the stream into the sink, and an issue for whatever was not read."""
    binary: bool = False
    """Whether `sniff` and `read` get the bytes as they are, and not as text. Binary formats are tried before the others."""
    about: str = ""
    """What writes such files, in which versions, and by what they are recognised. Markdown, for `docs/formats.md`."""
    sees: str = ""
    """What can be known from such a file. Markdown."""
    cannot_see: str = ""
    """What such a file does not say, and what is therefore not known of its runs. Markdown."""
