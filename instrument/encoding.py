"""Attributes of an ended span as the journal has them, secrets replaced.

Most of what spans say they say again and again: operations, models, tools, hosts. So short texts are remembered with their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from instrument.content import LABELS
from instrument.items import Items
from instrument.otlp_line import attribute, dumps
from instrument.redact import Redactor

_KNOWN: Final = 4_096
_KNOWN_CHARS: Final = 200
"""Texts longer than this do not come again, would fill the memory, and take long to look up."""


class Attributes:
    """Encodes and redacts; thread-safe."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._known: dict[tuple[str, str], bytes] = {}
        """Without a secret; those with one are rare and counted each time."""
        self._counts: dict[str, bytes] = {}
        """By name how a whole number begins."""

    def of(self, attributes: Mapping[str, Any]) -> tuple[list[bytes], int]:
        """The attributes as OTLP key-value pairs, to be joined with commas, and how many secrets were replaced in all."""
        known, counts, out, count = self._known, self._counts, [], 0
        for pair in attributes.items():
            name, value = pair
            kind = type(value)
            if kind is str:
                encoded = known.get(pair) if len(value) <= _KNOWN_CHARS else None
                if encoded is None:
                    encoded, found = self._text(pair)
                    count += found
            elif kind is int and -(2**63) <= value < 2**63:
                encoded = b'%b%d"}}' % (counts.get(name) or self._count(name), value)
            elif kind is Items:
                # Several pieces: a long history is copied once, when all is joined.
                (*pieces, encoded), found = _list(name, value, self._redactor)
                out += pieces
                count += found
            else:
                encoded, found = self._other(name, value)
                count += found
            out.append(encoded)
        return out, count

    def _text(self, pair: tuple[str, str]) -> tuple[bytes, int]:
        name, value = pair
        text, found = (value, 0) if name in LABELS else self._redactor.text(value)
        encoded = b'{"key":%b,"value":{"stringValue":%b}}' % (dumps(name), dumps(text))
        if not found and len(value) <= _KNOWN_CHARS:
            if len(self._known) >= _KNOWN:
                self._known = {}
            self._known[pair] = encoded
        return encoded, found

    def _count(self, name: str) -> bytes:
        start = b'{"key":%b,"value":{"intValue":"' % dumps(name)
        if len(self._counts) < _KNOWN:
            self._counts[name] = start
        return start

    def _other(self, name: str, value: Any) -> tuple[bytes, int]:
        value, found = (value, 0) if name in LABELS else self._redactor.value(value)
        return attribute(name, value), found


def _list(name: str, items: Items, redactor: Redactor) -> tuple[list[bytes], int]:
    pieces, found = items.quoted(redactor)
    if not pieces:
        pieces = [b""]
    pieces[0] = b'{"key":%b,"value":{"stringValue":"[%b' % (dumps(name), pieces[0])
    pieces[-1] += b']"}}'
    return pieces, found


def redacted(attributes: Mapping[str, Any], redactor: Redactor) -> tuple[dict[str, Any], int]:
    """The attributes themselves without secrets, and how many were replaced."""
    out, count = {}, 0
    for name, value in attributes.items():
        plain = str(value) if type(value) is Items else value
        out[name], found = (plain, 0) if name in LABELS else redactor.value(plain)
        count += found
    return out, count
