"""gzip, zstd, xz and bzip2, streamed: pieces in, pieces out, none of them larger than a few MB whatever the file claims to hold.

All allow several compressed parts in one file, one after the other (`cat a.gz b.gz`), and both may be cut short
while they are still being written. What came before the damage is yielded; the damage becomes an issue.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import zstandard

from analyzer.readers.sink import Sink
from instrument.otlp import Issue

PIECE: Final = 4 << 20
"""Bytes of one piece."""
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_XZ = b"\xfd7zXZ\0"
_BZIP2 = b"BZh"
_SKIPPABLE = b"\x2a\x4d\x18"  # preceded by 0x50..0x5f; parallel compressors open files with such a frame
_ZSTD_INPUT = 512
"""Bytes given to zstd at once. Its output has no limit, and four bytes may stand for 128 KB: 16 MB at worst."""
_ZSTD_WINDOW = 128 << 20
_XZ_MEMORY = 256 << 20
"""Bytes that xz may ask for; its highest preset takes 65 MB."""
_AUTO_GZIP_HEADER = 31  # zlib's wbits for "gzip header, largest window"

Pieces = Iterator[bytes]


def decompressor(head: bytes) -> Callable[[Pieces, str, Sink], Pieces] | None:
    """What undoes the compression that `head` shows; None where it shows none."""
    if head.startswith(_GZIP):
        return gunzip
    if head.startswith(_ZSTD) or (head[1:4] == _SKIPPABLE and 0x50 <= head[0] <= 0x5F):
        return unzstd
    if head.startswith(_XZ):
        return unxz
    # A block of data, or the end of an empty file, follows the level: two letters and a digit are no mark by themselves.
    if head.startswith(_BZIP2) and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return bunzip2
    return None


def gunzip(pieces: Pieces, source: str, sink: Sink) -> Pieces:
    """The content of a gzip file of one or more members."""
    member, members = zlib.decompressobj(_AUTO_GZIP_HEADER), 0
    for piece in pieces:
        data = piece
        while data:
            if member.eof:
                data = data.lstrip(b"\0")  # tapes and block devices pad with zeros
                if not data:
                    break
                member, members = zlib.decompressobj(_AUTO_GZIP_HEADER), members + 1
            try:
                yield from _inflate(member, data)
            except zlib.error as e:
                sink.add_issue(_damaged(source, f"its gzip data is damaged after {members} whole parts ({e})"))
                return
            data = member.unused_data
    if not member.eof:
        sink.add_issue(_cut(source, "gzip"))


def _inflate(member: zlib._Decompress, data: bytes) -> Pieces:
    while True:
        out = member.decompress(data, PIECE)
        if out:
            yield out
        data = member.unconsumed_tail
        if member.eof or (not data and len(out) < PIECE):
            return


def unzstd(pieces: Pieces, source: str, sink: Sink) -> Pieces:
    """The content of a zstd file of one or more frames."""
    frames = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    frame = frames.decompressobj()
    for piece in pieces:
        for start in range(0, len(piece), _ZSTD_INPUT):
            data = piece[start : start + _ZSTD_INPUT]
            while data:
                if frame.eof:
                    frame = frames.decompressobj()
                try:
                    out = frame.decompress(data)
                except zstandard.ZstdError as e:
                    sink.add_issue(_damaged(source, f"its zstd data is damaged ({e})"))
                    return
                if out:
                    yield out
                data = frame.unused_data if frame.eof else b""
    if not frame.eof:
        sink.add_issue(_cut(source, "zstd"))


def unxz(pieces: Pieces, source: str, sink: Sink) -> Pieces:
    """The content of an xz file of one or more streams."""
    return _undone(pieces, source, sink, "xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY))


def bunzip2(pieces: Pieces, source: str, sink: Sink) -> Pieces:
    """The content of a bzip2 file of one or more streams."""
    return _undone(pieces, source, sink, "bzip2", bz2.BZ2Decompressor)


def _undone(
    pieces: Pieces,
    source: str,
    sink: Sink,
    what: str,
    start: Callable[[], lzma.LZMADecompressor | bz2.BZ2Decompressor],
) -> Pieces:
    part = start()
    for piece in pieces:
        data = piece
        while data:
            if part.eof:
                data = data.lstrip(b"\0")  # xz pads between streams
                if not data:
                    break
                part = start()
            try:
                out = part.decompress(data, PIECE)
                while out:
                    yield out
                    out = b"" if part.eof or part.needs_input else part.decompress(b"", PIECE)
            except (lzma.LZMAError, OSError, ValueError, EOFError) as e:
                sink.add_issue(_damaged(source, f"its {what} data is damaged ({e})"))
                return
            data = part.unused_data if part.eof else b""
    if not part.eof:
        sink.add_issue(_cut(source, what))


def _cut(source: str, what: str) -> Issue:
    return Issue(
        kind="cut_off",
        source=source,
        message=f"the {what} data ends in the middle; everything before the cut was read",
        remedy="copy the file again, or wait until the program that writes it has closed it",
    )


def _damaged(source: str, problem: str) -> Issue:
    return Issue(
        kind="damaged_compression",
        source=source,
        message=f"{problem}; everything before that was read",
        remedy="copy the file again; if the damage is in the original, what follows it is lost",
    )
