"""What readers of agents' logs make of a small log, as tests ask for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from kept_sink import Kept, reading_of

from instrument.otlp import AnyValue, plain

Spans = list[dict[str, Any]]


def read(tmp_path: Path, content: Any) -> tuple[Spans, Kept]:
    """Spans in the order of their start, agents last, with their attributes as a dict; and the sink."""
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "log").write_text(text)
    kept, reading = reading_of(tmp_path / "log")
    assert reading.refusals == []
    for span in kept.spans:
        span.setdefault("parentSpanId", "")
        span.setdefault("status", None)
        span["values"] = {a["key"]: plain(msgspec.convert(a["value"], AnyValue)) for a in span["attributes"]}
    return sorted(kept.spans, key=lambda s: (operation(s) == "invoke_agent", s["startTimeUnixNano"])), kept


def operation(span: dict[str, Any]) -> str:
    return str(span["values"]["gen_ai.operation.name"])


def of(spans: Spans, kind: str, *names: str) -> list[tuple[Any, ...]]:
    """The attributes `names` of the spans of one kind, one tuple each."""
    short = {"model": "chat", "tool": "execute_tool", "agent": "invoke_agent"}.get(kind, kind)
    return [tuple(s["values"].get(n) for n in names) for s in spans if operation(s) == short]


def heard(span: dict[str, Any]) -> list[tuple[str, Any]]:
    """What a request held: role, and text or type of each part."""
    messages = json.loads(span["values"]["gen_ai.input.messages"])
    return [(m["role"], p.get("content") or p.get("response") or p["type"]) for m in messages for p in m["parts"]]


def seconds(span: dict[str, Any]) -> tuple[float, float]:
    return tuple(span[k] / 1e9 % 60 for k in ("startTimeUnixNano", "endTimeUnixNano"))
