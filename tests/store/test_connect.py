"""Opening the store: turns, foreign holders, foreign and damaged files."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import pytest

from instrument.errors import StoreEmpty, StoreForeign, StoreLocked, StoreTooNew
from instrument.store import schema
from instrument.store.connect import reading, writing

HOLD = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print('held', flush=True); time.sleep(float(sys.argv[2]))"


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "traces.duckdb"
    with writing(path):
        pass
    return path


def test_a_new_database_has_every_table_and_column(db: Path):
    with reading(db) as con:
        found = con.execute("SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal").fetchall()
    assert set(found) == {(t.name, c.name) for t in schema.TABLES for c in t.columns}


def test_a_new_database_has_every_macro_with_its_columns(db: Path):
    with reading(db) as con:
        for macro in schema.MACROS:
            found = con.execute(f"DESCRIBE FROM {macro.name}('spans')").fetchall()
            assert [(r[0], r[1]) for r in found] == [(c.name, c.type) for c in macro.columns]


def test_readers_and_writers_take_turns(db: Path):
    errors: list[BaseException] = []

    def work(n: int) -> None:
        try:
            for i in range(8):
                if n % 2:
                    with writing(db) as con:
                        con.execute("INSERT INTO flyball_meta VALUES (?, '')", [f"{n}-{i}"])
                else:
                    with reading(db) as con:
                        con.execute("SELECT count(*) FROM flyball_meta").fetchall()
        except BaseException as e:  # noqa: BLE001 - whatever it is, the test shall show it
            errors.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert errors == []
    with reading(db) as con:
        assert con.execute("SELECT count(*) FROM flyball_meta WHERE key LIKE '%-%'").fetchall() == [(16,)]


def held_by_another_program(db: Path, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(db), str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_foreign_holder_is_waited_for(db: Path):
    with held_by_another_program(db, 0.7) as process, reading(db, timeout_seconds=20) as con:
        assert con.execute("SELECT count(*) FROM spans").fetchall() == [(0,)]
        process.wait()


def test_a_foreign_holder_that_stays_is_named(db: Path):
    with held_by_another_program(db, 60) as process:
        started = time.monotonic()
        with pytest.raises(StoreLocked, match=f"PID {process.pid}"), reading(db, timeout_seconds=0.3):
            pass
        assert time.monotonic() - started < 10
        process.kill()


def test_reading_reaches_no_other_file(db: Path, tmp_path: Path):
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with reading(db) as con, pytest.raises(duckdb.Error, match="disabled"):
        con.execute(f"SELECT * FROM '{tmp_path / 'secret.csv'}'").fetchall()


def test_a_database_of_somebody_else_is_refused_and_left_alone(tmp_path: Path):
    path = tmp_path / "other.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE mine (x INTEGER)")
    for mode in (reading, writing):
        with pytest.raises(StoreForeign, match="not one of flyball"), mode(path):
            pass
    with duckdb.connect(str(path)) as con:
        assert con.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("mine",)]


def test_a_later_schema_is_refused(db: Path):
    with writing(db) as con:
        con.execute("UPDATE flyball_meta SET value = '999' WHERE key = 'schema_version'")
    with pytest.raises(StoreTooNew, match="999"), reading(db):
        pass


@pytest.mark.parametrize("content", [b"not a database at all", b"\0" * 20_000])
def test_a_damaged_file_says_what_to_do(tmp_path: Path, content: bytes):
    path = tmp_path / "broken.duckdb"
    path.write_bytes(content)
    for mode in (reading, writing):
        with pytest.raises(StoreForeign, match="move it aside"), mode(path):
            pass


def test_a_missing_database_is_a_missing_file(tmp_path: Path):
    with pytest.raises(FileNotFoundError), reading(tmp_path / "none.duckdb"):
        pass


def test_a_database_without_tables_points_to_the_journal(tmp_path: Path):
    path = tmp_path / "empty.duckdb"
    duckdb.connect(str(path)).close()
    with pytest.raises(StoreEmpty, match=r"empty\.duckdb\.journal"), reading(path):
        pass
    with writing(path) as con:  # and it is no obstacle once there is room again
        assert con.execute("SELECT count(*) FROM spans").fetchall() == [(0,)]
