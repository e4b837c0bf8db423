"""What of received spans reaches the disk, and that decoding invents and loses nothing: the receiver without its server."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from serving import JSON, PROTOBUF, rows

from analyzer.serve import documents
from analyzer.serve.batch import Malformed
from analyzer.serve.protobuf import Requests
from analyzer.serve.receiver import Receiver
from instrument.content import Mode
from instrument.journal import folder_of
from instrument.store.checkpoint import adopt

_JSON, _PROTOBUF = JSON["Content-Type"], PROTOBUF["Content-Type"]
SAID = {
    "gen_ai.operation.name": "execute_tool",
    "gen_ai.tool.name": "deploy",
    "gen_ai.tool.call.arguments": '{"to": "the garden", "api_key": "hunter2hunter2"}',
    "gen_ai.tool.call.result": "Error: no\nsk-ant-api03-abcdefghij0123456789",
    "url.full": "https://user:hunter4@example.com/",
}


def in_json() -> bytes:
    """A tool call full of secrets, in JSON that escapes more than it must."""
    span = {
        "traceId": "1" * 32,
        "spanId": "1" * 16,
        "attributes": [{"key": k, "value": {"stringValue": v}} for k, v in SAID.items()],
        "events": [{"name": "exception", "attributes": [{"key": "exception.message", "value": {"stringValue": "password=hunter3"}}]}],
        "status": {"code": 2, "message": "token: ghp_0123456789abcdefghij0123"},
    }  # fmt: skip
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}, indent=1).encode()
    return body.replace(b"/", b"\\/").replace(b"sk-ant", b"sk\\u002dant")


def in_protobuf() -> bytes:
    """The same tool call as the binary exporters send it."""
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"\x11" * 16, span_id=b"\x11" * 8)
    for key, value in SAID.items():
        span.attributes.add(key=key).value.string_value = value
    span.events.add(name="exception").attributes.add(key="exception.message").value.string_value = "password=hunter3"
    span.status.code, span.status.message = 2, "token: ghp_0123456789abcdefghij0123"
    return request.SerializeToString()


def received(folder: Path, mode: Mode, body: bytes, media: str) -> tuple[bytes, Path]:
    """What the journal holds after `body` came, and the database made from it."""
    database = folder / f"{mode}.duckdb"
    receiver = Receiver(database, mode)
    receiver.spans(body, media, "")
    receiver.journal.close()
    written = b"".join(p.read_bytes() for p in folder_of(database).glob("*.jsonl"))
    adopt(database)
    return written, database


@pytest.mark.parametrize("mode", ["full", "hashed", "none"])
@pytest.mark.parametrize(("body", "media"), [(in_json(), _JSON), (in_protobuf(), _PROTOBUF)], ids=["json", "protobuf"])
def test_secrets_never_reach_the_disk_and_content_only_in_full(
    tmp_path: Path, mode: Mode, body: bytes, media: str
) -> None:
    written, database = received(tmp_path, mode, body, media)
    assert b"execute_tool" in written
    for secret in (b"hunter", b"abcdefghij"):
        assert secret not in written
    assert (b"the garden" in written) == (mode == "full")
    assert (b"Error: no" in written) == (mode == "full")
    assert written.count(b"\n") == 1
    states = "SELECT content_state, failed, call_key IS NOT NULL, result_key IS NOT NULL FROM spans"
    assert rows(database, states) == [(mode, True, mode != "none", mode != "none")]
    (left,) = rows(database, "SELECT attributes::JSON->>'$.\"flyball.content.redacted\"' FROM attribute_sets")
    assert left == ("5",)


def test_hashed_spans_have_the_keys_of_the_full_ones(tmp_path: Path) -> None:
    keys = "SELECT call_key, loose_call_key, result_key, result_chars FROM spans"
    full, hashed = (rows(received(tmp_path, mode, in_protobuf(), _PROTOBUF)[1], keys) for mode in ("full", "hashed"))
    assert full == hashed
    assert None not in full[0]


def test_lines_without_secrets_are_written_as_they_came(tmp_path: Path) -> None:
    body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%b","spanId":"%b","flags":256,"own":"x\\ny"}]}]}]}'
    body %= (b"1" * 32, b"1" * 16)
    written, _ = received(tmp_path, "full", body, _JSON)
    assert written == body + b"\n"


# --- protobuf ---------------------------------------------------------------------------------------------------------

values = st.recursive(
    st.one_of(
        st.builds(lambda v: AnyValue(string_value=v), st.text(st.characters(codec="utf-8"), max_size=20)),
        st.builds(lambda v: AnyValue(int_value=v), st.integers(-(2**63), 2**63 - 1)),
        st.builds(lambda v: AnyValue(double_value=v), st.floats()),
        st.builds(lambda v: AnyValue(bool_value=v), st.booleans()),
        st.builds(lambda v: AnyValue(bytes_value=v), st.binary(max_size=5)),
        st.just(AnyValue()),
    ),
    lambda inner: st.one_of(
        st.builds(lambda vs: AnyValue(array_value={"values": vs}), st.lists(inner, max_size=3)),
        st.builds(
            lambda vs: AnyValue(kvlist_value={"values": [{"key": f"k{i}", "value": v} for i, v in enumerate(vs)]}),
            st.lists(inner, max_size=3),
        ),
    ),
    max_leaves=5,
)
attributes = st.lists(
    st.builds(lambda k, v: {"key": k, "value": v}, st.sampled_from(["a", "b", "gen_ai.operation.name", "ü"]), values),
    max_size=4,
)
NANOS = st.integers(0, 2**64 - 1)
events = st.fixed_dictionaries({"name": st.just("e"), "time_unix_nano": NANOS, "attributes": attributes})
links = st.fixed_dictionaries({"trace_id": st.just(b"1" * 16), "span_id": st.just(b"2" * 8), "attributes": attributes})
spans = st.fixed_dictionaries(
    {
        "trace_id": st.binary(min_size=16, max_size=16).filter(any),
        "span_id": st.binary(min_size=8, max_size=8).filter(any),
        "parent_span_id": st.sampled_from([b"", b"12345678"]),
        "name": st.sampled_from(["", "chat", 'quote " and \n']),
        "kind": st.integers(0, 5),
        "start_time_unix_nano": NANOS,
        "end_time_unix_nano": NANOS,
        "attributes": attributes,
        "dropped_attributes_count": st.integers(0, 3),
        "trace_state": st.sampled_from(["", "a=b"]),
        "events": st.lists(events, max_size=2),
        "links": st.lists(links, max_size=2),
        "status": st.fixed_dictionaries({"code": st.integers(0, 2), "message": st.sampled_from(["", "bad"])}),
    }
)  # fmt: skip


def request_of(made: list[dict[str, Any]], resource: list[Any]) -> ExportTraceServiceRequest:
    scope = {"name": "lib", "version": "1"}
    return ExportTraceServiceRequest(
        resource_spans=[
            {"resource": {"attributes": resource}, "scope_spans": [{"scope": scope, "spans": made}, {"spans": []}]}
        ]
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(spans, min_size=1, max_size=3), attributes)
def test_protobuf_becomes_the_json_that_its_own_library_makes_of_it(
    made: list[dict[str, Any]], resource: list[Any]
) -> None:
    request = request_of(made, resource)
    batch = Requests().batch(request.SerializeToString())
    assert (batch.spans, batch.rejected) == (len(made), 0)
    (found,) = json.loads(batch.line)["resourceSpans"]
    (expected,) = json_format.MessageToDict(request, use_integers_for_enums=True)["resourceSpans"]
    (told,) = found["scopeSpans"]
    assert told["scope"] == {"name": "lib", "version": "1"}
    assert list(told["spans"][0])[:2] == ["traceId", "spanId"]
    assert _canonical(found["resource"]) == _canonical(expected.get("resource", {}))
    assert _canonical(told["spans"]) == _canonical(expected["scopeSpans"][0]["spans"])


def _canonical(value: Any) -> Any:
    """Without what OTLP/JSON spells otherwise than protobuf's JSON (ids, in hex), and without defaults that either may leave out."""
    if isinstance(value, list):
        return [_canonical(v) for v in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, inner in value.items():
        if name in ("traceId", "spanId", "parentSpanId"):
            kept[name] = len(inner)
            continue
        shown = _canonical(inner)
        if shown in ("", "0", 0, [], {}) and name not in ("stringValue", "intValue", "doubleValue", "boolValue"):
            continue
        kept[name] = shown
    if "traceId" in kept:
        del kept["traceId"], kept["spanId"]
        kept.pop("parentSpanId", None)
    return kept


def test_ids_are_in_hex() -> None:
    request = request_of([{"trace_id": bytes(range(16)), "span_id": b"\xff" * 8, "parent_span_id": b"\1" * 8}], [])
    (span,) = json.loads(Requests().batch(request.SerializeToString()).line)["resourceSpans"][0]["scopeSpans"][0][
        "spans"
    ]
    assert (span["traceId"], span["spanId"]) == ("000102030405060708090a0b0c0d0e0f", "f" * 16)
    assert span["parentSpanId"] == "01" * 8


def mutations(body: bytes, count: int) -> Iterator[bytes]:
    """`body` with some bytes changed, left out or doubled."""
    chance = random.Random(5)
    for _ in range(count):
        broken = bytearray(body)
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(len(broken))
            match chance.randrange(3):
                case 0:
                    broken[place] = chance.randrange(256)
                case 1:
                    del broken[place : place + chance.randrange(1, 9)]
                case _:
                    broken[place:place] = broken[place : place + 9]
        yield bytes(broken)


@pytest.mark.parametrize("media", [_JSON, _PROTOBUF])
def test_damaged_requests_are_kept_or_refused_and_what_is_kept_can_be_read(tmp_path: Path, media: str) -> None:
    body = in_json() if media == _JSON else in_protobuf()
    requests, refused, kept = Requests(), 0, 0
    receiver = Receiver(tmp_path / "t.duckdb", "hashed")
    for broken in mutations(body, 1_500):
        try:
            batch = requests.batch(broken) if media == _PROTOBUF else documents.batch(broken)
            receiver.spans(broken, media, "")
        except Malformed:
            refused += 1
            continue
        kept += batch.spans
    assert refused > 100
    assert kept > 50
    receiver.journal.close()
    assert adopt(tmp_path / "t.duckdb").seen == kept
    assert rows(tmp_path / "t.duckdb", "FROM issues WHERE error") == []


@pytest.mark.parametrize("scope", ["7", '{"name": 7}'])
def test_a_scope_that_the_store_could_not_read_is_refused_at_once(scope: str) -> None:
    body = in_json().decode().replace('"spans":', f'"scope": {scope}, "spans":', 1)
    with pytest.raises(Malformed, match="scope"):
        documents.batch(body.encode())
