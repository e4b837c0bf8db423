"""Token counts under the names of the GenAI conventions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from instrument import semconv
from instrument.store.usage_details import counted

_ATTRIBUTES: Final = {
    "input_tokens": semconv.INPUT_TOKENS,
    "output_tokens": semconv.OUTPUT_TOKENS,
    "cache_read_tokens": semconv.CACHE_READ_TOKENS,
    "cache_write_tokens": semconv.CACHE_WRITE_TOKENS,
    "cache_write_5m_tokens": semconv.CACHE_WRITE_5M_TOKENS,
    "cache_write_1h_tokens": semconv.CACHE_WRITE_1H_TOKENS,
    "reasoning_tokens": semconv.REASONING_TOKENS,
}


def by_attribute(usage: Mapping[str, Any]) -> dict[str, int]:
    """What a map of token counts says, by attribute: cache inside the input, reasoning inside the output; absent where not known."""
    return {_ATTRIBUTES[column]: n for column, n in counted(usage).items()}
