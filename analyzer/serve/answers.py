"""Answers of the receiver, in the encoding of the request (opentelemetry.io/docs/specs/otlp, OTLP/HTTP response)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.responses import Response

JSON: Final = "application/json"
PROTOBUF: Final = "application/x-protobuf"
_REPLIES: Final[dict[str, tuple[Any, str]]] = {
    "traces": (ExportTraceServiceResponse, "rejected_spans"),
    "logs": (ExportLogsServiceResponse, "rejected_log_records"),
    "metrics": (ExportMetricsServiceResponse, "rejected_data_points"),
}
"""Signal to the message that answers it, and the name in it for how many were not kept."""
_CODES: Final = {400: 3, 403: 7, 404: 5, 405: 12, 408: 4, 413: 8, 415: 3, 429: 8, 503: 14}
"""HTTP status to the code of google.rpc.Status (google/rpc/code.proto)."""


def accepted(media: str, signal: str, rejected: int = 0, reason: str = "") -> Response:
    """200: everything but `rejected` was kept, those for `reason`."""
    message, name = _REPLIES[signal]
    if media == PROTOBUF:
        answer = message()
        if rejected:
            setattr(answer.partial_success, name, rejected)
            answer.partial_success.error_message = reason
        return Response(answer.SerializeToString(), media_type=PROTOBUF)
    camel = "".join(word if i == 0 else word.title() for i, word in enumerate(name.split("_")))
    partial = {"partialSuccess": {camel: str(rejected), "errorMessage": reason}} if rejected else {}
    return Response(orjson.dumps(partial), media_type=JSON)


def refused(media: str, status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error: `google.rpc.Status` in the body."""
    if media == PROTOBUF:
        return Response(_status(_CODES[status], message), status, headers, PROTOBUF)
    return Response(orjson.dumps({"code": _CODES[status], "message": message}), status, headers, JSON)


def _status(code: int, message: str) -> bytes:
    """`google.rpc.Status` on the wire: field 1 the code, field 2 the message."""
    text = message.encode("utf-8", "replace")
    size, length = bytearray(), len(text)
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    size.append(length)
    return bytes((8, code, 18)) + bytes(size) + text
