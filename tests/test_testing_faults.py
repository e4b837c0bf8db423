"""The catalogues of `instrument.testing`: every fault does what it says, to plain tools and coroutines, in plain answers and streams."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import inspect
import itertools
import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import httpx2
import pytest

from instrument.testing import API_FAULTS, TOOL_FAULTS, ModelServer, hanging, release_tools, text

MODEL = "claude-opus-5-5"


def double(number: Any = 21) -> Any:
    """Twice the number."""
    return 2 * number


async def double_async(number: Any = 21) -> Any:
    """Twice the number."""
    return 2 * number


def outcome(work: Callable[[], Any]) -> Any:
    """What `work` gives, or the exception that it raises."""
    try:
        return work()
    except BaseException as raised:  # noqa: BLE001 - whatever it is, is the answer
        return raised


def in_thread(work: Callable[[], Any]) -> Any:
    """The outcome in a thread of its own, which may die of it."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(outcome, work).result(20)


def in_loop(tool: Callable[..., Any], *args: Any) -> Any:
    """The outcome of a coroutine tool, in an event loop and a task of its own."""

    async def work() -> Any:
        return await asyncio.create_task(tool(*args))

    return outcome(lambda: asyncio.run(work()))


def both(name: str) -> list[Any]:
    """The outcome of a plain and of a coroutine tool with this fault."""
    fault = TOOL_FAULTS[name]
    return [in_thread(fault(double)), in_loop(fault(double_async))]


# --- the catalogues ----------------------------------------------------------------------------------------------


def test_there_are_faults_enough_and_each_says_what_it_does() -> None:
    assert len(TOOL_FAULTS) >= 25
    assert len(API_FAULTS) >= 30
    for name, fault in [*TOOL_FAULTS.items(), *API_FAULTS.items()]:
        assert (fault.name, str(fault)) == (name, name)
        assert len(fault.sentence) > 10, name
        assert fault.sentence.endswith("."), name


@pytest.mark.parametrize("fault", TOOL_FAULTS.values(), ids=str)
def test_a_broken_tool_still_looks_like_itself_and_can_work_first(fault: Any) -> None:
    plain, coroutine = fault(double, after=2), fault(double_async, after=1)
    assert (plain.__name__, plain.__doc__) == ("double", "Twice the number.")
    assert inspect.signature(plain) == inspect.signature(double)
    assert inspect.iscoroutinefunction(coroutine)
    assert not inspect.iscoroutinefunction(plain)
    assert [plain(1), plain(2)] == [2, 4]
    assert in_loop(coroutine, 3) == 6


# --- tools that raise --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("raises", RuntimeError),
        ("raises_at_length", ValueError),
        ("raises_group", ExceptionGroup),
        ("raises_system_exit", SystemExit),
        ("raises_keyboard_interrupt", KeyboardInterrupt),
        ("raises_cancelled", asyncio.CancelledError),
        ("recurses", RecursionError),
    ],
)
def test_a_tool_raises(name: str, expected: type[BaseException]) -> None:
    assert [type(raised) for raised in both(name)] == [expected, expected]


def test_an_exception_can_be_without_words_outside_of_the_tree_or_ten_million_characters_long() -> None:
    for raised in both("raises_unprintable"):
        assert isinstance(raised, Exception)
        with pytest.raises(RuntimeError, match="no words"):
            str(raised)
    assert not any(isinstance(raised, Exception) for raised in both("raises_base_exception"))
    assert [len(str(raised)) for raised in both("raises_at_length")] == [10_000_000] * 2


def test_stop_iteration_ends_a_generator_that_lets_it_through() -> None:
    tool = TOOL_FAULTS["raises_stop_iteration"](double)

    def items() -> Iterator[Any]:
        yield from map(tool, [1, 2])

    assert list(items()) == []
    raised = in_loop(TOOL_FAULTS["raises_stop_iteration"](double_async))
    assert isinstance(raised.__cause__, StopIteration), "Python makes it a RuntimeError in a coroutine"


# --- tools that do not come back, or not alone -------------------------------------------------------------------


@pytest.mark.parametrize("tool", [TOOL_FAULTS["hangs"](double), TOOL_FAULTS["hangs_deaf"](double), hanging(30)(double)])
def test_a_plain_tool_hangs_until_it_is_released(tool: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(tool, 2)
        with pytest.raises(TimeoutError):
            future.result(0.15)
        release_tools()
        assert future.result(2) == 4


def test_a_deaf_tool_ignores_what_is_raised_into_its_thread() -> None:
    idents: list[int] = []

    def work() -> Any:
        idents.append(threading.get_ident())
        return TOOL_FAULTS["hangs_deaf"](double)(2)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        time.sleep(0.1)
        assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(idents[0]), ctypes.py_object(OSError)) == 1
        with pytest.raises(TimeoutError):
            future.result(0.15)
        release_tools()
        assert future.result(2) == 4


async def test_a_hanging_coroutine_can_be_cancelled() -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(TOOL_FAULTS["hangs"](double_async)(2), 0.1)


async def test_a_deaf_coroutine_cannot_be_cancelled() -> None:
    task = asyncio.create_task(TOOL_FAULTS["hangs_deaf"](double_async)(2))
    for _ in range(3):
        await asyncio.sleep(0.05)
        task.cancel()
    await asyncio.sleep(0.05)
    assert not task.done()
    release_tools()
    assert await asyncio.wait_for(task, 2) == 4


# Python lets a thread end so; pytest reports it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_tool_ends_its_own_thread_from_the_outside() -> None:
    lived: list[str] = []

    def work() -> None:
        TOOL_FAULTS["kills_its_thread"](double)(2)
        lived.append("on")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(5)
    assert (thread.is_alive(), lived) == (False, [])
    assert isinstance(in_loop(TOOL_FAULTS["kills_its_thread"](double_async), 2), asyncio.CancelledError)


def leaked_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "leaked by a tool"]


def test_a_leaking_tool_leaves_a_thread_behind() -> None:
    assert TOOL_FAULTS["leaks"](double)(2) == 4
    (thread,) = leaked_threads()
    release_tools()
    thread.join(2)
    assert leaked_threads() == []


async def test_a_leaking_coroutine_leaves_a_task_behind() -> None:
    assert await TOOL_FAULTS["leaks"](double_async)(2) == 4
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "leaked by a tool"]
    assert not task.done()
    release_tools()
    await asyncio.wait_for(task, 2)


# --- tools that disturb others -----------------------------------------------------------------------------------


def test_a_tool_finds_standard_output_closed_and_puts_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before, interval = sys.stdout, sys.getswitchinterval()
    monkeypatch.setattr(sys, "stdout", before)  # put back whatever happens
    sys.setswitchinterval(1e-6)  # so that threads get into each other's way if they can
    with ThreadPoolExecutor(8) as pool:
        tool = TOOL_FAULTS["closes_stdout"](double)
        raised = list(pool.map(lambda _: outcome(tool), range(500)))
    sys.setswitchinterval(interval)
    assert {str(each).rstrip(".") for each in raised} == {"I/O operation on closed file"}
    assert sys.stdout is before
    assert isinstance(in_loop(TOOL_FAULTS["closes_stdout"](double_async)), ValueError)


def test_a_tool_changes_the_arguments_it_was_given() -> None:
    for color in ("plain", "coroutine"):
        given: dict[str, Any] = {"list": [1, {"deep": [2]}]}
        inner = given["list"][1]
        if color == "plain":
            assert TOOL_FAULTS["mutates_arguments"](length)(given) == 1
        else:
            assert in_loop(TOOL_FAULTS["mutates_arguments"](length_async), given) == 1
        assert given == {"mutated": True}
        assert inner == {"mutated": True}


def length(number: Any) -> int:
    return len(number)


async def length_async(number: Any) -> int:
    return len(number)


# --- tools that return something odd -----------------------------------------------------------------------------


def test_a_tool_returns_what_has_no_form_in_json() -> None:
    for name in ("returns_bytes", "returns_object", "returns_odd_keys"):
        for value in both(name):
            with pytest.raises(TypeError):
                json.dumps(value)
    for value in both("returns_nan"):
        assert math.isnan(value["mean"])
        with pytest.raises(ValueError, match="JSON compliant"):
            json.dumps(value, allow_nan=False)
    for value in both("returns_cycle"):
        assert value[1] is value
    for value in both("returns_deep"):
        with pytest.raises(RecursionError):
            json.dumps(value)
    for value in both("returns_surrogates"):
        with pytest.raises(UnicodeEncodeError):
            value.encode()


def test_a_tool_returns_nothing_too_much_or_something_unprintable() -> None:
    assert both("returns_none") == [None, None]
    assert [len(value) for value in both("returns_huge_text")] == [50_000_000] * 2
    for value in both("returns_unprintable"):
        assert not isinstance(value, BaseException)
        with pytest.raises(RuntimeError, match="no words"):
            str(value)


def test_a_tool_returns_work_that_is_still_to_be_done() -> None:
    for value in both("returns_generator"):
        assert next(value) == "first"
        with pytest.raises(OSError, match="second item"):
            next(value)
    for value in both("returns_coroutine"):
        assert inspect.iscoroutine(value)
        value.close()


# --- the API -----------------------------------------------------------------------------------------------------

ANSWERS: dict[str, str] = {
    # what `messages.create` and `messages.stream` make of it without retries: an exception, or a stop reason and content
    "rate_limited": "RateLimitError",
    "rate_limited_for_an_hour": "RateLimitError",
    "overloaded": "OverloadedError",
    "overloaded_for_ever": "OverloadedError",
    "server_error": "InternalServerError",
    "bad_gateway": "InternalServerError",
    "unauthorized": "AuthenticationError",
    "invalid_request": "BadRequestError",
    "prompt_too_long": "BadRequestError",
    "request_too_large": "ContentTooLargeError",
    "connection_closed": "APIConnectionError",
    "cut_off": "APIConnectionError / RemoteProtocolError",
    "cut_in_tool_call": "APIConnectionError / RemoteProtocolError",
    "error_in_stream": "APIConnectionError / APIStatusError",
    "stalls": "APITimeoutError / ReadTimeout",
    "slow_answer": "end_turn: text",
    "malformed_json": "JSONDecodeError",
    "empty_body": "JSONDecodeError / AssertionError",
    "empty_content": "end_turn: ",
    "blank_text": "end_turn: text",
    "unknown_stop_reason": "a_reason_of_tomorrow: text",
    "unknown_block": "end_turn: hologram+text",
    "refusal": "refusal: ",
    "max_tokens_in_tool_call": "max_tokens: tool_use {'question': 'wha'} / max_tokens: tool_use {}",
    "context_window_exceeded": "model_context_window_exceeded: text",
    "pause_turn": "pause_turn: text",
    "pause_turn_for_ever": "pause_turn: text",
    "no_usage": "end_turn: text / AttributeError",
    "huge_usage": "end_turn: text",
    "wrong_arguments": "tool_use: tool_use {'no_such_argument': {'nested': [None]}}",
    "input_not_an_object": "tool_use: tool_use ['what', 1, None]",
    "broken_input": "tool_use: tool_use {} / ValueError",
    "unknown_tool": "tool_use: tool_use {'question': 'what'}",
    "duplicate_ids": "tool_use: tool_use {'question': 'this'}+tool_use {'question': 'that'}",
    "tool_call_without_its_stop_reason": "end_turn: tool_use {'question': 'what'}",
    "stop_reason_without_its_tool_call": "tool_use: text",
    "tool_calls_for_ever": "tool_use: tool_use {'question': 'what'}",
    "narration_for_ever": "end_turn: text",
}


def ask(client: anthropic.Anthropic, *, stream: bool) -> Any:
    request: Any = {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}
    if not stream:
        return client.messages.create(**request)
    with client.messages.stream(**request) as events:
        return events.get_final_message()


def described(work: Callable[[], Any]) -> str:
    message = outcome(work)
    if isinstance(message, BaseException):
        return type(message).__name__
    blocks = [f"tool_use {block.input}" if block.type == "tool_use" else block.type for block in message.content]
    return f"{message.stop_reason}: {'+'.join(blocks)}"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("name", ANSWERS)
def test_a_fault_of_the_api_is_what_the_sdk_makes_of_it(name: str, stream: bool) -> None:
    plain, _, streamed = ANSWERS[name].partition(" / ")
    with (
        ModelServer(itertools.chain(API_FAULTS[name](), [text("ok")])) as server,
        anthropic.Anthropic(api_key="test", base_url=server.url, max_retries=0, timeout=0.5) as client,
    ):
        assert described(lambda: ask(client, stream=stream)) == ((streamed or plain) if stream else plain)
        if not API_FAULTS[name].endless:
            assert ask(client, stream=stream).content[0].text == "ok"


def test_every_fault_of_the_api_is_tried_out() -> None:
    assert ANSWERS.keys() | {"many_tool_calls"} == API_FAULTS.keys()
    (reply,) = API_FAULTS["many_tool_calls"](tool="read")
    assert isinstance(reply.content, tuple)  # type: ignore[union-attr]
    assert [block["name"] for block in reply.content] == ["read"] * 100  # type: ignore[union-attr]


def test_faults_that_never_stop_go_on() -> None:
    endless = {name for name, fault in API_FAULTS.items() if fault.endless}
    assert endless == {"overloaded_for_ever", "pause_turn_for_ever", "tool_calls_for_ever", "narration_for_ever"}
    for name in endless:
        assert len(list(itertools.islice(API_FAULTS[name](), 500))) == 500


def test_a_call_of_the_faults_names_the_tool_it_was_told() -> None:
    (unknown,), (wrong,) = API_FAULTS["unknown_tool"](tool="read"), API_FAULTS["wrong_arguments"](tool="read")
    assert [reply.content[0]["name"] for reply in (unknown, wrong)] == ["read_by_telepathy", "read"]  # type: ignore[union-attr]


def test_a_rate_limit_names_the_time_to_wait() -> None:
    for name, seconds in (("rate_limited", "0.05"), ("rate_limited_for_an_hour", "3600")):
        with (
            ModelServer(API_FAULTS[name]()) as server,
            anthropic.Anthropic(api_key="test", base_url=server.url, max_retries=0) as client,
            pytest.raises(anthropic.RateLimitError) as caught,
        ):
            ask(client, stream=False)
        assert caught.value.response.headers["retry-after"] == seconds


def test_usage_can_be_missing_or_absurd() -> None:
    with (
        ModelServer([*API_FAULTS["no_usage"](), *API_FAULTS["huge_usage"]()]) as server,
        httpx2.Client(base_url=server.url) as client,
    ):
        body = {"model": MODEL, "messages": []}
        first, second = (client.post("/v1/messages", json=body).json() for _ in range(2))
    assert "usage" not in first
    assert second["usage"]["output_tokens"] == 10**9


def test_what_is_spelt_out_in_a_stream_never_shows_elsewhere() -> None:
    with (
        ModelServer(itertools.cycle(API_FAULTS["max_tokens_in_tool_call"]())) as server,
        httpx2.Client(base_url=server.url) as client,
    ):
        answers = [
            client.post("/v1/messages", json={"model": MODEL, "messages": [], "stream": stream}).text
            for stream in (False, True)
        ]
    assert [answer.count("test kit") for answer in answers] == [0, 0]
    assert '"partial_json":"{\\"question\\": \\"wha"' in answers[1]


@pytest.fixture(autouse=True)
def _nothing_hangs_on() -> Iterator[None]:
    yield
    release_tools()
    with contextlib.suppress(ValueError):
        assert not sys.stdout.closed
