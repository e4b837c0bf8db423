"""The journal file itself: what happens when writing does not work, when processes fork, when segments grow."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from recorded_lines import journal_folder, spans_in

import instrument
import instrument.store.checkpoint
import instrument.store.connect
from instrument.journal import Journal, _new_segment

LINE = b'{"resourceSpans":[]}\n'


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


@contextlib.contextmanager
def largest_file(limit: int) -> Iterator[None]:
    """No file of this process may grow beyond `limit` bytes: a write beyond it fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_line_is_in_the_file_the_moment_write_returns(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a" / "b.journal")
    assert not (tmp_path / "a").exists(), "nothing is created before there is something to write"
    assert journal.write(LINE)
    (segment,) = segments(journal.folder)
    assert segment.read_bytes() == LINE
    assert str(os.getpid()) in segment.name
    journal.close()


def test_the_lock_says_whether_the_owner_lives(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.write(LINE)
    (segment,) = segments(tmp_path / "j")
    with segment.open("rb") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        journal.close()
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_segment_that_has_grown_enough_is_followed_by_another(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=3 * len(LINE))
    for _ in range(7):
        journal.write(LINE)
    journal.close()
    assert [s.read_bytes().count(b"\n") for s in segments(tmp_path)] == [3, 3, 1]
    assert journal.spans == 7


def test_on_a_full_disk_the_line_is_torn_closed_and_the_loss_reported_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.write(LINE)
    with largest_file(len(LINE) + 8):
        assert not journal.write(LINE)
        assert not journal.write(LINE)
        assert not journal.write(LINE, mark=True)
    assert (journal.lost, journal.unreported) == (2, 2), "a mark that is not written is no loss"
    assert journal.write(LINE)
    assert journal.write(LINE)
    assert (journal.lost, journal.unreported) == (2, 0)
    journal.close()

    lines = segments(tmp_path)[0].read_bytes().splitlines()
    assert lines[0] == lines[3] == lines[4] == LINE.strip()
    assert lines[1] == LINE[:8], "the torn line is ended before the next one begins"
    (span,) = json.loads(lines[2])["resourceSpans"][0]["scopeSpans"][0]["spans"]
    facts = {a["key"]: a["value"] for a in span["attributes"]}
    assert span["name"] == "flyball.loss"
    assert facts["flyball.lost.spans"] == {"intValue": "2"}
    assert "File too large" in facts["flyball.lost.reason"]["stringValue"]


def test_a_batch_that_does_not_fit_leaves_nothing_behind_and_is_no_loss(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.append(LINE, 3)
    (segment,) = segments(journal.folder)
    with largest_file(len(LINE) + 10), pytest.raises(OSError, match="large"):
        journal.append(LINE, 5)
    assert segment.read_bytes() == LINE
    journal.append(LINE, 5)
    assert segment.read_bytes() == LINE + LINE
    assert (journal.spans, journal.lost, journal.unreported) == (8, 0, 0)
    journal.close()


def test_a_folder_that_cannot_be_made_loses_spans_but_disturbs_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "t.duckdb.journal").write_text("a file stands in the way")

    @instrument.tool
    def work() -> int:
        return 7

    recorder = instrument.record(tmp_path / "t.duckdb", tracer_provider=TracerProvider(), checkpoint_seconds=None)
    assert [work() for _ in range(3)] == [7, 7, 7]
    assert recorder.stats.lost_spans == 3
    with caplog.at_level(logging.WARNING, "instrument"):
        recorder.close()
    (said,) = [r.getMessage() for r in caplog.records if "could not be recorded" in r.getMessage()]
    assert said.startswith("3 spans")
    assert "File exists" in said


def test_what_was_lost_is_reported_as_soon_as_writing_works_again(tmp_path: Path) -> None:
    obstacle = tmp_path / "t.duckdb.journal"
    obstacle.write_text("")
    journal = Journal(obstacle)
    assert not journal.write(LINE)
    obstacle.unlink()
    journal._next_try = 0.0  # a second has passed
    assert journal.write(LINE)
    journal.close()
    assert [b"flyball.loss" in line for line in segments(obstacle)[0].read_bytes().splitlines()] == [True, False]


@contextlib.contextmanager
def without_root() -> Iterator[None]:
    """As an ordinary user, also where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_folder_disturbs_nobody(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with without_root():
        journal = Journal(tmp_path / "j")
        assert not journal.write(LINE)
    tmp_path.chmod(0o700)
    assert journal.lost == 1
    assert "ermission" in (journal.reason or "")


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=5_000)
    line = b'{"x":"' + b"y" * 500 + b'"}\n'
    threads = [threading.Thread(target=lambda: [journal.write(line) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    assert b"".join(s.read_bytes() for s in segments(tmp_path)) == line * 200


def test_a_segment_deleted_between_open_and_lock_is_replaced(tmp_path: Path) -> None:
    deleted: list[Path] = []

    def lock(fd: int, how: int) -> None:
        if not deleted:  # another process takes the new, still empty segment for a dead one's
            deleted.extend(segments(tmp_path))
            deleted[0].unlink()
        fcntl.flock(fd, how)

    fd = _new_segment(tmp_path, 1, lock)
    os.write(fd, LINE)
    os.close(fd)
    (segment,) = segments(tmp_path)
    assert segment != deleted[0]
    assert segment.read_bytes() == LINE


def test_a_forked_child_has_a_segment_of_its_own(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import os, sys
        import instrument

        recorder = instrument.record(sys.argv[1], checkpoint_seconds=0.05)

        @instrument.tool
        def work(who):
            return who

        work("parent, before")
        children = []
        for n in range(3):
            child = os.fork()
            if child == 0:
                work(f"child {n}")
                os._exit(0 if recorder.stats.spans == 1 else 1)
            children.append(child)
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
        work("parent, after")
        """
    )
    database = tmp_path / "t.duckdb"
    subprocess.run([sys.executable, "-c", program, str(database)], check=True, timeout=60)
    assert instrument.store.checkpoint.adopt(database).issues == ()
    assert segments(journal_folder(database)) == []
    with instrument.store.connect.reading(database) as con:
        results = con.execute("SELECT result FROM spans JOIN contents USING (span_key) ORDER BY result").fetchall()
    assert [r[0] for r in results] == ["child 0", "child 1", "child 2", "parent, after", "parent, before"]


def test_spans_in_progress_leave_a_mark_that_their_end_replaces(tmp_path: Path) -> None:
    database = tmp_path / "t.duckdb"
    recorder = instrument.record(database, tracer_provider=TracerProvider(), checkpoint_seconds=None)
    started, go_on = threading.Event(), threading.Event()

    @instrument.tool
    def hang() -> None:
        started.set()
        go_on.wait(30)

    @instrument.agent(name="slow")
    def run() -> None:
        hang()

    thread = threading.Thread(target=run)
    thread.start()
    started.wait(30)
    assert [m["name"] for m in spans_in(database, marks=True)] == ["invoke_agent slow"], "a run is marked at once"
    for _ in range(100):
        if len(marks := spans_in(database, marks=True)) == 2:
            break
        threading.Event().wait(0.05)
    go_on.set()
    thread.join()
    assert [m["name"] for m in marks] == ["invoke_agent slow", "execute_tool hang"]
    assert all(m["attributes"]["flyball.pending"] is True for m in marks)
    assert {m["attributes"]["flyball.run.id"] for m in marks} == {marks[0]["spanId"]}
    ended = spans_in(database)
    assert {s["spanId"] for s in ended} == {m["spanId"] for m in marks}
    instrument.tracing.forget(recorder)
    recorder._marks.close()
    recorder.journal.close()
