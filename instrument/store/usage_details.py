"""Token counts and cost that the Langfuse SDK writes as JSON (`langfuse.observation.usage_details` and `.cost_details`).

Its counts are buckets beside one another (langfuse.com/docs, "Token & cost tracking"): the input leaves out what was read from and written
to the cache, the output leaves out reasoning. Programs that pass on what OpenAI's API said count both inside; `total`, where it is
given, tells which.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from instrument.store.columns import int_of, real_of
from instrument.store.group import Group

_INPUT: Final = ("input", "input_tokens", "prompt_tokens")
_OUTPUT: Final = ("output", "output_tokens", "completion_tokens")
_TOTAL: Final = ("total", "total_tokens")
_DETAILS: Final[dict[str, tuple[str, ...]]] = {
    "cache_read_tokens": ("cache_read_input_tokens", "input_cache_read", "input_cached_tokens", "cached_tokens"),
    "cache_write_tokens": ("cache_creation_input_tokens", "input_cache_creation"),
    "reasoning_tokens": ("output_reasoning_tokens", "output_reasoning", "reasoning_tokens"),
}
_PLAIN: Final = (*_INPUT, *_OUTPUT, *_TOTAL)
_OF_INPUT: Final = ("input_", "prompt_", "cache")
_OF_OUTPUT: Final = ("output_", "completion_", "reasoning")


def fill(group: Group) -> None:
    """Fills the columns that no attribute of the span's own does."""
    if "usage_json" in group.shape.text:
        counted = [_usage(text) for text in group.text("usage_json") or ()]
        for column in ("input_tokens", "output_tokens", *_DETAILS):
            if column not in group.shape.whole:
                group.out[column] = [counts.get(column) for counts in counted]
    if "cost_json" in group.shape.text and "cost_usd" not in group.shape.real:
        group.out["reported_usd"] = [_cost(text) for text in group.text("cost_json") or ()]


def _usage(text: str | None) -> dict[str, int]:
    """Counts by column, cache inside the input and reasoning inside the output."""
    counts = {name: n for name, value in _flat(text).items() if (n := int_of(value)) is not None and n >= 0}
    into, out, total = (_first(counts, names) for names in (_INPUT, _OUTPUT, _TOTAL))
    beside_input, beside_output = _sum(counts, _OF_INPUT), _sum(counts, _OF_OUTPUT)
    inside = total is not None and total == (into or 0) + (out or 0)
    found = {
        "input_tokens": into if inside or into is None else into + beside_input,
        "output_tokens": out if inside or out is None else out + beside_output,
        **{column: _first(counts, names) for column, names in _DETAILS.items()},
    }
    return {column: count for column, count in found.items() if count is not None}


def _cost(text: str | None) -> float | None:
    """US dollars; the parts summed, where there is no total."""
    found = {name: usd for name, value in _flat(text).items() if (usd := real_of(value)) is not None and usd >= 0}
    return found.get("total", sum(found.values()) if found else None)


def _flat(text: str | None) -> dict[str, Any]:
    """The JSON map in `text`, maps within it laid flat by their innermost names; empty where it is none."""
    try:
        found = orjson.loads(text) if text else None
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    nested = {k: v for value in found.values() if isinstance(value, dict) for k, v in value.items()}
    return {name: value for name, value in {**nested, **found}.items() if not isinstance(value, (dict, bool))}


def _first(counts: dict[str, int], names: tuple[str, ...]) -> int | None:
    return next((counts[name] for name in names if name in counts), None)


def _sum(counts: dict[str, int], starts: tuple[str, ...]) -> int:
    return sum(count for name, count in counts.items() if name not in _PLAIN and name.startswith(starts))
