"""OTLP in protobuf: one message, or many with their lengths before them, as a collector's file exporter writes them.

Layouts: a bare `TracesData` or `ExportTraceServiceRequest` (the same on the wire); messages with a varint before each (protobuf's usual
way in files); messages with four bytes, most significant first, before each (opentelemetry-collector-contrib, exporter/fileexporter,
`format: proto`). With `compression: zstd` the exporter compresses each message by itself, in either of its formats.
A bare message is read batch by batch: its fields are what the lengths are elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from analyzer.readers.compression import decompressor
from analyzer.readers.cursor import Cursor
from analyzer.readers.format import Format
from analyzer.readers.lines import LIMIT
from analyzer.readers.otlp_messages import Messages
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument.otlp import Issue, TracesData

_RESOURCE_SPANS: Final = 0x0A
"""The tag of field 1, a message: what each request begins with."""
_INSIDE: Final = b"\x0a\x12\x1a"
"""Tags a `ResourceSpans` may begin with: resource, scope_spans, schema_url."""
_SPAN: Final = re.compile(rb"\x0a\x10[\0-\xff]{16}\x12\x08[\0-\xff]{8}")
"""The ids of a span, with their tags and lengths."""
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_LENGTH_BYTES: Final = 4
_VARINT_BYTES: Final = 10


class _Damaged(ValueError):
    """What follows cannot be told from garbage."""


def _varint(data: bytes, at: int = 0) -> tuple[int, int]:
    """The number at `at`, and where it ends. Raises _Damaged."""
    number = 0
    for index, byte in enumerate(data[at : at + _VARINT_BYTES]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, at + index + 1
    raise _Damaged("a length is none")


def _begins_request(data: bytes, at: int, size: int | None = None) -> bool:
    """Whether a request of `size` bytes may begin at `at`."""
    if data[at : at + 1] != bytes([_RESOURCE_SPANS]):
        return False
    try:
        inner, start = _varint(data, at + 1)
        deeper, first = _varint(data, start + 1)
    except _Damaged:
        return False
    fits = size is None or start - at + inner <= size
    return fits and data[start : start + 1] != b"" and data[start] in _INSIDE and first - start + deeper <= inner


def layout(head: bytes, mark: re.Pattern[bytes] = _SPAN) -> str | None:
    """How the file is laid out: bare, varint or four bytes; None where it is no OTLP in protobuf, or has no `mark` in its first bytes."""
    size = int.from_bytes(head[:_LENGTH_BYTES], "big")
    if head[_LENGTH_BYTES : 2 * _LENGTH_BYTES] == _ZSTD and 0 < size <= LIMIT:
        return "four bytes"
    if mark.search(head) is None:
        return None
    if _begins_request(head, 0):
        return "bare"
    if 0 < size <= LIMIT and _begins_request(head, _LENGTH_BYTES, size):
        return "four bytes"
    try:
        size, start = _varint(head)
    except _Damaged:
        return None
    return "varint" if _begins_request(head, start, size) else None


def _read(stream: Stream, sink: Sink) -> None:
    messages, broken, first = Messages(), 0, ""
    found = layout(stream.head)
    for frame in frames(stream, found, sink):
        try:
            _take(frame, bare=found == "bare", messages=messages, source=stream.source, sink=sink)
        except ValueError as problem:
            broken, first = broken + 1, first or str(problem)
    if broken:
        sink.add_issue(_issue(stream.source, "broken_message", f"messages are no OTLP ({first})", broken))
    if messages.unreadable:
        sink.add_issue(
            _issue(stream.source, "broken_attribute", "attributes of spans could not be decoded", messages.unreadable)
        )


def frames(stream: Stream, found: str | None, sink: Sink) -> Iterator[bytes]:
    """The messages of a file laid out as `found`, compressed ones as they are; of a bare message its fields (`ResourceSpans` and the like).

    What is damaged or cut off becomes an issue.
    """
    cursor = Cursor(stream.pieces)
    return _fields(cursor, stream.source, sink) if found == "bare" else _frames(cursor, found, stream.source, sink)


def _take(frame: bytes, *, bare: bool, messages: Messages, source: str, sink: Sink) -> None:
    """One message into the sink. Raises ValueError where it is none."""
    if bare:
        sink.add(TracesData([messages.resource_spans(frame)]), source)
        return
    frame = uncompressed(frame, source, sink)
    if frame[:1] == b"{":
        sink.add_lines(frame.replace(b"\n", b" ") + b"\n", source)
        return
    for field in _fields(Cursor(iter([frame])), source, sink):
        sink.add(TracesData([messages.resource_spans(field)]), source)


def uncompressed(frame: bytes, source: str, sink: Sink) -> bytes:
    """A message without compression. Raises ValueError where it is too long."""
    undo = decompressor(frame[:16])
    return frame if undo is None else b"".join(_limited(undo(iter([frame]), source, sink)))


def _limited(pieces: Iterator[bytes]) -> Iterator[bytes]:
    left = LIMIT
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise ValueError(f"one is longer than {LIMIT >> 20} MB")
        yield piece


def _frames(cursor: Cursor, found: str | None, source: str, sink: Sink) -> Iterator[bytes]:
    """Messages with their lengths before them."""
    next_size = _next_varint if found == "varint" else _next_four_bytes
    try:
        while (size := next_size(cursor)) is not None:
            frame = _part(cursor, size, source, sink)
            if frame is not None:
                yield frame
            elif cursor.left:
                return
    except _Damaged as problem:
        sink.add_issue(_issue(source, "damaged_protobuf", f"{problem}; everything before it was read"))


def _fields(cursor: Cursor, source: str, sink: Sink) -> Iterator[bytes]:
    """The `ResourceSpans` of one message."""
    try:
        while (tag := _next_varint(cursor)) is not None:
            size = _next_varint(cursor) if tag & 7 == 2 else None
            if size is None:
                raise _Damaged("there is a field that no version of OTLP has")
            frame = _part(cursor, size, source, sink)
            if frame is not None and tag == _RESOURCE_SPANS:
                yield frame
            elif cursor.left:
                return
    except _Damaged as problem:
        sink.add_issue(_issue(source, "damaged_protobuf", f"{problem}; everything before it was read"))


def _part(cursor: Cursor, size: int, source: str, sink: Sink) -> bytes | None:
    """The next `size` bytes; None and an issue where they are too many or not all there."""
    if size > LIMIT:
        cursor.left = size
        cursor.skip()
        sink.add_issue(_issue(source, "too_long", f"a batch of spans is longer than {LIMIT >> 20} MB and was left out"))
        return None
    data = cursor.take(size)
    if cursor.left:
        sink.add_issue(
            _issue(source, "cut_off", "the file ends in the middle of a batch of spans; those before were read")
        )
        return None
    return data


def _next_varint(cursor: Cursor) -> int | None:
    """The next number; None at the end of the file. Raises _Damaged."""
    data = b""
    while len(data) < _VARINT_BYTES and (byte := cursor.take(1)):
        data += byte
        if byte[0] < 0x80:
            return _varint(data)[0]
    if data:
        raise _Damaged("a length is none")
    return None


def _next_four_bytes(cursor: Cursor) -> int | None:
    """As `_next_varint`."""
    data = cursor.take(_LENGTH_BYTES)
    if data and cursor.left:
        raise _Damaged("the file ends in the middle of a length")
    return int.from_bytes(data, "big") if data else None


def _issue(source: str, kind: str, message: str, count: int = 1) -> Issue:
    remedy = "copy the file again, or wait until the program that writes it has closed it"
    return Issue(kind=kind, source=source, message=message, remedy=remedy, count=count)


OTLP_PROTOBUF: Final = Format(
    "OTLP protobuf",
    lambda head: layout(head) is not None,
    _read,
    binary=True,
    about=(
        "The binary form of OTLP 1.x: one `TracesData` or `ExportTraceServiceRequest`, or many with their lengths before them (as a "
        "varint, or as the four bytes of the OpenTelemetry Collector's file exporter with `format: proto`, also with "
        "`compression: zstd`). Recognised by the tags at its beginning and the ids of a span in its first 64 KB."
    ),
    sees="Everything that OTLP JSON says: both hold the same fields.",
    cannot_see="A batch of spans that the file ends in the middle of, as its length stands before it and not after it.",
)
