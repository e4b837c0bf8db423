"""Tool calls of one turn, with real threads, tasks and loops. Each bad behaviour by itself, in both drivers."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic.lib.tools import ToolError

from instrument.runner import threads
from instrument.runner.execution import Job, Ran, abandoned_threads, arun_jobs, run_jobs
from instrument.runner.toolbox import toolbox
from instrument.runner.tools import Tool

Driver = Callable[..., list[Ran]]
ANY = {"type": "object"}
here: contextvars.ContextVar[str] = contextvars.ContextVar("here", default="nowhere")


def job(
    fn: Callable[..., Any], given: dict[str, Any] | None = None, *, timeout_seconds: float = 20.0, **more: Any
) -> Job:
    tool = toolbox([Tool("t", "", {**ANY, "additionalProperties": True}, fn)]).get("t")
    assert tool is not None
    return Job(tool, given or {}, timeout_seconds, **more)


def in_sync(jobs: list[Job], *, parallel: int = 8, **more: Any) -> list[Ran]:
    return run_jobs(jobs, parallel=parallel, **more)


def in_async(jobs: list[Job], *, parallel: int = 8, **more: Any) -> list[Ran]:
    return asyncio.run(arun_jobs(jobs, parallel=parallel, **more))


@pytest.fixture(params=[in_sync, in_async], ids=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Driver:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets the threads go that a test has made hang."""
    event = threading.Event()
    yield event
    event.set()
    until(lambda: abandoned_threads() == 0)


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text either")


class Lying(Exception):
    @property
    def status_code(self) -> int:
        raise RuntimeError("no attributes either")


class Later:
    """Something to await that is no coroutine."""

    def __await__(self) -> Iterator[Any]:
        yield from asyncio.sleep(0.001).__await__()
        return "came later"


def raising(error: BaseException) -> tuple[Callable[[], Any], Callable[[], Any]]:
    def fails() -> Any:
        raise error

    async def fails_later() -> Any:
        await asyncio.sleep(0)
        raise error

    return fails, fails_later


def deep(n: int = 0) -> int:
    return deep(n + 1)


async def adeep() -> int:
    return deep()


# --- whatever a tool raises -------------------------------------------------------------------------------------------

ERRORS: list[tuple[BaseException, str, str]] = [
    (ValueError("no such page"), "ValueError: no such page", "ValueError"),
    (SystemExit(3), "SystemExit: 3", "SystemExit"),
    (SystemExit(), "SystemExit", "SystemExit"),
    (KeyboardInterrupt(), "KeyboardInterrupt", "KeyboardInterrupt"),
    (GeneratorExit(), "GeneratorExit", "GeneratorExit"),
    (asyncio.CancelledError("mine"), "CancelledError: mine", "asyncio.exceptions.CancelledError"),
    (MemoryError(), "MemoryError", "MemoryError"),
    (Unprintable(), "Unprintable: <Unprintable>", f"{__name__}.Unprintable"),
    (Lying("x"), "Lying: x", f"{__name__}.Lying"),
    (BaseException("base"), "BaseException: base", "BaseException"),
    (ExceptionGroup("all", [ValueError("one")]), "ExceptionGroup: all (1 sub-exception)", "ExceptionGroup"),
    (ValueError("lone \ud800 surrogate"), "ValueError: lone ? surrogate", "ValueError"),
]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["function", "coroutine"])
@pytest.mark.parametrize(
    ("error", "text", "error_type"), ERRORS, ids=[f"{type(e).__name__}{i}" for i, (e, *_) in enumerate(ERRORS)]
)
def test_an_exception_is_a_result(
    drive: Driver, asynchronous: bool, error: BaseException, text: str, error_type: str
) -> None:
    [ran] = drive([job(raising(error)[asynchronous])])
    assert (ran.content, ran.text, ran.is_error, ran.error_type) == (text, text, True, error_type)
    assert ran.error is error
    assert not ran.timed_out
    assert not ran.abandoned


@pytest.mark.parametrize("fn", [deep, adeep])
def test_a_recursion_without_end_is_a_result(drive: Driver, fn: Callable[..., Any]) -> None:
    [ran] = drive([job(fn)])
    assert ran.error_type == "RecursionError"


def test_stop_iteration_is_a_result_too(drive: Driver) -> None:
    def stops() -> Any:
        return next(iter(()))

    assert drive([job(stops)])[0].error_type == "StopIteration"
    assert drive([job(raising(StopIteration())[1])])[0].error_type == "RuntimeError"  # as Python has it for coroutines


def test_a_long_message_is_cut_and_has_no_traceback(drive: Driver) -> None:
    [ran] = drive([job(raising(ValueError("x" * 100_000))[0])])
    assert len(ran.text) == 2_000
    assert "Traceback" not in ran.text


def test_a_tool_error_of_the_sdk_says_what_the_model_reads(drive: Driver) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    blocks: Any = [{"type": "text", "text": "Closed."}, image, {"type": "text", "text": "Try Monday."}]
    with_blocks, empty, plain = drive([job(raising(ToolError(content))[0]) for content in (blocks, "", "Shut.")])
    # The API refuses an error result that holds anything but text, or nothing.
    assert with_blocks.content == "Closed.\nTry Monday."
    assert empty.content == "The tool failed and gave no reason."
    assert plain.content == "Shut."
    assert all(r.is_error for r in (with_blocks, empty, plain))


def test_a_tool_that_ends_its_thread_is_a_result(drive: Driver) -> None:
    import _thread

    assert drive([job(_thread.exit)])[0].error_type == "SystemExit"
    assert drive([job(lambda: sys.exit("bye"))])[0].text == "SystemExit: bye"


# --- whatever a tool returns ------------------------------------------------------------------------------------------


def cycle() -> Any:
    value: list[Any] = [1]
    value.append(value)
    return value


class Nameless:
    def __repr__(self) -> str:
        raise RuntimeError


def generated() -> Iterator[Any]:
    yield "a"
    yield {"b": here.get()}


async def agenerated() -> Any:
    yield "a"
    yield {"b": here.get()}


RETURNS: list[tuple[Callable[[], Any], str]] = [
    (lambda: None, "(no output)"),
    (lambda: "", ""),
    (lambda: b"caf\xc3\xa9", "café"),
    (lambda: b"\xff\xfe\x00", "(binary data, 3 bytes)"),
    (lambda: "lone \ud800", "lone ?"),
    (lambda: {"lone \ud800": "\udfff"}, '{"lone ?": "?"}'),
    (lambda: math.nan, "nan"),
    (lambda: [math.nan, 1], "[null,1]"),
    (lambda: {"a": 10**80}, '{"a": 1' + "0" * 80 + "}"),
    (object, "<object object>"),
    (Nameless, "<Nameless>"),
    (generated, '["a",{"b":"nowhere"}]'),
    (Later, "came later"),
    (lambda: asyncio.sleep(0, "from a function"), "from a function"),
    (agenerated, '["a",{"b":"nowhere"}]'),
    (lambda _=None: agenerated(), '["a",{"b":"nowhere"}]'),
]


@pytest.mark.parametrize(("fn", "text"), RETURNS, ids=range(len(RETURNS)))
def test_whatever_is_returned_can_be_read(drive: Driver, fn: Callable[[], Any], text: str) -> None:
    async def afn() -> Any:
        return fn()

    for tool in (fn, afn):
        [ran] = drive([job(tool)])
        assert (ran.content, ran.text, ran.is_error) == (text, text, False)


def test_what_goes_in_circles_is_shown(drive: Driver) -> None:
    [ran] = drive([job(cycle)])
    assert ran.text.startswith("(too large or circular to be shown whole) [1, [1, [1,")
    assert not ran.is_error


def test_fifty_megabytes_come_through_whole(drive: Driver) -> None:
    [ran] = drive([job(lambda: "x" * 50_000_000)])
    assert len(ran.content) == 50_000_000


def test_a_generator_without_end_is_read_up_to_a_limit(drive: Driver) -> None:
    def endless() -> Iterator[int]:
        while True:
            yield 1

    async def aendless() -> Any:
        while True:
            yield 1

    for fn in (endless, aendless):
        [ran] = drive([job(fn)])
        assert ran.text.endswith(',"(only the first 10000 items were read)"]')


def test_a_generator_that_fails_half_way_is_a_failed_call(drive: Driver) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("half way")

    async def abroken() -> Any:
        yield 1
        raise ValueError("half way")

    for fn in (broken, abroken):
        [ran] = drive([job(fn)])
        assert (ran.text, ran.is_error) == ("ValueError: half way", True)


def test_a_future_of_another_loop_is_a_failed_call(drive: Driver) -> None:
    loop = asyncio.new_event_loop()
    try:
        future = loop.create_future()
        [ran] = drive([job(lambda: future)])
        assert ran.is_error
    finally:
        loop.close()


# --- time -------------------------------------------------------------------------------------------------------------


def test_a_function_over_its_time_is_given_up_and_counted(drive: Driver, release: threading.Event) -> None:
    began = time.monotonic()
    [ran] = drive([job(release.wait, timeout_seconds=0.1)])
    assert time.monotonic() - began < 1.0
    assert (ran.timed_out, ran.abandoned, ran.temporary, ran.is_error) == (True, True, True, True)
    assert ran.text.startswith("TimeoutError: t gave no result within 0.1 seconds; it may still be running")
    assert abandoned_threads() == 1
    release.set()
    until(lambda: abandoned_threads() == 0)


def test_a_coroutine_over_its_time_is_cancelled(drive: Driver) -> None:
    seen: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    [ran] = drive([job(slow, timeout_seconds=0.1)])
    assert (ran.timed_out, ran.abandoned, seen) == (True, False, ["cancelled"])
    assert ran.text == "TimeoutError: t gave no result within 0.1 seconds and was stopped."
    assert abandoned_threads() == 0


def test_a_coroutine_that_will_not_be_cancelled_is_given_up(drive: Driver, release: threading.Event) -> None:
    async def stubborn() -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)

    if drive is in_async:  # asyncio.run waits for it at its end, so it must come to one
        threading.Timer(1.6, release.set).start()
    [ran] = drive([job(stubborn, timeout_seconds=0.1)])
    assert (ran.timed_out, ran.abandoned) == (True, True)


def test_a_coroutine_that_blocks_our_loop_does_not_block_the_next_call(release: threading.Event) -> None:
    async def blocks() -> None:
        release.wait()

    async def fine() -> str:
        return "fine"

    box = toolbox([Tool("blocks", "", ANY, blocks), Tool("fine", "", ANY, fine)])
    [ran] = in_sync([Job(box.get("blocks"), {}, 0.1)])  # type: ignore[arg-type]
    assert (ran.timed_out, ran.abandoned) == (True, True)
    assert abandoned_threads() == 1
    assert in_sync([Job(box.get("fine"), {}, 5.0)])[0].text == "fine"  # type: ignore[arg-type]
    box.close()


def test_what_comes_after_the_limit_is_not_heard(drive: Driver, release: threading.Event) -> None:
    def late() -> str:
        release.wait()
        return "too late"

    told: list[tuple[int, bool]] = []

    def done(index: int, ran: Ran) -> None:
        told.append((index, ran.timed_out))
        release.set()

    def slow() -> str:
        time.sleep(0.3)
        return "in time"

    first, second = drive([job(late, timeout_seconds=0.1), job(slow)], on_done=done)
    assert (first.timed_out, second.text) == (True, "in time")
    assert told == [(0, True), (1, False)]


def test_nothing_starts_after_the_deadline_and_what_runs_is_given_up(drive: Driver, release: threading.Event) -> None:
    ran = drive([job(release.wait), job(lambda: "never")], parallel=1, deadline_seconds=0.15)
    assert [r.timed_out for r in ran] == [True, True]
    assert ran[1].text == "TimeoutError: t was not run, since no time was left for it."
    assert ran[1].seconds == 0.0
    assert ran[0].seconds == pytest.approx(0.15, abs=0.01)


# --- many at once -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True], ids=["functions", "coroutines"])
def test_results_come_in_the_order_of_the_jobs_and_no_more_run_than_may(drive: Driver, asynchronous: bool) -> None:
    lock, running, most = threading.Lock(), 0, 0

    def enter(by: int) -> None:
        nonlocal running, most
        with lock:
            running += by
            most = max(most, running)

    def work(n: int) -> int:
        enter(+1)
        time.sleep(0.02 * (5 - n))
        enter(-1)
        return n

    async def awork(n: int) -> int:
        enter(+1)
        await asyncio.sleep(0.02 * (5 - n))
        enter(-1)
        return n

    ended: list[int] = []
    ran = drive(
        [job(awork if asynchronous else work, {"n": n}) for n in range(6)],
        parallel=3,
        on_done=lambda index, _: ended.append(index),
    )
    assert [r.text for r in ran] == ["0", "1", "2", "3", "4", "5"]
    assert most == 3
    assert sorted(ended) == list(range(6))
    assert ended != sorted(ended)


def test_functions_and_coroutines_run_side_by_side(drive: Driver) -> None:
    async def aslow() -> str:
        await asyncio.sleep(0.3)
        return "a"

    began = time.monotonic()
    ran = drive([job(lambda: time.sleep(0.3)), job(aslow), job(raising(ValueError("x"))[0])])
    assert time.monotonic() - began < 0.55
    assert [r.is_error for r in ran] == [False, False, True]


def test_no_jobs_are_no_work(drive: Driver) -> None:
    assert drive([]) == []


# --- context ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True], ids=["function", "coroutine"])
def test_a_tool_runs_in_its_own_context(drive: Driver, asynchronous: bool) -> None:
    def where() -> str:
        return here.get()

    async def awhere() -> str:
        await asyncio.sleep(0)
        return here.get()

    contexts = []
    for name in ("one", "two"):
        context = contextvars.copy_context()
        context.run(here.set, name)
        contexts.append(context)
    fn = awhere if asynchronous else where
    ran = drive([*(job(fn, context=context) for context in contexts), job(fn, context=contexts[0])])
    assert [r.text for r in ran] == ["one", "two", "one"]  # one context may serve two calls at the same time
    assert here.get() == "nowhere"


def test_a_generator_is_read_in_the_context_of_its_tool(drive: Driver) -> None:
    context = contextvars.copy_context()
    context.run(here.set, "inside")
    assert [r.text for r in drive([job(f, context=context) for f in (generated, agenerated)])] == [
        '["a",{"b":"inside"}]'
    ] * 2


# --- what a tool leaves behind ----------------------------------------------------------------------------------------


def test_a_leaked_thread_is_nobodys_wait(drive: Driver, release: threading.Event) -> None:
    def leaks() -> str:
        threading.Thread(target=release.wait, daemon=True).start()
        return "left one"

    assert drive([job(leaks)])[0].text == "left one"


def test_a_leaked_task_does_not_outlive_the_toolbox() -> None:
    ends: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.sleep(600)
        finally:
            ends.append("cancelled")

    async def leaks() -> str:
        leaked.append(asyncio.ensure_future(forever()))
        await asyncio.sleep(0)
        return "left one"

    leaked: list[Any] = []
    box = toolbox([Tool("leaks", "", ANY, leaks)])
    tool = box.get("leaks")
    assert tool is not None
    assert in_sync([Job(tool, {}, 5.0)])[0].text == "left one"
    assert ends == []
    box.close()
    assert ends == ["cancelled"]
    assert in_sync([Job(tool, {}, 5.0)])[0].text == "left one"  # a closed toolbox can be used again
    box.close()


def test_a_leaked_task_of_a_function_is_cancelled_with_its_loop() -> None:
    async def leaks() -> str:
        leaked.append(asyncio.ensure_future(asyncio.sleep(600)))
        return "left one"

    leaked: list[Any] = []
    assert in_sync([job(lambda _=None: leaks())])[0].text == "left one"
    assert leaked[0].cancelled()


def test_a_leaked_task_that_exits_does_not_end_the_loop_of_the_others() -> None:
    async def leaks() -> str:
        async def exits() -> None:
            raise SystemExit(9)

        asyncio.ensure_future(exits())  # noqa: RUF006 - leaked on purpose
        await asyncio.sleep(0.05)
        return "survived"

    async def stops() -> str:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.01)
        return "went on"

    box = toolbox([Tool("leaks", "", ANY, leaks), Tool("stops", "", ANY, stops)])
    ran = in_sync([Job(box.get(name), {}, 5.0) for name in ("leaks", "stops")])  # type: ignore[arg-type]
    assert [r.text for r in ran] == ["survived", "went on"]
    box.close()
    gc.collect()


def test_what_a_coroutine_opened_in_one_call_works_in_the_next() -> None:
    opened: list[Any] = []

    async def opens() -> str:
        if not opened:
            opened.append(asyncio.get_running_loop())
        return "the same" if opened[0] is asyncio.get_running_loop() else "another"

    box = toolbox([Tool("opens", "", ANY, opens)])
    tool = box.get("opens")
    assert tool is not None
    assert [in_sync([Job(tool, {}, 5.0)])[0].text for _ in range(3)] == ["the same"] * 3
    box.close()


def test_a_forgotten_toolbox_ends_its_loop() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def keep() -> str:
        loops.append(asyncio.get_running_loop())
        return "kept"

    in_sync([job(keep)])
    gc.collect()
    until(loops[0].is_closed)


def test_threads_are_used_again(drive: Driver) -> None:
    used: list[threading.Thread] = []  # held, or the next one could look like the last
    for _ in range(20):
        drive([job(lambda: used.append(threading.current_thread()))])
    assert len(set(used)) <= 2


def test_a_tool_may_close_standard_output(drive: Driver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert [r.text for r in drive([job(out.close), job(lambda: sys.stdout.write("x"))], parallel=1)] == [
            "(no output)",
            "ValueError: I/O operation on closed file.",
        ]


def test_where_no_thread_can_be_started_the_call_has_failed(drive: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "_idle", [])
    monkeypatch.setattr(threading.Thread, "start", none)
    assert drive([job(lambda: "x")])[0].text == "RuntimeError: can't start new thread"


# --- giving up --------------------------------------------------------------------------------------------------------


async def test_cancelling_the_caller_cancels_the_tools_first(release: threading.Event) -> None:
    seen: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)
            seen.append("cleaned up")
            raise

    task = asyncio.create_task(arun_jobs([job(slow), job(release.wait)], parallel=4))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cleaned up"]
    assert abandoned_threads() == 1


async def test_a_task_that_was_given_up_is_not_lost_half_way() -> None:
    problems: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: problems.append(what["message"]))
    ends: list[str] = []

    async def stubborn() -> None:
        try:
            while not ends:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.get_running_loop().create_future()  # which nobody else knows
                ends.append("cancelled") if len(tries) > 1 else tries.append(1)
        finally:
            ends.append("ended")

    tries: list[int] = []
    [ran] = await arun_jobs([job(stubborn, timeout_seconds=0.05)], parallel=1)
    assert ran.abandoned
    await asyncio.sleep(0.02)  # until the loop itself has let it go
    gc.collect()
    assert (ends, problems) == ([], [])
    tries.append(1)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(0.01)
    assert ends == ["cancelled", "ended"]


async def test_a_toolbox_is_closed_without_blocking_the_loop() -> None:
    async def leaks() -> str:
        leaked.append(asyncio.ensure_future(asyncio.sleep(600)))
        return "left one"

    leaked: list[Any] = []
    box = toolbox([Tool("leaks", "", ANY, leaks)])
    assert (await asyncio.to_thread(in_sync, [Job(box.get("leaks"), {}, 5.0)]))[0].text == "left one"  # type: ignore[arg-type]
    await box.aclose()
    assert leaked[0].cancelled()


async def test_the_loop_is_free_while_a_function_runs() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await arun_jobs([job(lambda: time.sleep(0.3))], parallel=1)
    ticking.cancel()
    assert ticks > 10


def test_a_key_pressed_ends_the_wait_and_leaves_no_cancelled_tool_running() -> None:
    code = """
import asyncio, os, signal, sys, threading
from instrument.runner.execution import Job, run_jobs
from instrument.runner.toolbox import toolbox
from instrument.runner.tools import Tool
async def slow():
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        raise
box = toolbox([Tool("slow", "", {"type": "object"}, slow), Tool("hangs", "", {"type": "object"}, threading.Event().wait)])
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    run_jobs([Job(box.get(n), {}, 600.0) for n in box.names], parallel=4)
except KeyboardInterrupt:
    box.close()
    print("interrupted", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("cancelled\ninterrupted\n", "", 0)


def test_nothing_keeps_a_program_from_ending() -> None:
    code = """
import asyncio, threading, time
from instrument.runner.execution import Job, arun_jobs, run_jobs
from instrument.runner.toolbox import toolbox
from instrument.runner.tools import Tool
async def in_executor():
    await asyncio.to_thread(time.sleep, 600)
async def stubborn():
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass
async def blocks():
    time.sleep(600)
async def leaks():
    leaks.task = asyncio.ensure_future(asyncio.sleep(600))
tools = [("hangs", threading.Event().wait), ("in_executor", in_executor), ("stubborn", stubborn), ("blocks", blocks), ("leaks", leaks),
         ("returns_coroutine", lambda: stubborn())]
for name, fn in tools:
    box = toolbox([Tool(name, "", {"type": "object"}, fn)])
    [ran] = run_jobs([Job(box.get(name), {}, 0.1)], parallel=1)
    print(name, ran.timed_out, ran.abandoned)
box = toolbox([Tool("hangs", "", {"type": "object"}, threading.Event().wait)])
print(asyncio.run(arun_jobs([Job(box.get("hangs"), {}, 0.1)], parallel=1))[0].abandoned)
"""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "hangs True True",
        "in_executor True False",
        "stubborn True True",
        "blocks True True",
        "leaks False False",
        "returns_coroutine True True",
        "True",
    ]
    assert (done.stderr, done.returncode) == ("", 0)
    assert time.monotonic() - began < 30


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process_starts_threads_of_its_own() -> None:
    code = """
import os
from instrument.runner.execution import Job, run_jobs
from instrument.runner.toolbox import toolbox
from instrument.runner.tools import Tool
async def afn(): return "async"
box = toolbox([Tool("a", "", {"type": "object"}, lambda: "sync"), Tool("b", "", {"type": "object"}, afn)])
jobs = [Job(box.get(n), {}, 5.0) for n in box.names]
run_jobs(jobs, parallel=2)
if os.fork() == 0:
    print([r.text for r in run_jobs(jobs, parallel=2)], flush=True)
    os._exit(0)
os.wait()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "['sync', 'async']\n", done.stderr


# --- what may pass by itself ------------------------------------------------------------------------------------------


class Response:
    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


class HTTPStatusError(Exception):
    def __init__(self, status_code: int) -> None:
        self.response = Response(status_code)


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "temporary"),
    [
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (OSError(110, "Connection timed out"), True),
        (OSError(2, "No such file"), False),
        (PermissionError(13, "no"), False),
        (HTTPStatusError(429), True),
        (HTTPStatusError(503), True),
        (HTTPStatusError(408), True),
        (HTTPStatusError(404), False),
        (HTTPStatusError(401), False),
        (type("ReadTimeout", (Exception,), {})(), True),
        (type("ConnectError", (Exception,), {})(), True),
        (type("MyError", (type("APIConnectionError", (Exception,), {}),), {})(), True),
        (type("LocalProtocolError", (Exception,), {})(), False),
        (subprocess.TimeoutExpired("ls", 3), True),
        (caused(RuntimeError("search failed"), ConnectionError()), True),
        (caused(HTTPStatusError(400), ConnectionError()), False),
        (ValueError("timeout must be positive"), False),
        (KeyError("status"), False),
        (SystemExit(500), False),
        (Lying(), False),
    ],
    ids=repr,
)
def test_failures_that_pass_are_told_from_those_that_stay(error: BaseException, temporary: bool) -> None:
    assert in_sync([job(raising(error)[0])])[0].temporary is temporary


def test_invalid_arguments_say_which(drive: Driver) -> None:
    def f(n: int, m: int) -> str:
        """F."""
        return str(n + m)

    tool = toolbox([anthropic.beta_tool(f)]).get("f")
    assert tool is not None
    [ran] = drive([Job(tool, {"n": "x"}, 5.0)])
    assert ran.text == (
        "Invalid arguments: n: Input should be a valid integer, unable to parse string as an integer; m: Missing required argument"
    )
