"""The ten points: ticked where something proves them, crossed where something disproves them, and open where nothing can be seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from analyzer.alerts.prometheus import RULES_FILE, generate
from analyzer.cases import Case, agent_run, rejected_call, says, tool_call
from analyzer.checklist import Checklist, Seen, State, checked, seen_in, seen_of_policy, shown
from analyzer.cli import main
from analyzer.report.checklist_text import checklist_as_text
from analyzer.report.layout import Look
from analyzer.run import judge
from analyzer.samples import samples_folder
from instrument import semconv
from instrument.errors import FlyballError
from instrument.otlp import Event, TracesData, attributes
from instrument.policy import Context, Cost, Guards, Loops, Policy, Review
from instrument.store.connect import in_memory
from instrument.store.load import Loader

YES, PARTLY, NO, OPEN = State.YES, State.PARTLY, State.NO, State.CANNOT_SEE
BEST = Policy(cost=Cost(user_day_limit_usd=20.0), review=Review(over_usd=2.0))
SAMPLE = str(samples_folder() / "guarded_runs.otlp.jsonl")


def states(checklist: Checklist) -> dict[str, State]:
    return {point.slug: point.state for point in checklist.points}


def said(checklist: Checklist, slug: str) -> str:
    return "; ".join(next(p.evidence for p in checklist.points if p.slug == slug))


def of(seen: Seen, policy: Policy | None = None, **folders: Path) -> Checklist:
    return checked(seen, shown(policy or Policy(), **folders))


def runs(policy: Policy | None = BEST, **facts: Any) -> Seen:
    """Ten runs, all under one policy unless told otherwise."""
    given = {
        "runs": 10,
        "policies": ((policy, 10),),
        "model_calls": 40,
        "measured_calls": 40,
        "priced_calls": 40,
    }
    return Seen(**{**given, **facts})


# --- a policy alone -----------------------------------------------------------------------------------------------------


def test_there_are_ten_points_each_with_evidence_and_a_remedy() -> None:
    points = of(seen_of_policy(Policy())).points
    assert [p.number for p in points] == list(range(1, 11))
    assert len({p.slug for p in points}) == 10
    assert all(p.evidence and p.remedy for p in points)


def test_the_default_policy_lacks_a_budget_per_user_and_a_review() -> None:
    found = states(of(seen_of_policy(Policy())))
    assert {slug for slug, state in found.items() if state == YES} == {
        "tool_errors", "step_limit", "repeated_calls", "context", "validation", "stalls",
    }  # fmt: skip
    assert (found["budgets"], found["review"]) == (PARTLY, NO)
    assert (found["failure_tests"], found["alerts"]) == (OPEN, OPEN)


@pytest.mark.parametrize(
    ("policy", "slug", "state"),
    [
        (Policy(guards=Guards(mode="observe")), "repeated_calls", PARTLY),
        (Policy(guards=Guards(mode="off")), "repeated_calls", NO),
        (Policy(guards=Guards(mode="observe")), "stalls", PARTLY),
        (Policy(guards=Guards(mode="off")), "stalls", NO),
        (Policy(guards=Guards(mode="off")), "step_limit", YES),
        (Policy(guards=Guards(mode="off")), "validation", YES),
        (Policy(context=Context(compaction="off")), "context", PARTLY),
        (Policy(cost=Cost(run_limit_usd=None)), "budgets", NO),
        (Policy(cost=Cost(user_day_limit_usd=5.0)), "budgets", YES),
        (Policy(cost=Cost(run_limit_usd=None, user_day_limit_usd=5.0)), "budgets", PARTLY),
        (Policy(review=Review(over_usd=1.0)), "review", YES),
        (Policy(review=Review(over_usd=1.0, on_timeout="approve")), "review", PARTLY),
    ],
)
def test_what_a_policy_says_decides(policy: Policy, slug: str, state: State) -> None:
    assert states(of(seen_of_policy(policy)))[slug] == state
    assert states(of(runs(policy)))[slug] == state


def test_the_numbers_of_the_policy_are_the_evidence() -> None:
    checklist = of(seen_of_policy(Policy(loops=Loops(turns=17), review=Review(over_usd=3.5))))
    assert "17 turns" in said(checklist, "step_limit")
    assert "above $3.50" in said(checklist, "review")


# --- runs ---------------------------------------------------------------------------------------------------------------


def test_all_runs_under_a_full_policy_meet_all_that_can_be_seen() -> None:
    checklist = of(runs())
    assert set(states(checklist).values()) == {YES, OPEN}
    assert checklist.met
    assert "(on 10 of 10 runs)" in said(checklist, "step_limit")


def test_some_runs_under_no_guard_leave_a_point_half_met() -> None:
    checklist = of(runs(policies=((BEST, 7),), longest_turns=31))
    assert states(checklist)["step_limit"] == PARTLY
    assert said(checklist, "step_limit").endswith(
        "(on 7 of 10 runs); 3 runs under no guard; the longest run took 31 turns"
    )
    assert not checklist.met


def test_runs_under_no_guard_prove_nothing_until_one_goes_wrong() -> None:
    bare = of(runs(policies=()))
    assert states(bare)["repeated_calls"] == states(bare)["step_limit"] == OPEN
    looped = of(runs(policies=(), troubled={"repeated_call": 2}))
    assert states(looped)["repeated_calls"] == NO
    assert "repeated_call was found in 2 of them" in said(looped, "repeated_calls")
    assert states(looped)["stalls"] == OPEN


def test_policies_that_differ_are_told_apart() -> None:
    checklist = of(runs(policies=((BEST, 6), (Policy(guards=Guards(mode="off")), 4))))
    assert states(checklist)["repeated_calls"] == PARTLY
    assert 'guards.mode = "off" (on 4 of 10 runs)' in said(checklist, "repeated_calls")


def test_a_policy_that_cannot_be_read_proves_nothing() -> None:
    assert states(of(runs(None)))["step_limit"] == OPEN
    checklist = of(runs(policies=((BEST, 9), (None, 1))))
    assert states(checklist)["step_limit"] == PARTLY
    assert "the policy of 1 guarded run is not known" in said(checklist, "step_limit")


@pytest.mark.parametrize(
    ("failed", "lost", "policies", "state"),
    [
        (37, 0, (), YES),
        (37, 4, (), PARTLY),
        (2, 2, (), NO),
        (0, 0, (), OPEN),
        (0, 0, ((BEST, 10),), YES),
        (3, 1, ((BEST, 10),), PARTLY),
    ],
)
def test_tool_errors_are_answered_or_end_runs(failed: int, lost: int, policies: Any, state: State) -> None:
    checklist = of(runs(policies=policies, failed_calls=failed, unanswered_calls=lost))
    assert states(checklist)["tool_errors"] == state
    if failed:
        assert f"{failed} failed tool call" in said(checklist, "tool_errors")


def test_a_made_up_tool_that_reached_the_agents_code_was_not_checked() -> None:
    assert states(of(runs(policies=(), unknown_ran=2)))["validation"] == NO
    assert states(of(runs(unknown_ran=2)))["validation"] == PARTLY
    refused = of(runs(rejected={"unknown_tool": 2, "invalid_arguments": 3, "blocked": 9}))
    assert "refused before they ran: 3 for invalid arguments, 2 for unknown tool" in said(refused, "validation")


def test_a_budget_per_user_needs_users() -> None:
    assert states(of(runs(anonymous=1)))["budgets"] == PARTLY
    assert "1 run of no known user" in said(of(runs(anonymous=1)), "budgets")


def test_a_window_that_overflowed_all_the_same_is_half_met() -> None:
    assert states(of(runs(overflows=1)))["context"] == PARTLY


def test_what_guards_did_is_told() -> None:
    seen = runs(
        actions={("repeated_call", "block"): 3, ("near_repeat", "block"): 1, ("review", "ask"): 2},
        stopped=2,
        answered=1,
    )
    checklist = of(seen)
    assert "guards acted: 4 blocks" in said(checklist, "repeated_calls")
    assert "2 asks" in said(checklist, "review")
    assert "2 runs stopped, 1 of these asked for a final answer" in said(checklist, "stalls")


def test_no_runs_at_all_meet_nothing() -> None:
    assert not of(Seen(runs=0)).met


# --- what a database shows ----------------------------------------------------------------------------------------------


def _seen(*cases: Case, policy: str | None = None) -> Seen:
    con = in_memory()
    loader = Loader(con)
    for case in cases:
        loader.add(_under(case.traces(), policy), case.name)
    loader.finish()
    return seen_in(con, judge(con))


def _under(traces: TracesData, policy: str | None) -> TracesData:
    for span in traces.resourceSpans[0].scopeSpans[0].spans:
        if policy is not None and span.name.startswith("invoke_agent"):
            span.attributes += attributes({semconv.POLICY: policy, semconv.STOP_REASON: "completed"})
    return traces


DONE = says("That is all I found.")
BROKEN = tool_call("fetch", {"u": 1}, "timed out", error="Timeout")


def test_failed_calls_are_counted_as_answered_where_the_model_was_asked_again() -> None:
    seen = _seen(Case("two runs", [agent_run([BROKEN, DONE]), agent_run([tool_call("ls"), BROKEN])], []))
    assert (seen.runs, seen.failed_calls, seen.unanswered_calls, seen.guarded) == (2, 2, 1, 0)


def test_refused_calls_are_no_failures_and_made_up_ones_that_ran_are_counted() -> None:
    refused = [rejected_call("nope", {}, "no such tool", why="unknown_tool"), rejected_call("ls", {}, "refused")]
    made_up = tool_call("nope", {}, "Error: unknown tool", error="E", declared=False)
    seen = _seen(Case("a", [tool_call("ls"), *refused, DONE], []), Case("b", [tool_call("ls"), made_up, DONE], []))
    assert (seen.failed_calls, seen.unknown_ran) == (1, 1)
    assert seen.rejected == {"unknown_tool": 1, "blocked": 1}


@pytest.mark.parametrize("text", ["no json", "[]", '{"loops": {"turns": 0}}', '{"from": "the future"}', ""])
def test_a_policy_of_another_making_is_unknown(text: str) -> None:
    assert _seen(Case("a", [DONE], []), policy=text).policies == ((None, 1),)


def test_trouble_counts_only_in_runs_that_nobody_guarded() -> None:
    loop = Case("loop", [*[tool_call("ls", {}, "a")] * 5, DONE], [])
    assert _seen(loop).troubled == {"repeated_call": 1}
    assert _seen(loop, policy="{}").troubled == {}
    assert _seen(loop, policy="{}").policies == ((Policy(), 1),)


def test_the_sdks_own_loop_below_a_guarded_run_is_no_run_that_nobody_guards() -> None:
    inner = Case("inner", [*[tool_call("ls", {}, "a")] * 5, DONE], []).traces()
    spans = inner.resourceSpans[0].scopeSpans[0].spans
    outer = replace(spans[0], spanId="f" * 16, attributes=[*spans[0].attributes, *attributes({semconv.POLICY: "{}"})])
    con = in_memory()
    loader = Loader(con)
    spans[0].parentSpanId = outer.spanId
    spans.append(outer)
    loader.add(inner, "inner")
    loader.finish()
    seen = seen_in(con, judge(con))
    assert (seen.runs, seen.guarded, seen.troubled) == (1, 1, {})


def test_a_run_with_a_guards_actions_is_under_its_guard_wherever_that_is_recorded() -> None:
    traces = Case("inner", [*[tool_call("ls", {}, "a")] * 5, DONE], []).traces()
    traces.resourceSpans[0].scopeSpans[0].spans[-1].events.append(Event(semconv.GUARD_EVENT))
    con = in_memory()
    loader = Loader(con)
    loader.add(traces, "inner")
    loader.finish()
    seen = seen_in(con, judge(con))
    assert (seen.runs, seen.guarded, seen.troubled) == (0, 0, {})


def test_an_empty_store_shows_nothing() -> None:
    seen = _seen()
    assert (seen.runs, seen.policies, seen.dearest_run_usd) == (0, (), None)


# --- folders ------------------------------------------------------------------------------------------------------------


def test_tests_are_looked_for_by_the_checks_they_use(tmp_path: Path) -> None:
    def found() -> State:
        return states(of(runs(), tests=tmp_path))["failure_tests"]

    assert found() == NO
    (tmp_path / "test_a.py").write_text("from instrument.testing import check_all_failure_modes\n")
    (tmp_path / "broken.py").write_text("def (:\n\0")
    assert found() == NO
    (tmp_path / "test_b.py").write_text(
        "from instrument import testing\ndef test(): testing.check_broken_tool(agent)\n"
    )
    assert found() == PARTLY
    assert "not among them: ambiguous tool, infinite loop" in said(of(runs(), tests=tmp_path), "failure_tests")
    (tmp_path / "test_c.py").write_text("def test(): check_all_failure_modes(agent)\n")
    assert found() == YES


def test_alert_rules_must_carry_the_numbers_of_the_policy(tmp_path: Path) -> None:
    assert states(of(runs(), alerts=tmp_path))["alerts"] == NO
    (tmp_path / RULES_FILE).write_text(generate(Policy())[RULES_FILE])
    assert states(of(runs(), alerts=tmp_path))["alerts"] == YES
    other = Policy(cost=Cost(run_usd=1.0))
    assert states(of(runs(), other, alerts=tmp_path))["alerts"] == PARTLY


@pytest.mark.parametrize("name", ["missing", "file"])
def test_what_is_no_folder_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    for folder in ("tests", "alerts"):
        with pytest.raises(FlyballError, match=name):
            shown(Policy(), **{folder: tmp_path / name})


# --- the command --------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No policy of the checkout."""
    monkeypatch.chdir(tmp_path)


def test_a_policy_alone_is_said_to_be_that(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checklist"]) == 1
    out = capsys.readouterr().out
    assert "6 yes, 1 partly, 1 no, 2 cannot see; judged from a policy, without runs" in " ".join(out.split())


def test_all_that_can_be_seen_is_met_and_the_status_is_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "flyball.toml").write_text("cost.user_day_limit_usd = 5.0\nreview.over_usd = 1.0\n")
    assert main(["checklist"]) == 0
    assert main(["alerts", "generate", "--out", "rules"]) == 0
    assert main(["checklist", "--alerts", "rules"]) == 0
    assert "9 yes, 1 cannot see" in capsys.readouterr().out


def test_recorded_runs_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checklist", SAMPLE, "--format", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["runs"] == 3
    points = {p["slug"]: p for p in document["points"]}
    assert points["repeated_calls"]["state"] == "yes"
    assert set(points["budgets"]) == {"number", "slug", "title", "state", "evidence", "remedy"}
    assert any("$0.15 per run" in sentence for sentence in points["budgets"]["evidence"])


def test_unguarded_samples_show_what_nobody_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checklist", str(samples_folder() / "loop_repeated_call.otlp.jsonl")]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "no Repeated calls are detected seen 1 run under no guard; repeated_call was found in 1 of them" in out


def test_what_cannot_be_read_and_what_holds_no_run_is_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.jsonl").write_text('{"resourceSpans": []}\n')
    assert main(["checklist", "missing.duckdb"]) == 2
    assert main(["checklist", "empty.jsonl"]) == 2
    assert main(["checklist", "--tests", "missing"]) == 2
    assert "missing" in capsys.readouterr().err


def test_hostile_evidence_does_nothing_to_the_terminal() -> None:
    hostile = runs(rejected={"\x1b[31m[red]\u202e": 1})
    shown_text = checklist_as_text(of(hostile), Look(width=80, colour=False))
    assert not {"\x1b", "\u202e"} & set(shown_text)
    assert "[red]" in shown_text
    assert max(map(len, shown_text.splitlines())) <= 80
