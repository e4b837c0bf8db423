"""The document that programs read."""

from __future__ import annotations

import json
from dataclasses import replace

from test_report_text import FINDING, HOSTILE

from analyzer.findings import Outcome, Report, State, Totals
from analyzer.report.as_json import as_json
from instrument.otlp import Issue


def strictly(text: str) -> object:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_document_has_the_promised_fields() -> None:
    report = Report(
        findings=(FINDING,),
        outcomes=(Outcome(detector="repeated_call", state=State.COMPLETE, known=1.0),),
        issues=(Issue("broken_line", "a.jsonl", "is no JSON", "repair it", line=3),),
        totals=Totals(runs=1, cost_usd=0.5),
    )
    document = strictly(as_json(report))
    assert isinstance(document, dict)
    assert list(document) == ["findings", "outcomes", "issues", "totals", "guard_actions", "stops"]
    [finding] = document["findings"]
    assert {"detector", "severity", "confidence", "trace_id", "run_id", "span_ids", "first_step", "last_step"} < set(
        finding
    )
    assert {"message", "evidence", "wasted_tokens", "wasted_cost_usd", "wasted_seconds", "advice", "fingerprint"} < set(
        finding
    )
    assert (finding["severity"], finding["span_ids"], finding["evidence"]["repeats"]) == (
        "error",
        ["aaaaaaaaaaaaaaaa"],
        14,
    )
    assert document["outcomes"] == [{"detector": "repeated_call", "state": "complete", "known": 1.0, "reason": None}]
    assert document["issues"][0] == {
        "kind": "broken_line",
        "source": "a.jsonl",
        "message": "is no JSON",
        "remedy": "repair it",
        "line": 3,
        "count": 1,
        "error": True,
    }
    promised = {
        "runs",
        "spans",
        "model_calls",
        "tool_calls",
        "input_tokens",
        "output_tokens",
        "cost_usd",
        "unpriced_calls",
    }
    assert promised | {"wasted_tokens", "wasted_cost_usd", "wasted_seconds"} < set(document["totals"])


def test_unknown_is_null_and_no_value_makes_it_invalid() -> None:
    evidence = {
        "nan": float("nan"),
        "inf": [float("-inf")],
        "big": 10**30,
        "text": HOSTILE,
        "odd": {1: b"bytes"},
        "none": None,
    }
    text = as_json(Report(findings=(replace(FINDING, evidence=evidence, wasted_cost_usd=None),)))
    document = strictly(text)
    assert isinstance(document, dict)
    got = document["findings"][0]["evidence"]
    assert (got["nan"], got["inf"], got["big"], got["none"]) == (None, [None], 10**30, None)
    assert document["findings"][0]["wasted_cost_usd"] is None
    assert text.isascii()
    json.dumps(document, ensure_ascii=False).encode()  # no lone surrogate is left
