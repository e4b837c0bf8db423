"""Tar archives, from beginning to end and without seeking, so that they can come from a pipe.

Headers are parsed by `tarfile.TarInfo`; the walk is our own, because tarfile reads names and extended headers of any length into memory.
Format: POSIX.1-2024, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar manual, "Basic Tar Format" (types L and K).
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from typing import Final

from analyzer.readers.compression import Pieces
from analyzer.readers.cursor import Cursor
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument.otlp import Issue

_BLOCK: Final = 512
_HEADER_BYTES: Final = 1 << 20
"""Bytes of the longest extended header; a long path has some hundred."""
_PAX: Final = re.compile(rb"\d+ (?:(path)=([^\n]*)|(size)=(\d{1,18}))\n")
_EXTENDED: Final = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME)
_BETWEEN: Final = (*_EXTENDED, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK)
"""What may stand between an extended header and its file."""
_FILES: Final = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


def is_tar(head: bytes) -> bool:
    """Whether `head` begins with a header whose checksum is right."""
    try:
        return tarfile.TarInfo.frombuf(head[:_BLOCK], "utf-8", "replace").size >= 0
    except tarfile.HeaderError:
        return False


def tar_members(stream: Stream, sink: Sink) -> Iterator[tuple[str, Pieces]]:
    """Name and content of each file; the content can be gone through until the next is asked for."""
    cursor = Cursor(stream.pieces)
    said: dict[str, str] = {}  # by the extended header of the member that follows
    while header := cursor.take(_BLOCK):
        if not header.strip(b"\0"):  # so the end is marked
            return
        try:
            member = tarfile.TarInfo.frombuf(header, "utf-8", "replace")
        except tarfile.HeaderError as e:
            sink.add_issue(_damaged(stream.source, f"a header in the archive cannot be read ({e})"))
            return
        size = int(said.get("size", member.size))
        if size < 0:
            sink.add_issue(_damaged(stream.source, "a member of the archive has a length below zero"))
            return
        if member.type in _EXTENDED and size <= _HEADER_BYTES:
            said |= _extended(member.type, cursor.take(size))
        elif member.type in _FILES:
            name, said = said.get("path", member.name), {}
            cursor.left = size
            yield name, cursor.rest()
        else:
            size = _passed_over(member, size, header, cursor, stream.source, sink)
            said = said if member.type in _BETWEEN else {}
        if cursor.skip():
            sink.add_issue(_cut(stream.source, member.name))
            return
        cursor.take(-size % _BLOCK)


def _passed_over(member: tarfile.TarInfo, size: int, header: bytes, cursor: Cursor, source: str, sink: Sink) -> int:
    """Sets how much of what is no file has to be skipped; returns its size."""
    if member.type == tarfile.GNUTYPE_SPARSE:
        more = header[482]
        while more:
            more = cursor.take(_BLOCK)[504:505] == b"\1"
        sink.add_issue(_not_read(source, f"{member.name} is a file with holes and was left out"))
    elif member.type in _EXTENDED:
        sink.add_issue(_not_read(source, "the name of a member is over 1 MB long and was left out"))
    # Of a link, `size` says nothing about what follows.
    cursor.left = 0 if member.type in (tarfile.LNKTYPE, tarfile.SYMTYPE) else size
    return cursor.left


def _extended(kind: bytes, data: bytes) -> dict[str, str]:
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {"path": data.rstrip(b"\0").decode("utf-8", "replace")}
    groups = (match.groups(b"") for match in _PAX.finditer(data))
    return {(a or c).decode(): (b or d).decode("utf-8", "replace") for a, b, c, d in groups}


def _cut(source: str, name: str) -> Issue:
    return Issue(
        kind="cut_off",
        source=source,
        message=f"the archive ends in the middle of {name[:200]!a}; everything before the cut was read",
        remedy="copy the archive again",
    )


def _damaged(source: str, problem: str) -> Issue:
    return Issue(
        kind="damaged_archive",
        source=source,
        message=f"{problem}; everything before that was read",
        remedy="copy the archive again; if the damage is in the original, unpack what can be unpacked into a folder",
    )


def _not_read(source: str, problem: str) -> Issue:
    return Issue(
        kind="member_not_read",
        source=source,
        message=problem,
        remedy="unpack the archive into a folder and give the folder",
    )
