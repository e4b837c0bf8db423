"""How the app is started and what it opens."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from analyzer.pages.options import Options, parse
from analyzer.pages.serve import app_path, command
from analyzer.samples import samples_folder


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (["--db", "a.duckdb"], {}, Options(db=Path("a.duckdb"))),
        (["a.duckdb"], {}, Options(db=Path("a.duckdb"))),
        (["a.jsonl", "b"], {"FLYBALL_DB": "c.duckdb"}, Options(paths=("a.jsonl", "b"))),
        ([], {"FLYBALL_DB": "c.duckdb"}, Options(db=Path("c.duckdb"))),
        (["--db", "a.duckdb"], {"FLYBALL_DB": "c.duckdb"}, Options(db=Path("a.duckdb"))),
        ([], {"FLYBALL_DB": ""}, Options(paths=(str(samples_folder()),))),
        ([], {}, Options(paths=(str(samples_folder()),))),
    ],
)
def test_what_is_opened(arguments: list[str], environment: dict[str, str], expected: Options) -> None:
    assert parse(arguments, environment) == expected


@pytest.mark.parametrize("arguments", [["--db", "a.duckdb", "b.jsonl"], ["--nonsense"]])
def test_arguments_that_make_no_sense_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(arguments, {})
    assert "streamlit run app.py" in capsys.readouterr().err


def test_the_title_names_what_is_open() -> None:
    assert Options(db=Path("/x/prod.duckdb")).title == "prod.duckdb"
    assert Options(paths=("/x/a.jsonl", "b", "c", "d")).title == "a.jsonl, b, c …"
    assert parse([], {}).title == "sample traces"


def test_the_command_serves_this_app_to_this_machine_only() -> None:
    line = command(Path("a b.duckdb"), port=8600)
    assert line[:4] == [sys.executable, "-m", "streamlit", "run"]
    assert line[4] == str(app_path())
    assert "--server.address=127.0.0.1" in line
    assert "--server.port=8600" in line
    assert line[line.index("--") + 1 :] == ["--db", "a b.duckdb"]
    assert command(paths=["x", "y"])[-2:] == ["x", "y"]
