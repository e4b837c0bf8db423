"""Sums over the last minutes or hours: what happened, by label, and how much of it in the time before each instant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from analyzer.alerts.metrics import MOST_VALUES, OTHER

Instants = npt.NDArray[np.int64]
"""Nanoseconds since 1970 UTC, ascending, each once."""
SECOND: Final = 1_000_000_000


def bounded(names: pl.Series) -> pl.Series:
    """`names` with all but the `MOST_VALUES` commonest called `OTHER`."""
    common = names.value_counts(sort=True).head(MOST_VALUES)[names.name]
    return (
        pl.select(pl.when(names.is_in(common.implode())).then(names).otherwise(pl.lit(OTHER)))
        .to_series()
        .alias(names.name)
    )


def sums(events: pl.DataFrame, labels: Sequence[str], seconds: float, instants: Instants) -> pl.DataFrame:
    """The sum of `amount` of the events (`at_ns`, `amount`, labels) in the `seconds` up to each instant, by label.

    One row is one instant and label that had an event by then; 0 is a sum, too.
    """
    found = []
    groups: dict[tuple[Any, ...], pl.DataFrame] = events.partition_by(labels, as_dict=True) if labels else {(): events}
    for values, group in groups.items():
        ordered = group.sort("at_ns")
        at = ordered["at_ns"].to_numpy()
        total = np.concatenate([[0.0], np.cumsum(ordered["amount"].cast(pl.Float64).to_numpy())])
        upto = np.searchsorted(at, instants, "right")
        before = np.searchsorted(at, instants - int(seconds * SECOND), "right")
        # Rounded, because a difference of two long sums is rarely 0 where it should be.
        value = np.round(total[upto] - total[before], 9)
        rows = pl.DataFrame({"at_ns": instants, "value": value}).with_columns(
            pl.lit(v, pl.String).alias(label) for label, v in zip(labels, values, strict=True)
        )
        found.append(rows.filter(pl.Series(upto > 0)))
    schema = {"at_ns": pl.Int64, "value": pl.Float64, **dict.fromkeys(labels, pl.String)}
    return pl.concat(found).select(list(schema)) if found else pl.DataFrame(schema=schema)


Combine = Literal["max", "min", "sum"]


def combined(rows: pl.DataFrame, labels: Sequence[str], instants: Instants, combine: Combine) -> pl.DataFrame:
    """One value for each instant and label, of rows that hold from `at_ns` until `until_ns`.

    Where `value` is null it is the time since `since_ns`, in seconds. A label without a row at an instant has none there.
    """
    first = np.searchsorted(instants, rows["at_ns"].to_numpy(), "left")
    last = np.searchsorted(instants, rows["until_ns"].to_numpy(), "right")
    held = rows.with_columns(first=first, last=last).filter(pl.col("last") > pl.col("first"))
    each = held.with_columns(instant=pl.int_ranges("first", "last")).explode("instant")
    each = each.with_columns(at_ns=pl.Series(instants).gather(each["instant"]))
    value = pl.coalesce("value", (pl.col("at_ns") - pl.col("since_ns")) / SECOND)
    return each.group_by("at_ns", *labels).agg(value=getattr(value, combine)()).sort("at_ns", *labels)
