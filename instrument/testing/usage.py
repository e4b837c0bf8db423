"""How many tokens a scripted reply reports: what the test says, else an estimate from the sizes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# A rule of thumb for English in JSON, not a tokeniser. Recorded requests lie between 0.5 and 11, because the API
# adds a hidden prompt for tools and counts images by their pixels.
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one reply. `None` is estimated at about 4 characters per token from the size of the request
    (`input_tokens`) or of the reply (`output_tokens`, `thinking_tokens`).

    As on the wire, the prompt is the sum of `input_tokens` (neither read from nor written to a cache),
    `cache_read_tokens`, `cache_write_5m_tokens` and `cache_write_1h_tokens`. The cached parts come off an estimated
    `input_tokens`. Large numbers given here simulate a long context without large content.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    thinking_tokens: int | None = None

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompt read from a cache or written to one."""
        return self.cache_read_tokens + self.cache_write_5m_tokens + self.cache_write_1h_tokens


def estimated_tokens(value: object) -> int:
    """About how many tokens `value` (a request body, a list of messages or blocks) takes, at least 1.

    The length of its compact JSON divided by 4.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return max(1, len(text) // CHARACTERS_PER_TOKEN)


def usage_on_the_wire(usage: Usage, *, prompt_tokens: int, content: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`usage` of a whole message with the keys and in the order that the API sends, estimates filled in."""
    thinking = [block for block in content if block["type"] == "thinking"]
    wire: dict[str, Any] = {
        "input_tokens": _given(usage.input_tokens, max(0, prompt_tokens - usage.cached_tokens)),
        "cache_creation_input_tokens": usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "output_tokens": _given(usage.output_tokens, estimated_tokens(content)),
    }
    if thinking:
        wire["output_tokens_details"] = {"thinking_tokens": _given(usage.thinking_tokens, estimated_tokens(thinking))}
    return wire | {"service_tier": "standard", "inference_geo": "not_available"}


def context_tokens(wire: Mapping[str, Any]) -> int:
    """The whole context after a message with this usage on the wire: its prompt, cached or not, and its output."""
    keys = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    return sum(int(wire[key]) for key in keys)


def _given(tokens: int | None, estimate: int) -> int:
    return estimate if tokens is None else tokens
