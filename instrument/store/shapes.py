"""Which attribute of a span goes to which column, worked out once per shape.

A producer writes the same names in the same order again and again, so the names of a span (its shape) are looked up whole: a file of a
million spans has a few dozen shapes. A column's value is then at a known position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from instrument.store.dialects import FAMILIES, FLAG, MARKS, REAL, SCOPES, TEXT, WHOLE

_COLUMNS: Final = {"text": TEXT, "whole": WHOLE, "real": REAL, "flag": FLAG}
_RANK: Final = {
    name: [
        (kind, column, rank)
        for kind, table in _COLUMNS.items()
        for column, names in table.items()
        for rank, n in enumerate(names)
        if n == name
    ]
    for table in _COLUMNS.values()
    for names in table.values()
    for name in names
}


@dataclass(frozen=True, slots=True)
class Shape:
    """Positions of the attributes of one shape."""

    dialect: str
    text: dict[str, int]
    whole: dict[str, int]
    real: dict[str, int]
    flag: dict[str, int]
    family: tuple[int, ...]
    """Positions of names with running numbers."""
    rest: tuple[int, ...]
    """Positions of everything that has no column."""


def shape_of(scope: str, names: tuple[str, ...]) -> Shape:
    """The shape of spans of the library `scope` whose attributes are `names`, in that order."""
    best: dict[tuple[str, str], tuple[int, int]] = {}
    family, rest = [], []
    for position, name in enumerate(names):
        claims = _RANK.get(name)
        if claims:
            for kind, column, rank in claims:
                if (kind, column) not in best or rank < best[kind, column][0]:
                    best[kind, column] = (rank, position)
        elif name.startswith(FAMILIES):
            family.append(position)
        else:
            rest.append(position)
    winners = {position for _, position in best.values()}
    rest += [p for p, name in enumerate(names) if name in _RANK and p not in winners]
    positions = {k: {column: p for (kind, column), (_, p) in best.items() if kind == k} for k in _COLUMNS}
    return Shape(_dialect(scope, set(names)), **positions, family=tuple(family), rest=tuple(rest))


def _dialect(scope: str, names: set[str]) -> str:
    lower = scope.lower()
    for start, dialect in SCOPES:
        if lower == start or (lower.startswith(start) and (start[-1] in "._" or not lower[len(start)].isalnum())):
            return dialect
    return next((dialect for mark, dialect in MARKS if mark in names), "other")
