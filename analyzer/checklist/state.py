"""The answers of the checklist."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Whether a point is met."""

    YES = "yes"
    PARTLY = "partly"
    NO = "no"
    CANNOT_SEE = "cannot see"
    """Nothing that was looked at says so, either way."""


Found = tuple[State, tuple[str, ...]]
"""A state and its evidence, a sentence each."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the user has shown beside the runs."""

    tests: Found
    alerts: Found
