"""Parquet files as JSON Lines, one object a row: whatever format is read from lines is read from Parquet too.

Rows come a few at a time, and of columns of text that repeats each text is held once, so that neither a large file nor one that claims
to be small fills the memory. Nulls in maps and structs are left out, as Parquet cannot tell them from what was never there; binary ids
become hex, points in time ISO 8601.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import orjson

from analyzer.readers.compression import PIECE, Pieces
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream, Told, unpacked
from instrument.errors import UnreadableTrace
from instrument.otlp import Issue

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

_MARK: Final = b"PAR1"
_ROWS: Final = 512
_FOOTER_TEXTS: Final = 16 << 20
_FOOTER_PARTS: Final = 1_000_000
"""Bytes of the longest text and length of the longest list in the description of the file."""
_EARLY: Final = ("trace", "span", "id", "name", "kind", "time", "type", "role")
"""Words of columns that come first in a line, so that what tells a format stands before long texts."""


def is_parquet(head: bytes) -> bool:
    """Whether `head` begins as Parquet files do."""
    return head.startswith(_MARK)


@contextlib.contextmanager
def as_lines(stream: Stream, sink: Sink) -> Iterator[Stream]:
    """The rows of a Parquet file as JSON Lines. Raises UnreadableTrace where it is damaged from the start."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    with stream.sought() as file:
        try:
            found = ParquetFile(file, thrift_string_size_limit=_FOOTER_TEXTS, thrift_container_size_limit=_FOOTER_PARTS)
            texts = [
                f.name for f in found.schema_arrow if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)
            ]
            file.seek(0)
            found = ParquetFile(
                file,
                read_dictionary=texts,
                thrift_string_size_limit=_FOOTER_TEXTS,
                thrift_container_size_limit=_FOOTER_PARTS,
            )
        except (pa.ArrowException, OSError, ValueError) as e:
            raise UnreadableTrace(
                stream.source, f"is a Parquet file that cannot be read ({_first_line(e)}); copy it again"
            ) from None
        told = Told(sink)
        lines = unpacked(_lines(found, stream.source, told), stream.source, sink)
        told.say(stream.source, lines.head)
        yield lines


def _lines(found: ParquetFile, source: str, sink: Sink) -> Pieces:
    import pyarrow as pa

    held: list[bytes] = []
    size = damaged = 0
    problem: Exception | None = None
    for group in range(found.num_row_groups):
        try:
            for batch in found.iter_batches(_rows_at_once(found, group), row_groups=[group], use_threads=False):
                batch.validate(full=True)  # a damaged file may point anywhere
                for line in _rows(batch):
                    held.append(line)
                    size += len(line)
                    if size >= PIECE:
                        yield b"".join(held)
                        held, size = [], 0
        except (pa.ArrowException, OSError, ValueError, OverflowError) as e:
            damaged, problem = damaged + 1, problem or e
    if held:
        yield b"".join(held)
    if problem is not None:
        sink.add_issue(_damaged(source, damaged, problem))


def _rows_at_once(found: ParquetFile, group: int) -> int:
    """As many rows as should take one piece, by what the file says of itself."""
    facts = found.metadata.row_group(group)
    fit: int = PIECE * max(facts.num_rows, 1) // max(facts.total_byte_size, 1)
    return max(1, min(_ROWS, fit))


def _rows(batch: pa.RecordBatch) -> Iterator[bytes]:
    names = sorted(batch.schema.names, key=lambda name: not any(word in name.lower() for word in _EARLY))
    columns = [_values(name, batch.column(batch.schema.names.index(name))) for name in names]
    for row in range(batch.num_rows):
        found = {name: value for name, of in zip(names, columns, strict=True) if (value := of(row)) is not None}
        yield orjson.dumps(found, default=str) + b"\n"


def _values(name: str, column: pa.Array) -> Callable[[int], Any]:
    """What gives the value of one row."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        known, positions = column.dictionary.to_pylist(), column.indices.to_pylist()
        return lambda row: None if positions[row] is None else _plain(known[positions[row]], name)
    values = column.to_pylist(maps_as_pydicts="lossy")
    return lambda row: _plain(values[row], name)


def _plain(value: Any, name: str) -> Any:
    """The value as JSON has it."""
    match value:
        case dict():
            return {str(k): _plain(v, str(k)) for k, v in value.items() if v is not None}
        case list():
            return [_plain(v, name) for v in value]
        case bytes():
            return value.hex() if name.lower().endswith("id") else value.decode("utf-8", "replace")
        case datetime() | date() | time():  # also pandas' own, which knows nanoseconds
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal():
            return float(value)
    return value


def _first_line(problem: Exception) -> str:
    return next(iter(str(problem).splitlines()), "")[:200]


def _damaged(source: str, count: int, problem: Exception) -> Issue:
    return Issue(
        kind="damaged_parquet",
        source=source,
        message=f"groups of rows of the Parquet file cannot be read ({_first_line(problem)}); the others were read",
        remedy="copy the file again; if the damage is in the original, those rows are lost",
        count=count,
    )
