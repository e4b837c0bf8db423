"""One source as UTF-8 text in pieces of some MB, whatever it was compressed with or encoded in."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO, Final

from analyzer.readers.compression import PIECE, Pieces, decompressor
from analyzer.readers.sink import Sink

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


@dataclass(frozen=True, slots=True)
class Stream:
    """The text of one source, as UTF-8."""

    source: str
    """Name for issues."""
    head: bytes
    """The first `HEAD` bytes, or all there are."""
    pieces: Pieces
    """The whole text, head included; can be gone through once."""


def open_stream(file: BinaryIO, source: str, sink: Sink, advance: Callable[[int], object]) -> Stream:
    """`file` from where it stands, without compression and byte order mark, and in UTF-8. Raises OSError.

    `advance` is called with the number of bytes of each piece as it lies in the file.
    """
    head, pieces = _peek(_read(file, advance))
    for _ in range(_NESTED):
        undo = decompressor(head)
        if undo is None:
            break
        head, pieces = _peek(undo(pieces, source, sink))
    if head.startswith(codecs.BOM_UTF8):
        head, pieces = _peek(_without(len(codecs.BOM_UTF8), pieces))
    else:
        for start, encoding in _WIDE:
            if head.startswith(start):
                head, pieces = _peek(_narrow(pieces, encoding))
                break
    return Stream(source, head, _gathered(pieces))


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
