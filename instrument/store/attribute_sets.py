"""The attributes that have no column of their own: one key for each distinct set of them. Fills `Group.out`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any, Final

import orjson

from instrument import sameness
from instrument.otlp import AnyValue, plain
from instrument.store import columns
from instrument.store.group import Group
from instrument.store.memory import remember

_STRING: Final = attrgetter("stringValue")
_INT: Final = attrgetter("intValue")


def fill(group: Group) -> None:
    """Fills `attributes_key`; adds the sets not seen before to the extras."""
    positions, resource = group.shape.rest, group.context.resource
    if not positions and resource == "{}":
        return
    names = tuple(group.names[p] for p in positions)
    values = [group.values(p) for p in positions]
    signatures = zip(*map(_signatures, values), strict=True) if positions else [()] * len(group.spans)
    known = group.memory.attribute_sets(names, resource)
    keys = []
    for row, signature in enumerate(signatures):
        key = known.get(signature)
        if key is None:
            body = columns.dumps(_bag(names, [v[row] for v in values], resource))
            key = sameness.key_of(body.encode("utf-8", "replace"))
            group.extras.attribute_sets.append((key, body))
            remember(known, signature, key)
        keys.append(key)
    group.out["attributes_key"] = keys


def _signatures(values: list[AnyValue | None]) -> Sequence[Any]:
    """Something hashable for each value, that differs where the value or its type does."""
    for attribute, marked in ((_STRING, False), (_INT, True)):
        try:
            found = list(map(attribute, values))
        except AttributeError:
            break
        if None not in found:
            return list(zip(repeat(int), found)) if marked else found
    return [_signature(v) for v in values]


def _signature(value: AnyValue | None) -> Any:
    if value is None:
        return None
    if value.stringValue is not None:
        return value.stringValue
    if value.intValue is not None:
        return (int, value.intValue)
    if value.arrayValue is None and value.kvlistValue is None:
        # With the names of the types: 1, 1.0 and true are equal in Python.
        return (value.doubleValue, repr(value.boolValue), value.bytesValue)
    return (columns.dumps(plain(value)),)


def _bag(names: tuple[str, ...], values: list[AnyValue | None], resource: str) -> dict[str, Any]:
    bag: dict[str, Any] = {name: plain(value) for name, value in zip(names, values, strict=True)}
    if resource != "{}":
        bag["resource"] = orjson.loads(resource)
    return bag
