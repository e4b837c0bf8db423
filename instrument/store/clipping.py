"""Content that was cut off on its way: by an attribute limit of the producer's SDK, or because it was over the recorder's own."""

from __future__ import annotations

from collections.abc import Collection
from operator import attrgetter
from typing import Final

from instrument.store.group import Group

_DROPPED: Final = attrgetter("droppedAttributesCount")
_CLOSING: Final = {"{": "}", "[": "]"}
_JSON: Final = ('{"', "[{", '["', "[[")


def clipped_rows(group: Group) -> Collection[int]:
    """Rows whose producer says that attributes were dropped or content was cut."""
    found = set()
    if any(map(_DROPPED, group.spans)):
        found |= {row for row, span in enumerate(group.spans) if span.droppedAttributesCount}
    for column, kind in (("clipped_chars", group.shape.whole), ("truncated", group.shape.flag)):
        if column in kind:
            found |= {row for row, said in enumerate(group.plain(kind[column])) if _says_so(said)}
    return found


def _says_so(said: object) -> bool:
    return said in ("true", "True") if isinstance(said, str) and not said.isdecimal() else bool(said and said != "0")


def is_cut(text: str | None) -> bool:
    """Whether `text` begins as a JSON object or list and does not end as one. Text that merely begins with a bracket does not count."""
    if text is None or not text.startswith(_JSON):
        return False
    closing = _CLOSING[text[0]]
    return not text.endswith(closing) and not text.rstrip().endswith(closing)
