"""What other tools say of the same samples, for the page."""

from __future__ import annotations

from typing import Any

from benchmarks.accuracy.cells import short, table
from benchmarks.accuracy.measure import Measured
from benchmarks.accuracy.neighbours import INSTALLED, KNOWS, NOT_RUN, VERSIONS


def section(told: Measured) -> str:
    """The part of `docs/accuracy.md`."""
    not_run = "Not run: " + "; ".join(f"{name} ({why})" for name, why in NOT_RUN.items()) + "."
    if not told.neighbours:
        return (
            f"Not measured here: {', '.join(KNOWS)} are no dependencies, and were not installed beside us. {INSTALLED}\n\n"
            f"{not_run}"
        )
    note = (
        f"{', '.join(VERSIONS)}, as they come, with their own thresholds, each run by itself. They are told the script of a sample "
        "in their own terms, whatever was recorded of it. A hit is anything anywhere in the failing run that means the class "
        "(`benchmarks/accuracy/neighbours.py` says what does), which is kind to them; “-” is a class that they do not speak of. The last "
        f"row counts untouched healthy runs, of {told.healthy_runs}, in which they say anything that means one of our classes."
    )
    columns = ["class", "precision", "recall", *(f"{name}: {w}" for name in KNOWS for w in ("precision", "recall"))]
    rows = [_row(told, slug) for slug in told.neighbours]
    ours = len({a.run for a in told.healthy_alarms})
    counts: list[Any] = ["healthy runs with an alarm", "", ours]
    for name in KNOWS:
        counts += ["", told.healthy_neighbours.get(name, "-")]
    return f"{note}\n\n{table(columns, [*rows, tuple(counts)])}\n\n{not_run}"


def _row(told: Measured, slug: str) -> tuple[Any, ...]:
    score = told.scores[slug]
    cells: list[Any] = [f"`{slug}`", short(score.precision), short(score.recall)]
    for name in KNOWS:
        found = told.neighbours[slug].get(name)
        if found is None:
            cells += ["-", "-"]
            continue
        hits, failing, false, _ = found
        cells += [short(hits / (hits + false) if hits + false else None), short(hits / failing if failing else None)]
    return tuple(cells)
