"""Requests and answers of models as somebody logged them: OpenAI's two APIs, Anthropic's, Gemini's, LangChain's, GenAI form.

Observability products keep whatever a framework handed them as "input" and "output". What is recognised here becomes messages in GenAI
form; what is not stays the text it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from analyzer.readers.agent_runs import Message, answered, asked, said, words
from analyzer.readers.loose import dumps, listing, mapping, text
from analyzer.readers.openai_messages import decoded

_SPEAKERS: Final = {"human": "user", "ai": "assistant", "model": "assistant", "developer": "system", "function": "tool",
                    "AIMessageChunk": "assistant"}  # fmt: skip
"""Other words for the roles, LangChain's and Google's."""
_WITHIN: Final = (
    "messages",
    "choices",
    "message",
    "candidates",
    "generations",
    "output",
    "contents",
    "content",
    "input",
)
"""Where requests and answers keep their messages, what says most first."""
_CALLS: Final = frozenset(("tool_use", "tool-call", "tool_call", "function_call", "functionCall", "function"))
_RESULTS: Final = frozenset(
    ("tool_result", "tool-result", "tool_call_response", "function_call_output", "function_response")
)
_TEXTS: Final = frozenset(("text", "input_text", "output_text"))
_THOUGHTS: Final = frozenset(("thinking", "reasoning"))
_LEVELS: Final = 6


@dataclass(slots=True)
class Logged:
    """What was found in an input or output."""

    messages: list[Message] = field(default_factory=list)
    tools: list[Any] = field(default_factory=list)
    """Tool definitions, as they were logged."""
    structured: bool = False
    """Whether the messages are ones, and not a text of which only that is known."""
    facts: dict[str, str] = field(default_factory=dict)
    """`id`, `model` and `finish_reason` of an answer, where it says them."""
    in_parts: bool = False
    """Whether the last message was put together from parts, and more of it may come."""


def logged(value: Any, speaker: str) -> Logged:
    """The messages of `value`, which is JSON decoded; what names no role was said by `speaker`."""
    found = Logged()
    if isinstance(value, dict):
        _definitions(value, found)
        _facts(value, found)
        _instructions(value, found)
    _messages(value, speaker, found, _LEVELS)
    if not found.structured and not found.messages and value not in (None, "", {}, []):
        found.messages = [said(speaker, words(value if isinstance(value, str) else dumps(value)))]
    return found


def _messages(value: Any, speaker: str, found: Logged, levels: int) -> None:
    if isinstance(value, list) and levels >= 0:
        said_here = any(isinstance(v, dict) and (_is_message(v) or _is_part(v)) for v in value)
        for item in value:
            if said_here:
                _item(item, speaker, found, levels)
            else:  # LangChain has a list for each prompt of a batch
                _messages(item, speaker, found, levels - 1)
    elif isinstance(value, dict) and levels >= 0:
        if _is_message(value):
            _item(value, speaker, found, levels)
        else:
            _within(value, speaker, found, levels)


def _within(value: dict[str, Any], speaker: str, found: Logged, levels: int) -> None:
    """The messages that the first of the known names holds."""
    before = len(found.messages)
    for name in _WITHIN:
        inner = value.get(name)
        if isinstance(inner, str) and name in ("contents", "content", "input") and inner:
            _add(found, said(speaker, words(inner)))
        elif isinstance(inner, dict | list):
            _messages(inner, speaker, found, levels - 1)
        if len(found.messages) > before:
            return


def _item(item: Any, speaker: str, found: Logged, levels: int) -> None:
    if isinstance(item, str):
        _add(found, said(speaker, words(item)))
        return
    message = mapping(item)
    inner = message.get("message")  # a choice, or a generation of LangChain's
    if isinstance(inner, dict) and not text(message.get("role")):
        _facts(message, found)
        _item({**inner, **mapping(inner.get("kwargs"))}, speaker, found, levels - 1) if levels > 0 else None
        return
    if _is_definition(message):
        found.tools.append(message.get("content"))
    elif _is_message(message):
        _add(found, message_of(message, speaker))
        if speaker == "assistant":
            _facts(message, found)
    elif _is_part(message):
        kind = text(message.get("type"))
        role = "assistant" if kind in _CALLS else "tool" if kind in _RESULTS else speaker
        _add(found, said(role, _part(message)), is_part=True)


def _add(found: Logged, message: Message, *, is_part: bool = False) -> None:
    """Parts that stand alone, one after the other, are one message where the same one said them."""
    found.structured = True
    if is_part and found.in_parts and found.messages[-1]["role"] == message["role"]:
        found.messages[-1]["parts"] += message["parts"]
    else:
        found.messages.append(message)
    found.in_parts = is_part


def _is_message(value: dict[str, Any]) -> bool:
    return (
        isinstance(value.get("role"), str)
        or (value.get("type") in ("human", "ai", "system", "tool", "function", "AIMessageChunk") and "content" in value)
        or isinstance(value.get("message"), dict)
    )


def _is_part(value: dict[str, Any]) -> bool:
    kind = text(value.get("type"))
    return (
        kind in _CALLS
        or kind in _RESULTS
        or (kind in _TEXTS and isinstance(value.get("text", value.get("content")), str))
    )


def _is_definition(message: dict[str, Any]) -> bool:
    """Langfuse's LangChain handler puts tool definitions among the messages, as messages of tools that answer no call."""
    function = mapping(mapping(message.get("content")).get("function"))
    return message.get("role") == "tool" and "tool_call_id" not in message and "parameters" in function


def message_of(found: dict[str, Any], speaker: str) -> Message:
    """One message of any of these, in GenAI form; what names no role was said by `speaker`."""
    role = text(found.get("role")) or text(found.get("type")) or speaker
    role = _SPEAKERS.get(role, role)
    call_id = call_id_of(found.get("tool_call_id"))
    if role == "tool" and call_id is not None and not isinstance(found.get("parts"), list):
        failed = found.get("status") == "error" or found.get("is_error") is True
        return said("tool", answered(call_id, found.get("content"), failed=failed))
    content = next((found[n] for n in ("parts", "content", "text") if found.get(n) not in (None, "", [])), None)
    parts = parts_of(content)
    known = {p.get("id") for p in parts if p.get("type") == "tool_call"}
    more = [*listing(found.get("tool_calls")), *listing(mapping(found.get("additional_kwargs")).get("tool_calls"))]
    if isinstance(found.get("function_call"), dict):
        more.append(found["function_call"])
    for call in map(_call, map(mapping, more)):
        if call.get("id") not in known or call.get("id") is None:
            parts.append(call)
            known.add(call.get("id"))
    # Koog has a tool say what the model asks of it.
    asks = role == "tool" and any(p["type"] == "tool_call" for p in parts)
    return said("assistant" if asks else role, *parts)


def parts_of(content: Any) -> list[Message]:
    """GenAI parts of a message's content."""
    if isinstance(content, str):
        return [words(content)] if content else []
    if isinstance(content, dict):
        return parts_of(content["parts"]) if isinstance(content.get("parts"), list) else [_part(content)]
    return [words(b) if isinstance(b, str) else _part(mapping(b)) for b in listing(content)]


def _part(part: dict[str, Any]) -> Message:
    kind = text(part.get("type"))
    for name in ("function_call", "functionCall"):  # Gemini's parts have no type
        if isinstance(part.get(name), dict):
            return _call(part[name])
    for name in ("function_response", "functionResponse"):
        if isinstance(part.get(name), dict):
            inner = part[name]
            return answered(call_id_of(inner.get("id")) or text(inner.get("name")), inner.get("response"))
    if kind in _CALLS:
        return _call(part)
    if kind == "toolRequest":  # goose
        return _call({"id": part.get("id"), **mapping(mapping(part.get("toolCall")).get("value"))})
    if kind == "toolResponse":
        given = mapping(part.get("toolResult"))
        result = given.get("value", given.get("error"))
        return answered(call_id_of(part.get("id")), result, failed=given.get("status") == "error")
    if isinstance(part.get("toolCallId"), str) and "state" in part:  # Vercel's messages of a user interface
        name = text(part.get("toolName")) or str(kind).removeprefix("tool-")
        return asked(part["toolCallId"], name, part.get("input"))
    if kind in _RESULTS:
        names = ("tool_call_id", "tool_use_id", "toolCallId", "call_id", "id")
        response = next((part[n] for n in ("response", "result", "content", "output") if n in part), None)
        call_id = next((i for i in (call_id_of(part.get(n)) for n in names) if i), None)
        return answered(call_id, response, failed=part.get("is_error") is True or part.get("isError") is True)
    written = part.get("text", part.get("content"))
    if kind in _THOUGHTS or part.get("thought") is True:
        return {"type": "reasoning", "content": part.get("thinking", written)}
    if isinstance(written, str) and (kind in _TEXTS or kind is None):
        return words(written)
    # Pictures and sounds keep their type only, as everywhere; so does what we do not know.
    return {"type": f"logged_{kind}"}


def _call(call: dict[str, Any]) -> Message:
    function = mapping(call.get("function")) or call
    name = next((n for n in (text(function.get(k)) for k in ("name", "toolName")) if n), None)
    arguments = next((function[k] for k in ("arguments", "args", "input") if k in function), None)
    call_id = next((i for i in (call_id_of(call.get(k)) for k in ("call_id", "id", "toolCallId")) if i), None)
    return asked(call_id, name, decoded(arguments))


def call_id_of(value: Any) -> str | None:
    """The id of a tool call. Microsoft's agent framework writes a list of the run's id and the call's."""
    found = decoded(value) if isinstance(value, str) and value.startswith("[") else value
    return text(found[-1]) if isinstance(found, list) and found else text(value)


def _definitions(value: dict[str, Any], found: Logged) -> None:
    for holder in (value, mapping(value.get("config")), mapping(value.get("kwargs"))):
        for tool in listing(holder.get("tools")) or listing(holder.get("functions")):
            declared = mapping(tool).get("function_declarations") or mapping(tool).get("functionDeclarations")
            found.tools += listing(declared) or [tool]


def _instructions(value: dict[str, Any], found: Logged) -> None:
    """System prompts that stand beside the messages: Anthropic's, the Responses API's, Gemini's."""
    names = ("system", "instructions", "system_instruction", "systemInstruction")
    for holder in (value, mapping(value.get("config"))):
        told = next((holder[n] for n in names if holder.get(n)), None)
        if told is not None and holder.get("object") != "response" and (parts := parts_of(told)):
            _add(found, said("system", *parts))
            return


def _facts(value: dict[str, Any], found: Logged) -> None:
    details = mapping(value.get("response_metadata")) or mapping(value.get("generation_info"))
    finish = value.get("finish_reason", details.get("finish_reason", value.get("stop_reason")))
    found_ones = {
        "id": text(value.get("id"))
        if any(n in value for n in ("choices", "output", "stop_reason", "candidates"))
        else None,
        "model": text(value.get("model")) or text(value.get("model_version")) or text(details.get("model_name")),
        "finish_reason": text(finish),
    }
    for name, fact in found_ones.items():
        if fact is not None:
            found.facts.setdefault(name, fact)
