"""What OpenTelemetry's Python SDK prints, and what Monocle writes that way."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from kept_sink import Kept, reading_of
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from test_readers_formats import attributes

from analyzer.readers import load, resolve
from analyzer.readers.lines import values
from analyzer.readers.streams import Stream
from instrument.store.connect import reading

SHARED = Path(__file__).resolve().parents[2] / "shared" / "traces" / "otel_sdk_span_json"


def printed() -> tuple[str, list[ReadableSpan]]:
    """Two spans, printed by the real exporter; and the spans."""
    out, ended = io.StringIO(), []

    class Keep(SimpleSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            ended.append(span)
            super().on_end(span)

    provider = TracerProvider()
    provider.add_span_processor(Keep(ConsoleSpanExporter(out=out)))
    tracer = provider.get_tracer("x")
    attributes = {"gen_ai.operation.name": "invoke_agent", "n": [1, 2]}
    with (
        tracer.start_as_current_span("agent", attributes=attributes),
        pytest.raises(OSError, match="boom"),
        tracer.start_as_current_span("chat"),
    ):
        raise OSError("boom")
    return out.getvalue(), ended


def kept_of(tmp_path: Path, content: str) -> Kept:
    (tmp_path / "trace").write_text(content)
    kept, reading = reading_of(tmp_path / "trace")
    assert reading.refusals == []
    return kept


def test_spans_as_the_console_exporter_prints_them(tmp_path: Path) -> None:
    text, [chat, _] = printed()
    kept = kept_of(tmp_path, text)
    assert (kept.names, kept.issues) == (["chat", "agent"], [])
    [first, second] = kept.spans
    assert first["traceId"] == f"{chat.context.trace_id:032x}"
    assert first["spanId"] == f"{chat.context.span_id:016x}"
    assert first["parentSpanId"] == second["spanId"]
    assert abs(first["startTimeUnixNano"] - chat.start_time) < 1000  # microseconds are printed
    assert abs(first["endTimeUnixNano"] - chat.end_time) < 1000
    assert first["status"] == {"code": 2, "message": "OSError: boom"}
    assert attributes(first["events"][0])["exception.message"] == "boom"
    assert attributes(second) == {"gen_ai.operation.name": "invoke_agent", "n": [1, 2]}


@pytest.mark.parametrize(
    "lay_out",
    [
        pytest.param(lambda spans: "\n".join(s.to_json(indent=None) for s in spans), id="lines"),
        pytest.param(lambda spans: f"[{','.join(s.to_json() for s in spans)}]", id="list"),
        pytest.param(
            lambda spans: "\r\n\r\n".join(s.to_json().replace("\n", "\r\n") for s in spans), id="windows line ends"
        ),
    ],
)
def test_spans_however_they_were_written(tmp_path: Path, lay_out: Any) -> None:
    kept = kept_of(tmp_path, lay_out(printed()[1]))
    assert (kept.names, kept.issues) == (["chat", "agent"], [])


def test_a_broken_document_among_others_is_named_with_its_line(tmp_path: Path) -> None:
    [chat, agent] = [s.to_json(indent=4) for s in printed()[1]]
    kept = kept_of(tmp_path, f"{chat}\n{chat[:-20]}}}\n\n{agent}\n")
    assert kept.names == ["chat", "agent"]
    assert [(i.kind, i.line) for i in kept.issues] == [("broken_line", chat.count("\n") + 2)]


def test_spans_without_ids_or_times_are_counted(tmp_path: Path) -> None:
    [chat, _] = [json.loads(s.to_json()) for s in printed()[1]]
    kept = kept_of(tmp_path, json.dumps([chat, {**chat, "context": {}}, {**chat, "start_time": "soon"}]))
    assert len(kept.spans) == 2
    assert [(i.kind, i.count, i.error) for i in kept.issues] == [("odd_record", 1, True), ("no_times", 1, False)]


def test_a_million_empty_lines_between_documents_take_no_time() -> None:
    kept = Kept()
    text = b'{\n"a": 1}' + b"\n" * 1_000_000 + b"x"
    assert list(values(Stream("f", text[:65536], iter([text])), kept)) == []
    assert kept.kinds == ["broken_document"]


def test_monocle_spans_are_calls_with_messages_model_and_usage(tmp_path: Path) -> None:
    span = {
        "name": "openai.create",
        "context": {"trace_id": "0x" + "a" * 32, "span_id": "0x" + "b" * 16},
        "start_time": "2025-11-19T04:45:15.721227Z",
        "attributes": {
            "monocle_apptrace.version": "0.6.0",
            "span.type": "inference",
            "entity.1.type": "inference.azure_openai",
            "entity.2.type": "model.llm.gpt-4o",
            "entity.2.name": "gpt-4o",
            "entity.count": 2,
        },
        "events": [
            {"name": "data.input", "attributes": {"input": ['{"system": "be brief"}', '{"human": "hello"}', "plain"]}},
            {
                "name": "data.output",
                "attributes": {"response": '{"ai": {"type": "tool_call", "id": "c", "name": "f", "args": {"x": 1}}}'},
            },
            {
                "name": "metadata",
                "attributes": {"prompt_tokens": 399, "completion_tokens": 17, "finish_reason": "tool_calls"},
            },
        ],
    }
    found = attributes(kept_of(tmp_path, json.dumps([span])).spans[0])
    assert json.loads(found.pop("gen_ai.input.messages")) == [
        {"role": role, "parts": [{"type": "text", "content": content}]}
        for role, content in (("system", "be brief"), ("user", "hello"), ("user", "plain"))
    ]
    call = {"type": "tool_call", "id": "c", "name": "f", "arguments": {"x": 1}}
    assert json.loads(found.pop("gen_ai.output.messages")) == [{"role": "assistant", "parts": [call]}]
    assert {k: v for k, v in found.items() if k.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "azure.ai.openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 399,
        "gen_ai.usage.output_tokens": 17,
        "gen_ai.response.finish_reasons": ["tool_calls"],
    }


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared traces are not on this machine")
def test_every_real_span_is_read_once_and_every_token_counted_once(tmp_path: Path) -> None:
    spans: dict[tuple[str, str], int] = {}
    written = 0
    for path in SHARED.rglob("*.json"):
        found = json.loads(path.read_text("utf-8"))
        for span in found if isinstance(found, list) else found.get("spans", []):
            ids = span.get("context", span)
            used = [e["attributes"] for e in span["events"] if e["name"] == "metadata"]
            key = (ids["trace_id"].removeprefix("0x"), ids["span_id"].removeprefix("0x"))
            written += 1
            spans[key] = sum((u.get("prompt_tokens") or 0) + (u.get("completion_tokens") or 0) for u in used)
            if "gen_ai.usage.input_tokens" in span["attributes"]:  # the framework's own span around Monocle's
                spans[key] = (
                    span["attributes"]["gen_ai.usage.input_tokens"] + span["attributes"]["gen_ai.usage.output_tokens"]
                )
    load(resolve([str(SHARED)]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        read = con.execute("SELECT trace_id, span_id FROM spans WHERE NOT coalesce(inferred, false)").fetchall()
        tokens = con.execute("SELECT sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) FROM spans").fetchall()
        issues = con.execute("SELECT kind, count(*), sum(count) FROM issues GROUP BY kind ORDER BY kind").fetchall()
    assert sorted(read) == sorted(spans)
    assert len(spans) > 300
    assert tokens[0][0] == sum(spans.values()) > 38_000
    # Some files hold the spans of others again.
    assert issues == [("not_a_trace", 2, 2), ("repeated_ids", 5, written - len(spans))]
