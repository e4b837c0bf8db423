"""The estimate behind `sizes.estimated_tokens`: what each part of a request adds.

The constants are fitted to 511 recorded requests unless something else is said; overheads of single blocks are of the order of ten
tokens and are not told apart further.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from instrument.messages import blocks, opens_a_turn
from instrument.pixels import pixels
from instrument.text_tokens import text_tokens

_NEWER: Final = re.compile(r"opus-4-[789]|fable|mythos|(opus|sonnet|haiku)-([5-9]|\d\d)(\D|$)")
"""Models with the tokenizer, the finer images and the tool prompt that came with Opus 4.7."""
_KEEPS_THINKING: Final = re.compile(r"opus-4-[56]|sonnet-4-6")
"""These, and the newer ones, keep the thinking of earlier turns in the context (Anthropic's page on extended thinking)."""

_TOOL_PROMPTS: Final = (
    (re.compile(r"3-opus"), 525, 281),
    (re.compile(r"claude-3-[57]-sonnet|claude-3-"), 255, 340),
    (re.compile(r"-4-[56]"), 485, 570),
    (re.compile(r"-4-|-4$"), 300, 280),
)
"""Models; tokens of the prompt that the API adds for tools when the model may choose, and when it must call one."""
_NEWER_TOOL_PROMPT: Final = (250, 330)
_FRAME, _MESSAGE, _TOOL_USE, _TOOL_RESULT, _PARALLEL = 6, 2, 36, 14, 27
_THINKING: Final = {"enabled": 29, "adaptive": 17}
_SCHEMA = 100  # what an output format costs beside its schema
_CITED = 550  # what documents with citations cost beside their text
CLIENT_TOOLS: Final = {"memory": 1_040, "text_editor": 700, "str_replace": 700, "bash": 245, "computer": 1_200}
"""Tools that Anthropic defines and the client runs, by the start of their type; tokens as on Anthropic's page on pricing,
and `memory` as recorded."""
_SERVER_TOOLS: Final = {
    "web_search": 2_100,
    "web_fetch": 850,
    "code_execution": 2_000,
    "tool_search": 500,
    "advisor": 700,
}
_UNKNOWN_TOOL = 700

_SIGNATURE = (230, 7.0)  # characters of an empty one, characters for each token of thinking in it
_SEALED_CHARS_PER_TOKEN = 3  # contents that only the API can read
_IMAGE_WITHOUT_SIZE, _DOCUMENT_WITHOUT_SIZE, _DOCUMENT = 800, 3_000, 30
_PDF_PAGE_TOKENS = 2_000
"""A page is its picture (about 1,570) and its text."""
_PDF_PAGE: Final = re.compile(rb"/Type\s*/Page(?![a-z])")
_PATCH_PIXELS = 28
"""An image takes a token for each square of 28 by 28 pixels, after it was shrunk to what the model sees: at most 1,568 pixels on
the long side and 1,568 tokens, for newer models 2,576 pixels and 4,784 tokens (Anthropic's page on vision)."""


def estimate(request: Mapping[str, Any]) -> float:
    """The whole body of a request."""
    messages = request.get("messages") or ()
    thinking_from = 0 if _keeps_thinking(request) else _last_prompt(messages)
    old = _messages(request, messages[:thinking_from], with_thinking=False)
    return _head(request, _is_newer(request)) + old + _messages(request, messages[thinking_from:])


def estimate_more(request: Mapping[str, Any], new: Sequence[Mapping[str, Any]], output_tokens: int) -> float:
    """The messages at the end of the request that are `new`; the first, if the assistant's, was `output_tokens` as output."""
    answered = int(bool(new) and new[0].get("role") == "assistant")
    answer, said = new[:answered], new[answered:]
    tokens = float(output_tokens * answered)
    if answer and any(map(opens_a_turn, said)) and not _keeps_thinking(request):
        tokens = min(tokens, _messages(request, answer, with_thinking=False))
    results: int = sum(block.get("type") == "tool_result" for message in said for block in blocks(message))
    return tokens + _messages(request, said) + _PARALLEL * max(0, results - 1)


def _messages(
    request: Mapping[str, Any], messages: Sequence[Mapping[str, Any]], *, with_thinking: bool = True
) -> float:
    newer = _is_newer(request)
    return sum(_MESSAGE + sum(_block(block, newer, with_thinking) for block in blocks(message)) for message in messages)


def _model(request: Mapping[str, Any]) -> str:
    return str(request.get("model") or "")


def _is_newer(request: Mapping[str, Any]) -> bool:
    return _NEWER.search(_model(request)) is not None


def _keeps_thinking(request: Mapping[str, Any]) -> bool:
    return _is_newer(request) or _KEEPS_THINKING.search(_model(request)) is not None


def _last_prompt(messages: Sequence[Mapping[str, Any]]) -> int:
    """Index of the last message of a person: the loop of tool calls after it is one turn to the API."""
    return next((at for at in range(len(messages) - 1, -1, -1) if opens_a_turn(messages[at])), 0)


def as_json(value: object) -> str:
    """As a model is shown it, nearly."""
    return json.dumps(value, ensure_ascii=False, default=str)


def output_schema(request: Mapping[str, Any]) -> Any:
    """The format that the answer must have, None where it is free."""
    return request.get("output_format") or (request.get("output_config") or {}).get("format")


def _shown(tool: Mapping[str, Any]) -> dict[str, Any]:
    """What the model sees of a tool that the client defines."""
    return {
        key: value for key, value in tool.items() if key in {"name", "description", "input_schema", "input_examples"}
    }


def _head(request: Mapping[str, Any], newer: bool) -> float:
    tokens = _FRAME + tool_prompt(request)
    tokens += 0 if newer else _THINKING.get((request.get("thinking") or {}).get("type", ""), 0)
    tokens += sum(_block(block, newer, True) for block in blocks({"content": request.get("system")}))
    tokens += sum(_tool(tool, newer) for tool in request.get("tools") or ())
    schema = output_schema(request)
    return tokens + (_SCHEMA + text_tokens(as_json(schema), newer=newer) if schema else 0)


def tool_prompt(request: Mapping[str, Any]) -> float:
    """What the API adds on its own when the request has tools."""
    if not any(tool.get("type", "custom") == "custom" for tool in request.get("tools") or ()):
        return 0.0
    forced = (request.get("tool_choice") or {}).get("type") in {"any", "tool"}
    known = next((found[1:] for found in _TOOL_PROMPTS if found[0].search(_model(request))), _TOOL_PROMPTS[2][1:])
    return (_NEWER_TOOL_PROMPT if _is_newer(request) else known)[forced]


def _tool(tool: Mapping[str, Any], newer: bool) -> float:
    kind = tool.get("type", "custom")
    if kind != "custom":
        sizes = CLIENT_TOOLS | _SERVER_TOOLS
        return next((size for start, size in sizes.items() if kind.startswith(start)), _UNKNOWN_TOOL)
    return 0.0 if tool.get("defer_loading") else text_tokens(as_json(_shown(tool)), newer=newer)


def _block(block: Mapping[str, Any], newer: bool, with_thinking: bool) -> float:
    match block.get("type"):
        case "text":
            return text_tokens(str(block.get("text") or ""), newer=newer)
        case "thinking" | "redacted_thinking":
            return _thought(block, newer) if with_thinking else 0.0
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            return _TOOL_USE + text_tokens(f"{block.get('name')} {as_json(block.get('input'))}", newer=newer)
        case "tool_result":
            return _TOOL_RESULT + sum(_block(part, newer, with_thinking) for part in blocks(block))
        case "image":
            return _image(block.get("source") or {}, newer)
        case "document":
            return _document(block, newer)
    sealed, rest = _unsealed(block)
    return _cited(block) + sealed / _SEALED_CHARS_PER_TOKEN + text_tokens(as_json(rest), newer=newer)


def _thought(block: Mapping[str, Any], newer: bool) -> float:
    seal = len(str(block.get("signature") or block.get("data") or ""))
    in_seal = max(0.0, (seal - _SIGNATURE[0]) / _SIGNATURE[1])  # the text may be a summary, or left out
    return max(in_seal, text_tokens(str(block.get("thinking") or ""), newer=newer))


def _image(source: Mapping[str, Any], newer: bool) -> float:
    size = pixels(str(source.get("data") or "")) if source.get("type") == "base64" else None
    if size is None or min(size) < 1:
        return _IMAGE_WITHOUT_SIZE
    longest, most = (2_576, 4_784) if newer else (1_568, 1_568)
    width, height = (side * min(1.0, longest / max(size)) for side in size)
    return min(most, math.ceil(width / _PATCH_PIXELS) * math.ceil(height / _PATCH_PIXELS)) + 4


def _cited(block: Mapping[str, Any]) -> int:
    citations = block.get("citations")  # of a text it is the list of what it cites
    return _CITED if isinstance(citations, Mapping) and citations.get("enabled") else 0


def _document(block: Mapping[str, Any], newer: bool) -> float:
    source = block.get("source") or {}
    tokens = float(_DOCUMENT + _cited(block))
    tokens += text_tokens(f"{block.get('title') or ''} {block.get('context') or ''}", newer=newer)
    match source.get("type"):
        case "text":
            return tokens + text_tokens(str(source.get("data") or ""), newer=newer)
        case "content":
            return tokens + sum(_block(part, newer, True) for part in blocks(source))
        case "base64":
            return tokens + _pdf_pages(str(source.get("data") or "")) * _PDF_PAGE_TOKENS
    return tokens + _DOCUMENT_WITHOUT_SIZE


def _pdf_pages(data: str) -> int:
    try:
        found = len(_PDF_PAGE.findall(base64.b64decode(data)))
    except (binascii.Error, ValueError):  # the API will refuse it
        return 1
    return found or 1 + len(data) // 100_000  # the list of pages may be compressed


def _unsealed(value: Any) -> tuple[int, Any]:
    """Characters of the parts that only the API can read, and the value without them."""
    if isinstance(value, Mapping):
        parts = {key: _unsealed(part) for key, part in value.items() if not key.startswith("encrypted_")}
        own = sum(len(str(part)) for key, part in value.items() if key.startswith("encrypted_"))
        return own + sum(n for n, _ in parts.values()), {key: rest for key, (_, rest) in parts.items()}
    if isinstance(value, list):
        items = [_unsealed(item) for item in value]
        return sum(n for n, _ in items), [rest for _, rest in items]
    return 0, value
