"""The forms in which programs keep messages of a chat, each entry as what was said, when, and what its answer used.

OpenAI's chat completions and Responses, Anthropic's messages, Gemini's contents, LangChain's messages (as dicts, serialised, or of a
graph's state), ShareGPT's turns, the messages of Vercel's AI SDK and of goose.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from analyzer.readers import openai_messages
from analyzer.readers.agent_runs import Message, answered, asked, said
from analyzer.readers.logged_messages import message_of
from analyzer.readers.loose import count, listing, mapping, moment_ns, text
from analyzer.readers.openai_messages import decoded
from instrument import genai_messages, semconv

ROLES: Final = frozenset(("system", "developer", "user", "assistant", "tool", "function", "model"))
_ANTHROPIC: Final = frozenset(("tool_use", "tool_result", "thinking", "redacted_thinking", "server_tool_use"))
_LANGCHAIN: Final = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool", "function": "tool",
                     "AIMessageChunk": "assistant", "HumanMessage": "user", "AIMessage": "assistant",
                     "SystemMessage": "system", "ToolMessage": "tool", "FunctionMessage": "tool", "HumanMessageChunk": "user"}  # fmt: skip
_SHAREGPT: Final = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system",
                    "tool": "user", "observation": "user", "function_response": "user"}  # fmt: skip
_OUTPUTS: Final = frozenset(
    (
        "function_call_output",
        "custom_tool_call_output",
        "local_shell_call_output",
        "shell_call_output",
        "computer_call_output",
    )
)
_WHEN: Final = ("timestamp", "created_at", "createdAt", "created", "ts", "time")


@dataclass(slots=True)
class Spoken:
    """One message. `facts` are what an answer says of its call: model, usage, id."""

    message: Message
    facts: dict[str, Any] = field(default_factory=dict)
    at_ns: int | None = None


def spoken(entries: list[Any]) -> Iterator[Spoken | None]:
    """Each message of a list, None for an entry that is none. Items of OpenAI's Responses that are one answer become one message."""
    answer: list[Message] = []
    for entry in entries:
        found = _bare(mapping(entry))
        part = _item(found)
        if part is not None:
            if answer and _begins(answer, part):
                yield Spoken(said("assistant", *answer))
                answer = []
            answer += part
            if "output" in found and found.get("type") == "mcp_call":
                yield from (Spoken(said("assistant", *answer)), _result(found))
                answer = []
            continue
        if answer:
            yield Spoken(said("assistant", *answer))
            answer = []
        yield from _result_or_message(found)
    if answer:
        yield Spoken(said("assistant", *answer))


def response_parts(output: list[Any]) -> list[Message]:
    """The parts of one answer of OpenAI's Responses."""
    return [p for s in spoken(output) if s is not None for p in s.message["parts"] if s.message["role"] == "assistant"]


def usage(found: Any) -> dict[str, Any]:
    """Token counts of a `usage` of whichever API: OpenAI's and LangChain's count cached tokens inside the input, Anthropic's beside it."""
    counts = mapping(found)
    if "prompt_tokens" in counts or "completion_tokens" in counts:
        return openai_messages.usage(counts)
    within = mapping(counts.get("input_tokens_details")) or mapping(counts.get("input_token_details"))
    of_output = mapping(counts.get("output_tokens_details")) or mapping(counts.get("output_token_details"))
    if not within and "total_tokens" not in counts:
        of_anthropic: dict[str, Any] = {k: count(v) for k, v in counts.items()}
        for name in ("cache_creation", "output_tokens_details", "server_tool_use"):
            of_anthropic[name] = {k: count(v) for k, v in mapping(counts.get(name)).items()}
        of_anthropic |= {name: text(counts.get(name)) for name in ("speed", "inference_geo")}
        return genai_messages.usage(of_anthropic)
    values = {
        semconv.INPUT_TOKENS: count(counts.get("input_tokens")),
        semconv.OUTPUT_TOKENS: count(counts.get("output_tokens")),
        semconv.CACHE_READ_TOKENS: _either(within, "cached_tokens", "cache_read"),
        semconv.CACHE_WRITE_TOKENS: _either(within, "cache_write_tokens", "cache_creation"),
        semconv.REASONING_TOKENS: _either(of_output, "reasoning_tokens", "reasoning"),
    }
    return {name: value for name, value in values.items() if value is not None}


def message(found: dict[str, Any]) -> Message:
    """One message of the chat APIs of Anthropic and OpenAI, or of Gemini."""
    content = found.get("content")
    kinds = {k for b in listing(content) if isinstance(k := mapping(b).get("type"), str)}
    if kinds & _ANTHROPIC:
        made = said(found["role"], *genai_messages.parts([b for b in listing(content) if isinstance(b, dict | str)]))
    elif isinstance(found.get("parts"), list) or kinds & {"toolRequest", "toolResponse", "tool-call", "tool-result"}:
        made = message_of(found, "user")
    else:
        made = openai_messages.message(found)
    parts = made["parts"]
    only_results = made["role"] == "user" and bool(parts) and all(p["type"] == "tool_call_response" for p in parts)
    return {**made, "role": "tool"} if only_results else made


def when_ns(found: dict[str, Any]) -> int | None:
    """When it was said, under one of the names programs have for that."""
    return next((at for name in _WHEN if (at := moment_ns(found.get(name))) is not None), None)


def _bare(found: dict[str, Any]) -> dict[str, Any]:
    """The message itself, where it is wrapped."""
    if isinstance(found.get("data"), dict) and text(found.get("type")) in _LANGCHAIN:
        return {"type": found["type"], **found["data"]}
    if isinstance(found.get("kwargs"), dict) and isinstance(found.get("id"), list):
        kind = found["id"][-1] if found["id"] else None
        return {**found["kwargs"], "type": kind} if isinstance(kind, str) else found["kwargs"]
    return found


def _item(found: dict[str, Any]) -> list[Message] | None:
    """The parts of an item of OpenAI's Responses that is part of an answer; None where it is none."""
    kind = text(found.get("type")) or ""
    if kind == "message" and found.get("role") == "assistant":
        return openai_messages.content(found.get("content"))
    if kind == "reasoning" and "role" not in found:
        lines = [*listing(found.get("summary")), *listing(found.get("content"))]
        return [{"type": "reasoning", "content": t} for b in lines if (t := text(mapping(b).get("text")))]
    call_id = text(found.get("call_id")) or text(found.get("id"))
    if kind in ("function_call", "custom_tool_call", "mcp_call"):
        return [asked(call_id, found.get("name"), decoded(found.get("arguments", found.get("input"))))]
    if kind.endswith("_call") and "role" not in found:
        return [asked(call_id, kind.removesuffix("_call"), found.get("action"))]
    return None


def _begins(answer: list[Message], part: list[Message]) -> bool:
    """Whether the part is of the next answer: reasoning comes first, then words, then calls."""
    order = {"reasoning": 0, "text": 1, "tool_call": 2}
    return bool(part) and order.get(part[0]["type"], 1) < order.get(answer[-1]["type"], 1)


def _result_or_message(found: dict[str, Any]) -> Iterator[Spoken | None]:
    kind, role = text(found.get("type")) or "", text(found.get("role")) or ""
    if kind in _OUTPUTS:
        yield _result(found)
    elif role in ROLES:
        bare = {**found, "role": "assistant" if role == "model" else role}
        yield from _with_results(bare) if role == "assistant" else (Spoken(message(bare), {}, when_ns(found)),)
    elif kind in _LANGCHAIN and "content" in found:
        made = message_of({**found, "role": _LANGCHAIN[kind]}, "user")
        yield Spoken(made, _facts(found) if made["role"] == "assistant" else {}, when_ns(found))
    elif text(found.get("from")) in _SHAREGPT and "value" in found:
        yield Spoken(said(_SHAREGPT[found["from"]], *openai_messages.content(found["value"])))
    else:
        yield None


def _with_results(found: dict[str, Any]) -> Iterator[Spoken]:
    """An answer; and where it holds what its calls gave (messages of a user interface), that as well."""
    own = [mapping(p) for p in listing(found.get("parts"))]
    done = [p for p in own if isinstance(p.get("toolCallId"), str) and ("output" in p or "errorText" in p)]
    yield Spoken(message(found), _facts(found), when_ns(found))
    for part in done:
        failed = "errorText" in part and part.get("state") != "output-available"
        result = part.get("errorText") if failed else part.get("output")
        yield Spoken(said("tool", answered(part["toolCallId"], result, failed=failed)))


def _result(found: dict[str, Any]) -> Spoken:
    call_id = text(found.get("call_id")) or text(found.get("id"))
    output = found.get("output")
    failed = found.get("error") is not None or found.get("status") == "failed"
    blocks = openai_messages.content(output) if isinstance(output, list) else []
    told = blocks[0]["content"] if len(blocks) == 1 and blocks[0]["type"] == "text" else output
    return Spoken(
        said("tool", answered(call_id, found.get("error") if told is None else told, failed=failed)), {}, when_ns(found)
    )


def _facts(found: dict[str, Any]) -> dict[str, Any]:
    """What an answer says of its call."""
    details = mapping(found.get("response_metadata"))
    counts = (
        mapping(found.get("usage_metadata"))
        or mapping(found.get("usage"))
        or mapping(details.get("token_usage"))
        or mapping(details.get("usage"))
    )
    model = next((m for m in (found.get("model"), details.get("model_name"), details.get("model")) if text(m)), None)
    reason = next(
        (r for r in (found.get("stop_reason"), details.get("finish_reason"), details.get("stop_reason")) if text(r)),
        None,
    )
    values = {
        semconv.RESPONSE_MODEL: model,
        semconv.RESPONSE_ID: text(found.get("id")) if text(found.get("type")) == "message" else None,
        semconv.FINISH_REASONS: [reason] if reason else None,
        **usage(counts),
    }
    return {name: value for name, value in values.items() if value is not None}


def _either(found: dict[str, Any], *names: str) -> int | None:
    return next((n for name in names if (n := count(found.get(name))) is not None), None)
