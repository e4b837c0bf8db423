"""Spans that are told more than once: the mark of a start and the end, a file that is read again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import duckdb
import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Told:
    """What staged spans repeat."""

    aside: list[int]
    """`span_key` of staged rows that bring nothing new."""
    replaced: list[int]
    """`span_key` of stored rows of which the end has come."""
    touched: list[int]
    """`run_key` of stored runs that staged spans may belong to."""


def find_repeats(con: duckdb.DuckDBPyConnection, spans: pa.Table) -> Told:
    """One row per (trace, span) counts: the end before the mark of the start, what is stored before what comes again, else the first.

    `spans` is registered as `stage`.
    """
    columns = {name: spans[name].to_pylist() for name in ("trace_id", "span_id", "span_key")}
    ended = spans["end_ns"].is_valid().to_pylist()
    pairs = list(zip(columns["trace_id"], columns["span_id"], strict=True))
    known = dict(zip(pairs, zip(ended, columns["span_key"], strict=True), strict=True))
    aside: list[int] = []
    if len(known) < len(pairs):
        known, aside = _first_of_each(pairs, ended, columns["span_key"])
    touched, replaced = _runs_of_conversations(con, spans), []
    for trace_id, span_id, key, ends, run_key in con.execute(_STORED).fetchall():
        touched.add(run_key)
        again = known.get((trace_id, span_id))
        if again is not None and again[0] and not ends:
            replaced.append(key)
        elif again is not None:
            aside.append(again[1])
    return Told(aside, replaced, sorted(touched))


def _first_of_each(
    pairs: list[tuple[str, str]], ended: list[bool], keys: list[int]
) -> tuple[dict[tuple[str, str], tuple[bool, int]], list[int]]:
    """For each (trace, span) whether the row that counts has ended, and its key; the keys of the others."""
    known: dict[tuple[str, str], tuple[bool, int]] = {}
    aside = []
    for pair, ends, key in zip(pairs, ended, keys, strict=True):
        other = known.setdefault(pair, (ends, key))
        if other[1] == key:
            continue
        if ends and not other[0]:
            known[pair] = (ends, key)
            aside.append(other[1])
        else:
            aside.append(key)
    return known, aside


_STORED: Final = """
    SELECT trace_id, span_id, span_key, end_ns IS NOT NULL, run_key FROM spans
    WHERE NOT inferred AND trace_id IN (SELECT trace_id FROM stage)
"""


def _runs_of_conversations(con: duckdb.DuckDBPyConnection, spans: pa.Table) -> set[int]:
    conversations = spans.column("conversation_id").unique().drop_null().to_pylist()
    if not conversations:
        return set()
    found = con.execute("SELECT run_key FROM runs WHERE run_id IN (SELECT unnest(?))", [conversations]).fetchall()
    return {run_key for (run_key,) in found}


def take_out(con: duckdb.DuckDBPyConnection, told: Told) -> None:
    """Removes from the store what the spans set aside or replaced said. The spans themselves leave it with their runs."""
    if told.aside or told.replaced:
        for table in ("contents", "guarded_runs", "guard_actions"):
            con.execute(
                f"DELETE FROM {table} WHERE span_key IN (SELECT unnest(?::BIGINT[]))", [told.aside + told.replaced]
            )
    if told.replaced:
        con.execute("DELETE FROM tool_requests WHERE span_key IN (SELECT unnest(?::BIGINT[]))", [told.replaced])
