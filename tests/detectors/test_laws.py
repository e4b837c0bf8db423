"""Laws that hold for every detector, over runs made of stretches: lone calls would make the laws empty."""

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzer.cases import Case, Entry, Run, agent_run, model_error, says, tool_call, turn, user
from analyzer.findings import Finding
from analyzer.run import judge
from instrument.otlp import TracesData
from instrument.store.connect import in_memory
from instrument.store.load import Loader

_SLOW = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@st.composite
def _stretches(draw: st.DrawFn) -> list[Entry]:
    """One stretch: the same thing several times, or several things that differ."""
    times = draw(st.integers(1, 7))
    tool = draw(st.sampled_from(["search", "read", "edit", "fetch"]))
    kind = draw(
        st.sampled_from(
            [
                "loop",
                "batch",
                "failing",
                "failing variously",
                "invented",
                "words",
                "model",
                "parallel",
                "spread",
                "growing",
                "alternating",
                "reworded",
                "nothing",
            ]
        )
    )
    call = tool_call(tool, {"q": draw(st.integers(0, 2))}, draw(st.sampled_from(["none", "some"])))
    match kind:
        case "loop":
            return [call] * times
        case "batch":
            return [tool_call(tool, {"n": n}, f"result {n}") for n in range(times)]
        case "failing":
            return [tool_call(tool, {}, "refused", error="Refused")] * times
        case "failing variously":
            return [tool_call(tool, {"n": n}, f"no file '/{n}'", error="Missing") for n in range(times)]
        case "invented":
            return [
                tool_call("made_up", {"n": n}, "Error: unknown tool", error="Unknown", declared=False)
                for n in range(times)
            ]
        case "words":
            return [says("I am going to think about this some more now.")] * times
        case "model":
            return [model_error("overloaded_error", "Overloaded")] * times
        case "parallel":
            return [turn(*[call] * times)] * 2
        case "spread":
            return [entry for n in range(times) for entry in (call, tool_call("look", {"n": n}, f"seen {n}"))]
        case "growing":
            return [turn(call, input_tokens=20_000 + 25_000 * n) for n in range(times)]
        case "reworded" | "nothing":
            words, there = ("weather in Bern", "no data") if kind == "reworded" else ("", "all")
            return [tool_call(tool, {"q": words, "nonce": n if words else None}, there) for n in range(times)]
        case _:
            return [*[call, tool_call("other", {}, "thing")] * times, user("Go on.")]


_RUNS = st.lists(
    st.lists(_stretches(), min_size=1, max_size=5).map(lambda parts: agent_run([e for part in parts for e in part])),
    min_size=1,
    max_size=4,
)


def _judged(
    document: TracesData, *, select: tuple[str, ...] = (), ignore: tuple[str, ...] = ()
) -> set[tuple[object, ...]]:
    con = in_memory()
    loader = Loader(con)
    loader.add(document, "law")
    loader.finish()
    return {_said(f) for f in judge(con, select=select, ignore=ignore).findings}


def _said(f: Finding) -> tuple[object, ...]:
    waste = (
        f.wasted_tokens,
        f.wasted_cost_usd and round(f.wasted_cost_usd, 9),
        f.wasted_seconds and round(f.wasted_seconds, 6),
    )
    return (
        f.detector,
        f.severity,
        f.confidence,
        f.trace_id,
        f.run_id,
        f.span_ids,
        f.first_step,
        f.last_step,
        f.first_turn,
        f.last_turn,
        f.message,
        *waste,
        f.fingerprint,
    )


def _case(runs: list[Run]) -> Case:
    return Case("law", runs, [])


@_SLOW
@given(_RUNS, st.randoms(use_true_random=False))
def test_the_order_in_which_spans_arrive_does_not_matter(runs: list[Run], chance: random.Random) -> None:
    document = _case(runs).traces()
    before = _judged(document)
    chance.shuffle(document.resourceSpans[0].scopeSpans[0].spans)
    assert _judged(document) == before


@_SLOW
@given(_RUNS)
def test_runs_do_not_leak_into_each_other(runs: list[Run]) -> None:
    together = _judged(_case(runs).traces(), ignore=("cost_outlier",))
    spans = _case(runs).traces().resourceSpans[0].scopeSpans[0].spans
    apart = set()
    for trace in {s.traceId for s in spans}:
        document = _case(runs).traces()
        document.resourceSpans[0].scopeSpans[0].spans = [s for s in spans if s.traceId == trace]
        apart |= _judged(document, ignore=("cost_outlier",))
    assert apart == together


@_SLOW
@given(_RUNS, st.integers(-(10**17), 10**17))
def test_when_it_happened_does_not_matter(runs: list[Run], shift_ns: int) -> None:
    document = _case(runs).traces()
    before = _judged(document)
    for span in document.resourceSpans[0].scopeSpans[0].spans:
        span.startTimeUnixNano = int(span.startTimeUnixNano) + shift_ns
        span.endTimeUnixNano = int(span.endTimeUnixNano) + shift_ns
    assert _judged(document) == before


@_SLOW
@given(_RUNS, _RUNS)
def test_an_unrelated_run_changes_nothing(runs: list[Run], others: list[Run]) -> None:
    alone = _judged(_case(runs).traces(), ignore=("cost_outlier",))
    both = _case(runs).traces()
    both.resourceSpans += Case("others", others, []).traces().resourceSpans
    mine = set(_case(runs).trace_ids())
    assert {f for f in _judged(both, ignore=("cost_outlier",)) if f[3] in mine} == alone


@_SLOW
@given(_RUNS)
def test_keys_are_enough_for_loops_and_failures(runs: list[Run]) -> None:
    loops = (
        "repeated_call",
        "call_cycle",
        "near_repeat",
        "error_cascade",
        "unknown_tool",
        "null_input",
        "repeated_output",
    )
    full, hashed = (_judged(_case(runs).traces(dialect), select=loops) for dialect in ("gen_ai", "hashed"))
    # How sure they are may differ: texts tell a batch from a loop.
    assert {(*f[:2], *f[3:10]) for f in full} == {(*f[:2], *f[3:10]) for f in hashed}
