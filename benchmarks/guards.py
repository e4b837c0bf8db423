"""What guarding a run costs, and that it does not grow with the run. Usage: python -m benchmarks.guards [turns]

A run of 1,000 turns through our own loop. Its model and its tool answer from memory and at once, so that what is left is guards,
accounting, sizes, and spans in the journal; each turn makes a call that is new.
And the guards alone, without loop, money and record.
Wall-clock time of a turn: from one request to the next.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

import instrument
from instrument.guards.facts import Answer, Call, Outcome
from instrument.guards.panel import Panel
from instrument.policy import Policy
from instrument.runner.execution import Job, run_jobs
from instrument.runner.loop import Loop
from instrument.runner.outcome import Ran, succeeded
from instrument.runner.run import Run
from instrument.runner.setup import Setup
from instrument.runner.toolbox import toolbox
from instrument.runner.wants import Arrived, CanEdit, RunTools, Send
from instrument.spill import Spill

MODEL: Final = "claude-sonnet-5-5"
EARLY, LATE = slice(5, 16), slice(-11, None)
"""Turns around the tenth, and the last ones."""
RUNS: Final = 5
POLICY: Final = msgspec.convert(
    {
        "loops": {"turns": 10**6, "tool_calls": 10**6, "checkpoint_calls": 10**6},
        "cost": {"run_limit_usd": 1e6},
        "context": {"windows": {"claude": 10**9}},
    },
    Policy,
)
"""The default one, with the limits that would end the run out of reach."""


def look(path: str) -> str:
    """Looks into a file.

    Args:
        path: Which.
    """
    return f"{path}: " + "what the file says. " * 20


def turns(count: int, *, threads: bool) -> list[float]:
    """Milliseconds of each turn of one run; `threads`: tools run as they do in reality, in a thread each."""
    numbers = itertools.count(1)

    def reply() -> dict[str, Any]:
        number = next(numbers)
        call = {"type": "tool_use", "id": f"toolu_{number}", "name": "look", "input": {"path": f"src/part_{number}.py"}}
        said = {"type": "text", "text": f"Part {number} is next, since the one before names it."}
        usage = {"input_tokens": 100 + 150 * number, "output_tokens": 60}
        head = {"id": f"msg_{number}", "role": "assistant", "model": MODEL, "stop_reason": "tool_use"}
        return {**head, "content": [said, call], "usage": usage}

    run = Run(POLICY, name="bench", model=MODEL)
    loop = Loop(run, _setup(), [{"role": "user", "content": "Read all of it."}], "Read all of it.")
    recorded = run.record("Read all of it.")

    @instrument.model(name=MODEL)
    def chat(messages: Any) -> Any:  # noqa: ARG001 - it is recorded, as the SDK's own span would be
        return reply()

    steps = loop.steps()
    answer: Any = None
    began: list[float] = []
    with recorded:
        while len(began) <= count:
            want = steps.send(answer)
            answer = None
            if isinstance(want, Send):
                began.append(time.perf_counter())
                answer = Arrived(chat(want.body["messages"][-2:]))
            elif isinstance(want, RunTools):
                answer = run_jobs(want.jobs, parallel=want.parallel, on_done=want.done) if threads else _in_memory(want)
            elif isinstance(want, CanEdit):
                answer = False
        steps.close()
    recorded.returned("")
    return [(b - a) * 1e3 for a, b in itertools.pairwise(began)]


def _setup() -> Setup:
    return Setup(model=MODEL, toolbox=toolbox([look]), policy=POLICY, spill=Spill(), max_tokens=1000)


def _in_memory(want: RunTools) -> list[Ran]:
    ran = [_called(job) for job in want.jobs]
    for index, each in enumerate(ran):
        want.done(index, each)
    return ran


def _called(job: Job) -> Ran:
    return succeeded(job.context.copy().run(job.tool.call, job.input, job.tool_use), time.perf_counter())


def panel(count: int) -> list[float]:
    """Microseconds of the guards alone: an answer, and a call asked for and run."""
    found, guards = [], Panel(POLICY)
    for turn in range(1, count + 1):
        began = time.perf_counter()
        guards.answered(Answer(turn, turn, turn, 80, 1))
        call = Call(turn, f"toolu_{turn}", "look", turn, turn)
        guards.asked(call)
        guards.ran(call, Outcome(turn, False))
        found.append((time.perf_counter() - began) * 1e6)
    return found


def grown(measure: Callable[[], list[float]]) -> tuple[float, float]:
    """Median of a turn around the tenth and around the last, over several runs."""
    gc.collect()
    taken = [measure() for _ in range(RUNS)]
    early, late = ([value for one in taken for value in one[part]] for part in (EARLY, LATE))
    return statistics.median(early), statistics.median(late)


def main() -> None:
    """Prints the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        recorder = instrument.record(Path(folder) / "guards.duckdb", checkpoint_seconds=None)
        turns(30, threads=True)
        for name, threads in (("tools in memory", False), ("each tool in a thread", True)):
            early, late = grown(lambda threads=threads: turns(count, threads=threads))  # type: ignore[misc]
            print(
                f"a turn, {name}: {early:.3f} ms at turn 10, {late:.3f} ms at turn {count:,}, {late / early:.2f} times as much"
                " (goal: at most 2, and under 1 ms)"
            )
        early, late = grown(lambda: panel(count))
        print(f"the guards alone: {early:.1f} us at turn 10, {late:.1f} us at turn {count:,}, {late / early:.2f} times")
        assert recorder.stats.errors == 0, recorder.stats
        recorder.close()


if __name__ == "__main__":
    main()
