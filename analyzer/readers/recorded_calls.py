"""Calls that a product records as an input and an output, in whatever form the recorded library has: attributes of their spans."""

from __future__ import annotations

from typing import Any, Final

from analyzer.readers.agent_runs import written
from analyzer.readers.logged_messages import logged
from analyzer.readers.loose import dumps, mapping, text
from instrument import semconv

_SPEAKERS: Final = {"HumanMessage": "human", "AIMessage": "ai", "SystemMessage": "system", "ToolMessage": "tool",
                    "FunctionMessage": "function"}  # fmt: skip
_DEEPEST: Final = 12


def unwrapped(value: Any, levels: int = _DEEPEST) -> Any:
    """The same with messages of LangChain's for the constructors (`lc`, `id`, `kwargs`) it writes them as."""
    if not levels:
        return value
    if isinstance(value, list):
        return [unwrapped(v, levels - 1) for v in value]
    if not isinstance(value, dict):
        return value
    kwargs, path = value.get("kwargs"), value.get("id")
    if "lc" not in value or not isinstance(kwargs, dict) or not isinstance(path, list) or not path:
        return {name: unwrapped(v, levels - 1) for name, v in value.items()}
    kind = str(path[-1]).removesuffix("Chunk")
    role = {"type": _SPEAKERS[kind]} if kind in _SPEAKERS else {}
    return {**{name: unwrapped(v, levels - 1) for name, v in kwargs.items()}, **role}


def model_call(sent: Any, answer: Any, *, model: str | None = None, provider: str | None = None) -> dict[str, Any]:
    """A request and what came back, decoded. `model` is the one that was asked for, as far as it is known apart from the request."""
    sent, answer = unwrapped(sent), unwrapped(answer)
    asked, told = logged(sent, "user"), logged(answer, "assistant")
    finish, tools = told.facts.get("finish_reason"), asked.tools
    return {
        semconv.OPERATION: semconv.CHAT,
        semconv.PROVIDER: provider,
        semconv.REQUEST_MODEL: model or text(mapping(sent).get("model")) or told.facts.get("model"),
        semconv.RESPONSE_MODEL: told.facts.get("model"),
        semconv.RESPONSE_ID: told.facts.get("id"),
        semconv.FINISH_REASONS: [finish] if finish else None,
        semconv.INPUT_MESSAGES: dumps(asked.messages) if asked.messages else None,
        semconv.OUTPUT_MESSAGES: dumps(told.messages) if told.messages else None,
        semconv.TOOL_DEFINITIONS: dumps(tools) if tools else None,
    }


def tool_call(name: str | None, given: Any, output: Any) -> dict[str, Any]:
    """Arguments and result, decoded. LangChain wraps both: a text as `input`, and the result as a message."""
    arguments, result = given, output
    if isinstance(given, dict) and given.keys() == {"input"}:
        arguments = given["input"]
    if isinstance(output, dict) and output.keys() == {"output"}:
        result = output["output"]
    message = mapping(unwrapped(result))
    call_id = text(message.get("tool_call_id"))
    if "content" in message and (call_id is not None or message.get("type") == "tool"):
        result = message["content"]
    return {
        semconv.OPERATION: semconv.EXECUTE_TOOL,
        semconv.TOOL_NAME: name or text(message.get("name")) or "unknown",
        semconv.TOOL_CALL_ID: call_id,
        semconv.TOOL_ARGUMENTS: written(arguments),
        semconv.TOOL_RESULT: written(result),
    }


def around(operation: str, given: Any, output: Any) -> dict[str, Any]:
    """What goes around calls, or is none: an agent, a chain, a retriever."""
    return {semconv.OPERATION: operation, "input.value": written(given), "output.value": written(output)}
