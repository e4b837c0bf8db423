"""Which known name a name that nobody knows most likely meant: one rule for guards and detectors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

NEAR_SCORE: Final = 62.0
"""Of rapidfuzz's WRatio, 0..100; below it no name is offered. "file_read" and "readFile" have 94 and more with "read_file", "open_file"
has 67; a short name that merely shares letters with a longer one, such as "ls" with "search", gets 60."""
_NEAREST: Final = 3
_READ_CHARS: Final = 200


def nearest(name: str, known: Iterable[str], limit: int = _NEAREST) -> tuple[str, ...]:
    """At most `limit` of the `known` names that `name` may have meant, best first; never `name` itself."""
    # Imported here: most runs never need it.
    from rapidfuzz import fuzz, process, utils

    found = process.extract(
        name[:_READ_CHARS],
        [k for k in known if k != name],
        scorer=fuzz.WRatio,
        processor=utils.default_process,
        limit=limit,
        score_cutoff=NEAR_SCORE,
    )
    return tuple(near for near, _, _ in found)
