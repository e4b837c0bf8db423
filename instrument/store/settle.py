"""What a span is among the others: its run, its place in it, whether it was reported before, and what it cost.

Works on the rows that a load left in the temporary table `stage`. Stored rows of the same runs are taken out, settled together with them and
written again. Rows leave here clustered by run and in order, with an integer run key: most of the speed of every later analysis.
"""

from __future__ import annotations

from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from instrument.prices import Prices
from instrument.store import reconcile, schema
from instrument.store.costs import priced, register_rates

Rows = npt.NDArray[np.int64]

_NONE: Final = -1
_DEEPEST_DOUBLING: Final = 40
"""Pointer doublings before parents are taken to go round in a circle: 2^40 levels."""
_SPANS: Final = ", ".join(c.name for c in schema.SPANS.columns)


def settle(con: duckdb.DuckDBPyConnection, stage: pa.Table, prices: Prices) -> int:
    """Writes the rows of `stage` (columns as `rows.STAGE`) into `spans`, settled. Returns how many spans are new."""
    if not stage.num_rows:
        return 0
    before = _count(con)
    con.register("stage", stage)
    register_rates(con, prices)
    try:
        _set_repeats_aside(con)
        _work(con)
    finally:
        con.unregister("stage")
        con.unregister("flyball_rates")
    _ancestors(con)
    reconcile.reconcile(con)
    _assign_runs(con)
    _write(con)
    for name in ("work", "ancestors", "placed", "aside"):
        con.execute(f"DROP TABLE IF EXISTS {name}")
    return _count(con) - before


def _any(con: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(con.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchall())


def _count(con: duckdb.DuckDBPyConnection) -> int:
    return int(con.execute("SELECT count(*) FROM spans WHERE NOT inferred").fetchall()[0][0])


def _set_repeats_aside(con: duckdb.DuckDBPyConnection) -> None:
    """Table `aside`: staged rows that tell of a span told already. One row per (trace, span) counts: the end before the pending mark,
    what is stored before what comes again, else the first.
    """
    con.execute("CREATE OR REPLACE TEMP TABLE aside (span_key BIGINT)")
    repeated = con.execute("SELECT count(*) - count(DISTINCT (trace_id, span_id)) FROM stage").fetchall()
    if repeated[0][0]:
        con.execute(
            """
            INSERT INTO aside SELECT span_key FROM stage
            QUALIFY row_number() OVER (PARTITION BY trace_id, span_id ORDER BY end_ns IS NULL, span_key) > 1
            """
        )
    if _any(con, "spans"):
        _meet_stored(con)
    if _any(con, "aside"):
        for table in ("contents", "new_tool_requests"):
            con.execute(f"DELETE FROM {table} WHERE span_key IN (FROM aside)")


def _meet_stored(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE met AS
        SELECT stage.span_key AS new_key, stored.span_key AS old_key, stored.end_ns IS NULL AND stage.end_ns IS NOT NULL AS replaced
        FROM stage JOIN (SELECT trace_id, span_id, span_key, end_ns FROM spans WHERE trace_id IN (SELECT trace_id FROM stage) AND NOT inferred) AS stored
            USING (trace_id, span_id)
        """
    )
    con.execute("INSERT INTO aside SELECT new_key FROM met WHERE NOT replaced")
    if _any(con, "met"):
        for table in ("contents", "tool_requests", "spans"):
            con.execute(f"DELETE FROM {table} WHERE span_key IN (SELECT old_key FROM met WHERE replaced)")


def _work(con: duckdb.DuckDBPyConnection) -> None:
    """Table `work`: staged rows in the form of `spans`, and the stored rows of the same runs, which leave the store for now."""
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE work AS
        SELECT row_number() OVER () - 1 AS row, span_key, NULL::INTEGER AS run_key, NULL::INTEGER AS step, NULL::INTEGER AS turn, stamped_run_id AS run_id, trace_id, span_id,
            parent_span_id, kind, name, agent_name, conversation_id, user_id, service_name, start_ns, end_ns, status, failed,
            failure_inferred, error_type, error_message, failure_kind, provider, request_model, response_model, response_id, request_id,
            finish_reason, max_tokens, whole_input - coalesce(cache_read_tokens, 0) - coalesce(written, 0) AS uncached_input_tokens,
            cache_read_tokens, written AS cache_write_tokens, cache_write_5m_tokens, cache_write_1h_tokens, whole_input AS input_tokens,
            output_tokens, reasoning_tokens, web_searches, usage_state, cost_usd, price_source, time_to_first_token_ns, retries,
            tool_name, tool_call_id, NULL::BOOLEAN AS declared, rejected, call_key, loose_call_key, result_key, result_chars, output_key,
            loose_output_key, output_chars, requested_calls, toolset_key, content_state, NULL::VARCHAR AS duplicate_of, false AS inferred,
            attributes_key, dialect, source_key
        FROM ({priced()}) WHERE span_key NOT IN (FROM aside)
        """
    )
    if not _any(con, "spans"):
        return
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE touched AS
        SELECT DISTINCT run_key FROM spans WHERE trace_id IN (SELECT trace_id FROM stage)
        UNION SELECT run_key FROM runs WHERE run_id IN (SELECT conversation_id FROM stage)
        """
    )
    if not _any(con, "touched"):
        return
    con.execute(
        f"""
        INSERT INTO work BY NAME SELECT (SELECT count(*) FROM work) + row_number() OVER () - 1 AS row, * REPLACE (
            -- What a span was stamped with stays; what was only fallen back to is worked out again.
            CASE WHEN run_id IS DISTINCT FROM trace_id AND run_id IS DISTINCT FROM conversation_id THEN run_id END AS run_id,
            NULL AS run_key, NULL AS step, NULL AS turn, NULL AS duplicate_of
        ) FROM (SELECT {_SPANS} FROM spans WHERE run_key IN (FROM touched) AND NOT inferred)
        """
    )
    con.execute("DELETE FROM spans WHERE run_key IN (FROM touched)")


def _ancestors(con: duckdb.DuckDBPyConnection) -> None:
    """Table `ancestors`: for each row of `work` its depth and the nearest agent (itself included), model call and tool call above it."""
    found = con.execute(
        """
        SELECT w.row, coalesce(p.row, -1) AS parent, w.kind = 'agent' AS agent, w.kind = 'model' AS model, w.kind = 'tool' AS tool
        FROM work w LEFT JOIN work p ON p.trace_id = w.trace_id AND p.span_id = w.parent_span_id ORDER BY w.row
        """
    ).fetchnumpy()
    parent: Rows = np.asarray(found["parent"], dtype=np.int64)
    itself = np.arange(len(parent), dtype=np.int64)
    agent = nearest(np.where(found["agent"], itself, parent), found["agent"])
    columns = {
        "row": itself,
        "agent_row": agent,
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
            coalesce(declared, {reconcile.DECLARED_BY_CONTEXT}) AS declared
        ) FROM work w JOIN (
            SELECT p.*, r.run_key, row_number() OVER run_order - 1 AS step,
                sum(CASE WHEN begins_turn THEN 1 ELSE 0 END) OVER run_order AS turn,
                last_value(toolset_key IGNORE NULLS) OVER run_order AS toolset_then
            FROM placed p JOIN runs r ON r.run_id = p.run_id AND r.trace_id = p.run_trace
            WINDOW run_order AS (
                PARTITION BY r.run_key ORDER BY p.start_ns NULLS FIRST, p.depth, p.inferred, p.end_ns NULLS LAST, p.span_id ROWS UNBOUNDED PRECEDING
            )
        ) AS o ON o.row = w.row ORDER BY o.run_key, o.step
        """
    )
