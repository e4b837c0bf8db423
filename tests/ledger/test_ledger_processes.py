"""Eight processes with eight threads each, against one limit of one day; two of them are killed in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from instrument.errors import ReviewDecided
from instrument.ledger import Account, open_ledger
from tests.ledger.clock import Clock, wait_for
from tests.ledger.spender import DAY
from tests.ledger.test_ledger_reviews import question

PROCESSES, THREADS, KILLED = 8, 8, 2
LIMIT, CALL, HOLD = 20.0, 0.4, 1.5
ANN = Account("ann", DAY)


@pytest.mark.timeout(120)
def test_the_limit_holds_nothing_is_lost_and_the_dead_keep_nothing(place: str, tmp_path: Path) -> None:
    logs = [tmp_path / f"{n}.log" for n in range(PROCESSES)]
    command = [sys.executable, "-m", "tests.ledger.spender", place, *map(str, (THREADS, LIMIT, CALL, HOLD))]
    spenders = [subprocess.Popen([*command, str(log)], cwd=Path(__file__).parents[2]) for log in logs]
    with closing(open_ledger(place)) as ledger:
        wait_for(lambda: all(log.exists() and log.stat().st_size for log in logs[:KILLED]), 60)
        for spender in spenders[:KILLED]:
            spender.kill()
        seen = [ledger.spent(ANN)]
        while any(spender.poll() is None for spender in spenders):
            seen.append(ledger.spent(ANN))
            time.sleep(0.002)
        time.sleep(HOLD)
        spent = ledger.spent(ANN)

    assert [spender.returncode for spender in spenders] == [-9] * KILLED + [0] * (PROCESSES - KILLED)
    assert seen[0].settled_usd < 0.8 * LIMIT, "they were killed when all was over"
    assert len(seen) > 100
    assert max(s.settled_nanos + s.reserved_nanos for s in seen) <= LIMIT * 1e9
    assert LIMIT - CALL < spent.settled_usd <= LIMIT
    assert spent.reserved_nanos == 0
    noted = [sum(map(int, log.read_text().split())) for log in logs]
    # A killed thread may have settled its last call without having noted it.
    assert sum(noted) <= spent.settled_nanos <= sum(noted) + KILLED * THREADS * CALL * 1e9
    assert min(noted) > 0


def test_of_many_who_answer_or_take_at_once_one_does(place: str, clock: Clock) -> None:
    starting = threading.Barrier(12)

    def answer_and_take(number: int) -> tuple[bool, bool]:
        with closing(open_ledger(place)) as own:
            starting.wait()
            taken = own.take("r1", f"process {number}", hold_seconds=60)
            try:
                return own.decide("r1", approved=True, by=str(number)).decided_by == str(number), taken
            except ReviewDecided:
                return False, taken

    with closing(open_ledger(place)) as ledger, ThreadPoolExecutor(12) as threads:
        ledger.ask(question(clock))
        ledger.save_state("r1", b"state")
        answers = list(threads.map(answer_and_take, range(12)))
    assert sum(answered for answered, _ in answers) == 1
    assert sum(taken for _, taken in answers) == 1


def test_a_fork_may_go_on_with_the_ledger_of_its_parent(place: str) -> None:
    with closing(open_ledger(place)) as ledger:
        first = ledger.reserve(ANN, 0.5, limit_usd=1.0, hold_seconds=60)
        assert first
        child = os.fork()
        if child == 0:
            status = 1
            try:
                own = ledger.reserve(ANN, 0.5, limit_usd=1.0, hold_seconds=60)
                status = 0 if own and ledger.reserve(ANN, 0.1, limit_usd=1.0, hold_seconds=60) is None else 2
                ledger.settle(first, 0.25)
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        spent = ledger.spent(ANN)
        assert (spent.settled_usd, spent.reserved_usd) == (0.25, 0.5)
