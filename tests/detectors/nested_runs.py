"""Runs of a case put into one trace: one as the sub-agent of another."""

from analyzer.cases import Case
from instrument.otlp import Span, TracesData


def nested(case: Case, parent: str, *, delay_ns: int = 0) -> TracesData:
    """The two runs of `case` in one trace: the span of the first that is named `parent` started the second, `delay_ns` after it began."""
    document = case.traces()
    spans = document.resourceSpans[0].scopeSpans[0].spans
    caller, helper = case.trace_ids()
    start = next(s for s in spans if s.traceId == caller and s.name == parent)
    moved = [s for s in spans if s.traceId == helper]
    root = next(s for s in moved if s.name.startswith("invoke_agent"))
    earlier = root.startTimeUnixNano - start.startTimeUnixNano - delay_ns
    root.parentSpanId = start.spanId
    for span in moved:
        _move(span, caller, earlier)
    return document


def _move(span: Span, trace_id: str, earlier_ns: int) -> None:
    span.traceId = trace_id
    span.startTimeUnixNano -= earlier_ns
    span.endTimeUnixNano -= earlier_ns
