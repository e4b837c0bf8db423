"""The other commands."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pytest

from analyzer.cli import main
from analyzer.commands import app
from analyzer.detectors import DETECTORS
from analyzer.docs import DOCS, pages


def test_detectors_lists_every_detector(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detectors"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n{slug} " in f"\n{out}" for slug in DETECTORS)


@pytest.mark.parametrize("slug", DETECTORS)
def test_explain_answers_the_same_questions_for_every_detector(slug: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", slug]) == 0
    out = capsys.readouterr().out
    places = [
        out.index(title)
        for title in ("What it finds", "Why it matters", "When it is wrong", "What to do", "Thresholds")
    ]
    assert places == sorted(places)


def test_explain_says_which_detector_was_probably_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "repeated_cal"]) == 2
    assert "repeated_call" in capsys.readouterr().err


def test_alerts_are_written_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alerts", "generate", "--out", str(tmp_path / "a" / "b")]) == 0
    named = capsys.readouterr().out.split()
    assert len(named) >= 2
    assert all(Path(name).stat().st_size > 100 for name in named)


def test_alerts_that_cannot_be_written_are_an_error_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["alerts", "generate", "--out", str(tmp_path / "file" / "x")]) == 2
    assert "--out" in capsys.readouterr().err


def test_load_counts_what_is_known_already(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from kept_sink import lines

    (tmp_path / "a.jsonl").write_bytes(lines(["a", "b"]))
    db = str(tmp_path / "t.duckdb")
    assert main(["load", str(tmp_path / "a.jsonl"), "--db", db]) == 0
    assert main(["load", str(tmp_path / "a.jsonl"), "--db", db]) == 0
    assert "read 2 spans, 2 of them known already" in capsys.readouterr().out
    assert main(["load", str(tmp_path / "none.jsonl"), "--db", db]) == 2


def test_app_serves_what_was_named(tmp_path: Path) -> None:
    served: list[Sequence[str]] = []

    def serve(command: Sequence[str]) -> int:
        served.append(command)
        return 0

    (tmp_path / "a.jsonl").write_bytes(b"{}")
    arguments = argparse.Namespace(paths=[str(tmp_path / "a.jsonl")], db=None, port=8601)
    assert app.run(arguments, serve) == 0
    assert list(served[0][1:4]) == ["-m", "streamlit", "run"]
    assert served[0][-1] == str(tmp_path / "a.jsonl")
    assert "--server.port=8601" in served[0]
    assert app.run(argparse.Namespace(paths=[str(tmp_path / "none")], db=None, port=None), serve) == 2
    assert len(served) == 1


@pytest.mark.parametrize("name", pages())
def test_generated_pages_are_not_stale(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == pages()[name], "run `make docs`"


def test_every_detector_has_a_page_and_no_page_is_left_over() -> None:
    assert {p.stem for p in (DOCS / "detectors").glob("*.md")} == {"README", *DETECTORS}
