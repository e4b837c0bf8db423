"""A reading connection holds a gigabyte at most, and has somewhere to put the rest."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from instrument.store.connect import reading, writing

_ROWS = 3_000_000


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "traces.duckdb"
    with writing(path):
        pass
    return path


def test_a_reading_connection_is_held_to_a_gigabyte(db: Path):
    with reading(db) as con:
        assert con.execute("SELECT current_setting('memory_limit')").fetchall() == [("953.6 MiB",)]


def test_what_does_not_fit_is_put_on_disk_though_no_other_file_can_be_read(db: Path):
    with reading(db) as con:
        con.execute("SET memory_limit = '30MB'")
        con.execute(f"CREATE TEMP TABLE wide AS SELECT range AS n, hash(range) AS key FROM range({_ROWS})")
        assert list(db.parent.glob("*.tmp/duckdb_temp_*"))
        assert con.execute("SELECT count(*), max(n) FROM wide").fetchall() == [(_ROWS, _ROWS - 1)]
        with pytest.raises(duckdb.PermissionException):
            con.execute("SELECT * FROM read_text('/etc/hostname')").fetchall()
    assert not list(db.parent.glob("*.tmp"))
