"""Tokens of a request to `/v1/messages` without a tokenizer: an estimate, and a bound for what must be reserved.

`python -m benchmarks.estimates` measures both on recorded exchanges. Of a request that continues an answered one only what is new
is looked at, so that the cost of a turn does not grow with the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from instrument import size_bounds, size_estimates
from instrument.messages import unmarked
from instrument.size_bounds import UnboundedError

_HEAD: Final = ("model", "tools", "thinking", "output_format", "output_config")


def estimated_tokens(request: Mapping[str, Any]) -> int:
    """About how many input tokens the body of a request takes, cached ones included; at least 1.

    Rougher than the rest are PDFs, what is given by URL or file, and tools that run on the server: their results count as input,
    and nobody knows them before.
    """
    return max(1, round(size_estimates.estimate(request)))


def estimated_more(
    previous_request: Mapping[str, Any],
    previous_usage_input_tokens: int,
    previous_output_tokens: int,
    request: Mapping[str, Any],
) -> int:
    """As `estimated_tokens`, from what the API said of the previous request, where `request` continues that one.

    `previous_usage_input_tokens` are all input tokens of its answer: uncached, read from a cache and written to one. To continue
    means: the same messages, the answer, and more. Where `request` does not (another model, other tools, changed messages), or
    the answer was not complete, this is `estimated_tokens(request)`.
    """
    new = _new_messages(previous_request, request)
    if new is None:
        return estimated_tokens(request)
    tokens = previous_usage_input_tokens + size_estimates.estimate_more(request, new, previous_output_tokens)
    tokens += size_estimates.tool_prompt(request) - size_estimates.tool_prompt(previous_request)
    return max(1, round(tokens))


def at_most_tokens(request: Mapping[str, Any]) -> int | None:
    """More input tokens than this are not charged for the body of a request; None where nothing bounds them.

    None means: an image or document by URL or file, a PDF, a tool or anything else that runs on the server, or a kind of block
    that this version does not know. A request above the model's window is refused, so the window is a bound too.
    """
    try:
        return size_bounds.head_at_most(request) + size_bounds.messages_at_most(request.get("messages") or ())
    except UnboundedError:
        return None


def at_most_more(
    previous_request: Mapping[str, Any],
    previous_usage_input_tokens: int,
    previous_output_tokens: int,
    request: Mapping[str, Any],
) -> int | None:
    """As `at_most_tokens`, and much closer, where `request` continues the previous one; see `estimated_more`."""
    new = _new_messages(previous_request, request)
    # What the server's context editing left out of the previous prompt may be in this one.
    if new is None or request.get("context_management") or previous_request.get("context_management"):
        return at_most_tokens(request)
    answered = bool(new) and new[0].get("role") == "assistant"
    try:
        size_bounds.check_head(request)
        most = previous_usage_input_tokens + size_bounds.messages_at_most(new[answered:])
    except UnboundedError:
        return None
    if answered:
        most += previous_output_tokens + size_bounds.overhead_at_most(new[0])
    if previous_request.get("tool_choice") != request.get("tool_choice"):
        most += size_bounds.TOOL_PROMPT
    return most


def _new_messages(previous: Mapping[str, Any], request: Mapping[str, Any]) -> Sequence[Mapping[str, Any]] | None:
    """The messages behind those of `previous`; None where `request` is no continuation of it."""
    if any(previous.get(key) != request.get(key) for key in _HEAD):
        return None
    old, now = previous.get("messages") or (), request.get("messages") or ()
    if len(now) < len(old) or unmarked(previous.get("system")) != unmarked(request.get("system")):
        return None
    # Mostly the very same objects, which two lists find out fast. A marker of the cache may have moved on: compared without it only then.
    same = list(old) == list(now[: len(old)]) or all(
        a is b or a == b or unmarked(a) == unmarked(b) for a, b in zip(old, now, strict=False)
    )
    return now[len(old) :] if same else None
