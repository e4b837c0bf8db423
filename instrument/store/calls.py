"""What messages say about tool calls: requests and responses into the store, and rows for the calls that no span tells of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import duckdb
import pyarrow as pa

from instrument.store.insert import insert


def settle_calls(con: duckdb.DuckDBPyConnection, requests: pa.Table, responses: pa.Table) -> None:
    """Adds requests and responses to the store; completes the tool calls in `work` from them, and adds those known only from messages."""
    asked, answered = _added(con, "tool_requests", requests), _added(con, "tool_responses", responses)
    con.register("asked", asked)
    con.register("answered", answered)
    try:
        if asked.num_rows:
            con.execute(_ASKED)
            con.execute(_ASKED_WITHOUT_ID)
        if answered.num_rows:
            con.execute(_ANSWERED)
        if asked.num_rows and con.execute(_UNTOLD).fetchall()[0][0]:
            con.execute(_INFERRED)
            con.execute(_THEIR_ANCESTORS)
    finally:
        con.unregister("asked")
        con.unregister("answered")


def _added(con: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> pa.Table:
    """Adds `rows` of calls that are not in the table yet, the first of each. Returns all it then holds of the traces in `work`."""
    stored = con.sql(f"FROM {table} WHERE trace_id IN (SELECT DISTINCT trace_id FROM work)").to_arrow_table()
    known = {call for call in _calls(stored) if call[1] is not None}
    fresh = []
    for number, call in enumerate(_calls(rows)):
        if call not in known:
            fresh.append(number)
        if call[1] is not None:  # a call without an id is like no other
            known.add(call)
    new = rows.take(pa.array(fresh, pa.int64()))
    insert(con, table, new)
    return pa.concat_tables([stored, new], promote_options="permissive")


def _calls(rows: pa.Table) -> Iterator[tuple[str, str | None]]:
    return zip(rows["trace_id"].to_pylist(), rows["tool_call_id"].to_pylist(), strict=True)


_ASKED: Final = """
    UPDATE work SET declared = a.declared, call_key = coalesce(work.call_key, a.call_key),
        loose_call_key = coalesce(work.loose_call_key, a.loose_call_key),
        null_input = coalesce(work.null_input, a.null_input)
    FROM asked a WHERE work.kind = 'tool' AND work.trace_id = a.trace_id AND work.tool_call_id = a.tool_call_id
"""
_ASKED_WITHOUT_ID: Final = """
    UPDATE work SET declared = linked.declared FROM (
        WITH ran AS MATERIALIZED (
            SELECT w.row, w.trace_id, w.tool_name, w.start_ns, n.agent_row FROM work w JOIN ancestors n ON n.row = w.row
            WHERE w.kind = 'tool' AND w.tool_call_id IS NULL
        ), requested AS MATERIALIZED (
            SELECT a.trace_id, a.tool_name, n.agent_row, m.start_ns AS asked_ns,
                CASE WHEN count(a.declared) = count(*) AND min(a.declared) = max(a.declared) THEN min(a.declared) END AS declared
            FROM asked a JOIN work m ON m.trace_id = a.trace_id AND m.span_id = a.span_id JOIN ancestors n ON n.row = m.row
            WHERE a.tool_name IN (SELECT tool_name FROM ran) GROUP BY ALL
        )
        SELECT ran.row, q.declared FROM ran ASOF JOIN requested q ON q.trace_id = ran.trace_id AND q.tool_name = ran.tool_name
            AND q.agent_row = ran.agent_row AND q.asked_ns <= ran.start_ns
    ) AS linked WHERE work.row = linked.row
"""
"""A producer that gives its tool spans no call id (OpenLLMetry): the last request of the same run for a tool of that name asked for it."""
_ANSWERED: Final = """
    UPDATE work SET result_key = a.result_key, result_chars = a.result_chars, failed = work.failed OR a.failed,
        failure_inferred = CASE WHEN work.failed THEN work.failure_inferred WHEN a.failed THEN a.failure_inferred END,
        failure_kind = coalesce(work.failure_kind, a.failure_kind)
    FROM answered a
    WHERE work.kind = 'tool' AND work.result_key IS NULL AND work.trace_id = a.trace_id AND work.tool_call_id = a.tool_call_id
"""
_UNTOLD: Final = """
    CREATE OR REPLACE TEMP TABLE untold AS
    WITH told AS (
        SELECT DISTINCT trace_id, tool_call_id, CASE WHEN tool_call_id IS NULL THEN tool_name END AS unnamed_call_of
        FROM work WHERE kind = 'tool'
    )
    SELECT a.*, m.row AS model_row, coalesce(m.end_ns, m.start_ns) + a.position AS at_ns, m.conversation_id, m.agent_name, m.user_id,
        m.service_name, m.dialect, m.content_state, m.source_key, m.parent_span_id, m.run_id AS stamped,
        md5(a.trace_id || coalesce(a.tool_call_id, a.span_id || ':' || a.position))[:16] AS made_id
    FROM asked a JOIN work m
        ON m.trace_id = a.trace_id AND m.span_id = a.span_id AND (m.duplicate_of IS NULL OR a.tool_call_id IS NOT NULL)
    WHERE a.tool_name IS NOT NULL AND NOT EXISTS (
        FROM told t WHERE t.trace_id = a.trace_id AND (t.tool_call_id = a.tool_call_id OR t.unnamed_call_of = a.tool_name)
    )
"""
"""Calls that a model asked for and no span tells of: agents without tool spans, and calls that never ran."""
_INFERRED: Final = """
    INSERT INTO work BY NAME
    SELECT (SELECT count(*) FROM work) + row_number() OVER () - 1 AS row, NULL AS span_key, u.trace_id, made_id AS span_id,
        parent_span_id, 'tool' AS kind, u.tool_name AS name, agent_name, conversation_id, user_id, service_name, at_ns AS start_ns,
        at_ns AS end_ns, 'unset' AS status, r.failed, r.failure_inferred, r.failure_kind,
        CASE WHEN r.failed THEN r.result[:500] END AS error_message, u.tool_name, u.tool_call_id, u.declared, u.call_key,
        u.loose_call_key, u.null_input, 'both' AS inferred_times, r.result_key, r.result_chars, content_state, true AS inferred, dialect,
        source_key, stamped AS run_id
    FROM untold u LEFT JOIN answered r ON r.trace_id = u.trace_id AND r.tool_call_id = u.tool_call_id
"""
_THEIR_ANCESTORS: Final = """
    INSERT INTO ancestors SELECT w.row, n.agent_row, n.model_row, n.tool_row, n.depth + 1
    FROM work w JOIN untold u ON w.inferred AND w.trace_id = u.trace_id AND w.span_id = u.made_id
        JOIN ancestors n ON n.row = u.model_row
"""
