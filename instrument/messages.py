"""The rules that the Messages API has for a list of messages, and the smallest change that makes a list follow them again.

Sources: the types of the Anthropic SDK 2.12 (`anthropic/types`); Anthropic's pages "Tool use", "Extended thinking", "Prompt
caching", "Mid-conversation system messages" and "Stop reasons"; refusals quoted in public issues (anthropics/claude-code#8210,
#23440 and #64383, LibreChat-AI/agents#124, tailcallhq/forgecode#1872, kaitranntt/ccs#113, AnswerDotAI/lisette#108); and some 740
recorded requests that the API accepted, none of which may break a rule here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

Message = dict[str, Any]
Block = dict[str, Any]

MOST_MARKERS: Final = 4
"""Blocks with `cache_control` that one request may have, those of the system prompt and the tools included."""
INTERRUPTED: Final = "The run was interrupted before this tool call ended; whether it took effect is not known."
_SERVER_USES: Final = frozenset({"server_tool_use", "mcp_tool_use"})
_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})
_ROLES: Final = frozenset({"user", "assistant", "system"})


def blocks(message: Mapping[str, Any]) -> list[Block]:
    """The content of a message (or of a tool result, or a system prompt) as blocks; a text alone is a list of one."""
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content or () if isinstance(block, dict)]


def is_server_result(block: Mapping[str, Any]) -> bool:
    """Whether a block is what a tool on the server gave back."""
    kind = str(block.get("type"))
    return kind.endswith("_tool_result") and kind != "tool_result"


def is_blank(block: Mapping[str, Any]) -> bool:
    """Whether a block is a text of nothing but white space."""
    return block.get("type") == "text" and not str(block.get("text") or "").strip()


def opens_a_turn(message: Mapping[str, Any]) -> bool:
    """Whether a person (or the program for them) says something, and not only tools: the loop of tool calls ends here."""
    return message.get("role") == "user" and any(block.get("type") != "tool_result" for block in blocks(message))


def unmarked(value: Any) -> Any:
    """The value without its markers of the prompt cache."""
    if isinstance(value, Mapping):
        return {key: unmarked(part) for key, part in value.items() if key != "cache_control"}
    return [unmarked(item) for item in value] if isinstance(value, list | tuple) else value


def problems(messages: Sequence[Mapping[str, Any]], *, tools: bool = True) -> list[str]:
    """Why the API would refuse these messages, a sentence each with the index of the message; empty if it would not.

    `tools` says whether the request declares tools. Not judged is what depends on the model: whether it lets the program begin
    its answer, and whether the thinking that came with a tool call is still there, since a list does not show what is gone.
    """
    if not messages:
        return ["There is no message."]
    return [*_shape(messages), *_pairs(messages, tools), *_server_pairs(messages), *_markers(messages)]


def turns(messages: Sequence[Mapping[str, Any]]) -> list[slice]:
    """The turns in order: each an answer of the model (or several in a row, after a pause) and the messages with the results of
    its tools. Prompts lie outside of them."""
    found: list[slice] = []
    at = 0
    while at < len(messages):
        start = at
        while at < len(messages) and messages[at].get("role") == "assistant":
            at += 1
        if at == start:
            at += 1
            continue
        while at < len(messages) and any(block.get("type") == "tool_result" for block in blocks(messages[at])):
            at += 1
        found.append(slice(start, at))
    return found


def repaired(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """The list with the smallest changes that make it valid again after a run was cut or an answer arrived in part.

    A tool call without a result gets the error `INTERRUPTED`; a result without its call stays as what it says; results go
    before other blocks; empty content, unsigned thinking, thinking that nothing follows, and lost calls of server tools are
    dropped, as is the second of two calls with one id. A valid list comes back equal to what it was.
    """
    kept = [dict(message) for message in messages]
    while (problems(kept) if kept else []) and (changed := _repaired_once(kept)) != kept:
        kept = changed
    return kept


def _shape(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    last = len(messages) - 1
    for at, message in enumerate(messages):
        role, before = message.get("role"), messages[at - 1].get("role") if at else None
        if role not in _ROLES:
            yield f"Message {at} has the role {role!r}; there are user, assistant and system."
        if role == "system" and before not in {"user", "system"}:
            yield f"Message {at} is a system message that does not follow a user message."
        content = message.get("content")
        if not isinstance(content, str | list | tuple):
            yield f"Message {at} has no content."
            continue
        if not content and not (at == last and role == "assistant"):
            yield f"Message {at} has empty content."
        yield from _texts(at, message)
        yield from _thoughts(at, message)
    final = blocks(messages[last])
    if messages[last].get("role") == "assistant" and final and _ends_in_space(final[-1]):
        yield f"Message {last} is the last one, from the assistant, and ends in white space."


def _texts(at: int, message: Mapping[str, Any]) -> Iterator[str]:
    content = blocks(message) if message.get("content") else []
    if any(block.get("type") == "text" and not block.get("text") for block in content):
        yield f"Message {at} has an empty text."
    elif content and all(is_blank(block) for block in content):
        yield f"Message {at} has nothing but white space."
    for block in content:
        if block.get("type") == "tool_result" and any(part.get("text") == "" for part in _parts(block)):
            yield f"Message {at} has an empty text in a tool result."


def _thoughts(at: int, message: Mapping[str, Any]) -> Iterator[str]:
    content = blocks(message)
    thoughts = [block for block in content if block.get("type") in _THOUGHTS]
    if thoughts and message.get("role") != "assistant":
        yield f"Message {at} has thinking, which only the assistant has."
    if any(not (block.get("signature") or block.get("data")) for block in thoughts):
        yield f"Message {at} has thinking without its signature."
    if thoughts and content[-1].get("type") in _THOUGHTS:
        yield f"Message {at} ends in thinking."


def _pairs(messages: Sequence[Mapping[str, Any]], tools: bool) -> Iterator[str]:
    """Every tool call is answered in the next user message, before anything else in it, and nothing else is answered."""
    open_ids: dict[str, int] = {}
    for at, role, content in _merged(messages):
        uses = [str(block.get("id")) for block in content if block.get("type") == "tool_use"]
        results = [str(block.get("tool_use_id")) for block in content if block.get("type") == "tool_result"]
        if (uses or results) and not tools:
            yield f"Message {at} has tool calls or results, and the request declares no tools."
        if uses and role != "assistant":
            yield f"Message {at} has a tool call that is not the assistant's."
        if results and role != "user":
            yield f"Message {at} has a tool result that is not in a user message."
        if len(set(uses)) < len(uses):  # in a later turn the API takes an id again, as recorded requests show
            yield f"Message {at} has two tool calls with one id."
        if role == "user" and any(block.get("type") != "tool_result" for block in content[: len(results)]):
            yield f"Message {at} has something before its tool results."
        for use_id in results:
            if open_ids.pop(use_id, None) is None:
                yield f"Message {at} has a result for {use_id}, which the message before does not ask for, or a second one."
        for use_id, asked_at in open_ids.items():
            yield f"Message {asked_at} asks for {use_id}, and the next message has no result for it."
        open_ids = dict.fromkeys(uses, at)
    for use_id, asked_at in open_ids.items():
        yield f"Message {asked_at} asks for {use_id}, and no message follows with its result."


def _server_pairs(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A tool on the server answers within the same turn; only in the last turn it may still be at work."""
    open_ids: dict[str, int] = {}
    for at, message in enumerate(messages):
        if opens_a_turn(message):
            for use_id, asked_at in open_ids.items():
                yield f"Message {asked_at} has the server tool call {use_id} without its result."
            open_ids = {}
        for block in blocks(message):
            if block.get("type") in _SERVER_USES:
                open_ids[str(block.get("id"))] = at
            elif is_server_result(block) and open_ids.pop(str(block.get("tool_use_id")), None) is None:
                yield f"Message {at} has the result of a server tool call that is not before it in this turn."


def _markers(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    marked = [block for message in messages for block in _with_parts(message) if block.get("cache_control")]
    if len(marked) > MOST_MARKERS:
        yield f"{len(marked)} blocks have cache_control; {MOST_MARKERS} may."
    if any(block.get("type") in _THOUGHTS or block.get("text") == "" for block in marked):
        yield "A thinking block or an empty text has cache_control."


def _merged(messages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str, list[Block]]]:
    """Index of the first, role and content of the messages that the API joins: one role, several in a row.

    System messages stand aside: they are no part of the exchange of tool calls and results.
    """
    start, role, content = 0, "", list[Block]()
    for at, message in enumerate(messages):
        if message.get("role") == "system":
            continue
        if message.get("role") == role:
            content = content + blocks(message)
            continue
        if role:
            yield start, role, content
        start, role, content = at, str(message.get("role")), blocks(message)
    if role:
        yield start, role, content


def _parts(block: Mapping[str, Any]) -> list[Block]:
    """The blocks in a tool result; a result may be a text, which may be empty."""
    return [] if isinstance(block.get("content"), str) else blocks(block)


def _with_parts(message: Mapping[str, Any]) -> Iterator[Block]:
    for block in blocks(message):
        yield block
        if block.get("type") == "tool_result":
            yield from _parts(block)


def _ends_in_space(block: Mapping[str, Any]) -> bool:
    text = block.get("text") if block.get("type") == "text" else None
    return isinstance(text, str) and text != text.rstrip()


def _repaired_once(messages: list[Message]) -> list[Message]:
    """One pass of every repair; one may make room for another, as an emptied message does."""
    kept = _with_fitting_roles(_with_content(messages))
    kept = _without_lost_server_tools(_answered(kept))
    if kept and kept[-1]["role"] == "assistant":
        kept[-1] = _without_trailing_space(kept[-1])
    return _marked_at_most(kept)


def _changed(message: Message, content: list[Block]) -> Message:
    """The message with this content; itself where that is what it has, so that a text stays a text."""
    return message if content == blocks(message) else {**message, "content": content}


def _with_content(messages: list[Message]) -> list[Message]:
    """Without empty texts, useless thinking, blocks of the other role, and the messages that nothing is left of."""
    kept = []
    for message in messages:
        content = [_without_empty_parts(block) for block in blocks(message) if _is_of_use(block, message)]
        while content and content[-1].get("type") in _THOUGHTS:
            content.pop()
        if not all(is_blank(block) for block in content):
            kept.append(_changed(message, content))
    return kept


def _is_of_use(block: Block, message: Message) -> bool:
    kind, assistant = block.get("type"), message.get("role") == "assistant"
    if kind in _THOUGHTS:
        return assistant and bool(block.get("signature") or block.get("data"))
    if kind in {"tool_use", "tool_result"}:
        return assistant == (kind == "tool_use") and message.get("role") != "system"
    return kind != "text" or bool(block.get("text"))


def _without_empty_parts(block: Block) -> Block:
    if block.get("type") != "tool_result" or not any(part.get("text") == "" for part in _parts(block)):
        return block
    return {**block, "content": [part for part in _parts(block) if part.get("text") != ""]}


def _with_fitting_roles(messages: list[Message]) -> list[Message]:
    """A system message that follows no user message becomes one; roles that do not exist go."""
    kept: list[Message] = []
    for message in messages:
        stray = message.get("role") == "system" and (not kept or kept[-1]["role"] == "assistant")
        if message.get("role") in _ROLES:
            kept.append({**message, "role": "user"} if stray else message)
    return kept


def _answered(messages: list[Message]) -> list[Message]:
    """Every tool call with exactly one result, at the start of what the user says next, and no other results."""
    kept: list[Message] = []
    uses: list[str] = []
    for role, group in groupby(messages, key=lambda message: message["role"]):
        said = list(group)
        if role == "user":
            said = _with_results(said, uses)
        elif role == "assistant":
            said, uses = _with_single_calls(said)
        kept += said
        if role == "user":
            uses = []
    return [*kept, *_with_results([], uses)] if uses else kept


def _with_single_calls(said: list[Message]) -> tuple[list[Message], list[str]]:
    """What the assistant says without a call whose id it has used just before, and the ids of its calls."""
    uses: list[str] = []
    kept = []
    for message in said:
        content = []
        for block in blocks(message):
            use_id = str(block.get("id")) if block.get("type") == "tool_use" else None
            if use_id not in uses:
                content.append(block)
            if use_id and use_id not in uses:
                uses.append(use_id)
        kept.append(_changed(message, content))
    return kept, uses


def _with_results(said: list[Message], uses: list[str]) -> list[Message]:
    """What the user says after `uses`: their results first, each once."""
    whole = [block for message in said for block in blocks(message)]
    given: dict[str, Block] = {}
    for block in whole:
        if block.get("type") == "tool_result" and block.get("tool_use_id") in uses:
            given.setdefault(str(block["tool_use_id"]), block)
    results = list(given.values())
    results += [_interrupted(use_id) for use_id in uses if use_id not in given]
    found = sum(block.get("type") == "tool_result" for block in whole)
    if whole[: len(results)] == results and found == len(results):
        return said
    said = [_changed(message, _without_results(message, results)) for message in said]
    rest = [message for message in said if message["content"]]
    if results and rest:
        return [{**rest[0], "content": [*results, *blocks(rest[0])]}, *rest[1:]]
    return [{"role": "user", "content": results}] if results else rest


def _interrupted(use_id: str) -> Block:
    return {"type": "tool_result", "tool_use_id": use_id, "is_error": True, "content": INTERRUPTED}


def _without_results(message: Message, taken: list[Block]) -> list[Block]:
    """The content but for the results; what a result without a call says is not thrown away."""
    kept: list[Block] = []
    for block in blocks(message):
        if block.get("type") != "tool_result":
            kept.append(block)
        elif not any(block is result for result in taken):
            said = [part for part in blocks(block) if part.get("text") != ""]
            kept += said or [{"type": "text", "text": "(The result of a tool call that is not shown: empty.)"}]
    return kept


def _without_lost_server_tools(messages: list[Message]) -> list[Message]:
    """Without calls of server tools that ended without a result, and results without their call."""
    lost: set[int] = set()
    open_blocks: dict[str, Block] = {}
    for message in messages:
        if opens_a_turn(message):
            lost.update(map(id, open_blocks.values()))
            open_blocks = {}
        for block in blocks(message):
            if block.get("type") in _SERVER_USES:
                open_blocks[str(block.get("id"))] = block
            elif is_server_result(block) and open_blocks.pop(str(block.get("tool_use_id")), None) is None:
                lost.add(id(block))
    return [_changed(message, [block for block in blocks(message) if id(block) not in lost]) for message in messages]


def _without_trailing_space(message: Message) -> Message:
    if isinstance(message["content"], str):
        return {**message, "content": message["content"].rstrip()}
    content = list(message["content"])
    while content and _ends_in_space(content[-1]):
        text = content.pop()["text"].rstrip()
        if text:
            content.append({"type": "text", "text": text})
    return _changed(message, content)


def _marked_at_most(messages: list[Message]) -> list[Message]:
    """With the last markers only, which are those that the next request finds again; none where they may not be."""
    left = MOST_MARKERS
    kept = []
    for message in reversed(messages):
        content = []
        for block in reversed(blocks(message)):
            marked = [part for part in _with_parts({"content": [block]}) if part.get("cache_control")]
            fits = len(marked) <= left and not any(part.get("type") in _THOUGHTS for part in marked)
            left -= len(marked) if fits else 0
            content.append(block if fits else unmarked(block))
        kept.append(_changed(message, content[::-1]))
    return kept[::-1]
