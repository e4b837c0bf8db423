"""The gauges of a database as Prometheus reads them: `flyball metrics`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from analyzer.alerts.gauges import Gauges, Recorded, Waiting, gauges_of, recorded
from analyzer.alerts.metrics import Metric
from analyzer.alerts.stretches import HOLD_SECONDS
from analyzer.alerts.windows import SECOND
from instrument.errors import StoreError
from instrument.ledger import open_ledger
from instrument.policy import Policy
from instrument.store.checkpoint import adopt
from instrument.store.connect import reading

_FRESH_SECONDS: Final = 1.0
"""An answer is given again for so long: two scrapers, or one that is impatient, cost no more than one."""


class DatabaseCollector(Collector):
    """Answers each scrape from the database as it is then, what lies in its journal included.

    `ledger` (path or address) adds the metrics about reviews. Raises, and so fails the scrape, where the database cannot be read:
    Prometheus then shows the target as down, which is the truth.
    """

    def __init__(
        self,
        db: Path,
        policy: Policy,
        ledger: str | None = None,
        *,
        hold_seconds: float = HOLD_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._db, self._policy, self._ledger, self._hold_seconds, self._clock = db, policy, ledger, hold_seconds, clock
        self._lock = threading.Lock()
        self._last: tuple[float, list[Family]] | None = None
        self._told: tuple[_Stamp, Recorded] | None = None

    def describe(self) -> Iterable[Family]:
        """Nothing, which keeps a registry from asking for all values when the collector is registered."""
        return []

    def collect(self) -> Iterable[Family]:
        """All metrics, now."""
        with self._lock:
            now = self._clock()
            if self._last is None or not 0 <= now - self._last[0] < _FRESH_SECONDS:
                self._last = now, list(families(self.gauges(now)))
            return self._last[1]

    def gauges(self, now: float) -> Gauges:
        """As at `now`, in seconds since 1970. Raises `StoreError`."""
        adopt(self._db)
        if not self._db.exists():
            raise StoreError(self._db, "no such database; name the one that agents record into")
        now_ns = int(now * SECOND)
        return gauges_of(self._recorded(now_ns), self._policy, np.array([now_ns]), waiting(self._ledger, now))

    def _recorded(self, now_ns: int) -> Recorded:
        """Read again only when something was added: while nothing is, the gauges of a later time follow from what was read."""
        # Before it is read: what is added meanwhile changes the stamp, and is read next time.
        stamp = _stamp(self._db, now_ns)
        if self._told is None or self._told[0] != stamp:
            with reading(self._db) as con:
                self._told = stamp, recorded(con, self._policy, now_ns, 2**62, self._hold_seconds)
        return self._told[1]


_Stamp = tuple[object, ...]
_READ_AGAIN_NS: Final = 3600 * SECOND
"""So that what is too old for any gauge does not stay in memory for ever."""


def _stamp(db: Path, now_ns: int) -> _Stamp:
    # What a writer that was killed left lies in the log beside the file.
    both = [path.stat() for path in (db, db.with_name(f"{db.name}.wal")) if path.exists()]
    return (now_ns // _READ_AGAIN_NS, *((found.st_ino, found.st_mtime_ns, found.st_size) for found in both))


def families(values: Gauges) -> Iterator[Family]:
    """One family per metric, with the samples of the last instant."""
    for metric, rows in values.items():
        family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
        for labels, value in _samples(metric, rows):
            family.add_metric(labels, value)
        yield family


def _samples(metric: Metric, rows: pl.DataFrame) -> Iterator[tuple[list[str], float]]:
    for *labels, value in rows.select(*metric.labels, "value").iter_rows():
        # A lone surrogate is no UTF-8, and one bad name must not cost the whole scrape.
        yield [str(label).encode("utf-8", "replace").decode() for label in labels], float(value)


def waiting(ledger: str | None, now: float) -> Waiting | None:
    """The reviews that wait in `ledger`; None where there is none. Raises `LedgerError`."""
    if ledger is None:
        return None
    with closing(open_ledger(ledger, must_exist=True)) as opened:
        asked = [review.created_at for review in opened.reviews(waiting=True)]
    oldest = min(asked, default=datetime.fromtimestamp(now, UTC))
    return Waiting(len(asked), max(0.0, now - oldest.timestamp()))


def registry(collector: DatabaseCollector) -> CollectorRegistry:
    """A registry with just that collector: nothing about this process itself."""
    own = CollectorRegistry()
    own.register(collector)
    return own
