"""Runs whose caller goes away: nothing stays reserved, held or open, and the record says so."""

from __future__ import annotations

import _thread
import asyncio
import signal
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anthropic
import pytest

import instrument
from instrument import semconv
from instrument.budget import Budget
from instrument.ledger import Ledger, open_ledger
from instrument.runner.events import Ended, TextDelta, ToolStarted, TurnStarted
from instrument.runner.guarded import GuardedRunner
from instrument.runner.run import Run, active
from instrument.runner.stop import StopReason
from instrument.runner.tools import Tool
from instrument.spill import Cut, Spill
from instrument.testing import ModelServer, delayed, slow, text
from tests.recorded_lines import spans_in
from tests.runner.chaos import last
from tests.runner.in_memory import MODEL
from tests.runner.playing import call, policy

FIELDS = {"cost.user_day_limit_usd": 1.0}
LONG = "the handbook says a lot about that " * 40


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(open_ledger(tmp_path / "flyball.ledger")) as made:
        yield made


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "traces.duckdb"
    with instrument.record(path, checkpoint_seconds=None):
        yield path


@pytest.fixture
def around() -> Iterator[Budget]:
    """The budget of a run around, such as that of an agent whose tool has started this one."""
    run = Run(policy({"cost.run_limit_usd": 5.0}), name="outer", model=MODEL)
    token = active.set(run)
    yield run.budget
    active.reset(token)


def settings(ledger: Ledger, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "policy": policy(FIELDS), "ledger": ledger, "user_id": "ann", **more}


def hang() -> str:
    """Hangs."""
    threading.Event().wait(0.3)
    return "late"


async def hang_async() -> str:
    """Hangs."""
    await asyncio.sleep(30)
    return "late"


def left(ledger: Ledger, around: Budget) -> tuple[float, int]:
    """Reserved and held, US dollars and billionths of one."""
    return ledger.spent(ledger.account("ann")).reserved_usd, around.held_nano


def ends(database: Path) -> set[str]:
    """Stop reasons on record; fails where a span is open."""
    ended = spans_in(database)
    begun = {s["spanId"] for s in spans_in(database, marks=True)}
    assert begun <= {s["spanId"] for s in ended}
    return {s["attributes"][semconv.STOP_REASON] for s in ended if semconv.STOP_REASON in s["attributes"]}


@pytest.mark.parametrize("until", [TurnStarted, TextDelta, ToolStarted])
def test_a_stream_that_is_left_early(until: type, ledger: Ledger, database: Path, around: Budget) -> None:
    script = [slow(text(LONG), 0.01)] if until is TextDelta else [call("hang")]
    with ModelServer(script) as server, anthropic.Anthropic(api_key="test", base_url=server.url) as client:
        events = GuardedRunner(client, **settings(ledger, tools=[hang])).stream("What is x?")
        next(event for event in events if isinstance(event, until))
        events.close()  # type: ignore[attr-defined]
    spent = ledger.spent(ledger.account("ann")).settled_usd
    assert left(ledger, around) == (0, 0)
    assert ends(database) == {"cancelled"}
    # What was not sent is not paid; what was, and is not known, is paid at its worst.
    assert (spent == 0, around.spent_nano == 0) == (until is TurnStarted, until is TurnStarted)
    assert around.known == (until is not TextDelta)


def test_a_stream_that_is_never_begun_is_no_run(ledger: Ledger, database: Path) -> None:
    with ModelServer([]) as server, anthropic.Anthropic(api_key="test", base_url=server.url) as client:
        events = GuardedRunner(client, **settings(ledger)).stream("What is x?")
        del events
        assert (server.requests, spans_in(database), spans_in(database, marks=True)) == ((), [], [])


@pytest.mark.parametrize("until", [TurnStarted, TextDelta])
async def test_an_asynchronous_stream_that_is_left_early(
    until: type, ledger: Ledger, database: Path, around: Budget
) -> None:
    with ModelServer([slow(text(LONG), 0.01)]) as server:
        async with anthropic.AsyncAnthropic(api_key="test", base_url=server.url) as client:
            async with aclosing(_events(GuardedRunner(client, **settings(ledger)))) as events:
                async for event in events:
                    if isinstance(event, until):
                        break
            # The model's span too has ended by now, and not when somebody collects it.
            assert ends(database) == {"cancelled"}
            calls = [s for s in spans_in(database) if s["attributes"][semconv.OPERATION] == semconv.CHAT]
            assert len(calls) == (until is TextDelta)
    assert left(ledger, around) == (0, 0)


async def _events(runner: GuardedRunner) -> AsyncGenerator[Any, None]:
    async with aclosing(runner.astream("What is x?")) as events:
        async for event in events:
            yield event


@pytest.mark.parametrize("during", ["request", "tool", "thread", "reserving"])
async def test_a_task_that_is_cancelled(during: str, ledger: Ledger, database: Path, around: Budget) -> None:
    class Slow:
        """A ledger that takes its time to reserve."""

        def __getattr__(self, name: str) -> Any:
            return getattr(ledger, name)

        def reserve(self, *args: Any, **more: Any) -> Any:
            threading.Event().wait(0.2)
            return ledger.reserve(*args, **more)

    script = [delayed(text("Late."), 0.5)] if during == "request" else [call("hang_async"), text("Done.")]
    script = [call("hang"), text("Done.")] if during == "thread" else script
    with ModelServer(script) as server:
        async with anthropic.AsyncAnthropic(api_key="test", base_url=server.url) as client:
            own: Any = Slow() if during == "reserving" else ledger
            runner = GuardedRunner(client, **settings(own, tools=[hang, hang_async]))
            task = asyncio.create_task(runner.arun("What is x?"))
            while during != "reserving" and not server.requests:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.15)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.2)
    assert left(ledger, around) == (0, 0)
    assert ends(database) == {"cancelled"}
    spent = ledger.spent(ledger.account("ann")).settled_usd
    assert (spent == 0) == (during == "reserving")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell that starts something in the background has it ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("during", ["request", "tool"])
def test_ctrl_c(during: str, ledger: Ledger, database: Path, around: Budget) -> None:
    over = threading.Event()

    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    def hang() -> str:
        """Hangs, while somebody presses the keys."""
        threading.Timer(0.05, _thread.interrupt_main).start()
        over.wait(10)
        return "late"

    with (
        ModelServer([call("hang"), text("Done.")]) as server,
        anthropic.Anthropic(api_key="test", base_url=server.url) as client,
    ):
        hit = client.with_options(middleware=[interrupt]) if during == "request" else client
        runner = GuardedRunner(hit, **settings(ledger, tools=[hang]))
        with pytest.raises(KeyboardInterrupt):
            runner.run("What is x?")
        over.set()
    assert left(ledger, around) == (0, 0)
    assert ends(database) == {"cancelled"}


def test_a_stream_of_a_run_that_ended_can_be_closed_again(ledger: Ledger) -> None:
    with ModelServer([text("Done.")]) as server, anthropic.Anthropic(api_key="test", base_url=server.url) as client:
        events = GuardedRunner(client, **settings(ledger)).stream("What is x?")
        assert isinstance(list(events)[-1], Ended)
        events.close()  # type: ignore[attr-defined]


# --- defects of ours --------------------------------------------------------------------------------------------------


class BrokenSpill(Spill):
    """Cannot cut anything."""

    def cut(self, text: str, limit_chars: int) -> Cut | None:
        raise RuntimeError("no scissors")


class Clumsy:
    """A client whose streams cannot be closed."""

    def __init__(self, client: anthropic.Anthropic) -> None:
        self.messages, self._client = self, client

    def with_options(self, **_: Any) -> Clumsy:
        return self

    middleware, open_telemetry = (), {"traces": {}}

    def stream(self, **request: Any) -> Any:
        manager = self._client.messages.stream(**request)

        def fail(*_: Any) -> None:
            type(manager).__exit__(manager, None, None, None)
            raise RuntimeError("the door jams")

        return SimpleNamespace(__enter__=manager.__enter__, __exit__=fail)


@pytest.mark.parametrize("way", ["run", "stream"])
def test_a_defect_of_ours_ends_the_run_and_closes_everything(
    way: str, ledger: Ledger, database: Path, around: Budget
) -> None:
    with ModelServer([call("hang")]) as server, anthropic.Anthropic(api_key="test", base_url=server.url) as client:
        fields = {**FIELDS, "context.result_chars": 200}
        tools = [Tool("hang", "", {"type": "object"}, lambda: "x" * 300)]
        own = settings(ledger, tools=tools, spill=BrokenSpill(), policy=policy(fields))
        runner = GuardedRunner(client, **own)
        result = runner.run("What is x?") if way == "run" else last(list(runner.stream("What is x?")))
    assert (result.stop_reason, str(result.error)) == (StopReason.INTERNAL_ERROR, "no scissors")
    assert left(ledger, around) == (0, 0)
    assert ends(database) == {"internal_error"}
    assert {s["name"] for s in spans_in(database)} >= {"execute_tool hang", "invoke_agent agent"}


def test_a_stream_that_cannot_be_closed_keeps_nothing_reserved(ledger: Ledger, around: Budget) -> None:
    with ModelServer([text("Done.")]) as server, anthropic.Anthropic(api_key="test", base_url=server.url) as client:
        runner = GuardedRunner(Clumsy(client), **settings(ledger))  # type: ignore[arg-type]
        result = last(list(runner.stream("What is x?")))
    assert (result.stop_reason, str(result.error)) == (StopReason.INTERNAL_ERROR, "the door jams")
    assert left(ledger, around) == (0, 0)
    assert around.spent_nano > 0
