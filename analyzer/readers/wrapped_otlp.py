"""OTLP within another document: what Grafana downloads and Tempo's API answers with (`batches`, or `trace` around `resourceSpans`).

Format: grafana.com/docs/tempo, "Query" and "Query V2". A batch is what OTLP calls `ResourceSpans`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from analyzer.readers.agent_runs import odd_record
from analyzer.readers.format import Format
from analyzer.readers.lines import values
from analyzer.readers.loose import dumps
from analyzer.readers.otlp_json import in_current_names
from analyzer.readers.outline import outline
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream

_MARK: Final = re.compile(rb'"(?:batches|resource(?:S|_s)pans)"\s*:')
_BATCH: Final = re.compile(r"(?:^|\.|\[\])batches\[\]\.(?:scopeSpans|scope_spans|instrumentationLibrarySpans)$")
_INNER: Final = re.compile(r"\.resource(?:S|_s)pans$")
_OUTER: Final = re.compile(r"resource(?:S|_s)pans\[\]")
_NAMES: Final = ("batches", "resourceSpans", "resource_spans")
_LEVELS: Final = 6
"""Lists and maps around the spans."""


def _sniff(head: bytes) -> bool:
    return _MARK.search(head) is not None and any(_BATCH.search(place) or _is_inner(place) for place in outline(head))


def _is_inner(place: str) -> bool:
    """Whether spans lie within something else there: not in a list of documents, and not behind a torn line of spans."""
    return _INNER.search(place) is not None and not place.startswith("[].") and not _OUTER.match(place)


def _read(stream: Stream, sink: Sink) -> None:
    found = 0
    for value in values(stream, sink):
        for resource in _resources(value, _LEVELS):
            document = dumps({"resourceSpans": [resource]}).encode("utf-8", "replace")
            sink.add_lines(in_current_names(document) + b"\n", stream.source)
            found += 1
    if not found:
        sink.add_issue(odd_record(stream.source, "no list of spans is where one was expected", 1))


def _resources(value: Any, levels: int) -> Iterator[Any]:
    """Every `ResourceSpans` within a JSON value."""
    if not levels:
        return
    if isinstance(value, list):
        for inner in value:
            yield from _resources(inner, levels - 1)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name in _NAMES and isinstance(inner, list):
                yield from inner
            else:
                yield from _resources(inner, levels - 1)


WRAPPED_OTLP: Final = Format(
    "Tempo trace",
    _sniff,
    _read,
    about=(
        "OTLP JSON within another document: traces downloaded from [Grafana](https://grafana.com/docs/tempo/latest/api_docs/) and answers "
        "of Tempo's API, both of its versions. Recognised by `batches` of `scopeSpans` (or the older `instrumentationLibrarySpans`), or by "
        "`resourceSpans` further down."
    ),
    sees="Everything that OTLP JSON says.",
    cannot_see="Links between spans. What Tempo cut off because the trace was too large.",
)
