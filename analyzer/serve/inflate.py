"""Compressed bodies, unpacked only as far as they may go."""

from __future__ import annotations

import zlib
from typing import Final

from analyzer.serve.batch import Malformed

CODINGS: Final = ("", "identity", "gzip")
"""Values of Content-Encoding that are understood."""
_GZIP: Final = 31  # zlib's window bits for a gzip header


class TooLarge(Exception):
    """The body is over the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is over the limit of {limit:,} bytes; send fewer spans at a time")


def inflated(body: bytes, coding: str, limit: int) -> bytes:
    """`body` as it was before compression. Raises `TooLarge` over `limit` bytes, `Malformed` where it is no gzip or is cut short."""
    if coding != "gzip":
        return body
    pieces: list[bytes] = []
    size, rest = 0, body
    try:
        while rest:
            member = zlib.decompressobj(_GZIP)
            piece = member.decompress(rest, limit - size + 1)
            size += len(piece)
            if size > limit:
                raise TooLarge(limit)
            if not member.eof:
                raise Malformed("the gzip stream is cut short")
            pieces.append(piece)
            rest = member.unused_data
    except zlib.error as e:
        raise Malformed(f"the body is no gzip: {e}") from None
    return b"".join(pieces)
