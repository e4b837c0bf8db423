"""What mutated inputs are made from: every trace file there is, cut down to a few kilobytes that are still of its format."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from analyzer.readers.archives import opener
from analyzer.readers.formats import format_of
from analyzer.readers.parquet import is_parquet
from analyzer.readers.streams import HEAD

ROOT: Final = Path(__file__).parents[2]
PLACES: Final = (ROOT / "tests" / "data", ROOT / "sample_traces", ROOT.parent / "shared" / "traces")
"""Folders of traces; the last is not part of the project, and its absence costs variety only."""
_LONGEST_FILE: Final = 16 << 20
_SEED_BYTES: Final = 6_000
_LEVELS_OF_CUTTING: Final = ((8, 300), (4, 120), (3, 60), (2, 24))
"""Entries of each list and characters of each text that are kept, tried in this order until the seed is small."""

_PYTHON_SPAN: Final[dict[str, Any]] = {
    "name": "chat claude-sonnet-4-5",
    "context": {"trace_id": f"0x{7:032x}", "span_id": f"0x{8:016x}", "trace_state": "[]"},
    "kind": "SpanKind.CLIENT",
    "parent_id": None,
    "start_time": "2026-02-03T15:20:00.598000Z",
    "end_time": "2026-02-03T15:20:05.000000Z",
    "status": {"status_code": "ERROR", "description": "boom"},
    "attributes": {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5, "list": ["a", 1]},
    "events": [
        {"name": "exception", "timestamp": "2026-02-03T15:20:01.000000Z", "attributes": {"exception.type": "E"}}
    ],
    "links": [],
    "resource": {"attributes": {"service.name": "bot"}, "schema_url": ""},
}
"""As `span.to_json()` of OpenTelemetry's SDK writes it."""


@dataclass(frozen=True, slots=True)
class Seed:
    """One small input of a known format."""

    form: str
    """The name of the format; "container" for archives and Parquet, "none" for what no reader takes."""
    data: bytes
    value: Any = None
    """What `data` says, where it is JSON: a document, or the list of its lines."""
    of_lines: bool = False


def seeds(places: tuple[Path, ...] = PLACES, *, made: bool = True) -> list[Seed]:
    """Seeds out of all files in `places`, in the order of their paths, and (`made`) those written for the tests. No two are equal."""
    found: dict[bytes, Seed] = {}
    for place in places:
        for path in sorted(place.rglob("*")):
            if path.is_file() and path.stat().st_size <= _LONGEST_FILE:
                for seed in _of_content(path.read_bytes()):
                    found.setdefault(seed.data, seed)
    for seed in _made() if made else ():
        found.setdefault(seed.data, seed)
    return list(found.values())


def of_values(value: Any, *, of_lines: bool) -> bytes:
    """A seed's value as a file."""
    if of_lines and isinstance(value, list):
        return b"".join(orjson.dumps(v, option=orjson.OPT_APPEND_NEWLINE) for v in value)
    return orjson.dumps(value)


def _of_content(data: bytes) -> Iterator[Seed]:
    if data[:4] == b"PK\x03\x04":
        yield from _of_zip(data)
    elif opener(data[:HEAD]) is not None or is_parquet(data[:HEAD]):
        yield Seed("container", data[: _SEED_BYTES * 8])
    else:
        yield _of_text(data)


def _of_zip(data: bytes) -> Iterator[Seed]:
    small = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(small, "w") as out:
        for name in archive.namelist()[:12]:
            seed = _of_text(archive.read(name))
            out.writestr(name, seed.data)
            yield seed
    yield Seed("container", small.getvalue())


def _of_text(data: bytes) -> Seed:
    value, of_lines = _parsed(data)
    if value is None:
        return Seed(_form(data[:_SEED_BYTES]), data[:_SEED_BYTES])
    form, best = _form(data), None
    for entries, chars in _LEVELS_OF_CUTTING:
        cut = _cut(value, entries, chars)
        made = of_values(cut, of_lines=of_lines)
        if _form(made) != form:
            break
        best = Seed(form, made, cut, of_lines)
        if len(made) <= _SEED_BYTES:
            break
    return best or Seed(form, data[:_SEED_BYTES])


def _parsed(data: bytes) -> tuple[Any, bool]:
    """The document, or the list of the lines, and which of both; None where it is neither."""
    try:
        return orjson.loads(data), False
    except ValueError:
        pass
    try:
        return [orjson.loads(line) for line in data.split(b"\n") if line.strip()], True
    except ValueError:
        return None, False


def _cut(value: Any, entries: int, chars: int) -> Any:
    if isinstance(value, str):
        return value[:chars]
    if isinstance(value, list):
        kept = value if len(value) <= entries else [*value[: entries - 1], value[-1]]
        return [_cut(v, entries, chars) for v in kept]
    if isinstance(value, dict):
        return {k: _cut(v, entries, chars) for k, v in list(value.items())[: 8 * entries]}
    return value


def _form(data: bytes) -> str:
    found = format_of(data[:HEAD], binary=True) or format_of(data[:HEAD])
    return found.name if found is not None else "none"


def _made() -> Iterator[Seed]:
    """What the tests of formats hold that no public file shows: OTLP in protobuf, log events, exports of every layout."""
    sys.path.append(str(ROOT / "tests"))
    from small_agent_logs import SMALL
    from small_agent_logs_more import MORE, more_as_text
    from small_exports import COLUMNS, FLAT, LANGFUSE, LOGS, RECORD, TREE
    from small_products import (
        APP_INSIGHTS,
        BRAINTRUST,
        DATADOG,
        LANGSMITH,
        MLFLOW,
        OPENAI_TRACES,
        WEAVE,
        ZIPKIN,
        mlflow_3,
    )
    from test_readers_parquet import OURS, parquet
    from test_readers_protobuf import FULL, logs_message, message, with_four_bytes, with_varints

    for text in (*SMALL.values(), *map(more_as_text, MORE)):
        yield _of_text(text.encode())
    products = (APP_INSIGHTS, BRAINTRUST, DATADOG, LANGSMITH, MLFLOW, OPENAI_TRACES, WEAVE, ZIPKIN, mlflow_3())
    for value in (COLUMNS, FLAT, LANGFUSE, LOGS, RECORD, TREE, *products):
        yield _of_text(json.dumps(value).encode())
    spans = [FULL, {**FULL, "spanId": "00f067aa0ba902b0", "parentSpanId": ""}]
    document = {"resourceSpans": [{"scopeSpans": [{"scope": {"name": "test"}, "spans": spans}]}]}
    yield _of_text(orjson.dumps(document))
    for layout in (b"".join, with_varints, with_four_bytes):
        yield Seed("OTLP protobuf", layout([message(document), message(document)]))
        yield Seed("log events of a coding agent, in protobuf", layout([logs_message()]))
    yield _of_text(orjson.dumps([_PYTHON_SPAN, {**_PYTHON_SPAN, "parent_id": _PYTHON_SPAN["context"]["span_id"]}]))
    yield Seed("container", parquet([OURS, {**OURS, "span_id": "1" * 16}]))
    yield _of_text(orjson.dumps({**OURS, "events": "[]"}))
