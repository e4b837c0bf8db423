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

from analyzer.alerts.gauges import Gauges, Waiting, gauges
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
        with reading(self._db) as con:
            instants = np.array([int(now * SECOND)])
            return gauges(con, self._policy, instants, waiting(self._ledger, now), self._hold_seconds)


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
