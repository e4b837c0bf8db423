"""What can be put into a healthy run, by detector: failures (`FAILING`) and what only looks like them (`HEALTHY`).

An injector is a function of a source of chance to a `Plan`; each kind of a class is drawn equally often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from random import Random
from typing import Final

from analyzer.cases import Turn
from benchmarks.accuracy.healthy import Healthy, pieces
from benchmarks.accuracy.inject import context, cost, errors, loops, stuck, tools
from benchmarks.accuracy.script import Entry, Plan, Sample, woven
from instrument.sameness import call_key

Injector = Callable[[Random], Plan]
_ROOMS: Final = (errors, loops, context, tools, stuck, cost)
FAILING: Final[Mapping[str, tuple[Injector, ...]]] = {s: kinds for room in _ROOMS for s, kinds in room.FAILING.items()}
HEALTHY: Final[Mapping[str, tuple[Injector, ...]]] = {s: kinds for room in _ROOMS for s, kinds in room.HEALTHY.items()}
_OF_ERRORS: Final = frozenset({"error_cascade", "ignored_error"})
"""Where a failure of the healthy run itself, beside the injected ones, would change what is true."""


@cache
def _calm() -> tuple[Healthy, ...]:
    """Pieces in which no call failed."""
    return tuple(p for p in pieces() if not any(c.error for e in p.script if isinstance(e, Turn) for c in e.calls))


def _base(plan: Plan, pool: tuple[Healthy, ...], rng: Random) -> Healthy:
    """A piece that makes none of the calls of the stretch, which would make that longer than the truth says."""
    own = _calls(p.entry for p in plan.stretch)
    return next(base for base in iter(lambda: rng.choice(pool), None) if not own & _calls(base.script))


def _calls(script: Iterable[Entry]) -> set[int | None]:
    return {call_key(c.name, c.arguments) for e in script if isinstance(e, Turn) for c in e.calls}


def samples(detector: str, seed: int, each: int) -> Iterator[Sample]:
    """`each` failing and as many healthy samples for the detector; the same for the same seed, whatever else is asked."""
    for side, kinds in (("failing", FAILING[detector]), ("healthy", HEALTHY[detector])):
        for number in range(each):
            rng = Random(f"{seed}/{detector}/{side}/{number}")
            plan = kinds[number % len(kinds)](rng)
            base = _base(plan, _calm() if detector in _OF_ERRORS else pieces(), rng)
            yield woven(plan, base, rng, detector, f"{detector}/{side}/{seed}/{number}")
