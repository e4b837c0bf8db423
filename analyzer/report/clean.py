"""Trace content made safe to show: who wrote a trace must not steer the terminal, or the eye, of its reader."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_SPACES: Final = re.compile(r"\s+")
# Control characters (an ANSI escape starts with one), lone surrogates, and what only formats: bidi overrides, tags, ...
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_JOINERS: Final = frozenset("\u200c\u200d")  # invisible too, but Persian and family emoji are nothing without them
_PLAIN: Final = re.compile(r"[ -~]*")


def one_line(text: object, limit: int = 400) -> str:
    """`text` as one printable line of at most `limit` characters: white space is one blank, the unsafe is escaped."""
    # Cut before the costly part, and far enough that runs of blanks do not eat what would be shown.
    line = _SPACES.sub(" ", str(text)[: limit * 4]).strip()
    if not _PLAIN.fullmatch(line):
        line = "".join(c if _safe(c) else _escaped(c) for c in line[:limit])
    return line if len(line) <= limit and len(str(text)) <= limit * 4 else line[: limit - 1].rstrip() + "…"


def _safe(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in _UNSAFE


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
