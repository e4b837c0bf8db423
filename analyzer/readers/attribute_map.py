"""The attributes of one span and nothing else: a flat JSON object such as `{"gen_ai.operation.name": "chat", ...}`.

There may be one a line, or a list of them. Such a file has no ids and no times. Ids are made from the content, so that
reading it again finds the same span.
"""

from __future__ import annotations

import re
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
    total = odd = 0
    for value in values(stream, sink):
        for found in value if isinstance(value, list) else [value]:
            if not isinstance(found, dict) or not any(name in found for name in _NAMES):
                odd += 1
                continue
            sink.add(one_resource([_span(found, total)], scope=""), stream.source)
            total += 1
    if odd:
        message, remedy = (
            "entries are no map of span attributes and were left out",
            "write only span attributes to this file",
        )
        sink.add_issue(Issue(kind="not_a_span", source=stream.source, message=message, remedy=remedy, count=odd))
    if total:
        sink.add_issue(
            Issue(
                kind="no_times",
                source=stream.source,
                message="spans have neither ids nor times: each stands alone and their order is unknown",
                remedy="export whole spans, with an OTLP exporter",
                count=total,
                error=False,
            )
        )


def _span(found: dict[str, Any], position: int) -> Span:
    """`position` tells two equal calls in one file apart."""
    digest = blake2b(canonical(found), digest_size=24, salt=position.to_bytes(8, "big")).hexdigest()
    name = next(str(found[n]) for n in _NAMES if n in found)
    return Span(traceId=digest[:32], spanId=digest[32:], name=name, attributes=attributes(found))


ATTRIBUTE_MAP: Final = Format(
    "span attributes",
    _sniff,
    _read,
    about=(
        "The attributes of spans and nothing else, as maps with dotted names: one a line, or in lists. Recognised by a name that only "
        "one dialect writes (`gen_ai.operation.name`, `llm.model_name`, ...)."
    ),
    sees="Each call by itself: what it was, its model, messages, usage and results, in any dialect flyball knows.",
    cannot_see="Ids, parents and times: which calls belong together, their order, how long they took.",
)
