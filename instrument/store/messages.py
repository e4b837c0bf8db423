"""What was said: messages of any chat format in GenAI form, each distinct one kept once.

A chat span repeats the whole history, so most of what arrives is known already. When a request begins with exactly what the last request of
its trace held, only the rest is parsed: comparing is a memory comparison, and a run of n turns costs O(n).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import orjson

from instrument import sameness
from instrument.store.columns import dumps

_RAWS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_TRACES_REMEMBERED: Final = 256
_MESSAGES_REMEMBERED: Final = 300_000
_OF_MESSAGES: Final = frozenset(("role", "content", "parts", "tool_calls"))
RESPONSE_CHARS: Final = 2_000
"""How much of a tool result known only from a message stands in `tool_responses`; the whole is in `messages`."""


class Call(msgspec.Struct, frozen=True, gc=False):
    """A tool call in a message: the model's request."""

    id: str | None
    name: str | None
    arguments: str | None
    """JSON, or None where it was not recorded."""


class Response(msgspec.Struct, frozen=True, gc=False):
    """A tool result in a message, judged: see the columns of `tool_responses`."""

    id: str
    result_key: int | None
    chars: int | None
    failed: bool
    failure_inferred: bool
    failure_kind: str | None
    text: str | None
    """Of a failed call the text, at most `RESPONSE_CHARS`."""
    text_hash: int | None
    """Python's hash of the whole text, where `schema.TOOL_TEXTS` gives that text back to the letter."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message in GenAI form."""

    key: int
    role: str
    text: str
    """Its text parts, reasoning left out."""
    calls: tuple[Call, ...]
    responses: tuple[Response, ...]

    @property
    def chars(self) -> int:
        """Length of the text in it, in characters."""
        said = sum(len(c.arguments or "") for c in self.calls)
        return len(self.text) + said + sum(r.chars or 0 for r in self.responses)


@dataclass
class Conversations:
    """The messages of one load: gives each its key, and collects the rows of those not seen before."""

    _fresh: list[tuple[int, str, str, int]] = field(default_factory=list)
    _seen: dict[int, Message] = field(default_factory=dict)
    _last: OrderedDict[str, tuple[str, list[int]]] = field(default_factory=OrderedDict)

    def history(self, trace_id: str, raw: str) -> tuple[list[int], list[Message]]:
        """Keys of all messages of the JSON list `raw`, and those messages that the trace's last request did not hold."""
        old, known = self._last.get(trace_id, ("", []))
        size = len(old)
        if size > 2 and len(raw) > size and raw[size - 1] == "," and raw.startswith(old[:-1]):
            fresh = self.messages("[" + raw[size:])
            keys = known + [m.key for m in fresh]
        elif raw == old:
            return known, []
        else:
            fresh = self.messages(raw)
            keys = [m.key for m in fresh]
        self._last[trace_id] = (raw, keys)
        self._last.move_to_end(trace_id)
        if len(self._last) > _TRACES_REMEMBERED:
            self._last.popitem(last=False)
        return keys, fresh

    def messages(self, raw: str, speaker: str = "user") -> list[Message]:
        """The messages of a JSON list (or of one JSON message, or a bare text of `speaker`)."""
        try:
            slices = [bytes(r) for r in _RAWS.decode(raw)]
        except (msgspec.DecodeError, UnicodeEncodeError):
            slices = _slices(raw, speaker)
        return [self._one(s) for s in slices]

    def _one(self, body: bytes) -> Message:
        key = sameness.key_of(body)
        found = self._seen.get(key)
        if found is None:
            if len(self._seen) >= _MESSAGES_REMEMBERED:
                self._seen.clear()
            found = self._seen[key] = self._read(key, body)
        return found

    def _read(self, key: int, body: bytes) -> Message:
        decoded = orjson.loads(body)
        value: dict[str, Any] = decoded if isinstance(decoded, dict) else {"role": "user", "content": decoded}
        if isinstance(value.get("parts"), list):
            parts = [p for p in value["parts"] if isinstance(p, dict)]
            text = body.decode("utf-8", "replace")
            if any("type" not in p for p in parts):  # Gemini's have none
                parts = [p if "type" in p else _gemini_part(p) for p in parts]
                text = dumps({"role": value.get("role"), "parts": parts})
        else:
            parts = parts_of(value)
            text = dumps({"role": value.get("role"), "parts": parts})
        message = _facts(key, str(value.get("role") or "unknown"), parts)
        self._fresh.append((key, message.role, text, message.chars))
        return message

    def fresh(self) -> list[tuple[Any, ...]]:
        """Rows of `messages` since the last time: key, role, body, length of the text in it."""
        fresh, self._fresh = self._fresh, []
        return fresh


def _slices(raw: str, speaker: str) -> list[bytes]:
    """The careful way: one message, a map that holds messages, or plain text."""
    try:
        value = orjson.loads(raw)
    except ValueError:
        value = raw
    if isinstance(value, dict) and isinstance(value.get("messages"), list):
        value = value["messages"]
    items = value if isinstance(value, list) else [value]
    return [dumps(_message(item, speaker)).encode() for item in items]


def _message(item: Any, speaker: str) -> dict[str, Any]:
    if isinstance(item, dict) and _OF_MESSAGES & item.keys():
        return {"role": speaker, **item}
    return {"role": speaker, "content": item if isinstance(item, str) else dumps(item)}


def parts_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """GenAI parts of a message of the Anthropic, OpenAI, or Vercel form."""
    content = message.get("content")
    if message.get("tool_call_id") and message.get("role") in ("tool", "function"):
        return [{"type": "tool_call_response", "id": message["tool_call_id"], "response": content}]
    blocks = content if isinstance(content, list) else [content] if content not in (None, "") else []
    parts = [_part(b) for b in blocks]
    for call in message.get("tool_calls") or ():
        if isinstance(call, dict):
            function = call["function"] if isinstance(call.get("function"), dict) else call
            parts.append(
                {
                    "type": "tool_call",
                    "id": call.get("id"),
                    "name": function.get("name"),
                    "arguments": _decoded(function.get("arguments")),
                }
            )
    return parts


def _part(block: Any) -> dict[str, Any]:
    if not isinstance(block, dict):
        return {"type": "text", "content": block if isinstance(block, str) else dumps(block)}
    kind = block.get("type")
    if kind in ("text", "input_text", "output_text"):
        return {"type": "text", "content": block.get("text", block.get("content"))}
    if kind in ("thinking", "reasoning"):
        return {"type": "reasoning", "content": block.get("thinking", block.get("text", block.get("content")))}
    if kind in ("tool_use", "tool-call"):
        arguments = next((block[k] for k in ("input", "args", "arguments") if k in block), None)
        return {
            "type": "tool_call",
            "id": block.get("id", block.get("toolCallId")),
            "name": block.get("name", block.get("toolName")),
            "arguments": _decoded(arguments),
        }
    if kind in ("tool_result", "tool-result"):
        response = next((block[k] for k in ("content", "output", "result") if k in block), None)
        part = {
            "type": "tool_call_response",
            "id": block.get("tool_use_id", block.get("toolCallId")),
            "response": response,
        }
        return {**part, "is_error": True} if block.get("is_error") or block.get("isError") else part
    return block


def _gemini_part(part: dict[str, Any]) -> dict[str, Any]:
    """A part of Gemini's API: what it holds is the one name in it. Pictures and files keep that name only. Any other part as it is."""
    call, answer = part.get("functionCall"), part.get("functionResponse")
    if isinstance(call, dict):
        return {"type": "tool_call", "id": call.get("id"), "name": call.get("name"), "arguments": call.get("args")}
    if isinstance(answer, dict):
        return {"type": "tool_call_response", "id": answer.get("id"), "response": answer.get("response")}
    if "text" in part:
        return {"type": "reasoning" if part.get("thought") is True else "text", "content": part["text"]}
    blob = next(
        (name for name in ("inlineData", "fileData", "executableCode", "codeExecutionResult") if name in part), None
    )
    return part if blob is None else {"type": f"gemini_{blob}"}


def _decoded(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return orjson.loads(arguments)
    except ValueError:
        return arguments


def _facts(key: int, role: str, parts: list[dict[str, Any]]) -> Message:
    text, calls, responses = [], [], []
    for part in parts:
        kind = part.get("type")
        if kind == "text":
            content = part.get("content", part.get("text"))
            text.append(content if isinstance(content, str) else dumps(content))
        elif kind == "tool_call":
            arguments = part.get("arguments")
            name = part.get("name")
            calls.append(
                Call(
                    _string(part.get("id")),
                    _string(name),
                    None if arguments is None else arguments if isinstance(arguments, str) else dumps(arguments),
                )
            )
        elif kind == "tool_call_response" and part.get("id") is not None:
            responses.append(_response(part))
    return Message(key, role, "\n".join(text), tuple(calls), tuple(responses))


def _string(value: Any) -> str | None:
    return None if value is None else str(value)


def _response(part: dict[str, Any]) -> Response:
    result = part.get("response", part.get("result"))
    text = sameness.result_text(result)
    flagged = part.get("is_error") is True
    inferred = not flagged and sameness.says_error(text)
    kind = sameness.failure_kind(None, text) if flagged or inferred else None
    return Response(
        str(part["id"]),
        None if text is None else sameness.key_of(sameness.canonical(text)),
        None if text is None else len(text),
        flagged or inferred,
        inferred,
        kind,
        text[:RESPONSE_CHARS] if text is not None and (flagged or inferred) else None,
        hash(text) if _plain(result) else None,
    )


def _plain(result: Any) -> bool:
    if isinstance(result, str):
        return result[:1] not in ('"', "[")
    return isinstance(result, list) and all(isinstance(b, dict) and isinstance(b.get("text"), str) for b in result)
