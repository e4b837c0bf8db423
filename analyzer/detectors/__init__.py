"""All detectors, by slug: one room (folder) each, with its query, its page and its cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from rapidfuzz import process

from analyzer.detectors import (
    cache_bust,
    call_cycle,
    context_growth,
    context_overflow,
    cost_outlier,
    empty_response,
    error_cascade,
    ignored_error,
    invalid_arguments,
    near_repeat,
    no_final_answer,
    null_input,
    over_budget,
    oversized_tool_result,
    repeated_call,
    repeated_output,
    retry_storm,
    silent_gap,
    tool_timeout,
    truncated_response,
    unknown_tool,
)
from analyzer.detectors.detector import Detector
from instrument.errors import FlyballError

_ROOMS: Final = (
    error_cascade,
    retry_storm,
    tool_timeout,
    ignored_error,
    repeated_call,
    call_cycle,
    near_repeat,
    context_growth,
    context_overflow,
    oversized_tool_result,
    cache_bust,
    unknown_tool,
    invalid_arguments,
    repeated_output,
    empty_response,
    null_input,
    silent_gap,
    no_final_answer,
    truncated_response,
    cost_outlier,
    over_budget,
)

DETECTORS: Final[Mapping[str, Detector]] = {room.DETECTOR.slug: room.DETECTOR for room in _ROOMS}
"""In the order of the failure modes."""


class UnknownDetector(FlyballError):
    """`slug` names no detector; `nearest` is the one that was probably meant."""

    def __init__(self, slug: str) -> None:
        self.slug = slug
        found = process.extractOne(slug, list(DETECTORS), score_cutoff=50) if slug else None
        self.nearest = found[0] if found else None
        hint = f"; did you mean {self.nearest}?" if self.nearest else f"; there are {', '.join(DETECTORS)}"
        super().__init__(f"no detector is called {slug!r}{hint}")


def chosen(select: Iterable[str] = (), ignore: Iterable[str] = ()) -> tuple[Detector, ...]:
    """The detectors named in `select` (all, if none are named) less those in `ignore`. Raises `UnknownDetector`."""
    wanted = [find(slug).slug for slug in select] or list(DETECTORS)
    unwanted = {find(slug).slug for slug in ignore}
    return tuple(d for slug, d in DETECTORS.items() if slug in wanted and slug not in unwanted)


def find(slug: str) -> Detector:
    """The detector of that slug, or that had it once. Raises `UnknownDetector`."""
    for detector in DETECTORS.values():
        if slug == detector.slug or slug in detector.aliases:
            return detector
    raise UnknownDetector(slug)
