"""What recording costs, as ratios measured in one run. Usage: python -m benchmarks.recording [rounds] [messages]

Unit 1.0: two OpenTelemetry SDK spans, `json.dumps` of their content, batch processor with an exporter that does nothing. Everything is CPU
time of the whole process, background threads included; variants take turns, and the median of the rounds counts.

As in an agent's loop, each model call repeats the history, the very same texts, and ends in a message that is new.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import anthropic
import httpx2
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from instrument.metrics.measuring import Measuring
from instrument.tap import Recording, Tap, tap_of

PAIRS = 400
CALLS = 150
TEXT = "The build failed in step 3: module not found, expected at src/app/main.py, line 42; see the log for details. "
HISTORY: list[dict[str, str]] = []
ANSWER = (TEXT * 10)[:990]
TURNS = itertools.count(10_000)
RESULT = {"files": [f"src/app/module_{i}.py" for i in range(10)], "total": 10}


def remember(count: int) -> None:
    """Fills the history with `count` messages of 1,000 characters."""
    HISTORY[:] = [
        {"role": "user" if i % 2 == 0 else "assistant", "content": (f"{i}. " + TEXT * 10)[:1000]} for i in range(count)
    ]


def messages() -> list[dict[str, str]]:
    """What a model call is sent: the messages from before and a new one, of 1,000 characters each."""
    return [*HISTORY, {"role": "user", "content": f"{next(TURNS)}. {ANSWER}"}]


class Nowhere(SpanExporter):
    """Exports nothing."""

    def export(self, spans: object) -> SpanExportResult:  # noqa: ARG002 - the SDK's interface
        """Drops the spans."""
        return SpanExportResult.SUCCESS


def floor(provider: TracerProvider) -> Callable[[], None]:
    """Two plain SDK spans with the same content as JSON attributes."""
    tracer = provider.get_tracer("floor")

    def pair() -> None:
        with tracer.start_as_current_span("chat model") as span:
            span.set_attribute("gen_ai.operation.name", "chat")
            span.set_attribute("gen_ai.request.model", "model")
            span.set_attribute("gen_ai.input.messages", json.dumps(messages()))
            span.set_attribute("gen_ai.output.messages", json.dumps([{"role": "assistant", "content": "ok"}]))
            span.set_attribute("gen_ai.usage.input_tokens", 1000)
            span.set_attribute("gen_ai.usage.output_tokens", 50)
        with tracer.start_as_current_span("execute_tool list_files") as span:
            span.set_attribute("gen_ai.operation.name", "execute_tool")
            span.set_attribute("gen_ai.tool.name", "list_files")
            span.set_attribute("gen_ai.tool.call.arguments", json.dumps({"path": "src/app", "depth": 2}))
            span.set_attribute("gen_ai.tool.call.result", json.dumps(RESULT))

    return pair


def decorated() -> Callable[[], None]:
    """The same pair through the decorators."""
    import instrument

    @instrument.model(name="model")
    def ask(messages: object) -> str:  # noqa: ARG001 - it is recorded
        instrument.usage(input_tokens=1000, output_tokens=50)
        return "ok"

    @instrument.tool
    def list_files(path: str, depth: int) -> dict[str, object]:  # noqa: ARG001 - they are recorded
        return RESULT

    def pair() -> None:
        ask(messages())
        list_files("src/app", depth=2)

    return pair


def client(**options: object) -> anthropic.Anthropic:
    """A real client that is answered from memory."""
    answer = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5-5", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": TEXT * 5}, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"path": "src"}}],
        "usage": {"input_tokens": 1000, "output_tokens": 50, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0},
    }  # fmt: skip
    body = json.dumps(answer).encode()

    def reply(request: httpx2.Request) -> httpx2.Response:  # noqa: ARG001 - the transport's interface
        return httpx2.Response(200, content=body, headers={"content-type": "application/json"})

    http = anthropic.DefaultHttpxClient(transport=httpx2.MockTransport(reply))
    return anthropic.Anthropic(api_key="k", http_client=http, **options)  # type: ignore[arg-type]


def create(made: anthropic.Anthropic) -> Callable[[], None]:
    """One call of `messages.create`."""

    def call() -> None:
        made.messages.create(model="claude-opus-5-5", max_tokens=100, messages=messages())  # type: ignore[arg-type]

    return call


def heard_by(tap: Tap, listeners: tuple[Recording, ...], work: Callable[[], None]) -> Callable[[], None]:
    """`work` while just these listen to spans."""

    def run() -> None:
        tap.recorders = listeners
        work()

    return run


def cpu_us(work: Callable[[], None], times: int, settle: Callable[[], object] = lambda: None) -> float:
    """Microseconds of CPU per call; `settle` waits for what goes on in the background."""
    gc.collect()
    began = time.process_time_ns()
    for _ in range(times):
        work()
    settle()
    return (time.process_time_ns() - began) / times / 1e3


def compare(
    variants: dict[str, Callable[[], None]], times: int, rounds: int, settle: Callable[[], object]
) -> dict[str, float]:
    """Median CPU microseconds of each, taken in turns."""
    for work in variants.values():
        cpu_us(work, times // 4)
    found: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, work in variants.items():
            found[name].append(cpu_us(work, times, settle))
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> None:
    """Prints the ratios."""
    rounds, sent = (int(n) for n in (*sys.argv[1:], *("15", "4")[len(sys.argv) - 1 :]))
    remember(sent - 1)
    os.environ.pop("ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE", None)
    import instrument

    with tempfile.TemporaryDirectory() as folder:
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
        elsewhere = TracerProvider()  # recorded nowhere
        elsewhere.add_span_processor(BatchSpanProcessor(Nowhere()))
        plain = client(open_telemetry=False)
        content = {"tracer_provider": elsewhere, "traces": {"content_mode": "content"}}
        metadata = {"tracer_provider": elsewhere, "traces": {"content_mode": "metadata_only"}}
        recorder = instrument.record(Path(folder) / "off.duckdb", checkpoint_seconds=None)
        # What a batch processor still has to export is part of its own turn and must not fall into the next one's.
        pairs = compare({"floor": floor(elsewhere), "decorators": decorated()}, PAIRS, rounds, elsewhere.force_flush)
        print(
            f"floor: {pairs['floor']:.0f} us a pair of spans with {sum(len(str(m)) for m in messages())} characters of messages, "
            f"of which 1 in {sent} is new in each call"
        )
        print(
            f"decorators into the journal, checkpoints off: {pairs['decorators'] / pairs['floor']:.2f} of it (goal: at most 1.3)"
        )

        pair, tap = decorated(), tap_of(provider)
        live = Measuring(MeterProvider([InMemoryMetricReader()]), lambda: 0)
        listeners = {"none": (recorder,), "idle": (recorder, Measuring(None, lambda: 0)), "live": (recorder, live)}
        kept = tap.recorders
        measured = compare({name: heard_by(tap, who, pair) for name, who in listeners.items()}, PAIRS, rounds, int)
        tap.recorders = kept
        print("a decorated pair that is recorded and measured, to one that is only recorded:")
        print(f"  {measured['idle'] / measured['none']:.2f} without a meter provider (goal: at most 1.05)")
        print(f"  {measured['live'] / measured['none']:.2f} with one")

        calls = compare(
            {
                "unrecorded": create(plain),
                "metadata": create(client(open_telemetry=metadata)),
                "content": create(client(open_telemetry=content)),
                "content, journal": create(client(open_telemetry={"traces": {"content_mode": "content"}})),
                "watched": create(instrument.watch(client(open_telemetry={}))),
            },
            CALLS,
            rounds,
            elsewhere.force_flush,
        )
        added = {name: (us - calls["unrecorded"]) / pairs["floor"] for name, us in calls.items()}
        print(f"one messages.create: unrecorded {calls['unrecorded'] / pairs['floor']:.2f}; recording it adds")
        print(f"  {added['metadata']:.2f} the SDK's own span, written nowhere")
        print(f"  {added['content']:.2f} the SDK's content mode, written nowhere")
        print(f"  {added['content, journal']:.2f} the SDK's content mode, into our journal")
        print(f"  {added['watched']:.2f} watch(), into our journal (goal: less than the content mode)")
        assert recorder.stats.errors == 0, recorder.stats
        recorder.close()

        recorder = instrument.record(Path(folder) / "on.duckdb", checkpoint_seconds=2.0)
        recorder.flush()
        pair = decorated()
        seconds = 6.0
        began, cpu, done = time.monotonic(), time.process_time_ns(), 0
        while (
            time.monotonic() - began < seconds
        ):  # at a pace of 100 pairs a second, as a busy agent process might reach
            pair()
            done += 1
            time.sleep(0.01)
        recorder.flush()
        with_checkpoints = (time.process_time_ns() - cpu) / done / 1e3
        print(
            f"the same with checkpoints every 2 s at {done / seconds:.0f} pairs a second: {with_checkpoints / pairs['floor']:.2f}"
        )
        recorder.close()


if __name__ == "__main__":
    main()
