"""Spans of one shape, to rows: the facts of every column, before anything is known of the spans around them."""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa

from instrument.store import (
    attribute_sets,
    failures,
    guarded,
    model_content,
    plain_columns,
    tool_content,
    usage_details,
)
from instrument.store.group import Group
from instrument.store.stage import staged

_CONTENTS: Final = ("arguments", "result", "result_message_key", "system_key", "input_keys", "output_keys", "events")
_RESULT: Final = _CONTENTS.index("result")
_AT_LENGTH: Final = (None,) * len(_CONTENTS)


def rows_of(group: Group) -> pa.Table:
    """One row per span, columns as `stage.STAGE`; rows of the other tables go to the group's extras."""
    plain_columns.fill(group)
    usage_details.fill(group)
    failures.fill(group)
    guarded.fill(group)
    if "tool" in group.out["kind"]:
        tool_content.fill(group)
    if "model" in group.out["kind"]:
        model_content.fill(group)
    _went_in_and_came_out(group)
    attribute_sets.fill(group)
    _contents(group)
    return staged(group.out, len(group.spans))


def _went_in_and_came_out(group: Group) -> None:
    """What agents and other spans were given and gave back, where their producer says it."""
    out = group.out
    for column, recorded in (("arguments", "io_input"), ("result", "io_output")):
        if column not in out and recorded in group.shape.text:
            said = group.text(recorded) or group.unknown()
            # Of a model call it is the messages, which have a place of their own.
            out[column] = [None if kind == "model" else text for kind, text in zip(out["kind"], said, strict=True)]


def _contents(group: Group) -> None:
    """What a span said at length, where it said anything."""
    out, extras = group.out, group.extras
    found = [out.get(name) for name in _CONTENTS]
    if not any(found):
        return
    calls = out.get("tool_call_id") or group.unknown()
    by_row: list[Any] = [column or group.unknown() for column in found]
    for row, said in enumerate(zip(*by_row, strict=True)):
        if said == _AT_LENGTH:
            continue
        if said[_RESULT] is not None and calls[row] is not None and out["kind"][row] == "tool":
            extras.results.append((len(extras.contents), out["trace_id"][row], calls[row]))
        extras.contents.append((out["span_key"][row], *said))
