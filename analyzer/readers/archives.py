"""Zip and tar archives: their members one after the other, as if they lay in a folder. Nothing is written where a member says.

The source of a member is called `archive!path/of/member`. Hidden members and texts about the others are passed over, links and devices
have no content, and a damaged or encrypted member becomes an issue and never hides the others.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from analyzer.readers.compression import Pieces
from analyzer.readers.paths import is_aside
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from analyzer.readers.tar import is_tar, tar_members
from analyzer.readers.zips import is_zip, zip_members
from instrument.otlp import Issue

NESTED: Final = 3
"""Archives within archives that are opened; a file may be made so that there is always one more."""
MEMBERS: Final = 100_000
"""Members of one archive that are looked at."""
UNPACKED: Final = 64 << 30
"""Bytes read from one archive: members may overlap, so that a small file holds any number of them."""
_NAME: Final = 1_000
"""Characters kept of the name of a member."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive."""

    source: str
    """Name for issues: `archive!path`."""
    pieces: Pieces
    """Its content, to be gone through before the next member is asked for."""


def opener(head: bytes) -> Callable[[Stream, Sink], Iterator[Member]] | None:
    """What gives the members of an archive that begins with `head`; None where it is no archive."""
    if is_zip(head):
        return lambda stream, sink: wanted(zip_members(stream, sink), stream.source, sink)
    if is_tar(head):
        return lambda stream, sink: wanted(tar_members(stream, sink), stream.source, sink)
    return None


def wanted(
    members: Iterator[tuple[str, Pieces]],
    source: str,
    sink: Sink,
    *,
    members_limit: int = MEMBERS,
    bytes_limit: int = UNPACKED,
) -> Iterator[Member]:
    """Those of `members` that would be read in a folder; an issue where the limits end them."""
    left = bytes_limit

    def counted(pieces: Pieces) -> Pieces:
        nonlocal left
        for piece in pieces:
            left -= len(piece)
            if left < 0:
                return
            yield piece

    for number, (name, pieces) in enumerate(members):
        if number == members_limit:
            sink.add_issue(_too_much(source, f"has more than {members_limit:,} files"))
            return
        path = posixpath.normpath("/" + name)[1:].encode("utf-8", "replace").decode()
        if not any(is_aside(part) for part in path.split("/")):
            yield Member(f"{source}!{path[:_NAME]}", counted(pieces))
        if left < 0:
            sink.add_issue(_too_much(source, f"holds more than {bytes_limit >> 30} GB"))
            return


def _too_much(source: str, how: str) -> Issue:
    return Issue(
        kind="archive_too_large",
        source=source,
        message=f"the archive {how}; what comes after them was not read",
        remedy="unpack it into a folder and give the folder",
    )
