"""Archives are read as if their members lay in a folder, whatever was done to them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from kept_sink import Kept, lines, reading_of

from analyzer.readers import Source, read, resolve
from analyzer.readers.archives import wanted

FILES = {"b/run.jsonl": lines(["b"]), "a.json": lines(["a"])}


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def zstd_zipped(files: dict[str, bytes]) -> bytes:
    """Method 93, as newer writers use it: stored members whose method is then said to be another, and whose sizes and sums are mended."""
    packed = {name: zstandard.ZstdCompressor().compress(content) for name, content in files.items()}
    data = bytearray(zipped(packed, zipfile.ZIP_STORED))
    for mark, method_at, facts_at in ((b"PK\3\4", 8, 14), (b"PK\1\2", 10, 16)):
        at = -1
        for content, frame in zip(files.values(), packed.values(), strict=True):
            at = data.index(mark, at + 1)
            struct.pack_into("<H", data, at + method_at, 93)
            struct.pack_into("<III", data, at + facts_at, zlib.crc32(content), len(frame), len(content))
    return bytes(data)


def tarred(files: dict[str, bytes], layout: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=layout) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


PACKED = [
    pytest.param(zipped(FILES), id="zip"),
    pytest.param(zipped(FILES, zipfile.ZIP_STORED), id="zip, stored"),
    pytest.param(zipped(FILES, zipfile.ZIP_BZIP2), id="zip, bzip2"),
    pytest.param(zipped(FILES, zipfile.ZIP_LZMA), id="zip, lzma"),
    pytest.param(zstd_zipped(FILES), id="zip, zstd"),
    pytest.param(gzip.compress(zipped(FILES)), id="zip in gzip"),
    pytest.param(
        zipped({"nameless": FILES["a.json"], "b": FILES["b/run.jsonl"]}).replace(b"nameless", b"\0ameless"),
        id="zip, a member without a name",
    ),
    pytest.param(tarred(FILES), id="tar"),
    pytest.param(tarred(FILES, tarfile.GNU_FORMAT), id="tar, gnu"),
    pytest.param(tarred(FILES, tarfile.USTAR_FORMAT), id="tar, ustar"),
    pytest.param(gzip.compress(tarred(FILES)), id="tar.gz"),
    pytest.param(zstandard.compress(tarred(FILES)), id="tar.zst"),
    pytest.param(lzma.compress(tarred(FILES)), id="tar.xz"),
    pytest.param(bz2.compress(tarred(FILES)), id="tar.bz2"),
    pytest.param(tarred({"x/inner.zip": zipped(FILES)}), id="zip in tar"),
    pytest.param(zipped({"inner.tgz": gzip.compress(tarred({"i.zip": zipped(FILES)}))}), id="zip in tar.gz in zip"),
    pytest.param(zipped({name + ".gz": gzip.compress(data) for name, data in FILES.items()}), id="gzip in zip"),
]


@pytest.mark.parametrize("content", PACKED)
def test_members_are_read_as_files_of_a_folder(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "packed").write_bytes(content)
    kept, reading = reading_of(tmp_path / "packed")
    assert (sorted(kept.names), kept.issues, reading.refusals) == (["a", "b"], [], [])


@pytest.mark.parametrize("content", PACKED)
def test_an_archive_may_come_through_a_pipe(content: bytes) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    kept = Kept()
    read(resolve(["-"]).sources, kept, stdin=Pipe(content))
    assert (sorted(kept.names), kept.issues) == (["a", "b"], [])


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_member_is_named_by_archive_and_path(tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes]) -> None:
    deep = "sessions/" + "very-" * 40 + "long/run.jsonl"
    (tmp_path / "packed").write_bytes(pack({deep: b"{broken\n" + lines(["a"]), "../../etc/x\x80": lines(["b"])[:-9]}))
    kept, _ = reading_of(tmp_path / "packed")
    assert [i.source for i in kept.issues if i.kind == "broken_line"] == [f"{tmp_path}/packed!{deep}"]
    assert {i.source for i in kept.issues} - {f"{tmp_path}/packed!{deep}"} == {f"{tmp_path}/packed!etc/x\x80"}


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_what_is_no_trace_is_said_once_and_what_is_about_the_others_not_at_all(
    tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    others = {f"notes/{n}.txt": b"hello" for n in range(300)}
    aside = {"README.md": b"hi", ".git/config": b"x", "__MACOSX/._a.json": b"\0", "LICENSE": b"mine"}
    (tmp_path / "packed").write_bytes(pack({**others, **aside, **FILES}))
    kept, _ = reading_of(tmp_path)
    assert sorted(kept.names) == ["a", "b"]
    assert [(i.kind, i.count, i.error) for i in kept.issues] == [("not_a_trace", 300, False)]
    assert "notes/0.txt holds no trace" in kept.issues[0].message


@pytest.mark.parametrize(
    "content",
    [zipped({"a.txt": b"hello"}), tarred({"a.txt": b"hello"}), zipped({}), b"PK\3\4damaged", zipped(FILES)[:-30]],
    ids=["zip", "tar", "empty", "damaged", "cut off"],
)
def test_an_archive_without_a_readable_trace_is_refused_when_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "packed").write_bytes(content)
    kept, reading = reading_of(tmp_path / "packed")
    assert (kept.names, kept.issues, len(reading.refusals)) == ([], [], 1)
    assert "archive" in str(reading.refusals[0])


def test_links_and_folders_have_no_content(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind in (
            ("d", tarfile.DIRTYPE),
            ("l", tarfile.SYMTYPE),
            ("h", tarfile.LNKTYPE),
            ("f", tarfile.FIFOTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        member = tarfile.TarInfo("a.json")
        member.size = len(FILES["a.json"])
        archive.addfile(member, io.BytesIO(FILES["a.json"]))
    (tmp_path / "packed").write_bytes(out.getvalue())
    kept, _ = reading_of(tmp_path / "packed")
    assert (kept.names, kept.issues) == (["a"], [])


def test_encrypted_and_damaged_members_are_issues_and_the_others_are_read(tmp_path: Path) -> None:
    data = bytearray(zipped({"1": lines(["a"]), "2": lines(["b" * 9] * 50), "3": lines(["c"])}))
    for mark, flags_at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + flags_at] |= 1
    second = data.index(b"PK\3\4", 10)
    data[second + 60] ^= 0xFF
    (tmp_path / "packed").write_bytes(data)
    kept, _ = reading_of(tmp_path / "packed")
    assert "c" in kept.names
    assert "a" not in kept.names
    assert {"encrypted_member", "damaged_member"} <= set(kept.kinds)


def test_a_tar_that_is_cut_off_gives_what_came_before_the_cut(tmp_path: Path) -> None:
    (tmp_path / "packed").write_bytes(tarred({"1": lines(["a"]), "2": lines(["b"] * 50)})[:4_000])
    kept, _ = reading_of(tmp_path / "packed")
    assert kept.names[:2] == ["a", "b"]
    assert kept.kinds == ["unfinished_line", "cut_off"]


def test_archives_are_opened_three_deep_and_no_deeper(tmp_path: Path) -> None:
    packed = lines(["a"])
    for _ in range(3):
        packed = zipped({"x": packed, "y": lines(["b"])})
    (tmp_path / "three").write_bytes(packed)
    (tmp_path / "four").write_bytes(zipped({"x": packed, "y": lines(["c"])}))
    kept, _ = reading_of(tmp_path / "three")
    assert (sorted(kept.names), kept.issues) == (["a", "b", "b", "b"], [])
    kept, _ = reading_of(tmp_path / "four")
    assert (sorted(kept.names), kept.kinds) == (["b", "b", "c"], ["not_a_trace"])
    assert "within 3 others" in kept.issues[0].message


def test_a_zip_bomb_needs_no_memory(tmp_path: Path) -> None:
    (tmp_path / "bomb").write_bytes(zipped({"a": lines(["a"]) + b" " * (280 << 20)}))
    assert (tmp_path / "bomb").stat().st_size < 1 << 20
    kept = Kept()
    tracemalloc.start()
    read([Source(str(tmp_path / "bomb"), named=True)], kept)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert kept.names == ["a"]
    assert peak < 400 << 20


def test_limits_on_members_and_bytes_end_an_archive_with_an_issue() -> None:
    def members(count: int):
        return ((f"{n}", iter([b"x" * 10])) for n in range(count))

    kept = Kept()
    assert len(list(wanted(members(9), "f", kept, members_limit=5))) == 5
    total = sum(len(p) for m in wanted(members(9), "f", kept, bytes_limit=25) for p in m.pieces)
    assert (total, kept.kinds) == (20, ["archive_too_large"] * 2)


def test_a_tar_with_absurd_lengths_is_an_issue() -> None:
    header = bytearray(tarred({"a": b"x"}, tarfile.USTAR_FORMAT)[:512])
    header[124:136] = b"\xff" * 12  # base-256, below zero
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    kept = Kept()
    reading = read([Source("-", named=True)], kept, stdin=io.BytesIO(bytes(header) + b"x" * 512))
    assert len(reading.refusals) == 1
    assert kept.kinds in (["damaged_archive"], [])


def test_each_sample_of_an_inspect_log_is_a_file_of_its_own(tmp_path: Path) -> None:
    """Each sample of a log lies in a member of its own; which of them are traces is their format's matter."""
    (tmp_path / "log.eval").write_bytes(
        zipped({"header.json": b"{}", "samples/1_epoch_1.json": lines(["s"]), "_journal/start.json": b"{}"})
    )
    kept, reading = reading_of(tmp_path / "log.eval")
    assert (kept.names, reading.refusals) == (["s"], [])
    assert [(i.kind, i.count) for i in kept.issues] == [("not_a_trace", 2)]


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_progress_hears_of_every_byte_of_an_archive(tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes]) -> None:
    noise = {f"{n}.jsonl": lines([f"{n * 7919:x}-{i * 104729:x}" for i in range(9_000)]) for n in range(6)}
    (tmp_path / "packed").write_bytes(pack(noise))
    heard: list[int] = []
    read(resolve([str(tmp_path / "packed")]).sources, Kept(), advance=heard.append)
    assert sum(heard) == (tmp_path / "packed").stat().st_size
