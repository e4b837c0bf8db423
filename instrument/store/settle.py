"""What a span is among the others: its run, its place in it, whether it was reported before, and what it cost.

Works on the rows that a load has staged. Stored rows of the same runs are taken out, settled together with them and written again.
Rows leave here clustered by run and in order, with an integer run key: most of the speed of every later analysis.

A recording process settles a few spans every few seconds, and there what costs is the number of statements: steps that have nothing to
do are left out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instrument.prices import Prices
from instrument.store import schema
from instrument.store.ancestors import find_ancestors
from instrument.store.calls import settle_calls
from instrument.store.costs import priced
from instrument.store.reconcile import DECLARED_BY_CONTEXT, any_duplicates, reconcile
from instrument.store.repeats import Told, find_repeats, take_out


@dataclass(frozen=True, slots=True)
class Staged:
    """What a load has read and not settled yet: spans with the columns of `stage.STAGE`, the others with those of the schema."""

    spans: pa.Table
    requests: pa.Table
    responses: pa.Table

    def without(self, span_keys: list[int]) -> Staged:
        """The same without these spans and what they asked for."""
        if not span_keys:
            return self
        gone = pa.array(span_keys, pa.int64())
        spans, requests = (t.filter(pc.invert(pc.is_in(t["span_key"], gone))) for t in (self.spans, self.requests))
        return Staged(spans, requests, self.responses)


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of settling."""

    new: int = 0
    """Spans that are new in the store."""
    again: Counter[int] = field(default_factory=Counter)
    """Spans whose ids were there already and that were left out, by `source_key`."""


def settle(con: duckdb.DuckDBPyConnection, staged: Staged, prices: Prices) -> Settled:
    """Writes what is staged into the store, settled."""
    if not staged.spans.num_rows:
        return Settled()
    con.register("stage", staged.spans)
    told = find_repeats(con, staged.spans)
    con.unregister("stage")
    kept = staged.without(told.aside)
    take_out(con, told)
    rows = _rows(con, priced(kept.spans, prices), told)
    con.register("flyball_work", rows)
    calls = bool(kept.requests.num_rows or kept.responses.num_rows or told.touched)
    reported_twice = any_duplicates(rows)
    # Where nothing will change in it, the rows need not be copied first.
    con.execute(f"CREATE OR REPLACE TEMP {'TABLE' if calls or reported_twice else 'VIEW'} work AS {_WORK}")
    find_ancestors(con)
    if reported_twice:
        reconcile(con)
    if calls:
        settle_calls(con, kept.requests, kept.responses)
    _assign_runs(con)
    _write(con)
    con.execute(f"DROP {'TABLE' if calls or reported_twice else 'VIEW'} work")
    con.unregister("flyball_work")
    for name in ("ancestors", "placed"):
        con.execute(f"DROP TABLE {name}")
    return Settled(int(kept.spans.num_rows) - len(told.replaced), _left_out(staged.spans, told.aside))


def _left_out(spans: pa.Table, aside: list[int]) -> Counter[int]:
    """How many spans of each source were set aside, marks of starts not counted: their ends are there."""
    if not aside:
        return Counter()
    ends = pc.invert(pc.fill_null(spans["pending"], False))
    gone = pc.and_(ends, pc.is_in(spans["span_key"], pa.array(aside, pa.int64())))
    return Counter(spans["source_key"].filter(gone).to_pylist())


def _rows(con: duckdb.DuckDBPyConnection, spans: pa.Table, told: Told) -> pa.Table:
    """Staged `spans` as far as they are known in the columns of the table, and the stored rows of the same runs, which leave the store."""
    spans = spans.rename_columns([_RENAMED.get(name, name) for name in spans.column_names])
    if told.touched:
        touched, bound = "run_key IN (SELECT unnest($touched::INTEGER[]))", {"touched": told.touched}
        stored = con.sql(f"FROM spans WHERE {touched} AND NOT inferred", params=bound).to_arrow_table()
        con.execute(f"DELETE FROM spans WHERE {touched}", bound)
        spans = pa.concat_tables([spans, _again(stored, told.replaced)], promote_options="permissive")
    return spans.append_column("row", pa.array(np.arange(spans.num_rows)))


_RENAMED: Final = {"stamped_run_id": "run_id"}
_WORKED_OUT: Final = ("run_key", "step", "turn", "duplicate_of", "inferred", "declared")
_WORK: Final = f"""
    SELECT row, {", ".join(c.name for c in schema.SPANS.columns if c.name not in _WORKED_OUT)}, false AS inferred,
        {", ".join(f"NULL::{c.type} AS {c.name}" for c in schema.SPANS.columns if c.name in _WORKED_OUT and c.name != "inferred")}
    FROM flyball_work
"""
"""Table `work`: one row is one span in the form of `spans`, numbered by `row`."""


def _again(stored: pa.Table, replaced: list[int]) -> pa.Table:
    """Stored rows as if they were staged."""
    gone = pa.array(replaced, pa.int64())
    rows = stored.filter(pc.invert(pc.is_in(stored["span_key"], gone))).drop_columns(list(_WORKED_OUT))
    for number, column in enumerate(rows.schema):
        if pa.types.is_dictionary(column.type):
            rows = rows.set_column(number, column.name, rows[column.name].cast(pa.string()))
    # What a span was stamped with stays; what was only fallen back to is worked out again.
    fallen_back = pc.or_kleene(
        pc.equal(rows["run_id"], rows["trace_id"]), pc.equal(rows["run_id"], rows["conversation_id"])
    )
    stamped = pc.if_else(pc.fill_null(fallen_back, False), None, rows["run_id"])
    return rows.set_column(rows.column_names.index("run_id"), "run_id", stamped)


def _assign_runs(con: duckdb.DuckDBPyConnection) -> None:
    """Table `placed`: for each row of `work` its run, and who ran it, taken from the agent span where the row itself does not say."""
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE placed AS
        SELECT w.row, n.depth, coalesce(a.span_id, w.run_id, w.conversation_id, w.trace_id) AS run_id,
            -- A conversation goes across traces; the id of a span or a trace means something only within its trace.
            CASE WHEN a.span_id IS NULL AND w.run_id IS NULL AND w.conversation_id IS NOT NULL THEN '' ELSE w.trace_id END AS run_trace,
            coalesce(w.agent_name, a.agent_name) AS agent_name, coalesce(w.conversation_id, a.conversation_id) AS conversation_id,
            coalesce(w.user_id, a.user_id) AS user_id,
            w.start_ns, w.end_ns, w.span_id, w.inferred, w.toolset_key, w.kind = 'model' AND w.duplicate_of IS NULL AS begins_turn
        FROM work w JOIN ancestors n ON n.row = w.row LEFT JOIN work a ON a.row = n.agent_row
        """
    )
    con.execute(
        """
        INSERT INTO runs
        SELECT (SELECT coalesce(max(run_key), 0) FROM runs) + row_number() OVER (ORDER BY first_start, run_id, run_trace), run_id, run_trace
        FROM (SELECT run_id, run_trace, min(start_ns) AS first_start FROM placed GROUP BY ALL) AS found
        WHERE NOT EXISTS (FROM runs WHERE runs.run_id = found.run_id AND runs.trace_id = found.run_trace)
        """
    )


def _write(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        f"""
        INSERT INTO spans BY NAME
        SELECT w.* EXCLUDE (row) REPLACE (
            o.run_key AS run_key, o.step AS step, o.turn AS turn, o.run_id AS run_id,
            o.agent_name AS agent_name, o.conversation_id AS conversation_id, o.user_id AS user_id,
            coalesce(declared, {DECLARED_BY_CONTEXT}) AS declared
        ) FROM work w JOIN (
            SELECT p.*, r.run_key, row_number() OVER run_order - 1 AS step,
                sum(CASE WHEN begins_turn THEN 1 ELSE 0 END) OVER run_order AS turn,
                last_value(toolset_key IGNORE NULLS) OVER run_order AS toolset_then
            FROM placed p JOIN runs r ON r.run_id = p.run_id AND r.trace_id = p.run_trace
            WINDOW run_order AS (
                PARTITION BY r.run_key ORDER BY p.start_ns NULLS FIRST, p.depth, p.inferred, p.end_ns NULLS LAST, p.span_id
                ROWS UNBOUNDED PRECEDING
            )
        ) AS o ON o.row = w.row ORDER BY o.run_key, o.step
        """
    )
