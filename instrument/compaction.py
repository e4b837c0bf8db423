"""A conversation that outgrows its window: where it may be cut, what replaces the part before, and what to do without a model.

All are pure functions over the plain dicts of the Messages API. A valid list (`instrument.messages.problems`) stays valid, what is
kept stays word for word, and a call is never parted from its result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from instrument.messages import Block, Message, blocks, is_blank, is_server_result, turns
from instrument.size_estimates import as_json
from instrument.spill import middle_cut
from instrument.summaries import summary_request

__all__ = [
    "binds_thinking",
    "compacted",
    "context_edits",
    "cut_at",
    "overflow",
    "stated_window",
    "summary_request",
    "without_old_results",
    "without_thinking",
]

SUMMARY_HEAD: Final = "[What happened before, in a summary. The messages it was made from are no longer shown.]"
_PROMPT_CHARS: Final = 100_000
"""A first prompt longer than this is cut in the middle when the conversation is compacted."""
_LONG_RESULT_CHARS: Final = 200
_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})


def cut_at(messages: Sequence[Mapping[str, Any]], keep_turns: int) -> int | None:
    """Index of the first message that stays; all before it may be replaced. None where nothing can be.

    At least the last `keep_turns` turns stay, with the prompt that comes right before them. It may be more: a server tool is not
    parted from its result, and where the cut is inside of a loop of tool calls that began with thinking, what is kept begins with
    thinking too, since the API may ask for it (Anthropic's page "Extended thinking").
    """
    found = turns(messages)
    for number in range(len(found) - keep_turns, 0, -1):
        start = found[number].start if number < len(found) else len(messages)
        while start and not _answers_tools(messages[start - 1]) and messages[start - 1].get("role") != "assistant":
            start -= 1
        if _may_start(messages, start):
            return start
    return None


def compacted(messages: Sequence[Mapping[str, Any]], cut: int, summary: str) -> list[Message]:
    """The list with everything before `cut` replaced by `summary`; the list as it is where that would be no smaller.

    Word for word remain: the first prompt (cut in the middle above 100,000 characters), the last prompt before the cut, system
    messages, and all from `cut` on. An earlier summary gives way to the new one.
    """
    unchanged = [dict(message) for message in messages]
    old = messages[:cut]
    prompts = [message for message in old if _is_prompt(message)]
    first = [block for block in blocks(prompts[0]) if not _is_summary(block)] if prompts else []
    opening = [*map(_shortened, first), {"type": "text", "text": f"{SUMMARY_HEAD}\n{summary.strip() or '(Nothing.)'}"}]
    kept: list[Message] = [{"role": "user", "content": opening}]
    kept += [dict(message) for message in prompts[1:][-1:]]
    kept += [dict(message) for message in old if message.get("role") == "system"]
    return [*kept, *unchanged[cut:]] if len(as_json(kept)) < len(as_json(list(old))) else unchanged


def without_old_results(messages: Sequence[Mapping[str, Any]], keep_turns: int) -> list[Message]:
    """The list with the tool results before the last `keep_turns` turns replaced by a line each, when longer than 200 characters.

    Thinking of those turns goes too, but not that of the loop of tool calls that is still going on, which the API wants back.
    """
    found = turns(messages)
    recent = found[-keep_turns].start if 0 < keep_turns <= len(found) else 0 if keep_turns else len(messages)
    prompt = max((at for at, message in enumerate(messages) if _is_prompt(message)), default=0)
    return [
        _emptied(message, with_thinking=at >= prompt) if at < recent else dict(message)
        for at, message in enumerate(messages)
    ]


def binds_thinking(model: str) -> bool:
    """Whether the model refuses thinking that comes back behind anything that was changed: a message, the system prompt, a tool.

    For them `without_thinking` belongs to every compaction, or the next request is a 400 that no retry cures (Anthropic's pages
    "Preserved thinking" and "Fix a thinking block bound to a different conversation": Fable 5.1, Opus 5.5 and later models).
    """
    return _BINDS_THINKING.search(model) is not None


def without_thinking(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """The list without thinking. All of it goes: a block that is missing makes those behind it invalid as well.

    Not for models with thinking of `type: enabled`, which ask for that of the loop that is going on.
    """
    kept = [_unthought(message) for message in messages]
    return [message for message in kept if not message["content"] or not all(map(is_blank, blocks(message)))]


def context_edits(*, trigger_tokens: int, keep_tool_uses: int) -> dict[str, Any]:
    """What to add to a request of `client.beta.messages` so that the API clears old tool results itself.

    From `trigger_tokens` input tokens on, all but the last `keep_tool_uses` are cleared (`BetaClearToolUses20250919EditParam` and
    the beta's name as in the Anthropic SDK 2.12). The messages of the program stay whole.
    """
    edit = {
        "type": "clear_tool_uses_20250919",
        "trigger": {"type": "input_tokens", "value": trigger_tokens},
        "keep": {"type": "tool_uses", "value": keep_tool_uses},
    }
    return {"context_management": {"edits": [edit]}, "betas": ["context-management-2025-06-27"]}


_BINDS_THINKING: Final = re.compile(
    r"(?:(?:fable|mythos)-5-[1-9]|(?:opus|sonnet|haiku)-5-[5-9]|(?:fable|mythos|opus|sonnet|haiku)-(?:[6-9]|\d\d))(?:\D|$)"
)
_TOO_LONG: Final = re.compile(r"prompt is too long(?:: \d+ tokens > (\d+) maximum)?")
_TOO_LONG_WITH_OUTPUT: Final = re.compile(
    r"input length and `?max_tokens`? exceed context limit(?:: \d+ \+ \d+ > (\d+))?"
)


def overflow(error: BaseException | int, message: str = "") -> bool:
    """Whether an error of the API says that the prompt does not fit: an exception of the SDK, or a status and its message.

    Known are status 413, and, with 400 or in a stream, the two sentences that the API has for it: one recorded, the other in
    public issues (docker/docker-agent#569).
    """
    status = error if isinstance(error, int) else getattr(error, "status_code", None)
    said = message if isinstance(error, int) else str(error)
    if status == 413:
        return True
    return status in {None, 200, 400} and any(known.search(said) for known in (_TOO_LONG, _TOO_LONG_WITH_OUTPUT))


def stated_window(message: str) -> int | None:
    """The window in tokens that such an error names, None where it names none."""
    found = _TOO_LONG.search(message) or _TOO_LONG_WITH_OUTPUT.search(message)
    return int(found[1]) if found and found[1] else None


def _answers_tools(message: Mapping[str, Any]) -> bool:
    return any(block.get("type") == "tool_result" for block in blocks(message))


def _is_prompt(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "user" and not _answers_tools(message)


def _may_start(messages: Sequence[Mapping[str, Any]], start: int) -> bool:
    kept = messages[start:]
    asked = {block.get("id") for message in kept for block in blocks(message)}
    answered = {block.get("tool_use_id") for message in kept for block in blocks(message) if is_server_result(block)}
    if not answered <= asked:
        return False
    if not kept or messages[start].get("role") != "assistant":
        return True
    loop = max((at for at in range(start) if _is_prompt(messages[at])), default=-1) + 1
    return not _begins_with_thinking(messages[loop]) or _begins_with_thinking(messages[start])


def _begins_with_thinking(message: Mapping[str, Any]) -> bool:
    return any(block.get("type") in _THOUGHTS for block in blocks(message)[:1])


def _is_summary(block: Mapping[str, Any]) -> bool:
    return block.get("type") == "text" and str(block.get("text")).startswith(SUMMARY_HEAD)


def _shortened(block: Block) -> Block:
    text = block.get("text")
    if block.get("type") != "text" or not isinstance(text, str) or len(text) <= _PROMPT_CHARS:
        return block
    return {**block, "text": middle_cut(text, _PROMPT_CHARS)}


def _emptied(message: Mapping[str, Any], *, with_thinking: bool) -> Message:
    content = [_noted(block) if block.get("type") == "tool_result" else block for block in blocks(message)]
    emptied = {**message, "content": content} if content != blocks(message) else dict(message)
    spoken = emptied if with_thinking else _unthought(emptied)
    return emptied if all(map(is_blank, blocks(spoken))) else spoken


def _unthought(message: Mapping[str, Any]) -> Message:
    content = [block for block in blocks(message) if block.get("type") not in _THOUGHTS]
    return {**message, "content": content} if content != blocks(message) else dict(message)


def _noted(block: Block) -> Block:
    size = len(as_json(block.get("content") or ""))
    if size <= _LONG_RESULT_CHARS:
        return block
    return {**block, "content": f"[This result, {size} characters long, was removed to save context.]"}
