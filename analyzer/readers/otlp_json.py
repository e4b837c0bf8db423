"""OTLP/JSON: JSON Lines as collectors and our own journal write them, a document over many lines, a list of documents.

Format: opentelemetry.io/docs/specs/otlp (JSON Protobuf encoding) and .../otel/protocol/file-exporter (JSON Lines).
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from analyzer.readers.format import Format
from analyzer.readers.lines import BETWEEN_DOCUMENTS, line_blocks, values, whole
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream

_MARK = re.compile(rb'"resource(?:S|_s)pans"\s*:')  # protobuf's JSON may keep the names of the .proto file
_OPENS = re.compile(rb'^[ \t]*\{[ \t]*"resource(?:S|_s)pans"\s*:', re.MULTILINE)
_LINE_END = re.compile(rb"[\r\n]")
_OLD: Final = b'"instrumentation'
# Within a text the second quote would have a backslash before it.
_OLD_NAME = re.compile(rb'"instrumentation(?:Library|_library)(Spans|_spans)?"(?=\s*:)')


def _sniff(head: bytes) -> bool:
    return _MARK.search(head) is not None


def _read(stream: Stream, sink: Sink) -> None:
    if stream.head.lstrip().startswith(b"["):
        _read_list(stream, sink)
    elif _over_many_lines(stream.head):
        _read_documents(stream, sink)
    else:
        for block in line_blocks(stream, sink):
            sink.add_lines(in_current_names(block.data), stream.source, block.first_line)


def in_current_names(data: bytes) -> bytes:
    """The same JSON, with the names of OTLP from version 0.19 on for older ones."""
    return _OLD_NAME.sub(lambda m: b'"scopeSpans"' if m[1] else b'"scope"', data) if _OLD in data else data


def _over_many_lines(head: bytes) -> bool:
    """A first line that ends open is the beginning of a document, unless it is a torn one and whole lines follow it."""
    first = head.lstrip().split(b"\n", 1)[0].rstrip()
    return first.endswith((b"{", b"[", b",")) and len(_OPENS.findall(head)) < 2


def _read_documents(stream: Stream, sink: Sink) -> None:
    data = whole(stream, sink)
    start, line = 0, 1
    while data is not None and start < len(data):
        between = BETWEEN_DOCUMENTS.search(data, start)
        end = between.end() if between else len(data)
        # A line end inside a JSON text is white space and nothing else, so this is the same document on one line.
        document = _LINE_END.sub(b" ", in_current_names(data[start:end]))
        sink.add_lines(document + b"\n", stream.source, line)
        line += data.count(b"\n", start, end)
        start = end


def _read_list(stream: Stream, sink: Sink) -> None:
    for value in values(stream, sink):
        for document in _documents(value):
            sink.add_lines(in_current_names(json.dumps(document).encode()) + b"\n", stream.source)


def _documents(value: Any) -> list[Any]:
    """The OTLP documents of a JSON list, lists in it included."""
    if isinstance(value, dict):
        return [value]
    return [d for v in value for d in _documents(v)] if isinstance(value, list) else []


OTLP_JSON: Final = Format(
    "OTLP JSON",
    _sniff,
    _read,
    about=(
        "[OTLP](https://opentelemetry.io/docs/specs/otlp/) 1.x in its JSON form: JSON Lines, as flyball's own journal and the file "
        "exporters of OpenTelemetry's SDKs and Collector write them, one document over many lines, several, or a list of them. Also with "
        "the names of the `.proto` files (`resource_spans`), with ids in base64, and from before version 0.19. Recognised by "
        "`resourceSpans`."
    ),
    sees="Everything a span holds, in any dialect flyball knows: the SDKs' own spans, OpenTelemetry GenAI, OpenInference, OpenLLMetry, ...",
    cannot_see="Links between spans. Attributes and content that the producer clipped or dropped.",
)
