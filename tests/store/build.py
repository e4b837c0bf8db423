"""Spans for the tests of the store: small, with readable ids."""

from __future__ import annotations

from typing import Any

import duckdb
import orjson

from instrument import semconv
from instrument.otlp import Event, ResourceSpans, Scope, ScopeSpans, Span, Status, TracesData, attributes
from instrument.store.connect import in_memory
from instrument.store.load import Loader

START_NS = 1_790_000_000_000_000_000
SECOND_NS = 1_000_000_000


def span_id(name: str | int) -> str:
    """A span id one can recognise: "a" is 61 and then zeros."""
    return f"{name:016x}" if isinstance(name, int) else name.encode().hex()[:16].ljust(16, "0")


def trace_id(name: str) -> str:
    return name.encode().hex()[:32].ljust(32, "0")


def span(
    name: str,
    *,
    trace: str = "t",
    parent: str | None = None,
    at: float = 0,
    lasts: float | None = 1,
    error: str | None = None,
    events: list[Event] | None = None,
    **attrs: Any,
) -> Span:
    """A span named and identified by `name`, `at` seconds after the start; dots in attribute names are written `__`."""
    start = START_NS + int(at * SECOND_NS)
    return Span(
        traceId=trace_id(trace),
        spanId=span_id(name),
        parentSpanId=span_id(parent) if parent else "",
        name=name,
        startTimeUnixNano=str(start),
        endTimeUnixNano=str(start + int(lasts * SECOND_NS)) if lasts is not None else "0",
        attributes=attributes({k.replace("__", "."): v for k, v in attrs.items()}),
        status=Status(code=2, message=error) if error is not None else None,
        events=events or [],
    )


def agent(name: str, **more: Any) -> Span:
    return span(name, **{"gen_ai__operation__name": "invoke_agent", "gen_ai__agent__name": name, **more})


def model(name: str, **more: Any) -> Span:
    defaults = {
        "gen_ai__operation__name": "chat",
        "gen_ai__provider__name": "anthropic",
        "gen_ai__request__model": "claude-sonnet-4-5",
        "gen_ai__usage__input_tokens": 1000,
        "gen_ai__usage__output_tokens": 100,
    }
    return span(name, **{**defaults, **more})


def tool(name: str, tool_name: str = "search", **more: Any) -> Span:
    return span(name, **{"gen_ai__operation__name": "execute_tool", "gen_ai__tool__name": tool_name, **more})


def answer(*calls: tuple[str, str, Any], text: str | None = None) -> str:
    """`gen_ai.output.messages` with tool calls (id, name, arguments)."""
    parts: list[Any] = [{"type": "text", "content": text}] if text else []
    parts += [{"type": "tool_call", "id": i, "name": n, "arguments": a} for i, n, a in calls]
    return orjson.dumps([{"role": "assistant", "parts": parts}]).decode()


def document(*spans: Span, scope: str = semconv.SCOPE, service: str = "test") -> TracesData:
    from instrument.otlp import Resource

    return TracesData(
        [ResourceSpans(Resource(attributes({"service.name": service})), [ScopeSpans(Scope(scope), list(spans))])]
    )


def loaded(*documents: TracesData, each_alone: bool = False) -> duckdb.DuckDBPyConnection:
    """A store with the documents in it; `each_alone` settles after each."""
    con = in_memory()
    with Loader(con) as loader:
        for one in documents:
            loader.add(one, "test")
            if each_alone:
                loader.finish()
        loader.finish()
    return con


def rows(con: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    return con.execute(sql).fetchall()
