"""OTLP spans of any dialect into the store: the one way in, for the journal, for trace files and for every other format.

A `Reader` turns lines into batches of columns, which go to DuckDB as Arrow while the next lines are read. When all is in, `settle`
works out what needs the spans around a span: runs, order, duplicates, costs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Self

import duckdb
import pyarrow as pa

from instrument.otlp import Issue, TracesData
from instrument.prices import Prices
from instrument.store import schema
from instrument.store.insert import arrow, insert, insert_new, write_issues
from instrument.store.lines import decode_carefully, writable
from instrument.store.reader import Batch, Reader
from instrument.store.settle import Settled, Staged, settle

__all__ = ["Loaded", "Loader", "decode_carefully", "write_issues"]

_STAGED_SPANS: Final = 100_000
"""Rows that are settled together. A run that goes on afterwards is settled again."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one load brought."""

    spans: int
    """Spans that are new in the database."""
    seen: int
    """Spans that were read."""
    issues: int
    """Issues that were added."""


class Loader:
    """Reads spans into one open, writable store. Nothing is complete before `finish`.

    The caller owns the transaction; `finish` may be followed by further loads with the same loader. With `in_parts` the transaction
    is committed and begun again after every settled part: DuckDB keeps what a transaction wrote, and what it read it from, so
    that the memory of one long transaction grows with the file. Spans that were there before become an issue of each source, unless the
    caller says so itself (`tells_repeats`). Raises `duckdb.Error` where the database cannot be written;
    what cannot be read becomes an issue instead.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        *,
        prices: Prices | None = None,
        in_parts: bool = False,
        tells_repeats: bool = True,
    ) -> None:
        self._con = con
        self._in_parts, self._tells_repeats = in_parts, tells_repeats
        self._prices = prices or Prices()
        self._reader = Reader(con.execute("SELECT coalesce(max(span_key), -1) + 1 FROM spans").fetchall()[0][0])
        self._sources: dict[str, tuple[int, str]] = {}
        self._keys: dict[str, int] | None = None
        """All sources in the database and their keys, as long as nobody else can have written some."""
        self._last_key = 0
        self._fresh: list[tuple[int, str, None]] = []
        """Sources that are not in the database yet."""
        self._issues: list[Issue] = []
        self._pool: ThreadPoolExecutor | None = None
        self._writing: Future[Settled] | None = None
        self._new = 0
        self._again: Counter[int] = Counter()
        """Spans whose ids came again, by the key of their source."""
        self._staged: list[Batch] = []

    def add_lines(self, data: bytes, source: str, first_line: int = 1) -> None:
        """Adds whole OTLP JSON lines; `first_line` is the number of the first in its file. Broken ones become issues."""
        self._reader.add_lines(data, self._source(source), first_line)
        self._take_batches(beside=True)

    def add(self, document: TracesData, source: str) -> None:
        """Adds decoded spans, from whatever reader."""
        self._reader.add(document, self._source(source))
        self._take_batches(beside=True)

    def add_issue(self, issue: Issue) -> None:
        """Adds something that could not be read."""
        self._issues.append(writable(issue)[0])

    def finish(self) -> Loaded:
        """Writes what is left and settles it. Returns what this load brought."""
        self._reader.flush()
        self._wait()
        self._close()
        self._take_batches()
        self._settle()
        self._wait()
        issues = self._issues + self._reader.take_issues() + self._repeats()
        write_issues(self._con, issues)
        self._write_sources()
        self._keys = None
        loaded = Loaded(self._new, self._reader.seen, len(issues))
        self._new, self._reader.seen, self._issues, self._again = 0, 0, [], Counter()
        return loaded

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _source(self, name: str) -> tuple[int, str]:
        found = self._sources.get(name)
        if found is None:
            written = name.encode("utf-8", "replace").decode()  # names of files need not be text
            if self._keys is None:
                self._wait()
                self._keys = dict(self._con.execute("SELECT name, source_key FROM sources").fetchall())
                self._last_key = max(self._keys.values(), default=0)
            key = self._keys.get(written)
            if key is None:
                # Not written at once: that would have to wait for what is being written beside.
                key = self._keys[written] = self._last_key = self._last_key + 1
                self._fresh.append((key, written, None))
            found = self._sources[name] = (key, written)
        return found

    def _write_sources(self) -> None:
        fresh, self._fresh = self._fresh, []
        insert(self._con, schema.SOURCES.name, arrow(schema.SOURCES, fresh))

    def _repeats(self) -> list[Issue]:
        names = dict(self._sources.values()) if self._tells_repeats else {}
        return [_repeated(names[key], count) for key, count in self._again.items() if key in names]

    def _take_batches(self, *, beside: bool = False) -> None:
        """What the reader has ready goes to DuckDB; `beside`: while the caller goes on reading."""
        batches, self._reader.batches = self._reader.batches, []
        for batch in batches:
            self._staged.append(batch)
            self._do(beside, _write, self._con, batch)
            if sum(b.spans.num_rows for b in self._staged) >= _STAGED_SPANS:
                self._settle(beside=beside)

    def _settle(self, *, beside: bool = False) -> None:
        batches, self._staged = self._staged, []
        if batches:
            together = (pa.concat_tables(getattr(b, t) for b in batches) for t in ("spans", "requests", "responses"))
            step = _settle_and_commit if self._in_parts and beside else settle
            self._do(beside, step, self._con, Staged(*together), self._prices)

    def _do(self, beside: bool, step: Callable[..., Settled], *arguments: Any) -> None:
        """Does `step` after the one before it."""
        self._wait()
        if beside:
            try:
                self._pool = self._pool or ThreadPoolExecutor(1, "flyball-load")
                self._writing = self._pool.submit(step, *arguments)
                return
            except RuntimeError:
                pass  # the interpreter is ending and starts no thread any more: here and now, then
        self._count(step(*arguments))

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            self._count(writing.result())

    def _count(self, settled: Settled) -> None:
        self._new += settled.new
        self._again.update(settled.again)

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _settle_and_commit(con: duckdb.DuckDBPyConnection, staged: Staged, prices: Prices) -> Settled:
    settled = settle(con, staged, prices)
    con.execute("COMMIT")
    con.execute("BEGIN")
    return settled


def _repeated(source: str, count: int) -> Issue:
    message = "spans have the trace id and span id of others that were there before, and were left out"
    remedy = (
        "nothing to do where a file was given twice or sent again; else the ids are not unique, and spans are missing"
    )
    return Issue("repeated_ids", source, message, remedy, count=count, error=False)


def _write(con: duckdb.DuckDBPyConnection, batch: Batch) -> Settled:
    """Writes what needs no settling. Brings no spans yet."""
    insert(con, schema.CONTENTS.name, batch.contents)
    insert(con, schema.GUARDED.name, batch.guarded)
    insert(con, schema.ACTIONS.name, batch.actions)
    insert_new(con, schema.MESSAGES, batch.messages)
    insert_new(con, schema.TOOLSETS, batch.toolsets)
    insert_new(con, schema.ATTRIBUTES, batch.attribute_sets)
    return Settled()
