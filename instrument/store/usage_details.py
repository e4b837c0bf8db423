"""Token counts as APIs, frameworks and products write them into a map, whatever their names; and the two such maps of Langfuse's SDK.

Langfuse's counts are buckets beside one another (langfuse.com/docs, "Token & cost tracking"), and so are Anthropic's: the input leaves out
what was read from and written to the cache. OpenAI and LangChain count both inside, and give the details in a map of their own. What a flat
map means, its `total` tells; without one, its details are taken as beside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from instrument.store.columns import int_of, real_of
from instrument.store.group import Group

_INPUT: Final = ("input", "input_tokens", "prompt_tokens", "inputTokens", "promptTokens", "prompt_token_count")
_OUTPUT: Final = (
    "output",
    "output_tokens",
    "completion_tokens",
    "outputTokens",
    "completionTokens",
    "candidates_token_count",
)
_TOTAL: Final = ("total", "total_tokens", "totalTokens", "total_token_count", "tokens")
_WRITTEN: Final = (
    "cache_creation_input_tokens", "input_cache_creation", "prompt_details.cache_write", "cache_write", "cacheWriteInputTokens",
    "cache_creation", "cache_write_tokens", "prompt_cache_creation_tokens",
)  # fmt: skip
_LIFETIMES: Final = {
    "cache_write_5m_tokens": (
        "input_cache_creation_5m", "cache_creation.ephemeral_5m_input_tokens", "ephemeral_5m_input_tokens",
    ),
    "cache_write_1h_tokens": (
        "input_cache_creation_1h", "cache_creation.ephemeral_1h_input_tokens", "ephemeral_1h_input_tokens",
    ),
}  # fmt: skip
_DETAILS: Final[dict[str, tuple[str, ...]]] = {
    "cache_read_tokens": (
        "cache_read_input_tokens", "input_cache_read", "input_cached_tokens", "prompt_details.cache_read",
        "prompt_tokens_details.cached_tokens", "cache_read", "cached_content_token_count", "input_cached", "cacheReadInputTokens",
        "cachedInputTokens", "prompt_cached_tokens", "cached_tokens",
    ),
    "cache_write_tokens": _WRITTEN,
    **_LIFETIMES,
    "reasoning_tokens": (
        "output_reasoning_tokens", "output_reasoning", "completion_details.reasoning", "completion_tokens_details.reasoning_tokens",
        "completion_reasoning_tokens", "reasoning_tokens", "reasoningTokens", "thoughts_token_count", "reasoning",
    ),
}  # fmt: skip
COLUMNS: Final = ("input_tokens", "output_tokens", *_DETAILS)
"""What `counted` may know."""
_PLAIN: Final = frozenset((*_INPUT, *_OUTPUT, *_TOTAL))
_OF_INPUT: Final = ("input_", "prompt_", "cache")
_OF_OUTPUT: Final = ("output_", "completion_", "thoughts", "reasoning")
_WAYS: Final = ((False, False), (True, True), (True, False), (False, True))
"""Whether the details of the input and those of the output are beside it."""


def fill(group: Group) -> None:
    """Fills the columns that no attribute of the span's own does."""
    if "usage_json" in group.shape.text:
        found = [counted(_map(text)) for text in group.text("usage_json") or ()]
        for column in COLUMNS:
            if column not in group.shape.whole:
                group.out[column] = [counts.get(column) for counts in found]
    if "cost_json" in group.shape.text and "cost_usd" not in group.shape.real:
        group.out["reported_usd"] = [_cost(text) for text in group.text("cost_json") or ()]


def counted(usage: Mapping[str, Any]) -> dict[str, int]:
    """Counts by column, cache inside the input and reasoning inside the output; absent where not known.

    Maps within `usage` hold parts of what stands beside them.
    """
    counts = _counts(usage)
    parts = {name: n for value in usage.values() if isinstance(value, dict) for name, n in _counts(value).items()}
    into, out, total = (_first(counts, names) for names in (_INPUT, _OUTPUT, _TOTAL))
    known = {column: _first({**parts, **counts}, names) for column, names in _DETAILS.items()}
    # The lifetimes are parts of what was written.
    counted_already = sum(_LIFETIMES.values(), ()) if _first(counts, _WRITTEN) is not None else ()
    of_input, of_output = (_sum(counts, counted_already, starts) for starts in (_OF_INPUT, _OF_OUTPUT))
    inside = (into or 0) + (out or 0)
    beside = next((w for w in _WAYS if total == inside + of_input * w[0] + of_output * w[1]), (True, True))
    if known["cache_write_tokens"] is None and any(known[c] for c in _LIFETIMES):
        known["cache_write_tokens"] = sum(known[c] or 0 for c in _LIFETIMES)
    found = {
        "input_tokens": (into or 0) + of_input if beside[0] and of_input else into,
        "output_tokens": (out or 0) + of_output if beside[1] and of_output else out,
        **known,
    }
    return {column: n for column, n in found.items() if n is not None}


def _counts(found: Mapping[str, Any]) -> dict[str, int]:
    return {
        name: n
        for name, value in found.items()
        if not isinstance(value, bool) and (n := int_of(value)) is not None and 0 <= n < 2**53
    }


def _cost(text: str | None) -> float | None:
    """US dollars; the parts summed, where there is no total."""
    found = {name: usd for name, value in _map(text).items() if (usd := real_of(value)) is not None and usd >= 0}
    return found.get("total", sum(found.values()) if found else None)


def _map(text: str | None) -> dict[str, Any]:
    """The JSON map in `text`; empty where it is none."""
    try:
        found = orjson.loads(text) if text else None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _first(counts: dict[str, int], names: Iterable[str]) -> int | None:
    return next((counts[name] for name in names if name in counts), None)


def _sum(counts: dict[str, int], leave_out: tuple[str, ...], starts: tuple[str, ...]) -> int:
    return sum(
        n for name, n in counts.items() if name not in _PLAIN and name not in leave_out and name.startswith(starts)
    )
