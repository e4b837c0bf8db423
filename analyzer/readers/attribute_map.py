"""The attributes of one span and nothing else: a flat JSON object such as `{"gen_ai.operation.name": "chat", ...}`.

There may be one a line, or a list of them. Such a file has no ids and no times. Ids are made from the content, so that
reading it again finds the same span.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Final

from analyzer.readers.format import Format
from analyzer.readers.lines import values
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument.otlp import Issue, Span, attributes, one_resource
from instrument.sameness import canonical
from instrument.store.dialects import MARKS

_NAMES: Final = tuple(name for name, _ in MARKS)
_MARK = re.compile(rb'"(?:' + b"|".join(re.escape(name).encode() for name in _NAMES) + rb')"\s*:')


def _sniff(head: bytes) -> bool:
    return head.lstrip()[:1] in (b"{", b"[") and _MARK.search(head) is not None


def _read(stream: Stream, sink: Sink) -> None:
    spans = [_span(found, position) for position, found in enumerate(_maps(stream, sink))]
    sink.add(one_resource(spans, scope=""), stream.source)
    sink.add_issue(
        Issue(
            kind="no_times",
            source=stream.source,
            message="spans have neither ids nor times: each stands alone and their order is unknown",
            remedy="export whole spans, with an OTLP exporter",
            count=len(spans),
            error=False,
        )
    )


def _maps(stream: Stream, sink: Sink) -> Iterator[dict[str, Any]]:
    for value in values(stream, sink):
        for found in value if isinstance(value, list) else [value]:
            if isinstance(found, dict) and any(name in found for name in _NAMES):
                yield found
            else:
                message = "an entry is no map of span attributes and was left out"
                remedy = "write only span attributes to this file"
                sink.add_issue(Issue(kind="not_a_span", source=stream.source, message=message, remedy=remedy))


def _span(found: dict[str, Any], position: int) -> Span:
    """`position` tells two equal calls in one file apart."""
    digest = blake2b(canonical(found), digest_size=24, salt=position.to_bytes(8, "big")).hexdigest()
    name = next(str(found[n]) for n in _NAMES if n in found)
    return Span(traceId=digest[:32], spanId=digest[32:], name=name, attributes=attributes(found))


ATTRIBUTE_MAP: Final = Format("span attributes", _sniff, _read)
