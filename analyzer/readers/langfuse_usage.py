"""Usage and cost of Langfuse's generations, whatever names and conventions the integration that recorded them followed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from analyzer.readers.agent_runs import reported
from analyzer.readers.loose import count, mapping, written_number
from analyzer.readers.openai_messages import decoded
from instrument import semconv

_BUCKETS: Final[dict[str, tuple[str, ...]]] = {
    semconv.CACHE_READ_TOKENS: (
        "cache_read_input_tokens", "input_cache_read", "input_cached_tokens", "prompt_details.cache_read",
        "prompt_tokens_details.cached_tokens", "cache_read", "cached_content_token_count", "input_cached", "cacheReadInputTokens",
        "cached_tokens",
    ),
    semconv.CACHE_WRITE_TOKENS: (
        "cache_creation_input_tokens", "input_cache_creation", "prompt_details.cache_write", "cache_write", "cacheWriteInputTokens",
    ),
    semconv.CACHE_WRITE_5M_TOKENS: ("input_cache_creation_5m", "cache_creation.ephemeral_5m_input_tokens"),
    semconv.CACHE_WRITE_1H_TOKENS: ("input_cache_creation_1h", "cache_creation.ephemeral_1h_input_tokens"),
    semconv.REASONING_TOKENS: (
        "output_reasoning", "output_reasoning_tokens", "completion_details.reasoning", "completion_tokens_details.reasoning_tokens",
        "reasoning_tokens", "thoughts_token_count",
    ),
}  # fmt: skip
_INPUT: Final = ("input", "input_tokens", "prompt_tokens", "promptTokens", "prompt_token_count")
_OUTPUT: Final = ("output", "output_tokens", "completion_tokens", "completionTokens", "candidates_token_count")
_TOTAL: Final = ("total", "total_tokens", "totalTokens", "total_token_count")
_OF_OUTPUT: Final = ("output_", "completion_", "thoughts", "reasoning")
_OF_INPUT: Final = ("input_", "prompt_", "cache", "cached")


def usage(found: dict[str, Any]) -> dict[str, Any]:
    """Token counts of one observation by our names, cache inside the input and reasoning inside the output; absent where not known."""
    counts = _counts(found)
    whole_input, whole_output, total = (_first(counts, names) for names in (_INPUT, _OUTPUT, _TOTAL))
    plain = {*_INPUT, *_OUTPUT, *_TOTAL}
    if any(name in counts for name in _BUCKETS[semconv.CACHE_WRITE_TOKENS]):  # the lifetimes are parts of it
        plain.update(_BUCKETS[semconv.CACHE_WRITE_5M_TOKENS], _BUCKETS[semconv.CACHE_WRITE_1H_TOKENS])
    beside_input = _sum(counts, plain, _OF_INPUT)
    beside_output = _sum(counts, plain, _OF_OUTPUT)
    inside = (whole_input or 0) + (whole_output or 0)
    add_input, add_output = _beside(total, inside, beside_input, beside_output)
    values = {
        semconv.INPUT_TOKENS: (whole_input or 0) + beside_input if add_input else whole_input,
        semconv.OUTPUT_TOKENS: (whole_output or 0) + beside_output if add_output else whole_output,
        **{name: _first(counts, names) for name, names in _BUCKETS.items()},
    }
    by_lifetime = [values[n] for n in (semconv.CACHE_WRITE_5M_TOKENS, semconv.CACHE_WRITE_1H_TOKENS)]
    if values[semconv.CACHE_WRITE_TOKENS] is None and any(by_lifetime):
        values[semconv.CACHE_WRITE_TOKENS] = sum(v or 0 for v in by_lifetime)
    return {name: value for name, value in values.items() if value is not None}


def cost(found: dict[str, Any]) -> dict[str, Any]:
    """What the call cost by Langfuse's account, which is the recording program's where it gave one."""
    details = mapping(decoded(found.get("costDetails")))
    parts = [a for a in map(written_number, details.values()) if a is not None]
    known = [
        written_number(v) for v in (details.get("total"), found.get("totalCost"), found.get("calculatedTotalCost"))
    ]
    return reported(next((v for v in known if v), sum(parts)))


def _beside(total: int | None, inside: int, of_input: int, of_output: int) -> tuple[bool, bool]:
    """Whether the details of the input and those of the output are counted beside it (Langfuse's own way) or inside: the total tells."""
    ways = [(False, False), (True, True), (True, False), (False, True)]
    for way in ways:
        if total == inside + of_input * way[0] + of_output * way[1]:
            return way[0] and of_input > 0, way[1] and of_output > 0
    return of_input > 0, of_output > 0


def _counts(found: dict[str, Any]) -> dict[str, int]:
    """The counts of an observation. Nought in and nought out is how Langfuse writes that it knows none."""
    older = {"input": found.get("inputUsage"), "output": found.get("outputUsage"), "total": found.get("totalUsage")}
    oldest = {
        "input": found.get("promptTokens"),
        "output": found.get("completionTokens"),
        "total": found.get("totalTokens"),
    }
    for counts in (found.get("usageDetails"), found.get("usage"), older, oldest):
        kept = {
            name: number
            for name, value in mapping(decoded(counts)).items()
            if (number := count(written_number(value))) is not None
        }
        if any(kept.values()):
            # Only what a program recorded itself says that there was none of something.
            return kept if counts is not older and counts is not oldest else {n: v for n, v in kept.items() if v}
    return {}


def _first(counts: dict[str, int], names: Iterable[str]) -> int | None:
    return next((counts[name] for name in names if name in counts), None)


def _sum(counts: dict[str, int], leave_out: set[str], starts: tuple[str, ...]) -> int:
    return sum(n for name, n in counts.items() if name not in leave_out and name.startswith(starts))
