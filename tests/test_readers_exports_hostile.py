"""Exports that are broken, or made to break us: issues and what is left, never a crash; and the database takes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kept_sink import Kept, reading_of
from small_exports import COLUMNS, FLAT, LANGFUSE, LOGS, RECORD, TREE
from small_products import APP_INSIGHTS, BRAINTRUST, DATADOG, LANGSMITH, MLFLOW, OPENAI_TRACES, WEAVE, ZIPKIN
from test_readers_agents_hostile import changed

from analyzer.readers import (
    app_insights,
    braintrust,
    datadog,
    jaeger,
    langsmith,
    load,
    mlflow,
    openai_traces,
    resolve,
    weave,
    zipkin,
)
from analyzer.readers.format import Format
from analyzer.readers.langfuse import LANGFUSE as LANGFUSE_EXPORT
from analyzer.readers.openinference import OPENINFERENCE
from analyzer.readers.otlp_logs import OTLP_LOGS
from analyzer.readers.span_record import SPAN_RECORD
from analyzer.readers.streams import Stream
from instrument.store.connect import reading

FEW_LOGS = json.loads(json.dumps(LOGS))
_RECORDS = FEW_LOGS["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
_RECORDS[:] = [_RECORDS[0], _RECORDS[1], _RECORDS[3]]  # one of each kind: there are thousands of places already

JAEGER: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "jaeger" / "helm.json").read_bytes())
JAEGER["data"][0]["spans"] = JAEGER["data"][0]["spans"][:2]

SMALL: dict[str, tuple[Format, Any]] = {
    "braintrust": (braintrust.BRAINTRUST, BRAINTRUST[:3]),
    "datadog": (datadog.DATADOG, DATADOG[:3]),
    "app insights": (app_insights.APP_INSIGHTS, APP_INSIGHTS[:3]),
    "jaeger": (jaeger.JAEGER, JAEGER),
    "langsmith": (langsmith.LANGSMITH, LANGSMITH),
    "mlflow": (mlflow.MLFLOW, MLFLOW),
    "openai agents": (openai_traces.OPENAI_TRACES, OPENAI_TRACES),
    "weave": (weave.WEAVE, WEAVE[:3]),
    "zipkin": (zipkin.ZIPKIN, ZIPKIN),
    "tree": (OPENINFERENCE, TREE),
    "flat": (OPENINFERENCE, FLAT),
    "columns": (OPENINFERENCE, COLUMNS),
    "langfuse": (LANGFUSE_EXPORT, LANGFUSE),
    "logs": (OTLP_LOGS, FEW_LOGS),
    "record": (SPAN_RECORD, RECORD),
}


def given(form: Format, text: str | bytes) -> Kept:
    """What the reader of the format makes of `text`, whatever the other readers would say of it."""
    data, kept = text.encode() if isinstance(text, str) else text, Kept()
    form.read(Stream("export", data[: 64 << 10], iter([data])), kept)
    return kept


@pytest.mark.parametrize("name", SMALL)
def test_any_value_in_any_place_is_read_or_told(name: str) -> None:
    form, small = SMALL[name]
    count = 0
    for place, value in changed(small):
        try:
            kept = given(form, json.dumps(value))
        except Exception as problem:  # noqa: BLE001 - which change did it is what one wants to know
            pytest.fail(f"{place}: {problem!r}")
        assert all(len(s["traceId"]) == 32 and len(s["spanId"]) == 16 for s in kept.spans), place
        assert kept.spans or kept.issues, place
        count += 1
    assert count > 150


@pytest.mark.parametrize("name", SMALL)
def test_the_database_takes_whatever_readers_make_of_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "exports").mkdir()
    for number, (_, value) in enumerate(changed(SMALL[name][1])):
        if number % 41 == 0:
            (tmp_path / "exports" / f"{number}").write_text(json.dumps(value))
    load(resolve([str(tmp_path / "exports")]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        assert con.execute("SELECT count(*) > 0 FROM spans").fetchall() == [(True,)]
        assert isinstance(con.execute("SELECT count(*) FROM tool_texts('spans')").fetchall(), list)


@pytest.mark.parametrize("name", SMALL)
def test_an_export_cut_anywhere_is_read_up_to_there_or_told(name: str) -> None:
    form, small = SMALL[name]
    text = json.dumps(small).encode()
    for end in range(1, len(text), 23):
        kept = given(form, text[:end])
        assert kept.spans or kept.issues, end


PLACES = {
    "braintrust": '"Is it raining in Ulm?"',
    "datadog": '"Is it raining in Ulm?"',
    "app insights": '"chat gpt-4o"',
    "jaeger": '"1.22.1"',
    "langsmith": '"Is it raining in Ulm?"',
    "mlflow": '"no such city"',
    "openai agents": '"Is it raining in Ulm?"',
    "weave": '"Is it raining in Ulm?"',
    "zipkin": '"gpt-4o"',
    "tree": '"Find it."',
    "flat": '"Find it."',
    "columns": '"Find it."',
    "langfuse": '"gone"',
    "logs": '"Find it."',
    "record": '"Here."',
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("depth", [300, 900, 100_000])
def test_values_nested_without_end_are_told_or_kept(name: str, depth: int, tmp_path: Path) -> None:
    text = json.dumps(SMALL[name][1])
    assert PLACES[name] in text
    (tmp_path / "export").write_text(text.replace(PLACES[name], "[" * depth + "]" * depth, 1))
    kept, _ = reading_of(tmp_path / "export")
    assert kept.spans or any(i.error for i in kept.issues)


@pytest.mark.parametrize("name", SMALL)
def test_half_characters_and_long_texts_are_kept(name: str, tmp_path: Path) -> None:
    text = json.dumps(SMALL[name][1])
    (tmp_path / "half").write_text(text.replace(PLACES[name], '"a\\ud83dz"', 1))
    (tmp_path / "long").write_text(text.replace(PLACES[name], json.dumps("long " * 1_000_000), 1))
    kept, found = reading_of(tmp_path / "half", tmp_path / "long")
    assert found.refusals == []
    said = json.dumps(kept.spans)
    assert "a?z" in said
    assert "long long" in said
    assert not [i for i in kept.issues if i.error]


def test_children_nested_without_end_are_read_as_deep_as_they_lie() -> None:
    span: dict[str, Any] = {"span_id": "leaf", "span_attributes": {}}
    for number in range(200):
        span = {"span_id": f"s{number}", "span_attributes": {}, "child_spans": [span]}
    kept = given(OPENINFERENCE, json.dumps({"trace_id": "t", "spans": [span]}))
    assert len(kept.spans) == 201
    assert sum(span.get("parentSpanId", "") == "" for span in kept.spans) == 1


def test_observations_that_are_each_others_parents_are_read() -> None:
    trace = json.loads(json.dumps(LANGFUSE))
    first, second, _, fourth = trace["observations"]
    first["type"], first["parentObservationId"] = "SPAN", fourth["id"]
    second["parentObservationId"], fourth["parentObservationId"] = fourth["id"], second["id"]
    assert len(given(LANGFUSE_EXPORT, json.dumps(trace)).spans) == 4


def test_lists_of_traces_that_name_their_observations_only_are_told() -> None:
    page = {
        "data": [{"id": "t1", "projectId": "p", "htmlPath": "/x", "observations": ["o1", "o2"]}],
        "meta": {"page": 1},
    }
    kept = given(LANGFUSE_EXPORT, json.dumps(page))
    assert [(i.count, i.error) for i in kept.issues if "named" in i.message] == [(2, True)]


def test_broken_lines_of_logs_are_named_and_the_others_read() -> None:
    line = json.dumps(LOGS)
    kept = given(OTLP_LOGS, "\n".join([line, "{broken", "[1]", line, ""]))
    assert [i.line for i in kept.issues if i.kind == "broken_line"] == [2, 3]
    assert len({s["spanId"] for s in kept.spans}) == 5


def test_logs_of_other_programs_are_refused_as_before(tmp_path: Path) -> None:
    (tmp_path / "logs.json").write_text(json.dumps(LOGS).replace("claude_code", "nginx"))
    _, found = reading_of(tmp_path / "logs.json")
    assert ["OpenTelemetry logs" in str(r) for r in found.refusals] == [True]
