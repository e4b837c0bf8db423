"""Metrics of real runs: with the SDK's own reader, against what the store says of the same runs."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic import beta_tool
from opentelemetry.metrics import Meter, MeterProvider, NoOpMeter, NoOpMeterProvider
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.trace import TracerProvider
from test_recording import run_alone, stop

import instrument
from instrument import semconv, tracing
from instrument.metrics.labels import MOST_VALUES, OTHER, Labels
from instrument.metrics.measuring import Measuring
from instrument.store.connect import reading
from instrument.testing import ModelServer, error, text, together, tool_use
from tests.runner.playing import call, forces_words, play
from tests.runner.playing import policy as fields_of
from tests.runner.ways_in import FAILURES, MODEL, PROMPT, client_of, decorated_model, played
from tests.runner.ways_in import WAYS as WAYS_IN

HOSTILE = '"} 1\n# {{ x }} ${y} <b> \ud83d \u202e'
WHAT_LABELS_MAY_BE = {
    semconv.OPERATION, semconv.PROVIDER, semconv.REQUEST_MODEL, semconv.RESPONSE_MODEL, semconv.TOKEN_TYPE, semconv.TOKEN_MODALITY,
    semconv.ERROR_TYPE,
    semconv.SERVER_ADDRESS, semconv.SERVER_PORT, semconv.AGENT_NAME, semconv.STOP_REASON, semconv.TOOL_NAME, semconv.TOOL_OUTCOME,
    semconv.GUARD_NAME, semconv.GUARD_ACTION, semconv.GUARD_OBSERVED, semconv.REVIEW_DECISION,
}  # fmt: skip

Point = tuple[dict[str, Any], float, int]
"""Attributes, sum (or value), and count (1 for what has none)."""


class Metered:
    """A recording with a meter provider of its own; `points` as they are now."""

    def __init__(self, database: Path) -> None:
        self.database, self.reader = database, InMemoryMetricReader()
        self.meters = sdk.MeterProvider([self.reader])
        self.recorder = instrument.record(database, meter_provider=self.meters, checkpoint_seconds=None)

    def points(self, metric: str) -> list[Point]:
        return points_of(self.reader, metric)

    def sums(self, metric: str, *by: str) -> dict[Any, float]:
        """Sums of a counter by attributes; one attribute gives plain keys."""
        found: Counter[Any] = Counter()
        for attributes, value, _ in self.points(metric):
            found[attributes.get(by[0]) if len(by) == 1 else tuple(attributes.get(b) for b in by)] += value
        return dict(found)

    def count(self, metric: str) -> int:
        return sum(count for _, _, count in self.points(metric))


def points_of(reader: InMemoryMetricReader, metric: str) -> list[Point]:
    data = reader.get_metrics_data()
    return [
        (dict(p.attributes), getattr(p, "sum", None) or getattr(p, "value", 0), getattr(p, "count", 1))
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for found in scope.metrics
        if found.name == metric
        for p in found.data.data_points
    ]


@contextmanager
def recorded(folder: Path, meters: MeterProvider) -> Iterator[instrument.Recorder]:
    """A recording into the journal alone."""
    recorder = instrument.record(folder / "t.duckdb", meter_provider=meters, checkpoint_seconds=None)
    try:
        yield recorder
    finally:
        stop(recorder)


@pytest.fixture
def metered(tmp_path: Path) -> Iterator[Metered]:
    found = Metered(tmp_path / "t.duckdb")
    yield found
    stop(found.recorder)  # without a database; `agrees` makes one
    found.meters.shutdown()


# --- the law: what metrics say is what the store says -----------------------------------------------------------------

_MODELS = """SELECT count(*), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(cost_usd), 0),
    count(*) FILTER (cost_usd IS NULL AND NOT coalesce(failed, false)), coalesce(sum(cache_read_tokens), 0)
FROM spans WHERE kind = 'model' AND duplicate_of IS NULL"""
_TOOLS = """SELECT tool_name, CASE WHEN rejected = 'blocked' THEN 'blocked' WHEN rejected IS NOT NULL THEN 'rejected'
        WHEN NOT failed OR failure_inferred THEN 'ok' WHEN error_type = 'cancelled' THEN 'cancelled'
        WHEN error_type = 'TimeoutError' THEN 'timed_out' ELSE 'error' END AS outcome, count(*)
FROM spans WHERE kind = 'tool' AND duplicate_of IS NULL AND NOT inferred GROUP BY ALL"""
_RUNS = """WITH stops AS MATERIALIZED (
    SELECT run_key, any_value(stop_reason) AS stop_reason FROM guarded_runs JOIN spans USING (span_key) GROUP BY run_key
) SELECT stop_reason, count(*) FROM spans LEFT JOIN stops USING (run_key) WHERE kind = 'agent' GROUP BY ALL"""
_ACTIONS = "SELECT guard, action, coalesce(observed, false), count(*) FROM guard_actions GROUP BY ALL"


def agrees(metered: Metered) -> dict[str, float]:
    """Holds all sums against the store; gives tool calls by outcome, so that a test can see that something happened."""
    metered.recorder.close()
    with reading(metered.database) as con:
        ((calls, input_tokens, output_tokens, cost_usd, unpriced, cached),) = con.execute(_MODELS).fetchall()
        tools = {(tool, outcome): n for tool, outcome, n in con.execute(_TOOLS).fetchall()}
        runs = dict(con.execute(_RUNS).fetchall())
        actions = {tuple(row[:3]): row[3] for row in con.execute(_ACTIONS).fetchall()}
    assert metered.count(semconv.METRIC_MODEL_SECONDS) == calls
    assert metered.count(semconv.METRIC_INFERENCE_SECONDS) == calls
    tokens = metered.sums(semconv.METRIC_TOKENS, semconv.TOKEN_TYPE)
    assert (tokens.get("input", 0), tokens.get("output", 0)) == (input_tokens, output_tokens)
    for metric, used in ((semconv.METRIC_INPUT_TOKENS, input_tokens), (semconv.METRIC_OUTPUT_TOKENS, output_tokens)):
        assert metered.sums(metric, semconv.TOKEN_MODALITY).get("unknown", 0) == used
    assert metered.sums(semconv.METRIC_CACHE_READ_TOKENS, semconv.TOKEN_MODALITY).get("unknown", 0) == cached
    assert sum(metered.sums(semconv.METRIC_COST_USD, semconv.AGENT_NAME).values()) == pytest.approx(cost_usd)
    assert sum(metered.sums(semconv.METRIC_UNPRICED_CALLS, semconv.AGENT_NAME).values()) == unpriced
    assert metered.sums(semconv.METRIC_TOOL_CALLS, semconv.TOOL_NAME, semconv.TOOL_OUTCOME) == tools
    assert metered.sums(semconv.METRIC_RUNS, semconv.STOP_REASON) == runs
    assert metered.count(semconv.METRIC_AGENT_SECONDS) == sum(runs.values())
    acted = (semconv.GUARD_NAME, semconv.GUARD_ACTION, semconv.GUARD_OBSERVED)
    assert metered.sums(semconv.METRIC_GUARD_ACTIONS, *acted) == actions
    outcomes = metered.sums(semconv.METRIC_TOOL_CALLS, semconv.TOOL_OUTCOME)
    ran = sum(n for outcome, n in outcomes.items() if outcome not in ("rejected", "blocked"))
    assert metered.count(semconv.METRIC_TOOL_SECONDS) == ran
    return outcomes


WAYS = {name: WAYS_IN[name] for name in ("own loop", "guarded client, streaming", "tool_runner, async")}


@pytest.mark.filterwarnings("ignore:Tool .serch. not found in tool runner")
@pytest.mark.parametrize("way", [*WAYS, "decorated model"])
def test_sums_are_those_of_the_store_for_every_way_in(way: str, metered: Metered) -> None:
    for failure in ("tool errors", "hallucinated tool"):
        played(WAYS.get(way, decorated_model), FAILURES[failure])
    assert metered.count(semconv.METRIC_MODEL_SECONDS) > 5
    assert sum(metered.sums(semconv.METRIC_RUNS, semconv.AGENT_NAME).values()) == 2
    agrees(metered)


@pytest.mark.parametrize("way", ["run", "stream", "arun", "astream"])
def test_sums_are_those_of_the_store_for_the_runner(way: str, metered: Metered) -> None:
    def search(q: str) -> str:
        """Searches."""
        if q == "slow":
            time.sleep(0.4)
        if q == "broken":
            raise ValueError(q)
        return "nothing new"

    asked = iter(
        [
            error(529),
            together(call("search", q="a"), call("search", q="broken"), call("search", q="slow")),
            together(call("serch", q="x"), call("search", z=1)),
        ]
    )
    script = forces_words(lambda _: next(asked, call("search", q="x")), text("Nothing to be found."))
    limits = {"tool_errors.tool_timeout_seconds": 0.1}
    result = play(way, script, limits, tools=[search], user_id="ann", name="finder").result
    assert metered.sums(semconv.METRIC_RUNS, semconv.STOP_REASON, semconv.AGENT_NAME) == {
        ("repeated_call", "finder"): 1
    }
    outcomes = agrees(metered)
    assert set(outcomes) == {"ok", "error", "timed_out", "rejected", "blocked"}
    ((about, usd, _),) = metered.points(semconv.METRIC_RUN_COST_USD)
    assert (about, usd) == ({semconv.AGENT_NAME: "finder"}, pytest.approx(result.cost_usd))
    labels = {name for metric in names() for attributes, _, _ in metered.points(metric) for name in attributes}
    assert labels <= WHAT_LABELS_MAY_BE
    values = {v for metric in names() for attributes, _, _ in metered.points(metric) for v in attributes.values()}
    assert "ann" not in values
    assert "slow" not in values


def names() -> list[str]:
    return [value for name, value in vars(semconv).items() if name.startswith("METRIC_")]


def test_what_two_spans_report_is_counted_once(metered: Metered) -> None:
    """A decorated function around the SDK's call; a decorated tool in the SDK's own loop; a sub-agent in a tool."""

    def lookup(q: str) -> str:
        """Looks up.

        Args:
            q: What for.
        """
        return f"nothing about {q}"

    script = [text("One."), text("Two."), tool_use("lookup", {"q": "x"}), text("Three."), text("Four.")]
    with ModelServer(script) as server, client_of(server.url) as client:
        plain = instrument.watch(client)

        @instrument.model
        def ask(model: str) -> Any:
            return plain.messages.create(model=model, max_tokens=50, messages=[PROMPT])  # type: ignore[list-item]

        @instrument.model(name="relay")
        def twice() -> str:
            return "".join(ask(MODEL).content[0].text for _ in range(1))

        @instrument.agent
        def inner() -> None:
            ask(MODEL)

        @instrument.tool
        def delegate() -> None:
            inner()

        @instrument.agent
        def outer() -> None:
            twice()
            delegate()

        outer()
        tools = [beta_tool(instrument.tool(lookup))]
        given: Any = {"model": MODEL, "max_tokens": 50, "messages": [PROMPT], "tools": tools, "thread": False}
        plain.beta.messages.tool_runner(**given).until_done()
    assert agrees(metered) == {"ok": 2}
    # `relay` is a model of another name, so it is a call of its own, as in the store.
    assert metered.count(semconv.METRIC_MODEL_SECONDS) == 5
    # The outer run has cost what its sub-agent did, too; the call without usage leaves that unknown.
    costs = {a[semconv.AGENT_NAME]: usd for a, usd, _ in metered.points(semconv.METRIC_RUN_COST_USD)}
    assert set(costs) == {"inner", "anthropic.messages.tool_runner"}


def test_a_run_without_guards_has_cost_what_its_calls_did_and_those_of_its_sub_agents(metered: Metered) -> None:
    @instrument.model(name=MODEL)
    def ask() -> None:
        instrument.usage(input_tokens=1000, output_tokens=100)

    @instrument.agent
    def inner() -> None:
        ask()

    @instrument.agent
    def outer() -> None:
        ask()
        inner()

    outer()
    costs = {a[semconv.AGENT_NAME]: usd for a, usd, _ in metered.points(semconv.METRIC_RUN_COST_USD)}
    assert costs["inner"] > 0
    assert costs["outer"] == pytest.approx(2 * costs["inner"])
    assert metered.sums(semconv.METRIC_COST_USD, semconv.AGENT_NAME) == pytest.approx(
        {"inner": costs["inner"], "outer": costs["inner"]}
    )
    agrees(metered)


def test_what_a_call_cost_is_unknown_where_its_price_is(metered: Metered) -> None:
    @instrument.model(name="nobody-knows-1")
    def ask() -> None:
        instrument.usage(input_tokens=1000, output_tokens=100)

    @instrument.agent
    def agent() -> None:
        ask()

    agent()
    assert metered.sums(semconv.METRIC_UNPRICED_CALLS, semconv.REQUEST_MODEL) == {"nobody-knows-1": 1}
    assert [metered.points(m) for m in (semconv.METRIC_COST_USD, semconv.METRIC_RUN_COST_USD)] == [[], []]
    assert metered.points(semconv.METRIC_CONTEXT_SHARE) == []
    agrees(metered)


def test_a_cost_that_a_function_states_counts_where_the_list_has_no_price(metered: Metered) -> None:
    @instrument.model
    def ask(model: str) -> None:
        instrument.usage(input_tokens=1000, output_tokens=100, cost_usd=0.5)

    ask(MODEL)
    ask("nobody-knows-1")
    costs = metered.sums(semconv.METRIC_COST_USD, semconv.REQUEST_MODEL)
    assert costs["nobody-knows-1"] == 0.5
    assert 0 < costs[MODEL] < 0.1
    agrees(metered)


def test_a_run_that_is_left_early_and_one_that_raises(metered: Metered) -> None:
    with ModelServer([text("Once upon a time."), error(400)]) as server, client_of(server.url) as client:
        stream = instrument.GuardedRunner(client, model=MODEL).stream("Tell me.")
        next(stream), next(stream)
        stream.close()  # type: ignore[attr-defined]

        @instrument.agent
        def breaks() -> None:
            instrument.watch(client).messages.create(model=MODEL, max_tokens=9, messages=[PROMPT])  # type: ignore[list-item]

        with pytest.raises(anthropic.APIError):
            breaks()
    assert metered.sums(semconv.METRIC_RUNS, semconv.STOP_REASON, semconv.ERROR_TYPE) == {
        ("cancelled", None): 1,
        (None, "anthropic.BadRequestError"): 1,
    }
    agrees(metered)


def test_a_time_out_in_the_loop_of_the_sdk_is_one(metered: Metered) -> None:
    def search(q: str) -> str:
        """Searches.

        Args:
            q: What for.
        """
        time.sleep(0.3)
        return q

    with ModelServer([tool_use("search", {"q": "x"}), text("Done.")]) as server, client_of(server.url) as client:
        limits = fields_of({"tool_errors.tool_timeout_seconds": 0.05})
        given: Any = {"model": MODEL, "max_tokens": 50, "messages": [PROMPT]}
        instrument.tool_runner(client, limits, tools=[beta_tool(search)], **given).until_done()
    assert agrees(metered) == {"timed_out": 1}


# --- what else is told ------------------------------------------------------------------------------------------------


def test_the_wait_for_a_person_by_what_came_of_it(metered: Metered) -> None:
    def answering(answer: Any) -> Callable[[Any], Any]:
        def reviewer(_: Any) -> Any:
            time.sleep(0.02)
            return answer

        return reviewer

    going_on = forces_words(
        lambda b: tool_use("search", {"q": str(len(b["messages"]))}, text="w " * 100), text("So far.")
    )
    asking = {"review.over_usd": 0.008, "review.timeout_seconds": 5.0, "loops.turns": 8}

    def search(q: str) -> str:
        """Searches."""
        return f"nothing about {q}"

    for answer in (True, False):
        play("run", going_on, asking, tools=[search], max_tokens=200, review=answering(answer), name="spender")
    slow = {**asking, "review.timeout_seconds": 0.01}
    play("arun", going_on, slow, tools=[search], max_tokens=200, review=answering(True), name="spender")
    waits = {a[semconv.REVIEW_DECISION]: seconds for a, seconds, _ in metered.points(semconv.METRIC_REVIEW_SECONDS)}
    assert set(waits) == {"approved", "denied", "timed_out"}
    assert 0.02 <= waits["denied"] < 2
    asked = metered.sums(semconv.METRIC_GUARD_ACTIONS, semconv.GUARD_ACTION)["ask"]
    assert metered.count(semconv.METRIC_REVIEW_SECONDS) == asked


def test_requests_that_a_budget_did_not_allow(metered: Metered) -> None:
    played(WAYS_IN["runner"], FAILURES["cost"])
    assert metered.sums(semconv.METRIC_BUDGET_REFUSALS, semconv.GUARD_NAME) == {"run_budget": 1}


def test_the_share_of_the_window_that_a_policy_names(metered: Metered) -> None:
    @instrument.agent(policy=fields_of({"context.windows": {"claude": 2000}}))
    def agent() -> None:
        ask()

    @instrument.model(name=MODEL)
    def ask() -> None:
        instrument.usage(input_tokens=500, output_tokens=1)

    agent()
    assert metered.points(semconv.METRIC_CONTEXT_SHARE) == [
        ({semconv.AGENT_NAME: "agent", semconv.REQUEST_MODEL: MODEL}, 0.25, 1)
    ]


def test_spans_that_were_lost_are_counted_and_stay_so_when_the_recording_has_ended() -> None:
    before, reader = tracing.lost_spans(), InMemoryMetricReader()
    meters = sdk.MeterProvider([reader])
    recorder = instrument.record(
        "/dev/null/x.duckdb", tracer_provider=TracerProvider(), meter_provider=meters, checkpoint_seconds=None
    )
    for _ in range(3):
        instrument.tool(len)([])
    assert recorder.stats.lost_spans == 3
    assert [value - before for _, value, _ in points_of(reader, semconv.METRIC_LOST_SPANS)] == [3]
    recorder.close()
    assert [value - before for _, value, _ in points_of(reader, semconv.METRIC_LOST_SPANS)] == [3]
    meters.shutdown()


def test_the_buckets_are_those_of_the_conventions(metered: Metered) -> None:
    played(WAYS_IN["runner"], FAILURES["loop"])
    data = metered.reader.get_metrics_data()
    assert data is not None
    found = {m.name: m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}
    histograms = {
        n: m for n, m in found.items() if isinstance(m.data, sdk.export.Histogram) and m.unit in ("s", "{token}")
    }
    bounds = {n: list(m.data.data_points[0].explicit_bounds) for n, m in histograms.items()}  # type: ignore[union-attr]
    seconds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
    assert bounds[semconv.METRIC_MODEL_SECONDS] == bounds[semconv.METRIC_TOOL_SECONDS] == seconds
    assert bounds[semconv.METRIC_INFERENCE_SECONDS] == seconds
    tokens = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864]
    assert bounds[semconv.METRIC_TOKENS] == tokens
    assert bounds[semconv.METRIC_CALL_INPUT_TOKENS] == bounds[semconv.METRIC_CALL_OUTPUT_TOKENS] == tokens
    agent = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6]
    assert bounds[semconv.METRIC_AGENT_SECONDS] == agent


# --- names ------------------------------------------------------------------------------------------------------------


def test_of_many_names_the_first_hundred_are_told_apart_and_hostile_ones_are_data(metered: Metered) -> None:
    for n in range(150):
        instrument.tool(name=f"{HOSTILE}{n}")(len)([])
        instrument.agent(name=f"{HOSTILE}{n}")(len)([])
    calls = metered.sums(semconv.METRIC_TOOL_CALLS, semconv.TOOL_NAME)
    assert (len(calls), calls[OTHER], sum(calls.values())) == (MOST_VALUES + 1, 50, 150)
    assert calls[HOSTILE.replace("\ud83d", "?") + "7"] == 1
    runs = metered.sums(semconv.METRIC_RUNS, semconv.AGENT_NAME)
    assert (len(runs), runs[OTHER]) == (MOST_VALUES + 1, 50)


class Slow(str):
    """A name that other threads overtake between being looked up and being kept."""

    __slots__ = ()

    def __getitem__(self, _: Any) -> Slow:
        return self

    def encode(self, *given: str) -> bytes:
        time.sleep(0.05)
        return super().encode(*given)


def test_threads_with_new_names_at_the_same_time_get_no_more_than_there_may_be() -> None:
    labels = Labels(3)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: labels.of(Slow(n)), range(8)))
    assert (len(set(found)), found.count(OTHER)) == (4, 5)
    assert [labels.of(v) for v in (None, 7, ["a"])] == [None] * 3
    assert Labels().of("x" * 10**6) == "x" * 200


def test_threads_and_tasks_are_counted_exactly(metered: Metered) -> None:
    @instrument.tool
    def work(n: int) -> int:
        return n

    @instrument.tool(name="awaited")
    async def awaited(n: int) -> int:
        await asyncio.sleep(0)
        return n

    @instrument.agent
    async def agent() -> None:
        await asyncio.gather(*(awaited(n) for n in range(100)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(400)))
    asyncio.run(agent())
    assert metered.sums(semconv.METRIC_TOOL_CALLS, semconv.TOOL_NAME) == {"work": 400, "awaited": 100}


# --- providers --------------------------------------------------------------------------------------------------------


def test_an_application_without_a_meter_provider_and_one_that_sets_it_later(tmp_path: Path) -> None:
    program = """
import os, sys
import instrument
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

recorder = instrument.record(sys.argv[1], checkpoint_seconds=None)
work = instrument.tool(name="work")(len)
work([])
assert instrument.tracing.measuring().meters() is None
assert "instrument.metrics.meters" not in sys.modules
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))

def calls():
    found = [m for r in reader.get_metrics_data().resource_metrics for s in r.scope_metrics for m in s.metrics]
    return sum(p.value for m in found if m.name == "flyball.tool.calls" for p in m.data.data_points)

work([]), work([])
print(calls())
child = os.fork()
if not child:
    work([])
    os._exit(0 if calls() == 3 else 1)
print(os.waitpid(child, 0)[1], calls())
recorder.close()
work([])  # nobody listens any more
print(calls())
instrument.metrics.measure()
instrument.metrics.measure()
work([])  # without a recording
print(calls(), recorder.stats.errors)
"""
    assert run_alone("import instrument.metrics\n" + program, str(tmp_path / "t.duckdb")).split() == [
        "2", "0", "2", "2", "3", "0",
    ]  # fmt: skip


class Stubborn(MetricExporter):
    """Hangs until it is let go, or raises."""

    def __init__(self, *, raises: bool) -> None:
        super().__init__()
        self.raises, self.go, self.called = raises, threading.Event(), threading.Event()

    def export(self, metrics_data: Any, timeout_millis: float = 0, **_: Any) -> MetricExportResult:
        self.called.set()
        if self.raises:
            raise OSError("nobody there")
        self.go.wait(20)
        return MetricExportResult.SUCCESS

    def shutdown(self, timeout_millis: float = 0, **_: Any) -> None:
        self.go.set()

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return True


@pytest.mark.parametrize("raises", [True, False], ids=["raises", "hangs"])
def test_an_exporter_that_raises_or_hangs_disturbs_no_run(
    raises: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    exporter, kept = Stubborn(raises=raises), InMemoryMetricReader()
    meters = sdk.MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=20), kept])
    with recorded(tmp_path, meters) as recorder:
        instrument.tool(len)([])
        assert exporter.called.wait(5)
        began = time.monotonic()
        result, _ = played(WAYS_IN["runner"], FAILURES["loop"])
        assert time.monotonic() - began < 5
        assert str(result.stop_reason) == "repeated_call"
        assert sum(v for _, v, _ in points_of(kept, semconv.METRIC_RUNS)) == 1
        assert recorder.stats.errors == 0
    exporter.go.set()
    meters.shutdown(timeout_millis=1000)


class Raising(MeterProvider):
    """Has no meter at all, or one whose histograms raise."""

    def __init__(self, reader: InMemoryMetricReader | None) -> None:
        self._counting = None if reader is None else sdk.MeterProvider([reader]).get_meter("test")

    def get_meter(self, name: str, *_: Any, **__: Any) -> Meter:
        if self._counting is None:
            raise RuntimeError("no meter")
        meter = NoOpMeter(name)
        meter.create_counter = self._counting.create_counter  # type: ignore[method-assign]
        meter.create_histogram = lambda *_, **__: Broken()  # type: ignore[method-assign, assignment, return-value]
        return meter


class Broken:
    def record(self, *_: Any) -> None:
        raise RuntimeError("no")


@pytest.mark.parametrize("reader", [None, InMemoryMetricReader()], ids=["no meter", "no histogram"])
def test_what_a_meter_provider_raises_is_counted_and_logged_once_and_the_rest_is_measured(
    reader: InMemoryMetricReader | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with recorded(tmp_path, Raising(reader)) as recorder:
        result, _ = played(WAYS_IN["runner"], FAILURES["hallucinated tool"])
        assert str(result.stop_reason) == "unknown_tool"
        measuring = tracing.measuring()
        assert measuring is not None
        if reader is None:
            assert measuring.failures == 1
        else:
            assert measuring.failures > 10
            (usd,) = [value for _, value, _ in points_of(reader, semconv.METRIC_COST_USD)]
            assert usd == pytest.approx(result.cost_usd)
        assert (recorder.stats.errors, recorder.stats.lost_spans) == (0, 0)
    assert [r.message for r in caplog.records if "measurement" in r.message] == [
        "a measurement could not be made; further ones are only counted"
    ]


def test_a_runner_is_measured_where_no_content_is_recorded(tmp_path: Path) -> None:
    reader = InMemoryMetricReader()
    meters = sdk.MeterProvider([reader])
    recorder = instrument.record(
        tmp_path / "t.duckdb",
        content="none",
        tracer_provider=TracerProvider(),
        meter_provider=meters,
        checkpoint_seconds=None,
    )
    result, _ = played(WAYS_IN["runner"], FAILURES["hallucinated tool"])
    stop(recorder)
    assert sum(count for _, _, count in points_of(reader, semconv.METRIC_MODEL_SECONDS)) == result.turns
    meters.shutdown()


def test_two_recordings_of_one_provider_are_measured_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spans, reader = TracerProvider(), InMemoryMetricReader()
    meters, other = sdk.MeterProvider([reader]), sdk.MeterProvider([])
    given: Any = {"tracer_provider": spans, "checkpoint_seconds": None}
    recorders = [
        instrument.record(tmp_path / "a.duckdb", **given),
        instrument.record(tmp_path / "b.duckdb", meter_provider=meters, **given),
        instrument.record(tmp_path / "c.duckdb", meter_provider=other, **given),
    ]
    instrument.tool(len)([])
    for recorder in recorders:
        assert tracing.measuring() is not None
        stop(recorder)
    assert "another meter provider" in caplog.text
    assert [v for _, v, _ in points_of(reader, semconv.METRIC_TOOL_CALLS)] == [1]
    assert tracing.measuring() is None
    meters.shutdown()
    other.shutdown()


def test_a_provider_that_is_told_nothing_costs_no_instruments() -> None:
    assert Measuring(NoOpMeterProvider(), lambda: 0).meters() is None


def test_prometheus_reads_them(tmp_path: Path) -> None:
    exporter = pytest.importorskip("opentelemetry.exporter.prometheus")
    from prometheus_client import REGISTRY, generate_latest
    from prometheus_client.parser import text_string_to_metric_families

    reader = exporter.PrometheusMetricReader()
    meters = sdk.MeterProvider([reader])
    with recorded(tmp_path, meters):
        played(WAYS_IN["runner"], FAILURES["cost"])
        instrument.tool(name=HOSTILE)(len)([])
        page = generate_latest(REGISTRY).decode()
    meters.shutdown()
    samples = [s for family in text_string_to_metric_families(page) for s in family.samples]
    found = {(s.name, s.labels.get("flyball_stop_reason")): s.value for s in samples}
    assert found["flyball_runs_total", "run_budget"] == 1
    assert found["flyball_budget_refusals_total", None] == 1
    by_name = {s.name for s in samples}
    assert by_name >= {
        "flyball_cost_usd_total", "flyball_run_cost_usd_bucket", "flyball_tool_calls_total", "flyball_guard_actions_total",
        "flyball_spans_lost_total", "gen_ai_client_operation_duration_seconds_bucket", "gen_ai_client_token_usage_sum",
        "gen_ai_invoke_agent_duration_seconds_count", "gen_ai_execute_tool_duration_seconds_count",
    }  # fmt: skip
    tools = {s.labels.get("gen_ai_tool_name") for s in samples}
    assert HOSTILE.replace("\ud83d", "?") in tools


def test_the_page_names_every_metric_and_every_label() -> None:
    page = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert [name for name in [*names(), *sorted(WHAT_LABELS_MAY_BE)] if f"`{name}`" not in page] == []
