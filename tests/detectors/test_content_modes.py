"""What is not recorded is not taken for health: where a detector finds less with less recorded, it says that it could not see all."""

from collections.abc import Callable, Sequence

import pytest

from analyzer.cases import Case, says
from analyzer.detectors import DETECTORS
from analyzer.findings import Severity, State
from analyzer.run import judge
from instrument import semconv as sc
from instrument.otlp import TracesData, any_value
from instrument.store.connect import in_memory
from instrument.store.load import Loader
from tests.detectors.test_cases import CASES

_KEYS = (
    sc.CALL_KEY,
    sc.LOOSE_CALL_KEY,
    sc.NULL_INPUT,
    sc.RESULT_KEY,
    sc.RESULT_CHARS,
    sc.FAILURE_KIND,
    sc.OUTPUT_KEY,
    sc.LOOSE_OUTPUT_KEY,
    sc.OUTPUT_CHARS,
    sc.DECLARED_TOOLS,
    sc.REQUESTED_TOOLS,
    sc.ASKED_KEY,
)


def _full(case: Case) -> TracesData:
    return case.traces("gen_ai")


def _hashed(case: Case) -> TracesData:
    return case.traces("hashed")


def _without_content(case: Case) -> TracesData:
    """As the recorder writes it with `record(content="none")`."""
    document = case.traces("hashed")
    for span in document.resourceSpans[0].scopeSpans[0].spans:
        span.attributes = [a for a in span.attributes if a.key not in _KEYS]
        for attribute in span.attributes:
            if attribute.key == sc.CONTENT_MODE:
                attribute.value = any_value("none")
    return document


def _found(
    slug: str, cases: Sequence[Case], mode: Callable[[Case], TracesData]
) -> tuple[dict[str, Severity], State | None]:
    """The worst finding of the detector by trace, and what it says it could see."""
    con = in_memory()
    with Loader(con) as loader:
        for case in cases:
            loader.add(mode(case), case.name)
        loader.finish()
    report = judge(con, select=(slug,))
    worst: dict[str, Severity] = {}
    for finding in report.findings:
        worst[finding.trace_id] = max(
            finding.severity, worst.get(finding.trace_id, Severity.INFO), key=lambda s: s.rank
        )
    return worst, report.outcomes[0].state


def test_where_nobody_recorded_what_was_asked_the_same_answer_is_only_mentioned() -> None:
    case = Case("asked", [says("I will now continue with the next step of the plan.")] * 3, [])
    document = case.traces("hashed")
    for span in document.resourceSpans[0].scopeSpans[0].spans:
        span.attributes = [a for a in span.attributes if a.key != sc.ASKED_KEY]
    found, state = _found("repeated_output", [case], lambda _: document)
    assert (list(found.values()), state) == ([Severity.INFO], State.BLIND)
    found, state = _found("repeated_output", [case], _hashed)
    assert (list(found.values()), state) == ([Severity.WARNING], State.COMPLETE)


@pytest.mark.parametrize("slug", DETECTORS)
def test_what_is_missed_for_want_of_content_is_not_called_complete(slug: str) -> None:
    failing = [c for c in CASES[slug] if "gen_ai" in c.only and any(e.detector == slug for e in c.expected())]
    full, _ = _found(slug, failing, _full)
    assert full
    for mode in (_hashed, _without_content):
        less, state = _found(slug, failing, mode)
        lost = {t: s for t, s in full.items() if t not in less or less[t].rank < s.rank}
        assert not lost or state in (State.PARTIAL, State.BLIND), (mode, lost)
