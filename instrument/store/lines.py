"""OTLP JSON lines to typed spans: the strict decoder for what producers write, and a careful one for the lines it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import msgspec

from instrument.otlp import KeyValue, Resource, Scope, Span, TracesData


class LineScope(msgspec.Struct):
    """As `otlp.ScopeSpans`; what is the same line after line stays undecoded."""

    scope: msgspec.Raw = msgspec.Raw(b"{}")
    spans: list[Span] = []


class LineResource(msgspec.Struct):
    """As `otlp.ResourceSpans`."""

    resource: msgspec.Raw = msgspec.Raw(b"{}")
    scopeSpans: list[LineScope] = []  # noqa: N815 - the name on the wire


class Line(msgspec.Struct):
    """As `otlp.TracesData`."""

    resourceSpans: list[LineResource]  # noqa: N815


REFUSED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for JSON it cannot take: broken, not in UTF-8, nested without end."""
_DECODER: Final = msgspec.json.Decoder(Line)
_RESOURCE: Final = msgspec.json.Decoder(Resource | None)
_SCOPE: Final = msgspec.json.Decoder(Scope | None)
_ENCODER: Final = msgspec.msgpack.Encoder()
"""It refuses what JSON's refuses and has nothing to escape: messages are JSON within a text, and often all of a span."""
encoded: Final = _ENCODER.encode
_Written = TypeVar("_Written", bound=msgspec.Struct)
_TOGETHER_BYTES: Final = 500_000
"""Lines decoded with one call. What is together in memory while its columns are made should fit a processor's cache."""


def decode(data: bytes, first_line: int) -> Iterator[list[Line] | TracesData | tuple[int, str]]:
    """Whole lines as documents, in order: many at once, or one that had to be read carefully, or (line number, why it cannot be read)."""
    start, number = 0, first_line
    while start < len(data):
        end = data.find(b"\n", start + _TOGETHER_BYTES) + 1 or len(data)
        piece = data[start:end]
        count = piece.count(b"\n") + (not piece.endswith(b"\n"))
        yield from _together(piece, number, count)
        number += count
        start = end


def _together(data: bytes, first_line: int, count: int) -> Iterator[list[Line] | TracesData | tuple[int, str]]:
    try:
        documents = _DECODER.decode_lines(data)
    except REFUSED:
        documents = []
    # A document over several lines is read here too; whether it is must not depend on where the data was cut.
    if len(documents) == count:
        yield documents
    else:
        yield from _one_by_one(data, first_line)


def _one_by_one(data: bytes, first_line: int) -> Iterator[list[Line] | TracesData | tuple[int, str]]:
    for number, line in enumerate(data.split(b"\n"), first_line):
        if not line or line.isspace():
            continue
        try:
            yield [_DECODER.decode(line)]
        except REFUSED:
            careful = decode_carefully(line)
            yield (number, careful) if isinstance(careful, str) else careful


def resource_and_scope(resource: bytes, scope: bytes) -> tuple[Resource | None, Scope | None, bool]:
    """What `LineResource` and `LineScope` left undecoded, None where it cannot be read, and whether both could."""
    found, library, whole = None, None, True
    try:
        found = _RESOURCE.decode(resource)
    except REFUSED:
        whole = False
    try:
        library = _SCOPE.decode(scope)
    except REFUSED:
        whole = False
    return found, library, whole


def decode_carefully(line: bytes) -> TracesData | str:
    """A line that the strict decoder refuses: lone surrogates, other encodings of text, wrong types in single fields.

    Returns the document, or in words why there is none.
    """
    try:
        value = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as e:
        return str(e)
    if not isinstance(value, dict) or not ("resourceSpans" in value or "resource_spans" in value):
        found = ", ".join(sorted(map(str, value))[:5]) if isinstance(value, dict) else type(value).__name__
        return f"it has no resourceSpans but {found or 'nothing'}"
    try:
        return msgspec.convert(_mended(value), TracesData, strict=False)
    except (msgspec.ValidationError, RecursionError) as e:
        return str(e)


def writable(value: _Written) -> tuple[_Written, int]:
    """A document or issue as a database can hold it, lone surrogates replaced; and its size in bytes.

    Raises RecursionError where it is nested too deeply to be read.
    """
    try:
        return value, len(encoded(value))
    except (UnicodeEncodeError, OverflowError):  # the second: numbers beyond 64 bits, which hide what comes after them
        mended = msgspec.convert(_mended(msgspec.to_builtins(value)), type(value), strict=False)
        return mended, 0


def _mended(value: Any) -> Any:
    """Lone surrogates replaced, snake_case names (protobuf's JSON with original names) as OTLP spells them, null lists left out."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_mended(v) for v in value]
    if isinstance(value, dict):
        return {_camel(str(k)): _mended(v) for k, v in value.items() if v is not None}
    # Whole numbers that went through a producer's fractions: 1.77e18 is a time.
    return int(value) if isinstance(value, float) and value.is_integer() else value


_WIRE: Final = {f.encode_name for cls in (TracesData, Span, KeyValue, Scope) for f in msgspec.structs.fields(cls)} | {
    "scopeSpans",
    "stringValue",
    "intValue",
    "doubleValue",
    "boolValue",
    "arrayValue",
    "kvlistValue",
    "bytesValue",
    "timeUnixNano",
}
_SNAKE: Final = {
    **{"".join("_" + c.lower() if c.isupper() else c for c in name): name for name in _WIRE},
    # The names before OTLP 0.19.
    "instrumentationLibrarySpans": "scopeSpans",
    "instrumentation_library_spans": "scopeSpans",
}


def _camel(name: str) -> str:
    name = name.encode("utf-8", "replace").decode()
    return _SNAKE.get(name, name)
