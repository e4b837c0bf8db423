"""What importing costs, as ratios measured in one run. Usage: python -m benchmarks.importing [megabytes] [rounds]

Three formats, each read by `analyzer.readers.load` as `flyball load` does, into a new file: OTLP JSON Lines of the Anthropic SDK
with metadata only and with content (each request repeats the history), the latter in protobuf too, and sessions of Claude Code.
Two floors, measured in the same process: parsing alone (`orjson.loads` of each line, protobuf's `FromString` of each message) and
inserting alone (the rows that the import made, as Arrow tables, into a new store). Each import runs in a process of its own, so that
its peak of memory is its own; one of a few lines comes first, so that loading modules is not measured.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from analyzer.readers import load, resolve
from benchmarks.import_files import generate_sessions, to_protobuf
from benchmarks.words import Words
from instrument.store import schema
from instrument.store.connect import reading, writing
from instrument.store.insert import insert

RUNS_START_NS = 1_790_000_000_000_000_000
SECOND_NS = 1_000_000_000
TOOLS = ("read_file", "search", "run_tests", "edit_file")


class Traces:
    """Agent runs as the SDK and its tool runner report them, a line per span, in the order in which spans end."""

    def __init__(self, content: bool, seed: int) -> None:
        self._chance = random.Random(seed)
        self._words = Words(self._chance)
        self._content = content
        self._now_ns = RUNS_START_NS

    def run(self) -> Iterator[bytes]:
        """The lines of one run: 3 to 29 turns of a model call and a tool call, and the agent span."""
        trace, root, started = self._id(32), self._id(16), self._now_ns
        history: list[Any] = [_message("user", {"type": "text", "content": self._words.text(60)})]
        for _ in range(self._chance.randrange(3, 30)):
            call = {
                "type": "tool_call",
                "id": "toolu_" + self._id(24),
                "name": self._chance.choice(TOOLS),
                "arguments": {"path": self._words.path(), "line": self._chance.randrange(1000)},
            }
            answer = _message("assistant", {"type": "text", "content": self._words.text(30)}, call)
            yield self._line(trace, root, "anthropic.messages.create", 3, self._model_call(history, answer))
            result = [{"type": "text", "text": self._words.text(self._chance.randrange(20, 200))}]
            name = f"anthropic.custom_tool_use {call['name']}"
            yield self._line(trace, root, name, 1, self._tool_call(call, result))
            history += [answer, _message("user", {"type": "tool_call_response", "id": call["id"], "response": result})]
        agent = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "coder",
            "user.id": f"u{self._chance.randrange(50)}",
        }
        yield self._line(trace, None, "invoke_agent coder", 1, agent, span_id=root, started=started)

    def _model_call(self, history: list[Any], answer: Any) -> dict[str, Any]:
        tokens = self._chance.randrange(500, 9000)
        said = {"gen_ai.input.messages": _json(history), "gen_ai.output.messages": _json([answer])}
        return {
            "server.address": "api.anthropic.com",
            "server.port": 443,
            "gen_ai.provider.name": "anthropic",
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "claude-sonnet-4-5",
            "gen_ai.request.max_tokens": 4096,
            "http.request.method": "POST",
            "http.route": "/v1/messages",
            "url.scheme": "https",
            "url.path": "/v1/messages",
            "url.full": "https://api.anthropic.com/v1/messages",
            "http.response.status_code": 200,
            "anthropic.request.id": "req_" + self._id(24),
            "gen_ai.response.id": "msg_" + self._id(24),
            "gen_ai.response.model": "claude-sonnet-4-5-20250929",
            "gen_ai.usage.cache_write.input_tokens": 0,
            "gen_ai.usage.cache_read.input_tokens": tokens // 2,
            "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 0,
            "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 0,
            "anthropic.response.service_tier": "standard",
            "gen_ai.usage.output_tokens": self._chance.randrange(20, 800),
            "anthropic.message.stop_reason": "tool_use",
            "gen_ai.usage.input_tokens": tokens,
            **(said if self._content else {}),
        }

    def _tool_call(self, call: dict[str, Any], result: Any) -> dict[str, Any]:
        said = {
            "gen_ai.tool.call.arguments": json.dumps(call["arguments"]),
            "anthropic.tool_result.content": _json(result),
        }
        return {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.tool.name": call["name"],
            "gen_ai.tool.call.id": call["id"],
            "gen_ai.tool.type": "function",
            "gen_ai.tool.description": "Does a thing with a file and returns the outcome",
            **(said if self._content else {}),
        }

    def _line(
        self,
        trace: str,
        parent: str | None,
        name: str,
        kind: int,
        values: dict[str, Any],
        span_id: str | None = None,
        started: int | None = None,
    ) -> bytes:
        begun = self._now_ns if started is None else started
        self._now_ns += self._chance.randrange(SECOND_NS // 100, 3 * SECOND_NS)
        span = {
            "traceId": trace,
            "spanId": span_id or self._id(16),
            **({"parentSpanId": parent} if parent else {}),
            "name": name,
            "kind": kind,
            "startTimeUnixNano": str(begun),
            "endTimeUnixNano": str(self._now_ns),
            "attributes": _attributes(values),
            "status": {"code": 1},
            "flags": 256,
        }
        scope = {"name": "com.anthropic.sdk.python", "version": "2.12.0"}
        resource_spans = {"resource": {"attributes": _RESOURCE}, "scopeSpans": [{"scope": scope, "spans": [span]}]}
        return orjson.dumps({"resourceSpans": [resource_spans]}, option=orjson.OPT_APPEND_NEWLINE)

    def _id(self, digits: int) -> str:
        return f"{self._chance.getrandbits(4 * digits):0{digits}x}"


def _message(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "parts": list(parts)}


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"stringValue": v} if isinstance(v, str) else {"intValue": str(v)}}
        for key, v in values.items()
    ]


_RESOURCE = _attributes(
    {
        "service.name": "coder",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": "1.45.2",
    }
)


def generate(path: Path, size: int, *, content: bool, seed: int = 0) -> int:
    """Writes whole runs until the file has `size` bytes. Returns the number of spans."""
    traces, spans, written = Traces(content, seed), 0, 0
    with path.open("wb") as out:
        while written < size:
            lines = list(traces.run())
            written += out.write(b"".join(lines))
            spans += len(lines)
    return spans


def measure(path: Path, db: Path) -> dict[str, float]:
    """Imports the file or folder into a new database; then parses it, and inserts what came of it; all in seconds, wall and CPU."""
    few = db.with_name(f"{db.name}.few")
    few.write_bytes(next(_files(path)).read_bytes()[:100_000])
    load(resolve([str(few)]), few.with_suffix(".duckdb"))
    started, cpu = time.perf_counter(), time.process_time()
    loaded, refusals = load(resolve([str(path)]), db)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    assert not refusals
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"seconds": seconds, "cpu_seconds": cpu_seconds, "spans": loaded.spans, "peak_mb": peak}
    for name, floor in (("parse", lambda: _parse(path)), ("insert", _insert(db))):
        started, cpu = time.perf_counter(), time.process_time()
        floor()
        found[f"{name}_seconds"] = time.perf_counter() - started
        found[f"{name}_cpu_seconds"] = time.process_time() - cpu
    return {**found, "bytes_per_span": db.stat().st_size / loaded.spans}


def _files(path: Path) -> Iterator[Path]:
    yield from sorted(path.iterdir()) if path.is_dir() else [path]


def _parse(path: Path) -> None:
    for file in _files(path):
        data = file.read_bytes()
        if path.suffix == ".pb":
            at = 0
            while at < len(data):
                size = int.from_bytes(data[at : at + 4], "big")
                TracesData.FromString(data[at + 4 : at + 4 + size])
                at += 4 + size
        else:
            for line in data.splitlines():
                orjson.loads(line)


def _insert(db: Path) -> Callable[[], None]:
    """Inserts all rows of `db`, which are read beforehand, into a new store."""
    tables: list[tuple[schema.Table, pa.Table]] = []
    with reading(db) as con:
        for table in schema.TABLES:
            columns = (f"{c.name}::JSON::VARCHAR AS {c.name}" if c.type == "VARIANT" else c.name for c in table.columns)
            tables.append((table, con.sql(f"SELECT {', '.join(columns)} FROM {table.name}").to_arrow_table()))

    def run() -> None:
        with writing(db.with_suffix(".bare.duckdb")) as con:
            con.execute("BEGIN")
            for table, rows in tables:
                if table is not schema.META:
                    columns = (f"{c.name}::JSON::VARIANT" if c.type == "VARIANT" else c.name for c in table.columns)
                    insert(con, table.name, rows, ", ".join(columns))
            con.execute("COMMIT")

    return run


def main(megabytes: float = 100, rounds: int = 3) -> None:
    """Prints a line for each file: the best of the rounds."""
    print(
        "parse, insert: how many times as long as that alone; slower: as the slower of both, in CPU time in brackets (goal: 2.0)"
    )
    print(
        f"{'':15} {'parse':>6} {'insert':>6} {'slower':>6}         {'spans/s':>8} {'MB/s':>5} {'peak MB':>7} {'B/span':>6}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, path in _made(Path(folder), int(megabytes * 1e6)):
            found = [_in_a_process(path, Path(folder) / f"{name}-{i}.duckdb") for i in range(rounds)]
            best = min(found, key=lambda m: m["seconds"])
            parse, bare, slower, cpu = (min(_ratio(m, floors) for m in found) for floors in _FLOORS)
            megabytes_read = sum(f.stat().st_size for f in _files(path)) / 1e6
            print(
                f"{name:15} {parse:6.1f} {bare:6.1f} {slower:6.1f} ({cpu:5.1f}) {best['spans'] / best['seconds']:8,.0f} "
                f"{megabytes_read / best['seconds']:5.0f} {max(m['peak_mb'] for m in found):7.0f} {best['bytes_per_span']:6.0f}"
            )


_FLOORS = (
    ("seconds", "parse"),
    ("seconds", "insert"),
    ("seconds", "parse", "insert"),
    ("cpu_seconds", "parse", "insert"),
)


def _ratio(measured: dict[str, float], floors: tuple[str, ...]) -> float:
    unit, *names = floors
    return measured[unit] / max(measured[f"{name}_{unit}"] for name in names)


def _made(folder: Path, size: int) -> Iterator[tuple[str, Path]]:
    metadata, content = folder / "metadata.jsonl", folder / "content.jsonl"
    generate(metadata, size, content=False)
    yield "OTLP, metadata", metadata
    generate(content, size, content=True)
    yield "OTLP, content", content
    to_protobuf(content, folder / "content.pb")
    yield "OTLP protobuf", folder / "content.pb"
    generate_sessions(folder / "sessions", size)
    yield "Claude Code", folder / "sessions"


def _in_a_process(path: Path, db: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.importing", "--measure", str(path), str(db)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]), Path(sys.argv[3]))))
    else:
        main(float((sys.argv[1:] or ["100"])[0]), int((sys.argv[2:] or ["3"])[0]))
