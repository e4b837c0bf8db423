"""What a report says of tokens and dollars: what was not counted twice, what has no price, what is not whole; in all its forms."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import duckdb
import pytest

from analyzer.findings import Report
from analyzer.report.as_json import as_json
from analyzer.report.layout import Look
from analyzer.report.text import as_text
from analyzer.run import judge
from instrument.otlp import Issue
from instrument.store.connect import in_memory
from instrument.store.insert import write_issues
from tests.store.build import document, loaded, model, span, tool

SDK = "com.anthropic.sdk.python"
LIBRARY = "opentelemetry.instrumentation.anthropic"


def both(con: duckdb.DuckDBPyConnection) -> tuple[str, dict[str, Any]]:
    """The report as text in one line, and as JSON."""
    report = judge(con)
    return " ".join(as_text(report, Look(width=4000)).split()), json.loads(as_json(report))


def test_what_was_reported_twice_is_counted_once_and_said() -> None:
    inner = [model(f"i{n}", parent=f"o{n}", at=n * 5 + 1, gen_ai__response__id=f"msg_{n}") for n in range(3)]
    outer = [model(f"o{n}", at=n * 5, lasts=3, gen_ai__response__id=f"msg_{n}") for n in range(3)]
    run, decorated = tool("t", at=20, lasts=3, gen_ai__tool__call__id="c"), tool("u", parent="t", at=21)
    con = loaded(document(*inner, run, scope=SDK), document(*outer, scope=LIBRARY), document(decorated))
    text, found = both(con)
    totals = found["totals"]
    assert (totals["model_calls"], totals["duplicate_model_calls"], totals["duplicate_calls"]) == (3, 3, 4)
    assert (totals["input_tokens"], totals["output_tokens"], totals["duplicate_tokens"]) == (3000, 300, 3300)
    assert totals["cost_usd"] == totals["duplicate_cost_usd"] == pytest.approx(3 * (1000 * 3e-6 + 100 * 15e-6))
    assert "removed 3 duplicate model calls, 3.3k tokens, $0.014 not counted twice" in text


def test_duplicates_without_a_price_are_said_without_one() -> None:
    facts = {"gen_ai__response__id": "msg_1", "gen_ai__request__model": "nobody-knows"}
    con = loaded(
        document(model("i", parent="o", at=1, **facts), scope=SDK),
        document(model("o", lasts=3, **facts), scope=LIBRARY),
    )
    text, found = both(con)
    assert found["totals"]["duplicate_cost_usd"] is None
    assert "removed 1 duplicate model call, 1.1k tokens not counted twice" in text


def test_tokens_of_a_compaction_are_in_the_totals_and_not_in_the_context() -> None:
    passes = {
        "anthropic__usage__compaction__input_tokens": 150_000,
        "anthropic__usage__compaction__output_tokens": 2_000,
    }
    con = loaded(document(model("m", **passes), scope=SDK))
    totals = both(con)[1]["totals"]
    assert (totals["input_tokens"], totals["output_tokens"]) == (151_000, 2_100)
    assert con.execute("SELECT input_tokens FROM spans").fetchall() == [(1000,)]


def test_models_without_a_price_are_listed_with_what_they_need() -> None:
    quoted = 'my "own" \\ model'
    con = loaded(document(
        *(model(f"a{n}", at=n, gen_ai__request__model=quoted) for n in range(3)),
        model("b", at=4, gen_ai__request__model="another"), model("f", at=5, speed="fast"), model("known", at=6),
    ))  # fmt: skip
    text, found = both(con)
    issues = [i for i in found["issues"] if i["kind"] == "unknown_price"]
    assert [(i["count"], i["error"], i["source"]) for i in issues] == [
        (3, False, "test"),
        (1, False, "test"),
        (1, False, "test"),
    ]
    assert [i["message"].split(" has ")[1] for i in issues] == [
        "no price for the model: 3,000 tokens in and 300 out are not in the cost",
        "no price for the model: 1,000 tokens in and 100 out are not in the cost",
        "no price for the speed: 1,000 tokens in and 100 out are not in the cost",
    ]
    assert found["totals"]["unpriced_calls"] == 5
    for issue in issues:
        head = issue["remedy"].removeprefix("put ").split(" with ")[0]
        [(name, prices)] = tomllib.loads(head + "\ninput = 1\noutput = 2")["prices"].items()
        assert name in (quoted, "another", "claude-sonnet-4-5")
        assert prices == {"input": 1, "output": 2}
        assert " ".join(issue["remedy"].split()) in text
    assert "speed = { fast = ... }" in issues[2]["remedy"]


def test_failed_calls_and_duplicates_need_no_price() -> None:
    refused = span("m", error="401", gen_ai__operation__name="chat", gen_ai__request__model="nobody-knows")
    assert [i["kind"] for i in both(loaded(document(refused)))[1]["issues"]] == []


def test_streams_that_were_cut_or_counted_wrong_are_said() -> None:
    streamed = {"gen_ai__request__stream": True, "gen_ai__usage__output_tokens": 3}
    ended = {"gen_ai__response__finish_reasons": ["stop"]}
    con = loaded(
        document(model("cut", **streamed), model("fine", at=2, **streamed, **ended), scope=SDK),
        document(model("added", at=4, **streamed, **ended), scope=LIBRARY),
    )
    text, found = both(con)
    assert [(i["kind"], i["count"], i["message"].split(":")[1]) for i in found["issues"]] == [
        ("partial_usage", 1, " its tokens and cost are at least what is said"),
        ("partial_usage", 1, " a few output tokens are too many"),
    ]
    assert all(" ".join(i["remedy"].split()) in text for i in found["issues"])


def test_what_a_reader_has_said_of_its_file_is_not_said_again() -> None:
    con = loaded(document(model("cut", gen_ai__request__stream=True)))
    write_issues(con, [Issue("partial_usage", "test", "by the reader", "nothing", count=1, error=False)])
    assert [i["message"] for i in both(con)[1]["issues"]] == ["by the reader"]


def test_answers_that_stand_in_several_traces_count_in_each_and_it_is_said() -> None:
    answer = {"gen_ai__response__id": "msg_1"}
    con = loaded(
        document(
            *(model("m", trace=t, **answer) for t in "abc"), model("n", trace="a", at=9, gen_ai__response__id="msg_2")
        )
    )
    _, found = both(con)
    assert found["totals"]["model_calls"] == 4
    [issue] = found["issues"]
    assert (issue["kind"], issue["count"], issue["source"]) == ("answer_in_several_traces", 2, "test")
    assert "2,200 tokens and $0.0090 more" in issue["message"]


@pytest.mark.parametrize("error", [True, False])
def test_every_kind_of_issue_is_in_every_form_with_place_count_and_remedy(error: bool) -> None:
    issues = [
        Issue(f"kind_{n}", f"file{n}.jsonl", f"message {n}", f"remedy {n}", line=n + 1, count=n + 2, error=error)
        for n in range(30)
    ]
    report = Report(issues=tuple(issues))
    text = " ".join(as_text(report, Look(width=4000)).split())
    for n, told in enumerate(json.loads(as_json(report))["issues"]):
        assert Issue(**told) == issues[n]
        assert f"kind_{n} file{n}.jsonl, line {n + 1}: message {n} ({n + 2} times). To do: remedy {n}" in text


def test_of_one_kind_each_message_is_shown_and_the_rest_is_counted() -> None:
    issues = [Issue("kind", f"file{n}", f"message {n % 5}", f"remedy {n % 2}", count=2, error=False) for n in range(10)]
    text = " ".join(as_text(Report(issues=tuple(issues)), Look(width=4000)).split())
    assert (
        "file0: message 0 (2 times); file1: message 1 (2 times); file2: message 2 (2 times); and 14 more. To do: remedy 0; remedy 1"
        in text
    )


def test_an_empty_store_has_nothing_to_say() -> None:
    assert both(in_memory())[1]["issues"] == []
