"""How far the estimates of `instrument.sizes` are off: `python -m benchmarks.estimates [FILE]`.

The truth is what the API said in recorded exchanges: those of the package, or those in a file of the same form.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from instrument.messages import blocks
from instrument.sizes import at_most_more, at_most_tokens, estimated_more, estimated_tokens
from instrument.testing import Exchange, load_exchanges, recorded_exchanges


@dataclass(frozen=True, slots=True)
class Known:
    """A request and what the API counted: input tokens, cached ones included, and output tokens."""

    request: Mapping[str, Any]
    input_tokens: int
    output_tokens: int
    source: str


@dataclass(frozen=True, slots=True)
class Row:
    """Input tokens of one request: as counted, as estimated, and at most."""

    counted: int
    estimated: int
    at_most: int | None


def main() -> int:
    """Prints both tables."""
    exchanges = load_exchanges(sys.argv[1]) if sys.argv[1:] else recorded_exchanges()
    found = list(known(exchanges))
    print(f"Input tokens of {len(found)} distinct recorded requests, against what the API counted.")
    print(_table("whole requests", ((kind(one.request), whole(one)) for one in found)))
    print(
        _table(
            "requests that continue one before", ((kind(now.request), more(old, now)) for old, now in continued(found))
        )
    )
    return 0


def known(exchanges: Iterable[Exchange]) -> Iterator[Known]:
    """The messages requests among `exchanges` that were answered with a count, each distinct one once."""
    seen = set()
    for exchange in exchanges:
        body = exchange.request_body
        if exchange.status != 200 or not exchange.endpoint.startswith("/v1/messages") or not isinstance(body, dict):
            continue
        key, usage = json.dumps(body, sort_keys=True), _usage(exchange)
        names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        counted = sum(usage.get(name) or 0 for name in names)
        if "messages" in body and counted and key not in seen:
            seen.add(key)
            yield Known(body, counted, usage.get("output_tokens") or 0, exchange.source)


def continued(found: Iterable[Known]) -> Iterator[tuple[Known, Known]]:
    """Neighbours of one recording of which the second holds the first, its answer, and more."""
    for old, now in pairwise(found):
        before, messages = old.request["messages"], now.request["messages"]
        same_recording = old.source.rsplit("#", 1)[0] == now.source.rsplit("#", 1)[0]
        answered = len(messages) > len(before) and messages[len(before)]["role"] == "assistant"
        if same_recording and old.output_tokens and answered and messages[: len(before)] == before:
            yield old, now


def whole(one: Known) -> Row:
    """A request judged alone."""
    return Row(one.input_tokens, estimated_tokens(one.request), at_most_tokens(one.request))


def more(old: Known, now: Known) -> Row:
    """A request judged by the one before it."""
    before = (old.request, old.input_tokens, old.output_tokens, now.request)
    return Row(now.input_tokens, estimated_more(*before), at_most_more(*before))


def kind(request: Mapping[str, Any]) -> str:
    """What makes a request easy or hard to judge; the hardest that it has."""
    content = [block for message in request["messages"] for block in blocks(message)]
    content += [part for block in content if block.get("type") == "tool_result" for part in blocks(block)]
    kinds = {str(block.get("type")) for block in content}
    tools = request.get("tools") or ()
    remote = any(tool.get("type", "custom") != "custom" for tool in tools)
    if remote or any(name.startswith(("server", "mcp", "compact")) for name in kinds | set(request)):
        return "server tools"
    if request.get("container") or request.get("context_management"):
        return "server tools"
    sources = {
        (block.get("source") or {}).get("type") for block in content if block.get("type") in {"image", "document"}
    }
    if sources & {"url", "file"}:
        return "by URL or file"
    return "documents" if "document" in kinds else "images" if "image" in kinds else "tools" if tools else "text"


def _usage(exchange: Exchange) -> dict[str, Any]:
    if not exchange.streaming:
        answer = json.loads(exchange.response_body)
        return answer.get("usage") or answer  # counting tokens has them on top
    usage: dict[str, Any] = {}
    for line in exchange.response_body.splitlines():
        if line.startswith("data:") and '"usage"' in line:
            event = json.loads(line[5:])
            usage |= (event.get("message") or event).get("usage") or {}
    return usage


def _table(title: str, rows: Iterable[tuple[str, Row]]) -> str:
    groups: dict[str, list[Row]] = defaultdict(list)
    for name, row in rows:
        groups[name].append(row)
    lines = [
        f"\n{title:<34} {'n':>4}  {'error: median':>13} {'90th pct':>8}  {'bounded':>7} {'median bound':>12} {'least':>5}"
    ]
    for name, found in sorted(groups.items(), key=lambda group: -len(group[1])):
        errors = sorted(abs(row.estimated - row.counted) / row.counted for row in found)
        bounds = [row.at_most / row.counted for row in found if row.at_most is not None]
        bound = f"{statistics.median(bounds):11.1f}x {min(bounds):4.2f}x" if bounds else f"{'-':>12} {'-':>5}"
        ninth = errors[round(0.9 * (len(errors) - 1))]
        lines.append(
            f"{name:<34} {len(found):4}  {statistics.median(errors):13.1%} {ninth:8.1%}  {len(bounds):7} {bound}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
