"""`instrument.testing` under the real SDK, over real HTTP."""

from __future__ import annotations

import asyncio
import gc
import http.client
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anthropic
import httpx2
import pytest

from instrument.testing import (
    Exchange,
    ModelServer,
    Reply,
    Usage,
    closed,
    cut,
    delayed,
    error,
    estimated_tokens,
    failing,
    hanging,
    load_exchanges,
    malformed,
    recorded_exchanges,
    returning,
    slow,
    stalled,
    text,
    thinking,
    together,
    tool_use,
)

MODEL = "claude-opus-5-5"
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
SHARED = Path(__file__).parents[2] / "shared" / "traces" / "anthropic_http" / "anthropic_http.jsonl"


def client_of(server: ModelServer, **options: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="test", base_url=server.url, **({"max_retries": 0} | options))


@contextmanager
def talking(script: Any, **options: Any) -> Iterator[tuple[ModelServer, anthropic.Anthropic]]:
    """A running server and a client of it; `script` may be a server already."""
    with (
        script if isinstance(script, ModelServer) else ModelServer(script) as server,
        client_of(server, **options) as client,
    ):
        yield server, client


@contextmanager
def client_for(script: Any, **options: Any) -> Iterator[anthropic.Anthropic]:
    with talking(script, **options) as (_, client):
        yield client


def ask(client: anthropic.Anthropic, messages: list[Any] = HELLO, **more: Any) -> Any:
    return client.messages.create(model=MODEL, max_tokens=100, messages=messages, **more)


def streamed(client: anthropic.Anthropic) -> Any:
    with client.messages.stream(model=MODEL, max_tokens=100, messages=HELLO) as stream:
        return stream.get_final_message()


def watch(client: anthropic.Anthropic, seen: list[str]) -> None:
    """Adds the type of each event of a stream to `seen` as it comes."""
    with ask(client, stream=True) as stream:
        seen.extend(event.type for event in stream)


def again(client: anthropic.Anthropic, exchange: Exchange) -> Any:
    """Sends the recorded request through the SDK and returns what the SDK made of the answer."""
    if exchange.endpoint.endswith("/count_tokens"):
        return client.messages.count_tokens(model=MODEL, messages=[], extra_body=exchange.request_body).to_dict()
    # As extra_body, because old requests hold parameters which the SDK's signature no longer has.
    sent = {"model": MODEL, "max_tokens": 1, "messages": [], "extra_body": exchange.request_body}
    if exchange.streaming:
        with client.messages.create(**sent, stream=True) as stream:
            return [event.to_dict(mode="json", warnings=False) for event in stream]
    return client.messages.create(**sent).to_dict(mode="json", warnings=False)


def recorded_events(exchange: Exchange) -> list[dict[str, Any]]:
    """The data of a recorded stream, read without our code or the SDK's."""
    lines = exchange.response_body.split("\n")
    return [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")]


def expect_same(client: anthropic.Anthropic, exchange: Exchange) -> None:
    if exchange.status != 200:
        with pytest.raises(anthropic.APIStatusError) as caught:
            again(client, exchange)
        assert caught.value.status_code == exchange.status
        assert caught.value.body == json.loads(exchange.response_body)
    elif exchange.streaming:
        expected = [event for event in recorded_events(exchange) if event["type"] != "ping"]
        assert again(client, exchange) == expected, exchange.source
    else:
        assert again(client, exchange) == json.loads(exchange.response_body), exchange.source


# --- replies -----------------------------------------------------------------------------------------------------


def test_the_sdk_reads_a_text_reply_and_the_server_keeps_the_request() -> None:
    with talking([text("Hi there.")]) as (server, client):
        message = ask(client, system="Be kind.")
        (request,) = server.requests
    assert (message.content[0].text, message.stop_reason, message.model) == ("Hi there.", "end_turn", MODEL)
    assert (message.id, message._request_id) == ("msg_test_0001", "req_test_0001")
    assert request.path == "/v1/messages"
    assert request.body == {"model": MODEL, "max_tokens": 100, "messages": HELLO, "system": "Be kind."}
    assert request.headers["authorization"] == "Bearer test"


def test_an_agent_loop_with_parallel_tools_sends_its_results_back() -> None:
    both = together(thinking("Two cities."), text("Looking."), tool_use("weather", {"city": "Rome"}), tool_use("time"))
    with talking([both, text("Sunny.")]) as (server, client):
        first = ask(client)
        calls = [block for block in first.content if block.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "ok"} for call in calls]
        answer = [{"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
        last = ask(client, [*HELLO, *answer])
        sent = server.requests[1].body["messages"]
    assert first.stop_reason == "tool_use"
    assert [block.type for block in first.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert [(call.id, call.name, call.input) for call in calls] == [
        ("toolu_test_0001", "weather", {"city": "Rome"}),
        ("toolu_test_0002", "time", {}),
    ]
    assert last.content[0].text == "Sunny."
    assert [result["tool_use_id"] for result in sent[-1]["content"]] == ["toolu_test_0001", "toolu_test_0002"]


def test_a_tool_use_can_speak_first_and_bring_its_own_id() -> None:
    with client_for([tool_use("read", {"path": "a"}, text="Reading.", id="toolu_mine")]) as client:
        said, call = ask(client).content
    assert (said.text, call.id, call.input) == ("Reading.", "toolu_mine", {"path": "a"})


@pytest.mark.parametrize(
    "reply",
    [
        text("One sentence that is longer than a single delta, with ünïcödé and \U0001f986."),
        text(""),
        together(),
        tool_use("write", {"path": "/tmp/x", "lines": ["a", "b" * 100]}, id="toolu_1"),
        tool_use("no_arguments", id="toolu_1"),
        together(thinking("Long thoughts. " * 9), tool_use("a", {"x": 1}, id="1"), tool_use("b", {"y": None}, id="2")),
        text("Half a senten", stop_reason="max_tokens", usage=Usage(7, 100, 3, 2, 1), model="claude-haiku-5-5"),
    ],
    ids=lambda reply: "+".join(block["type"] for block in reply.content) or "empty",
)
def test_a_streamed_reply_adds_up_to_the_plain_one(reply: Reply) -> None:
    # The estimate counts `"stream": true` too, so the prompt is fixed here.
    with client_for([reply, reply]) as client:
        plain, assembled = ask(client), streamed(client)
    assert [each.to_dict() for each in assembled.content] == [each.to_dict() for each in plain.content]
    assert (assembled.stop_reason, assembled.model) == (plain.stop_reason, plain.model)
    assert assembled.usage.output_tokens == plain.usage.output_tokens
    assert assembled.usage.cache_creation == plain.usage.cache_creation
    assert abs(assembled.usage.input_tokens - plain.usage.input_tokens) <= len('"stream":true,')


@pytest.mark.parametrize("reason", ["end_turn", "max_tokens", "pause_turn", "refusal", "model_context_window_exceeded"])
def test_a_reply_stops_for_the_reason_it_was_given(reason: Any) -> None:
    with client_for([tool_use("a", stop_reason=reason)]) as client:
        assert ask(client).stop_reason == reason


def test_parts_with_settings_of_their_own_are_refused() -> None:
    with pytest.raises(ValueError, match="not to its parts"):
        together(text("a", stop_reason="refusal"), text("b"))
    with pytest.raises(ValueError, match="not to its parts"):
        together(cut(text("a")))


def test_content_with_a_lone_surrogate_arrives() -> None:
    with client_for([text("a\ud800b"), text("a\ud800b")]) as client:
        assert ask(client).content[0].text == "a\ud800b"
        assert streamed(client).content[0].text == "a\ud800b"


async def test_async_clients_share_one_server() -> None:
    with ModelServer(lambda body: text(body["messages"][0]["content"])) as server:
        async with anthropic.AsyncAnthropic(api_key="test", base_url=server.url) as client:

            async def echo(word: str) -> str:
                messages: list[Any] = [{"role": "user", "content": word}]
                async with client.messages.stream(model=MODEL, max_tokens=9, messages=messages) as stream:
                    return await stream.get_final_text()

            words = [f"word {number}" for number in range(20)]
            assert await asyncio.gather(*map(echo, words)) == words


# --- usage -------------------------------------------------------------------------------------------------------


def test_usage_is_what_the_reply_says() -> None:
    usage = Usage(10, 20, cache_read_tokens=30, cache_write_5m_tokens=40, cache_write_1h_tokens=50, thinking_tokens=6)
    reply = together(thinking("Hm."), text("x"), usage=usage)
    with client_for([reply]) as client:
        told = ask(client).usage
    assert (told.input_tokens, told.output_tokens, told.cache_read_input_tokens) == (10, 20, 30)
    assert told.cache_creation_input_tokens == 90
    assert told.cache_creation.ephemeral_5m_input_tokens == 40
    assert told.cache_creation.ephemeral_1h_input_tokens == 50
    assert told.output_tokens_details.thinking_tokens == 6


def test_a_stream_tells_the_real_output_only_at_its_end() -> None:
    with client_for([text("x", usage=Usage(5, 500))]) as client, ask(client, stream=True) as stream:
        told = {event.type: event for event in stream}
    assert told["message_start"].message.usage.output_tokens == 1
    assert told["message_delta"].usage.output_tokens == 500


def test_estimated_usage_follows_the_size_of_request_and_reply() -> None:
    long = [{"role": "user", "content": "x" * 40_000}]
    replies = [text("ok"), text("ok"), text("y" * 400), text("ok", usage=Usage(cache_read_tokens=9_000))]
    with talking(replies) as (server, client):
        small, large, wordy, cached = ask(client), ask(client, long), ask(client), ask(client, long)
        bodies = [request.body for request in server.requests]
    assert small.usage.input_tokens == estimated_tokens(bodies[0]) < 40
    assert large.usage.input_tokens == pytest.approx(small.usage.input_tokens + 10_000, abs=5)
    assert wordy.usage.output_tokens == pytest.approx(small.usage.output_tokens + 100, abs=2)
    assert cached.usage.input_tokens == large.usage.input_tokens - 9_000


def test_a_continued_thread_counts_what_the_server_has_of_it() -> None:
    told: list[int] = []
    with client_for([text("a", usage=Usage(50_000, 100)), text("b")]) as client:
        first = ask(client)
        more = {"thread": {"type": "continue", "previous_message_id": first.id}}
        told.append(ask(client, extra_body=more).usage.input_tokens)
        told.append(client.messages.count_tokens(model=MODEL, messages=HELLO, extra_body=more).input_tokens)
    assert all(50_100 < tokens < 50_200 for tokens in told), told


def test_counting_tokens_takes_nothing_from_the_script() -> None:
    with talking([text("ok")]) as (server, client):
        counted = client.messages.count_tokens(model=MODEL, messages=HELLO)
        assert ask(client).content[0].text == "ok"
        assert counted.input_tokens == estimated_tokens(server.requests[0].body)
        assert [request.path for request in server.requests] == ["/v1/messages/count_tokens", "/v1/messages"]


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "raises"),
    [
        (400, "invalid_request_error", anthropic.BadRequestError),
        (401, "authentication_error", anthropic.AuthenticationError),
        (403, "permission_error", anthropic.PermissionDeniedError),
        (404, "not_found_error", anthropic.NotFoundError),
        (413, "request_too_large", anthropic.APIStatusError),
        (429, "rate_limit_error", anthropic.RateLimitError),
        (500, "api_error", anthropic.InternalServerError),
        (529, "overloaded_error", anthropic.OverloadedError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_is_the_sdks_own(status: int, kind: str, raises: type[Exception], stream: bool) -> None:
    with client_for([error(status, message="because")]) as client, pytest.raises(raises) as caught:
        ask(client, stream=stream)
    failure: Any = caught.value
    assert (failure.status_code, failure.type, failure.request_id) == (status, kind, "req_test_0001")
    assert failure.body["error"]["message"] == "because"


def test_a_rate_limit_says_what_is_left_and_when_to_return() -> None:
    with (
        client_for(ModelServer([error(429, retry_after_seconds=7)], clock=lambda: 0.0)) as client,
        pytest.raises(anthropic.RateLimitError) as caught,
    ):
        ask(client)
    headers = caught.value.response.headers
    assert headers["retry-after"] == "7"
    assert headers["anthropic-ratelimit-tokens-remaining"] == "0"
    assert headers["anthropic-ratelimit-tokens-reset"] == "1970-01-01T00:00:00Z"
    assert headers["date"] == "Thu, 01 Jan 1970 00:00:00 GMT"


def test_the_sdk_tries_again_after_an_overload_and_gives_up_when_told() -> None:
    overloaded = error(529, retry_after_seconds=0.01)
    with ModelServer([overloaded, error(429, retry_after_seconds=0.01), text("At last.")]) as server:
        with client_of(server, max_retries=2) as client:
            assert ask(client).content[0].text == "At last."
        assert [request.headers["x-stainless-retry-count"] for request in server.requests] == ["0", "1", "2"]
    with ModelServer([overloaded, text("Never seen.")]) as server:
        with client_of(server, max_retries=0) as client, pytest.raises(anthropic.OverloadedError):
            ask(client)
        assert len(server.requests) == 1


def test_a_bad_request_is_not_tried_again() -> None:
    too_long = error(400, message="prompt is too long: 210000 tokens > 200000 maximum")
    with talking([too_long, text("Never seen.")], max_retries=2) as (server, client):
        with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
            ask(client)
        assert len(server.requests) == 1


# --- faults on the way -------------------------------------------------------------------------------------------


def test_a_cut_stream_ends_in_an_error_after_the_events_before_the_cut() -> None:
    seen: list[str] = []
    broken_off = pytest.raises(httpx2.RemoteProtocolError, match="incomplete chunked read")  # not one of the SDK's own
    with client_for([cut(text("word " * 100), after_events=5)]) as client, broken_off:
        watch(client, seen)
    assert seen == ["message_start", "content_block_start", "content_block_delta", "content_block_delta"]


@pytest.mark.parametrize("ending", [None, error(529)])
def test_a_cut_plain_body_is_a_connection_error(ending: Any) -> None:
    with client_for([cut(text("Hello"), error=ending)]) as client, pytest.raises(anthropic.APIConnectionError):
        ask(client)


def test_a_stream_can_end_in_an_overload_and_leave_the_connection_in_order() -> None:
    seen: list[str] = []
    with client_for([cut(text("word " * 100), after_events=4, error=error(529)), text("ok")]) as client:
        with pytest.raises(anthropic.APIStatusError, match="Overloaded") as caught:
            watch(client, seen)
        assert ask(client).content[0].text == "ok"
    assert caught.value.type == "overloaded_error"
    assert seen == ["message_start", "content_block_start", "content_block_delta"]


def test_a_closed_connection_is_tried_again() -> None:
    with ModelServer([closed(), text("ok")]) as server:
        with client_of(server) as client, pytest.raises(anthropic.APIConnectionError):
            ask(client)
        with client_of(server, max_retries=1) as client:
            assert ask(client).content[0].text == "ok"


def test_a_connection_can_be_closed_after_a_while() -> None:
    began = time.perf_counter()
    with client_for([delayed(closed(), 0.2)]) as client, pytest.raises(anthropic.APIConnectionError):
        ask(client)
    assert time.perf_counter() - began >= 0.2


@pytest.mark.parametrize("stream", [False, True])
def test_a_malformed_body_does_not_parse(stream: bool) -> None:
    with client_for([malformed(text("word " * 100))]) as client, pytest.raises(json.JSONDecodeError):
        list(ask(client, stream=stream))


def test_a_delayed_answer_runs_into_the_clients_timeout() -> None:
    with ModelServer([delayed(text("late"), 30), delayed(text("soon"), 0.1)]) as server:
        with client_of(server, timeout=0.3) as client, pytest.raises(anthropic.APITimeoutError):
            ask(client)
        began = time.perf_counter()
        with client_of(server) as client:
            assert ask(client).content[0].text == "soon"
        assert time.perf_counter() - began >= 0.1


def test_a_slow_stream_takes_its_time_before_every_event() -> None:
    with client_for([slow(text("Hi"), 0.03)]) as client:
        arrivals = [time.perf_counter()]
        with ask(client, stream=True) as stream:
            arrivals.extend(time.perf_counter() for _ in stream)
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    assert len(gaps) == 6
    assert min(gaps) > 0.015, gaps


def test_a_stalled_stream_stops_once_in_the_middle() -> None:
    with ModelServer([stalled(text("Hi"), 0.3, after_events=3), stalled(text("Hi"), 30)]) as server:
        with client_of(server) as client, ask(client, stream=True) as stream:
            arrivals = [(event.type, time.perf_counter()) for event in stream]
        gaps = {later[0]: later[1] - earlier[1] for earlier, later in itertools.pairwise(arrivals)}
        assert max(gaps, key=lambda kind: gaps[kind]) == "content_block_delta"
        assert gaps["content_block_delta"] > 0.2
        with client_of(server, timeout=0.2) as client, pytest.raises(httpx2.ReadTimeout):
            list(ask(client, stream=True))


# --- scripts and the server --------------------------------------------------------------------------------------


def test_a_function_answers_by_the_request() -> None:
    def script(body: dict[str, Any]) -> Reply:
        last = body["messages"][-1]["content"]
        return tool_use("search", {"q": last}) if last == "Hello" else text("Nothing to look up.")

    with client_for(script) as client:
        assert ask(client).content[0].input == {"q": "Hello"}
        assert ask(client, [{"role": "user", "content": "Bye"}]).stop_reason == "end_turn"


def test_a_function_is_called_by_one_thread_at_a_time() -> None:
    inside = threading.Lock()

    def script(_: dict[str, Any]) -> Reply:
        assert inside.acquire(blocking=False), "two at once"
        time.sleep(0.005)  # long enough for another thread to get here, if it could
        inside.release()
        return text("alone")

    with talking(script) as (_, client), ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: ask(client).content[0].text, range(24)))
    assert said == ["alone"] * 24


def test_a_script_may_be_endless() -> None:
    with client_for(itertools.repeat(tool_use("again"))) as client:
        ids = [ask(client).content[0].id for _ in range(12)]
    assert ids == [f"toolu_test_{number:04d}" for number in range(1, 13)]


def test_the_end_of_the_script_is_an_error_with_its_reason() -> None:
    with talking([text("only one")], max_retries=2) as (server, client):
        ask(client)
        with pytest.raises(
            anthropic.BadRequestError, match="script of this ModelServer has ended: it held 1 replies"
        ) as caught:
            ask(client)
        assert caught.value.type == "invalid_request_error"
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (lambda body: body["no such key"], r"KeyError.*no such key"),
        (lambda body: None, r"AttributeError.*NoneType"),
        ([tool_use("a", {"not JSON": object()})], r"TypeError.*not JSON serializable"),
    ],
)
def test_a_script_that_does_not_work_tells_the_client_why(script: Any, why: str) -> None:
    with client_for(script, max_retries=2) as client, pytest.raises(anthropic.BadRequestError, match=why):
        ask(client)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/v1/messages", b"{", 400, "not JSON"),
        ("POST", "/v1/messages", b"[1]", 400, "a list, not an object"),
        ("POST", "/v1/messages", b"\xff", 400, "not JSON"),
        ("GET", "/v1/models?limit=1", b"", 404, "/v1/models"),
        ("POST", "/v1/messages/batches", b"{}", 404, "/v1/messages/batches"),
    ],
)
def test_what_is_no_message_request_is_refused(method: str, path: str, body: bytes, status: int, says: str) -> None:
    with ModelServer([text("ok")]) as server:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
        connection.request(method, path, body)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        assert (response.status, answer["type"]) == (status, "error")
        assert says in answer["error"]["message"]
        assert server.requests == ()


def test_many_clients_at_once_each_get_one_reply() -> None:
    replies = [text(f"reply {number}") for number in range(240)]
    with ModelServer(replies) as server:

        def talk(_: int) -> list[tuple[str, str]]:
            with client_of(server) as client:
                messages = [ask(client) if turn % 2 else streamed(client) for turn in range(15)]
            return [(message.id, message.content[0].text) for message in messages]

        with ThreadPoolExecutor(16) as pool:
            told = [pair for pairs in pool.map(talk, range(16)) for pair in pairs]
    assert sorted(told) == [(f"msg_test_{number + 1:04d}", f"reply {number}") for number in range(240)]


def test_closing_is_quick_even_while_clients_wait_and_leaves_nothing_behind() -> None:
    before = set(threading.enumerate())
    failures: list[BaseException] = []

    def wait_for(client: anthropic.Anthropic) -> None:
        try:
            list(ask(client, stream=True))
        except (anthropic.APIConnectionError, httpx2.RemoteProtocolError) as failure:
            failures.append(failure)

    with ModelServer([text("ok"), stalled(text("Hi"), 60), delayed(text("Hi"), 60)]) as server:
        idle = client_of(server)
        ask(idle)
        clients = [client_of(server) for _ in range(2)]
        waiting = [threading.Thread(target=wait_for, args=(client,)) for client in clients]
        for thread in waiting:
            thread.start()
        while len(server.requests) < 3:
            time.sleep(0.01)
        began = time.perf_counter()
    took_seconds = time.perf_counter() - began
    for thread in {*waiting, *threading.enumerate()} - before:
        thread.join(5)
    for client in [idle, *clients]:
        client.close()
    gc.collect()  # an unclosed socket would warn here, and warnings are errors
    assert took_seconds < 1.0
    assert len(failures) == 2
    assert set(threading.enumerate()) <= before


def test_the_url_exists_only_while_the_server_runs() -> None:
    server = ModelServer([text("once"), text("more")])
    with pytest.raises(RuntimeError, match="with statement"):
        _ = server.url
    for expected in ("once", "more"):
        with server, client_of(server) as client:
            assert ask(client).content[0].text == expected


def test_importing_the_kit_loads_nothing_heavy() -> None:
    heavy = ["anthropic", "duckdb", "polars", "pyarrow", "streamlit", "analyzer", "pytest"]
    code = f"import sys, instrument.testing; print([name for name in {heavy} if name in sys.modules])"
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- recorded exchanges ------------------------------------------------------------------------------------------


def test_the_packaged_exchanges_cover_what_they_should() -> None:
    exchanges = recorded_exchanges()
    bodies = [each.response_body for each in exchanges]
    assert 8 <= len(exchanges) <= 16
    assert {each.status for each in exchanges} == {200, 400, 401}
    assert sum(each.streaming for each in exchanges) >= 4
    assert any("prompt is too long" in body for body in bodies)
    assert any('"cache_read_input_tokens": 1069' in body for body in bodies)
    assert any(body.count('"type":"tool_use"') == 2 for body in bodies)
    path = Path(sys.modules["instrument.testing"].__path__[0]) / "exchanges.jsonl"
    assert path.stat().st_size < 100_000
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        assert record["licence"] in {"MIT", "Apache-2.0"}
        assert all(record[key] for key in ("source_repo", "commit", "path"))


def packaged(*, streaming: bool) -> list[Any]:
    """Recorded messages whose JSON has the keys in the API's order (one source sorted them)."""
    messages = [each for each in recorded_exchanges() if each.endpoint == "/v1/messages" and each.status == 200]
    return [
        pytest.param(each, id=each.source.partition(":")[2])
        for each in messages
        if each.streaming is streaming and not each.response_body.startswith('{"content"')
    ]


def scripted_as(message: dict[str, Any]) -> Reply:
    """The reply a test would write to get `message`."""
    usage = message["usage"]
    return together(
        *map(scripted_block, message["content"]),
        stop_reason=message["stop_reason"],
        model=message["model"],
        usage=Usage(
            usage["input_tokens"],
            usage["output_tokens"],
            usage["cache_read_input_tokens"],
            usage["cache_creation"]["ephemeral_5m_input_tokens"],
            usage["cache_creation"]["ephemeral_1h_input_tokens"],
            usage.get("output_tokens_details", {}).get("thinking_tokens"),
        ),
    )


def scripted_block(block: dict[str, Any]) -> Reply:
    if block["type"] == "thinking":
        return thinking(block["thinking"], signature=block["signature"])
    if block["type"] == "tool_use":
        return tool_use(block["name"], block["input"], id=block["id"])
    return text(block["text"])


def raw(server: ModelServer, body: Any) -> tuple[list[str], str]:
    """Header names and text of the answer, without the SDK."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    connection.request("POST", "/v1/messages", json.dumps(body))
    response = connection.getresponse()
    answer = response.read().decode()
    connection.close()
    return [name.lower() for name, _ in response.getheaders()], answer


@pytest.mark.parametrize("exchange", packaged(streaming=False))
def test_a_scripted_reply_has_the_bytes_of_the_recorded_one(exchange: Exchange) -> None:
    recorded = json.loads(exchange.response_body)
    with ModelServer([scripted_as(recorded)]) as server:
        names, answer = raw(server, exchange.request_body)
    as_recorded = json.dumps(recorded | {"id": "msg_test_0001"}, separators=(",", ":"))
    assert answer == as_recorded
    ours, theirs = set(names), set(exchange.response_headers)
    assert ours ^ theirs <= {"transfer-encoding", "content-length", "connection"}


def shape(event: dict[str, Any]) -> Any:
    """The keys of an event in order, down to the leaves, with the types of blocks and deltas."""
    return {
        key: shape(value) if isinstance(value, dict) else value if key == "type" else None
        for key, value in event.items()
    }


@pytest.mark.parametrize("exchange", packaged(streaming=True))
def test_a_scripted_stream_has_the_events_of_the_recorded_one(exchange: Exchange) -> None:
    with talking(ModelServer.replay([exchange])) as (server, client):
        # What the SDK assembles from the recorded stream is the reply to script.
        sent: dict[str, Any] = {"model": MODEL, "max_tokens": 1, "messages": []}
        with client.messages.stream(**sent, extra_body=exchange.request_body) as stream:
            message = json.loads(stream.get_final_message().to_json())
    with ModelServer([scripted_as(message)]) as server:
        names, answer = raw(server, exchange.request_body)

    def shapes(events: list[dict[str, Any]]) -> list[str]:
        # How a text is cut into deltas is the API's affair.
        each = [json.dumps(shape(event)) for event in events]
        return [first for first, _ in itertools.groupby(each)]

    ours = [json.loads(line.removeprefix("data: ")) for line in answer.split("\n") if line.startswith("data: ")]
    details = '"output_tokens": null, "output_tokens_details": {"thinking_tokens": null}'
    # Recorded before the API told thinking tokens apart; the plain replies show that it does.
    assert [each.replace(details, '"output_tokens": null') for each in shapes(ours)] == shapes(
        recorded_events(exchange)
    )
    assert [line for line in answer.split("\n") if line.startswith("event:")] == [f"event: {e['type']}" for e in ours]
    assert set(names) ^ set(exchange.response_headers) <= {"connection", "content-encoding", "vary"}


@pytest.mark.parametrize("match_body", [False, True])
def test_packaged_exchanges_replay_as_recorded(match_body: bool) -> None:
    exchanges = recorded_exchanges()
    asked = exchanges[::-1] if match_body else exchanges
    with client_for(ModelServer.replay(exchanges, match_body=match_body)) as client:
        for exchange in asked:
            sent = exchange.request_body
            # The SDK adds what we must give it; matching is by the whole body.
            if match_body and not {"model", "max_tokens", "messages"} <= sent.keys():
                continue
            expect_same(client, exchange)


def test_replay_matched_by_body_refuses_what_was_not_recorded() -> None:
    with (
        client_for(ModelServer.replay(recorded_exchanges(), match_body=True)) as client,
        pytest.raises(anthropic.BadRequestError, match="no exchange for /v1/messages with this body is left"),
    ):
        ask(client)


def test_a_recorded_stream_can_be_cut_too() -> None:
    exchange = next(each for each in recorded_exchanges() if each.streaming)
    with (
        client_for(ModelServer.replay([cut(exchange, after_events=2)])) as client,
        pytest.raises(httpx2.RemoteProtocolError),
    ):
        again(client, exchange)


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/traces beside the checkout")
def test_every_recorded_exchange_of_the_shared_traces_is_read_as_recorded() -> None:
    endpoints = ("/v1/messages", "/v1/messages/count_tokens")
    exchanges = [each for each in load_exchanges(SHARED) if each.endpoint in endpoints]
    assert len(exchanges) == 1_196
    with talking(ModelServer.replay(exchanges)) as (server, client):
        for exchange in exchanges:
            expect_same(client, exchange)
        assert len(server.requests) == len(exchanges)


# --- tools that go wrong -----------------------------------------------------------------------------------------


def double(number: int) -> Any:
    """Twice the number."""
    return 2 * number


async def double_async(number: int) -> Any:
    return 2 * number


def test_a_failing_tool_works_first_and_then_fails_for_good() -> None:
    tool = failing("disk full", after=2)(double)
    assert (tool(1), tool(2)) == (2, 4)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="disk full"):
            tool(3)
    assert (tool.__name__, tool.__doc__) == ("double", "Twice the number.")


async def test_faults_fit_coroutine_functions() -> None:
    fails = failing("gone", after=1, error=ConnectionError)(double_async)
    assert await fails(1) == 2
    with pytest.raises(ConnectionError, match="gone"):
        await fails(1)
    assert await returning("stale")(double_async)(1) == "stale"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await hanging(30)(double_async)(1)


def test_a_hanging_tool_answers_late_and_a_returning_one_does_nothing() -> None:
    began = time.perf_counter()
    assert hanging(0.1)(double)(4) == 8
    assert time.perf_counter() - began >= 0.1
    tool = returning(None, after=1)(double)
    assert (tool(4), tool(4), tool(4)) == (8, None, None)
