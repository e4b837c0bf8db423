"""Where which keys stand in a JSON text that may be cut off: enough to tell formats apart whose words are everybody's."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

# A text that is cut off goes to the end of the head: to look for its end again from each quote in it would take for ever.
_TOKEN: Final = re.compile(rb'"((?:[^"\\]|\\.)*+)(?:"\s*+(:)?)?|([\[\]{}])', re.DOTALL)
_DEEPEST: Final = 6


@lru_cache(maxsize=4)
def outline(head: bytes) -> frozenset[str]:
    """The places of all keys, as `messages[].role` for the key `role` of objects in the list `messages`; at most six levels down.

    Of JSON Lines the places in each line. Several formats ask it of the same head, one after the other: the last few are remembered.
    """
    places: set[str] = set()
    open_ones: list[tuple[bool, str]] = []  # whether it is an object, and its place
    key = ""
    for name, colon, bracket in _TOKEN.findall(head):
        in_object, place = open_ones[-1] if open_ones else (False, "")
        if colon:
            key = name.decode("utf-8", "replace")
        # Further down there are no places to name; names that grew with the depth would take for ever.
        near = len(open_ones) <= _DEEPEST
        within = "" if not near else (f"{place}.{key}" if place else key) if in_object else place
        if colon and near:
            places.add(within)
        elif bracket in (b"{", b"["):
            open_ones.append((True, within) if bracket == b"{" else (False, f"{within}[]"))
        elif bracket and open_ones:
            open_ones.pop()
    return frozenset(places)
