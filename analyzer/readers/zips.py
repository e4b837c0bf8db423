"""Zip archives (also `.eval` logs of Inspect): each member decompressed as it is read.

Stored, deflate, bzip2, LZMA and zstd (method 93, which Python reads from 3.14 on, and newer Inspect versions write).
Format: PKWARE APPNOTE.TXT 6.3.10.
"""

from __future__ import annotations

import io
import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, cast

from analyzer.readers.compression import PIECE, Pieces, unzstd
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument.errors import UnreadableTrace
from instrument.otlp import Issue

_MARKS: Final = (b"PK\x03\x04", b"PK\x05\x06")  # the second: an archive without members
_ZSTD: Final = 93
_ENCRYPTED: Final = 1
_LOCAL_HEADER: Final = 30
_DIRECTORY_BYTES: Final = 32 << 20
"""Bytes of the longest list of members that is read: some 200,000 of them."""
_BROKEN: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    OSError,
    ValueError,
    struct.error,
)
"""What reading a damaged member raises."""


def is_zip(head: bytes) -> bool:
    """Whether `head` begins as zip archives do."""
    return head.startswith(_MARKS)


def zip_members(stream: Stream, sink: Sink) -> Iterator[tuple[str, Pieces]]:
    """Name and content of each file, by name; the content can be gone through until the next is asked for.

    Raises UnreadableTrace where the list of members, which lies at the end, cannot be read.
    """
    encrypted: list[str] = []
    with stream.sought() as file:
        try:
            archive = zipfile.ZipFile(cast("BinaryIO", _Bounded(file)))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as e:
            raise UnreadableTrace(
                stream.source, f"is a zip archive whose list of files cannot be read ({e}); copy it again"
            ) from None
        for member in sorted(archive.infolist(), key=lambda m: m.filename):
            if member.filename.endswith("/") or stat.S_ISLNK(member.external_attr >> 16):
                continue
            if member.flag_bits & _ENCRYPTED:
                encrypted.append(member.filename)
                continue
            yield member.filename, _content(archive, file, member, stream.source, sink)
    if encrypted:
        sink.add_issue(_locked(stream.source, encrypted))


class _Bounded(io.BufferedIOBase):
    """A file of which nobody reads more at once than the longest list of members takes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:  # so the end of the file is read, which is short
            size = _DIRECTORY_BYTES
        if size > _DIRECTORY_BYTES:
            raise zipfile.BadZipFile("it is too long")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def _content(archive: zipfile.ZipFile, file: BinaryIO, member: zipfile.ZipInfo, source: str, sink: Sink) -> Pieces:
    """The bytes of `member`; where they are damaged, those before the damage, and an issue."""
    try:
        if member.compress_type == _ZSTD:
            yield from unzstd(_compressed(file, member), f"{source}!{member.filename}", sink)
            return
        with archive.open(member) as content:
            while piece := content.read(PIECE):
                yield piece
    except _BROKEN as e:
        sink.add_issue(_damaged(source, member.filename, e))


def _compressed(file: BinaryIO, member: zipfile.ZipInfo) -> Pieces:
    """The bytes of `member` as they lie in the archive."""
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER)
    if len(header) < _LOCAL_HEADER or not header.startswith(_MARKS[0]):
        raise zipfile.BadZipFile("it does not lie where the list of files says")
    name_bytes, extra_bytes = struct.unpack("<HH", header[26:])
    at = member.header_offset + _LOCAL_HEADER + name_bytes + extra_bytes
    left = member.compress_size
    while left:
        file.seek(at)  # whoever reads another member meanwhile moves the file
        piece = file.read(min(PIECE, left))
        if not piece:
            raise EOFError("the archive ends before it does")
        at, left = at + len(piece), left - len(piece)
        yield piece


def _locked(source: str, names: list[str]) -> Issue:
    return Issue(
        kind="encrypted_member",
        source=source,
        message=f"files in the archive are encrypted and were left out, first {names[0][:200]!a}",
        remedy="unpack it with its password into a folder and give the folder",
        count=len(names),
    )


def _damaged(source: str, name: str, problem: Exception) -> Issue:
    return Issue(
        kind="damaged_member",
        source=source,
        message=f"{name[:200]!a} in the archive is damaged ({problem}); what came before the damage was read",
        remedy="copy the archive again",
    )
