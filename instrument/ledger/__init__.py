"""The ledger: what users have spent, what is reserved for calls that run, and the questions that wait for a person.

One ledger serves many processes: a file (`SqliteLedger`) those of one machine, a server (`RedisLedger`) those of a fleet.
"""

from __future__ import annotations

from instrument.ledger.base import Account, Decision, Ledger, Reservation, Review, Spending
from instrument.ledger.opening import open_ledger
from instrument.ledger.redis_ledger import RedisLedger
from instrument.ledger.sqlite_ledger import SqliteLedger

__all__ = [  # noqa: RUF022 - grouped by what they are for
    # ledgers
    "Ledger",
    "open_ledger",
    "SqliteLedger",
    "RedisLedger",
    # budgets
    "Account",
    "Reservation",
    "Spending",
    # reviews
    "Review",
    "Decision",
]
