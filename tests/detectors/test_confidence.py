"""What was lost, cut off, or worked out instead of measured makes the findings that rest on it less sure, and no others."""

import pytest

from analyzer import confidence
from analyzer.cases import Case, agent_run, says, tool_call, turn
from analyzer.detectors import DETECTORS
from analyzer.findings import Finding, State
from analyzer.run import judge
from instrument import semconv as sc
from instrument.otlp import Issue, KeyValue, TracesData, any_value
from instrument.store.connect import in_memory
from instrument.store.load import Loader

_DONE = says("That is all there is to say.")
_LOOP = Case("loop", [*[tool_call("search", {"q": "x" * 40}, "none")] * 5, _DONE], [])
_SLOW = Case("slow", [tool_call("fetch", {"u": 1}, "page", seconds=300.0), _DONE], [])


def _finding(document: TracesData, slug: str, issues: tuple[Issue, ...] = ()) -> Finding:
    con = in_memory()
    with Loader(con) as loader:
        loader.add(document, "a.jsonl")
        for issue in issues:
            loader.add_issue(issue)
        loader.finish()
    (finding,) = judge(con, select=(slug,)).findings
    return finding


def _marked(case: Case, key: str, value: str) -> TracesData:
    document = case.traces()
    for span in document.resourceSpans[0].scopeSpans[0].spans:
        if span.name.startswith(("chat", "execute_tool")):
            span.attributes.append(KeyValue(key, any_value(value)))
    return document


def test_every_detector_says_what_it_rests_on() -> None:
    assert confidence.RESTS_ON.keys() == DETECTORS.keys()
    assert {what for rests in confidence.RESTS_ON.values() for what in rests} <= confidence.LEFT.keys()


def test_times_that_were_worked_out_make_what_rests_on_times_less_sure_and_waste_in_seconds_unknown() -> None:
    sure, unsure = (_finding(d, "tool_timeout") for d in (_SLOW.traces(), _marked(_SLOW, sc.TIMES_INFERRED, "start")))
    assert unsure.confidence == pytest.approx(sure.confidence * confidence.LEFT["times"], abs=1e-3)
    measured, inferred = (
        _finding(d, "repeated_call") for d in (_LOOP.traces(), _marked(_LOOP, sc.TIMES_INFERRED, "both"))
    )
    assert inferred.confidence == measured.confidence
    assert measured.wasted_seconds == pytest.approx(4 * 1.5, abs=0.1)
    assert (inferred.wasted_seconds, inferred.wasted_tokens) == (None, measured.wasted_tokens)


def test_times_that_nobody_recorded_make_what_rests_on_order_less_sure() -> None:
    document = _LOOP.traces()
    for span in document.resourceSpans[0].scopeSpans[0].spans:
        span.startTimeUnixNano = 1_790_000_000_000_000_000
    assert _finding(document, "repeated_call").confidence < _finding(_LOOP.traces(), "repeated_call").confidence


@pytest.mark.parametrize("how", ["dropped", "limit"])
def test_content_that_was_cut_off_is_told_and_makes_what_rests_on_content_less_sure(how: str) -> None:
    document = _LOOP.traces()
    for span in document.resourceSpans[0].scopeSpans[0].spans:
        if how == "dropped":
            span.droppedAttributesCount = 2
        for attribute in span.attributes if how == "limit" else ():
            if attribute.key in (sc.TOOL_ARGUMENTS, sc.INPUT_MESSAGES, sc.OUTPUT_MESSAGES) and attribute.value:
                attribute.value = any_value(str(attribute.value.stringValue)[:30])
    con = in_memory()
    with Loader(con) as loader:
        loader.add(document, "a.jsonl")
        loader.finish()
    report = judge(con, select=("repeated_call",))
    (issue,) = report.issues
    assert (issue.kind, issue.source, issue.error, issue.count) == ("clipped", "a.jsonl", False, 11)
    (found,) = report.findings
    assert found.confidence == pytest.approx(
        _finding(_LOOP.traces(), "repeated_call").confidence * confidence.LEFT["content"], abs=1e-3
    )


def test_token_counts_that_are_missing_make_what_rests_on_them_less_sure() -> None:
    def dear(measured: bool) -> Case:
        grows = [turn(tool_call("read", {"n": n}, f"text {n}"), input_tokens=30_000 + 30_000 * n) for n in range(5)]
        bare = [turn(tool_call("look", {"n": n}, f"{n}"), input_tokens=1000, measured=measured) for n in range(5)]
        return Case("dear", [agent_run([*bare, *grows])], [])

    whole, part = (_finding(dear(m).traces(), "context_growth").confidence for m in (True, False))
    assert part == pytest.approx(whole * (1 - 0.5 * (1 - confidence.LEFT["usage"])), abs=1e-3)


def test_what_was_lost_of_one_file_says_nothing_of_another() -> None:
    sure = _finding(_LOOP.traces(), "repeated_call").confidence
    spans = len(_LOOP.traces().resourceSpans[0].scopeSpans[0].spans)
    lost = Issue("broken_line", "a.jsonl", "no JSON", "repair it", count=spans)
    other = Issue("broken_line", "b.jsonl", "no JSON", "repair it", count=spans)
    assert _finding(_LOOP.traces(), "repeated_call", (lost,)).confidence == pytest.approx(sure / 2, abs=1e-3)
    assert _finding(_LOOP.traces(), "repeated_call", (other,)).confidence == sure


def test_where_times_were_worked_out_detectors_of_time_do_not_claim_to_have_seen_all() -> None:
    con = in_memory()
    with Loader(con) as loader:
        loader.add(_marked(_SLOW, sc.TIMES_INFERRED, "both"), "a.jsonl")
        loader.finish()
    states = {o.detector: o.state for o in judge(con, select=("tool_timeout", "retry_storm", "silent_gap")).outcomes}
    assert states == dict.fromkeys(("tool_timeout", "retry_storm", "silent_gap"), State.BLIND)
