"""`over_budget` beyond its cases: sub-agents, users' days, what came after."""

import pytest

from analyzer.cases import Case, Entry, agent_run, load, says, tool_call, turn
from analyzer.findings import Finding, State
from analyzer.run import judge
from instrument import semconv as sc
from instrument.otlp import TracesData
from instrument.policy import Cost, Policy
from instrument.store.connect import in_memory
from instrument.store.load import Loader
from tests.detectors.nested_runs import nested

_DONE = says("That is all there is to say.")


def _dear(times: int) -> list[Entry]:
    return [turn(tool_call("read", {"n": n}, f"text {n}"), input_tokens=100_000, output_tokens=0) for n in range(times)]


def _found(document: TracesData, policy: Policy | None = None, spans: int = 1_000_000) -> tuple[Finding, ...]:
    con = in_memory()
    loader = Loader(con)
    loader.add(document, "case")
    loader.finish()
    return judge(con, policy, select=("over_budget",), partition_spans=spans).findings


def test_what_was_spent_after_the_limit_is_told_and_is_the_waste() -> None:
    con = Case("over", [agent_run([*_dear(5), _DONE], facts={sc.BUDGET_USD: 0.75})], []).load()
    (finding,) = judge(con, select=("over_budget",)).findings
    ((after,),) = con.execute("SELECT sum(cost_usd) FROM spans WHERE turn > 3").fetchall()
    assert (finding.first_turn, finding.last_turn, finding.evidence["budget"]) == (3, 6, "the run's")
    assert finding.evidence["after_usd"] == pytest.approx(after)
    assert finding.wasted_cost_usd == pytest.approx(after)
    assert finding.evidence["calls_after"] == 3


@pytest.mark.parametrize("spans", [5, 1_000_000])
def test_what_a_sub_agent_spends_is_its_callers(spans: int) -> None:
    later = turn(tool_call("read"), input_tokens=100_000, output_tokens=0, pause_seconds=60)
    runs = [
        agent_run([tool_call("ask_helper"), later, _DONE], facts={sc.BUDGET_USD: 1.0}),
        agent_run([*_dear(4), _DONE], agent="helper"),
    ]
    case = Case("family", runs, [])
    (finding,) = _found(nested(case, "execute_tool ask_helper"), spans=spans)
    assert finding.trace_id == case.trace_ids()[0]
    assert finding.agent_name == "family"
    # The turn in which the caller was when the helper crossed it.
    assert (finding.first_turn, finding.last_turn) == (1, 3)
    assert finding.evidence["cost_usd"] == pytest.approx(1.5, abs=0.05)


def test_a_sub_agent_within_its_own_limit_is_quiet_though_its_caller_is_over() -> None:
    runs = [
        agent_run([tool_call("ask_helper"), *_dear(3), _DONE], facts={sc.BUDGET_USD: 1.0}),
        agent_run([*_dear(2), _DONE], agent="helper", facts={sc.BUDGET_USD: 0.9}),
    ]
    (finding,) = _found(nested(Case("family", runs, []), "execute_tool ask_helper"))
    assert finding.agent_name == "family"


def test_a_users_day_is_over_all_runs_and_starts_anew_at_midnight_utc() -> None:
    runs = [
        agent_run([*_dear(2), _DONE], agent=f"a{n}", facts={sc.USER_ID: user})
        for n, user in enumerate(["ann", "ann", "bob"])
    ]
    policy = Policy(cost=Cost(user_day_limit_usd=1.0))
    (finding,) = judge(Case("day", runs, []).load(), policy, select=("over_budget",)).findings
    assert (finding.agent_name, finding.first_turn, finding.evidence["user_id"]) == ("a1", 2, "ann")
    assert finding.evidence["cost_usd"] == pytest.approx(1.2, abs=0.05)
    later = Case("day", runs, []).traces()
    for span in later.resourceSpans[0].scopeSpans[0].spans:
        if span.traceId == Case("day", runs, []).trace_ids()[1]:
            span.startTimeUnixNano += 86_400 * 10**9
            span.endTimeUnixNano += 86_400 * 10**9
    assert _found(later, policy) == ()


def test_without_any_limit_there_is_nothing_to_check() -> None:
    con = Case("free", [*_dear(50), _DONE], []).load()
    report = judge(con, Policy(cost=Cost(run_limit_usd=None)), select=("over_budget",))
    assert report.findings == ()
    assert report.outcomes[0].state is State.NOTHING_TO_CHECK


def test_unknown_prices_make_it_partial_and_the_cost_a_least() -> None:
    calls = [*_dear(5), turn(text="Done, that is.", input_tokens=10, model="in-house-7")]
    report = judge(load([Case("some", [agent_run(calls, facts={sc.BUDGET_USD: 1.0})], [])]), select=("over_budget",))
    assert report.outcomes[0].state is State.PARTIAL
    assert "at least $1.50" in report.findings[0].message
