"""`instrument.spill`: long results are cut, and the whole of them can be fetched."""

from __future__ import annotations

import re
import resource
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from instrument.spill import TOOL, Spill

NOTE = re.compile(r"\[\.\.\. (\d+) of (\d+) characters are missing here, from (\d+) to (\d+)\..*?\]\n", re.S)
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "x" * 500}}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_short_text_stays_and_leaves_no_trace(tmp_path: Path) -> None:
    with Spill(tmp_path) as spill:
        assert spill.cut("short", 200) is None
        assert list(tmp_path.iterdir()) == []


def test_a_long_text_keeps_its_ends_and_says_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    text = "".join(f"line {number}\n" for number in range(1_000))
    with Spill(tmp_path) as spill:
        cut = spill.cut(text, 500)
        assert cut is not None
        assert cut.id is not None
        note = NOTE.search(cut.text)
        assert note is not None
        missing, total, head, end = map(int, note.groups())
        assert (cut.total_chars, total, missing) == (len(text), len(text), end - head)
        assert cut.text == text[:head] + "\n" + note[0] + text[end:]
        assert len(cut.text) <= 500
        assert head > len(text) - end > 50
        assert f'Tool fetch_result, id "{cut.id}"' in note[0]
        assert spill.fetch(cut.id, head, missing) == f"[Characters {head} to {end} of {total}.]\n{text[head:end]}"


def test_what_is_kept_is_private_and_gone_after_close(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    cut = spill.cut("x" * 1_000, 200)
    assert cut is not None
    (kept,) = files(tmp_path)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    spill.close()
    assert list(tmp_path.iterdir()) == []
    assert "no result with this id" in spill.fetch(cut.id)
    lost = spill.cut("y" * 1_000, 200)
    assert lost is not None
    assert lost.id is None
    spill.close()


def test_what_is_kept_goes_with_its_owner_and_with_the_process_but_not_with_a_fork(tmp_path: Path) -> None:
    Spill(tmp_path).cut("x" * 1_000, 200)
    assert list(tmp_path.iterdir()) == []
    program = (
        "import os, sys, pathlib; from instrument.spill import Spill; folder = pathlib.Path(sys.argv[1]); spill = Spill(folder);"
        "spill.cut('x' * 1000, 200); child = os.fork() or sys.exit(0); os.waitpid(child, 0);"
        "print(sum(len(files) for _, _, files in os.walk(folder)))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("unknown", ["../../etc/passwd", "", "0" * 16, None, 7, ["x"]])
def test_an_unknown_id_is_answered_in_words(tmp_path: Path, unknown: Any) -> None:
    with Spill(tmp_path) as spill:
        spill.cut("x" * 1_000, 200)
        assert "no result with this id" in spill.fetch(unknown)


def test_a_fetch_is_bounded_and_bears_what_a_model_may_ask(tmp_path: Path) -> None:
    with Spill(tmp_path, fetch_chars=100) as spill:
        cut = spill.cut("x" * 1_000, 200)
        assert cut is not None
        assert spill.fetch(cut.id, 0, 10**9).endswith("\n" + "x" * 100)
        assert spill.fetch(cut.id, -5, -5).startswith("[Characters 0 to 100 of 1000.]")
        assert spill.fetch(cut.id, 990).startswith("[Characters 990 to 1000 of 1000.]")
        assert "has 1000 characters" in spill.fetch(cut.id, 1_000)
        assert spill.fetch(cut.id, "1", "2").startswith("[Characters 0 to 100")


def test_a_disk_that_takes_nothing_is_said_and_counted(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "missing")
    cut = spill.cut("x" * 1_000, 300)
    assert cut is not None
    assert cut.id is None
    assert "They are lost" in cut.text
    assert len(cut.text) <= 300
    assert spill.lost == 1


def test_a_disk_that_fills_up_leaves_no_half_of_a_file(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    spill.cut("x" * 1_000, 300)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A file that grows too large is then an OSError, like a full disk.
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        cut = spill.cut("y" * 300_000, 300)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert cut is not None
    assert cut.id is None
    assert spill.lost == 1
    assert len(files(tmp_path)) == 1
    spill.close()


def test_a_file_that_was_taken_away_is_said(tmp_path: Path) -> None:
    with Spill(tmp_path) as spill:
        cut = spill.cut("x" * 1_000, 200)
        assert cut is not None
        files(tmp_path)[0].unlink()
        assert "can no longer be read" in spill.fetch(cut.id)


@given(st.text(st.characters(), min_size=1, max_size=50), st.integers(1, 8_000), st.data())
def test_every_part_comes_back_surrogates_replaced(piece: str, repeats: int, data: st.DataObject) -> None:
    text = piece * repeats
    start = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(1, 5_000))
    with Spill() as spill:
        cut = spill.cut(text, len(text) - 1)
        assert cut is not None
        expected = text[start : start + length].encode("utf-8", "replace").decode()
        assert spill.fetch(cut.id, start, length).split("\n", 1)[1] == expected
        cut.text.encode()


def test_fifty_megabytes_take_bounded_time(tmp_path: Path) -> None:
    text = "ä" * 50_000_000
    with Spill(tmp_path) as spill:
        started = time.perf_counter()
        cut = spill.cut(text, 50_000)
        assert cut is not None
        assert spill.fetch(cut.id, 49_999_990).endswith("ä" * 10)
        assert time.perf_counter() - started < 10
    assert len(cut.text) <= 50_000


def test_several_threads_may_spill_at_once(tmp_path: Path) -> None:
    with Spill(tmp_path) as spill, ThreadPoolExecutor(8) as pool:
        cuts = list(pool.map(lambda number: spill.cut(str(number) * 1_000, 200), range(100)))
        assert len(list(tmp_path.iterdir())) == 1
        assert len({cut.id for cut in cuts if cut}) == 100
        assert all(cut and spill.fetch(cut.id, 0, 1).endswith(str(at)[0]) for at, cut in enumerate(cuts))


def test_texts_among_blocks_are_cut_to_their_share_and_images_stay(tmp_path: Path) -> None:
    blocks = [{"type": "text", "text": "a" * 6_000}, IMAGE, {"type": "text", "text": "b" * 2_000}]
    with Spill(tmp_path) as spill:
        content, cuts = spill.cut_content(blocks, 1_000)
        assert [block["type"] for block in content] == ["text", "image", "text"]
        assert content[1] == IMAGE
        first, second = (len(block["text"]) for block in content if "text" in block)
        assert 740 <= first <= 750
        assert 240 <= second <= 250
        assert [cut.total_chars for cut in cuts] == [6_000, 2_000]
        assert spill.cut_content(blocks, 8_000) == (blocks, ())
        assert spill.cut_content("x" * 300, 200)[1][0].total_chars == 300
        assert spill.cut_content(None, 200) == (None, ())


def test_many_small_texts_become_one_that_is_cut(tmp_path: Path) -> None:
    blocks = [IMAGE, *({"type": "text", "text": f"row {number}"} for number in range(1_000))]
    with Spill(tmp_path) as spill:
        content, (cut,) = spill.cut_content(blocks, 1_000)
        assert [block["type"] for block in content] == ["image", "text"]
        assert len(content[1]["text"]) <= 1_000
        assert "row 500" in spill.fetch(cut.id)


def test_the_tool_is_described_by_a_valid_schema() -> None:
    Draft202012Validator.check_schema(TOOL["input_schema"])
    assert set(TOOL) == {"name", "description", "input_schema"}
