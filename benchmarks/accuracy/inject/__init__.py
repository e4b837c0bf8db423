"""What can be put into a healthy run, by detector: failures (`FAILING`) and what only looks like them (`HEALTHY`).

An injector is a function of a source of chance to a `Plan`; each kind of a class is drawn equally often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Final

from benchmarks.accuracy.healthy import pieces
from benchmarks.accuracy.inject import context, cost, errors, loops, stuck, tools
from benchmarks.accuracy.script import Plan, Sample, woven

Injector = Callable[[Random], Plan]
_ROOMS: Final = (errors, loops, context, tools, stuck, cost)
FAILING: Final[Mapping[str, tuple[Injector, ...]]] = {s: kinds for room in _ROOMS for s, kinds in room.FAILING.items()}
HEALTHY: Final[Mapping[str, tuple[Injector, ...]]] = {s: kinds for room in _ROOMS for s, kinds in room.HEALTHY.items()}


def samples(detector: str, seed: int, each: int) -> Iterator[Sample]:
    """`each` failing and as many healthy samples for the detector; the same for the same seed, whatever else is asked."""
    for side, kinds in (("failing", FAILING[detector]), ("healthy", HEALTHY[detector])):
        for number in range(each):
            rng = Random(f"{seed}/{detector}/{side}/{number}")
            plan = kinds[number % len(kinds)](rng)
            yield woven(plan, rng.choice(pieces()), rng, detector, f"{detector}/{side}/{seed}/{number}")
