"""What a user types and which files it means."""

from __future__ import annotations

import io
import os
from pathlib import Path

import duckdb
import pytest
from kept_sink import Kept, lines, reading_of

from analyzer.readers import Source, read, resolve


def write(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def database(path: Path) -> Path:
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE t (x INTEGER)")
    return path


def test_a_folder_is_walked_in_sorted_order_and_hidden_files_are_passed_over(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a/z.jsonl", "a/c.jsonl", ".git/config", ".hidden"):
        write(tmp_path / name, lines([name]))
    kept, _ = reading_of(tmp_path)
    assert kept.names == ["b.jsonl", "a/c.jsonl", "a/z.jsonl"]
    assert kept.issues == []


def test_links_to_folders_pipes_and_dead_links_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", lines(["a"]))
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dead").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    kept, reading = reading_of(tmp_path)
    assert (kept.names, kept.issues, reading.refusals) == (["a"], [], [])


def test_a_file_reached_by_two_names_is_read_once(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", lines(["a"]))
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "a.jsonl")
    kept, _ = reading_of(tmp_path, tmp_path / "a.jsonl", f"{tmp_path}/*.jsonl")
    assert kept.names == ["a"]


def test_a_glob_is_expanded_and_what_it_finds_need_not_be_a_trace(tmp_path: Path) -> None:
    write(tmp_path / "x/a.jsonl", lines(["a"]))
    write(tmp_path / "x/b.txt", b"hello")
    kept, reading = reading_of(f"{tmp_path}/**/*.*")
    assert (kept.names, kept.kinds, reading.refusals) == (["a"], ["not_a_trace"], [])


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    kept, _ = reading_of(write(tmp_path / "run[1].jsonl", lines(["a"])))
    assert kept.names == ["a"]


def test_paths_that_mean_nothing_are_refused_and_the_others_read(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    good = write(tmp_path / "good", lines(["a"]))
    kept, reading = reading_of(tmp_path / "missing", tmp_path / "empty", tmp_path / "pipe", tmp_path / "*.nope", good)
    assert kept.names == ["a"]
    assert [Path(r.path).name for r in reading.refusals] == ["missing", "empty", "pipe", "*.nope"]


def test_standard_input_is_read_once() -> None:
    kept = Kept()
    read(resolve(["-", "-"]).sources, kept, stdin=io.BytesIO(lines(["a"])))
    assert kept.names == ["a"]


def test_a_database_is_told_by_its_content_and_its_journal_is_left_to_it(tmp_path: Path) -> None:
    database(tmp_path / "traces.bin")
    write(tmp_path / "traces.bin.journal/1.jsonl", lines(["a"]))
    write(tmp_path / "traces.bin.lock")
    write(tmp_path / "other.journal/1.jsonl", lines(["b"]))
    inputs = resolve([str(tmp_path)])
    assert inputs.databases == [tmp_path / "traces.bin"]
    assert inputs.sources == [Source(str(tmp_path / "other.journal/1.jsonl"), named=False)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"PK\x03\x04rest", "zip"),
        (b"\0" * 100, "NUL"),
        (b"just text", "no trace"),
        (b"\x00\x01\x02\xff\xfe", "NUL"),
        (b'{"some": "json"}', "no spans"),
        (b'{"resourceLogs": []}', "logs"),
        (b'{"type": "object", "properties": {"name": {"const": "gen_ai.operation.name"}}}', "no spans"),
    ],
)
def test_a_file_that_is_no_trace_is_refused_when_named_and_mentioned_when_found(
    tmp_path: Path, content: bytes, says: str
) -> None:
    write(tmp_path / "f", content)
    kept, reading = reading_of(tmp_path / "f")
    assert len(reading.refusals) == 1
    assert says in str(reading.refusals[0])
    assert kept.issues == []
    kept, reading = reading_of(tmp_path)
    assert reading.refusals == []
    assert [(i.kind, i.error) for i in kept.issues] == [("not_a_trace", False)]
    assert says in kept.issues[0].message


def test_a_file_that_vanishes_after_it_was_found_is_an_issue(tmp_path: Path) -> None:
    kept = Kept()
    reading = read([Source(str(tmp_path / "gone"), named=False)], kept)
    assert (kept.kinds, reading.refusals, reading.traces) == (["unreadable_file"], [], 0)


def test_progress_hears_of_every_byte(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines(["a"] * 50_000))
    heard: list[int] = []
    read(resolve([str(path)]).sources, Kept(), advance=heard.append)
    assert sum(heard) == path.stat().st_size


def test_a_damaged_database_that_the_user_named_is_still_taken_for_one(tmp_path: Path) -> None:
    """So that opening it says how to bring its journal into a new one; found in a folder, the same bytes are just no trace."""
    (tmp_path / "broken.duckdb").write_bytes(b"garbage")
    assert resolve([str(tmp_path / "broken.duckdb")]).databases == [tmp_path / "broken.duckdb"]
    assert resolve([str(tmp_path)]).databases == []


def test_texts_about_the_files_of_a_folder_are_passed_over_unless_named(tmp_path: Path) -> None:
    for name in ("README", "LICENSE.txt", "notes.md", "trace.jsonl"):
        (tmp_path / name).write_bytes(b"{}")
    assert [Path(s.path).name for s in resolve([str(tmp_path)]).sources] == ["trace.jsonl"]
    assert [Path(s.path).name for s in resolve([str(tmp_path / "notes.md")]).sources] == ["notes.md"]
