"""What a guarded run leaves on record, read back from the database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import instrument
from instrument.store.connect import reading
from instrument.testing import error, text, together
from tests.runner.playing import WAYS, call, forces_words, play


def search(q: str) -> str:
    """Searches."""
    return "nothing new"


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with reading(database) as con:
        return con.execute(query).fetchall()


@pytest.mark.parametrize("way", WAYS)
def test_every_span_every_action_and_the_end_of_a_run(way: str, tmp_path: Path) -> None:
    asked = iter([error(529), call("serch", q="x"), together(call("search", q="x"), call("search", z=1))])
    script = forces_words(lambda _: next(asked, call("search", q="x")), text("Nothing to be found."))
    database = tmp_path / "traces.duckdb"
    with instrument.record(database):
        result = play(way, script, tools=[search], user_id="ann", name="finder").result

    spans = rows(database, "SELECT kind, agent_name, user_id, trace_id, end_ns IS NOT NULL, rejected FROM spans")
    assert {(s[1], s[2], s[3], s[4]) for s in spans} == {("finder", "ann", result.trace_id, True)}
    kinds = [s[0] for s in spans]
    assert (kinds.count("agent"), kinds.count("model")) == (1, result.turns)
    rejected = [s[5] for s in spans if s[0] == "tool"]
    assert rejected.count(None) == result.tool_calls
    assert {r for r in rejected if r} == {"unknown_tool", "invalid_arguments", "blocked"}

    query = "SELECT guard, action, reason, setting, threshold, value, turn, observed FROM guard_actions"
    kept = sorted(rows(database, query), key=str)
    told = [
        (a.guard, str(a.action), a.reason, a.setting or None, a.threshold, a.value, a.turn, a.observed)
        for a in result.actions
    ]
    assert [(*k[:7], bool(k[7])) for k in kept] == sorted(told, key=str) or {k[:7] for k in kept} == {
        t[:7] for t in told
    }
    assert len(kept) == len(told)

    ((stop_reason, cost_usd, limit_usd),) = rows(
        database, "SELECT stop_reason, run_cost_usd, run_limit_usd FROM guarded_runs"
    )
    assert (stop_reason, limit_usd) == (str(result.stop_reason), 10.0) == ("repeated_call", 10.0)
    assert cost_usd == pytest.approx(result.cost_usd)
    # The sum of what the model calls cost is what the runner says of the whole.
    ((summed,),) = rows(database, "SELECT sum(cost_usd) FROM spans WHERE kind = 'model' AND duplicate_of IS NULL")
    assert summed == pytest.approx(result.cost_usd)


@pytest.mark.parametrize("way", WAYS)
def test_a_rejected_call_says_what_the_model_read(way: str, tmp_path: Path) -> None:
    database = tmp_path / "traces.duckdb"
    with instrument.record(database):
        played = play(way, [call("serch", q="x"), text("Done.")], tools=[search])
    ((error_message,),) = rows(database, "SELECT error_message FROM spans WHERE kind = 'tool'")
    assert error_message == played.results[0]["content"]
    assert "`search`" in error_message


def test_what_is_observed_is_on_record_as_observed(tmp_path: Path) -> None:
    database = tmp_path / "traces.duckdb"
    script = forces_words(lambda _: call("search", q="x"), text("Enough."))
    with instrument.record(database):
        play("run", script, {"guards.mode": "observe", "loops.turns": 8}, tools=[search])
    found = rows(database, "SELECT DISTINCT guard, action, observed FROM guard_actions")
    assert {f for f in found if f[0] == "repeated_call"} >= {
        ("repeated_call", "nudge", True),
        ("repeated_call", "block", True),
    }


def test_the_same_answers_whether_anything_is_recorded_or_not(tmp_path: Path) -> None:
    script = forces_words(lambda _: call("search", q="x"), text("Enough."))
    without = play("run", script, tools=[search])
    with instrument.record(tmp_path / "traces.duckdb"):
        recorded = play("run", script, tools=[search])
    assert (without.bodies, without.did) == (recorded.bodies, recorded.did)
    assert recorded.result.trace_id is not None
