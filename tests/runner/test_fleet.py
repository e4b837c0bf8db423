"""64 runs at once of one user, in eight processes, against the limit of one day; one of them is killed in the middle."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from instrument import billing
from instrument.ledger import open_ledger
from instrument.prices import Prices
from instrument.testing import ModelServer, Reply, Usage, delayed, estimated_tokens, tool_use
from tests.ledger.clock import wait_for
from tests.ledger.conftest import redis_address
from tests.runner.fleet import HOLD_SECONDS, LIMIT_USD
from tests.runner.in_memory import DAY

PROCESSES, RUNS = 8, 8
__all__ = ["redis_address"]


class Provider:
    """Answers each request in words and a tool call, after a moment, and adds up what it bills."""

    def __init__(self) -> None:
        self.billed_usd = 0.0
        self.requests = 0

    def __call__(self, body: dict[str, Any]) -> Reply:
        self.requests += 1
        reply = tool_use("search", {"q": f"number {self.requests}"}, text="w " * 200)
        output = min(estimated_tokens(reply.content), int(body["max_tokens"]))
        usage = {"input_tokens": estimated_tokens(body), "output_tokens": output}
        self.billed_usd += billing.cost(Prices(), body, {"usage": usage}, DAY) or 0.0
        return delayed(Reply(reply.content, Usage(usage["input_tokens"], output)), 0.05)


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "flyball.ledger")
    else:
        yield request.getfixturevalue("redis_address")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_day_of_one_user_is_never_overspent_and_the_dead_keep_nothing(place: str) -> None:
    provider = Provider()
    with ModelServer(provider) as server, closing(open_ledger(place)) as ledger:
        command = [sys.executable, "-m", "tests.runner.fleet", server.url, place, str(RUNS)]
        fleet = [subprocess.Popen(command, cwd=Path(__file__).parents[2]) for _ in range(PROCESSES)]
        account = ledger.account("ann")
        wait_for(lambda: provider.billed_usd > LIMIT_USD / 10, 120)
        victim = next(process for process in fleet if process.poll() is None)
        victim.kill()
        killed_at = time.monotonic()
        assert provider.billed_usd < LIMIT_USD * 0.8, "it was killed when all was over"
        seen = [ledger.spent(account)]
        while any(process.poll() is None for process in fleet):
            seen.append(ledger.spent(account))
            time.sleep(0.01)
        time.sleep(max(0.0, killed_at + HOLD_SECONDS + 0.5 - time.monotonic()))
        last = ledger.spent(account)

    assert sorted(process.returncode for process in fleet) == [-9] + [0] * (PROCESSES - 1)
    assert max(s.settled_nanos + s.reserved_nanos for s in seen) <= LIMIT_USD * 1e9
    assert last.reserved_nanos == 0
    # All but what the dead held until its hold ended was spent; and what they had under way was billed and settled by nobody.
    assert LIMIT_USD * 0.6 < last.settled_usd <= LIMIT_USD
    under_way = RUNS * 0.006
    assert provider.billed_usd - under_way <= last.settled_usd <= provider.billed_usd + 1e-6
