"""Tools in processes of their own, for real."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from instrument.runner.execution import Job, Ran, abandoned_threads, arun_jobs, run_jobs
from instrument.runner.toolbox import toolbox
from instrument.runner.tools import Tool, limited
from tests.runner import process_tools

Driver = Callable[[list[Job]], list[Ran]]


def in_sync(jobs: list[Job]) -> list[Ran]:
    return run_jobs(jobs, parallel=4)


def in_async(jobs: list[Job]) -> list[Ran]:
    return asyncio.run(arun_jobs(jobs, parallel=4))


@pytest.fixture(params=[in_sync, in_async], ids=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Driver:
    return request.param  # type: ignore[no-any-return]


def job(fn: Any, given: dict[str, Any] | None = None, *, timeout_seconds: float = 30.0) -> Job:
    tool = fn if isinstance(fn, Tool) else limited(fn, process=True)
    runnable = toolbox([tool]).get(tool.name)
    assert runnable is not None
    assert runnable.process
    return Job(runnable, given or {}, timeout_seconds)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text() if Path("/proc").exists() else True


def test_functions_of_any_kind_run_in_another_process(drive: Driver) -> None:
    plain, coroutine, decorated, rebound, structure, by_schema = drive(
        [
            job(process_tools.pid),
            job(process_tools.waited, {"seconds": 0.01}),
            job(process_tools.recorded, {"n": 3}),
            job(process_tools.rebound, {"n": 4}),
            job(process_tools.doubled, {"n": 5}),
            job(Tool("by_schema", "", {"type": "object"}, process_tools.pid, process=True), {"note": "noted"}),
        ]
    )
    assert plain.text.isdigit()
    assert plain.text != str(os.getpid())
    assert coroutine.text == "waited"
    assert decorated.text.startswith("3 in ")
    assert rebound.text.startswith("4 in ")
    assert structure.content == '{"n":10}'
    assert by_schema.text.endswith(" noted")


def test_whatever_happens_there_is_a_result_here(drive: Driver) -> None:
    died, exited, refused, strange, invalid = drive(
        [
            job(process_tools.dies),
            job(process_tools.exits),
            job(process_tools.refuses),
            job(process_tools.unserialisable),
            job(process_tools.doubled, {"n": "many"}),
        ]
    )
    assert died.text == "ToolProcessDied: the process of dies ended with exit code 7 before it gave a result"
    assert (exited.text, exited.error_type) == ("SystemExit: no more", "SystemExit")
    assert isinstance(exited.error, SystemExit)
    # Its exception cannot be read back; its name and text arrive all the same.
    assert (refused.text, refused.error_type) == ("Refused: refused with 42", "tests.runner.process_tools.Refused")
    assert refused.error is None
    assert (strange.text, strange.is_error) == ("<object object>", False)
    assert invalid.text.startswith("Invalid arguments: n: Input should be a valid integer")


def test_over_its_time_it_is_killed_with_what_it_has_started(drive: Driver, tmp_path: Path) -> None:
    file = tmp_path / "written"
    began = time.monotonic()
    [ran] = drive([job(process_tools.hangs_with_a_child, {"file": str(file)}, timeout_seconds=2.5)])
    assert time.monotonic() - began < 5.0
    assert (ran.timed_out, ran.abandoned, ran.temporary) == (True, False, True)
    assert ran.text == "TimeoutError: hangs_with_a_child gave no result within 2.5 seconds and was stopped."
    written = file.stat().st_size
    assert written > 0
    time.sleep(0.3)
    assert file.stat().st_size == written
    assert abandoned_threads() == 0


def test_a_process_that_ignores_signals_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    [ran] = in_sync([job(process_tools.ignores_signals, {"file": str(file)}, timeout_seconds=2.5)])
    assert ran.timed_out
    assert not is_running(int(file.read_text()))


async def test_cancelling_the_caller_kills_the_process(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    task = asyncio.create_task(arun_jobs([job(process_tools.ignores_signals, {"file": str(file)})], parallel=1))
    while not file.exists() or not file.read_text():
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    end = time.monotonic() + 5
    while is_running(int(file.read_text())) and time.monotonic() < end:
        await asyncio.sleep(0.02)
    assert not is_running(int(file.read_text()))


@pytest.mark.parametrize("how", ["raise SystemExit", "os.kill(os.getpid(), 9)"], ids=["ends", "killed"])
def test_no_process_outlives_the_program(tmp_path: Path, how: str) -> None:
    file = tmp_path / "pid"
    code = f"""
import os, threading, time
from pathlib import Path
from instrument.runner.execution import Job, run_jobs
from instrument.runner.toolbox import toolbox
from instrument.runner.tools import limited
from tests.runner.process_tools import ignores_signals
box = toolbox([limited(ignores_signals, process=True)])
job = Job(box.get("ignores_signals"), {{"file": {str(file)!r}}}, 600.0)
threading.Thread(target=run_jobs, args=([job],), kwargs={{"parallel": 1}}, daemon=True).start()
while not Path({str(file)!r}).exists() or not Path({str(file)!r}).read_text():
    time.sleep(0.02)
{how}
"""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""
    assert time.monotonic() - began < 15
    end = time.monotonic() + 5
    while is_running(int(file.read_text())) and time.monotonic() < end:
        time.sleep(0.02)
    assert not is_running(int(file.read_text()))


def test_a_function_that_no_process_can_import_is_refused_at_once() -> None:
    def local(n: int) -> str:
        """Inside of another."""
        return str(n)

    for tool in (limited(local, process=True), Tool("local", "", {"type": "object"}, lambda: "x", process=True)):
        with pytest.raises(
            TypeError, match=r"tool 'local' cannot run in a process of its own .* at the top of a module"
        ):
            toolbox([tool])
