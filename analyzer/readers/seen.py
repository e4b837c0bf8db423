"""What one reading has come across so far, in whatever file: sessions that were resumed or forked repeat those they came from."""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from typing import Any, Final

from analyzer.readers.sink import Sink

_SEEN: Final[dict[int, set[Hashable]]] = {}
"""By the identity of the sink, which is what the files of one reading have in common; gone when the sink is."""
_KEPT: Final[dict[int, dict[Hashable, Any]]] = {}
"""Likewise."""


def first_time(sink: Sink, *keys: Hashable) -> bool:
    """Whether none of `keys` came by before in the reading that goes into `sink`. From then on all of them have."""
    if id(sink) not in _SEEN:
        _SEEN[id(sink)] = set()
        weakref.finalize(sink, _SEEN.pop, id(sink), None)
    seen = _SEEN[id(sink)]
    new = seen.isdisjoint(keys)
    seen.update(keys)
    return new


def kept_for(sink: Sink) -> dict[Hashable, Any]:
    """What readers keep in the reading that goes into `sink`, for files that are read after this one."""
    if id(sink) not in _KEPT:
        _KEPT[id(sink)] = {}
        weakref.finalize(sink, _KEPT.pop, id(sink), None)
    return _KEPT[id(sink)]
