"""`silent_gap` beyond its cases: sub-agents, runs that never ended, what is not seen."""

import duckdb
import pytest

from analyzer.cases import Case, agent_run, says, tool_call, turn
from analyzer.findings import State
from analyzer.run import judge
from instrument.otlp import TracesData
from instrument.policy import Policy, Stuck
from instrument.store.connect import in_memory
from instrument.store.load import Loader
from tests.detectors.nested_runs import nested

_DONE = says("That is all there is to say.")
_MINUTE_NS = 60 * 10**9


def _store(document: TracesData) -> duckdb.DuckDBPyConnection:
    con = in_memory()
    loader = Loader(con)
    loader.add(document, "case")
    loader.finish()
    return con


@pytest.mark.parametrize(("steps", "found"), [(6, 0), (1, 1)])
def test_a_sub_agent_at_work_is_no_silence(steps: int, found: int) -> None:
    read = turn(tool_call("read", {}, "text"), pause_seconds=100)
    runs = [
        agent_run([tool_call("ask_helper"), turn(text="The helper says so.", pause_seconds=700)]),
        agent_run([*[read] * steps, _DONE], agent="helper"),
    ]
    con = _store(nested(Case("family", runs, []), "execute_tool ask_helper"))
    findings = judge(con, select=("silent_gap",)).findings
    assert len(findings) == found


def test_the_time_a_caller_waits_does_not_cover_the_gap_of_its_sub_agent() -> None:
    runs = [
        agent_run([tool_call("ask_helper"), _DONE]),
        agent_run([tool_call("read"), turn(text="That is it.", pause_seconds=900)], agent="helper"),
    ]
    document = nested(Case("family", runs, []), "execute_tool ask_helper")
    waiting = next(s for s in document.resourceSpans[0].scopeSpans[0].spans if s.name == "execute_tool ask_helper")
    waiting.endTimeUnixNano += 20 * _MINUTE_NS
    (finding,) = judge(_store(document), select=("silent_gap",)).findings
    assert finding.agent_name == "helper"


def test_the_gap_is_measured_and_the_policy_decides() -> None:
    con = Case("gap", [tool_call("read"), turn(text="That is it.", pause_seconds=120)], []).load()
    assert judge(con, select=("silent_gap",)).findings == ()
    (finding,) = judge(con, Policy(stuck=Stuck(gap_seconds=60)), select=("silent_gap",)).findings
    # A turn takes two seconds, of which the request and its tool take one and a half.
    assert finding.evidence["gap_seconds"] == pytest.approx(120.5, abs=0.01)


def test_one_that_never_ended_is_silent_only_beside_what_came_later() -> None:
    cut = agent_run([tool_call("read", {"n": n}) for n in range(3)], agent="cut", ended=False)
    assert judge(Case("alone", [cut], []).load(), select=("silent_gap",)).findings == ()
    (finding,) = judge(Case("two", [cut, agent_run([_DONE])], []).load(), select=("silent_gap",)).findings
    assert finding.agent_name == "cut"
    assert "never ended" in finding.message


def test_tools_known_only_from_messages_make_it_partial() -> None:
    case = Case("told", [tool_call("read"), _DONE], [])
    assert judge(case.load("messages_only"), select=("silent_gap",)).outcomes[0].state is State.PARTIAL
    assert judge(case.load(), select=("silent_gap",)).outcomes[0].state is State.COMPLETE


def _pending(name: str) -> TracesData:
    """Three turns, the second ten minutes after the first; of the first, the span so named never ended."""
    reads = [tool_call("read", {"n": 1}), turn(tool_call("read", {"n": 2}), pause_seconds=600)]
    document = Case("hangs", [agent_run([*reads, _DONE])], []).traces()
    next(s for s in document.resourceSpans[0].scopeSpans[0].spans if s.name.startswith(name)).endTimeUnixNano = 0
    return document


def test_a_request_that_never_ended_is_told_where_the_run_went_on_without_it() -> None:
    (finding,) = judge(_store(_pending("chat")), select=("silent_gap",)).findings
    assert finding.message.startswith("A request to the model in turn 1 was under way for 10 minutes and never ended")
    assert (finding.evidence["never_ended"], finding.evidence["went_on"]) == ("the model", True)
    assert finding.wasted_seconds == finding.evidence["gap_seconds"]


def test_a_tool_that_never_ended_is_left_to_the_detector_of_slow_tools() -> None:
    found = judge(_store(_pending("execute_tool")), select=("silent_gap", "tool_timeout")).findings
    assert [f.detector for f in found] == ["tool_timeout"]
