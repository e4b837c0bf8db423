"""Stored spans as Parquet: one row per span, attributes as JSON texts, so that any engine can query them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, BinaryIO, Final

import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from analyzer.export.attributes import attributes_of, scope_of
from analyzer.export.jsonl import kind_of, status_code, status_message
from analyzer.export.stored import Stored
from instrument.otlp_line import dumps

_SCHEMA: Final = pa.schema(
    [
        ("trace_id", pa.string()),
        ("span_id", pa.string()),
        ("parent_span_id", pa.string()),
        ("name", pa.string()),
        ("kind", pa.int32()),
        ("start_time_unix_nano", pa.int64()),
        ("end_time_unix_nano", pa.int64()),
        ("status_code", pa.int32()),
        ("status_message", pa.string()),
        ("attributes", pa.string()),
        ("events", pa.string()),
        ("links", pa.string()),
        ("resource_attributes", pa.string()),
        ("scope_name", pa.string()),
        ("scope_version", pa.string()),
    ]
)
"""Ids in hex, times in nanoseconds since 1970, kind and status as OTLP's numbers; the others as JSON, `attributes` a map. NULL: unknown."""
_GROUP_BYTES: Final = 64_000_000
"""Text after which a group of rows is written: whoever reads it holds one group at a time."""


def write_parquet(batches: Iterable[list[Stored]], out: BinaryIO) -> None:
    """Writes every span."""
    with ParquetWriter(out, _SCHEMA, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        size = 0
        for batch in batches:
            for span in batch:
                row = _row(span)
                rows.append(row)
                size += sum(len(value) for value in row.values() if isinstance(value, str))
            if size >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
                rows, size = [], 0
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))


def _row(span: Stored) -> dict[str, Any]:
    row = span.row
    events = [{"name": e["name"], "time_unix_nano": e["time_ns"], "attributes": e["attributes"]} for e in span.events]
    return {
        "trace_id": row["trace_id"],
        "span_id": row["span_id"],
        "parent_span_id": row["parent_span_id"],
        "name": row["name"],
        "kind": kind_of(span),
        "start_time_unix_nano": row["start_ns"],
        "end_time_unix_nano": row["end_ns"],
        "status_code": status_code(span),
        "status_message": status_message(span),
        "attributes": _json(attributes_of(span)),
        "events": _json(events),
        "links": "[]",  # the store keeps none
        "resource_attributes": _json(span.resource),
        "scope_name": scope_of(span),
        "scope_version": "",
    }


def _json(value: Any) -> str:
    return dumps(value).decode()
