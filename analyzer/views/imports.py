"""Trace files that somebody hands over, into a database, and what came of each.

What a file is called is only ever a text: it is written under a number of our own, and its name stands in the database as where the
spans came from.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Final

import duckdb
from msgspec import structs

from analyzer.readers.archives import opener
from analyzer.readers.formats import FORMATS, format_of
from analyzer.readers.parquet import is_parquet
from analyzer.readers.paths import Source, is_database
from analyzer.readers.reading import read
from analyzer.readers.sink import Sink
from analyzer.readers.streams import as_text, open_raw
from instrument.errors import UnreadableTrace
from instrument.otlp import Issue, TracesData
from instrument.prices import Prices
from instrument.store.connect import writing
from instrument.store.load import Loaded, Loader

NAME_CHARS: Final = 120
"""Of a file's name, that are kept."""
ISSUES_KEPT: Final = 200
"""Of one file; the rest are counted."""
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Given:
    """A file as it was handed over."""

    name: str
    """As its sender calls it: any text."""
    content: BinaryIO


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRead:
    """What came of one file."""

    name: str
    """As it stands in the database: without folders, and with a number where there is another of that name."""
    format: str
    """As `Format.name`, `archive`, `Parquet`, `database`, or `unknown`."""
    dialects: tuple[str, ...] = ()
    """Whose names the attributes had."""
    runs: int = 0
    spans: int = 0
    """That were not in the database before."""
    known_spans: int = 0
    """That were, and are left as they are."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    unpriced_calls: int = 0
    issues: tuple[Issue, ...] = ()
    issue_count: int = 0
    refusal: str = ""
    """Why nothing was read of it."""


_FACTS: Final = """
WITH own AS MATERIALIZED (SELECT source_key FROM sources WHERE name = $name OR starts_with(name, $name || '!')),
read AS MATERIALIZED (SELECT s.* FROM spans s WHERE s.source_key IN (SELECT source_key FROM own))
SELECT count(DISTINCT run_key) AS runs,
       (sum(input_tokens) FILTER (kind = 'model' AND duplicate_of IS NULL))::BIGINT AS input_tokens,
       (sum(output_tokens) FILTER (kind = 'model' AND duplicate_of IS NULL))::BIGINT AS output_tokens,
       sum(cost_usd) FILTER (kind = 'model' AND duplicate_of IS NULL) AS cost_usd,
       count(*) FILTER (kind = 'model' AND duplicate_of IS NULL AND cost_usd IS NULL) AS unpriced_calls,
       list(DISTINCT dialect ORDER BY dialect) FILTER (dialect IS NOT NULL) AS dialects
FROM read
"""
_ISSUES: Final = """
SELECT kind, source, message, remedy, line, count, error FROM issues WHERE source = $name OR starts_with(source, $name || '!')
ORDER BY error DESC, line NULLS FIRST, kind LIMIT $limit
"""
_ISSUE_COUNT: Final = (
    "SELECT coalesce(sum(count), 0)::BIGINT FROM issues WHERE source = $name OR starts_with(source, $name || '!')"
)


def read_into(
    db: Path,
    files: Sequence[Given],
    *,
    prices: Prices | None = None,
    advance: Callable[[int, int], object] = lambda _number, _bytes: None,
) -> tuple[FileRead, ...]:
    """Reads `files` one after the other into the database at `db`, which is made if it does not exist.

    A file that holds no trace is refused and hides no other. `advance` hears the number of the file (from 0) and the size in bytes of every
    piece read. Memory does not grow with the files. Raises `StoreError`, `OSError` and `duckdb.Error` where the database, or a copy of a
    file in the system's folder for temporary ones, cannot be written.
    """
    found: list[FileRead] = []
    with (
        TemporaryDirectory(prefix="flyball-upload-") as folder,
        writing(db) as con,
        Loader(con, prices=prices, in_parts=True) as loader,
    ):
        for number, given in enumerate(files):
            path = Path(folder) / f"{number}"
            with path.open("wb") as copy:
                shutil.copyfileobj(given.content, copy, _PIECE)
            name = _free(con, plain_name(given.name))
            found.append(_read_one(con, loader, path, name, lambda size, n=number: advance(n, size)))  # type: ignore[misc]
            path.unlink()
    return tuple(found)


def plain_name(name: str) -> str:
    """The last part of a name, on one line and not too long; never used as a path."""
    last = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    shown = "".join(c if c.isprintable() else "?" for c in last.encode("utf-8", "replace").decode()).strip()
    # The sources of members are `archive!path`; a name that looks like one would be counted as a part of another file.
    return shown.replace("!", "_")[:NAME_CHARS] or "unnamed file"


def _read_one(
    con: duckdb.DuckDBPyConnection, loader: Loader, path: Path, name: str, advance: Callable[[int], object]
) -> FileRead:
    if is_database(path):
        return FileRead(
            name=name, format="database", refusal="is a database, not a trace file; open it: flyball app --db FILE"
        )
    kind = format_name(path)
    con.execute("BEGIN")
    reading = read([Source(str(path), named=True)], _Named(loader, str(path), name), advance=advance)
    loaded = loader.finish()
    con.execute("COMMIT")
    refusal = "; ".join(_without(str(one), str(path), name) for one in reading.refusals)
    return _facts(con, name, kind, loaded, refusal)


def _facts(con: duckdb.DuckDBPyConnection, name: str, kind: str, loaded: Loaded, refusal: str) -> FileRead:
    row = con.sql(_FACTS, params={"name": name}).pl().row(0, named=True)
    issues = con.execute(_ISSUES, {"name": name, "limit": ISSUES_KEPT}).fetchall()
    ((issue_count,),) = con.execute(_ISSUE_COUNT, {"name": name}).fetchall()
    dialects = tuple(row.pop("dialects") or ())
    return FileRead(
        name=name, format=kind, dialects=dialects, spans=loaded.spans, known_spans=max(0, loaded.seen - loaded.spans),
        issues=tuple(Issue(*issue) for issue in issues), issue_count=issue_count, refusal=refusal, **row,
    )  # fmt: skip


def format_name(path: Path) -> str:
    """What a file is, told by its first bytes; `unknown` where nobody knows."""
    quiet = _Nowhere()
    try:
        with path.open("rb") as file:
            stream = open_raw(file, "", quiet, lambda _size: None)
            if opener(stream.head) is not None:
                return "archive"
            if is_parquet(stream.head):
                return "Parquet"
            found = format_of(stream.head, FORMATS, binary=True) or format_of(as_text(stream).head, FORMATS)
    except UnreadableTrace:  # the reading itself says why
        return "unknown"
    return found.name if found else "unknown"


def _free(con: duckdb.DuckDBPyConnection, name: str) -> str:
    """The name, with a number where the database has it already: what this file brings is told apart."""
    return next(one for one in _candidates(name) if not con.execute(
        "SELECT 1 FROM sources WHERE name = $1 OR starts_with(name, $1 || '!') UNION ALL SELECT 1 FROM issues WHERE source = $1", [one]
    ).fetchall())  # fmt: skip


def _candidates(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name} ({number})"
        number += 1


def _without(said: str, path: str, name: str) -> str:
    """What was said of our copy, as if it had been said of the file."""
    return said.removeprefix(f"{path}: ").replace(path, name)


class _Named:
    """A sink that hears of our copy and tells of the file."""

    def __init__(self, sink: Sink, path: str, name: str) -> None:
        self._sink, self._path, self._name = sink, path, name

    def add_lines(self, data: bytes, source: str, first_line: int = 1) -> object:
        """See `Sink`."""
        return self._sink.add_lines(data, self._named(source), first_line)

    def add(self, document: TracesData, source: str) -> object:
        """See `Sink`."""
        return self._sink.add(document, self._named(source))

    def add_issue(self, issue: Issue) -> object:
        """See `Sink`."""
        message, remedy = (text.replace(self._path, self._name) for text in (issue.message, issue.remedy))
        return self._sink.add_issue(
            structs.replace(issue, source=self._named(issue.source), message=message, remedy=remedy)
        )

    def _named(self, source: str) -> str:
        return self._name + source.removeprefix(self._path) if source.startswith(self._path) else source


class _Nowhere:
    """A sink for those who only look."""

    def add_lines(self, data: bytes, source: str, first_line: int = 1) -> None:
        """Nothing."""

    def add(self, document: TracesData, source: str) -> None:
        """Nothing."""

    def add_issue(self, issue: Issue) -> None:
        """Nothing."""


def totals(files: Sequence[FileRead]) -> dict[str, Any]:
    """Sums over files: `files`, `refused`, `runs`, `spans`, `known_spans`, `issues`, and `cost_usd` (None: of none known)."""
    costs = [one.cost_usd for one in files if one.cost_usd is not None]
    return {
        "files": len(files), "refused": sum(bool(one.refusal) for one in files), "runs": sum(one.runs for one in files),
        "spans": sum(one.spans for one in files), "known_spans": sum(one.known_spans for one in files),
        "issues": sum(one.issue_count for one in files), "cost_usd": sum(costs) if costs else None,
    }  # fmt: skip
