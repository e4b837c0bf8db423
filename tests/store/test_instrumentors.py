"""Three instrumentors and the SDK itself over the same recorded answers: same calls, same tokens, same cost, however they are combined.

The three files are replays: the same answers, each in traces and at times of its own. So between files no calls are the same (a request
was made for each); within a trace each call is on two spans, and in the last test on four.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from instrument.otlp import Span, TracesData
from instrument.store.connect import in_memory
from instrument.store.load import Loader
from tests.store.build import document, rows

GENERATED = Path(__file__).parents[3] / "shared" / "traces" / "otlp" / "generated"
SDK = "com.anthropic.sdk.python"
FILES = ("openinference", "openllmetry", "pydantic_ai")
EVERY = 10
"""Every so-manieth trace is read: enough of each kind (streams, cache, tools, failures) for a tenth of the time."""
pytestmark = pytest.mark.skipif(not GENERATED.exists(), reason="needs ../shared/traces beside the checkout")

Reports = dict[str | None, tuple[int | None, int | None, float | None]]


@cache
def traces(name: str) -> list[TracesData]:
    lines = (GENERATED / f"{name}.otlp.jsonl").read_bytes().splitlines()[::EVERY]
    return [msgspec.json.decode(line, type=TracesData) for line in lines]


@cache
def loaded(*names: str, sdk: bool = True, instrumentor: bool = True) -> duckdb.DuckDBPyConnection:
    """A store of these files, with or without the spans of the SDK and those of the instrumentor."""
    con = in_memory()
    with Loader(con) as loader:
        for name in names:
            for one in traces(name):
                for resource in one.resourceSpans:
                    kept = [s for s in resource.scopeSpans if (sdk if said(s) == SDK else instrumentor)]
                    loader.add(TracesData([msgspec.structs.replace(resource, scopeSpans=kept)]), name)
        loader.finish()
    return con


def said(spans: Any) -> str:
    return spans.scope.name if spans.scope is not None else ""


def calls(con: duckdb.DuckDBPyConnection) -> Reports:
    """Tokens and cost of each call that was answered, by the id of the answer."""
    found = rows(
        con,
        "SELECT response_id, input_tokens, output_tokens, cost_usd FROM spans "
        "WHERE kind = 'model' AND duplicate_of IS NULL AND response_id IS NOT NULL",
    )
    assert len({answer for answer, *_ in found}) == len(found)
    return {answer: (i, o, usd and round(usd, 12)) for answer, i, o, usd in found}


def sums(con: duckdb.DuckDBPyConnection) -> tuple[Any, ...]:
    (found,) = rows(
        con,
        "SELECT count(*), sum(input_tokens), sum(output_tokens), round(sum(cost_usd), 9) FROM spans "
        "WHERE kind = 'model' AND duplicate_of IS NULL",
    )
    return found


@pytest.mark.parametrize("name", FILES)
def test_with_the_sdks_own_spans_each_call_counts_once(name: str) -> None:
    alone, both = loaded(name, instrumentor=False), loaded(name)
    assert sums(both) == sums(alone)
    assert calls(both) == calls(alone)
    assert rows(both, "SELECT count(*) FROM spans WHERE kind = 'model' AND duplicate_of IS NOT NULL") == [
        sums(alone)[:1]
    ]


@pytest.mark.parametrize("name", ["openinference", "pydantic_ai"])
def test_without_them_the_instrumentor_says_the_same(name: str) -> None:
    assert sums(loaded(name, sdk=False)) == sums(loaded(name, instrumentor=False))
    assert calls(loaded(name, sdk=False)) == calls(loaded(name, instrumentor=False))


def test_openllmetry_alone_says_the_same_but_of_streams_and_of_those_it_is_said() -> None:
    con = loaded("openllmetry", sdk=False)
    found, right = calls(con), calls(loaded("openllmetry", instrumentor=False))
    assert set(found) == set(right)
    assert sums(con)[0] == sums(loaded("openllmetry", instrumentor=False))[0]
    wrong = {answer for answer in found if found[answer] != right[answer]}
    partial = rows(con, "SELECT response_id FROM spans WHERE usage_state = 'partial'")
    assert wrong
    assert wrong <= {answer for (answer,) in partial} < set(found)
    assert all((found[answer][1] or 0) > (right[answer][1] or 0) for answer in wrong)


def test_the_dialects_agree_call_by_call() -> None:
    by_file = [calls(loaded(name)) for name in FILES]
    assert by_file[0] == by_file[1]
    common = set(by_file[0]) & set(by_file[2])
    assert common
    assert all(by_file[0][answer] == by_file[2][answer] for answer in common)


def test_all_files_in_one_database_add_up() -> None:
    each = [sums(loaded(name)) for name in FILES]
    assert sums(loaded(*FILES)) == pytest.approx(tuple(sum(column) for column in zip(*each, strict=True)))


def test_four_reports_of_a_call_in_one_trace_count_once() -> None:
    """As where all three libraries are switched on at once: their spans stand beside or within one another."""
    reports: dict[str, list[tuple[str, Span]]] = {}
    for name in FILES:
        answers = {
            (t, s): a
            for t, s, a in rows(loaded(name), "SELECT trace_id, span_id, response_id FROM spans WHERE kind = 'model'")
        }
        for one in traces(name):
            for scoped in one.resourceSpans[0].scopeSpans:
                for found in scoped.spans:
                    answer = answers.get((found.traceId, found.spanId))
                    if answer is not None and (name == FILES[0] or said(scoped) != SDK):
                        reports.setdefault(answer, []).append((said(scoped), found))
    right = {
        answer: call for answer, call in calls(loaded(FILES[0])).items() if len(reports.get(answer or "", ())) == 4
    }
    assert right
    con = in_memory()
    with Loader(con) as loader:
        for number, answer in enumerate(right):
            for place, (scope, found) in enumerate(reports[answer or ""]):
                one = msgspec.structs.replace(
                    found, traceId=f"{number + 1:032x}", spanId=f"{place + 1:016x}", parentSpanId=""
                )
                loader.add(document(one, scope=scope), "x")
        loader.finish()
    assert calls(con) == right
    assert rows(con, "SELECT count(*), count(duplicate_of) FROM spans WHERE kind = 'model'") == [
        (4 * len(right), 3 * len(right))
    ]
