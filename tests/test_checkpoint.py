"""From the journal into the database: exactly once, whoever does it and whatever is in the way."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
from opentelemetry.sdk.trace import TracerProvider
from recorded_lines import journal_folder

import instrument
from instrument.journal import Journal
from instrument.otlp import Span, attributes, one_resource
from instrument.store.checkpoint import Adopted, adopt, unread
from instrument.store.connect import in_memory, reading, writing
from instrument.store.load import Loader


def line(n: int, **fields: Any) -> bytes:
    """A tool span as a journal line."""
    import msgspec

    facts = attributes(
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t", "gen_ai.tool.call.result": f"r{n}"}
    )
    span = Span(
        traceId=f"{1:032x}",
        spanId=f"{n + 1:016x}",
        name=f"s{n}",
        startTimeUnixNano=10**18 + n,
        endTimeUnixNano=10**18 + n + 1,
        attributes=facts,
        **fields,
    )
    return msgspec.json.encode(one_resource([span], scope="flyball")) + b"\n"


def names(database: Path) -> list[str]:
    with reading(database) as con:
        return [r[0] for r in con.execute("SELECT name FROM spans ORDER BY name").fetchall()]


def issues(database: Path) -> list[tuple[str, int]]:
    with reading(database) as con:
        return con.execute("SELECT kind, count FROM issues ORDER BY kind").fetchall()


def segments(database: Path) -> list[Path]:
    return sorted(journal_folder(database).glob("*.jsonl"))


def test_lines_arrive_once_while_the_owner_lives_and_the_segment_goes_when_it_is_gone(tmp_path: Path) -> None:
    database = tmp_path / "t.duckdb"
    journal = Journal(journal_folder(database))
    journal.write(line(0))
    assert adopt(database).spans == 1
    assert adopt(database).spans == 0
    journal.write(line(1))
    assert adopt(database).spans == 1
    assert names(database) == ["s0", "s1"]
    assert len(segments(database)) == 1, "its owner lives"
    journal.close()
    assert adopt(database, even_if_unchanged=True).spans == 0
    assert segments(database) == []
    assert names(database) == ["s0", "s1"]


def test_adopting_again_after_a_crash_before_the_deletion_changes_nothing(tmp_path: Path) -> None:
    database = tmp_path / "t.duckdb"
    segment = journal_folder(database) / "1-2-dead.jsonl"
    segment.parent.mkdir()
    segment.write_bytes(line(0) + line(1))
    assert adopt(database).spans == 2
    segment.write_bytes(line(0) + line(1))
    assert adopt(database, even_if_unchanged=True).spans == 0
    assert (names(database), segments(database)) == (["s0", "s1"], [])


def test_an_unfinished_line_waits_for_its_end(tmp_path: Path) -> None:
    database = tmp_path / "t.duckdb"
    journal = Journal(journal_folder(database))
    whole = line(1)
    journal.write(line(0) + whole[:50])
    assert adopt(database).spans == 1
    journal.write(whole[50:])
    assert adopt(database).spans == 1
    assert names(database) == ["s0", "s1"]
    assert issues(database) == []
    journal.close()


def test_a_line_torn_by_death_becomes_an_issue_and_the_rest_is_read(tmp_path: Path) -> None:
    database = tmp_path / "t.duckdb"
    segment = journal_folder(database) / "1-2-dead.jsonl"
    segment.parent.mkdir()
    segment.write_bytes(line(0) + b"no json at all\n" + line(1) + line(2)[:40])
    assert adopt(database).spans == 2
    assert (names(database), issues(database)) == (["s0", "s1"], [("broken_line", 1), ("torn_line", 1)])
    assert segments(database) == []


def test_many_and_large_segments_take_several_transactions(tmp_path: Path) -> None:
    database = tmp_path / "t.duckdb"
    folder = journal_folder(database)
    folder.mkdir()
    for n in range(120):
        (folder / f"1-{n}-dead.jsonl").write_bytes(line(n))
    long = line(500, events=[]).replace(b'"r500"', b'"' + b"x" * 9_000_000 + b'"')
    (folder / "2-1-dead.jsonl").write_bytes(
        long
        + b"".join(
            long.replace(b"s500", f"s{600 + n}".encode()).replace(f"{501:016x}".encode(), f"{700 + n:016x}".encode())
            for n in range(4)
        )
    )
    assert adopt(database).spans == 125
    assert len(names(database)) == 125
    assert segments(database) == []


def test_losses_reported_by_the_journal_become_issues(tmp_path: Path) -> None:
    database = tmp_path / "t.duckdb"
    journal = Journal(journal_folder(database))
    journal.lost = journal.unreported = 3
    journal.reason = "No space left on device"
    journal.write(line(0))
    journal.close()
    adopt(database)
    assert (names(database), issues(database)) == (["s0"], [("lost_spans", 3)])


FOREIGN = "import duckdb, sys; con = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"


def test_a_database_in_foreign_hands_is_waited_for_then_left_alone(tmp_path: Path) -> None:
    database = tmp_path / "t.duckdb"
    with writing(database):
        pass
    holder = subprocess.Popen(
        [sys.executable, "-c", FOREIGN, str(database)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        journal = Journal(journal_folder(database))
        journal.write(line(0))
        (issue,) = adopt(database, timeout_seconds=0.2).issues
        assert issue.kind == "journal_not_adopted"
        assert "held by another program" in issue.message
        assert str(journal_folder(database)) in issue.remedy
    finally:
        holder.communicate("")
    assert adopt(database).spans == 1
    journal.close()


def test_a_damaged_database_costs_no_span_and_can_be_read_around(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = tmp_path / "t.duckdb"
    database.write_bytes(b"this is no database" * 1000)

    @instrument.tool
    def work() -> str:
        return "done"

    recorder = instrument.record(database, tracer_provider=TracerProvider(), checkpoint_seconds=None)
    assert work() == "done"
    assert recorder.flush() is False
    assert "DuckDB" in (recorder.stats.checkpoint_problem or "")
    with caplog.at_level(logging.WARNING, "instrument"):
        recorder.close()
    assert any("Everything stays in" in r.getMessage() for r in caplog.records)
    assert recorder.stats.lost_spans == 0

    with in_memory() as con, Loader(con) as loader:
        for source, data, first_line in unread(database):
            loader.add_lines(data, source, first_line)
        assert loader.finish().spans == 1
    database.unlink()
    assert adopt(database).spans == 1


def test_a_round_may_be_cut_short_and_the_next_goes_on(tmp_path: Path) -> None:
    database = tmp_path / "t.duckdb"
    journal = Journal(journal_folder(database))
    for n in range(3):
        journal.write(line(n))
    assert adopt(database, longest_seconds=0) == Adopted(complete=False)
    assert len(segments(database)) == 1
    whole = adopt(database, longest_seconds=60)
    assert (whole.spans, whole.seen, whole.complete) == (3, 3, True)
    journal.write(line(1))
    assert (adopt(database).spans, adopt(database).seen) == (0, 0)
    journal.write(line(1))
    journal.write(line(7))
    again = adopt(database)
    assert (again.spans, again.seen) == (1, 2), "what comes again is seen and not new"
    journal.close()


def test_unread_gives_only_what_the_database_lacks(tmp_path: Path) -> None:
    database = tmp_path / "t.duckdb"
    journal = Journal(journal_folder(database))
    journal.write(line(0))
    journal.write(line(1))
    adopt(database)
    journal.write(line(2))
    ((source, data, first_line),) = unread(database)
    assert (data, first_line) == (line(2), 3)
    assert source.startswith("t.duckdb.journal/")
    journal.close()


def test_a_database_of_a_later_flyball_is_left_alone(tmp_path: Path) -> None:
    database = tmp_path / "t.duckdb"
    with writing(database) as con:
        con.execute("UPDATE flyball_meta SET value = '999' WHERE key = 'schema_version'")
    journal = Journal(journal_folder(database))
    journal.write(line(0))
    (issue,) = adopt(database).issues
    assert "upgrade" in issue.message
    journal.close()
    assert len(segments(database)) == 1


def test_the_background_thread_brings_spans_in_by_itself(tmp_path: Path) -> None:
    database = tmp_path / "t.duckdb"

    @instrument.tool
    def work() -> None: ...

    with instrument.record(database, tracer_provider=TracerProvider(), checkpoint_seconds=0.05) as recorder:
        work()
        deadline = time.monotonic() + 30
        while recorder.stats.checkpoints == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert names(database) == ["execute_tool work"]
        work()
    assert len(names(database)) == 2
    assert segments(database) == []


@pytest.mark.parametrize("seconds", ["2.0", "None"])
def test_a_process_that_just_ends_leaves_a_complete_database(tmp_path: Path, seconds: str) -> None:
    database = tmp_path / "t.duckdb"
    program = f"""
import sys, instrument
instrument.record(sys.argv[1], checkpoint_seconds={seconds})
@instrument.tool
def work(n): return n
for n in range(3): work(n)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(database)], check=True, timeout=60, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert len(names(database)) == 3
    assert segments(database) == []


WORKER = textwrap.dedent(
    """
    import sys, time
    import instrument

    recorder = instrument.record(sys.argv[1], checkpoint_seconds=float(sys.argv[2]))

    @instrument.tool
    def work(n):
        return n

    @instrument.agent(name=sys.argv[3])
    def run():
        n = 0
        while len(sys.argv) < 5 or n < int(sys.argv[4]):
            work(n)
            print(n, flush=True)
            n += 1
            time.sleep(0.0005)

    run()
    """
)


def test_killed_processes_lose_no_ended_span_and_show_as_unfinished(tmp_path: Path) -> None:
    database = tmp_path / "t.duckdb"
    chance = random.Random(7)
    printed = {}
    for n in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(database), "0.05", f"a{n}"], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0, 0.4))
        os.kill(process.pid, signal.SIGKILL)
        printed[f"a{n}"] = 1 + len(process.stdout.read().splitlines())
        process.wait()
        process.stdout.close()
    assert adopt(database).issues == ()
    with reading(database) as con:
        rows = con.execute(
            "SELECT agent_name, count(*) FILTER (kind = 'tool' AND end_ns IS NOT NULL),"
            " count(DISTINCT span_id) FILTER (kind = 'tool' AND end_ns IS NOT NULL),"
            " count(*) FILTER (kind = 'agent' AND end_ns IS NULL), count(DISTINCT run_id) FROM spans GROUP BY ALL"
        ).fetchall()
    assert len(rows) == 10
    for name, tools, distinct, unfinished, runs in rows:
        assert tools == distinct, "none twice"
        assert tools >= printed[name], "what the worker saw return is there"
        assert tools <= printed[name] + 1
        assert (unfinished, runs) == (1, 1)
    assert segments(database) == []


def test_several_processes_and_a_reader_never_meet_a_lock(tmp_path: Path) -> None:
    database = tmp_path / "t.duckdb"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(database), "0.1", f"a{n}", "300"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]
    while any(w.poll() is None for w in workers):
        if database.exists():
            with reading(database) as con:
                con.execute("SELECT count(*) FROM spans").fetchall()
        time.sleep(0.1)
    assert [(w.returncode, w.communicate()[1]) for w in workers] == [(0, "")] * 3
    assert adopt(database).issues == ()
    with reading(database) as con:
        counted = con.execute(
            "SELECT agent_name, count(*), count(DISTINCT span_id) FROM spans GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    assert counted == [(f"a{n}", 301, 301) for n in range(3)]


def test_a_poisoned_line_does_not_stop_the_others(tmp_path: Path) -> None:
    database = tmp_path / "t.duckdb"
    journal = Journal(journal_folder(database))
    journal.write(
        json.dumps(
            {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": 5, "name": "\ud800", "attributes": "x"}]}]}]}
        ).encode()
        + b"\n"
    )
    journal.write(b"\xff\xfe\n")
    journal.write(line(0))
    journal.close()
    assert adopt(database).issues == ()
    assert "s0" in names(database)
    assert duckdb.__version__
