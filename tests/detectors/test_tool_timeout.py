"""Who may take their time, and what is known without times."""

from analyzer.cases import Case, says, tool_call
from analyzer.findings import State
from analyzer.run import judge
from instrument import semconv as sc
from instrument.otlp import Span, TracesData, attributes
from instrument.policy import Policy, ToolErrors
from instrument.store.connect import in_memory
from instrument.store.load import Loader

_SLUG = ["tool_timeout"]
_SLOW = Case("slow", [tool_call("research", {"q": "x"}, "much", seconds=600.0), says("Here is what I found.")], [])


def _spans(document: TracesData) -> list[Span]:
    return document.resourceSpans[0].scopeSpans[0].spans


def _found(document: TracesData) -> list[str]:
    con = in_memory()
    loader = Loader(con)
    loader.add(document, "slow")
    loader.finish()
    return [f.message for f in judge(con, select=_SLUG).findings]


def test_a_tool_that_runs_another_agent_may_take_as_long_as_that() -> None:
    assert _found(_SLOW.traces()) == ["1 call of `research` held up the run for up to 600 s in turn 1 (limit 120 s)."]
    document = _SLOW.traces()
    (tool,) = (s for s in _spans(document) if s.name == "execute_tool research")
    facts = attributes({sc.OPERATION: sc.INVOKE_AGENT, sc.AGENT_NAME: "researcher"})
    started, ended = int(tool.startTimeUnixNano) + 1, int(tool.endTimeUnixNano) - 1
    child = Span(tool.traceId, "ab" * 8, tool.spanId, "invoke_agent researcher", 1, started, ended, facts, [], None)
    _spans(document).append(child)
    assert _found(document) == []


def test_the_limit_is_the_policys() -> None:
    con = _SLOW.load()
    assert judge(con, Policy(tool_errors=ToolErrors(tool_timeout_seconds=601.0)), select=_SLUG).findings == ()
    (finding,) = judge(con, select=_SLUG).findings
    assert (finding.evidence["longest_seconds"], finding.wasted_seconds) == (600.0, None)


def test_what_was_lost_counts_as_waste() -> None:
    lost = tool_call("fetch", {}, "no answer", error="TimeoutError", seconds=130.0)
    (finding,) = judge(Case("lost", [lost, says("It cannot be reached.")], []).load(), select=_SLUG).findings
    assert finding.wasted_seconds == 131.001


def test_without_tool_spans_nobody_knows_how_long_a_call_took() -> None:
    (outcome,) = judge(_SLOW.load("messages_only"), select=_SLUG).outcomes
    assert outcome.state is State.BLIND
