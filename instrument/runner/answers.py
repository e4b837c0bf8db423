"""What of a model's answer goes back into the conversation: all of it that the API will take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from instrument.messages import is_blank, is_server_result
from instrument.runner.content import well_formed

_THOUGHTS = frozenset({"thinking", "redacted_thinking"})


@dataclass(frozen=True, slots=True)
class Taken:
    """One answer of the model."""

    content: list[dict[str, Any]]
    """Its blocks as they can be sent back; may be empty."""
    calls: list[dict[str, Any]]
    """Its `tool_use` blocks with the input that the model gave, whatever that is. Their ids are those in `content`, and all different."""
    text: str
    call_cut: bool
    """The token limit cut its last tool call, which is left out."""
    serving: bool
    """A tool on the server was called and has not answered yet."""


def taken(message: Mapping[str, Any]) -> Taken:
    """Reads a message. The API refuses blank texts, thinking without its signature or with nothing behind it, and two calls with one id."""
    content = [dict(block) for block in sendable(message.get("content") or ()) if isinstance(block, Mapping)]
    content = [b for b in content if not is_blank(b) and not _unsigned(b)]
    call_cut = message.get("stop_reason") == "max_tokens" and bool(content) and content[-1].get("type") == "tool_use"
    if call_cut:
        content.pop()
    while content and content[-1].get("type") in _THOUGHTS:
        content.pop()
    calls = [b for b in content if b.get("type") == "tool_use"]
    _name_apart(calls)
    text = said(content)
    if message.get("stop_reason") == "pause_turn" and content and content[-1].get("type") == "text":
        # It will be the last message of the next request, which must not end in white space.
        content[-1]["text"] = content[-1]["text"].rstrip()
    asked = {b.get("id") for b in content if b.get("type") in ("server_tool_use", "mcp_tool_use")}
    answered = {b.get("tool_use_id") for b in content if is_server_result(b)}
    return Taken([_with_object(b) for b in content], calls, text, call_cut, not asked <= answered)


def said(content: Sequence[Any]) -> str:
    """The words of a message's content."""
    texts = [b.get("text") for b in content if isinstance(b, Mapping) and b.get("type") == "text"]
    return "\n".join(t for t in texts if isinstance(t, str))


def sendable(value: Any) -> Any:
    """The value, with lone surrogates replaced where there are any: UTF-8 has no bytes for them, so nothing could be sent."""
    try:
        orjson.dumps(value)
    except TypeError:  # or something else that is no JSON, such as a block of the SDK: the SDK's to judge
        return _well_formed(value)
    return value


def _well_formed(value: Any) -> Any:
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, Mapping):
        return {_well_formed(name): _well_formed(part) for name, part in value.items()}
    return [_well_formed(part) for part in value] if isinstance(value, (list, tuple)) else value


def _unsigned(block: Mapping[str, Any]) -> bool:
    return block.get("type") in _THOUGHTS and not (block.get("signature") or block.get("data"))


def _name_apart(calls: Sequence[dict[str, Any]]) -> None:
    """Gives calls with an id that is taken another one: each of them is to be answered by itself."""
    used: set[str] = set()
    for number, call in enumerate(calls, 1):
        given = str(call.get("id") or "toolu")
        call["id"] = given if given not in used and call.get("id") else f"{given}_{number}"
        used.add(call["id"])


def _with_object(block: dict[str, Any]) -> dict[str, Any]:
    """The API takes nothing but an object as the input of a call."""
    if block.get("type") != "tool_use" or isinstance(block.get("input"), Mapping):
        return block
    return {**block, "input": {"input": block.get("input")}}
