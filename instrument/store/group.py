"""Spans of one shape, on their way to columns: what the modules that fill the columns share."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from instrument.otlp import AnyValue, KeyValue, Span, plain
from instrument.store import columns
from instrument.store.memory import Memory
from instrument.store.shapes import Shape
from instrument.store.stage import Extras

MESSAGE_CHARS: Final = 500
"""How much of an error's text stands in `error_message`."""
_VALUE: Final = attrgetter("value")
Source = tuple[int, str]
"""Key and name of where spans come from."""


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What the spans of one resource and scope share."""

    scope: str
    service_name: str | None
    resource: str
    """Its attributes as JSON."""
    whole: bool = True
    """False where one of the two was there and could not be read."""


class Group:
    """Spans of one context whose attributes have the same `names` in the same order; `out` holds the columns found so far.

    `sources` has for each span the source that it comes from: its key and its name.
    """

    def __init__(
        self,
        shape: Shape,
        names: tuple[str, ...],
        context: Context,
        spans: list[Span],
        sources: list[Source],
        by_position: list[tuple[KeyValue, ...]],
        first_key: int,
        memory: Memory,
        extras: Extras,
    ) -> None:
        self.shape, self.names, self.context = shape, names, context
        self.spans, self.sources = spans, sources
        self.memory, self.extras = memory, extras
        self._by_position = by_position
        self.foreign_ids: list[int] = []
        """Rows with an id that was spelled in a foreign way, once for each."""
        self.clipped: list[int] = []
        """Rows of which content was cut off."""
        self.out: dict[str, Any] = {"span_key": list(range(first_key, first_key + len(spans)))}

    def values(self, position: int) -> list[AnyValue | None]:
        """The values at one position, span by span."""
        return list(map(_VALUE, self._by_position[position]))

    def plain(self, position: int) -> list[Any]:
        """The same as Python values."""
        return list(map(plain, self.values(position)))

    def text(self, column: str) -> list[str | None] | None:
        """A column of `dialects.TEXT`; None where the shape has none of its names."""
        position = self.shape.text.get(column)
        return None if position is None else columns.texts(self.values(position))

    def unknown(self) -> list[Any]:
        """A fresh column of NULLs."""
        return [None] * len(self.spans)

    def column(self, name: str) -> list[Any]:
        """The column as far as it is known, to be written into."""
        if self.out.get(name) is None:
            self.out[name] = self.unknown()
        values: list[Any] = self.out[name]
        return values

    def complete(self, column: str, row: int, value: Any) -> None:
        """Sets one value of a text column where the span itself had none."""
        if value is not None:
            values = self.column(column)
            if values[row] is None:
                values[row] = str(value)
