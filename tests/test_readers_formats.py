"""Each format: its spans, with ids, times and attributes where they belong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kept_sink import Kept, document, lines, reading_of

from instrument.otlp import AnyValue, plain


def kept_of(tmp_path: Path, content: str | bytes) -> Kept:
    (tmp_path / "trace").write_bytes(content.encode() if isinstance(content, str) else content)
    return reading_of(tmp_path / "trace")[0]


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {a["key"]: plain(msgspec.convert(a["value"], AnyValue)) for a in span["attributes"]}


PRETTY_A, PRETTY_B = (json.dumps(document(name, f"{name * 16}"), indent=2) for name in "ab")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(f"{PRETTY_A}\n{PRETTY_B}\n", id="documents over many lines"),
        pytest.param(f"{PRETTY_A}\r\n\r\n{PRETTY_B}".replace("\n  ", "\r\n  "), id="windows line ends"),
        pytest.param(f"[{PRETTY_A},\n{PRETTY_B}]", id="a list"),
        pytest.param(f"[[{json.dumps(document('a'))}],[{json.dumps(document('b'))}]]", id="lists in a list"),
        pytest.param(json.dumps(document("a")) + "\n" + json.dumps(document("b")), id="lines"),
        pytest.param(json.dumps({"_": 1, **document("a")}) + "\n" + json.dumps(document("b")), id="other keys first"),
    ],
)
def test_otlp_json_however_it_is_laid_out(tmp_path: Path, content: str) -> None:
    kept = kept_of(tmp_path, content)
    assert (kept.names, kept.issues) == (["a", "b"], [])


def test_a_torn_first_line_does_not_make_lines_a_document(tmp_path: Path) -> None:
    kept = kept_of(tmp_path, b'{"resourceSpans": [\n' + lines(["a", "b"]))
    assert (kept.names, kept.kinds) == (["a", "b"], ["broken_line"])


def test_a_broken_document_is_named_with_its_first_line(tmp_path: Path) -> None:
    kept = kept_of(tmp_path, f"{PRETTY_A}\n{PRETTY_B[:-30]}")
    assert kept.names == ["a"]
    assert [(i.kind, i.line) for i in kept.issues] == [("broken_line", PRETTY_A.count("\n") + 2)]


JS_SPAN = {
    "name": "ai.generateText",
    "kind": 2,
    "spanContext": {"traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": "00f067aa0ba902b7", "traceFlags": 1},
    "parentSpanContext": {"spanId": "00f067aa0ba902b0"},
    "startTime": [1770132000, 598000000],
    "endTime": [1770132005, 7],
    "attributes": {"ai.usage.inputTokens": 15, "gen_ai.response.finish_reasons": ["stop"], "ok": True},
    "status": {"code": 2, "message": "boom"},
    "events": [{"name": "ai.stream.finish", "time": [1770132005, 1], "attributes": {"x": 1.5}}],
    "resource": {"attributes": {"service.name": "bot"}},
    "instrumentationScope": {"name": "ai", "version": "6"},
}


def test_a_javascript_span_keeps_everything(tmp_path: Path) -> None:
    [span] = kept_of(tmp_path, json.dumps([JS_SPAN])).spans
    assert span["parentSpanId"] == "00f067aa0ba902b0"
    assert span["kind"] == 3
    assert (span["startTimeUnixNano"], span["endTimeUnixNano"]) == (1770132000598000000, 1770132005000000007)
    assert attributes(span) == JS_SPAN["attributes"]
    assert span["status"] == {"code": 2, "message": "boom"}
    assert span["events"][0]["timeUnixNano"] == 1770132005000000001
    assert attributes(span["events"][0]) == {"x": 1.5}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param([JS_SPAN, JS_SPAN], id="list"),
        pytest.param({"a": [JS_SPAN], "b": {"c": [JS_SPAN]}}, id="map of lists"),
    ],
)
def test_javascript_spans_are_found_wherever_they_lie(tmp_path: Path, content: Any) -> None:
    assert len(kept_of(tmp_path, json.dumps(content)).spans) == 2


def test_javascript_spans_one_a_line_with_a_broken_line_between(tmp_path: Path) -> None:
    kept = kept_of(tmp_path, f"{json.dumps(JS_SPAN)}\n{{broken\n{json.dumps(JS_SPAN)}\n")
    assert len(kept.spans) == 2
    assert [(i.kind, i.line) for i in kept.issues] == [("broken_line", 2)]


def test_javascript_spans_without_ids_or_times_are_counted(tmp_path: Path) -> None:
    nameless = {**JS_SPAN, "spanContext": {}}
    timeless = {**JS_SPAN, "startTime": "soon"}
    kept = kept_of(tmp_path, json.dumps([nameless, nameless, timeless]))
    assert [(i.kind, i.count, i.error) for i in kept.issues] == [("broken_span", 2, True), ("no_times", 1, False)]
    assert len(kept.spans) == 1


def test_bare_attributes_are_one_span_with_ids_made_from_them(tmp_path: Path) -> None:
    content = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "get_weather", "n": [1, "a"]}
    kept = kept_of(tmp_path, json.dumps(content, indent=2))
    [span] = kept.spans
    assert span["name"] == "execute_tool"
    assert attributes(span) == content
    assert (len(span["traceId"]), len(span["spanId"])) == (32, 16)
    assert [(i.kind, i.error) for i in kept.issues] == [("no_times", False)]
    [again] = kept_of(tmp_path, json.dumps(dict(reversed(content.items())))).spans
    assert again["spanId"] == span["spanId"]


def test_equal_bare_attributes_in_one_file_are_two_calls(tmp_path: Path) -> None:
    line = json.dumps({"openinference.span.kind": "LLM", "llm.model_name": "m"})
    kept = kept_of(tmp_path, f"{line}\n{line}\n")
    assert len({span["spanId"] for span in kept.spans}) == 2


def test_values_nested_without_end_are_an_issue_not_a_crash(tmp_path: Path) -> None:
    deep = '{"gen_ai.operation.name": "chat", "x": ' + "[" * 900 + "]" * 900 + "}"
    assert "too_deep" in kept_of(tmp_path, deep).kinds
    deeper = '{"gen_ai.operation.name": "\\ud83d", "x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    assert kept_of(tmp_path, deeper).kinds[0] in ("too_deep", "broken_line")


def test_numbers_and_text_that_json_allows_and_decoders_refuse_are_read(tmp_path: Path) -> None:
    kept = kept_of(tmp_path, '{"gen_ai.operation.name": "chat", "big": 123456789012345678901, "half": "\\ud83d"}')
    assert attributes(kept.spans[0])["half"] == "?"
