"""Metrics: counted, so that what is not kept can be told."""

from __future__ import annotations

from typing import Any, Final

import orjson
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from analyzer.serve.answers import JSON
from analyzer.serve.batch import Malformed

_KINDS: Final = ("gauge", "sum", "histogram", "exponentialHistogram", "summary")


def data_points(body: bytes, media: str) -> int:
    """Data points in an export request. Raises `Malformed`."""
    try:
        return _in_json(orjson.loads(body)) if media == JSON else _in_protobuf(body)
    except (ValueError, AttributeError, TypeError, DecodeError) as e:
        raise Malformed(f"the body is no export request of metrics: {e}"[:300]) from None


def _in_protobuf(body: bytes) -> int:
    request = ExportMetricsServiceRequest.FromString(body)
    metrics = (m for resource in request.resource_metrics for scope in resource.scope_metrics for m in scope.metrics)
    return sum(len(getattr(m, kind).data_points) for m in metrics if (kind := m.WhichOneof("data")))


def _in_json(document: Any) -> int:
    scopes = (scope for resource in document.get("resourceMetrics", ()) for scope in resource.get("scopeMetrics", ()))
    metrics = (metric for scope in scopes for metric in scope.get("metrics", ()))
    return sum(len(m[kind].get("dataPoints", ())) for m in metrics for kind in _KINDS if kind in m)
