"""A process of a fleet: `python -m tests.runner.fleet URL LEDGER RUNS`. Runs agents of one user at once, until its day is spent."""

from __future__ import annotations

import sys
import threading

import anthropic

from instrument.runner.guarded import GuardedRunner
from instrument.runner.stop import StopReason
from tests.runner.in_memory import MODEL
from tests.runner.playing import policy

LIMIT_USD, HOLD_SECONDS, MAX_TOKENS = 0.25, 4.0, 300
FIELDS = {
    "cost.user_day_limit_usd": LIMIT_USD,
    "cost.reservation_seconds": HOLD_SECONDS,
    "cost.min_output_tokens": 50,
    "loops.turns": 5,
}


def search(q: str) -> str:
    """Searches."""
    return f"found {q}"


def main() -> None:
    url, ledger, runs = sys.argv[1:]
    with anthropic.Anthropic(api_key="test", base_url=url) as client:
        runner = GuardedRunner(
            client,
            model=MODEL,
            tools=[search],
            policy=policy(FIELDS),
            max_tokens=MAX_TOKENS,
            ledger=ledger,
            user_id="ann",
        )

        def spend() -> None:
            while runner.run("What is x?").stop_reason is not StopReason.USER_BUDGET:
                pass

        threads = [threading.Thread(target=spend) for _ in range(int(runs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
