"""Mutated inputs of every format, some hundreds on each run; `make fuzz` makes a million. And what was found that way."""

from __future__ import annotations

import json
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kept_sink import Kept, document, reading_of

from analyzer.readers.formats import FORMATS
from analyzer.readers.loading import load
from analyzer.readers.outline import outline
from analyzer.readers.paths import resolve
from analyzer.serve import documents
from analyzer.serve.redaction import Redaction
from benchmarks.fuzz import run_batch
from benchmarks.fuzzing.mutations import Mutator
from benchmarks.fuzzing.seeds import PLACES, Seed, seeds
from benchmarks.fuzzing.target import Hang, Target, within
from instrument.price_names import spellings
from instrument.store.connect import reading
from instrument.store.lines import decode

OURS = seeds(PLACES[:2])


@pytest.fixture(scope="module")
def target():
    made = Target()
    yield made
    made.finish()
    assert made.counts["spans"] > 50
    made.close()


def test_there_are_seeds_of_every_format() -> None:
    assert {seed.form for seed in OURS} >= {form.name for form in FORMATS}


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chance=st.randoms(use_true_random=False))
def test_whatever_is_changed_in_a_trace_it_is_read_or_refused(target: Target, chance: Random) -> None:
    seed, data = Mutator(OURS, chance).one()
    with within(10):
        target.give(seed, data)


def test_mutated_inputs_are_read_settled_and_judged(tmp_path: Path) -> None:
    mutator = Mutator(OURS, Random("ci"))
    counts, broken = run_batch([mutator.one() for _ in range(1_200)], tmp_path)
    assert broken == []
    assert counts["read"] > 300
    assert counts["refused"] > 30
    assert min(counts["spans"], counts["issues"], counts["bodies accepted"]) > 15


def test_a_failure_is_told_with_the_input_that_brought_it_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = [Seed("none", b"a"), Seed("none", b"boom"), Seed("none", b"c")]

    class Failing(Target):
        def give(self, seed: Seed, data: bytes) -> None:
            super().give(seed, data)
            if data == b"boom":
                raise KeyError("boom")

    monkeypatch.setattr("benchmarks.fuzz.Target", Failing)
    _, broken = run_batch([(seed, seed.data) for seed in inputs], tmp_path)
    (failure,) = broken
    assert "KeyError" in failure["what"]
    assert (tmp_path / failure["file"]).read_bytes() == b"boom"


def test_what_takes_too_long_is_a_failure() -> None:
    with pytest.raises(Hang), within(0.05):
        time.sleep(5)


# --- what was found -----------------------------------------------------------------------------------------------------


def test_a_text_that_never_ends_is_looked_through_once() -> None:
    began = time.process_time()
    outline(b'{"a": "' + b'\\"' * 32_000)
    outline(b'{"a": "' + b"\\\n" * 32_000 + b'"')
    assert time.process_time() - began < 1  # to look for the end again from each quote takes a minute
    assert outline(b'{"a": {"b": "\\\n", "c": 1, "d": "cut') == {"a", "a.b", "a.c", "a.d"}


def test_events_that_are_no_list_do_not_stop_a_javascript_span(tmp_path: Path) -> None:
    span = {"name": "a", "events": 5, "spanContext": {"traceId": "a" * 32, "spanId": "b" * 16}, "startTime": [1, 0]}
    (tmp_path / "t").write_text(json.dumps(span))
    assert reading_of(tmp_path / "t")[0].names == ["a"]


@pytest.mark.parametrize(
    "span",
    [
        {
            "spanContext": {"traceId": "a" * 32, "spanId": "b" * 16},
            "startTime": [1, 0],
            "status": {"code": True},
            "kind": True,
        },
        {"TraceId": "a" * 32, "SpanId": "b" * 16, "Timestamp": 1_770_132_000, "StatusCode": True, "SpanKind": True},
    ],
)
def test_a_status_and_a_kind_that_are_none_are_unset_also_beside_half_characters(
    tmp_path: Path, span: dict[str, Any]
) -> None:
    (tmp_path / "t").write_text(json.dumps([{**span, "name": "half \ud83d", "SpanName": "half \ud83d"}]))
    load(resolve([str(tmp_path / "t")]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        assert con.execute("SELECT kind, status FROM spans").fetchall() == [("other", "unset")]


def test_an_issue_about_a_line_may_quote_half_characters(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(json.dumps(document("a")) + '\n{"x\\ud83d": 1}\n')
    load(resolve([str(tmp_path / "t")]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        assert "x?" in con.execute("SELECT message FROM issues").fetchall()[0][0]


@pytest.mark.parametrize(
    "attributes", [["x"], [["x"]], 5, {"a": 1}, [{"key": "k", "value": {"kvlistValue": {"values": [1]}}}]]
)
def test_a_resource_that_is_none_cannot_be_redacted_and_is_refused(attributes: object) -> None:
    made = document("a")
    made["resourceSpans"][0]["resource"] = {"attributes": attributes}
    with pytest.raises(ValueError, match="none"):
        Redaction("hashed").of(json.dumps(made).encode())


def test_what_is_too_deep_to_be_written_redacted_is_refused() -> None:
    made = json.dumps({"resourceSpans": [{"resource": {"odd": "@"}, "scopeSpans": []}]})
    with pytest.raises(ValueError, match="none"):
        Redaction("hashed").of(made.replace('"@"', "[" * 600 + "]" * 600).encode())


@pytest.mark.parametrize("start", [10**40, 1.77e18, "1770132000598000000"])
def test_the_store_reads_what_was_received_whatever_the_numbers_in_it(start: object) -> None:
    made = document("a")
    made["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["startTimeUnixNano"] = start
    line = Redaction("hashed").of(documents.batch(json.dumps(made).encode()).line)
    assert [type(found).__name__ for found in decode(line, 1)] != ["tuple"]


def test_a_model_s_name_of_a_thousand_gateways_ends() -> None:
    assert len(list(spellings("x", "a/" * 70_000 + "b"))) < 100
    began = time.process_time()
    assert list(spellings("x", "[" * 70_000))
    assert time.process_time() - began < 1
    assert ("anthropic", "claude-x:free") in spellings("openrouter", "openrouter/anthropic/claude-x:free")


def test_readers_of_other_packages_are_looked_for_once() -> None:
    reading_of()
    began = time.process_time()
    for _ in range(50):
        reading_of()
    assert time.process_time() - began < 0.25  # to look through all installed packages takes 16 ms each time
    assert Kept().issues == []
