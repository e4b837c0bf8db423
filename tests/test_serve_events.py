"""Log events of coding agents that arrive over HTTP become the spans that a file with them is read as."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from serving import JSON, PROTOBUF, rows
from small_exports import LOGS

from analyzer.readers import load, resolve
from analyzer.serve.batch import Malformed
from analyzer.serve.events import Events
from analyzer.serve.receiver import Receiver
from instrument.store.checkpoint import adopt

_JSON, _PROTOBUF = JSON["Content-Type"], PROTOBUF["Content-Type"]
SPANS = "SELECT * EXCLUDE (span_key, run_key, source_key, attributes_key) FROM spans ORDER BY span_id"


def records() -> list[dict[str, Any]]:
    """The log records of the example, one by one."""
    found: list[dict[str, Any]] = LOGS["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    return found


def request_of(part: list[dict[str, Any]]) -> dict[str, Any]:
    """An export request with some of the records."""
    document = copy.deepcopy(LOGS)
    document["resourceLogs"][0]["scopeLogs"][0]["logRecords"] = copy.deepcopy(part)
    return document


def in_protobuf(document: dict[str, Any]) -> bytes:
    """The same request as binary exporters send it; their JSON has ids in base64."""
    for record in document["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
        for name in ("traceId", "spanId"):
            if name in record:
                record[name] = base64.b64encode(bytes.fromhex(record[name])).decode()
    return json_format.ParseDict(document, ExportLogsServiceRequest()).SerializeToString()


@pytest.mark.parametrize("media", [_JSON, _PROTOBUF])
def test_events_in_several_requests_are_the_spans_of_one_file(tmp_path: Path, media: str) -> None:
    traced = [{**r, "traceId": "0af7651916cd43dd8448eb211c80319c"} if n == 5 else r for n, r in enumerate(records())]
    (tmp_path / "logs.json").write_text(json.dumps(request_of(traced)))
    load(resolve([str(tmp_path / "logs.json")]), tmp_path / "file.duckdb")

    receiver = Receiver(tmp_path / "t.duckdb")
    not_kept = 0
    for start in range(0, len(traced), 2):
        document = request_of(traced[start : start + 2])
        body = json.dumps(document).encode() if media == _JSON else in_protobuf(document)
        not_kept += receiver.events(body, media, "").rejected
    adopt(tmp_path / "t.duckdb")
    unfinished = "SELECT count(*) FROM spans WHERE kind = 'agent' AND end_ns IS NULL"
    assert rows(tmp_path / "t.duckdb", unfinished) == [(2,)], "nobody has said that the runs are over"
    receiver.end_runs(everything=True)
    receiver.journal.close()
    adopt(tmp_path / "t.duckdb", even_if_unchanged=True)

    expected = rows(tmp_path / "file.duckdb", SPANS)
    assert len(expected) == 6
    assert rows(tmp_path / "t.duckdb", SPANS) == expected
    assert not_kept == 1, "a decision is no call"


def test_a_run_ends_when_nothing_has_come_for_ten_minutes() -> None:
    now = [0.0]
    events = Events(clock=lambda: now[0])
    begun = events.batch(json.dumps(request_of(records()[:2])).encode(), _JSON)
    assert begun.spans == 2, "a mark of the run, and a model call"
    now[0] = 500.0
    assert events.batch(json.dumps(request_of(records()[3:4])).encode(), _JSON).spans == 1
    now[0] = 1_000.0
    assert events.ended().spans == 0
    now[0] = 1_101.0
    (span,) = json.loads(events.ended().line)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert span["name"] == "invoke_agent claude-code"
    assert int(span["endTimeUnixNano"]) == 1_788_256_805_000_000_000
    assert events.ended(everything=True).spans == 0


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"resourceLogs": 7', b"\xff"])
def test_what_is_no_export_request_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        Events().batch(body, _JSON)
    if body == b"\xff":
        with pytest.raises(Malformed):
            Events().batch(body, _PROTOBUF)


def test_odd_records_are_counted() -> None:
    odd = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{}, {"body": {"stringValue": "hello"}}, 7]}]}, 5]}
    batch = Events().batch(json.dumps(odd).encode(), _JSON)
    assert (batch.spans, batch.rejected) == (0, 3)
