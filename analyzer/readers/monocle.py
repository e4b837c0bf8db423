"""What Monocle (github.com/monocle2ai/monocle) says of a span, under the names of the GenAI conventions.

Monocle writes what a span is into `span.type`, who took part into `entity.N.*`, and messages and usage into the events `data.input`,
`data.output` and `metadata`. Usage stands on the model call only, or on the framework's span around it (`inference.framework`), whose
inner spans (`inference.modelapi`) then have none: so no token is counted twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from analyzer.readers.agent_runs import Message, asked, said, words, written
from analyzer.readers.lines import decode
from analyzer.readers.loose import count, dumps, listing, mapping, text
from instrument import semconv

_VERSION: Final = "monocle_apptrace.version"
_TYPE: Final = "span.type"
_SCOPE: Final = "monocle_apptrace"
_OPERATIONS: Final = {
    "inference": "chat",
    "inference.framework": "chat",
    "agentic.tool.invocation": "execute_tool",
    "agentic.mcp.invocation": "execute_tool",
    "agentic.invocation": "invoke_agent",
    "retrieval": "retrieval",
}
_PROVIDERS: Final = {
    "azure_openai": "azure.ai.openai",
    "azure_ai_inference": "azure.ai.inference",
    "aws_bedrock": "aws.bedrock",
    "aws_sagemaker": "aws.sagemaker",
    "gemini": "gcp.gemini",
    "vertexai": "gcp.vertex_ai",
}
_ROLES: Final = {"human": "user", "ai": "assistant", "model": "assistant"}


@dataclass(frozen=True, slots=True)
class Named:
    """Attributes of a span, and the name of the library where they tell it."""

    attributes: dict[str, Any]
    scope: str = ""


def in_current_names(attributes: dict[str, Any], events: Any) -> Named:
    """`attributes` and what `events` add to them; the same ones where another library wrote the span."""
    if _VERSION not in attributes:
        return Named(attributes)
    kind = text(attributes.get(_TYPE)) or ""
    found = {f"monocle.{name}" if name == _TYPE else name: value for name, value in attributes.items()}
    operation = _OPERATIONS.get(kind)
    if operation is not None:
        happened = {str(e.get("name")): mapping(e.get("attributes")) for e in map(mapping, listing(events))}
        found |= {semconv.OPERATION: operation, **_entities(attributes), **_told(operation, happened)}
    return Named({name: value for name, value in found.items() if value is not None}, _SCOPE)


def _entities(attributes: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entity in _numbered(attributes):
        kind, name = text(entity.get("type")) or "", text(entity.get("name"))
        if kind.startswith("model.llm"):
            found[semconv.REQUEST_MODEL] = name
        elif kind.startswith("inference."):
            found[semconv.PROVIDER] = _PROVIDERS.get(provider := kind.removeprefix("inference."), provider)
        elif kind.startswith("agent."):
            found[semconv.AGENT_NAME] = name
        elif kind.startswith("tool."):
            found.setdefault(semconv.TOOL_NAME, name)
    return found


def _numbered(attributes: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Entities as `entity.1.name`, or as a list."""
    yield from map(mapping, listing(attributes.get("entity")))
    for number in range(1, (count(attributes.get("entity.count")) or 0) + 1):
        if number > len(attributes):
            return
        yield {field: attributes.get(f"entity.{number}.{field}") for field in ("type", "name")}


def _told(operation: str, happened: dict[str, dict[str, Any]]) -> dict[str, Any]:
    given, came = happened.get("data.input", {}), happened.get("data.output", {})
    response = came.get("response", came.get("output"))
    if operation == "execute_tool":
        return {semconv.TOOL_ARGUMENTS: written(given.get("input")), semconv.TOOL_RESULT: written(response)}
    if operation != "chat":
        return {"input.value": written(given.get("input")), "output.value": written(response)}
    facts = happened.get("metadata", {})
    reason = text(came.get("finish_reason")) or text(facts.get("finish_reason"))
    return {
        semconv.INPUT_MESSAGES: _messages(given.get("input"), "user"),
        semconv.OUTPUT_MESSAGES: _messages(response, "assistant"),
        semconv.INPUT_TOKENS: count(facts.get("prompt_tokens")),
        semconv.OUTPUT_TOKENS: count(facts.get("completion_tokens")),
        semconv.RESPONSE_MODEL: text(facts.get("model")),
        semconv.FINISH_REASONS: [reason] if reason else None,
    }


def _messages(said_so_far: Any, role: str) -> str | None:
    """Messages as JSON: each is a text, or a JSON object with the role as its only key."""
    found = [_message(one, role) for one in (said_so_far if isinstance(said_so_far, list) else [said_so_far]) if one]
    return dumps(found) if found else None


def _message(one: Any, role: str) -> Message:
    if isinstance(one, str):
        try:
            one = decode(one.encode())
        except ValueError:
            return said(role, words(one))
    content = one
    if isinstance(one, dict) and len(one) == 1:
        [(speaker, content)] = one.items()
        role = _ROLES.get(speaker) or str(speaker)
    if isinstance(content, dict) and content.get("type") == "tool_call":
        return said(role, asked(text(content.get("id")), content.get("name"), content.get("args")))
    return said(role, words(written(content) or ""))
