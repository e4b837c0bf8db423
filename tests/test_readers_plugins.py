"""Readers of other packages, really installed: a module and its dist-info in a folder on the path."""

from __future__ import annotations

from pathlib import Path

import pytest
from kept_sink import Kept, lines, reading_of

PLUGIN = """
from analyzer.readers import Format
from instrument.otlp import Span, one_resource

def read(stream, sink):
    for number, line in enumerate(b"".join(stream.pieces).split(b"\\n")):
        if line == b"boom":
            raise KeyError("half way\\udc80")
        sink.add(one_resource([Span("a" * 32, f"{number:016x}", name=line.decode())], scope="mine"), stream.source)

MINE = Format("mine", lambda head: head.startswith(b"mine"), read)
RAW = Format("raw", lambda head: head.startswith(b"\\xffraw"), read, binary=True)
GREEDY = Format("greedy", lambda head: 1 / 0, read)
NOTHING = "no format"
"""


@pytest.fixture
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    def install(name: str, entries: str) -> None:
        site = tmp_path_factory.mktemp("site")
        (site / f"{name}.py").write_text(PLUGIN)
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[flyball.readers]\n{entries}\n")
        monkeypatch.syspath_prepend(str(site))

    return install


def kept_of(tmp_path: Path, content: bytes) -> Kept:
    (tmp_path / "trace").write_bytes(content)
    return reading_of(tmp_path / "trace")[0]


def test_an_installed_reader_reads_its_files_and_no_others(tmp_path: Path, installed) -> None:
    assert kept_of(tmp_path, b"mine\nb").names == []
    installed("flyball_mine", "mine = flyball_mine:MINE\nraw = flyball_mine:RAW")
    kept = kept_of(tmp_path, b"mine\nb")
    assert (kept.names, kept.issues) == (["mine", "b"], [])
    assert kept_of(tmp_path, lines(["a"])).names == ["a"]
    assert kept_of(tmp_path, b"\xffraw").kinds == ["broken_reader"]  # it got the bytes, which it takes for text


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("gone = flyball_odd:GONE", "AttributeError"),
        ("away = flyball_away", "ModuleNotFoundError"),
        ("nothing = flyball_odd:NOTHING", "no `Format` but str"),
        ("greedy = flyball_odd:GREEDY", "ZeroDivisionError"),
    ],
)
def test_a_broken_reader_is_an_issue_and_the_others_work(tmp_path: Path, installed, entry: str, says: str) -> None:
    installed("flyball_odd", entry)
    kept = kept_of(tmp_path, lines(["a", "b"]))
    assert kept.names == ["a", "b"]
    assert [(i.kind, i.source) for i in kept.issues] == [("broken_reader", entry.partition(" = ")[2])]
    assert says in kept.issues[0].message
    assert "flyball_odd" in kept.issues[0].message


def test_a_reader_that_fails_half_way_keeps_what_it_read(tmp_path: Path, installed) -> None:
    installed("flyball_half", "mine = flyball_half:MINE")
    kept = kept_of(tmp_path, b"mine\nb\nboom\nc")
    assert kept.names == ["mine", "b"]
    assert [(i.kind, i.source) for i in kept.issues] == [("broken_reader", str(tmp_path / "trace"))]
    assert "half way" in kept.issues[0].message
