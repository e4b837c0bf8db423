"""OTLP spans of any dialect into the store: the one way in, for the journal, for trace files and for every other format.

Lines are decoded into typed spans, spans of one shape become columns together, and columns go to DuckDB as Arrow while the next lines
are read. When all is in, `settle` works out what needs the spans around a span: runs, order, duplicates, costs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Self

import duckdb
import msgspec
import pyarrow as pa

from instrument import semconv
from instrument.otlp import Issue, KeyValue, Scope, Span, TracesData, plain
from instrument.prices import Prices
from instrument.store import columns, schema
from instrument.store.rows import STAGE, Context, Extras, Group, Memory
from instrument.store.settle import settle
from instrument.store.shapes import Shape, shape_of

_DECODER: Final = msgspec.json.Decoder(TracesData)
_BATCH_SPANS: Final = 16_384
_BATCH_BYTES: Final = 24_000_000
"""Spans or bytes after which what was decoded goes to DuckDB: large enough for its column store, small enough for memory."""
_SHAPES_REMEMBERED: Final = 20_000
_ISSUE_LINES_SHOWN: Final = 20
"""Broken lines reported one by one per source; the rest are counted together."""


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

    The caller owns the transaction; `finish` may be followed by further loads with the same loader. Raises `duckdb.Error` where
    the database cannot be written; what cannot be read becomes an issue instead.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, *, prices: Prices | None = None) -> None:
        self._con = con
        self._prices = prices or Prices()
        self._memory = Memory()
        self._shapes: dict[tuple[str, tuple[str, ...]], Shape] = {}
        self._sources: dict[str, int] = {}
        self._contexts: dict[Any, Context] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self._broken: dict[str, int] = {}
        self._issues: list[Issue] = []
        self._seen = self._bytes = 0
        self._pending: dict[tuple[Context, tuple[str, ...]], list[Span]] = {}
        self._count = 0
        row = con.execute("SELECT coalesce(max(span_key), -1) + 1 FROM spans").fetchone()
        self._next_key = row[0] if row else 0
        self._stage()

    def _stage(self) -> None:
        names = {pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.int32(): "INTEGER", pa.uint64(): "UBIGINT", pa.bool_(): "BOOLEAN", pa.float64(): "DOUBLE"}
        body = ", ".join(f"{name} {names[dtype]}" for name, dtype in STAGE.items())
        self._con.execute(f"CREATE OR REPLACE TEMP TABLE stage ({body})")
        for table in (schema.REQUESTS, schema.RESPONSES):
            self._con.execute(f"CREATE OR REPLACE TEMP TABLE new_{table.name} AS FROM {table.name} LIMIT 0")

    # --- reading ------------------------------------------------------------------------------------------------------

    def add_lines(self, data: bytes, source: str, first_line: int = 1) -> None:
        """Adds whole OTLP JSON lines; `first_line` is the number of the first in its file. Broken ones become issues."""
        for number, line in enumerate(data.split(b"\n"), first_line):
            if not line or line.isspace():
                continue
            try:
                document = _DECODER.decode(line)
            except msgspec.DecodeError as e:
                careful = decode_carefully(line)
                if isinstance(careful, str):
                    self._broken_line(source, number, careful or str(e))
                    continue
                document = careful
            self._bytes += len(line)
            self._take(document, source)

    def add(self, document: TracesData, source: str) -> None:
        """Adds decoded spans, from whatever reader."""
        self._take(document, source)

    def add_issue(self, issue: Issue) -> None:
        """Adds something that could not be read."""
        self._issues.append(issue)

    def _broken_line(self, source: str, number: int, problem: str) -> None:
        count = self._broken[source] = self._broken.get(source, 0) + 1
        if count <= _ISSUE_LINES_SHOWN:
            self._issues.append(Issue("broken_line", source, f"the line is no OTLP JSON: {problem[:200]}", "the rest was read; repair or remove the line", line=number))

    def _take(self, document: TracesData, source: str) -> None:
        pending = self._pending
        for resource in document.resourceSpans:
            attributes = resource.resource.attributes if resource.resource is not None else []
            for scoped in resource.scopeSpans:
                context = self._context(attributes, scoped.scope, source)
                for span in scoped.spans:
                    key = (context, tuple([a.key for a in span.attributes]))
                    group = pending.get(key)
                    if group is None:
                        pending[key] = [span]
                    else:
                        group.append(span)
                self._count += len(scoped.spans)
        if self._count >= _BATCH_SPANS or self._bytes >= _BATCH_BYTES:
            self._flush()

    def _context(self, attributes: list[KeyValue], scope: Scope | None, source: str) -> Context:
        name = scope.name if scope is not None else ""
        try:
            signature: Any = (source, name, tuple([(a.key, a.value.stringValue, a.value.intValue) for a in attributes]))  # type: ignore[union-attr]
            found = self._contexts.get(signature)
        except AttributeError:
            signature = found = None
        if found is None:
            values = {a.key: plain(a.value) for a in attributes}
            service = values.get("service.name")
            found = Context(name, service if isinstance(service, str) else None, columns.dumps(values), self._source(source))
            if signature is not None:
                if len(self._contexts) > _SHAPES_REMEMBERED:
                    self._contexts.clear()
                self._contexts[signature] = found
        return found

    def _source(self, name: str) -> int:
        if name not in self._sources:
            row = self._con.execute("SELECT source_key FROM sources WHERE name = ?", [name]).fetchone()
            if row is None:
                self._wait()
                row = self._con.execute(
                    "INSERT INTO sources SELECT coalesce(max(source_key), 0) + 1, ?, NULL FROM sources RETURNING source_key", [name]
                ).fetchone()
            assert row is not None
            self._sources[name] = row[0]
        return self._sources[name]

    # --- writing ------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Decoded spans to columns, columns to DuckDB in the background."""
        if not self._pending:
            return
        extras = Extras()
        tables = []
        for (context, names), spans in self._pending.items():
            kept = self._without_losses(spans, context) if context.scope == semconv.SCOPE else spans
            if kept:
                group = Group(self._shape(context.scope, names), names, context, kept, self._next_key, self._memory, extras)
                tables.append(group.table())
                self._next_key += len(kept)
                self._seen += len(kept)
                if group.foreign_ids:
                    self._foreign(context, group.foreign_ids)
        self._pending, self._count, self._bytes = {}, 0, 0
        conversations = self._memory.conversations
        messages = (conversations.keys, conversations.roles, conversations.bodies, conversations.chars)
        conversations.keys, conversations.roles, conversations.bodies, conversations.chars = [], [], [], []
        batch = _Batch(tables, extras, messages)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "flyball-load")
        self._wait()
        self._writing = self._pool.submit(batch.write, self._con)

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _shape(self, scope: str, names: tuple[str, ...]) -> Shape:
        found = self._shapes.get((scope, names))
        if found is None:
            if len(self._shapes) >= _SHAPES_REMEMBERED:
                self._shapes.clear()
            found = self._shapes[scope, names] = shape_of(scope, names)
        return found

    def _foreign(self, context: Context, count: int) -> None:
        source = next((name for name, key in self._sources.items() if key == context.source_key), "")
        self._issues.append(Issue("foreign_id", source, "ids were spelled in no OTLP way; others were derived from them", "nothing to do, if the trace looks right", count=count, error=False))

    def _without_losses(self, spans: list[Span], context: Context) -> list[Span]:
        kept = []
        for span in spans:
            if span.name != semconv.LOSS_SPAN:
                kept.append(span)
                continue
            facts = {a.key: plain(a.value) for a in span.attributes}
            lost = columns.int_of(facts.get(semconv.LOST_SPANS)) or 0
            source = next((name for name, key in self._sources.items() if key == context.source_key), "")
            reason = str(facts.get(semconv.LOST_REASON) or "unknown reason")
            self._issues.append(Issue("lost_spans", source, f"spans could not be recorded: {reason}", "free the disk or make the folder writable; findings of that time may be missing", count=lost))
        return kept

    def finish(self) -> Loaded:
        """Writes what is left and settles it. Returns what this load brought."""
        self._flush()
        self._wait()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        for source, count in self._broken.items():
            if count > _ISSUE_LINES_SHOWN:
                self._issues.append(Issue("broken_line", source, "further lines are no OTLP JSON", "the rest was read; repair or remove them", count=count - _ISSUE_LINES_SHOWN))
        new = settle(self._con, self._prices)
        issues = len(self._issues)
        write_issues(self._con, self._issues)
        loaded = Loaded(new, self._seen, issues)
        self._seen, self._issues, self._broken = 0, [], {}
        self._stage()
        return loaded

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows of one flush, written by the background thread."""

    tables: list[pa.Table]
    extras: Extras
    messages: tuple[list[int], list[str], list[str], list[int]]

    def write(self, con: duckdb.DuckDBPyConnection) -> None:
        if self.tables:
            _insert(con, "stage", pa.concat_tables(self.tables))
        extras = self.extras
        _insert_rows(con, schema.CONTENTS, extras.contents)
        _insert_rows(con, schema.REQUESTS, extras.requests, into="new_tool_requests")
        _insert_rows(con, schema.RESPONSES, extras.responses, into="new_tool_responses")
        _insert_new(con, schema.MESSAGES, list(zip(*self.messages, strict=True)) if self.messages[0] else [])
        _insert_new(con, schema.TOOLSETS, extras.toolsets)
        _insert_new(con, schema.ATTRIBUTES, extras.attribute_sets)


_ARROW: Final = {"BIGINT": pa.int64(), "INTEGER": pa.int32(), "VARCHAR": pa.string(), "UBIGINT": pa.uint64(), "BOOLEAN": pa.bool_(), "UBIGINT[]": pa.list_(pa.uint64()), "VARCHAR[]": pa.list_(pa.string()), "VARIANT": pa.string()}


def _arrow(table: schema.Table, rows: list[tuple[Any, ...]]) -> pa.Table:
    by_column = list(zip(*rows, strict=True))
    return pa.table([pa.array(values, _ARROW[c.type]) for c, values in zip(table.columns, by_column, strict=True)], names=[c.name for c in table.columns])


def _insert(con: duckdb.DuckDBPyConnection, into: str, rows: pa.Table, select: str = "*", where: str = "") -> None:
    con.register("flyball_incoming", rows)
    try:
        con.execute(f"INSERT INTO {into} SELECT {select} FROM flyball_incoming {where}")
    finally:
        con.unregister("flyball_incoming")


def _insert_rows(con: duckdb.DuckDBPyConnection, table: schema.Table, rows: list[tuple[Any, ...]], into: str | None = None) -> None:
    if rows:
        _insert(con, into or table.name, _arrow(table, rows))


def _insert_new(con: duckdb.DuckDBPyConnection, table: schema.Table, rows: list[tuple[Any, ...]]) -> None:
    """Rows whose key is not in the table yet; the first column is the key."""
    if not rows:
        return
    key = table.columns[0].name
    distinct = list({row[0]: row for row in rows}.values())
    select = ", ".join(f"{c.name}::JSON::VARIANT" if c.type == "VARIANT" else c.name for c in table.columns)
    _insert(con, table.name, _arrow(table, distinct), select, f"WHERE {key} NOT IN (SELECT {key} FROM {table.name})")


def write_issues(con: duckdb.DuckDBPyConnection, issues: Iterable[Issue]) -> None:
    """Adds issues to the database."""
    _insert_rows(con, schema.ISSUES, [(i.kind, i.source, i.line, i.count, i.message, i.remedy, i.error) for i in issues])


def decode_carefully(line: bytes) -> TracesData | str:
    """A line that the strict decoder refuses: lone surrogates, other encodings of text, wrong types in single fields.

    Returns the document, or in words why there is none.
    """
    try:
        value = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as e:
        return str(e)
    if not isinstance(value, dict) or not ("resourceSpans" in value or "resource_spans" in value):
        found = ", ".join(sorted(map(str, value))[:5]) if isinstance(value, dict) else type(value).__name__
        return f"it has no resourceSpans but {found or 'nothing'}"
    try:
        return msgspec.convert(_mended(value), TracesData, strict=False)
    except (msgspec.ValidationError, RecursionError) as e:
        return str(e)


def _mended(value: Any) -> Any:
    """Lone surrogates replaced, snake_case names (protobuf's JSON with original names) as OTLP spells them, null lists left out."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_mended(v) for v in value]
    if isinstance(value, dict):
        return {_camel(str(k)): _mended(v) for k, v in value.items() if v is not None}
    return value


_WIRE: Final = {
    f.encode_name
    for cls in (TracesData, Span, KeyValue, Scope)
    for f in msgspec.structs.fields(cls)
} | {"scopeSpans", "stringValue", "intValue", "doubleValue", "boolValue", "arrayValue", "kvlistValue", "bytesValue", "timeUnixNano"}
_SNAKE: Final = {"".join("_" + c.lower() if c.isupper() else c for c in name): name for name in _WIRE}


def _camel(name: str) -> str:
    name = name.encode("utf-8", "replace").decode()
    return "scopeSpans" if name in ("instrumentationLibrarySpans", "instrumentation_library_spans") else _SNAKE.get(name, name)
