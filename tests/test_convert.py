"""`flyball convert`: any format in, one out."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from test_export import differing, loaded, rows

from analyzer.cli import main

ROOT = Path(__file__).parents[1]


def test_what_was_converted_says_what_the_original_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(ROOT / "tests/data/pi"), str(ROOT / "sample_traces/public_openinference.otlp.jsonl")]
    expected = rows(loaded(tmp_path / "original.duckdb", *paths))
    assert main(["convert", *paths, "--out", str(tmp_path / "out.parquet")]) == 0
    assert "out.parquet: wrote" in capsys.readouterr().out
    # A converted file converts to itself.
    assert main(["convert", str(tmp_path / "out.parquet"), "--out", str(tmp_path / "out.jsonl")]) == 0
    for name in ("out.parquet", "out.jsonl"):
        found = rows(loaded(tmp_path / f"{name}.duckdb", str(tmp_path / name)))
        for table in expected:
            assert differing(expected[table], found[table]) == [], f"{table} of {name}"


def test_other_dialects_become_the_conventions(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert main(["convert", str(ROOT / "sample_traces/public_openllmetry.otlp.jsonl"), "--out", str(out)]) == 0
    names = {
        attribute["key"]
        for line in out.read_bytes().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
        for attribute in span["attributes"]
    }
    assert {"gen_ai.operation.name", "gen_ai.usage.input_tokens", "gen_ai.output.messages"} <= names
    assert not [name for name in names if name.startswith(("gen_ai.prompt.", "gen_ai.completion."))]


def test_from_standard_input_to_standard_output(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    sample = (ROOT / "sample_traces/healthy_research.otlp.jsonl").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(sample)))
    assert main(["convert", "-", "--out", "-"]) == 0
    out, err = capfdbinary.readouterr()
    lines = out.splitlines()
    assert lines
    assert all("resourceSpans" in json.loads(line) for line in lines)
    assert err == b""


def test_what_could_not_be_read_is_said_and_the_rest_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (ROOT / "sample_traces/healthy_research.otlp.jsonl").read_text().splitlines()
    (tmp_path / "in.jsonl").write_text("\n".join([whole[0], '{"resourceSpans": 7}', *whole[1:]]) + "\n")
    assert main(["convert", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl")]) == 2
    said = capsys.readouterr()
    assert "in.jsonl, line 2: the line is no OTLP JSON" in said.err
    assert "wrote" in said.out
    assert main(["convert", str(tmp_path / "out.jsonl"), "--out", str(tmp_path / "again.jsonl")]) == 0


def test_without_a_trace_it_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("nothing of the kind")
    assert main(["convert", str(tmp_path / "notes.txt"), "--out", str(tmp_path / "out.jsonl")]) == 2
    assert "notes.txt" in capsys.readouterr().err
