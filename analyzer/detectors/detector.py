"""What a detector is: a page, parameters, and one query. A detector's room (`analyzer/detectors/<slug>/`) holds one of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from analyzer.frames import Frames
from instrument.policy import Policy

LABELS: Final[dict[str, str]] = {
    "tool_name": "tool_name",
    "model": "coalesce(response_model, request_model)",
    "failure_kind": "failure_kind",
}
SAID: Final = ("arguments", "result")
"""Evidence that is read from the first span of a pattern where the query does not give it: `LABELS` by name and SQL, `SAID` as recorded."""
SAID_CHARS: Final = 300
"""How much of what was said stands in the evidence."""

REQUIRED: Final = ("run_key", "steps", "first_turn", "last_turn", "severity", "confidence")
"""What every query gives per pattern, beside its evidence.

`steps` is the ordered list of the steps that prove it. A query whose pattern wastes something also gives `useless_turns`, the list of turns
that brought nothing; what was wasted of turns that were not useless as a whole it gives as `own_waste` (`analyzer.waste.OWN`). Where both
are missing or null, no waste is claimed.
"""


@dataclass(frozen=True, slots=True)
class Sight:
    """How many things a detector had to look at, and at how many of them it could."""

    checked: int
    known: int

    def __add__(self, other: Sight) -> Sight:
        return Sight(self.checked + other.checked, self.known + other.known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """One failure mode's pattern: its page, what it reads, and the query that finds it."""

    slug: str
    failure_mode: str
    title: str
    finds: str
    """What it finds, past tense, as a reader would say it."""
    matters: str
    """Why that matters."""
    wrong: str
    """When it is wrong."""
    advice: str
    """What to do; stands on every finding."""
    params: str
    """Section of the policy that holds its thresholds."""
    evidence: Mapping[str, str]
    """Evidence by name, with its meaning. A name of `LABELS` or `SAID` that the query does not give is read from the first span."""
    reads: Mapping[str, tuple[str, ...]]
    """Columns it needs of the shared views (`Frames.tool_calls`, `Frames.model_calls`), by view."""
    message: Callable[[Mapping[str, Any]], str]
    """One finding in a sentence, from its evidence, `first_turn` and `last_turn`."""
    sight: Callable[[Frames, Policy], Sight]
    """What it could see of one partition."""
    unseen: str
    """What was missing where it could not see."""
    find: Callable[[Frames, Policy], pl.DataFrame] | None = None
    """One row is one pattern within one run (`REQUIRED`)."""
    compare: Callable[[pl.DataFrame, Policy], pl.DataFrame] | None = None
    """The same, for what shows only beside other runs; takes `Frames.runs` of all of them."""
    aliases: tuple[str, ...] = field(default=())
    """Slugs it had before."""


def seen(rows: pl.DataFrame, known: pl.Expr) -> Sight:
    """`Sight` over `rows`: those for which `known` holds."""
    return Sight(len(rows), int(rows.select(known.fill_null(False).sum()).item() or 0)) if len(rows) else Sight(0, 0)


def turns(first: str, last: str) -> pl.Expr:
    """The list of turns from column `first` to column `last`, both included."""
    return pl.int_ranges(first, pl.col(last) + 1, dtype=pl.Int32)


def plural(count: int, noun: str) -> str:
    """`1 turn`, `3 turns`, `12,000 turns`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def between(facts: Mapping[str, Any]) -> str:
    """`in turn 4` or `in turns 4 to 9`, for messages."""
    first, last = facts["first_turn"], facts["last_turn"]
    return f"in turn {first}" if first == last else f"in turns {first} to {last}"
