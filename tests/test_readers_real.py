"""Every span of the shared traces is read, once: counted against a walk through the files with the json module."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analyzer.readers import load, resolve
from instrument.store.connect import reading

SHARED = Path(__file__).resolve().parents[2] / "shared" / "traces"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared traces are not on this machine")


def values(path: Path) -> Iterator[Any]:
    """What a file says, by nothing but the json module."""
    text = path.read_text("utf-8")
    try:
        yield json.loads(text)
    except ValueError:
        for line in text.splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                return


def walked(value: Any) -> Iterator[tuple[str, str]]:
    """Ids of every span in a decoded value: OTLP's own, and those of the JavaScript SDK."""
    if isinstance(value, list):
        for item in value:
            yield from walked(item)
    elif isinstance(value, dict):
        if "resourceLogs" in value:
            return
        context = value.get("spanContext", value)
        if "traceId" in context and "spanId" in context:
            yield context["traceId"].lower(), context["spanId"].lower()
            return
        for item in value.values():
            yield from walked(item)


def expected(folder: str) -> set[tuple[str, str]]:
    files = sorted(p for p in (SHARED / folder).rglob("*") if p.is_file())
    return {ids for path in files for value in values(path) for ids in walked(value)}


def loaded(folder: Path, db: Path) -> tuple[list[tuple[str, str]], list[tuple[str, bool]]]:
    load(resolve([str(folder)]), db)
    with reading(db) as con:
        spans = con.execute("SELECT trace_id, span_id FROM spans WHERE NOT coalesce(inferred, false)").fetchall()
        return spans, con.execute("SELECT kind, error FROM issues").fetchall()


def test_every_otlp_span_is_read_once_and_every_model_call_counted_once(tmp_path: Path) -> None:
    spans, issues = loaded(SHARED / "otlp", tmp_path / "t.duckdb")
    want = expected("otlp")
    assert len(want) > 3_000
    assert len(spans) == len(set(spans))
    assert set(spans) == want
    assert not [kind for kind, error in issues if error]
    with reading(tmp_path / "t.duckdb") as con:
        ((calls, answers),) = con.execute(
            "SELECT count(*) FILTER (duplicate_of IS NULL), count(DISTINCT (trace_id, response_id)) FROM spans "
            "WHERE kind = 'model' AND response_id IS NOT NULL"
        ).fetchall()
    assert calls == answers > 500


def test_every_openinference_span_is_read_once_and_bare_attributes_are_spans_too(tmp_path: Path) -> None:
    spans, issues = loaded(SHARED / "openinference", tmp_path / "t.duckdb")
    want = expected("openinference")
    bare = len(list((SHARED / "openinference" / "openinference-genai").rglob("*.json")))
    assert len(want) == 10
    assert want < set(spans)
    assert len(spans) == len(set(spans)) == len(want) + bare
    assert sorted(kind for kind, _ in issues) == ["no_times"] * bare + ["not_a_trace"] * 3 + ["repeated_ids"] * 2
    assert not any(error for _, error in issues)


def test_compressed_traces_give_the_same_spans(tmp_path: Path) -> None:
    path = SHARED / "otlp" / "generated" / "pydantic_ai.otlp.jsonl"
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "packed").write_bytes(gzip.compress(path.read_bytes(), 1))
    packed, issues = loaded(tmp_path / "t", tmp_path / "a.duckdb")
    plain, _ = loaded(path, tmp_path / "b.duckdb")
    assert sorted(packed) == sorted(plain)
    assert issues == []
