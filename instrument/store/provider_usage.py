"""Token counts out of what a provider said beside its answer.

The Vercel AI SDK hands Anthropic's own `usage` on as JSON text (`ai.response.providerMetadata`). Its own counters leave the cache out of
the input up to version 5 and count it in from version 6 on; the provider's say which is which.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
import pyarrow as pa

from instrument.store.columns import int_of
from instrument.store.group import Group

_MOST: Final = 2**53


def complete(group: Group) -> None:
    """Puts the counts that the provider gave over those of the span."""
    found = [_counts(text) for text in group.text("provider_metadata") or ()]
    if not any(found):
        return
    for column in (
        "input_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "cache_write_5m_tokens",
        "cache_write_1h_tokens",
    ):
        old = group.out.get(column)
        known = group.unknown() if old is None else old.to_pylist()
        new = [_better(column, counts, was) for counts, was in zip(found, known, strict=True)]
        group.out[column] = pa.array(new, pa.int64())


def _better(column: str, counts: dict[str, int], known: int | None) -> int | None:
    if column == "input_tokens" and counts and "input_tokens" not in counts and known is not None:
        # Version 4 says of the cache only how much: the input is what the provider called so, and that leaves it out.
        return known + counts.get("cache_read_tokens", 0) + counts.get("cache_write_tokens", 0)
    return counts.get(column, known)


def _counts(text: str | None) -> dict[str, int]:
    """By column what `text` says of Anthropic's usage; empty where it says nothing."""
    if text is None or '"anthropic"' not in text:
        return {}
    try:
        said = _map(_map(orjson.loads(text)).get("anthropic"))
    except ValueError:
        return {}
    usage = _map(said.get("usage"))
    lifetimes = _map(usage.get("cache_creation"))
    counts = {
        "cache_read_tokens": _count(usage.get("cache_read_input_tokens"), said.get("cacheReadInputTokens")),
        "cache_write_tokens": _count(usage.get("cache_creation_input_tokens"), said.get("cacheCreationInputTokens")),
        "cache_write_5m_tokens": _count(lifetimes.get("ephemeral_5m_input_tokens")),
        "cache_write_1h_tokens": _count(lifetimes.get("ephemeral_1h_input_tokens")),
    }
    uncached = _count(usage.get("input_tokens"))
    if uncached is not None:
        counts["input_tokens"] = uncached + (counts["cache_read_tokens"] or 0) + (counts["cache_write_tokens"] or 0)
    return {name: count for name, count in counts.items() if count is not None}


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(*values: Any) -> int | None:
    counts = (int_of(v) for v in values if v is not None and not isinstance(v, bool))
    return next((c for c in counts if c is not None and 0 <= c < _MOST), None)
