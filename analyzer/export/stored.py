"""Rows of a database and all that belongs to them, some thousand spans at a time: memory does not grow with the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import duckdb
import orjson

_BATCH_SPANS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Stored:
    """One span as the store has it. Texts are as recorded; None where nothing was."""

    row: dict[str, Any]
    """The columns of `spans`."""
    bag: dict[str, Any]
    """Attributes that have no column."""
    resource: dict[str, Any]
    arguments: str | None = None
    result: str | None = None
    system: str | None = None
    """Parts of the system instructions, as JSON."""
    sent: str | None = None
    """Messages sent to the model, as JSON."""
    answered: str | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    """`name`, `time_ns` and `attributes` of each."""
    tools: str | None = None
    """Declarations of the tools, as JSON."""
    declared: list[str] | None = None
    """Their names, where the declarations were not recorded."""
    requested: list[tuple[Any, ...]] = field(default_factory=list)
    """Of hashed content, the tool calls asked for: id, name, call key, loose call key, null input."""
    guarded: dict[str, Any] = field(default_factory=dict)
    """The columns of `guarded_runs`."""


def count_spans(con: duckdb.DuckDBPyConnection, run_ids: Sequence[str] = ()) -> int:
    """How many spans there are in the database, or in these runs."""
    where, bound = _chosen(run_ids)
    count: int = con.execute(f"SELECT count(*) FROM spans WHERE NOT inferred AND {where}", bound).fetchall()[0][0]
    return count


def stored_spans(con: duckdb.DuckDBPyConnection, run_ids: Sequence[str] = ()) -> Iterator[list[Stored]]:
    """All spans, or those of some runs, run by run and in order. What is only derived (`inferred`) is left out."""
    con.execute(_MOVED)
    where, bound = _chosen(run_ids)
    sizes = f"SELECT run_key, max(step) + 1 FROM spans WHERE NOT inferred AND {where} GROUP BY run_key ORDER BY run_key"
    held = 0
    keys: list[int] = []
    for run_key, steps in con.execute(sizes, bound).fetchall():
        if keys and held + steps > _BATCH_SPANS:
            yield _batch(con, keys, 0, held)
            keys, held = [], 0
        if steps <= _BATCH_SPANS:
            keys.append(run_key)
            held += steps
            continue
        for first in range(0, steps, _BATCH_SPANS):
            yield _batch(con, [run_key], first, first + _BATCH_SPANS)
    if keys:
        yield _batch(con, keys, 0, held)


def _chosen(run_ids: Sequence[str]) -> tuple[str, list[Any]]:
    return ("run_id IN (SELECT unnest(?::VARCHAR[]))", [list(run_ids)]) if run_ids else ("true", [])


def _batch(con: duckdb.DuckDBPyConnection, run_keys: list[int], first: int, end: int) -> list[Stored]:
    chosen = "run_key IN (SELECT unnest(?::INTEGER[])) AND step >= ? AND step < ? AND NOT inferred"
    rows = _rows(con, f"SELECT * FROM spans WHERE {chosen} ORDER BY run_key, step", [run_keys, first, end])
    keys = [row["span_key"] for row in rows]
    contents = _contents(con, keys)
    guarded = _by_key(con, "guarded_runs", "span_key", keys)
    bags = _bags(con, rows)
    toolsets = _by_key(con, "toolsets", "toolset_key", [row["toolset_key"] for row in rows])
    bodies = _bodies(con, list(contents.values()))
    results = _results_in_messages(con, rows, contents)
    requested = _requested(con, [row["span_key"] for row in rows if row["content_state"] == "hashed"])
    return [
        _stored(row, contents, guarded, bags, toolsets, bodies, results.get(row["span_key"]), requested) for row in rows
    ]


_MOVED: Final = """
    CREATE OR REPLACE TEMP TABLE moved_contents AS
    WITH bare AS MATERIALIZED (
        SELECT trace_id, duplicate_of, min(span_key) AS from_key FROM spans
        WHERE duplicate_of IS NOT NULL AND content_state IN ('full', 'clipped') AND NOT inferred
            AND span_key NOT IN (SELECT span_key FROM contents)
        GROUP BY ALL
    )
    SELECT bare.from_key, s.span_key AS to_key FROM bare JOIN spans s ON s.trace_id = bare.trace_id AND s.span_id = bare.duplicate_of
    WHERE NOT s.inferred
"""
"""Of calls reported more than once: whose content the row that stands for the call was given. In a file it is the reporter's again."""


def _contents(con: duckdb.DuckDBPyConnection, keys: list[int]) -> dict[int, dict[str, Any]]:
    """Rows of `contents` by the span that reported what is in them."""
    these = "IN (SELECT unnest($k::BIGINT[]))"
    query = f"SELECT from_key, to_key FROM moved_contents WHERE from_key {these} OR to_key {these}"
    moved: dict[int, int] = dict(con.execute(query, {"k": keys}).fetchall())
    given = set(moved.values())
    wanted = {key: moved.get(key, key) for key in keys if key in moved or key not in given}
    found = _by_key(con, "contents", "span_key", list(wanted.values()))
    return {key: found[at] for key, at in wanted.items() if at in found}


def _stored(
    row: dict[str, Any],
    contents: dict[int, dict[str, Any]],
    guarded: dict[int, dict[str, Any]],
    bags: dict[int, dict[str, Any]],
    toolsets: dict[int, dict[str, Any]],
    bodies: dict[int, str],
    result: str | None,
    requested: dict[int, list[tuple[Any, ...]]],
) -> Stored:
    key = row["span_key"]
    said, tools = contents.get(key, {}), toolsets.get(row["toolset_key"], {})
    bag = dict(bags.get(row["attributes_key"], {}))
    resource = bag.pop("resource", None)
    system = bodies.get(said.get("system_key", -1))
    return Stored(
        row,
        bag,
        resource if isinstance(resource, dict) else {},
        arguments=said.get("arguments"),
        result=said.get("result") if said.get("result") is not None else result,
        system=None if system is None else orjson.dumps(orjson.loads(system)["parts"]).decode(),
        sent=_listed(said.get("input_keys"), bodies),
        answered=_listed(said.get("output_keys"), bodies),
        events=orjson.loads(said["events"]) if said.get("events") else [],
        tools=tools.get("definitions"),
        declared=tools.get("names") if tools.get("definitions") is None else None,
        requested=requested.get(key, []),
        guarded=guarded.get(key, {}),
    )


def _listed(keys: list[int] | None, bodies: dict[int, str]) -> str | None:
    """Messages as one JSON list."""
    return None if keys is None else "[" + ",".join(bodies[key] for key in keys if key in bodies) + "]"


def _rows(con: duckdb.DuckDBPyConnection, query: str, bound: list[Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = con.sql(query, params=bound).to_arrow_table().to_pylist()
    return rows


def _by_key(con: duckdb.DuckDBPyConnection, table: str, key: str, keys: list[Any]) -> dict[int, dict[str, Any]]:
    """Rows of `table` by their key. By row ids, because a scan that only filters would unpack every text there is."""
    wanted = sorted({k for k in keys if k is not None})
    if not wanted:
        return {}
    chosen = f"rowid IN (SELECT rowid FROM {table} WHERE {key} IN (SELECT unnest(?::UBIGINT[])))"
    return {row[key]: row for row in _rows(con, f"SELECT * FROM {table} WHERE {chosen}", [wanted])}


def _bags(con: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    keys = sorted({row["attributes_key"] for row in rows if row["attributes_key"] is not None})
    query = "SELECT attributes_key, attributes::JSON::VARCHAR FROM attribute_sets WHERE attributes_key IN (SELECT unnest(?::UBIGINT[]))"
    return {key: orjson.loads(bag) for key, bag in con.execute(query, [keys]).fetchall()}


def _bodies(con: duckdb.DuckDBPyConnection, contents: list[dict[str, Any]]) -> dict[int, str]:
    keys = [key for said in contents for key in (*(said["input_keys"] or ()), *(said["output_keys"] or ()))]
    keys += [said["system_key"] for said in contents]
    return {key: row["body"] for key, row in _by_key(con, "messages", "message_key", keys).items()}


def _results_in_messages(
    con: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]], contents: dict[int, dict[str, Any]]
) -> dict[int, str]:
    """Results that a span's producer recorded and that are stored in the message that sent them back."""
    wanted = {
        (row["run_key"], row["step"]): row["span_key"]
        for row in rows
        if contents.get(row["span_key"], {}).get("result_message_key") is not None
    }
    if not wanted:
        return {}
    con.execute("CREATE OR REPLACE TEMP TABLE exported_calls (run_key INTEGER, step INTEGER)")
    pairs = [list(column) for column in zip(*wanted, strict=True)]
    con.execute("INSERT INTO exported_calls SELECT unnest(?::INTEGER[]), unnest(?::INTEGER[])", pairs)
    found = con.execute("SELECT run_key, step, result FROM tool_texts('exported_calls')").fetchall()
    return {wanted[run_key, step]: result for run_key, step, result in found if result is not None}


def _requested(con: duckdb.DuckDBPyConnection, keys: list[int]) -> dict[int, list[tuple[Any, ...]]]:
    found: dict[int, list[tuple[Any, ...]]] = {}
    if keys:
        query = "SELECT span_key, tool_call_id, tool_name, call_key, loose_call_key, null_input FROM tool_requests"
        chosen = "WHERE span_key IN (SELECT unnest(?::BIGINT[])) ORDER BY span_key, position"
        for key, *call in con.execute(f"{query} {chosen}", [keys]).fetchall():
            found.setdefault(key, []).append(tuple(call))
    return found
