"""`instrument.sizes`: tokens of a request, about and at most, against what the API counted."""

from __future__ import annotations

import base64
import functools
import statistics
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from conversations import IMAGE, assistant, conversations, result, text, tool_use, user
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.estimates import Known, continued, kind, known, more, whole
from instrument.pixels import pixels
from instrument.sizes import at_most_more, at_most_tokens, estimated_more, estimated_tokens
from instrument.testing import load_exchanges, recorded_exchanges
from instrument.text_tokens import text_at_most, text_tokens

SHARED = Path(__file__).parents[2] / "shared" / "traces" / "anthropic_http" / "anthropic_http.jsonl"
WRITTEN_BY_HAND = "instrumentation-litellm/tests/cassettes/TestTokenCounts.test_anthropic.yaml"
"""Says 100 + 5 + 2 tokens for 'Hello!', of which the same project's other recordings have 9 + 1 + 2."""
TOOL = {"name": "search", "description": "Searches.", "input_schema": {"type": "object", "properties": {}}}


def request(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": list(messages) or [user("Hi")], **more}


@functools.cache
def recorded() -> list[Known]:
    exchanges = (*recorded_exchanges(), *(load_exchanges(SHARED) if SHARED.exists() else ()))
    return [one for one in known(exchanges) if WRITTEN_BY_HAND not in one.source]


def test_no_recorded_request_took_more_than_the_bound() -> None:
    rows = [(one.source, whole(one)) for one in recorded()]
    bounded = [(source, row) for source, row in rows if row.at_most is not None]
    assert len(bounded) >= 9
    assert [source for source, row in bounded if row.at_most is not None and row.at_most < row.counted] == []


def test_no_recorded_request_took_more_than_the_bound_from_the_one_before() -> None:
    rows = [(now.source, more(old, now)) for old, now in continued(recorded())]
    assert [source for source, row in rows if row.at_most is not None and row.at_most < row.counted] == []


def test_estimates_are_close_where_everything_is_in_the_request() -> None:
    rows = [whole(one) for one in recorded() if kind(one.request) in {"text", "tools", "images"}]
    assert statistics.median(abs(row.estimated - row.counted) / row.counted for row in rows) < 0.08


@pytest.mark.skipif(not SHARED.exists(), reason="the shared traces are not beside this checkout")
def test_estimates_are_closer_from_the_request_before() -> None:
    pairs = [(old, now) for old, now in continued(recorded()) if kind(now.request) in {"text", "tools", "images"}]
    errors = [abs(row.estimated - row.counted) / row.counted for row in (more(old, now) for old, now in pairs)]
    assert len(errors) > 100
    assert statistics.median(errors) < 0.015
    assert statistics.quantiles(errors, n=10)[-1] < 0.06


def test_tools_bring_a_prompt_of_their_own_and_forcing_one_changes_it() -> None:
    without, free = estimated_tokens(request()), estimated_tokens(request(tools=[TOOL]))
    forced = estimated_tokens(request(tools=[TOOL], tool_choice={"type": "any"}))
    assert free > without + 450
    assert forced > free + 50
    assert estimated_tokens(request(tools=[{**TOOL, "defer_loading": True}])) < free


def test_newer_models_take_more_tokens_for_the_same_text() -> None:
    said = user("The quick brown fox jumps over the lazy dog. " * 50)
    older, newer = (estimated_tokens({**request(said), "model": f"claude-{name}"}) for name in ("opus-4-6", "opus-5-5"))
    assert 1.25 < newer / older < 1.35


def test_thinking_of_earlier_turns_counts_where_the_model_keeps_it() -> None:
    thought = {"type": "thinking", "thinking": "word " * 1_000, "signature": "x" * 300}
    ended = [user("Hi"), assistant(thought, text("Hello.")), user("And?")]
    going_on = [user("Hi"), assistant(thought, tool_use("a")), user(result("a"))]
    assert estimated_tokens(request(*ended)) < 100
    assert estimated_tokens(request(*going_on)) > 900
    assert estimated_tokens({**request(*ended), "model": "claude-opus-4-6"}) > 900


@pytest.mark.parametrize(
    "part",
    [
        {"messages": [user({"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}})]},
        {"messages": [user({"type": "document", "source": {"type": "file", "file_id": "f"}})]},
        {
            "messages": [
                user({"type": "document", "source": {"type": "base64", "data": "", "media_type": "application/pdf"}})
            ]
        },
        {"messages": [user({"type": "made_up_block"})]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"mcp_servers": [{"type": "url", "name": "x", "url": "https://example.org"}]},
        {"container": "c"},
        {"context_management": {"edits": [{"type": "compact_20260112"}]}},
    ],
)
def test_what_only_the_api_knows_has_no_bound_but_an_estimate(part: dict[str, Any]) -> None:
    assert at_most_tokens({**request(), **part}) is None
    assert estimated_tokens({**request(), **part}) > 0


def test_client_tools_of_anthropic_have_a_bound() -> None:
    assert (at_most_tokens(request(tools=[{"type": "bash_20250124", "name": "bash"}])) or 0) > 5_000


def test_a_continued_request_is_the_one_before_its_answer_and_what_is_new() -> None:
    before = request(user("Hi"), tools=[TOOL])
    after = request(user("Hi"), assistant(tool_use("a")), user(result("a", "x " * 500)), tools=[TOOL])
    new = round(text_tokens("x " * 500))
    assert new + 10_050 <= estimated_more(before, 10_000, 50, after) <= new + 10_080
    assert 11_050 <= (at_most_more(before, 10_000, 50, after) or 0) <= 11_500


@pytest.mark.parametrize(
    "change",
    [
        {"model": "claude-opus-5-5"},
        {"tools": []},
        {"system": "New."},
        {"messages": [user("Ho"), assistant("x"), user("y")]},
    ],
)
def test_a_request_that_does_not_continue_is_judged_alone(change: dict[str, Any]) -> None:
    before = request(user("Hi"), tools=[TOOL])
    after = {**request(user("Hi"), assistant("x"), user("y"), tools=[TOOL]), **change}
    assert estimated_more(before, 10_000, 50, after) == estimated_tokens(after)
    assert at_most_more(before, 10_000, 50, after) == at_most_tokens(after)


def test_a_marker_of_the_cache_that_moves_on_changes_no_conversation() -> None:
    marked = {**text("Hi"), "cache_control": {"type": "ephemeral"}}
    after = request(user(text("Hi")), assistant("x"), user("y"))
    assert estimated_more(request(user(marked)), 10_000, 5, after) > 10_000


def test_a_bound_from_before_is_not_used_where_the_api_edits_the_context() -> None:
    edits = {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}
    before, after = request(user("Hi"), **edits), request(user("Hi"), assistant("x"), user("y"), **edits)
    assert at_most_more(before, 50_000, 5, after) == at_most_tokens(after)


def test_the_cost_of_a_long_run_is_that_of_its_last_turn() -> None:
    messages = [
        message for n in range(2_000) for message in (assistant(tool_use(f"t{n}")), user(result(f"t{n}", "y" * 2_000)))
    ]
    before = request(user("Hi"), *messages[:-2], tools=[TOOL])
    after = request(user("Hi"), *messages, tools=[TOOL])
    after["messages"][: len(before["messages"])] = before["messages"]
    started = time.perf_counter()
    for _ in range(10):
        estimated_more(before, 10_000, 50, after)
        at_most_more(before, 10_000, 50, after)
    assert (time.perf_counter() - started) / 10 < 0.02


def test_a_huge_text_is_judged_by_samples_and_bounded_exactly() -> None:
    page = "The quick brown fox jumps over the lazy dog. "
    started = time.perf_counter()
    ratio = text_tokens(page * 1_000_000) / text_tokens(page * 300)
    assert time.perf_counter() - started < 1
    assert ratio == pytest.approx(1_000_000 / 300, rel=0.02)
    assert text_at_most(page * 1_000_000) == 46_000_000


def test_random_letters_and_digits_cost_nearly_a_token_each() -> None:
    noise = base64.b64encode(bytes(range(256)) * 8).decode()
    assert text_tokens(noise) == pytest.approx(0.8 * len(noise), rel=0.1)
    assert text_at_most(noise) > 1.3 * len(noise)
    assert text_tokens("/usr/lib/python3/dist/packages/some/long/path/without/a/break/file.py") < 40


def test_a_character_that_grows_when_composed_is_bounded_by_its_composed_form() -> None:
    assert text_at_most("\u0958") == 6
    assert text_at_most("\ud800") == 3
    assert text_at_most("Ab") == 3


@given(conversations(), st.sampled_from(["claude-haiku-4-5", "claude-opus-5-5", ""]))
def test_an_estimate_lies_below_the_bound_and_grows_with_the_conversation(
    messages: list[dict[str, Any]], model: str
) -> None:
    body = {"model": model, "messages": messages}
    known_blocks = "server_tool_use" not in str(messages)
    most = at_most_tokens(body)
    assert (most is not None) == known_blocks
    assert most is None or estimated_tokens(body) <= most
    assert estimated_tokens(body) <= estimated_tokens(
        {"model": model, "messages": [*messages, assistant("more of it")]}
    )


IMAGES = {
    "png": b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 640, 480),
    "gif": b"GIF89a" + struct.pack("<HH", 640, 480),
    "jpeg": b"\xff\xd8\xff\xe0\0\x10"
    + b"JFIF"
    + b"\0" * 10
    + b"\xff\xff\xc2\0\x11\x08"
    + struct.pack(">HH", 480, 640)
    + b"\0" * 9,
    "webp lossy": b"RIFF\0\0\0\0WEBPVP8 " + b"\0" * 10 + struct.pack("<HH", 640, 480),
    "webp lossless": b"RIFF\0\0\0\0WEBPVP8L" + b"\0" * 4 + b"\x2f" + (639 | 479 << 14).to_bytes(4, "little"),
    "webp extended": b"RIFF\0\0\0\0WEBPVP8X" + b"\0" * 8 + (639).to_bytes(3, "little") + (479).to_bytes(3, "little"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_the_size_of_an_image_is_read_from_its_head(name: str) -> None:
    assert pixels(base64.b64encode(IMAGES[name] + b"\0" * 30).decode()) == (640, 480)


@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8 ", b"\x89PNG\r\n\x1a\n", b"GIF89a"]),
)
def test_a_damaged_image_has_no_size_and_does_no_harm(noise: bytes, start: bytes) -> None:
    found = pixels(base64.b64encode(start + noise).decode())
    assert found is None or len(found) == 2
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(start + noise).decode()}
    assert estimated_tokens(request(user({"type": "image", "source": source}))) > 0


@pytest.mark.parametrize(("model", "most"), [("claude-sonnet-4-5", 1_568), ("claude-opus-5-5", 4_784)])
def test_an_image_costs_a_token_for_each_patch_up_to_what_the_model_sees(model: str, most: int) -> None:
    def image(width: int, height: int) -> int:
        head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height)
        source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(head).decode()}
        body = {"model": model, "messages": [user({**IMAGE, "source": source})]}
        return estimated_tokens(body) - estimated_tokens({"model": model, "messages": [user()]}) - 4

    assert image(640, 480) == 23 * 18
    assert image(8_000, 8_000) == most
    assert at_most_tokens(request(user(IMAGE))) == 5_000 + 60 + 12
