"""Lines and documents to batches of rows. Knows no database: what a worker process does, and what `Loader` does by itself."""

from __future__ import annotations

import contextlib
import gc
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

import pyarrow as pa

from instrument import semconv
from instrument.otlp import Issue, KeyValue, Resource, Scope, Span, TracesData, plain
from instrument.store import columns, schema
from instrument.store.group import Context, Group, Source
from instrument.store.insert import arrow
from instrument.store.lines import Line, decode, encoded, resource_and_scope, writable
from instrument.store.memory import Memory, remember
from instrument.store.rows import rows_of
from instrument.store.shapes import Shape, shape_of
from instrument.store.stage import Extras
from instrument.store.tool_content import leave_out_repeats

_GROUPED_SPANS: Final = 2_048
"""Spans that become columns together: what is decoded should still be in the processor's cache."""
_BATCH_SPANS: Final = 16_384
_BATCH_BYTES: Final = 24_000_000
"""Spans or bytes after which a batch is complete: large enough for DuckDB's column store, small enough for memory."""
_CONTEXTS_REMEMBERED: Final = 20_000
_PAUSE_BYTES: Final = 1_000_000
_ISSUE_LINES_SHOWN: Final = 20
"""Broken lines reported one by one per source; the rest are counted together."""
_ATTRIBUTES: Final = attrgetter("attributes")
_KEY: Final = attrgetter("key")


_Undecoded = tuple[bytes, bytes]
"""Resource and scope as they stand in the line: names a context without decoding it."""
Positions = list[tuple[KeyValue, ...]]
"""Attributes of spans with the same names: for each name those of all spans."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows for the tables of the store: `spans` with the columns of `stage.STAGE`, the others with those of the schema."""

    spans: pa.Table
    contents: pa.Table
    requests: pa.Table
    responses: pa.Table
    messages: pa.Table
    toolsets: pa.Table
    attribute_sets: pa.Table
    guarded: pa.Table
    actions: pa.Table


@dataclass
class Reader:
    """Collects spans; `batches` are the complete ones. Spans are numbered from `next_key`."""

    next_key: int = 0
    seen: int = 0
    issues: list[Issue] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    _memory: Memory = field(default_factory=Memory)
    _extras: Extras = field(default_factory=Extras)
    _shapes: dict[tuple[str, tuple[str, ...]], Shape] = field(default_factory=dict)
    _contexts: dict[Any, Context] = field(default_factory=dict)
    _waiting: dict[tuple[Source, Context | _Undecoded], list[Span]] = field(default_factory=dict)
    _count: int = 0
    """Spans that wait."""
    _tables: list[pa.Table] = field(default_factory=list)
    _bytes: int = 0
    _held: int = 0
    """Bytes of decoded spans that wait: a request repeats the whole history."""
    _broken: dict[str, int] = field(default_factory=dict)
    _clipped: Counter[str] = field(default_factory=Counter)

    def add_lines(self, data: bytes, source: Source, first_line: int) -> None:
        """Adds whole OTLP JSON lines of `source` (key and name); `first_line` is the number of the first. Broken ones become issues."""
        with _no_collection(len(data)):
            for found in decode(data, first_line):
                if isinstance(found, list):
                    self._add_decoded(found, source)
                elif isinstance(found, TracesData):
                    self.add(found, source)
                else:
                    self._broken_line(source[1], *found)
        self._bytes += len(data)
        if self._bytes >= _BATCH_BYTES:
            self.flush()

    def _add_decoded(self, lines: list[Line], source: Source) -> None:
        waiting = self._waiting
        for line in lines:
            for resource in line.resourceSpans:
                for scoped in resource.scopeSpans:
                    # The bytes are as good a name for the context as what they decode to, and cost nothing.
                    name = (source, (bytes(resource.resource), bytes(scoped.scope)))
                    spans = waiting.get(name)
                    if spans is None:
                        spans = waiting[name] = []
                    spans += scoped.spans
                    self._count += len(scoped.spans)
        self._limit()

    def add(self, document: TracesData, source: Source) -> None:
        """Adds decoded spans, from whatever reader. Raises RecursionError where they are nested without end."""
        document, size = writable(document)
        for resource in document.resourceSpans:
            for scoped in resource.scopeSpans:
                name = (source, self._known(resource.resource, scoped.scope))
                self._waiting.setdefault(name, []).extend(scoped.spans)
                self._count += len(scoped.spans)
        self._held += size
        self._bytes += size
        self._limit()

    def _known(self, resource: Resource | None, scope: Scope | None) -> Context:
        written = encoded((resource, scope))  # what it is made of is mostly what the last one was made of
        context = self._contexts.get(written)
        if context is None:
            context = self._context(resource, scope)
            remember(self._contexts, written, context, _CONTEXTS_REMEMBERED)
        return context

    def _undecoded(self, name: _Undecoded) -> Context:
        context = self._contexts.get(name)
        if context is None:
            context = self._context(*resource_and_scope(*name))
            remember(self._contexts, name, context, _CONTEXTS_REMEMBERED)
        return context

    def _context(self, resource: Resource | None, scope: Scope | None, whole: bool = True) -> Context:
        values = {a.key: plain(a.value) for a in resource.attributes} if resource is not None else {}
        name, body = scope.name if scope is not None else "", columns.dumps(values)
        context = self._contexts.get((body, name, whole))
        if context is None:
            service = values.get("service.name")
            context = Context(name, service if isinstance(service, str) else None, body, whole)
            remember(self._contexts, (body, name, whole), context, _CONTEXTS_REMEMBERED)
        return context

    def _limit(self) -> None:
        if self._held >= _BATCH_BYTES or self._count >= _GROUPED_SPANS:
            self._to_columns()
        if self._bytes >= _BATCH_BYTES or sum(t.num_rows for t in self._tables) >= _BATCH_SPANS:
            self.flush()

    def _to_columns(self) -> None:
        parts: dict[tuple[Context, tuple[str, ...]], list[tuple[Source, list[Span]]]] = {}
        waiting_by, self._waiting, self._count, self._held = self._waiting, {}, 0, 0
        for (source, name), waiting in waiting_by.items():
            context = name if isinstance(name, Context) else self._undecoded(name)
            if not context.whole:
                self.issues.append(_unnamed(source[1], len(waiting)))
            spans = self._without_losses(waiting, source[1]) if context.scope == semconv.SCOPE else waiting
            for names, part in alike(spans):
                parts.setdefault((context, names), []).append((source, part))
        for (context, names), found in parts.items():
            self._group(context, names, found)

    def _group(self, context: Context, names: tuple[str, ...], found: list[tuple[Source, list[Span]]]) -> None:
        """Columns of spans that are alike, from whatever sources: a table made of few of them costs as much as one of thousands."""
        spans = [span for _, part in found for span in part]
        sources = [source for source, part in found for _ in part]
        shape = self._shapes.get((context.scope, names))
        if shape is None:
            shape = shape_of(context.scope, names)
            remember(self._shapes, (context.scope, names), shape, _CONTEXTS_REMEMBERED)
        by_position = _by_position(spans)
        group = Group(shape, names, context, spans, sources, by_position, self.next_key, self._memory, self._extras)
        self._tables.append(rows_of(group))
        self.next_key += len(spans)
        self.seen += len(spans)
        self._clipped.update(sources[row][1] for row in group.clipped)
        foreign = Counter(sources[row][1] for row in group.foreign_ids)
        self.issues += (_foreign(source, count) for source, count in foreign.items())

    def flush(self) -> None:
        """Completes a batch of what is there."""
        self._to_columns()
        if not self._tables:
            return
        extras, self._extras = self._extras, Extras()
        leave_out_repeats(self._memory, extras)
        batch = Batch(
            pa.concat_tables(self._tables).combine_chunks(),  # DuckDB and Arrow take many small pieces slowly
            arrow(schema.CONTENTS, extras.contents),
            arrow(schema.REQUESTS, extras.requests),
            arrow(schema.RESPONSES, extras.responses),
            arrow(schema.MESSAGES, self._memory.conversations.fresh()),
            arrow(schema.TOOLSETS, extras.toolsets),
            arrow(schema.ATTRIBUTES, extras.attribute_sets),
            arrow(schema.GUARDED, extras.guarded),
            arrow(schema.ACTIONS, extras.actions),
        )
        self._tables, self._bytes = [], 0
        self.batches.append(batch)

    def take_issues(self) -> list[Issue]:
        """What could not be read since the last time."""
        for source, count in self._broken.items():
            if count > _ISSUE_LINES_SHOWN:
                self.issues.append(_broken_lines(source, count - _ISSUE_LINES_SHOWN))
        self.issues += (_cut(source, count) for source, count in self._clipped.items())
        issues, self.issues, self._broken, self._clipped = self.issues, [], {}, Counter()
        return [writable(issue)[0] for issue in issues]

    def _broken_line(self, source: str, number: int, problem: str) -> None:
        count = self._broken[source] = self._broken.get(source, 0) + 1
        if count <= _ISSUE_LINES_SHOWN:
            message = f"the line is no OTLP JSON: {problem[:200]}"
            remedy = "the rest was read; repair or remove the line"
            self.issues.append(Issue("broken_line", source, message, remedy, line=number))

    def _without_losses(self, spans: list[Span], source: str) -> list[Span]:
        """Our recorder's reports of lost spans become issues."""
        self.issues += (_loss(span, source) for span in spans if span.name == semconv.LOSS_SPAN)
        return [span for span in spans if span.name != semconv.LOSS_SPAN]


def alike(spans: list[Span]) -> Iterator[tuple[tuple[str, ...], list[Span]]]:
    """`spans` parted by the names of their attributes: the names and the spans.

    Comparing whole columns of names is cheaper than hashing the names of each span.
    """
    by_count: dict[int, list[Span]] = {}
    for span in spans:
        by_count.setdefault(len(span.attributes), []).append(span)
    for group in by_count.values():
        names = tuple(a.key for a in group[0].attributes)
        count = len(group)
        if all(list(map(_KEY, c)).count(name) == count for name, c in zip(names, _by_position(group), strict=True)):
            yield names, group
        else:
            yield from _by_names(group).items()


def _by_position(spans: list[Span]) -> Positions:
    return list(zip(*map(_ATTRIBUTES, spans), strict=True))


def _by_names(spans: list[Span]) -> dict[tuple[str, ...], list[Span]]:
    parts: dict[tuple[str, ...], list[Span]] = {}
    for span in spans:
        parts.setdefault(tuple(map(_KEY, span.attributes)), []).append(span)
    return parts


def _loss(span: Span, source: str) -> Issue:
    facts = {a.key: plain(a.value) for a in span.attributes}
    message = f"spans could not be recorded: {facts.get(semconv.LOST_REASON) or 'unknown reason'}"
    remedy = "free the disk or make the folder writable; findings of that time may be missing"
    lost = columns.int_of(facts.get(semconv.LOST_SPANS)) or 0
    return Issue("lost_spans", source, message, remedy, count=lost)


def _unnamed(source: str, count: int) -> Issue:
    message = "the resource or the library that spans name is not as OTLP has it, and was left out"
    remedy = "the spans were read; look at how the file was written or changed"
    return Issue("odd_record", source, message, remedy, count=count, error=False)


def _foreign(source: str, count: int) -> Issue:
    message = "ids were spelled in no OTLP way; others were derived from them"
    return Issue("foreign_id", source, message, "nothing to do, if the trace looks right", count=count, error=False)


def _cut(source: str, count: int) -> Issue:
    message = "content of spans was cut off, or attributes were dropped, before it was written"
    remedy = "raise OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT and OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT where the spans are made"
    return Issue("clipped", source, message, remedy, count=count, error=False)


def _broken_lines(source: str, count: int) -> Issue:
    remedy = "the rest was read; repair or remove them"
    return Issue("broken_line", source, "further lines are no OTLP JSON", remedy, count=count)


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
