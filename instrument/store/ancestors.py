"""Who is above a span: parent chains of any depth as integer arrays, in log2(depth) passes."""

from __future__ import annotations

from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

Rows = npt.NDArray[np.int64]

_NONE: Final = -1
_DEEPEST_DOUBLING: Final = 40
"""Pointer doublings before parents are taken to go round in a circle: 2^40 levels."""


def find_ancestors(con: duckdb.DuckDBPyConnection) -> None:
    """Table `ancestors`: for each row of `work` its depth and the nearest agent (itself included), model call and tool call above it."""
    found = con.execute(
        """
        SELECT w.row, coalesce(p.row, -1) AS parent, w.kind = 'agent' AS agent, w.kind = 'model' AS model, w.kind = 'tool' AS tool
        FROM work w LEFT JOIN work p ON p.trace_id = w.trace_id AND p.span_id = w.parent_span_id ORDER BY w.row
        """
    ).fetchnumpy()
    parent: Rows = np.asarray(found["parent"], dtype=np.int64)
    itself = np.arange(len(parent), dtype=np.int64)
    columns = {
        "row": itself,
        "agent_row": nearest(np.where(found["agent"], itself, parent), found["agent"]),
        "model_row": _above(parent, nearest(np.where(found["model"], itself, parent), found["model"])),
        "tool_row": _above(parent, nearest(np.where(found["tool"], itself, parent), found["tool"])),
        "depth": depths(parent),
    }
    con.register("flyball_ancestors", pa.table({k: pa.array(v) for k, v in columns.items()}))
    con.execute("CREATE OR REPLACE TEMP TABLE ancestors AS FROM flyball_ancestors")
    con.unregister("flyball_ancestors")


def nearest(up: Rows, wanted: npt.NDArray[np.bool_]) -> Rows:
    """For each row the first wanted row on its way up, itself included; -1 where there is none, or where parents go in a circle.

    `up` leads a wanted row to itself and any other to its parent (-1 at a root). Pointer doubling: log2(depth) passes over the rows.
    """
    jump = np.append(up, _NONE)  # the last entry is where -1 points: nowhere leads nowhere
    for _ in range(_DEEPEST_DOUBLING):
        further = jump[jump]
        if np.array_equal(further, jump):
            break
        jump = further
    jump = jump[:-1]
    return np.where((jump >= 0) & wanted[jump], jump, _NONE)


def _above(parent: Rows, inclusive: Rows) -> Rows:
    return np.where(parent >= 0, inclusive[parent], _NONE)


def depths(parent: Rows) -> Rows:
    """Levels above each row; rows on a circle of parents get some finite number."""
    distance = (np.append(parent, _NONE) >= 0).astype(np.int64)
    jump = np.append(parent, _NONE)
    for _ in range(_DEEPEST_DOUBLING):
        if (jump < 0).all():
            break
        distance = np.minimum(distance + distance[jump], len(parent))
        jump = jump[jump]
        if (distance >= len(parent)).any():
            break  # a circle
    return distance[:-1]
