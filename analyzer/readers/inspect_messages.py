"""Messages, tools and usage of Inspect, in GenAI form; and what its logs keep apart, put back in its place."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, Final

from analyzer.readers.agent_runs import Message, answered, asked, reported, said, words, written
from analyzer.readers.loose import amount, count, listing, mapping, text
from instrument import semconv

_ATTACHED: Final = ("attachment://", "tc://")


class Attachments:
    """Texts that a sample holds once and names by their digest wherever they stand.

    A file may name a long text so often that no memory would hold it: beyond `limit` characters in one request, names stay names.
    """

    def __init__(self, found: Any, *, limit: int = 64 << 20) -> None:
        self._texts = mapping(found)
        self._limit, self._left = limit, limit
        self.unresolved = 0
        """Names that stand as they are: of texts that are not there, or that were too many."""

    def renew(self) -> None:
        """Begins another request."""
        self._left = self._limit

    def put(self, value: Any) -> Any:
        """`value` with the texts in it in the place of their names."""
        if isinstance(value, str):
            return self._text(value) if value.startswith(_ATTACHED) else value
        if isinstance(value, list):
            return [self.put(v) for v in value]
        if isinstance(value, dict):
            return {k: self.put(v) for k, v in value.items()}
        return value

    def _text(self, name: str) -> str:
        found = self._texts.get(name.split("://", 1)[1])
        if not isinstance(found, str) or len(found) > self._left:
            self.unresolved += 1
            return name
        self._left -= len(found)
        return found


def pooled(event: dict[str, Any], pool: list[Any]) -> list[Any]:
    """The messages of a request, which may be given as ranges of the pool of all messages of the sample; each of them once."""
    ranges = [[count(n) for n in listing(found)] for found in listing(event.get("input_refs"))]
    pairs = [(r[0], r[1]) for r in ranges if len(r) == 2]
    named = (place for a, b in pairs if a is not None and b is not None for place in range(a, min(b, len(pool))))
    # A file may name the same messages for ever; a request that holds all of them names each once.
    places = dict.fromkeys(islice(named, 4 * len(pool)))
    return [*listing(event.get("input")), *(pool[place] for place in places)]


def message(found: dict[str, Any], put: Callable[[Any], Any]) -> Message:
    """One message."""
    role = text(found.get("role")) or "unknown"
    if role == "tool":
        failed = mapping(found.get("error"))
        return said("tool", answered(text(found.get("tool_call_id")), put(found.get("content")), failed=bool(failed)))
    calls = [mapping(c) for c in listing(found.get("tool_calls"))]
    requests = [asked(text(c.get("id")), c.get("function"), put(c.get("arguments"))) for c in calls]
    return said(role, *content(put(found.get("content"))), *requests)


def content(value: Any) -> list[Message]:
    """The parts of a message: a text, or a list of blocks. Pictures and the like keep their type only, as everywhere."""
    if isinstance(value, str):
        return [words(value)] if value else []
    parts: list[Message] = []
    for block in map(mapping, listing(value)):
        kind = block.get("type")
        if kind == "text":
            parts.append(words(text(block.get("text")) or ""))
        elif kind == "reasoning":
            parts.append({"type": "reasoning", "content": text(block.get("reasoning")) or ""})
        else:
            parts.append({"type": f"inspect_{kind}"})
    return parts


def tools(found: Any, put: Callable[[Any], Any]) -> list[dict[str, Any]]:
    """Declared tools."""
    return [
        {"type": "function", **put({k: t.get(k) for k in ("name", "description", "parameters")})} for t in _all(found)
    ]


def _all(found: Any) -> list[dict[str, Any]]:
    return [mapping(t) for t in listing(found)]


def usage(found: Any) -> dict[str, Any]:
    """Token counts by our names, and what Inspect says they cost.

    Whether cached tokens are inside the input or beside it depends on the provider, as it does there: the total tells. Without one, they
    can only be beside it where they are more than it.
    """
    counts = {name: count(value) for name, value in mapping(found).items()}
    given, output, total = counts.get("input_tokens"), counts.get("output_tokens"), counts.get("total_tokens")
    if given is None and output is None:
        return {}
    read, wrote = counts.get("input_tokens_cache_read"), counts.get("input_tokens_cache_write")
    cached = (read or 0) + (wrote or 0)
    within = cached <= (given or 0) if total is None else total < (given or 0) + (output or 0) + cached
    values = {
        semconv.INPUT_TOKENS: (given or 0) + (0 if within else cached),
        semconv.OUTPUT_TOKENS: output,
        semconv.CACHE_READ_TOKENS: read,
        semconv.CACHE_WRITE_TOKENS: wrote,
        semconv.REASONING_TOKENS: counts.get("reasoning_tokens"),
    }
    known = {name: value for name, value in values.items() if value is not None}
    return {**known, **reported(amount(mapping(found).get("total_cost")))}


def failure(error: Any) -> str | None:
    """What went wrong, of a tool call's or a sample's error."""
    if isinstance(error, str):
        return error or None
    found = mapping(error)
    return (text(found.get("message")) or written(found)) if found else None
