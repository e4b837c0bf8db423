"""Width and height of an image, read from the first bytes of its file."""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Final

_HEAD_CHARS: Final = 400_000
"""Base64 characters looked at. In a JPEG the size comes after the camera's notes, which may be long."""
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def pixels(data: str) -> tuple[int, int] | None:
    """Width and height in pixels of a PNG, JPEG, GIF or WebP given in base64; None where they cannot be read."""
    try:
        head = base64.b64decode(data[: min(len(data), _HEAD_CHARS) // 4 * 4])
        return _png(head) or _gif(head) or _webp(head) or _jpeg(head)
    except (binascii.Error, struct.error, ValueError, IndexError):  # damaged or hostile: not known, which is an answer
        return None


def _png(head: bytes) -> tuple[int, int] | None:
    return struct.unpack(">II", head[16:24]) if head.startswith(b"\x89PNG\r\n\x1a\n") else None


def _gif(head: bytes) -> tuple[int, int] | None:
    return struct.unpack("<HH", head[6:10]) if head[:6] in {b"GIF87a", b"GIF89a"} else None


def _webp(head: bytes) -> tuple[int, int] | None:
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    match head[12:16]:
        case b"VP8X":
            return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = struct.unpack("<HH", head[26:30])
            return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg(head: bytes) -> tuple[int, int] | None:
    at = 2 if head.startswith(b"\xff\xd8") else len(head)
    while at + 9 <= len(head):
        if head[at] != 0xFF:
            return None
        if head[at + 1] == 0xFF:  # filling
            at += 1
        elif head[at + 1] in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height
        else:
            at += 2 + max(2, int.from_bytes(head[at + 2 : at + 4], "big"))
    return None
