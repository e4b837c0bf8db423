"""One list of a large JSON document, element by element: the document is never decoded as a whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from analyzer.readers.lines import decode
from analyzer.readers.sink import Sink
from instrument.otlp import Issue

_NEXT = re.compile(r"\s*,?\s*")


def elements(data: bytes, name: str, source: str, sink: Sink) -> Iterator[tuple[int, Any]]:
    """Number (from 0) and value of each element of the list `name` of the document `data`.

    Elements that cannot be decoded become issues. Of a document that is damaged or ends in the middle, all elements before the damage.
    """
    try:
        raws = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get(name)
        found = msgspec.json.decode(raws or b"[]", type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        yield from _before_the_damage(data, name, source, sink)
        return
    for number, raw in enumerate(found):
        try:
            yield number, decode(bytes(raw))
        except ValueError as problem:
            sink.add_issue(_broken(source, f"entry {number} of `{name}` is no JSON: {problem}"))


def _before_the_damage(data: bytes, name: str, source: str, sink: Sink) -> Iterator[tuple[int, Any]]:
    text = data.decode("utf-8", "replace")
    opening = re.search(rf'"{re.escape(name)}"\s*:\s*\[\s*', text)
    position, number = (opening.end() if opening else len(text)), 0
    decoder = json.JSONDecoder()
    while text[position : position + 1] != "]":
        try:
            _, end = decoder.raw_decode(text, position)
            value = decode(text[position:end].encode("utf-8", "replace"))
        except (ValueError, RecursionError) as problem:
            sink.add_issue(_broken(source, f"entry {number} of `{name}` and what follows it cannot be read: {problem}"))
            return
        yield number, value
        after = _NEXT.match(text, end)
        position, number = after.end() if after else end, number + 1
    # What strict decoders refuse may be no damage at all: half a character, or nesting somewhere else.
    if not text.rstrip().endswith("}"):
        sink.add_issue(_broken(source, f"after the list `{name}` the document is cut off"))


def _broken(source: str, message: str) -> Issue:
    remedy = "what came before was read; copy the file again, or remove what is damaged"
    return Issue(kind="broken_document", source=source, message=message, remedy=remedy)
