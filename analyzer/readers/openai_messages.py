"""Messages, answers and usage of OpenAI's chat completions, in GenAI form. Others keep their logs in this form too."""

from __future__ import annotations

from typing import Any

import orjson

from analyzer.readers.agent_runs import Message, answered, asked, said, words
from analyzer.readers.loose import count, listing, mapping, text
from instrument import semconv


def message(found: dict[str, Any]) -> Message:
    """One message. What is said in no way we know stands as it was recorded."""
    role = text(found.get("role")) or "unknown"
    if role in ("tool", "function"):
        return said("tool", answered(text(found.get("tool_call_id")) or text(found.get("id")), found.get("content")))
    return said(role, *content(found.get("content")), *calls(found))


def content(value: Any) -> list[Message]:
    """The parts of a message's content: a text, or a list of blocks."""
    if isinstance(value, str):
        return [words(value)] if value else []
    return [_block(b) for b in listing(value)]


def _block(block: Any) -> Message:
    if isinstance(block, str):
        return words(block)
    found = mapping(block)
    if isinstance(found.get("text"), str):
        return words(found["text"])
    # Pictures and sounds keep their type only, as everywhere.
    return {"type": f"openai_{found.get('type')}"}


def calls(found: dict[str, Any]) -> list[Message]:
    """The tool calls a message asks for."""
    parts = []
    for call in listing(found.get("tool_calls")):
        function = mapping(mapping(call).get("function")) or mapping(call)
        parts.append(asked(text(mapping(call).get("id")), function.get("name"), decoded(function.get("arguments"))))
    return parts


def decoded(arguments: Any) -> Any:
    """Arguments as a JSON value; the text itself where it is no JSON."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return orjson.loads(arguments)
    except ValueError:
        return arguments


def usage(found: Any) -> dict[str, Any]:
    """Token counts of a `usage` by our names. OpenAI counts cached tokens inside the input, reasoning inside the output.

    Proxies (LiteLLM) give what other providers say in the same form, cache writes beside it and inside the input too.
    """
    counts = mapping(found)
    within, of_output = mapping(counts.get("prompt_tokens_details")), mapping(counts.get("completion_tokens_details"))
    values = {
        semconv.INPUT_TOKENS: count(counts.get("prompt_tokens")),
        semconv.OUTPUT_TOKENS: count(counts.get("completion_tokens")),
        semconv.CACHE_READ_TOKENS: _first(within.get("cached_tokens"), counts.get("cache_read_input_tokens")),
        semconv.CACHE_WRITE_TOKENS: _first(within.get("cache_write_tokens"), counts.get("cache_creation_input_tokens")),
        semconv.REASONING_TOKENS: count(of_output.get("reasoning_tokens")),
    }
    return {name: value for name, value in values.items() if value is not None}


def _first(*found: Any) -> int | None:
    return next((n for value in found if (n := count(value)) is not None), None)


def completion(response: Any) -> dict[str, Any]:
    """The attributes that a chat completion object tells of its call."""
    found = mapping(response)
    choice = mapping(next(iter(listing(found.get("choices"))), None))
    finish = text(choice.get("finish_reason"))
    values = {
        semconv.RESPONSE_MODEL: text(found.get("model")),
        semconv.RESPONSE_ID: text(found.get("id")),
        semconv.FINISH_REASONS: None if finish is None else [finish],
        **usage(found.get("usage")),
    }
    return {name: value for name, value in values.items() if value is not None}
