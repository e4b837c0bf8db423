"""Whatever the API does, times whatever a tool does, in the four ways to run an agent: it ends, inside its budget, and on record.

By default a part of the matrix that has every fault of either kind in each of the four ways; all of it with `FLYBALL_CHAOS=all`.
"""

from __future__ import annotations

import os
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import instrument
from instrument import semconv
from instrument.messages import problems
from instrument.runner.execution import abandoned_threads
from instrument.runner.stop import StopReason
from instrument.testing import API_FAULTS, TOOL_FAULTS, release_tools
from tests.recorded_lines import spans_in
from tests.runner.chaos import (
    ENOUGH_SECONDS,
    LIMIT_USD,
    POLICY,
    WAYS,
    Provider,
    Stage,
    lookup,
    lookup_async,
    threads_of_ours,
)

APIS, TOOLS = sorted(API_FAULTS), sorted(TOOL_FAULTS)
NANO = 1e-9
IDLE_THREADS = 16
"""How many threads of tools are kept for the next ones."""
LIES = {"huge_usage"}
"""What the answer says it used is more than the request allowed: it is paid, and nothing after it."""


def matrix() -> list[tuple[str, str, str]]:
    """Triples of way, fault of the API and fault of the tool."""
    if os.environ.get("FLYBALL_CHAOS") == "all":
        return [(way, api, tool) for way in WAYS for api in APIS for tool in TOOLS]
    longer, shorter = max(len(APIS), len(TOOLS)), min(len(APIS), len(TOOLS))
    assert shorter >= 12
    # Each way meets other pairs: the two catalogues side by side, one of them moved on.
    return [
        (way, APIS[n % len(APIS)], TOOLS[(n + 5 * shift) % len(TOOLS)])
        for shift, way in enumerate(WAYS)
        for n in range(longer)
    ]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage() as made:
        yield made


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("chaos") / "traces.duckdb"
    with instrument.record(path, checkpoint_seconds=None):
        yield path


def test_the_matrix_is_large_enough_and_its_part_has_everything() -> None:
    assert len(APIS) >= 12
    assert len(TOOLS) >= 12
    assert {(way, api) for way, api, _ in matrix()} == {(way, api) for way in WAYS for api in APIS}
    assert {(way, tool) for way, _, tool in matrix()} == {(way, tool) for way in WAYS for tool in TOOLS}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_run_ends_inside_its_budget_and_on_record(way: str, stage: Stage, database: Path) -> None:
    seen: Counter[str] = Counter()
    before = threads_of_ours()  # of other tests in this process
    for _, api, tool in (each for each in matrix() if each[0] == way):
        seen[_survives(stage, way, api, tool)] += 1
    release_tools()
    assert seen["internal_error"] == 0
    assert len(seen) >= 4, seen
    _all_closed(database)
    # What was given up ends when what it waits for is over; what remains are threads that wait to be used again.
    until = time.monotonic() + 5
    while (abandoned_threads() or len(threads_of_ours() - before) > IDLE_THREADS) and time.monotonic() < until:
        time.sleep(0.02)
    assert (abandoned_threads(), len(threads_of_ours() - before) <= IDLE_THREADS) == (0, True)
    assert stage.tasks_left() == set()


def _survives(stage: Stage, way: str, api: str, tool: str) -> str:
    case = f"{way}, {api}, {tool}"
    provider = Provider(API_FAULTS[api])
    faulty: Any = TOOL_FAULTS[tool](lookup_async if way.startswith("a") else lookup)
    began = time.monotonic()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="coroutine .*_never_awaited.* was never awaited")
        result = stage.play(way, provider, tools=[faulty])
    seconds = time.monotonic() - began
    release_tools()

    assert seconds < ENOUGH_SECONDS, case
    assert isinstance(result.stop_reason, StopReason), case
    assert result.stop_reason not in {StopReason.INTERNAL_ERROR, StopReason.CANCELLED}, (case, result.error)
    # On a busy machine a request may be given up before the server has seen it.
    assert len(provider.bodies) <= result.turns <= POLICY.loops.turns + POLICY.model_calls.retries, case
    assert result.tool_calls <= POLICY.loops.tool_calls, case
    assert provider.billed_usd <= result.cost_at_most_usd + NANO, case
    if api in LIES:
        assert len(provider.bodies) == 2, case
    else:
        assert result.cost_at_most_usd <= LIMIT_USD, case
    if result.cost_usd is not None:
        assert result.cost_usd == pytest.approx(provider.billed_usd, abs=1e-7), case
    assert [wrong for body in provider.bodies for wrong in problems(body["messages"])] == [], case
    assert problems([*result.messages, {"role": "user", "content": "Go on."}]) == [], case
    return str(result.stop_reason)


def _all_closed(database: Path) -> None:
    """Every span that was begun has ended, and each run has one stop reason."""
    ended = spans_in(database)
    begun = {span["spanId"] for span in spans_in(database, marks=True)}
    assert begun <= {span["spanId"] for span in ended}
    assert {span.get("parentSpanId") for span in ended} <= {span["spanId"] for span in ended} | {None, ""}
    runs = [span for span in ended if span["attributes"][semconv.OPERATION] == semconv.INVOKE_AGENT]
    assert all(span["attributes"][semconv.STOP_REASON] in set(StopReason) for span in runs)
