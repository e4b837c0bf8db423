"""Whether the confidence of findings is what it says: of those at 0.9 about nine in ten should be right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from benchmarks.accuracy.cells import interval, percent, rounded, short, table
from benchmarks.accuracy.measure import Measured
from benchmarks.accuracy.score import Stated, wilson

BINS: Final = (0.0, 0.6, 0.75, 0.85, 0.925, 1.0)
"""Edges of the bins over all detectors; a finding at an edge is in the bin above."""


def section(told: Measured) -> str:
    """The part of `docs/accuracy.md`."""
    every = [*(s for score in told.scores.values() for s in score.stated), *told.healthy_stated]
    note = (
        "Every finding in the samples of its own class, mentions included, and every one in the healthy runs as they are (all of which "
        "count as wrong here). Right is one that names an injected failure. Half of the samples have none, and only look like it: in "
        "traces with fewer failures than that, fewer of the findings are right. A stated confidence above the interval promises too much."
    )
    columns = ("stated", "findings", "mean stated", "right")
    by_detector = [(f"`{slug}`", *row) for slug, score in told.scores.items() for row in _rows(_by_bin(score.stated))]
    return "\n\n".join(
        (note, table(columns, _rows(_by_bin(every))), table(("detector", *columns), by_detector), _verdict(told))
    )


def numbers(stated: Iterable[Stated]) -> list[dict[str, Any]]:
    """By bin, with the mean of what was stated in it, for `docs/accuracy.json`."""
    return [
        {
            "stated": rounded(_mean(some)),
            "findings": len(some),
            "right": rounded(_right(some) / len(some)),
            "interval": interval(_right(some), len(some)),
        }
        for some in _by_bin(stated).values()
    ]


def overconfident(stated: Iterable[Stated]) -> list[float]:
    """Means of bins that are above the interval of what was right."""
    groups = _by_bin(stated).values()
    return [_mean(some) for some in groups if _mean(some) > wilson(_right(some), len(some))[1]]


def _verdict(told: Measured) -> str:
    above = [f"`{slug}` at {c:.2f}" for slug, score in told.scores.items() for c in overconfident(score.stated)]
    return f"Promises too much: {', '.join(above) or 'none'}."


def _rows(groups: Mapping[str, Sequence[Stated]]) -> list[tuple[Any, ...]]:
    return [
        (
            name,
            len(some),
            short(_mean(some)),
            percent(_right(some) / len(some), _right(some), len(some)),
        )
        for name, some in groups.items()
    ]


def _by_bin(stated: Iterable[Stated]) -> dict[str, list[Stated]]:
    found: defaultdict[str, list[Stated]] = defaultdict(list)
    for one in sorted(stated, key=lambda s: s.confidence):
        found[_bin(one.confidence)].append(one)
    return dict(found)


def _bin(confidence: float) -> str:
    low = max(edge for edge in BINS[:-1] if edge <= confidence)
    return f"{low:g} to {BINS[BINS.index(low) + 1]:g}"


def _mean(stated: Sequence[Stated]) -> float:
    return sum(s.confidence for s in stated) / len(stated)


def _right(stated: Iterable[Stated]) -> int:
    return sum(s.right for s in stated)
