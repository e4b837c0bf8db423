"""OTLP spans of any dialect into the store: the one way in, for the journal, for trace files and for every other format.

Lines are decoded into typed spans, spans of one shape become columns together, and columns go to DuckDB as Arrow while the next lines
are read. When all is in, `settle` works out what needs the spans around a span: runs, order, duplicates, costs.
"""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Self

import duckdb
import msgspec
import pyarrow as pa

from instrument import semconv
from instrument.otlp import Issue, KeyValue, Resource, Scope, Span, TracesData, plain
from instrument.prices import Prices
from instrument.store import columns, schema
from instrument.store.rows import Context, Extras, Group, Memory, remember
from instrument.store.settle import settle
from instrument.store.shapes import Shape, shape_of


class _LineScope(msgspec.Struct):
    """As `otlp.ScopeSpans`; what is the same line after line stays undecoded."""

    scope: msgspec.Raw = msgspec.Raw(b"{}")
    spans: list[Span] = []


class _LineResource(msgspec.Struct):
    """As `otlp.ResourceSpans`."""

    resource: msgspec.Raw = msgspec.Raw(b"{}")
    scopeSpans: list[_LineScope] = []  # noqa: N815 - the name on the wire


class _Line(msgspec.Struct):
    """As `otlp.TracesData`."""

    resourceSpans: list[_LineResource]  # noqa: N815


_DECODER: Final = msgspec.json.Decoder(_Line)
_RESOURCE: Final = msgspec.json.Decoder(Resource | None)
_SCOPE: Final = msgspec.json.Decoder(Scope | None)
_REFUSED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for JSON it cannot take: broken, not in UTF-8, nested without end."""
_BATCH_SPANS: Final = 16_384
_BATCH_BYTES: Final = 24_000_000
"""Spans or bytes after which what was decoded goes to DuckDB: large enough for its column store, small enough for memory."""
_STAGED_SPANS: Final = 500_000
"""Rows kept in memory before they are settled into the store."""
_SHAPES_REMEMBERED: Final = 20_000
_PAUSE_BYTES: Final = 1_000_000
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
        self._seen = self._bytes = self._new = 0
        self._pending: dict[Any, list[tuple[list[str], list[Span]]]] = {}
        self._count = 0
        self._next_key = con.execute("SELECT coalesce(max(span_key), -1) + 1 FROM spans").fetchall()[0][0]
        self._stage()

    def _stage(self) -> None:
        self._staged: list[pa.Table] = []
        for table in (schema.REQUESTS, schema.RESPONSES):
            self._con.execute(f"CREATE OR REPLACE TEMP TABLE new_{table.name} AS FROM {table.name} LIMIT 0")

    # --- reading ------------------------------------------------------------------------------------------------------

    def add_lines(self, data: bytes, source: str, first_line: int = 1) -> None:
        """Adds whole OTLP JSON lines; `first_line` is the number of the first in its file. Broken ones become issues."""
        with _no_collection(len(data)):
            for number, line in enumerate(data.split(b"\n"), first_line):
                if line:
                    self._add_line(line, source, number)

    def _add_line(self, line: bytes, source: str, number: int) -> None:
        try:
            resources = _DECODER.decode(line).resourceSpans
        except _REFUSED:
            if line.isspace():
                return
            careful = decode_carefully(line)
            if isinstance(careful, str):
                self._broken_line(source, number, careful)
            else:
                self.add(careful, source)
            return
        for resource in resources:
            for scoped in resource.scopeSpans:
                # The bytes are as good a name for the context as what they decode to, and cost nothing.
                known = (source, bytes(resource.resource), bytes(scoped.scope))
                context = self._contexts.get(known)
                if context is None:
                    try:
                        context = self._context(
                            _RESOURCE.decode(resource.resource), _SCOPE.decode(scoped.scope), source
                        )
                    except _REFUSED:
                        context = self._context(None, None, source)
                    remember(self._contexts, known, context, _SHAPES_REMEMBERED)
                self._take(context, scoped.spans)
        self._bytes += len(line)
        if self._count >= _BATCH_SPANS or self._bytes >= _BATCH_BYTES:
            self._flush()

    def add(self, document: TracesData, source: str) -> None:
        """Adds decoded spans, from whatever reader."""
        for resource in document.resourceSpans:
            for scoped in resource.scopeSpans:
                self._take(self._context(resource.resource, scoped.scope, source), scoped.spans)
        if self._count >= _BATCH_SPANS:
            self._flush()

    def add_issue(self, issue: Issue) -> None:
        """Adds something that could not be read."""
        self._issues.append(issue)

    def _broken_line(self, source: str, number: int, problem: str) -> None:
        count = self._broken[source] = self._broken.get(source, 0) + 1
        if count <= _ISSUE_LINES_SHOWN:
            self._issues.append(
                Issue(
                    "broken_line",
                    source,
                    f"the line is no OTLP JSON: {problem[:200]}",
                    "the rest was read; repair or remove the line",
                    line=number,
                )
            )

    def _take(self, context: Context, spans: list[Span]) -> None:
        """Puts spans of one shape together. Comparing names with those of the last such shape is cheaper than hashing them all."""
        pending = self._pending
        for span in spans:
            names = [a.key for a in span.attributes]
            key = (context, len(names), names[0] if names else "", names[-1] if names else "")
            alike = pending.get(key)
            if alike is None:
                alike = pending[key] = []
            for known, group in alike:
                if known == names:
                    group.append(span)
                    break
            else:
                alike.append((names, [span]))
        self._count += len(spans)

    def _context(self, resource: Resource | None, scope: Scope | None, source: str) -> Context:
        values = {a.key: plain(a.value) for a in resource.attributes} if resource is not None else {}
        name, body = scope.name if scope is not None else "", columns.dumps(values)
        known = (source, body, name)
        context = self._contexts.get(known)
        if context is None:
            service = values.get("service.name")
            context = Context(name, service if isinstance(service, str) else None, body, self._source(source))
            remember(self._contexts, known, context, _SHAPES_REMEMBERED)
        return context

    def _source(self, name: str) -> int:
        if name not in self._sources:
            self._wait()
            rows = self._con.execute("SELECT source_key FROM sources WHERE name = ?", [name]).fetchall()
            if not rows:
                rows = self._con.execute(
                    "INSERT INTO sources SELECT coalesce(max(source_key), 0) + 1, ?, NULL FROM sources RETURNING source_key",
                    [name],
                ).fetchall()
            self._sources[name] = rows[0][0]
        return self._sources[name]

    # --- writing ------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Decoded spans to columns, columns to DuckDB in the background."""
        if not self._pending:
            return
        extras = Extras()
        tables = []
        for context, names, spans in [
            (key[0], tuple(names), spans) for key, alike in self._pending.items() for names, spans in alike
        ]:
            kept = self._without_losses(spans, context) if context.scope == semconv.SCOPE else spans
            if kept:
                group = Group(
                    self._shape(context.scope, names), names, context, kept, self._next_key, self._memory, extras
                )
                tables.append(group.table())
                self._next_key += len(kept)
                self._seen += len(kept)
                if group.foreign_ids:
                    self._foreign(context, group.foreign_ids)
        self._pending, self._count, self._bytes = {}, 0, 0
        conversations = self._memory.conversations
        messages = (conversations.keys, conversations.roles, conversations.bodies, conversations.chars)
        conversations.keys, conversations.roles, conversations.bodies, conversations.chars = [], [], [], []
        self._staged += tables
        batch = _Batch(extras, messages)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "flyball-load")
        self._wait()
        self._writing = self._pool.submit(batch.write, self._con)
        if sum(t.num_rows for t in self._staged) >= _STAGED_SPANS:
            self._new += self._settle()

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _settle(self) -> int:
        self._wait()
        staged, self._staged = self._staged, []
        return settle(self._con, pa.concat_tables(staged), self._prices) if staged else 0

    def _shape(self, scope: str, names: tuple[str, ...]) -> Shape:
        found = self._shapes.get((scope, names))
        if found is None:
            found = shape_of(scope, names)
            remember(self._shapes, (scope, names), found, _SHAPES_REMEMBERED)
        return found

    def _foreign(self, context: Context, count: int) -> None:
        source = next((name for name, key in self._sources.items() if key == context.source_key), "")
        self._issues.append(
            Issue(
                "foreign_id",
                source,
                "ids were spelled in no OTLP way; others were derived from them",
                "nothing to do, if the trace looks right",
                count=count,
                error=False,
            )
        )

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
            self._issues.append(
                Issue(
                    "lost_spans",
                    source,
                    f"spans could not be recorded: {reason}",
                    "free the disk or make the folder writable; findings of that time may be missing",
                    count=lost,
                )
            )
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
                self._issues.append(
                    Issue(
                        "broken_line",
                        source,
                        "further lines are no OTLP JSON",
                        "the rest was read; repair or remove them",
                        count=count - _ISSUE_LINES_SHOWN,
                    )
                )
        new, self._new = self._new + self._settle(), 0
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


@contextlib.contextmanager
def _no_collection(size: int) -> Iterator[None]:
    """No garbage collection while a large piece is read: millions of new objects, none of them in a circle."""
    pause = size > _PAUSE_BYTES and gc.isenabled()
    if pause:
        gc.disable()
    try:
        yield
    finally:
        if pause:
            gc.enable()


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows of one flush, written by the background thread."""

    extras: Extras
    messages: tuple[list[int], list[str], list[str], list[int]]

    def write(self, con: duckdb.DuckDBPyConnection) -> None:
        extras = self.extras
        _insert_rows(con, schema.CONTENTS, extras.contents)
        _insert_rows(con, schema.REQUESTS, extras.requests, into="new_tool_requests")
        _insert_rows(con, schema.RESPONSES, extras.responses, into="new_tool_responses")
        _insert_new(con, schema.MESSAGES, list(zip(*self.messages, strict=True)) if self.messages[0] else [])
        _insert_new(con, schema.TOOLSETS, extras.toolsets)
        _insert_new(con, schema.ATTRIBUTES, extras.attribute_sets)


_ARROW: Final = {
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "VARCHAR": pa.string(),
    "UBIGINT": pa.uint64(),
    "BOOLEAN": pa.bool_(),
    "UBIGINT[]": pa.list_(pa.uint64()),
    "VARCHAR[]": pa.list_(pa.string()),
    "VARIANT": pa.string(),
}


def _arrow(table: schema.Table, rows: list[tuple[Any, ...]]) -> pa.Table:
    by_column = list(zip(*rows, strict=True))
    return pa.table(
        [pa.array(values, _ARROW[c.type]) for c, values in zip(table.columns, by_column, strict=True)],
        names=[c.name for c in table.columns],
    )


def _insert(con: duckdb.DuckDBPyConnection, into: str, rows: pa.Table, select: str = "*", where: str = "") -> None:
    con.register("flyball_incoming", rows)
    try:
        con.execute(f"INSERT INTO {into} SELECT {select} FROM flyball_incoming {where}")
    finally:
        con.unregister("flyball_incoming")


def _insert_rows(
    con: duckdb.DuckDBPyConnection, table: schema.Table, rows: list[tuple[Any, ...]], into: str | None = None
) -> None:
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
    _insert_rows(
        con, schema.ISSUES, [(i.kind, i.source, i.line, i.count, i.message, i.remedy, i.error) for i in issues]
    )


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


_WIRE: Final = {f.encode_name for cls in (TracesData, Span, KeyValue, Scope) for f in msgspec.structs.fields(cls)} | {
    "scopeSpans",
    "stringValue",
    "intValue",
    "doubleValue",
    "boolValue",
    "arrayValue",
    "kvlistValue",
    "bytesValue",
    "timeUnixNano",
}
_SNAKE: Final = {"".join("_" + c.lower() if c.isupper() else c for c in name): name for name in _WIRE}


def _camel(name: str) -> str:
    name = name.encode("utf-8", "replace").decode()
    return (
        "scopeSpans"
        if name in ("instrumentationLibrarySpans", "instrumentation_library_spans")
        else _SNAKE.get(name, name)
    )
