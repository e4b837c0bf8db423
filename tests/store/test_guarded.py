"""What guards did, as the loader reads it: one row per action and per guarded run, whoever wrote them and however often."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from instrument import semconv
from instrument.otlp import Event, attributes
from instrument.store import schema
from instrument.store.connect import reading, writing
from instrument.store.load import Loader
from tests.store.build import START_NS, agent, document, loaded, rows, span, tool

HOSTILE = "'; DROP TABLE spans; -- \x1b[31m {{7*7}} \u202e <script>"
BLOCK = {
    semconv.GUARD_NAME: "repeated_call",
    semconv.GUARD_ACTION: "block",
    semconv.GUARD_REASON: "It was refused.",
    semconv.GUARD_SETTING: "loops.same_call_repeats",
    semconv.GUARD_THRESHOLD: 4,
    semconv.GUARD_VALUE: 5,
    semconv.GUARD_TURN: 5,
    semconv.GUARD_TOOL: "search",
}


def event(at: float = 1, **facts: Any) -> Event:
    given = {**BLOCK, **facts}
    return Event(semconv.GUARD_EVENT, str(START_NS + int(at * 1e9)), attributes(given))


def guarded(name: str = "a", **more: Any) -> Any:
    facts = {"flyball__stop_reason": "repeated_call", "flyball__run__cost_usd": 0.25, "flyball__run__limit_usd": 10.0}
    return agent(name, **{**facts, "flyball__policy": "{}", **more})


def test_an_action_is_a_row_of_its_span_with_all_that_was_said() -> None:
    other = Event("exception", 0, [])
    con = loaded(document(guarded(), tool("t", parent="a", at=0.5, events=[other, event()])))
    found = rows(con, "SELECT s.name, a.* EXCLUDE (span_key) FROM guard_actions a JOIN spans s USING (span_key)")
    assert found == [
        ("t", 1, START_NS + 10**9, 5, "repeated_call", "block", "It was refused.", "loops.same_call_repeats", 4.0, 5.0, "search", False)
    ]  # fmt: skip
    assert len(rows(con, "SELECT 1 FROM contents WHERE events LIKE '%exception%flyball.guard%'")) == 1


def test_a_guarded_run_is_a_row_and_its_facts_are_no_loose_attributes() -> None:
    con = loaded(document(guarded(), agent("b", trace="u")))
    found = rows(con, "SELECT s.name, g.* EXCLUDE (span_key) FROM guarded_runs g JOIN spans s USING (span_key)")
    assert found == [("a", "repeated_call", None, 0.25, 10.0, "{}")]
    assert not rows(con, "SELECT 1 FROM attribute_sets WHERE attributes::VARCHAR LIKE '%flyball%'")


def test_what_is_read_again_counts_once_and_the_end_takes_the_place_of_the_mark() -> None:
    mark, ended = guarded(lasts=None, events=[event()]), guarded(events=[event(), event(2)])
    for each_alone in (True, False):
        con = loaded(*[document(one) for one in (mark, ended, ended)], each_alone=each_alone)
        assert rows(con, "SELECT count(*) FROM spans") == [(1,)]
        assert rows(con, "SELECT position FROM guard_actions ORDER BY 1") == [(0,), (1,)]
        assert rows(con, "SELECT count(*) FROM guarded_runs") == [(1,)]


def test_what_is_no_such_value_is_unknown_and_the_rest_is_kept() -> None:
    wrong = {
        semconv.GUARD_NAME: HOSTILE,
        semconv.GUARD_ACTION: ["a", 1],
        semconv.GUARD_REASON: HOSTILE,
        semconv.GUARD_THRESHOLD: "many",
        semconv.GUARD_VALUE: float("inf"),
        semconv.GUARD_TURN: 2**40,
        semconv.GUARD_TOOL: {"x": 1},
        semconv.GUARD_OBSERVED: "yes",
    }
    bare = Event(semconv.GUARD_EVENT, "soon", [])
    facts = {"flyball__run__cost_usd": "free", "flyball__run__limit_usd": float("nan"), "flyball__stop_reason": 7}
    con = loaded(document(guarded(events=[event(**wrong), bare], **facts)))
    found = rows(
        con,
        "SELECT turn, guard, action, reason, threshold, value, tool_name, observed FROM guard_actions ORDER BY position",
    )
    assert found == [
        (None, HOSTILE, '["a",1]', HOSTILE, None, None, '{"x":1}', False),
        (None, None, None, None, None, None, None, False),
    ]
    assert rows(con, "SELECT stop_reason, run_cost_usd, run_limit_usd FROM guarded_runs") == [("7", None, None)]


def test_spans_without_guards_leave_both_tables_empty() -> None:
    con = loaded(document(agent("a"), tool("t", parent="a", events=[Event("note", 0, [])]), span("x")))
    assert rows(con, "SELECT (SELECT count(*) FROM guard_actions), (SELECT count(*) FROM guarded_runs)") == [(0, 0)]


NEW_COLUMNS = [
    ("spans", "inferred_times"),
    ("spans", "null_input"),
    ("spans", "asked_key"),
    ("tool_requests", "null_input"),
]
"""Of the third version."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database as the first version of the schema left it."""
    path = tmp_path / "old.duckdb"
    with writing(path) as con, Loader(con) as loader:
        loader.add(document(agent("a")), "old")
        loader.finish()
    with duckdb.connect(str(path)) as con:
        for table in (schema.GUARDED, schema.ACTIONS):
            con.execute(f"DROP TABLE {table.name}")
        for table, column in NEW_COLUMNS:
            con.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        con.execute("UPDATE flyball_meta SET value = '1' WHERE key = 'schema_version'")
    return path


def test_a_database_of_the_first_version_is_read_as_one_without_guards(old: Path) -> None:
    for _ in range(2):
        with reading(old) as con:
            assert rows(con, "SELECT count(*) FROM spans") == [(1,)]
            assert rows(con, "FROM guard_actions") == rows(con, "FROM guarded_runs") == []
            for table, column in NEW_COLUMNS:
                assert rows(con, f"SELECT {column} FROM {table} WHERE rowid = 0") in ([], [(None,)])


def test_a_database_of_the_first_version_is_brought_up_to_date_by_the_next_write(old: Path) -> None:
    with writing(old) as con, Loader(con) as loader:
        loader.add(document(guarded("b", trace="u", events=[event()])), "new")
        loader.finish()
    with reading(old) as con:
        assert rows(con, "SELECT (SELECT count(*) FROM spans), (SELECT count(*) FROM guard_actions)") == [(2, 1)]
        assert rows(con, "SELECT inferred_times, null_input FROM spans") == [(None, None)] * 2
        assert rows(con, "SELECT value FROM flyball_meta WHERE key = 'schema_version'") == [(str(schema.VERSION),)]
