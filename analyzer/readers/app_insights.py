"""Spans in the tables of Azure's Application Insights: `dependencies` and `requests`, or `AppDependencies` and `AppRequests`.

Rows are objects, or answers of the query API (`{"tables": [{"columns": [...], "rows": [[...]]}]}`). A span's attributes are in
`customDimensions` (`Properties`), all of them texts. Format: learn.microsoft.com/azure/azure-monitor/reference/tables/appdependencies.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from analyzer.readers.agent_runs import inferred, odd_record
from analyzer.readers.exported import Exported, put
from analyzer.readers.format import Format
from analyzer.readers.lines import values
from analyzer.readers.loose import later_ns, listing, mapping, moment_ns, text, written_number
from analyzer.readers.openai_messages import decoded
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream

_MARKS: Final = (re.compile(rb'"operation_?Id"', re.IGNORECASE), re.compile(rb'"(?:customDimensions|Properties)"'))
_LEVELS: Final = 4
_CLIPPED_AT: Final = 8_192
"""Characters of a value that Application Insights keeps (learn.microsoft.com, "Dependency telemetry: data model")."""
_MOST_MS: Final = 1e12
_Row = dict[str, Any]


def _sniff(head: bytes) -> bool:
    return all(mark.search(head) for mark in _MARKS)


def _read(stream: Stream, sink: Sink) -> None:
    made: Counter[str] = Counter()
    for value in values(stream, sink):
        for found in _rows(value, _LEVELS):
            span = _exported({name.lower(): v for name, v in found.items()}, made)
            if span is not None:
                put(sink, stream.source, span)
    if made["odd"] or not made["spans"]:
        message = "rows are no spans (of traces, exceptions and the like), or have no ids, and were left out"
        sink.add_issue(odd_record(stream.source, message, made["odd"] or 1))
    for kind, message, remedy in (
        ("no_times", "spans have no start time, so their order is unknown", "select the column `timestamp` too"),
        (
            "clipped",
            "values were cut off at 8,192 characters by Application Insights",
            "export spans to a collector as well",
        ),
    ):
        if made[kind]:
            sink.add_issue(inferred(kind, stream.source, message, made[kind], remedy))


def _rows(value: Any, levels: int) -> Iterator[_Row]:
    if isinstance(value, list) and levels:
        for inner in value:
            yield from _rows(inner, levels - 1)
    elif isinstance(value, dict) and isinstance(value.get("tables"), list) and levels:
        for table in map(mapping, value["tables"]):
            names = [str(mapping(column).get("name")) for column in listing(table.get("columns"))]
            yield from (
                dict(zip(names, row, strict=False)) for row in listing(table.get("rows")) if isinstance(row, list)
            )
    elif isinstance(value, dict):
        yield value


def _exported(found: _Row, made: Counter[str]) -> Exported | None:
    trace_id, span_id = text(found.get("operation_id")) or text(found.get("operationid")), text(found.get("id"))
    if trace_id is None or span_id is None:
        made["odd"] += 1
        return None
    made["spans"] += 1
    said = mapping(decoded(found.get("customdimensions", found.get("properties"))))
    made["clipped"] += sum(isinstance(v, str) and len(v) >= _CLIPPED_AT for v in said.values())
    start = moment_ns(found.get("timestamp") or found.get("timegenerated"))
    made["no_times"] += start is None
    spent = written_number(found.get("duration", found.get("durationms")))
    parent_id = text(found.get("operation_parentid")) or text(found.get("parentid"))
    failed = str(found.get("success")).lower() == "false"
    return Exported(
        trace_id,
        span_id,
        text(found.get("name")) or "",
        said,
        # What nothing lies above names its trace.
        parent_id=None if parent_id == trace_id else parent_id,
        start_ns=start,
        end_ns=None if spent is None or spent > _MOST_MS else later_ns(start, spent / 1e3),
        error=(text(said.get("error.message")) or text(found.get("resultcode")) or "") if failed else None,
        scope=text(said.get("otel.scope.name")) or "",
        resource={"service.name": text(found.get("cloud_rolename")) or text(found.get("approlename"))},
    )


APP_INSIGHTS: Final = Format(
    "Application Insights rows",
    _sniff,
    _read,
    about=(
        "Spans in the tables of Azure's [Application Insights](https://learn.microsoft.com/azure/azure-monitor/app/app-insights-overview), "
        "where Azure AI Foundry keeps traces of agents: rows of `dependencies` and `requests` (or `AppDependencies` and `AppRequests`) as "
        "JSON, one a line or in lists, or answers of the query API. Recognised by `operation_Id` beside `customDimensions`."
    ),
    sees="Whatever the dimensions say, in any dialect flyball knows; times, failures, services.",
    cannot_see="What stands in other tables: events with content (`traces`), exceptions. Values are cut off at 8,192 characters.",
)
