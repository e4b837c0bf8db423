"""What paths say, into a database."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analyzer.readers.paths import Inputs
from analyzer.readers.reading import read
from instrument.errors import UnreadableTrace

if TYPE_CHECKING:
    from instrument.prices import Prices
    from instrument.store.load import Loaded

_COLLECTED_AFTER: Final = 200_000
"""New objects after which the youngest are looked through."""


def load(
    inputs: Inputs,
    db: Path,
    *,
    prices: Prices | None = None,
    advance: Callable[[int], object] = lambda _bytes: None,
) -> tuple[Loaded, list[UnreadableTrace]]:
    """Reads all of `inputs` into the database at `db`; returns what was loaded and what refused.

    Large inputs are committed in parts; a load that was cut short can be run again, spans that are there already are left as they are.

    Raises `UnreadableTrace` where a database is among the inputs, and `StoreError`.
    """
    from instrument.store.connect import writing
    from instrument.store.load import Loader

    if inputs.databases:
        raise UnreadableTrace(str(inputs.databases[0]), "is a database and cannot be mixed with others; give it alone")
    with _seldom_collected(), writing(db) as con, Loader(con, prices=prices, in_parts=True) as loader:
        con.execute("BEGIN")
        reading = read(inputs.sources, loader, advance=advance)
        loaded = loader.finish()
        con.execute("COMMIT")
    return loaded, [*inputs.refusals, *reading.refusals]


@contextlib.contextmanager
def _seldom_collected() -> Iterator[None]:
    """An import makes objects by the million and hardly any circle of them: looking for circles took a sixth of its time."""
    before = gc.get_threshold()
    gc.set_threshold(_COLLECTED_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
