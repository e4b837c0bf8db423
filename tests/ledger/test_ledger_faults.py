"""What stands in a ledger's way is said in one sentence, with the remedy; and nothing else is harmed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from instrument.errors import LedgerError
from instrument.ledger import Account, Ledger, RedisLedger, SqliteLedger, open_ledger
from tests.ledger.clock import Clock
from tests.ledger.spender import DAY

ANN = Account("ann", DAY)


def reserve(ledger: Ledger, usd: float = 0.5) -> object:
    return ledger.reserve(ANN, usd, limit_usd=1.0, hold_seconds=60)


# --- Files ------------------------------------------------------------------------------------------------------------


def test_the_file_and_those_beside_it_are_the_owners_alone(tmp_path: Path) -> None:
    with closing(SqliteLedger(tmp_path / "a" / "b" / "flyball.ledger")) as ledger:
        assert not (tmp_path / "a").exists()
        reserve(ledger)
        modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "a" / "b").iterdir()}
    assert modes == {"flyball.ledger": 0o600, "flyball.ledger-wal": 0o600, "flyball.ledger-shm": 0o600}


def test_a_file_that_others_hold_is_an_error_after_the_time_given(tmp_path: Path) -> None:
    path = tmp_path / "flyball.ledger"
    with closing(SqliteLedger(path, timeout_seconds=0.1)) as ledger, closing(sqlite3.connect(path)) as other:
        reserve(ledger)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match=r"flyball\.ledger: was held by others for 0\.1 s; close the program"):
            reserve(ledger)
        assert ledger.spent(ANN).reserved_usd == 0.5  # reading goes on
        other.rollback()
        assert reserve(ledger)


def test_a_full_disk_is_an_error_and_what_was_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "flyball.ledger"
    with closing(SqliteLedger(path)) as ledger:
        reserve(ledger)
        ledger.settle(reserve(ledger), 0.25)  # type: ignore[arg-type]
    # A limit on the size of files makes a real write fail, in the middle of a transaction; it would outlive this test.
    script = f"""
import resource
from instrument.errors import LedgerError
from instrument.ledger import SqliteLedger
from tests.ledger.test_ledger_faults import ANN
from tests.ledger.test_ledger_reviews import question
from tests.ledger.clock import Clock
ledger = SqliteLedger({str(path)!r})
ledger.ask(question(Clock()))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    ledger.save_state("r1", bytes(1_000_000))
except LedgerError as e:
    print(e)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ledger.save_state("r1", bytes(1_000_000))
print(ledger.spent(ANN))
ledger.close()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    error, spent = done.stdout.splitlines()
    assert "cannot be written" in error
    assert "make room on the disk" in error
    assert spent == "Spending(settled_nanos=250000000, reserved_nanos=500000000)"


def test_another_programs_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE notes (text)")
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="another program's SQLite database"), closing(SqliteLedger(path)) as ledger:
        reserve(ledger)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["notes.db"]


def test_what_is_no_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "traces.duckdb"
    path.write_bytes(b"DUCK" * 4096)
    with pytest.raises(LedgerError, match="is no ledger, or damaged"), closing(SqliteLedger(path)) as ledger:
        ledger.spent(ANN)
    assert path.read_bytes() == b"DUCK" * 4096


def test_a_later_flyballs_ledger_asks_for_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "flyball.ledger"
    with closing(SqliteLedger(path)) as ledger:
        reserve(ledger)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 7")
    with pytest.raises(LedgerError, match=r"version 7, this flyball knows up to 1; upgrade"):
        reserve(SqliteLedger(path))


@pytest.mark.parametrize("name", ["", "file/flyball.ledger"])
def test_a_place_where_no_file_can_be_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="FLYBALL_LEDGER"):
        reserve(SqliteLedger(tmp_path / name))


def test_a_forked_child_inherits_no_open_file(tmp_path: Path) -> None:
    with closing(SqliteLedger(tmp_path / "flyball.ledger")) as ledger:
        reserve(ledger)
        ours = {path.stat().st_ino for path in tmp_path.iterdir()}
        child = os.fork()
        if child == 0:
            # SQLite does not know that a child holds none of its parent's locks, so they must not share a file.
            os._exit(len(ours & {inode(fd) for fd in range(3, 256)}))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert reserve(ledger)
        assert ours & {inode(fd) for fd in range(3, 256)}


def inode(fd: int) -> int | None:
    try:
        return os.fstat(fd).st_ino
    except OSError:  # not open
        return None


# --- Servers ----------------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_an_error_that_keeps_the_password() -> None:
    with pytest.raises(LedgerError, match=r"redis://127\.0\.0\.1:1/0: cannot be reached") as error:
        reserve(RedisLedger("redis://ann:hunter2@127.0.0.1:1/0"))
    assert "hunter2" not in str(error.value)
    assert "hunter2" not in repr(RedisLedger("redis://ann:hunter2@127.0.0.1:1/0"))


def test_a_server_without_memory_is_an_error(redis_address: str, tmp_path: Path) -> None:
    import redis

    ledger = RedisLedger(redis_address, prefix=str(tmp_path))
    with closing(redis.Redis.from_url(redis_address)) as client, closing(ledger):
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(LedgerError, match=r"the server refused .*memory"):
                reserve(ledger)
        finally:
            client.config_set("maxmemory", 0)
        assert reserve(ledger)


def test_a_server_that_forgot_the_scripts_is_taught_again(redis_address: str, tmp_path: Path) -> None:
    import redis

    with closing(redis.Redis.from_url(redis_address)) as client:
        ledger = RedisLedger(client, prefix=str(tmp_path))
        assert reserve(ledger)
        client.script_flush()
        assert reserve(ledger)
        assert reserve(ledger) is None


def test_a_reservation_whose_answer_was_lost_on_the_way_is_sent_again_and_counts_once(
    redis_address: str, tmp_path: Path
) -> None:
    with closing(RedisLedger(redis_address, prefix=str(tmp_path), ids=lambda: "the same call")) as ledger:
        assert reserve(ledger) == reserve(ledger) is not None
        assert ledger.spent(ANN).reserved_usd == 0.5


def test_an_account_is_forgotten_after_some_days_and_a_waiting_question_never(
    redis_address: str, tmp_path: Path, clock: Clock
) -> None:
    import redis

    from tests.ledger.test_ledger_reviews import question

    with closing(redis.Redis.from_url(redis_address)) as client:
        ledger = RedisLedger(client, prefix=str(tmp_path), clock=clock)
        made = ledger.reserve(ANN, 0.5, limit_usd=1.0, hold_seconds=60)
        assert made
        ledger.settle(made, 0.5)
        assert reserve(ledger)
        for name in ("open", "answered"):
            ledger.ask(question(clock, name))
            ledger.save_state(name, b"state")
        ledger.decide("answered", approved=True)
        days = {
            key.decode().removeprefix(f"{tmp_path}:"): client.ttl(key) / 86_400
            for key in client.scan_iter(f"{tmp_path}:*")
        }
    assert {key: round(left) for key, left in days.items() if left > 0} == {
        "{2100-01-01:ann}:holds": 8,
        "{2100-01-01:ann}:settled": 8,
        "{2100-01-01:ann}:done": 8,
        "{reviews}:review:answered": 90,
        "{reviews}:state:answered": 90,
    }
    assert {key for key, left in days.items() if left < 0} == {
        "{reviews}:review:open", "{reviews}:state:open", "{reviews}:waiting", "{reviews}:decided",
    }  # fmt: skip


def test_a_client_that_decodes_what_it_gets_serves_as_well(redis_address: str, tmp_path: Path, clock: Clock) -> None:
    import redis

    from tests.ledger.test_ledger_reviews import question

    with closing(redis.Redis.from_url(redis_address, decode_responses=True)) as client:
        ledger = RedisLedger(client, prefix=str(tmp_path))
        made = ledger.reserve(ledger.account("ann"), 0.5, limit_usd=1.0, hold_seconds=60)
        assert made
        ledger.settle(made, 0.25)
        assert ledger.spent(made.account).settled_usd == 0.25
        asked = question(clock)
        ledger.ask(asked)
        ledger.save_state("r1", bytes(range(256)))
        assert (ledger.reviews(), ledger.load_state("r1")) == ([asked], bytes(range(256)))
        ledger.close()
        assert client.ping()  # it is the application's


def test_without_redis_installed_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(LedgerError, match=r"pip install 'flyball\[redis\]'"):
        open_ledger("redis://127.0.0.1:6379")


# --- Opening ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_place_is_what_is_given_then_the_environments_then_the_default(here: Path) -> None:
    env = {"FLYBALL_LEDGER": "env.ledger"}
    opened = [open_ledger(w, environment=e) for w, e in ((Path("a.l"), env), (None, env), ("", {}), (None, {}))]
    assert [ledger.path.relative_to(here) for ledger in opened if isinstance(ledger, SqliteLedger)] == [
        Path("a.l"), Path("env.ledger"), Path("flyball.ledger"), Path("flyball.ledger"),
    ]  # fmt: skip
    assert open_ledger(opened[0]) is opened[0]


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("redis://u:p@example.org:7000/3", "redis://example.org:7000/3"),
        ("rediss://example.org", "redis://example.org:6379/0"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock"),
    ],
)
def test_an_address_is_a_server(address: str, where: str) -> None:
    ledger = open_ledger(address)
    assert isinstance(ledger, RedisLedger)
    assert ledger.where == where


def test_a_ledger_that_must_exist_and_does_not_is_an_error(here: Path) -> None:
    with pytest.raises(LedgerError, match="no such ledger"):
        open_ledger("typo.ledger", must_exist=True)
    with pytest.raises(LedgerError, match="is no kind of ledger"):
        open_ledger("postgres://u:secret@host/db")
    assert not list(here.iterdir())
