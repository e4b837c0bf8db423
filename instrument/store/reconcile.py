"""The same call reported more than once is counted once.

One model call can be on the SDK's own span, on an instrumentor's, on the provider's server span. All rows stay; all but one point to
the one that stands for the call (`duplicate_of`), and that one takes from the others what it lacks. Rules, in order:

1. model spans of one trace with the same response id, unless one library gives it to one call after another;
2. a model span below another: other library and the same or missing usage, or the same usage with no agent and no tool between; same or
   missing model;
3. model spans side by side (an instrumentor that does not make its span current), of different libraries, one within the time of the other;
4. model spans anywhere in one trace (libraries that each build a tree of their own), of different libraries, with the same model, the same
   usage and a moment in common;
5. a tool span of one library below one of another library for the same tool;
6. tool spans anywhere in one trace, of different libraries, with the same call id, or for the same tool at about the same time.

A span that holds several calls (an instrumentor that retries) stands for none of them: it is a report of the last.
"""

from __future__ import annotations

from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from instrument.store.dialects import PREFERENCE

_RANK: Final = (
    "CASE dialect "
    + " ".join(f"WHEN '{d}' THEN {i}" for i, d in enumerate(PREFERENCE))
    + " WHEN 'claude-platform' THEN 99 ELSE 50 END"
)


def _rank(alias: str) -> str:
    return _RANK.replace("dialect", f"{alias}.dialect")


DECLARED_BY_CONTEXT: Final = """CASE
    WHEN kind <> 'tool' OR toolset_then IS NULL THEN NULL
    WHEN list_contains((SELECT names FROM toolsets t WHERE t.toolset_key = toolset_then LIMIT 1), tool_name) THEN true
    -- A tool that ran well exists, declared or not: code may decorate functions the model never sees.
    WHEN failed AND tool_call_id IS NOT NULL THEN false
END"""
"""Whether a tool was declared, where the request that asked for it is not known: by the last request before it."""

_MERGED: Final = (
    "agent_name", "conversation_id", "user_id", "request_model", "response_model", "response_id", "finish_reason", "time_to_first_token_ns",
    "tool_call_id", "call_key", "loose_call_key", "null_input", "result_key", "result_chars", "error_type", "error_message", "failure_kind",
    "output_key", "asked_key", "loose_output_key", "output_chars", "requested_calls", "toolset_key", "rejected",
)  # fmt: skip
"""Facts of which each is taken from whoever has it."""
_COUNTERS: Final = (
    "uncached_input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "input_tokens",
    "output_tokens", "reasoning_tokens", "web_searches", "compaction_input_tokens", "compaction_output_tokens",
)  # fmt: skip
_USAGE: Final = (*_COUNTERS, "usage_state", "cost_usd", "price_source")
"""What is taken from one report as a whole: a cache counter of the one and an input of the other are no usage."""


def any_duplicates(spans: pa.Table) -> bool:
    """Whether some call may be reported more than once in `spans`: otherwise there is nothing to reconcile."""
    told = spans.select(["kind", "dialect", "response_id", "span_id", "parent_span_id"])
    calls = told.filter(pc.is_in(told["kind"], pa.array(["model", "tool"])))
    answers = calls["response_id"]
    models = calls.filter(pc.equal(calls["kind"], "model"))
    return (
        len(calls["dialect"].unique()) > 1
        or pc.count_distinct(answers).as_py() < pc.count(answers).as_py()
        # Google's ADK has a span around each of its model calls that says the same of it.
        or bool(pc.any(pc.is_in(models["parent_span_id"], models["span_id"].unique())).as_py())
    )


def reconcile(con: duckdb.DuckDBPyConnection) -> None:
    """Marks duplicates in `work`, and completes from them the rows that stand for them."""
    if not con.execute(_CANDIDATES).fetchall()[0][0] and not con.execute(_NESTED).fetchall():
        return
    con.execute("CREATE OR REPLACE TEMP TABLE same (row BIGINT, stands BIGINT)")
    _same_response(con)
    _nested_models(con)
    _side_by_side(con)
    _at_one_time(con, "model", ("request_model", "input_tokens", "output_tokens"), "response_id", slack_ns=0)
    _nested_tools(con)
    _same_tool_call(con)
    _at_one_time(con, "tool", ("tool_name",), "tool_call_id", slack_ns=_LOGGED_LATE_NS)
    _mark(con)


_CANDIDATES: Final = """
    CREATE OR REPLACE TEMP TABLE candidates AS SELECT trace_id, kind FROM work WHERE kind IN ('model', 'tool') GROUP BY ALL
    HAVING count(DISTINCT dialect) > 1 OR count(response_id) > count(DISTINCT response_id)
"""

_NESTED: Final = """
    SELECT 1 FROM work i JOIN ancestors n ON n.row = i.row WHERE i.kind = 'model' AND n.model_row >= 0 LIMIT 1
"""


def _same_response(con: duckdb.DuckDBPyConnection) -> None:
    """A library that gives an id again once the call that had it is over names something else by it (a run, or every answer of a test
    double): its calls are counted one by one, and the k-th of it is the k-th of the others."""
    con.execute(
        f"""
        INSERT INTO same
        WITH reports AS MATERIALIZED (
            SELECT row, trace_id, response_id, dialect, start_ns, span_id, start_ns >= max(end_ns) OVER (
                PARTITION BY trace_id, response_id, dialect ORDER BY start_ns, span_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS again
            FROM work WHERE kind = 'model' AND response_id IS NOT NULL
                AND trace_id IN (SELECT trace_id FROM candidates WHERE kind = 'model')
        ), numbered AS MATERIALIZED (
            SELECT *, count(*) FILTER (again) OVER (PARTITION BY trace_id, response_id, dialect ORDER BY start_ns, span_id) AS place
            FROM reports
        )
        SELECT row, stands FROM (
            SELECT row, first_value(row) OVER (PARTITION BY trace_id, response_id, place ORDER BY {_RANK}, start_ns, span_id) AS stands
            FROM numbered
        ) WHERE row <> stands
        """
    )


_SAME_MODEL: Final = "coalesce(o.request_model = i.request_model, true)"
_SAME_USAGE: Final = "(o.input_tokens = i.input_tokens AND o.output_tokens = i.output_tokens)"
_NO_OTHER_USAGE: Final = "(o.input_tokens IS NULL OR i.input_tokens IS NULL)"
_NO_OTHER_ID: Final = "(o.response_id IS NULL OR i.response_id IS NULL)"


def _nested_models(con: duckdb.DuckDBPyConnection) -> None:
    """`o` is the outer span, `i` the inner one."""
    con.execute(
        f"""
        INSERT INTO same
        WITH above AS MATERIALIZED (
            SELECT n.row, n.model_row, n.agent_row = a.agent_row AND n.tool_row = a.tool_row AS nothing_between
            FROM ancestors n JOIN ancestors a ON a.row = n.model_row
        )
        SELECT CASE WHEN outer_rank < inner_rank THEN i_row ELSE o_row END,
            CASE WHEN outer_rank < inner_rank THEN o_row ELSE i_row END
        FROM (
            SELECT i.row AS i_row, o.row AS o_row, {_rank("o")} AS outer_rank, {_rank("i")} AS inner_rank
            FROM work i JOIN above n ON n.row = i.row JOIN work o ON o.row = n.model_row
            WHERE i.kind = 'model' AND {_SAME_MODEL} AND {_NO_OTHER_ID}
                AND o.row NOT IN (SELECT row FROM same) AND i.row NOT IN (SELECT row FROM same)
                AND ((o.dialect <> i.dialect AND ({_SAME_USAGE} OR {_NO_OTHER_USAGE})) OR ({_SAME_USAGE} AND nothing_between))
            -- Of several calls within one span, that span reports the last.
            QUALIFY row_number() OVER (PARTITION BY o.row ORDER BY i.end_ns DESC NULLS FIRST, i.span_id) = 1
        )
        """
    )


def _side_by_side(con: duckdb.DuckDBPyConnection) -> None:
    """The k-th report of one library is the k-th of the other, where the one lies within the time of the other."""
    con.execute(
        f"""
        INSERT INTO same
        WITH open AS (
            SELECT *, {_RANK} AS rank, row_number() OVER (
                PARTITION BY trace_id, parent_span_id, dialect, request_model ORDER BY start_ns, span_id
            ) AS place
            FROM work WHERE kind = 'model' AND trace_id IN (SELECT trace_id FROM candidates WHERE kind = 'model')
                AND row NOT IN (SELECT row FROM same) AND row NOT IN (SELECT stands FROM same)
        )
        SELECT CASE WHEN o.rank < i.rank THEN i.row ELSE o.row END, CASE WHEN o.rank < i.rank THEN o.row ELSE i.row END
        FROM open o JOIN open i ON o.trace_id = i.trace_id AND o.parent_span_id IS NOT DISTINCT FROM i.parent_span_id AND o.place = i.place
            AND o.dialect <> i.dialect AND {_SAME_MODEL} AND {_NO_OTHER_ID} AND ({_SAME_USAGE} OR {_NO_OTHER_USAGE})
            AND o.start_ns <= i.start_ns AND o.end_ns >= i.end_ns AND o.row <> i.row
        QUALIFY row_number() OVER (PARTITION BY least(o.row, i.row), greatest(o.row, i.row)) = 1
        """
    )


_LOGGED_LATE_NS: Final = 100_000_000
"""So much later than its span an event of the same call may be written, and its times be taken from that."""


def _at_one_time(con: duckdb.DuckDBPyConnection, kind: str, same: tuple[str, ...], id_: str, *, slack_ns: int) -> None:
    """Calls of one trace that agree in all of `same`, of different libraries and not of two ids, with a moment in common, give or take
    `slack_ns`. Among calls that go on at once the k-th report of one library is the k-th of the other: parallel calls stay several."""
    known = " AND ".join(f"{c} IS NOT NULL" for c in same)
    what = ", ".join(("trace_id", *same))
    con.execute(
        f"""
        INSERT INTO same
        WITH open AS MATERIALIZED (
            SELECT row, {what}, {id_}, dialect, start_ns, end_ns, span_id, start_ns > {slack_ns} + max(end_ns) OVER (
                PARTITION BY {what} ORDER BY start_ns, span_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS after_all
            FROM work WHERE kind = '{kind}' AND {known} AND start_ns IS NOT NULL AND end_ns IS NOT NULL
                AND trace_id IN (SELECT trace_id FROM candidates WHERE kind = '{kind}')
                AND row NOT IN (SELECT row FROM same) AND row NOT IN (SELECT stands FROM same)
        ), together AS MATERIALIZED (
            SELECT *, count(*) FILTER (after_all) OVER (PARTITION BY {what} ORDER BY start_ns, span_id) AS busy FROM open
        ), numbered AS MATERIALIZED (
            SELECT *, row_number() OVER (PARTITION BY {what}, busy, dialect ORDER BY start_ns, span_id) AS place FROM together
        ), paired AS MATERIALIZED (
            SELECT row, {id_} AS id, start_ns, end_ns, first_value(row) OVER best AS stands, first_value({id_}) OVER best AS stands_id,
                first_value(start_ns) OVER best AS stands_start_ns, first_value(end_ns) OVER best AS stands_end_ns
            FROM numbered WINDOW best AS (PARTITION BY {what}, busy, place ORDER BY {_RANK}, start_ns, span_id)
        )
        SELECT row, stands FROM paired WHERE row <> stands AND coalesce(id = stands_id, true)
            AND start_ns <= stands_end_ns + {slack_ns} AND stands_start_ns <= end_ns + {slack_ns}
        """
    )


def _same_tool_call(con: duckdb.DuckDBPyConnection) -> None:
    """Tool spans with one call id, wherever they are. A library that tells of an id again has run the call again: the k-th of it is the
    k-th of the others."""
    con.execute(
        f"""
        INSERT INTO same
        WITH numbered AS MATERIALIZED (
            SELECT row, trace_id, tool_call_id, dialect, start_ns, span_id, tool_name,
                row_number() OVER (PARTITION BY trace_id, tool_call_id, tool_name, dialect ORDER BY start_ns, span_id) AS place
            FROM work WHERE kind = 'tool' AND tool_call_id IS NOT NULL AND trace_id IN (SELECT trace_id FROM candidates WHERE kind = 'tool')
                AND row NOT IN (SELECT row FROM same)
        )
        SELECT row, stands FROM (
            SELECT row, first_value(row) OVER (
                PARTITION BY trace_id, tool_call_id, tool_name, place ORDER BY {_RANK}, start_ns, span_id
            ) AS stands FROM numbered
        ) WHERE row <> stands
        """
    )


def _nested_tools(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        f"""
        INSERT INTO same
        SELECT CASE WHEN outer_stands THEN i_row ELSE o_row END, CASE WHEN outer_stands THEN o_row ELSE i_row END
        FROM (
            SELECT i.row AS i_row, o.row AS o_row, o.tool_call_id IS NOT NULL OR {_rank("o")} <= {_rank("i")} AS outer_stands
            FROM work i JOIN ancestors n ON n.row = i.row JOIN work o ON o.row = n.tool_row
            WHERE i.kind = 'tool' AND o.tool_name = i.tool_name AND o.dialect <> i.dialect
                AND coalesce(o.tool_call_id = i.tool_call_id, true)
        )
        """
    )


def _mark(con: duckdb.DuckDBPyConnection) -> None:
    """Follows chains to the row that stands for all, marks the others, and completes it from them."""
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE same AS
        WITH RECURSIVE chain(row, stands, steps) AS (
            SELECT row, stands, 0 FROM same
            UNION ALL SELECT c.row, s.stands, steps + 1 FROM chain c JOIN same s ON s.row = c.stands WHERE steps < 8
        )
        SELECT row, arg_max(stands, steps) AS stands FROM chain GROUP BY row HAVING arg_max(stands, steps) <> row
        """
    )
    con.execute(
        "UPDATE work SET duplicate_of = s.span_id FROM same JOIN work s ON s.row = same.stands WHERE work.row = same.row"
    )
    _take_usage(con)
    merged = ", ".join(f"{c} = coalesce(work.{c}, o.{c})" for c in _MERGED)
    others = ", ".join(f"any_value(w.{c} ORDER BY {_rank('w')}) AS {c}" for c in _MERGED)
    con.execute(
        f"""
        UPDATE work SET {merged}, failed = work.failed OR coalesce(o.failed, false),
            content_state =
                CASE WHEN coalesce(work.content_state, 'none') = 'none' THEN o.content_state ELSE work.content_state END
        FROM (
            SELECT same.stands, {others}, bool_or(w.failed) AS failed,
                any_value(w.content_state ORDER BY w.content_state) AS content_state
            FROM same JOIN work w ON w.row = same.row GROUP BY same.stands
        ) AS o WHERE work.row = o.stands
        """
    )
    # What was said belongs to the row that stands for the call.
    con.execute(
        """
        UPDATE contents SET span_key = moved.to_key FROM (
            SELECT d.span_key AS from_key, s.span_key AS to_key
            FROM same JOIN work d ON d.row = same.row JOIN work s ON s.row = same.stands
            WHERE s.span_key NOT IN (SELECT span_key FROM contents) AND d.span_key IN (SELECT span_key FROM contents)
            QUALIFY row_number() OVER (PARTITION BY s.span_key ORDER BY d.span_key) = 1
        ) AS moved WHERE contents.span_key = moved.from_key
        """
    )


def _take_usage(con: duckdb.DuckDBPyConnection) -> None:
    """The row that stands for a call gets the usage of the report that says most: whole before part, as billed, in most detail. A cost
    that one of them reports stands, whoever counted the tokens."""
    detail = " + ".join(f"CASE WHEN {c} IS NULL THEN 0 ELSE 1 END" for c in _COUNTERS)
    billed = f"""arg_min(w.cost_usd, (w.usage_state, {_rank("w")}, w.row)) FILTER (w.price_source = 'reported' AND w.cost_usd IS NOT NULL)
        OVER (PARTITION BY reports.stands)"""
    con.execute(
        f"""
        UPDATE work SET {", ".join(f"{c} = best.{c}" for c in (*_COUNTERS, "usage_state"))}, cost_usd = coalesce(billed, best.cost_usd),
            price_source = CASE WHEN billed IS NULL THEN best.price_source ELSE 'reported' END
        FROM (
            SELECT reports.stands, {", ".join(f"w.{c}" for c in _USAGE)}, {billed} AS billed
            FROM (SELECT row, stands FROM same UNION SELECT stands, stands FROM same) AS reports JOIN work w ON w.row = reports.row
            WHERE w.kind = 'model'
            QUALIFY row_number() OVER (
                PARTITION BY reports.stands
                ORDER BY w.usage_state, w.price_source = 'reported' DESC, w.cost_usd IS NULL, {detail} DESC, {_rank("w")}, w.row
            ) = 1
        ) AS best WHERE work.row = best.stands
        """
    )
