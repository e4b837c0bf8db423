"""A message of the Anthropic API put together from its server-sent events, as far as they came."""

from __future__ import annotations

from typing import Any, Final

import orjson

_DATA: Final = b"data:"
_TEXTS: Final = {"text_delta": "text", "thinking_delta": "thinking"}


def message_of_stream(body: bytes) -> dict[str, Any] | None:
    """The message of a `messages` stream; of one that was cut off what had arrived. None where it never began."""
    message: dict[str, Any] | None = None
    texts: dict[tuple[int, str], list[str]] = {}
    blocks: dict[int, dict[str, Any]] = {}
    for line in body.splitlines():
        if not line.startswith(_DATA):
            continue
        try:
            event = orjson.loads(line[len(_DATA) :])
        except ValueError:  # the line the connection broke in
            continue
        match event.get("type"):
            case "message_start":
                message = dict(event["message"])
            case "content_block_start":
                blocks[event["index"]] = dict(event["content_block"])
            case "content_block_delta":
                delta = event["delta"]
                kind = delta.get("type")
                name = _TEXTS.get(kind, "input" if kind == "input_json_delta" else None)
                if name is not None:
                    piece = delta.get("partial_json" if name == "input" else name)
                    texts.setdefault((event["index"], name), []).append(piece or "")
            case "message_delta" if message is not None:
                message.update(event.get("delta") or {})
                message["usage"] = {**(message.get("usage") or {}), **(event.get("usage") or {})}
    if message is None:
        return None
    for (index, name), pieces in texts.items():
        if index in blocks:
            _fill(blocks[index], name, "".join(pieces))
    message["content"] = [blocks[i] for i in sorted(blocks)]
    return message


def _fill(block: dict[str, Any], name: str, text: str) -> None:
    if name != "input":
        block[name] = (block.get(name) or "") + text
        return
    if not text:  # a tool without arguments: what the block began with stands
        return
    try:
        block["input"] = orjson.loads(text)
    except ValueError:  # cut off: the arguments as far as they came, as text
        block["input"] = text
