"""A report as one JSON document, for programs."""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass
from typing import Any, Final

import msgspec

from analyzer.findings import Report

_TOLD: Final = ("findings", "outcomes", "issues", "totals", "guard_actions", "stops")
"""What of a report means something outside of the store that it was made from."""


def as_json(report: Report) -> str:
    """`{"findings", "outcomes", "issues", "totals", "guard_actions", "stops"}` with the field names of `analyzer.findings`, in ASCII.

    Unknown values are null; numbers that JSON has no spelling for (NaN, infinities) are null too.
    """
    return as_document({name: getattr(report, name) for name in _TOLD})


def as_document(value: Any) -> str:
    """Any of our values as a JSON document, in the same manner."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # a lone surrogate would be no valid JSON
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {_plain(str(k)): _plain(v) for k, v in value.items()}
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    return _plain(str(value))
