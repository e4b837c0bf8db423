"""`@agent`, `@tool`, `@model`: what lands in the journal, and that the host never notices."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from recorded_lines import span_named, spans_in

import instrument


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """A running recording without checkpoints; its database's path."""
    path = tmp_path / "t.duckdb"
    recorder = instrument.record(path, tracer_provider=TracerProvider(), checkpoint_seconds=None)
    yield path
    assert recorder.stats.errors == 0, recorder.stats.last_error
    instrument.tracing.forget(recorder)
    recorder.journal.close()


def test_a_tool_is_recorded_with_arguments_by_name_and_its_result(database: Path) -> None:
    @instrument.tool
    def find(path: str, *patterns: str, depth: int = 3, **flags: bool) -> dict[str, int]:
        """Finds."""
        return {"found": depth}

    assert find("src", "*.py", "*.md", depth=2, hidden=True) == {"found": 2}
    assert (find.__name__, find.__doc__) == ("find", "Finds.")

    span = span_named(database, "execute_tool find")
    arguments = json.loads(span["attributes"]["gen_ai.tool.call.arguments"])
    assert arguments == {"path": "src", "patterns": ["*.py", "*.md"], "depth": 2, "hidden": True}
    assert span["attributes"]["gen_ai.tool.call.result"] == '{"found":2}'
    assert span["attributes"]["gen_ai.operation.name"] == "execute_tool"
    assert span["attributes"]["gen_ai.tool.name"] == "find"
    assert span["status"] == {}


def test_none_is_null_and_text_stays_text(database: Path) -> None:
    @instrument.tool(name="say")
    def answer(value: Any) -> Any:
        return value

    for value in (None, 'a "b"', [1, None], True):
        answer(value)
    results = [s["attributes"]["gen_ai.tool.call.result"] for s in spans_in(database)]
    assert results == ["null", 'a "b"', "[1,null]", "true"]


def test_methods_of_all_kinds_leave_out_self_and_cls(database: Path) -> None:
    class Box:
        @instrument.tool
        def plain(self, a: int) -> int:
            return a

        @instrument.tool
        @classmethod
        def of_class(cls, a: int) -> str:
            return cls.__name__

        @staticmethod
        @instrument.tool
        def static(a: int) -> int:
            return a

    assert (Box().plain(1), Box.of_class(2), Box().of_class(a=2), Box.static(3)) == (1, "Box", "Box", 3)
    arguments = [s["attributes"]["gen_ai.tool.call.arguments"] for s in spans_in(database)]
    assert arguments == ['{"a":1}', '{"a":2}', '{"a":2}', '{"a":3}']


def test_an_exception_is_recorded_and_raised_unchanged(database: Path) -> None:
    error = FileNotFoundError(2, "no such file", "/a/b.txt")

    @instrument.tool
    def read() -> None:
        raise error

    with pytest.raises(FileNotFoundError) as raised:
        read()
    assert raised.value is error
    span = span_named(database, "execute_tool read")
    assert span["status"] == {"code": 2, "message": "[Errno 2] no such file: '/a/b.txt'"}
    assert span["attributes"]["error.type"] == "FileNotFoundError"
    assert "gen_ai.tool.call.result" not in span["attributes"]


def test_hostile_values_never_reach_the_host(database: Path) -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    cycle: list[Any] = []
    cycle.append(cycle)

    @instrument.tool
    def take(value: Any) -> Any:
        return value

    for value in (Hostile(), cycle, 10**80, "\ud83d", {1: {2, 3}}, object(), b"\xff\x00", float("nan")):
        assert take(value) is value
    spans = spans_in(database)
    assert len(spans) == 8
    assert all(json.loads(s["attributes"]["gen_ai.tool.call.arguments"]) is not None for s in spans)
    assert spans[5]["attributes"]["gen_ai.tool.call.result"] == '"<object object>"', (
        "an address would make every call another one"
    )


def test_a_raising_str_of_an_exception_stays_with_us(database: Path) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("never")

    @instrument.tool
    def fail() -> None:
        raise Mute

    with pytest.raises(Mute):
        fail()
    assert span_named(database, "execute_tool fail")["status"] == {"code": 2, "message": "<Mute>"}


def test_long_values_are_cut_and_the_cut_is_counted(database: Path) -> None:
    @instrument.tool
    def echo(text: str) -> str:
        return text

    echo("x" * 150_000)
    attributes = span_named(database, "execute_tool echo")["attributes"]
    assert len(json.loads(attributes["gen_ai.tool.call.arguments"])["text"]) == 100_000
    assert len(attributes["gen_ai.tool.call.result"]) == 100_000
    assert attributes["flyball.content.clipped"] == 100_000


async def test_coroutines_and_functions_that_return_them(database: Path) -> None:
    @instrument.tool
    async def wait(n: int) -> int:
        await asyncio.sleep(0)
        return n

    @instrument.tool
    def hand_on(n: int) -> Any:
        return wait(n)

    assert inspect.iscoroutinefunction(wait)
    assert await asyncio.gather(wait(1), wait(2), hand_on(3)) == [1, 2, 3]
    results = sorted((s["name"], s["attributes"]["gen_ai.tool.call.result"]) for s in spans_in(database))
    assert results == [
        ("execute_tool hand_on", "3"),
        ("execute_tool wait", "1"),
        ("execute_tool wait", "2"),
        ("execute_tool wait", "3"),
    ]


async def test_a_cancelled_tool_is_a_failed_one(database: Path) -> None:
    @instrument.tool
    async def hang() -> None:
        await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hang(), 0.01)
    span = span_named(database, "execute_tool hang")
    assert (span["status"]["code"], span["attributes"]["error.type"]) == (2, "asyncio.exceptions.CancelledError")


def test_generators_keep_their_protocol_and_leave_no_span_current(database: Path) -> None:
    @instrument.tool
    def count(limit: int) -> Iterator[int]:
        got = 0
        for i in range(limit):
            try:
                got = (yield i + got) or 0
            except KeyError:
                got = 100
        return "end"  # type: ignore[return-value]

    steps = count(4)
    assert next(steps) == 0
    assert trace.get_current_span() is trace.INVALID_SPAN, "a span must not stay current across a yield"
    assert instrument.current() is None
    assert steps.send(10) == 11  # type: ignore[attr-defined]
    assert steps.throw(KeyError) == 102  # type: ignore[attr-defined]
    assert next(steps) == 3
    with pytest.raises(StopIteration) as stop:
        next(steps)
    assert stop.value.value == "end"
    assert span_named(database, "execute_tool count")["attributes"]["gen_ai.tool.call.result"] == "end"


def test_what_a_generator_yields_is_its_result_also_when_it_is_dropped(database: Path) -> None:
    closed = []

    @instrument.tool
    def letters() -> Iterator[str]:
        try:
            yield from "abc"
        finally:
            closed.append(True)

    assert list(letters()) == ["a", "b", "c"]
    half = letters()
    next(half)
    half.close()  # type: ignore[attr-defined]
    assert closed == [True, True]
    spans = spans_in(database)
    assert [s["attributes"]["gen_ai.tool.call.result"] for s in spans] == ['["a","b","c"]', '["a"]']
    assert [s["status"] for s in spans] == [{}, {}]


async def test_async_generators(database: Path) -> None:
    @instrument.tool
    def inner(n: int) -> int:
        return n

    @instrument.agent
    async def run() -> Any:
        for i in range(2):
            yield inner(i)
        raise ValueError("over")

    steps = run()
    for n in range(2):
        assert await anext(steps) == n
        assert trace.get_current_span() is trace.INVALID_SPAN
    with pytest.raises(ValueError, match="over"):
        await anext(steps)
    agent = span_named(database, "invoke_agent run")
    assert agent["status"] == {"code": 2, "message": "over"}
    tools = [s for s in spans_in(database) if s["name"] == "execute_tool inner"]
    assert [t["parentSpanId"] for t in tools] == [agent["spanId"]] * 2


def test_a_model_call_takes_messages_tools_and_usage(database: Path) -> None:
    @instrument.model(provider="acme")
    def ask(messages: Any, model: str, system: str, tools: Any) -> str:
        instrument.usage(
            input_tokens=120, output_tokens=7, cache_read_tokens=100, finish_reason="stop", response_id="r1"
        )
        return "Hi."

    sent = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}]},
    ]
    ask(
        sent,
        model="acme-1",
        system="Be kind.",
        tools=[{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
    )

    span = span_named(database, "chat acme-1")
    facts = span["attributes"]
    assert span["kind"] == 3
    assert (facts["gen_ai.request.model"], facts["gen_ai.provider.name"]) == ("acme-1", "acme")
    assert json.loads(facts["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Hello"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "t1", "name": "f", "arguments": {"a": 1}}]},
    ]
    assert json.loads(facts["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be kind."}]
    assert json.loads(facts["gen_ai.tool.definitions"]) == [
        {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}
    ]
    assert json.loads(facts["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "Hi."}]}
    ]
    assert (facts["gen_ai.usage.input_tokens"], facts["gen_ai.usage.cache_read.input_tokens"]) == (120, 100)
    assert facts["gen_ai.response.finish_reasons"] == ["stop"]


def test_a_returned_message_reports_its_own_usage(database: Path) -> None:
    @dataclass
    class Usage:
        input_tokens: int = 10
        output_tokens: int = 5
        cache_read_input_tokens: int = 100
        cache_creation_input_tokens: int = 20

    @dataclass
    class Message:
        id: str
        model: str
        role: str
        content: list[Any]
        stop_reason: str
        usage: Usage

    @instrument.model
    def ask(prompt: str) -> Message:
        return Message("msg_1", "claude-x", "assistant", [{"type": "text", "text": "Yes."}], "end_turn", Usage())

    ask("Really?")
    facts = span_named(database, "chat ask")["attributes"]
    assert facts["gen_ai.response.id"] == "msg_1"
    assert facts["gen_ai.usage.input_tokens"] == 130, "the conventions count cache tokens inside the input"
    assert facts["gen_ai.usage.cache_write.input_tokens"] == 20
    assert facts["gen_ai.response.finish_reasons"] == ["end_turn"]
    assert "gen_ai.request.model" not in facts, "a function's name is no model"


def test_everything_below_an_agent_is_stamped_with_its_run(database: Path) -> None:
    other = instrument.tracing.provider_in_use().get_tracer("other.library")  # type: ignore[union-attr]

    @instrument.tool
    def leaf() -> None:
        with other.start_as_current_span("http"):
            pass

    @instrument.agent(name="helper")
    def sub() -> None:
        leaf()

    @instrument.agent(name="boss", user_id="u1", conversation_id="c1")
    def boss() -> None:
        leaf()
        sub()

    boss()
    with instrument.user("u2"), instrument.conversation("c2"):
        leaf()
    spans = spans_in(database)
    ids = {s["name"]: s["spanId"] for s in spans if s["name"].startswith("invoke")}
    seen = [
        (
            s["name"],
            s["attributes"].get("flyball.run.id"),
            s["attributes"].get("gen_ai.agent.name"),
            s["attributes"]["user.id"],
            s["attributes"]["gen_ai.conversation.id"],
        )
        for s in spans
    ]
    boss_id, sub_id = ids["invoke_agent boss"], ids["invoke_agent helper"]
    assert seen == [
        ("http", boss_id, "boss", "u1", "c1"),
        ("execute_tool leaf", boss_id, "boss", "u1", "c1"),
        ("http", sub_id, "helper", "u1", "c1"),
        ("execute_tool leaf", sub_id, "helper", "u1", "c1"),
        ("invoke_agent helper", sub_id, "helper", "u1", "c1"),
        ("invoke_agent boss", boss_id, "boss", "u1", "c1"),
        ("http", None, None, "u2", "c2"),
        ("execute_tool leaf", None, None, "u2", "c2"),
    ]


def test_threads_and_executors_keep_the_run(database: Path) -> None:
    @instrument.tool
    def work(n: int) -> int:
        return n

    @instrument.agent
    def run() -> None:
        thread = threading.Thread(target=instrument.in_context(work), args=(1,))
        thread.start()
        thread.join()
        with instrument.ContextThreadPool(2) as pool:
            assert list(pool.map(work, [2, 3])) == [2, 3]
            assert pool.submit(work, n=4).result() == 4

    run()
    spans = spans_in(database)
    agent = spans[-1]
    assert len(spans) == 5
    assert {s["parentSpanId"] for s in spans[:-1]} == {agent["spanId"]}
    assert {s["attributes"]["flyball.run.id"] for s in spans} == {agent["spanId"]}


def test_tasks_do_not_see_each_others_runs(database: Path) -> None:
    @instrument.tool
    async def work() -> None:
        await asyncio.sleep(0.01)

    @instrument.agent
    async def run() -> None:
        await asyncio.gather(work(), work())

    async def both() -> None:
        await asyncio.gather(run(), run())

    asyncio.run(both())
    spans = spans_in(database)
    agents = {s["spanId"] for s in spans if s["name"] == "invoke_agent run"}
    tools = [s for s in spans if s["name"] == "execute_tool work"]
    assert len(agents) == 2
    assert len(tools) == 4
    assert all(t["attributes"]["flyball.run.id"] == t["parentSpanId"] for t in tools)
    assert {t["parentSpanId"] for t in tools} == agents


def test_without_a_recording_decorated_functions_just_run() -> None:
    @instrument.tool
    def double(n: int) -> int:
        return 2 * n

    @instrument.agent
    def run(n: int) -> int:
        return double(n)

    assert run(2) == 4
