"""Attributes with running numbers in their names, put back together.

OpenInference writes `llm.input_messages.3.message.tool_calls.0.tool_call.function.name`, old OpenLLMetry
`gen_ai.prompt.3.tool_calls.0.name`.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import orjson

from instrument.store.columns import dumps

_WRAPPERS: Final = ("message", "tool_call", "message_content", "tool")
_LARGEST_INDEX: Final = 100_000


@dataclass(frozen=True, slots=True)
class Gathered:
    """JSON lists, None where the span had none of the kind."""

    input_messages: str | None
    output_messages: str | None
    tool_definitions: str | None


def gather(names: list[str], values: list[Any]) -> Gathered:
    """The messages and tools that the attributes `names` with `values` spell out."""
    tree: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        _put(tree, name.split("."), value)
    llm, gen_ai = _map(tree.get("llm")), _map(tree.get("gen_ai"))
    return Gathered(
        _messages(llm.get("input_messages")) or _messages(gen_ai.get("prompt")),
        _messages(llm.get("output_messages")) or _messages(gen_ai.get("completion")),
        _tools(llm.get("tools")) or _tools(_map(llm.get("request")).get("functions")),
    )


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for step in path[:-1]:
        below = tree.setdefault(step, {})
        if not isinstance(below, dict):
            return  # a name that is both a value and a prefix: the value came first
        tree = below
    tree.setdefault(path[-1], value)


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[dict[str, Any]]:
    """A map of running numbers as a list, in their order, the one-name wrappers (`message`, `tool_call`) taken off."""
    known = ((int(k), v) for k, v in _map(value).items() if k.isdecimal() and len(k) < len(str(_LARGEST_INDEX)))
    numbered = sorted(known, key=itemgetter(0))  # alone: "1" and "01" are one number, and maps have no order
    out = []
    for _, item in numbered:
        inner = _map(item)
        for wrapper in _WRAPPERS:
            if isinstance(inner.get(wrapper), dict):
                inner = {**{k: v for k, v in inner.items() if k != wrapper}, **inner[wrapper]}
        out.append(inner)
    return out


def _messages(value: Any) -> str | None:
    messages = [_message(m) for m in _listed(value)]
    return dumps(messages) if messages else None


def _message(found: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": found.get("role")}
    blocks = [
        {
            "type": "text"
            if b.get("type") in (None, "text")
            else "reasoning"
            if b.get("type") in ("thinking", "reasoning")
            else str(b["type"]),
            "text": b.get("text"),
        }
        for b in _listed(found.get("contents"))
        if b.get("type") not in ("tool_use", "tool_result", "tool_call") and b.get("text") is not None
    ]
    message["content"] = blocks or found.get("content")
    if found.get("tool_call_id"):
        message["tool_call_id"] = found["tool_call_id"]
    calls = [_call(c) for c in _listed(found.get("tool_calls"))]
    if calls:
        message["tool_calls"] = calls
    return message


def _call(found: dict[str, Any]) -> dict[str, Any]:
    function = _map(found.get("function")) or found
    return {"id": found.get("id"), "name": function.get("name"), "arguments": function.get("arguments")}


def _tools(value: Any) -> str | None:
    tools = []
    for tool in _listed(value):
        schema = tool.get("json_schema")
        if isinstance(schema, str):
            try:
                tools.append(orjson.loads(schema))
            except ValueError:
                continue  # a declaration clipped by an attribute limit names no tool
        elif tool.get("name"):
            tools.append(tool)
    return dumps(tools) if tools else None
