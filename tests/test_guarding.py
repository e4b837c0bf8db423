"""Guard actions, from a real guarded run to the report and the app's views: what the runner did is what is read back."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anthropic
import pytest

import instrument
from analyzer.findings import Finding, GuardAction, Report, Stop, Totals
from analyzer.guarding import guard_actions, guarded_runs
from analyzer.readers import load, resolve
from analyzer.report.as_json import as_json
from analyzer.report.guard_text import summed
from analyzer.report.text import Look, as_text
from analyzer.run import judge
from analyzer.samples import samples_folder
from instrument.policy import Guards, Loops, Policy
from instrument.runner.result import RunResult
from instrument.store.connect import in_memory, reading
from instrument.testing import ModelServer, Reply, text, tool_use

HOSTILE = "\x1b]0;owned\x07[bold red]x[/] \u202egnp\u2066 \ud83d a\nb {{7*7}} <script>"


def _search(q: str) -> str:
    """Searches.

    Args:
        q: what
    """
    return f"nothing about {q[:1]}"


def _looping(body: dict[str, Any]) -> Reply:
    if body.get("tool_choice") == {"type": "none"}:
        return text("I could not find it.")
    return tool_use("_search", {"q": "x"})


@dataclass
class Recorded:
    """Runs as the runner told them, and where they are recorded."""

    db: Path
    enforced: RunResult
    observed: RunResult
    well: RunResult


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    db = tmp_path_factory.mktemp("guarded") / "runs.duckdb"
    with instrument.record(db, checkpoint_seconds=None):
        enforced = _run(_looping, Policy(), "enforced")
        loops = Loops(turns=10)
        observed = _run(_looping, Policy(guards=Guards(mode="observe"), loops=loops), "observed")
        well = _run(lambda _: text("All is well here."), Policy(), "well")
    return Recorded(db, enforced, observed, well)


def _run(script: Any, policy: Policy, name: str) -> RunResult:
    with ModelServer(script) as server, anthropic.Anthropic(api_key="test", base_url=server.url) as client:
        runner = instrument.GuardedRunner(client, model="claude-sonnet-5-5", tools=[_search], policy=policy, name=name)
        return runner.run("Find x.")


def test_every_action_is_read_back_as_the_runner_told_it(recorded: Recorded) -> None:
    with reading(recorded.db) as con:
        frame = guard_actions(con)
    for result in (recorded.enforced, recorded.observed):
        told = [
            (str(a.guard), str(a.action), a.reason, a.setting or None, a.threshold, a.value, a.turn, a.tool, a.observed)
            for a in result.actions
        ]
        read = frame.filter(run_id=result.run_id).select(
            "guard", "action", "reason", "setting", "threshold", "value", "turn", "tool", "observed"
        )
        assert read.rows() == told
        assert told
    assert frame.filter(run_id=recorded.well.run_id).is_empty()


def test_how_a_guarded_run_ended_and_under_what_policy(recorded: Recorded) -> None:
    with reading(recorded.db) as con:
        rows = {row["agent_name"]: row for row in guarded_runs(con).iter_rows(named=True)}
        assert guarded_runs(con, 2)["agent_name"].to_list() == ["observed"]
    assert [rows[name]["stop_reason"] for name in ("enforced", "observed", "well")] == [
        "repeated_call",
        "turn_limit",
        "completed",
    ]
    assert rows["enforced"]["cost_usd"] == pytest.approx(recorded.enforced.cost_usd)
    assert json.loads(rows["observed"]["policy"])["guards"]["mode"] == "observe"
    assert json.loads(rows["observed"]["policy"])["loops"]["turns"] == 10


def test_a_stopped_loop_is_still_reported_as_that_loop_and_counts_as_the_guard_did(recorded: Recorded) -> None:
    with reading(recorded.db) as con:
        report = judge(con)
    loops = {f.agent_name: f for f in report.findings}
    assert {f.detector for f in report.findings} == {"repeated_call"}
    stop = recorded.enforced.actions[-1]
    found = loops["enforced"]
    assert (found.evidence["repeats"], found.severity) == (stop.value, "error")
    assert (found.first_turn, found.last_turn) == (1, stop.turn)
    assert found.evidence["blocked_calls"] == sum(a.action in ("block", "stop") for a in recorded.enforced.actions)
    assert found.evidence["result"] == "nothing about x"
    assert loops["observed"].evidence["blocked_calls"] == 0
    assert loops["observed"].evidence["repeats"] == 9


def test_totals_and_stops_of_the_report(recorded: Recorded) -> None:
    with reading(recorded.db) as con:
        document = json.loads(as_json(judge(con)))
    totals = document["totals"]
    assert (totals["guarded_runs"], totals["stopped_runs"]) == (3, 2)
    actions = document["guard_actions"]
    assert totals["guard_actions"] == len(actions) == len(recorded.enforced.actions) + len(recorded.observed.actions)
    assert set(actions[0]) == {
        "run_id", "trace_id", "span_id", "agent_name", "step", "turn", "guard", "action", "reason", "setting", "threshold",
        "value", "tool", "observed",
    }  # fmt: skip
    assert {(s["agent_name"], s["stop_reason"]) for s in document["stops"]} == {
        ("enforced", "repeated_call"),
        ("observed", "turn_limit"),
    }


def test_the_report_says_what_guards_did_and_which_run_they_stopped(recorded: Recorded) -> None:
    with reading(recorded.db) as con:
        shown = " ".join(as_text(judge(con), Look(width=110)).split())
    assert "guards 2 of 3 guarded runs stopped: 1 nudge, 3 blocks, 2 stops, " in shown
    assert (
        f"enforced run {recorded.enforced.run_id}: 1 nudge, 3 blocks, stopped in turn 8 (repeated_call): `_search`"
        in shown
    )
    assert "(turn_limit)" in shown


ACTION = GuardAction(run_id="r", trace_id="t", span_id="s", step=1, turn=1, guard="g", action="block")


def _report(*actions: GuardAction, stops: tuple[Stop, ...] = (), findings: tuple[Finding, ...] = ()) -> Report:
    totals = Totals(runs=9, spans=9, guarded_runs=9, stopped_runs=len(stops), guard_actions=len(actions))
    return Report(totals=totals, guard_actions=actions, stops=stops, findings=findings)


def test_nothing_is_said_of_guards_where_no_run_was_guarded() -> None:
    assert "guard" not in as_text(Report(totals=Totals(runs=1, spans=1)), Look()).lower()
    assert "0 of 9 guarded runs stopped; no guard had to act" in as_text(_report(), Look())


def test_the_ladder_comes_first_and_what_was_merely_observed_last() -> None:
    acts = [
        replace(ACTION, action=a, observed=o)
        for a, o in (("stop", True), ("retry", False), ("block", False), ("retry", False))
    ]
    assert summed(acts) == "1 block, 2 retries, 1 stop observed"
    assert summed([]) == ""


def test_many_runs_are_folded_the_stopped_ones_last_and_all_shows_them() -> None:
    acts = [replace(ACTION, run_id=f"run{n}") for n in range(8)]
    stops = (
        Stop(run_id="run7", trace_id="t", stop_reason="run_budget"),
        Stop(run_id="lone", trace_id="t", stop_reason="cancelled"),
    )
    shown = as_text(_report(*acts, stops=stops), Look(width=110))
    assert shown.index("run7") < shown.index("lone: stopped (cancelled)") < shown.index("run0")
    assert "4 runs; --all shows them" in shown
    assert "run6: 1 block" in as_text(_report(*acts, stops=stops), Look(width=110, everything=True))


def test_hostile_words_of_a_guard_do_nothing_to_the_terminal() -> None:
    act = GuardAction(
        run_id=HOSTILE, trace_id=HOSTILE, span_id=HOSTILE, agent_name=HOSTILE, step=1, turn=1, guard=HOSTILE, action=HOSTILE,
        reason=HOSTILE, setting=HOSTILE, tool=HOSTILE,
    )  # fmt: skip
    stop = Stop(run_id=HOSTILE, trace_id=HOSTILE, agent_name=HOSTILE, stop_reason=HOSTILE)
    shown = as_text(_report(act, stops=(stop,)), Look(width=100))
    assert not {"\x1b", "\x07", "\u202e", "\u2066"} & set(shown)
    assert "[bold red]x[/]" in shown
    json.loads(as_json(_report(act, stops=(stop,))))


def test_an_empty_store_has_no_actions() -> None:
    con = in_memory()
    assert guard_actions(con).is_empty()
    assert guarded_runs(con).is_empty()


def test_a_call_without_recorded_model_calls_is_a_turn_of_its_own(tmp_path: Path) -> None:
    """As detectors number them, so that an action stands beside its call in the app."""
    lines = (samples_folder() / "guarded_runs.otlp.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "tools.jsonl").write_bytes(b"".join(line for line in lines if b"anthropic.messages" not in line))
    load(resolve([str(tmp_path / "tools.jsonl")]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        blocks = guard_actions(con).filter(action="block")
    assert blocks["turn"].to_list() == blocks["step"].to_list()
    assert blocks.height == 3
