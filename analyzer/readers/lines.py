"""A stream as blocks of whole lines, or as whole JSON values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import orjson

from analyzer.readers.sink import Sink
from analyzer.readers.streams import HEAD, Stream
from instrument.otlp import Issue

LIMIT: Final = 256 << 20
"""Bytes of the longest line, and of the longest document that has to be read whole. Longer ones become issues."""
_SHOWN: Final = 20
"""Broken lines named one by one."""
# No JSON document has a closing and an opening bracket with nothing but white space between, so this is where one ends.
# Possessive, because a million empty lines would otherwise be tried in a million ways.
BETWEEN_DOCUMENTS: Final = re.compile(rb"(?<=[}\]])[^\S\n]*+\n\s*+(?=[{\[])")
_NULS_AT_ENDS = re.compile(rb"^\0+|\0+$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """Some whole lines; the first of them is line `first_line` of the file, counted from 1."""

    data: bytes
    first_line: int


def line_blocks(stream: Stream, sink: Sink, limit: int = LIMIT) -> Iterator[Block]:
    """All lines of `stream`, in order. Lines over `limit` bytes and an unfinished last line become issues."""
    line, skipping = 1, False
    held: list[bytes | memoryview] = []  # the beginning of a line whose end has not come yet
    size = 0
    for whole_piece in stream.pieces:
        piece = whole_piece
        if skipping:
            end = piece.find(b"\n")
            if end < 0:
                continue
            piece, skipping, line = piece[end + 1 :], False, line + 1
        cut = piece.rfind(b"\n") + 1
        if cut:
            held.append(piece if cut == len(piece) else memoryview(piece)[:cut])
            data = b"".join(held)
            yield Block(_without_nuls(data, stream.source, sink), line)
            line += data.count(b"\n")
            held, size, piece = [], 0, piece[cut:]
        held.append(piece)
        size += len(piece)
        if size > limit:
            sink.add_issue(_too_long(stream.source, line, limit))
            held, size, skipping = [], 0, True
    last = _without_nuls(b"".join(held), stream.source, sink)
    if last.strip():
        if _unfinished(last):
            sink.add_issue(_still_written(stream.source, line))
        else:
            yield Block(last, line)


def whole(stream: Stream, sink: Sink, limit: int = LIMIT) -> bytes | None:
    """The whole text, for formats that cannot be read in parts; None, and an issue, where it is over `limit` bytes."""
    held: list[bytes] = []
    size = 0
    for piece in stream.pieces:
        held.append(piece)
        size += len(piece)
        if size > limit:
            sink.add_issue(_too_long(stream.source, None, limit))
            return None
    return _without_nuls(b"".join(held), stream.source, sink)


def values(stream: Stream, sink: Sink) -> Iterator[Any]:
    """The JSON values of a document, of documents one after the other, or of JSON Lines; what is broken becomes issues.

    Only JSON Lines are read in parts. Text is always valid Unicode.
    """
    broken = _Broken(stream.source, sink)
    if _is_lines(stream.head):
        for block in line_blocks(stream, sink):
            for number, text in enumerate(block.data.split(b"\n"), block.first_line):
                yield from broken.decoded(text, number)
    elif (data := whole(stream, sink)) is not None:
        try:
            yield decode(data)
        except ValueError as problem:
            yield from _in_parts(data, problem, broken)
    broken.report()


def _in_parts(data: bytes, problem: ValueError, broken: _Broken) -> Iterator[Any]:
    """The values of what is not one document: documents over many lines, or lines the first of which is broken."""
    text_lines = data.split(b"\n")
    if _spread(text_lines):
        parts, ends = BETWEEN_DOCUMENTS.split(data), [m[0] for m in BETWEEN_DOCUMENTS.finditer(data)]
    else:
        parts, ends = text_lines, [b"\n"] * len(text_lines)
    if len([part for part in parts if part.strip()]) == 1:
        broken.add(None, problem)
        return
    number = 1
    for part, end in zip(parts, [*ends, b""], strict=False):
        yield from broken.decoded(part, number)
        number += part.count(b"\n") + end.count(b"\n")


class _Broken:
    """What is no JSON: the first pieces one by one, the rest counted together."""

    def __init__(self, source: str, sink: Sink) -> None:
        self._source, self._sink, self._count = source, sink, 0

    def decoded(self, text: bytes, number: int) -> Iterator[Any]:
        """The value of `text`, which begins at line `number`, where it has one."""
        if text.strip():
            try:
                yield decode(text)
            except ValueError as problem:
                self.add(number, problem)

    def add(self, number: int | None, problem: ValueError) -> None:
        """One piece that is no JSON."""
        self._count += 1
        if self._count <= _SHOWN:
            self._sink.add_issue(_broken(self._source, number, problem))

    def report(self) -> None:
        """Says how many more there were."""
        if self._count > _SHOWN:
            message, remedy = "further lines are no JSON", "the rest was read; repair or remove them"
            count = self._count - _SHOWN
            self._sink.add_issue(Issue("broken_line", self._source, message, remedy, count=count))


def _is_lines(head: bytes) -> bool:
    """Whether the first line is a JSON object by itself, as far as can be seen: a long one may be all there is."""
    first, end, rest = head.lstrip().partition(b"\n")
    if not first.startswith(b"{") or (end and not rest.strip()):
        return False
    if not end:
        return len(head) >= HEAD
    try:
        decode(first)
    except ValueError:
        return False
    return True


def decode(data: bytes) -> Any:
    """One JSON value. Raises ValueError where it is none; lone surrogates, which strict decoders refuse, become `?`."""
    try:
        return orjson.loads(data)
    except ValueError:
        if b"\\ud" not in data and b"\\uD" not in data:
            raise
    try:
        return _valid(json.loads(data))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _valid(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_valid(v) for v in value]
    if isinstance(value, dict):
        return {_valid(k): _valid(v) for k, v in value.items()}
    return value


def _spread(text_lines: list[bytes]) -> bool:
    """Whether this is one document over many lines: the first of them opens something and does not close it."""
    first = next(text.strip() for text in text_lines if text.strip())
    return first.endswith((b"{", b"[", b","))


def _unfinished(last: bytes) -> bool:
    try:
        decode(last)
    except ValueError:
        try:
            msgspec.json.decode(last)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            return "truncated" in str(e)
    return False


def _without_nuls(data: bytes, source: str, sink: Sink) -> bytes:
    """A crash of the machine leaves NUL bytes where a line was to be; without them the line after can be read."""
    if b"\0" not in data:
        return data
    kept = _NULS_AT_ENDS.sub(b"", data)
    if len(kept) < len(data):
        message = f"{len(data) - len(kept):,} NUL bytes between lines: machine or disk probably failed during writing"
        sink.add_issue(
            Issue(
                kind="nul_bytes",
                source=source,
                message=message,
                remedy="nothing can be done; spans may be missing here",
            )
        )
    return kept


def _too_long(source: str, line: int | None, limit: int) -> Issue:
    what = "a line" if line else "the document"
    return Issue(
        kind="too_long",
        source=source,
        line=line,
        message=f"{what} is longer than {limit >> 20} MB and was left out",
        remedy="write one span or one batch per line (OTLP JSON Lines), or clip what is recorded",
    )


def _still_written(source: str, line: int) -> Issue:
    """Where it is the only line, nothing at all was read, and that is no small thing."""
    return Issue(
        kind="unfinished_line",
        source=source,
        line=line,
        message="the last line ends in the middle and was left out",
        remedy="read the file again when the program that writes it has finished the line",
        error=line == 1,
    )


def _broken(source: str, line: int | None, problem: Exception) -> Issue:
    return Issue(
        kind="broken_line" if line else "broken_document",
        source=source,
        line=line,
        message=f"is no JSON: {problem}",
        remedy="copy the file again, or remove what is damaged",
    )
