"""Conversations as an agent has them, for property tests: all are valid for the API."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}

words = st.sampled_from(["Look it up.", "Done.", "Größe: 3 µm", "a\nb", "{}", "日本", "x" * 900]) | st.text(
    st.characters(codec="utf-8", exclude_categories=("Z", "C")), min_size=1, max_size=30
)


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def tool_use(use_id: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": use_id, "name": "search", "input": arguments}


def result(use_id: str, content: Any = "found", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": use_id, "content": content, **more}


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content[0] if content and isinstance(content[0], str) else list(content)}


def assistant(*content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content[0] if content and isinstance(content[0], str) else list(content)}


@st.composite
def prompts(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What a person says: a text, or blocks with an image; sometimes followed by a system message."""
    said = draw(words)
    blocks = [text(said), IMAGE] if draw(st.booleans()) else [{**text(said), "cache_control": {"type": "ephemeral"}}]
    prompt = user(said) if draw(st.booleans()) else user(*blocks)
    return [prompt, {"role": "system", "content": draw(words)}] if draw(st.integers(0, 5)) == 0 else [prompt]


@st.composite
def loops(draw: st.DrawFn, ids: Iterator[int]) -> list[dict[str, Any]]:
    """A prompt, turns with tool calls, and an answer, if the run was not stopped before it."""
    messages: list[dict[str, Any]] = draw(prompts())
    thinks = draw(st.booleans())
    for turn in range(draw(st.integers(0, 5))):
        messages += draw(turns(ids, thinks and (turn == 0 or draw(st.booleans()))))
    if draw(st.booleans()):
        messages.append(assistant(text(draw(words))))
    return messages


@st.composite
def turns(draw: st.DrawFn, ids: Iterator[int], thinks: bool) -> list[dict[str, Any]]:
    """One answer with tool calls and their results; a server tool may be among them, paused or still at work."""
    content: list[dict[str, Any]] = []
    if thinks:
        content.append({"type": "thinking", "thinking": draw(words), "signature": "c2ln"})
    if draw(st.booleans()):
        content.append(text(draw(words)))
    messages: list[dict[str, Any]] = []
    server = draw(st.sampled_from(["", "", "", "done", "paused"]))
    if server:
        use_id = f"srvtoolu_{next(ids)}"
        content.append({"type": "server_tool_use", "id": use_id, "name": "web_search", "input": {"query": "x"}})
        if server == "paused":
            messages.append(assistant(*content))
            content = []
        content.append({"type": "web_search_tool_result", "tool_use_id": use_id, "content": []})
    uses = [f"toolu_{next(ids)}" for _ in range(draw(st.integers(1, 3)))]
    messages.append(assistant(*content, *(tool_use(use_id, query=draw(words)) for use_id in uses)))
    found = st.sampled_from(["", "found", "y" * 2_000, [text("seen"), IMAGE], [text("z" * 700)]])
    results = [result(use_id, draw(found), is_error=draw(st.booleans())) for use_id in draw(st.permutations(uses))]
    nudge = [text(draw(words))] if draw(st.integers(0, 4)) == 0 else []
    return [*messages, user(*results, *nudge)]


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One to four loops one after the other, with at most four markers of the prompt cache."""
    ids = itertools.count()
    return [message for _ in range(draw(st.integers(1, 4))) for message in draw(loops(ids))]
