"""What the log events of coding agents say: which of them stand for a call, and under which names they hold what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from analyzer.readers.agent_runs import reported, written
from analyzer.readers.loose import count, text, written_number
from instrument import semconv

Kind = Literal["prompt", "model", "failed_model", "tool"]


@dataclass(frozen=True, slots=True)
class Product:
    """One agent that exports log events."""

    agent: str
    prefix: str
    """How the names of its events begin."""
    events: Mapping[str, Kind]
    """Events that are read, without the prefix."""
    provider: str | None = None
    only: tuple[str, str] | None = None
    """For events that come more than once in a call: the attribute and the value that the one has which stands for it."""


PRODUCTS: Final = (
    Product(
        "claude-code",
        "claude_code.",
        {"user_prompt": "prompt", "api_request": "model", "api_error": "failed_model", "tool_result": "tool"},
        "anthropic",
    ),
    Product(
        "codex",
        "codex.",
        {"user_prompt": "prompt", "sse_event": "model", "websocket_event": "model", "tool_result": "tool"},
        "openai",
        ("event.kind", "response.completed"),
    ),
    Product(
        "gemini-cli",
        "gemini_cli.",
        {"user_prompt": "prompt", "api_response": "model", "api_error": "failed_model", "tool_call": "tool"},
        "gcp.gemini",
    ),
)
SESSION: Final = ("session.id", "conversation.id")
PROMPT: Final = ("prompt.id", "prompt_id")
_INPUT: Final = ("input_tokens", "input_token_count")
_OUTPUT: Final = ("output_tokens", "output_token_count")
_READ: Final = ("cache_read_tokens", "cached_token_count", "cached_content_token_count")
_ARGUMENTS: Final = ("tool_input", "tool_parameters", "arguments", "function_args")


def first(values: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of these attributes that is a text; a number as its digits."""
    found = (values.get(name) for name in names)
    return next((str(v) for v in found if text(v) or (isinstance(v, int) and not isinstance(v, bool))), None)


def model_facts(product: Product, values: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a model call."""
    model, speed = first(values, ("model",)), first(values, ("speed",))
    return {
        semconv.PROVIDER: product.provider,
        semconv.REQUEST_MODEL: model,
        semconv.RESPONSE_ID: first(values, ("request_id", "response.id")),
        semconv.SPEED: "standard" if speed == "normal" else speed,
        semconv.FINISH_REASONS: [stop] if (stop := first(values, ("stop_reason",))) else None,
        **_usage(product, values),
        **reported(written_number(values.get("cost_usd"))),
    }


def _usage(product: Product, values: Mapping[str, Any]) -> dict[str, int | None]:
    """Claude Code counts cache tokens beside the input; Gemini CLI thoughts beside the output and tool prompts beside the input."""
    whole, out, read = (_count(values, names) for names in (_INPUT, _OUTPUT, _READ))
    wrote = _count(values, ("cache_creation_tokens",))
    thought = _count(values, ("reasoning_token_count", "thoughts_token_count"))
    beside_input, beside_output = 0, 0
    if product.prefix == "claude_code.":
        beside_input = (read or 0) + (wrote or 0)
    elif product.prefix == "gemini_cli.":
        beside_input, beside_output = _count(values, ("tool_token_count",)) or 0, thought or 0
    return {
        semconv.INPUT_TOKENS: None if whole is None else whole + beside_input,
        semconv.OUTPUT_TOKENS: None if out is None else out + beside_output,
        semconv.CACHE_READ_TOKENS: read,
        semconv.CACHE_WRITE_TOKENS: wrote,
        semconv.REASONING_TOKENS: thought,
    }


def _count(values: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    return next((n for n in (count(written_number(values.get(name))) for name in names) if n is not None), None)


def tool_facts(values: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a tool call."""
    return {
        semconv.TOOL_NAME: first(values, ("tool_name", "function_name")) or "unknown",
        semconv.TOOL_CALL_ID: first(values, ("tool_use_id", "call_id")),
        semconv.TOOL_ARGUMENTS: next((written(values[n]) for n in _ARGUMENTS if values.get(n) not in (None, "")), None),
        semconv.TOOL_RESULT: written(values.get("output")),
    }


def failure(kind: Kind, values: Mapping[str, Any]) -> str | None:
    """What went wrong, "" where that is all that is known; None where nothing did."""
    said = first(values, ("error", "error_message", "error.message")) or ""
    success = values.get("success")
    if kind == "tool":
        return said if success is False or (isinstance(success, str) and success.lower() == "false") else None
    return said if kind == "failed_model" else None
