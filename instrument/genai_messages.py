"""Messages of the Anthropic API in GenAI conventions: {role, parts: [...]}.

Takes request bodies (JSON) and the SDK's response objects alike. Opaque and binary parts (images, documents, signatures, encrypted
results) keep their type only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from instrument import semconv

Part = dict[str, Any]

_CALLS: Final = ("tool_use", "server_tool_use", "mcp_tool_use")


def field(value: Any, name: str) -> Any:
    """`name` of a JSON object or of a model object; None where it has none."""
    if type(value) is dict:
        return value.get(name)
    if value is None:  # asking whether it is a mapping takes longer
        return None
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def messages(items: Any) -> list[dict[str, Any]]:
    """The messages of a request."""
    return [{"role": field(m, "role") or "user", "parts": parts(field(m, "content"))} for m in items]


def parts(content: Any) -> list[Part]:
    """The parts of a message's or a system prompt's content: a text, or content blocks."""
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    if isinstance(content, (list, tuple)):
        return [{"type": "text", "content": b} if isinstance(b, str) else part(b) for b in content]
    return []


def part(block: Any) -> Part:
    """One content block."""
    kind = field(block, "type")
    if kind == "text":
        return {"type": "text", "content": field(block, "text")}
    if kind in _CALLS:
        return {
            "type": "tool_call",
            "id": field(block, "id"),
            "name": field(block, "name"),
            "arguments": field(block, "input"),
        }
    if kind == "tool_result":
        found = {
            "type": "tool_call_response",
            "id": field(block, "tool_use_id"),
            "response": _result(field(block, "content")),
        }
        return {**found, "is_error": True} if field(block, "is_error") else found
    if kind == "thinking":
        return {"type": "reasoning", "content": field(block, "thinking")}
    if isinstance(kind, str) and kind.endswith("_tool_result"):
        return {
            "type": "tool_call_response",
            "id": field(block, "tool_use_id"),
            "response": _result(field(block, "content")),
        }
    return {"type": f"anthropic_{kind}"}


def _result(content: Any) -> Any:
    """What a tool answered: a text stays one, of blocks the binary and encrypted ones keep their type only."""
    if isinstance(content, (list, tuple)):
        return [_result_block(b) for b in content]
    return content if isinstance(content, str) or content is None else _result_block(content)


def _result_block(block: Any) -> Any:
    if not isinstance(block, Mapping):
        dump = getattr(block, "model_dump", None)
        block = dump() if callable(dump) else {"type": field(block, "type")}
    if block.get("type") in ("image", "document"):
        return {"type": block["type"]}
    return {k: v for k, v in block.items() if not k.startswith("encrypted_") and k != "cache_control"}


def tools(definitions: Any) -> list[dict[str, Any]]:
    """Declared tools. Those that run on the server have a type of their own and no schema."""
    out = []
    for tool in definitions:
        found = {
            "type": "function",
            "name": field(tool, "name"),
            "description": field(tool, "description"),
            "parameters": field(tool, "input_schema"),
        }
        if (kind := field(tool, "type")) not in (None, "custom"):
            found["type"] = kind
        out.append({k: v for k, v in found.items() if v is not None})
    return out


def usage(found: Any) -> dict[str, Any]:
    """Token counts of an Anthropic `usage` by our names. Anthropic counts cache tokens beside the input, the conventions inside."""
    uncached = field(found, "input_tokens")
    read, written = field(found, "cache_read_input_tokens"), field(found, "cache_creation_input_tokens")
    split, details = field(found, "cache_creation"), field(found, "output_tokens_details")
    counts = {
        semconv.INPUT_TOKENS: None if uncached is None else uncached + (read or 0) + (written or 0),
        semconv.OUTPUT_TOKENS: field(found, "output_tokens"),
        semconv.CACHE_READ_TOKENS: read,
        semconv.CACHE_WRITE_TOKENS: written,
        semconv.CACHE_WRITE_5M_TOKENS: field(split, "ephemeral_5m_input_tokens"),
        semconv.CACHE_WRITE_1H_TOKENS: field(split, "ephemeral_1h_input_tokens"),
        semconv.REASONING_TOKENS: field(details, "thinking_tokens"),
        **billed_extras(found),
    }
    return {k: v for k, v in counts.items() if v is not None}


def billed_extras(found: Any) -> dict[str, Any]:
    """What an Anthropic `usage` says beyond tokens: the SDK's own spans leave it out."""
    extras: dict[str, Any] = {}
    if (searched := field(found, "server_tool_use")) is not None:
        _put(extras, semconv.WEB_SEARCHES, field(searched, "web_search_requests"))
    _put(extras, semconv.SPEED, field(found, "speed"))
    _put(extras, semconv.INFERENCE_GEO, field(found, "inference_geo"))
    return extras


def _put(into: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, (str, int)) and value != 0:
        into[name] = value
