"""What a budget costs: reserve before a call and settle after it. Usage: python -m benchmarks.ledger [seconds]

Floors, measured in the same run: two bare transactions of SQLite (write-ahead, one small row each), and two PINGs to the Redis
server. Alone: one thread. Crowded: 8 processes with 8 threads each, on one account, without a pause; what a pair takes then is
mostly waiting for the 63 others.
"""

from __future__ import annotations

import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from instrument.ledger import Ledger, open_ledger

PROCESSES, THREADS = 8, 8


def pair(ledger: Ledger) -> Callable[[], None]:
    """One call's worth of bookkeeping."""
    account = ledger.account("ann")

    def once() -> None:
        made = ledger.reserve(account, 0.001, limit_usd=1e9, hold_seconds=60)
        assert made
        ledger.settle(made, 0.0005)

    return once


def two_transactions(path: Path) -> Iterator[Callable[[], None]]:
    """The floor of a file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as con:
        con.execute("PRAGMA journal_mode = WAL")
        con.execute("PRAGMA synchronous = NORMAL")
        con.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, x INTEGER)")

        def once() -> None:
            for _ in range(2):
                con.execute("BEGIN IMMEDIATE")
                con.execute("INSERT INTO t (x) VALUES (1)")
                con.execute("COMMIT")

        yield once


def two_pings(address: str) -> Iterator[Callable[[], None]]:
    """The floor of a server."""
    import redis

    with closing(redis.Redis.from_url(address)) as client:

        def once() -> None:
            client.ping()
            client.ping()

        yield once


def timed(work: Callable[[], None], seconds: float) -> list[float]:
    """Milliseconds of each repetition within `seconds`; the first ones, which open files, are left out."""
    for _ in range(20):
        work()
    took, until = [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        work()
        took.append((time.perf_counter() - began) * 1e3)
    return took


def crowd(place: str, seconds: float) -> list[float]:
    """Milliseconds of each pair that all processes together made."""
    command = [sys.executable, "-m", "benchmarks.ledger", "--member", place, str(seconds)]
    members = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)]
    return [float(line) for member in members for line in member.communicate()[0].split()]


def member(place: str, seconds: float) -> None:
    """One process of the crowd."""
    took: list[float] = []
    with closing(open_ledger(place)) as ledger:
        once = pair(ledger)
        threads = [threading.Thread(target=lambda: took.extend(timed(once, seconds))) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print("\n".join(map(str, took)))


def told(took: list[float]) -> str:
    """Median and 99th percentile."""
    return f"p50 {statistics.median(took):.3f} ms, p99 {statistics.quantiles(took, n=100)[98]:.3f} ms"


@contextmanager
def servers() -> Iterator[dict[str, tuple[str, Iterator[Callable[[], None]]]]]:
    """Name -> place of a new ledger, and its floor."""
    with tempfile.TemporaryDirectory(prefix="fb-") as folder:
        found = {"sqlite": (f"{folder}/flyball.ledger", two_transactions(Path(folder, "floor")))}
        if (server := shutil.which("redis-server")) is None:
            print("redis: not measured, because redis-server is not installed")
            yield found
            return
        socket = f"{folder}/s"
        command = [server, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while not Path(socket).exists():
                time.sleep(0.01)
            yield {**found, "redis": (f"unix://{socket}", two_pings(f"unix://{socket}"))}
        finally:
            process.terminate()
            process.wait()


def main() -> None:
    """Prints what was measured."""
    if sys.argv[1:2] == ["--member"]:
        member(sys.argv[2], float(sys.argv[3]))
        return
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    with servers() as places:
        for name, (place, floors) in places.items():
            bare = timed(next(floors), seconds)
            with closing(open_ledger(place)) as ledger:
                alone = timed(pair(ledger), seconds)
            crowded = crowd(place, seconds)
            ratio = statistics.median(alone) / statistics.median(bare)
            print(f"{name}: a pair is {ratio:.1f} of its floor ({told(bare)})")
            print(f"  alone    {len(alone) / seconds:7,.0f} pairs a second, {told(alone)}")
            print(
                f"  crowded  {len(crowded) / seconds:7,.0f} pairs a second, {told(crowded)}, longest {max(crowded):.0f} ms"
            )


if __name__ == "__main__":
    main()
