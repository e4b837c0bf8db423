"""Export requests in JSON as lines of the journal: checked, and otherwise left as they came."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import orjson

from analyzer.serve.batch import NO_ID, NO_SPAN, Batch, Malformed
from instrument.otlp import Span, TracesData
from instrument.store.lines import REFUSED, Line, resource_and_scope

_DECODER: Final = msgspec.json.Decoder(Line)
_NO_HEX: Final = frozenset(("", "0" * 32, "0" * 16))
_OLD_NAMES: Final = {"instrumentationLibrarySpans": "scopeSpans", "instrumentationLibrary": "scope"}


def batch(body: bytes) -> Batch:
    """An `ExportTraceServiceRequest` as a batch. Raises `Malformed`."""
    try:
        line = _DECODER.decode(body)
    except REFUSED:
        return _carefully(body)
    spans = 0
    for resource in line.resourceSpans:
        for scope in resource.scopeSpans:
            if not resource_and_scope(resource.resource, scope.scope)[2]:  # the store would have to leave them out
                return _carefully(body)
            spans += len(scope.spans)
            for span in scope.spans:
                if span.traceId in _NO_HEX or span.spanId in _NO_HEX:
                    return _carefully(body)
    # Between the tokens of JSON a line end is white space, and in a text there is none.
    flat = body.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in body or b"\r" in body else body
    return Batch(flat + b"\n" if spans else b"", spans)


def _carefully(body: bytes) -> Batch:
    """Span by span, for a body in which not everything is as it should be."""
    try:
        document = _mended(json.loads(body))
    except (ValueError, RecursionError) as e:
        raise Malformed(f"the body is no JSON: {e}") from None
    if not isinstance(document, dict) or not isinstance(document.get("resourceSpans", []), list):
        raise Malformed("the body is no ExportTraceServiceRequest: it must be an object with a list of resourceSpans")
    if document and "resourceSpans" not in document:
        found = ", ".join(sorted(document)[:5])[:200]
        raise Malformed(f"the body is no ExportTraceServiceRequest: it has no resourceSpans but {found}")
    kept, rejected, reason = 0, 0, ""
    for scope in _scopes(document):
        spans = scope.get("spans")
        whole = []
        for span in spans if isinstance(spans, list) else ():
            problem = _problem(span)
            if problem:
                rejected, reason = rejected + 1, problem
            else:
                whole.append(span)
        scope["spans"] = whole
        kept += len(whole)
    try:
        msgspec.convert(document, TracesData, strict=False)  # what the store will do with the line
    except (msgspec.ValidationError, RecursionError) as e:
        raise Malformed(f"the body is no ExportTraceServiceRequest: {e}"[:300]) from None
    line = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE) if kept else b""
    return Batch(line, kept, rejected, reason)


def _scopes(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The objects that hold spans. What is no object is taken out of its list."""
    document["resourceSpans"] = [r for r in document.get("resourceSpans", ()) if isinstance(r, dict)]
    for resource in document["resourceSpans"]:
        scopes = resource.get("scopeSpans")
        resource["scopeSpans"] = [s for s in scopes if isinstance(s, dict)] if isinstance(scopes, list) else []
        yield from resource["scopeSpans"]


def _problem(span: Any) -> str | None:
    """Why the span cannot be kept; None where it can."""
    try:
        found = msgspec.convert(span, Span, strict=False)
    except (msgspec.ValidationError, RecursionError) as e:
        return f"{NO_SPAN}: {e}"[:200]
    return NO_ID if found.traceId in _NO_HEX or found.spanId in _NO_HEX else None


def _mended(value: Any) -> Any:
    """Lone surrogates replaced, the names before OTLP 0.19 as they are now, null left out, numbers JSON cannot hold as text."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_mended(v) for v in value]
    if isinstance(value, dict):
        return {_OLD_NAMES.get(k, _mended(k)): _mended(v) for k, v in value.items() if v is not None}
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return str(value)
    # As the store reads it: 1.77e18 is a time.
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**63 else value
