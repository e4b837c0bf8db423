"""The real Anthropic SDK over HTTP against the scripted server: its own spans, and what `watch` adds to them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from opentelemetry.sdk.trace import TracerProvider
from recorded_lines import spans_in

import instrument
from instrument.sse import message_of_stream
from instrument.testing import ModelServer, cut, error, recorded_exchanges, text, thinking, together, tool_use

TOOLS: list[Any] = [
    {
        "name": "search",
        "description": "Looks things up.",
        "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}},
    }
]
ASK: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Find x."}],
}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """A running recording without checkpoints; its database's path."""
    path = tmp_path / "t.duckdb"
    recorder = instrument.record(path, tracer_provider=TracerProvider(), checkpoint_seconds=None)
    yield path
    assert recorder.stats.errors == 0, recorder.stats.last_error
    instrument.tracing.forget(recorder)
    recorder.journal.close()


_made: list[anthropic.Anthropic] = []


def client(server: ModelServer, **options: Any) -> anthropic.Anthropic:
    made = anthropic.Anthropic(api_key="test", base_url=server.url, max_retries=2, **options)
    _made.append(made)
    return made


@pytest.fixture(autouse=True)
def _closed_clients() -> Iterator[None]:
    yield
    while _made:
        _made.pop().close()


def content(span: dict[str, Any], name: str) -> Any:
    return json.loads(span["attributes"][name])


def test_a_watched_call_has_messages_tools_and_answer(database: Path) -> None:
    with ModelServer([together(thinking("Hm."), text("I look."), tool_use("search", {"q": "x"}))]) as server:
        watched = instrument.watch(client(server))
        assert instrument.watch(watched) is watched
        watched.messages.create(**ASK, system="Be brief.", tools=TOOLS)
    (span,) = spans_in(database)
    assert span["name"] == "anthropic.messages.create"
    assert content(span, "gen_ai.input.messages") == [
        {"role": "user", "parts": [{"type": "text", "content": "Find x."}]}
    ]
    assert content(span, "gen_ai.system_instructions") == [{"type": "text", "content": "Be brief."}]
    assert content(span, "gen_ai.tool.definitions") == [
        {
            "type": "function",
            "name": "search",
            "description": "Looks things up.",
            "parameters": TOOLS[0]["input_schema"],
        }
    ]
    (answer,) = content(span, "gen_ai.output.messages")
    assert [p["type"] for p in answer["parts"]] == ["reasoning", "text", "tool_call"]
    assert answer["parts"][2]["arguments"] == {"q": "x"}
    assert span["attributes"]["gen_ai.usage.input_tokens"] > 0, "the SDK's own facts are still there"


def test_a_streamed_call_is_recorded_like_a_plain_one(database: Path) -> None:
    reply = together(thinking("Hm."), text("I look around for a while."), tool_use("search", {"q": "x y z"}))
    with ModelServer([reply, reply]) as server:
        watched = instrument.watch(client(server))
        watched.messages.create(**ASK)
        with watched.messages.stream(**ASK) as stream:
            said = "".join(stream.text_stream)
    plain, streamed = spans_in(database)
    assert said == "I look around for a while."
    one, other = (content(s, "gen_ai.output.messages") for s in (plain, streamed))
    assert [{**p, "id": None} for p in one[0]["parts"]] == [{**p, "id": None} for p in other[0]["parts"]]
    assert plain["attributes"]["gen_ai.input.messages"] == streamed["attributes"]["gen_ai.input.messages"]
    assert streamed["attributes"]["gen_ai.request.stream"] is True


def test_an_abandoned_stream_keeps_what_had_come(database: Path) -> None:
    with ModelServer([text("one two three four five six")]) as server:
        stream = instrument.watch(client(server)).messages.create(**ASK, stream=True)
        for event in stream:
            if event.type == "content_block_delta":
                break
        stream.close()
    (span,) = spans_in(database)
    assert content(span, "gen_ai.output.messages")[0]["parts"][0]["content"].startswith("one")


def test_a_stream_that_breaks_is_recorded_up_to_there(database: Path) -> None:
    with ModelServer([cut(text("one two three four five six seven eight nine ten"))]) as server:
        watched = instrument.watch(client(server))
        with pytest.raises(Exception), watched.messages.stream(**ASK) as stream:  # noqa: PT011, B017 - the SDK's own error
            stream.get_final_message()
    (span,) = spans_in(database)
    assert span["status"]["code"] == 2
    assert content(span, "gen_ai.input.messages")[0]["parts"][0]["content"] == "Find x."


def test_of_several_attempts_there_is_one_span_with_the_last_answer(database: Path) -> None:
    with ModelServer([error(529), error(529), text("At last.")]) as server:
        instrument.watch(client(server)).with_options(max_retries=2).messages.create(**ASK)
    (span,) = spans_in(database)
    assert span["attributes"]["http.request.resend_count"] == 2
    assert content(span, "gen_ai.output.messages") == [
        {"role": "assistant", "parts": [{"type": "text", "content": "At last."}]}
    ]


def test_a_failed_call_still_says_what_was_asked(database: Path) -> None:
    with ModelServer([error(400)]) as server, pytest.raises(anthropic.BadRequestError):
        instrument.watch(client(server)).messages.create(**ASK)
    (span,) = spans_in(database)
    assert span["status"]["code"] == 2
    assert span["attributes"]["error.type"] == "invalid_request_error"
    assert content(span, "gen_ai.input.messages")[0]["role"] == "user"
    assert "gen_ai.output.messages" not in span["attributes"]


def test_a_refused_connection_says_what_was_asked(database: Path) -> None:
    lonely = anthropic.Anthropic(api_key="k", base_url="http://127.0.0.1:9", max_retries=0)
    with lonely, pytest.raises(anthropic.APIConnectionError):
        instrument.watch(lonely).messages.create(**ASK)
    (span,) = spans_in(database)
    assert content(span, "gen_ai.input.messages")[0]["parts"] == [{"type": "text", "content": "Find x."}]


async def test_the_asynchronous_client_plain_and_streamed(database: Path) -> None:
    with ModelServer([text("One."), text("Two.")]) as server:
        async with anthropic.AsyncAnthropic(api_key="test", base_url=server.url) as made:
            watched = instrument.watch(made)
            await watched.messages.create(**ASK)
            async with watched.messages.stream(**ASK) as stream:
                await stream.get_final_message()
    said = [content(s, "gen_ai.output.messages")[0]["parts"][0]["content"] for s in spans_in(database)]
    assert said == ["One.", "Two."]


def test_compressed_streams_are_read(database: Path) -> None:
    import gzip

    with ModelServer([text("Hello.")]) as server:
        raw = httpx2.post(
            f"{server.url}/v1/messages",
            json={**ASK, "stream": True},
            headers={"x-api-key": "k", "anthropic-version": "2026-10-21"},
        ).content

    def reply(request: httpx2.Request) -> httpx2.Response:
        stream = httpx2.ByteStream(gzip.compress(raw))
        return httpx2.Response(
            200, stream=stream, headers={"content-type": "text/event-stream", "content-encoding": "gzip"}
        )

    http = anthropic.DefaultHttpxClient(transport=httpx2.MockTransport(reply))
    with instrument.watch(anthropic.Anthropic(api_key="k", http_client=http)).messages.stream(**ASK) as stream:
        assert stream.get_final_text() == "Hello."
    (span,) = spans_in(database)
    assert content(span, "gen_ai.output.messages")[0]["parts"] == [{"type": "text", "content": "Hello."}]


def test_binary_parts_keep_their_type_only_and_failed_results_their_flag(database: Path) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUFBQQ=="}}
    asked = {**ASK, "messages": [
        {"role": "user", "content": [image, {"type": "text", "text": "What is it?"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True, "content": [{"type": "text", "text": "blind"}, image]},
        ]},
    ]}  # fmt: skip
    with ModelServer([text("A cat.")]) as server:
        instrument.watch(client(server)).messages.create(**asked)
    (span,) = spans_in(database)
    first, _, last = content(span, "gen_ai.input.messages")
    assert first["parts"] == [{"type": "anthropic_image"}, {"type": "text", "content": "What is it?"}]
    assert last["parts"] == [
        {
            "type": "tool_call_response",
            "id": "toolu_1",
            "response": [{"type": "text", "text": "blind"}, {"type": "image"}],
            "is_error": True,
        }
    ]


def test_counting_tokens_is_no_model_call(database: Path) -> None:
    def reply(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"input_tokens": 5})

    http = anthropic.DefaultHttpxClient(transport=httpx2.MockTransport(reply))
    watched = instrument.watch(anthropic.Anthropic(api_key="k", http_client=http))
    watched.messages.count_tokens(model=ASK["model"], messages=ASK["messages"])
    assert not [s for s in spans_in(database) if "gen_ai.input.messages" in s["attributes"]]
    watched.close()


def test_calls_belong_to_the_agent_around_them_and_user_options_survive(database: Path) -> None:
    seen = []

    def mine(request: Any, call_next: Any) -> Any:
        seen.append(request.url)
        return call_next(request)

    @instrument.agent
    def run(made: anthropic.Anthropic) -> None:
        made.messages.create(**ASK)

    with ModelServer([text("Hi.")]) as server:
        run(instrument.watch(client(server, middleware=[mine], open_telemetry={"conversation_id": "c7"})))
    chat, agent = spans_in(database)
    assert chat["attributes"]["flyball.run.id"] == chat["parentSpanId"] == agent["spanId"]
    assert chat["attributes"]["gen_ai.conversation.id"] == "c7"
    assert len(seen) == 1


def test_the_tool_runner_is_an_agent_run_with_its_tools(database: Path) -> None:
    @anthropic.beta_tool
    def search(q: str) -> str:
        """Looks things up.

        Args:
            q: what for
        """
        return f"found {q}"

    with ModelServer([tool_use("search", {"q": "x"}), text("Done.")]) as server:
        instrument.watch(client(server)).beta.messages.tool_runner(**ASK, tools=[search]).until_done()
    spans = spans_in(database)
    (runner,) = [s for s in spans if s["attributes"].get("gen_ai.operation.name") == "invoke_agent"]
    assert len(spans) >= 4
    assert {s["attributes"]["flyball.run.id"] for s in spans} == {runner["spanId"]}


def test_without_watch_new_clients_record_their_content_themselves(database: Path) -> None:
    assert os.environ["ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE"] == "content"
    provider = instrument.tracing.provider_in_use()
    with ModelServer([text("Hi.")]) as server:
        made = client(server)
        made.with_options(open_telemetry={**made.open_telemetry, "tracer_provider": provider}).messages.create(**ASK)
    (span,) = spans_in(database)
    assert content(span, "gen_ai.output.messages") == [
        {"role": "assistant", "parts": [{"type": "text", "content": "Hi."}]}
    ]


def test_the_users_own_content_setting_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE", "metadata_only")
    with instrument.record(tmp_path / "t.duckdb", tracer_provider=TracerProvider(), checkpoint_seconds=None):
        assert os.environ["ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE"] == "metadata_only"
    assert os.environ["ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE"] == "metadata_only"


@pytest.mark.parametrize(
    "exchange",
    [e for e in recorded_exchanges() if e.streaming and e.status == 200],
    ids=lambda e: e.source.rsplit("/", 1)[-1],
)
def test_recorded_streams_assemble_to_what_the_sdk_makes_of_them(exchange: Any) -> None:
    def reply(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(
            200, content=exchange.response_body.encode(), headers={"content-type": "text/event-stream"}
        )

    http = anthropic.DefaultHttpxClient(transport=httpx2.MockTransport(reply))
    with anthropic.Anthropic(api_key="k", http_client=http).messages.stream(**ASK) as stream:
        theirs = stream.get_final_message()
    ours = message_of_stream(exchange.response_body.encode())
    assert ours is not None
    assert (ours["id"], ours["stop_reason"]) == (theirs.id, theirs.stop_reason)
    assert [b["type"] for b in ours["content"]] == [b.type for b in theirs.content]
    for mine, their in zip(ours["content"], theirs.content, strict=True):
        for name in ("text", "thinking", "input"):
            assert mine.get(name) == getattr(their, name, None), name
