"""Whatever a file was compressed with, encoded in or cut off at, its whole lines are read and the rest is said."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from kept_sink import Kept, document, lines, reading_of

from analyzer.readers.compression import PIECE
from analyzer.readers.lines import line_blocks, whole
from analyzer.readers.streams import Stream, open_stream

ABC = lines(["a", "b", "c"])


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(ABC, id="plain"),
        pytest.param(ABC.rstrip(), id="last line without its end, but whole"),
        pytest.param(ABC.replace(b"\n", b"\r\n"), id="windows line ends"),
        pytest.param(b"\n\n" + ABC.replace(b"\n", b"\n\n"), id="empty lines"),
        pytest.param(gzip.compress(ABC), id="gzip"),
        pytest.param(gzip.compress(lines(["a"])) + gzip.compress(lines(["b", "c"])), id="gzip, two members"),
        pytest.param(gzip.compress(ABC) + b"\0" * 600, id="gzip, padded"),
        pytest.param(zstd(ABC), id="zstd"),
        pytest.param(zstd(ABC[:50]) + zstd(ABC[50:]), id="zstd, frames that split a line"),
        pytest.param(b"\x50\x2a\x4d\x18\x04\0\0\0skip" + zstd(ABC), id="zstd after a skippable frame"),
        pytest.param(gzip.compress(zstd(ABC)), id="compressed twice"),
        pytest.param(codecs.BOM_UTF8 + ABC, id="byte order mark"),
        pytest.param(codecs.BOM_UTF16_LE + ABC.decode().encode("utf-16-le"), id="utf-16"),
        pytest.param(ABC.decode().encode("utf-16-be"), id="utf-16 without a mark"),
        pytest.param(gzip.compress(ABC.decode().encode("utf-16")), id="utf-16 in gzip"),
    ],
)
def test_the_same_spans_whatever_they_are_wrapped_in(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "trace").write_bytes(content)
    kept, reading = reading_of(tmp_path / "trace")
    assert (kept.names, kept.issues, reading.refusals) == (["a", "b", "c"], [], [])


@pytest.mark.parametrize("compress", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_a_compressed_file_cut_short_gives_what_came_before_the_cut(tmp_path: Path, compress) -> None:
    noise = [f"{n:x}-{n * 7919:x}" for n in range(40_000)]  # compresses badly, so that a cut leaves something
    (tmp_path / "trace").write_bytes(compress(lines(noise))[:-5000])
    kept, _ = reading_of(tmp_path / "trace")
    assert 30_000 < len(kept.names) < 40_000
    assert kept.names == noise[: len(kept.names)]
    assert kept.kinds == ["cut_off", "unfinished_line"]


@pytest.mark.parametrize("compress", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_garbage_after_compressed_data_is_an_issue_and_the_data_is_read(tmp_path: Path, compress) -> None:
    (tmp_path / "trace").write_bytes(compress(ABC) + b"garbage at the end")
    kept, _ = reading_of(tmp_path / "trace")
    assert (kept.names, kept.kinds) == (["a", "b", "c"], ["damaged_compression"])


def test_a_line_still_being_written_is_a_small_issue(tmp_path: Path) -> None:
    (tmp_path / "trace").write_bytes(ABC[:-20])
    kept, _ = reading_of(tmp_path / "trace")
    assert kept.names == ["a", "b"]
    assert [(i.kind, i.line, i.error) for i in kept.issues] == [("unfinished_line", 3, False)]


def test_a_file_that_is_one_torn_line_is_no_small_issue(tmp_path: Path) -> None:
    (tmp_path / "trace").write_bytes(lines(["a"])[:-20])
    kept, _ = reading_of(tmp_path / "trace")
    assert [(i.kind, i.error) for i in kept.issues] == [("unfinished_line", True)]


def test_a_whole_last_line_with_a_lone_surrogate_is_not_taken_for_a_torn_one(tmp_path: Path) -> None:
    (tmp_path / "trace").write_bytes(ABC + json.dumps(document("\ud83d")).encode())
    kept, _ = reading_of(tmp_path / "trace")
    assert (len(kept.names), kept.issues) == (4, [])


def test_a_broken_line_is_named_with_its_number_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "trace").write_bytes(lines(["a"]) + b'{"resourceSpans": [{"oh no\n' + lines(["b"]))
    kept, _ = reading_of(tmp_path / "trace")
    assert kept.names == ["a", "b"]
    assert [(i.kind, i.line) for i in kept.issues] == [("broken_line", 2)]


def test_nul_bytes_left_by_a_crash_do_not_cost_the_line_after_them(tmp_path: Path) -> None:
    (tmp_path / "trace").write_bytes(lines(["a"]) + b"\0" * 4096 + lines(["b"]) + b"\0" * 100)
    kept, _ = reading_of(tmp_path / "trace")
    assert (kept.names, set(kept.kinds)) == (["a", "b"], {"nul_bytes"})


def test_blocks_are_whole_lines_numbered_through(tmp_path: Path) -> None:
    names = ["x" * 1000] * 20_000
    (tmp_path / "trace").write_bytes(lines(names))
    kept, _ = reading_of(tmp_path / "trace")
    assert len(kept.spans) == 20_000
    assert len(kept.blocks) > 3
    assert all(size <= 2 * PIECE for _, size in kept.blocks)
    line_bytes = len(lines(["x" * 1000]))
    for (first, size), (following, _) in zip(kept.blocks, kept.blocks[1:], strict=False):
        assert following == first + size // line_bytes


def test_a_line_over_the_limit_is_left_out_and_numbered() -> None:
    kept = Kept()
    long = lines(["a"]) + lines(["x" * 9000]) + lines(["b"])
    pieces = (long[n : n + 500] for n in range(0, len(long), 500))
    blocks = list(line_blocks(Stream("f", b"", pieces), kept, limit=2000))
    read = b"".join(b.data for b in blocks)
    assert [json.loads(line) for line in read.splitlines()] == [document("a", f"{1:016x}"), document("b", f"{1:016x}")]
    assert blocks[-1].first_line == 3
    assert [(i.kind, i.line, i.error) for i in kept.issues] == [("too_long", 2, True)]


def test_a_document_over_the_limit_is_refused_as_a_whole() -> None:
    kept = Kept()
    assert whole(Stream("f", b"", iter([b"x" * 600, b"x" * 600])), kept, limit=1000) is None
    assert kept.kinds == ["too_long"]


@pytest.mark.parametrize("compress", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_a_decompression_bomb_needs_no_memory(compress) -> None:
    bomb = compress(ABC + b" " * (200 << 20))
    assert len(bomb) < 1 << 20
    kept = Kept()
    tracemalloc.start()
    stream = open_stream(io.BytesIO(bomb), "bomb", kept, lambda _: None)
    seen = sum(len(b.data) for b in line_blocks(stream, kept, limit=16 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == len(ABC)
    assert kept.kinds == ["too_long"]
    assert peak < 100 << 20


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(b"{}" * 99)[:10],
        gzip.compress(b"{}")[:10] + b"\xff" * 99,
        zstandard.compress(b"{}")[:6] + b"\xff" * 9,
    ],
)
def test_what_is_damaged_from_its_beginning_is_not_called_empty(tmp_path: Path, packed: bytes) -> None:
    (tmp_path / "trace").write_bytes(packed)
    kept, found = reading_of(tmp_path / "trace")
    assert kept.issues == []
    assert ["is damaged" in str(r) and "is empty" not in str(r) for r in found.refusals] == [True]


def test_an_empty_file_that_was_compressed_is_empty(tmp_path: Path) -> None:
    (tmp_path / "trace").write_bytes(gzip.compress(b""))
    _, found = reading_of(tmp_path / "trace")
    assert ["is empty" in str(r) for r in found.refusals] == [True]
