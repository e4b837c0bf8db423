"""`flyball serve` as its clients see it: a real server, the real Python exporter, and requests no exporter would send."""

from __future__ import annotations

import contextlib
import gzip
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from serving import JSON, PROTOBUF, Answer, Server, rows, serving

from instrument.journal import folder_of

COUNTS = "SELECT count(*), count(DISTINCT (trace_id, span_id)) FROM spans WHERE NOT inferred"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that only look at its answers."""
    with serving(tmp_path_factory.mktemp("serve") / "traces.duckdb", "--max-body-mb", "1") as started:
        yield started


def document(*spans: dict[str, Any]) -> bytes:
    """An export request in JSON."""
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}).encode()


def span(number: int, **more: Any) -> dict[str, Any]:
    """A span with ids of its own."""
    times = {"startTimeUnixNano": "1790000000000000000", "endTimeUnixNano": "1790000001000000000"}
    return {"traceId": f"{number:032x}", "spanId": f"{number:016x}", "name": f"s{number}", **times, **more}


def until(server: Server, status: int) -> Answer:
    """The first answer of that status to a span that is sent again and again."""
    deadline = time.monotonic() + 20
    while (answer := server.post(document(span(1)))).status != status:
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)
    return answer


def test_what_the_python_exporter_sends_is_in_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path / "t.duckdb") as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
        provider = TracerProvider()
        # Each span is sent twice, as by a client that did not hear the answer; once compressed.
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(compression=Compression.Gzip)))
        tracer = provider.get_tracer("a-library", "7")
        with tracer.start_as_current_span("invoke_agent a", attributes={"gen_ai.operation.name": "invoke_agent"}):
            asked = {
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": "claude-sonnet-4-5",
                "gen_ai.response.finish_reasons": ["tool_use"],
                "gen_ai.usage.input_tokens": 2**40,
                "gen_ai.usage.output_tokens": 0,
                "gen_ai.response.time_to_first_chunk": 0.25,
                "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "ünïcode \x00"}]}]),
            }  # fmt: skip
            tracer.start_span("chat", kind=SpanKind.CLIENT, attributes=asked).end()
            tool = tracer.start_span("t", attributes={"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t"})
            tool.record_exception(KeyError("gone"))
            tool.set_status(StatusCode.ERROR, "gone")
            tool.end()
        provider.shutdown()
        said = server.stop(signal.SIGINT)
    assert "received 6 spans; 3 of them more than once (clients sent them again); all is in" in said
    usage = "SELECT input_tokens, output_tokens, finish_reason, time_to_first_token_ns FROM spans WHERE kind = 'model'"
    assert rows(tmp_path / "t.duckdb", usage) == [(2**40, 0, "tool_use", 250_000_000)]
    assert rows(tmp_path / "t.duckdb", "SELECT error_type, error_message FROM spans WHERE kind = 'tool'") == [
        ("KeyError", "'gone'")
    ]
    assert rows(tmp_path / "t.duckdb", "SELECT count(DISTINCT run_id) FROM spans") == [(1,)]
    (output,) = rows(tmp_path / "t.duckdb", "SELECT body FROM messages")
    assert json.loads(output[0])["parts"][0]["content"] == "ünïcode \x00"
    assert not list(folder_of(tmp_path / "t.duckdb").glob("*")), "the journal has been consumed"


def test_killed_and_started_again_it_has_every_span_once(tmp_path: Path) -> None:
    database, batches, size = tmp_path / "t.duckdb", 60, 50
    bodies = [document(*(span(batch * size + n + 1) for n in range(size))) for batch in range(batches)]
    sent_again = 0
    with serving(database) as first:
        # Answered with 200, and never written to the database by the process that answered.
        assert first.post(bodies[0]).status == 200
        first.kill()
        with contextlib.closing(Server(database, port=first.port)) as second:
            assert second.post(bodies[0]).status == 200, "a client that did not hear the answer"

            half, killed = threading.Event(), threading.Event()

            def client() -> None:
                nonlocal sent_again
                for number, body in enumerate(bodies[1:]):
                    if number == batches // 2:
                        half.set()
                        killed.wait(60)
                    while not second.takes(body):
                        sent_again += 1
                        time.sleep(0.01)

            sending = threading.Thread(target=client)
            sending.start()
            half.wait(60)
            second.kill()
            killed.set()
            with contextlib.closing(Server(database, port=first.port)) as third:
                sending.join(60)
                said = third.stop()
    assert "all is in" in said
    assert sent_again > 0, "the client met a server that was gone"
    assert rows(database, COUNTS) == [(batches * size, batches * size)]
    ((kind, count, error),) = rows(database, "SELECT kind, count, error FROM issues")
    assert (kind, count >= size, error) == ("repeated_spans", True, False)


def test_a_request_under_way_is_answered_before_the_server_ends(tmp_path: Path) -> None:
    body = document(span(1))
    with serving(tmp_path / "t.duckdb") as server, socket.create_connection(("127.0.0.1", server.port)) as slow:
        head = f"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        slow.sendall(head.encode() + body[:10])
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        slow.sendall(body[10:])
        assert slow.recv(1000).startswith(b"HTTP/1.1 200")
        server.process.wait(30)
    assert rows(tmp_path / "t.duckdb", "SELECT name FROM spans") == [("s1",)]


REFUSED = {
    "no JSON": (b'{"resourceSpans": [', JSON, 400),
    "nothing": (b"", JSON, 400),
    "another document": (b'{"resourceLogs": []}', JSON, 400),
    "a list": (b"[]", JSON, 400),
    "nested without end": (b'{"resourceSpans": ' + b"[" * 200_000, JSON, 400),
    "no protobuf": (b"\xff\xff\xff", PROTOBUF, 400),
    "no gzip": (b"plain", {**JSON, "Content-Encoding": "gzip"}, 400),
    "gzip cut short": (gzip.compress(b"{}")[:-3], {**PROTOBUF, "Content-Encoding": "gzip"}, 400),
    "too large": (b" " * 1_100_000, JSON, 413),
    "a gzip bomb": (gzip.compress(b" " * 300_000_000, 1)[:900_000], {**JSON, "Content-Encoding": "gzip"}, 413),
    "a form": (b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    "text, as a page may post without asking": (b"{}", {"Content-Type": "text/plain"}, 415),
    "no type": (b"{}", {}, 415),
    "another coding": (b"{}", {**JSON, "Content-Encoding": "br"}, 415),
    "of a web page": (b"{}", {**JSON, "Origin": "https://example.com"}, 403),
    "under another name": (b"{}", {**JSON, "Host": "example.com"}, 403),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_is_refused_for_good(server: Server, name: str) -> None:
    body, headers, status = REFUSED[name]
    answer = server.post(body, headers)
    assert answer.status == status
    assert "Retry-After" not in answer.headers
    assert not [h for h in answer.headers if h.lower().startswith("access-control")]
    if headers.get("Content-Type") == PROTOBUF["Content-Type"]:
        assert answer.headers["content-type"] == PROTOBUF["Content-Type"]
        said = Status.FromString(answer.body)
        assert (said.code, bool(said.message)) == (3, True)
    else:
        assert set(json.loads(answer.body)) == {"code", "message"}


def test_a_browser_that_asks_first_gets_no_permission(server: Server) -> None:
    asked = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    answer = server.request("OPTIONS", "/v1/traces", None, asked)
    assert answer.status == 405
    assert not [h for h in answer.headers if h.lower().startswith("access-control")]


def test_other_paths_and_methods(server: Server) -> None:
    assert server.post(b"{}", path="/v1/profiles").status == 404
    assert server.request("GET", "/v1/traces").status == 405


@pytest.mark.parametrize("host", ["localhost:4318", "127.0.0.1", "[::1]:4318", "10.1.2.3:80"])
def test_addresses_and_localhost_are_good_names(server: Server, host: str) -> None:
    assert server.post(b"{}", {**JSON, "Host": host}).status == 200


def test_answers_without_a_reproach_are_empty(server: Server) -> None:
    assert server.post(document(span(1))).body == b"{}"
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"1" * 16, span_id=b"1" * 8)
    answer = server.post(gzip.compress(request.SerializeToString()), {**PROTOBUF, "Content-Encoding": "gzip"})
    assert (answer.status, answer.headers["content-type"]) == (200, PROTOBUF["Content-Type"])
    assert ExportTraceServiceResponse.FromString(answer.body) == ExportTraceServiceResponse()


def test_what_is_not_kept_is_told_counted_and_shown(tmp_path: Path) -> None:
    with serving(tmp_path / "t.duckdb") as server:
        mixed = document(span(1), {"name": "no ids"}, span(2, attributes=7), span(3, traceId="0" * 32), span(4))
        answer = json.loads(server.post(mixed).body)
        assert answer["partialSuccess"]["rejectedSpans"] == "3"
        assert "id" in answer["partialSuccess"]["errorMessage"]
        request = ExportTraceServiceRequest()
        spans = request.resource_spans.add().scope_spans.add().spans
        spans.add(trace_id=bytes(15) + b"\5", span_id=b"12345678", name="whole")
        spans.add(trace_id=bytes(16), span_id=b"12345678", name="no trace")
        reply = ExportTraceServiceResponse.FromString(server.post(request.SerializeToString(), PROTOBUF).body)
        assert reply.partial_success.rejected_spans == 1

        metrics = ExportMetricsServiceRequest()
        made = metrics.resource_metrics.add().scope_metrics.add().metrics
        made.add(name="a").sum.data_points.add(as_int=1)
        made.add(name="b").gauge.data_points.add(as_int=1)
        answered = server.post(metrics.SerializeToString(), PROTOBUF, "/v1/metrics").body
        assert ExportMetricsServiceResponse.FromString(answered).partial_success.rejected_data_points == 2
        points = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"sum": {"dataPoints": [{}, {}, {}]}}]}]}]}
        answered = server.post(json.dumps(points).encode(), JSON, "/v1/metrics").body
        assert json.loads(answered)["partialSuccess"]["rejectedDataPoints"] == "3"
        assert server.post(b'{"resourceMetrics": 3}', JSON, "/v1/metrics").status == 400

        health = json.loads(server.request("GET", "/health").body)
        assert (health["rejected_spans"], health["data_points"], health["malformed"]) == (4, 5, 1)
        said = server.stop()
    assert "4 more could not be kept" in said
    assert "5 measurements were not kept" in said
    assert rows(tmp_path / "t.duckdb", "SELECT name FROM spans ORDER BY name") == [("s1",), ("s4",), ("whole",)]
    issues = rows(tmp_path / "t.duckdb", "SELECT kind, count, error FROM issues ORDER BY kind")
    assert issues == [("not_kept", 5, False), ("rejected_spans", 4, True)]


def test_logs_are_answered(server: Server) -> None:
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add(event_name="an event nobody reads")
    answer = server.post(logs.SerializeToString(), PROTOBUF, "/v1/logs")
    assert ExportLogsServiceResponse.FromString(answer.body).partial_success.rejected_log_records == 1
    assert server.post(b"\xff", PROTOBUF, "/v1/logs").status == 400


def test_clients_are_asked_to_come_again_while_memory_for_bodies_is_used_up(server: Server) -> None:
    with contextlib.ExitStack() as open_ones:
        head = "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1048576\r\n\r\n"
        slow = [open_ones.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(4)]
        for connection in slow:
            connection.sendall(head.encode() + b" " * 100)
        answer = until(server, 503)
        assert answer.headers["Retry-After"] == "1"
        assert json.loads(answer.body)["code"] == 14
        for connection in slow:
            connection.close()
        until(server, 200)


def test_a_journal_that_cannot_be_written_turns_clients_away_until_it_can(tmp_path: Path) -> None:
    database = tmp_path / "t.duckdb"
    folder_of(database).write_text("in the way")
    with serving(database) as server:
        assert server.post(document(span(1))).status == 503
        health = server.request("GET", "/health")
        assert (health.status, json.loads(health.body)["status"]) == (503, "unwritable")
        folder_of(database).unlink()
        until(server, 200)
        assert server.request("GET", "/healthz").status == 200
        said = server.stop()
    assert "nothing can be written to the journal" in said
    assert rows(database, COUNTS) == [(1, 1)]


def test_elsewhere_than_on_loopback_it_warns(tmp_path: Path) -> None:
    with serving(tmp_path / "t.duckdb", "--host", "0.0.0.0", "--allow-host", "collector.internal") as server:
        assert "warning" in server.said
        assert server.post(b"{}", {**JSON, "Host": "collector.internal:4318"}).status == 200
        assert server.post(b"{}", {**JSON, "Host": "example.com"}).status == 403


def test_a_port_that_is_taken_is_said_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from analyzer.cli import main

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "--db", str(tmp_path / "t.duckdb"), "--port", port]) == 2
    assert f"cannot listen on 127.0.0.1, port {port}" in capsys.readouterr().err
