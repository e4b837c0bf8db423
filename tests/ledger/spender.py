"""A process that spends: `python spender.py PLACE THREADS LIMIT CALL HOLD LOG`. Stops when nothing has fitted for two holds.

Each thread reserves, works a moment, settles what it spent, and then notes that in LOG, in nano-dollars.
"""

from __future__ import annotations

import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

from instrument.ledger import Account, Ledger, open_ledger

DAY = date(2100, 1, 1)
"""Any day that is not past keeping, as long as midnight does not divide the test."""


def spend(ledger: Ledger, limit: float, call: float, hold: float, log: int) -> None:
    account, last = Account("ann", DAY), time.monotonic()
    while time.monotonic() < last + 2 * hold:
        made = ledger.reserve(account, call, limit_usd=limit, hold_seconds=hold)
        if made is None:
            time.sleep(random.uniform(0.005, 0.03))
            continue
        last = time.monotonic()
        time.sleep(random.uniform(0.001, 0.01))
        # Far less than was held, as with real calls: so the limit is what decides, from the first dollar to the last.
        spent = random.randint(made.nanos // 500, made.nanos // 50) / 1e9
        ledger.settle(made, spent)
        os.write(log, f"{round(spent * 1e9)}\n".encode())


def main() -> None:
    place, threads, limit, call, hold, log = sys.argv[1:]
    ledger = open_ledger(place)
    note = os.open(Path(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    # A pool tells of a thread that a locked ledger ended; a bare thread would end in silence, and this process in success.
    with ThreadPoolExecutor(int(threads)) as pool:
        given = (ledger, float(limit), float(call), float(hold), note)
        workers = [pool.submit(spend, *given) for _ in range(int(threads))]
    for worker in workers:
        worker.result()
    ledger.close()


if __name__ == "__main__":
    main()
