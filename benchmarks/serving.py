"""What `flyball serve` holds. Usage: python -m benchmarks.serving [seconds] [spans a second]

Two clients on the same machine, each at its pace:

exporter   the real Python OTLP exporter in two processes (each sends one request at a time), 512 spans a request (the SDK's default),
           protobuf. Encoding a span costs it several times what receiving it costs.
requests   requests that were encoded before, as fast as they are answered: how much the server takes when the client costs nothing.

While the exporter runs, the server is killed with SIGKILL in the middle and started again; the client sends again what was not
acknowledged. At the end every span must be in the database, once.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from benchmarks.importing import Traces

BATCH = 512
TEMPLATES = 40
"""Batches that are made before the clock starts; each round sends them under other trace ids."""
SALT = bytes.fromhex("5a17f1ba115a17ed")
"""First half of every trace id of the templates."""
REQUESTS_SECONDS = 15
RETRY_SECONDS = 0.2


@dataclass
class Load:
    """What a client did."""

    spans: int = 0
    seconds: float = 0.0
    again: int = 0
    """Requests that had to be sent again by the loop around the exporter."""
    cpu_seconds: float = 0.0
    waits_ms: list[float] = field(default_factory=list)
    """How long each request took, encoding included where the exporter does it."""


def together(loads: list[Load]) -> Load:
    """Several clients as one."""
    return Load(
        sum(load.spans for load in loads),
        max(load.seconds for load in loads),
        sum(load.again for load in loads),
        sum(load.cpu_seconds for load in loads),
        [wait for load in loads for wait in load.waits_ms],
    )


def templates() -> list[list[dict[str, Any]]]:
    """Batches of spans as OTLP JSON has them: runs of a model that calls tools, metadata only, 14 attributes each."""
    made, spans = Traces(content=False, seed=1), []
    while len(spans) < TEMPLATES * BATCH:
        for line in made.run():
            span = orjson.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
            spans.append({**span, "traceId": SALT.hex() + span["traceId"][16:]})
    return [spans[n : n + BATCH] for n in range(0, TEMPLATES * BATCH, BATCH)]


def salts(client: int) -> Iterator[bytes]:
    """A new first half of the trace ids for each round of each client."""
    return (n.to_bytes(8, "big") for n in itertools.count((client + 1) << 32))


# --- the clients ------------------------------------------------------------------------------------------------------


def export(url: str, seconds: float, rate: float, client: int) -> Load:
    """The real exporter, at `rate` spans a second."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    exporter, batches = OTLPSpanExporter(f"{url}/v1/traces", timeout=30), [readable(t) for t in templates()]
    load, began, cpu = Load(), time.perf_counter(), time.process_time()
    for salt in salts(client):
        for batch in batches:
            if time.perf_counter() - began >= seconds:
                load.seconds, load.cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
                return load
            spans = renamed(batch, int.from_bytes(salt, "big") << 64)
            time.sleep(max(0.0, began + load.spans / rate - time.perf_counter()))
            sent = time.perf_counter()
            while exporter.export(spans) is not SpanExportResult.SUCCESS:
                load.again += 1
                time.sleep(RETRY_SECONDS)
            load.waits_ms.append((time.perf_counter() - sent) * 1e3)
            load.spans += len(batch)
    raise AssertionError("unreachable: there is always a further salt")


def readable(batch: list[dict[str, Any]]) -> list[Any]:
    """The SDK's finished spans, as its processors hand them to an exporter."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind

    resource, scope = Resource({"service.name": "coder"}), InstrumentationScope("com.anthropic.sdk.python", "2.12.0")
    kinds = {1: SpanKind.INTERNAL, 3: SpanKind.CLIENT}

    def context(span: dict[str, Any], span_id: str) -> SpanContext:
        return SpanContext(int(span["traceId"][16:], 16), int(span_id, 16), is_remote=False)

    return [
        ReadableSpan(
            s["name"],
            context(s, s["spanId"]),
            context(s, s["parentSpanId"]) if "parentSpanId" in s else None,
            resource,
            {a["key"]: int(v["intValue"]) if "intValue" in (v := a["value"]) else v["stringValue"] for a in s["attributes"]},
            kind=kinds[s["kind"]],
            start_time=int(s["startTimeUnixNano"]),
            end_time=int(s["endTimeUnixNano"]),
            instrumentation_scope=scope,
        )
        for s in batch
    ]  # fmt: skip


def renamed(batch: list[Any], salt: int) -> list[Any]:
    """The same spans in other traces."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext

    def of(context: Any) -> Any:
        return context and SpanContext(context.trace_id | salt, context.span_id, is_remote=False)

    return [
        ReadableSpan(
            s.name, of(s.context), of(s.parent), s.resource, s.attributes, kind=s.kind, start_time=s.start_time,
            end_time=s.end_time, instrumentation_scope=s.instrumentation_scope,
        )
        for s in batch
    ]  # fmt: skip


def send(url: str, seconds: float, rate: float, client: int) -> Load:
    """Requests encoded before, at `rate` spans a second at most."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    bodies = [
        encode_spans(renamed(readable(t), int.from_bytes(SALT, "big") << 64)).SerializeToString() for t in templates()
    ]
    host = url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=30)
    load, began, cpu = Load(), time.perf_counter(), time.process_time()
    for salt in salts(client):
        for body in bodies:
            if time.perf_counter() - began >= seconds:
                load.seconds, load.cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
                return load
            time.sleep(max(0.0, began + load.spans / rate - time.perf_counter()))
            sent = time.perf_counter()
            while not _posted(connection, body.replace(SALT, salt)):
                load.again += 1
                time.sleep(RETRY_SECONDS)
            load.waits_ms.append((time.perf_counter() - sent) * 1e3)
            load.spans += BATCH
    raise AssertionError("unreachable: there is always a further salt")


def _posted(connection: http.client.HTTPConnection, body: bytes) -> bool:
    try:
        connection.request("POST", "/v1/traces", body, {"Content-Type": "application/x-protobuf"})
        response = connection.getresponse()
        response.read()
        return response.status == 200
    except (OSError, http.client.HTTPException):
        connection.close()
        return False


# --- the server -------------------------------------------------------------------------------------------------------


def started(database: Path, port: int) -> subprocess.Popen[bytes]:
    """The server, accepting connections."""
    command = [sys.executable, "-m", "analyzer.cli", "serve", "--db", str(database), "--port", str(port)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert server.stderr is not None
    server.stderr.readline()
    return server


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident megabytes of the receiver and of the process beside it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return _resident(pid), sum(_resident(int(child)) for child in children)


def _resident(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def cpu_seconds(pid: int) -> float:
    """Processor time of a living process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Outcome:
    """One load, and what the server made of it."""

    load: Load
    memory: list[tuple[float, float]]
    stored: int
    distinct: int
    repeated: int
    drained_seconds: float
    cpu_seconds: float
    """Of the receiver that was alive at the end."""
    alive_seconds: float
    """How long that one had lived."""


def run(how: str, seconds: float, rate: float, *, clients: int, kill: bool) -> Outcome:
    """Serves clients in other processes; with `kill`, kills the server in the middle and starts it again."""
    with tempfile.TemporaryDirectory() as folder:
        database, port = Path(folder, "traces.duckdb"), free_port()
        server = started(database, port)
        born = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.serving", f"--{how}", f"http://127.0.0.1:{port}", str(seconds)]
        senders = [
            subprocess.Popen([*command, str(rate / clients), str(n)], stdout=subprocess.PIPE) for n in range(clients)
        ]
        memory, began = [], time.monotonic()
        cpu = 0.0
        while any(sender.poll() is None for sender in senders):
            time.sleep(0.5)
            if kill and time.monotonic() - began > seconds / 2:
                os.kill(server.pid, signal.SIGKILL)
                server.wait()
                server, kill, born = started(database, port), False, time.monotonic()
            memory.append(memory_mb(server.pid))
            cpu, alive = cpu_seconds(server.pid), time.monotonic() - born
        load = together([Load(**json.loads(sender.communicate()[0])) for sender in senders])
        stopped = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
        drained = time.monotonic() - stopped
        return Outcome(load, memory, *_stored(database), drained, cpu, alive)


def _stored(database: Path) -> tuple[int, int, int]:
    from instrument.store.connect import reading

    with reading(database) as con:
        spans, distinct = con.execute(
            "SELECT count(*), count(DISTINCT (trace_id, span_id)) FROM spans WHERE NOT inferred"
        ).fetchall()[0]
        again = con.execute("SELECT coalesce(sum(count), 0) FROM issues WHERE kind = 'repeated_spans'").fetchall()
    return spans, distinct, int(again[0][0])


def told(name: str, goal: float, out: Outcome) -> str:
    """A paragraph about one run."""
    load, waits = out.load, sorted(out.load.waits_ms)
    receivers, besides = zip(*out.memory, strict=True)
    half = len(receivers) // 2
    missing = load.spans - out.distinct
    return (
        f"{name}: {load.spans:,} spans in {load.seconds:.0f} s, {load.spans / load.seconds:,.0f} a second (goal: {goal:,.0f}); "
        f"a request {waits[len(waits) // 2]:.0f} ms, the slowest of a hundred {waits[len(waits) * 99 // 100]:.0f} ms\n"
        f"  processor: clients {load.cpu_seconds / load.seconds:.2f} of a core, receiver {out.cpu_seconds / out.alive_seconds:.2f}\n"
        f"  memory, MB: receiver {max(receivers[:half]):.0f} at most in the first half, {max(receivers[half:]):.0f} in the second; "
        f"the process that fills the database {max(besides[:half]):.0f} and {max(besides[half:]):.0f}\n"
        f"  sent again: {load.again} requests by the client's loop; {out.repeated:,} spans reached the journal twice; "
        f"in the database {out.stored:,} rows, {out.stored - out.distinct} duplicates, {missing} missing; "
        f"{out.drained_seconds:.1f} s from the signal to the end"
    )


def main(seconds: float = 60.0, rate: float = 10_000.0) -> int:
    """Prints what was measured; returns 1 where a span is missing or is there twice."""
    exported = run("export", seconds, rate, clients=2, kill=True)
    print(told("exporter, server killed in the middle", rate, exported), flush=True)
    sent = run("send", REQUESTS_SECONDS, 1e9, clients=1, kill=False)
    print(told("requests, as fast as they are answered", rate, sent))
    return int(any(o.stored != o.distinct or o.distinct != o.load.spans for o in (exported, sent)))


if __name__ == "__main__":
    if sys.argv[1:2] in (["--export"], ["--send"]):
        work = export if sys.argv[1] == "--export" else send
        print(json.dumps(work(sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])).__dict__))
    else:
        raise SystemExit(main(*map(float, sys.argv[1:])))
