"""The bound behind `sizes.at_most_tokens`: what each part of a request adds at most.

Each constant is well above the largest overhead seen in recorded requests, and above what Anthropic's pages on pricing and vision say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from instrument.messages import blocks
from instrument.size_estimates import CLIENT_TOOLS, as_json, output_schema
from instrument.text_tokens import text_at_most

_FRAME, _MESSAGE, _BLOCK, _KEY = 60, 12, 100, 16
_SCHEMA, _CITED, _CLIENT_TOOL, _IMAGE = 600, 1_500, 5_000, 5_000
TOOL_PROMPT: Final = 1_000
"""What the API adds when there are tools: 650 at most so far."""
_RUNS_ON_THE_SERVER: Final = ("mcp_servers", "container", "fallbacks")


class UnboundedError(Exception):
    """There is something in the request whose size only the API knows."""


def check_head(request: Mapping[str, Any]) -> None:
    """Raises `UnboundedError` where something besides the messages has no bound."""
    edits = (request.get("context_management") or {}).get("edits") or ()
    if any(request.get(key) for key in _RUNS_ON_THE_SERVER) or any(
        str(edit.get("type")).startswith("compact") for edit in edits
    ):
        raise UnboundedError
    for tool in request.get("tools") or ():
        if not _is_plain(tool) and not str(tool["type"]).startswith(tuple(CLIENT_TOOLS)):
            raise UnboundedError


def head_at_most(request: Mapping[str, Any]) -> int:
    """System prompt, tools and all else but the messages. Raises `UnboundedError`."""
    check_head(request)
    tools, schema = request.get("tools") or (), output_schema(request)
    most = _FRAME + sum(map(_block, blocks({"content": request.get("system")})))
    most += (TOOL_PROMPT if tools else 0) + sum(map(_tool, tools))
    return most + (_SCHEMA + 2 * text_at_most(as_json(schema)) if schema else 0)


def messages_at_most(messages: Iterable[Mapping[str, Any]]) -> int:
    """Messages and all in them. Raises `UnboundedError`."""
    return sum(_MESSAGE + sum(map(_block, blocks(message))) for message in messages)


def overhead_at_most(message: Mapping[str, Any]) -> int:
    """What a message takes as input besides the tokens that it took as output."""
    return _MESSAGE + _BLOCK * len(blocks(message))


def _is_plain(tool: Mapping[str, Any]) -> bool:
    return bool(tool.get("type", "custom") == "custom")


def _tool(tool: Mapping[str, Any]) -> int:
    return _BLOCK + text_at_most(as_json(tool)) if _is_plain(tool) else _CLIENT_TOOL


def _block(block: Mapping[str, Any]) -> int:
    source = block.get("source") or {}
    match block.get("type"), source.get("type") if isinstance(source, Mapping) else None:
        case "text", _:
            return text_at_most(str(block.get("text") or "")) + 2
        case "thinking" | "redacted_thinking", _:
            # The seal holds the whole thought, of which the text may be a summary.
            seal = len(str(block.get("signature") or block.get("data") or ""))
            return _BLOCK + max(seal, text_at_most(str(block.get("thinking") or "")))
        case "tool_use", _:
            arguments = block.get("input") or {}
            return _BLOCK + _KEY * len(arguments) + text_at_most(f"{block.get('name')}{as_json(arguments)}")
        case "tool_result", _:
            return _BLOCK + sum(map(_block, blocks(block)))
        case "image", "base64":
            return _IMAGE
        case "document", "text" | "content":
            described = f"{block.get('title') or ''}{block.get('context') or ''}"
            return _CITED + text_at_most(described) + 3 * sum(map(_block, _document_parts(source)))
        case "search_result", _:
            return _CITED + 3 * text_at_most(as_json(block))
    raise UnboundedError


def _document_parts(source: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return blocks(source) if source.get("type") == "content" else [{"type": "text", "text": source.get("data") or ""}]
