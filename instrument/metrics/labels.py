"""Values of metric attributes: text, short, and few, whatever a model calls its tools."""

from __future__ import annotations

import itertools
from typing import Final

OTHER: Final = "other"
"""Stands for all values that came after the first `MOST_VALUES`."""
MOST_VALUES: Final = 100
"""Distinct values of one attribute: each is a series for as long as the process lives."""
_MOST_CHARS: Final = 200


class Labels:
    """Of one attribute: the first `most` distinct values by name, the rest as `other`. Threads and forks need no lock here."""

    def __init__(self, most: int = MOST_VALUES) -> None:
        self._most = most
        self._known: dict[str, str] = {}
        self._places = itertools.count()

    def of(self, value: object) -> str | None:
        """What stands for `value`; None for what is no text. Long names are told apart by their beginning only."""
        if not isinstance(value, str):
            return None
        name = value[:_MOST_CHARS]
        known = self._known.get(name)
        if known is not None:
            return known
        # The next place is taken in one step: threads may waste one on the same name, and never go beyond the last.
        if len(self._known) >= self._most or next(self._places) >= self._most:
            return OTHER
        # A lone surrogate is no UTF-8, and one bad name must not cost an exporter the whole batch.
        return self._known.setdefault(name, name.encode("utf-8", "replace").decode())
