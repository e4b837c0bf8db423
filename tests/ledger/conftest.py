"""Both ledgers, against the real thing: a file, and Debian's redis-server on a socket of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from instrument.ledger import Ledger, RedisLedger, SqliteLedger
from tests.ledger.clock import Clock, wait_for


@pytest.fixture(scope="session")
def redis_address() -> Iterator[str]:
    """Where a server listens that keeps nothing on disk."""
    server = shutil.which("redis-server")
    if server is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have redis-server (Debian package redis-server)", pytrace=False)
        pytest.skip("redis-server (Debian package redis-server) is not installed")
    import redis

    # Not below tmp_path: the path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="fb-") as folder:
        socket = Path(folder, "s")
        process = subprocess.Popen(
            [server, "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no", "--dir", folder],
            stdout=subprocess.DEVNULL,
        )
        try:
            with closing(redis.Redis(unix_socket_path=str(socket))) as client:
                wait_for(lambda: socket.exists() and client.ping())
            yield f"unix://{socket}"
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "redis"])
def ledger(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> Iterator[Ledger]:
    """An empty one whose clock is moved by hand."""
    made: Ledger
    if request.param == "sqlite":
        made = SqliteLedger(tmp_path / "flyball.ledger", clock=clock)
    else:
        # The folder's name is another one in each test, so no test sees what another has left.
        made = RedisLedger(request.getfixturevalue("redis_address"), prefix=str(tmp_path), clock=clock)
    with closing(made):
        yield made


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty ledger is, for several processes and the real clock."""
    if request.param == "sqlite":
        return str(tmp_path / "flyball.ledger")
    import redis

    address: str = request.getfixturevalue("redis_address")
    with closing(redis.Redis.from_url(address)) as client:
        client.flushall()
    return address
