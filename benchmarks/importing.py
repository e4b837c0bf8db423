"""What importing costs, as ratios measured in one run. Usage: python -m benchmarks.importing [megabytes] [rounds]

Unit 1.0: `orjson.loads` over the same lines, in the same process. Two files are made: spans of the Anthropic SDK with metadata only, and
with content, where each request repeats the history. Each import runs in a process of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import itertools
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from instrument.store.connect import writing
from instrument.store.load import Loader

RUNS_START_NS = 1_790_000_000_000_000_000
SECOND_NS = 1_000_000_000
TOOLS = ("read_file", "search", "run_tests", "edit_file")
PIECE_BYTES = 8_000_000


class Words:
    """Text with the statistics of prose: a few thousand words, few of them frequent (Zipf's law), in sentences."""

    def __init__(self, chance: random.Random) -> None:
        syllables = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "ar", "en", "is", "ou")]
        self._words = ["".join(chance.choices(syllables, k=chance.choice((1, 2, 2, 3, 3, 4)))) for _ in range(4_000)]
        self._weights = list(itertools.accumulate(1 / rank for rank in range(1, len(self._words) + 1)))
        self._chance = chance

    def text(self, words: int) -> str:
        """A text of so many words."""
        drawn = self._chance.choices(self._words, cum_weights=self._weights, k=words)
        drawn[::11] = [w.capitalize() for w in drawn[::11]]
        drawn[10::11] = [w + "." for w in drawn[10::11]]
        drawn[25::40] = [f"{w}({self._chance.randrange(1000)})" for w in drawn[25::40]]
        return " ".join(drawn)

    def path(self) -> str:
        """A path of a file."""
        return "/src/" + "/".join(self._chance.choices(self._words, k=2)) + ".py"


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
    """Imports the file into a new database, then decodes its lines; both in seconds, wall and CPU."""
    started, cpu = time.perf_counter(), time.process_time()
    with path.open("rb") as file, writing(db) as con, Loader(con) as loader:
        con.execute("BEGIN")
        line = 1
        while piece := file.readlines(PIECE_BYTES):
            loader.add_lines(b"".join(piece), path.name, line)
            line += len(piece)
        spans = loader.finish().spans
        con.execute("COMMIT")
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    floor, floor_cpu = _decode(path)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "floor_seconds": floor,
        "floor_cpu_seconds": floor_cpu,
        "spans": spans,
        "peak_mb": peak,
        "bytes_per_span": db.stat().st_size / spans,
    }


def _decode(path: Path) -> tuple[float, float]:
    with path.open("rb") as file:
        lines = file.readlines()
    started, cpu = time.perf_counter(), time.process_time()
    for line in lines:
        orjson.loads(line)
    return time.perf_counter() - started, time.process_time() - cpu


def main(megabytes: float = 200, rounds: int = 3) -> None:
    """Prints a line for each file: the best of the rounds."""
    print(
        f"{'':10} {'ratio':>6} {'CPU':>6} {'spans/s':>9} {'MB/s':>6} {'peak MB':>8} {'B/span':>7}   (goals: 2.0, 700 MB, 600 B)"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (("metadata", False), ("content", True)):
            path = Path(folder) / f"{name}.jsonl"
            generate(path, int(megabytes * 1e6), content=content)
            found = [_in_a_process(path, Path(folder) / f"{name}-{i}.duckdb") for i in range(rounds)]
            best = min(found, key=lambda m: m["seconds"])
            ratio = min(m["seconds"] / m["floor_seconds"] for m in found)
            cpu = min(m["cpu_seconds"] / m["floor_cpu_seconds"] for m in found)
            speed = path.stat().st_size / 1e6 / best["seconds"]
            print(
                f"{name:10} {ratio:6.1f} {cpu:6.1f} {best['spans'] / best['seconds']:9,.0f} {speed:6.0f} "
                f"{max(m['peak_mb'] for m in found):8.0f} {best['bytes_per_span']:7.0f}"
            )


def _in_a_process(path: Path, db: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.importing", "--measure", str(path), str(db)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]), Path(sys.argv[3]))))
    else:
        main(float((sys.argv[1:] or ["200"])[0]), int((sys.argv[2:] or ["3"])[0]))
