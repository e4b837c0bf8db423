"""One source in pieces of some MB, whatever it was compressed with; as text, it is in UTF-8 whatever it was encoded in."""

from __future__ import annotations

import codecs
import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO, Final, cast

from analyzer.readers.compression import PIECE, Pieces, decompressor
from analyzer.readers.sink import Sink
from instrument.errors import UnreadableTrace
from instrument.otlp import Issue

HEAD: Final = 64 << 10
"""Bytes from which a format is told."""
_NESTED: Final = 3
"""Layers of compression undone; a file may be made so that there is always one more."""
_WIDE: Final = (
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"{\0", "utf-16-le"),
    (b"\0{", "utf-16-be"),
    (b"[\0", "utf-16-le"),
    (b"\0[", "utf-16-be"),
)
"""How UTF-16 begins, with a byte order mark or without; some shells write it when output is redirected to a file."""
_SPOOLED: Final = 4 << 30
"""Bytes kept on disk of a source that has to be sought in and cannot be: one from a pipe, or from within another file."""
_IN_MEMORY: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Stream:
    """The content of one source: as text in UTF-8 for most formats, else as it is."""

    source: str
    """Name for issues."""
    head: bytes
    """The first `HEAD` bytes, or all there are."""
    pieces: Pieces
    """The whole content, head included; can be gone through once."""
    file: BinaryIO | None = None
    """The file itself, where its bytes are the content and it can be sought in."""

    @contextlib.contextmanager
    def sought(self) -> Iterator[BinaryIO]:
        """The content as a file that can be sought in. Takes the place of `pieces`.

        Raises UnreadableTrace where it would have to be written to disk first and is over 4 GB, and OSError.
        """
        if self.file is not None:
            self.file.seek(0)
            yield self.file
            return
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
            for piece in self.pieces:
                if spool.tell() + len(piece) > _SPOOLED:
                    raise UnreadableTrace(
                        self.source, f"is over {_SPOOLED >> 30} GB and is no file of its own; unpack it into one"
                    )
                spool.write(piece)
            spool.seek(0)
            yield cast("BinaryIO", spool)


def open_stream(file: BinaryIO, source: str, sink: Sink, advance: Callable[[int], object]) -> Stream:
    """The text of `file` from where it stands, without compression and byte order mark. Raises OSError.

    `advance` is called with the number of bytes of each piece as it lies in the file.
    """
    return as_text(unpacked(_read(file, advance), source, sink))


def open_raw(file: BinaryIO, source: str, sink: Sink, advance: Callable[[int], object]) -> Stream:
    """As `open_stream`, but the bytes as they are and not as text."""
    return unpacked(_read(file, advance), source, sink, file if _is_whole(file) else None)


def unpacked(pieces: Pieces, source: str, sink: Sink, file: BinaryIO | None = None) -> Stream:
    """`pieces` without compression; `file`, where they come from its very beginning and it can be sought in."""
    head, pieces = _peek(pieces)
    for _ in range(_NESTED):
        undo = decompressor(head)
        if undo is None:
            break
        file = None
        told = Told(sink)
        head, pieces = _peek(undo(pieces, source, told))
        told.say(source, head)
    return Stream(source, head, pieces, file)


class Told:
    """Issues on their way to a sink, held back until it is known whether anything could be read at all."""

    def __init__(self, sink: Sink) -> None:
        self._sink, self._held = sink, list[Issue]()
        self._passed = False
        self.add, self.add_lines = sink.add, sink.add_lines

    def add_issue(self, issue: Issue) -> None:
        """As the sink's."""
        if self._passed:
            self._sink.add_issue(issue)
        else:
            self._held.append(issue)

    def say(self, source: str, head: bytes) -> None:
        """Hands on what was held. Raises UnreadableTrace where there is a problem and nothing before it (`head` is empty)."""
        if self._held and not head:
            problem = self._held[0]
            reason = problem.message.partition("; ")[0]
            raise UnreadableTrace(
                source, f"is damaged from its beginning ({reason}), so nothing of it can be read; {problem.remedy}"
            )
        self._passed = True
        for issue in self._held:
            self._sink.add_issue(issue)


def as_text(stream: Stream) -> Stream:
    """The same in UTF-8, without byte order mark."""
    head, pieces = stream.head, stream.pieces
    if head.startswith(codecs.BOM_UTF8):
        head, pieces = _peek(_without(len(codecs.BOM_UTF8), pieces))
    else:
        for start, encoding in _WIDE:
            if head.startswith(start):
                head, pieces = _peek(_narrow(pieces, encoding))
                break
    return Stream(stream.source, head, _gathered(pieces))


def _is_whole(file: BinaryIO) -> bool:
    try:
        return file.seekable() and file.tell() == 0
    except (OSError, ValueError):  # a pipe that says it can be sought in
        return False


def _read(file: BinaryIO, advance: Callable[[int], object]) -> Pieces:
    while piece := file.read(PIECE):
        advance(len(piece))
        yield piece


def _peek(pieces: Pieces) -> tuple[bytes, Pieces]:
    first: list[bytes] = []
    size = 0
    for piece in pieces:
        first.append(piece)
        size += len(piece)
        if size >= HEAD:
            break
    start = b"".join(first)
    return start[:HEAD], chain([start] if start else [], pieces)


def _without(count: int, pieces: Pieces) -> Pieces:
    return chain([next(pieces)[count:]], pieces)


def _narrow(pieces: Pieces, encoding: str) -> Pieces:
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    for piece in pieces:
        yield decoder.decode(piece).encode()
    yield decoder.decode(b"", final=True).encode()


def _gathered(pieces: Pieces) -> Iterator[bytes]:
    """The same bytes in pieces of at least `PIECE`, the last aside."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= PIECE:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)
