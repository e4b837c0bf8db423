"""`record()`: providers, content modes, and what importing `instrument` costs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, Status, StatusCode
from recorded_lines import journal_folder, span_named, spans_in

import instrument
from instrument.store.connect import reading


def stop(recorder: instrument.Recorder) -> None:
    """Ends a recording and leaves its journal to be read."""
    assert recorder.stats.errors == 0, recorder.stats.last_error
    instrument.tracing.forget(recorder)
    recorder.journal.close()


def run_alone(program: str, *arguments: str) -> str:
    """What a program prints in a process of its own; it must end well and without a word on stderr."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "ANTHROPIC_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_importing_loads_nothing_heavy() -> None:
    program = """
import sys
import opentelemetry.sdk.trace
import instrument
heavy = {"duckdb", "polars", "streamlit", "anthropic", "pyarrow", "numpy", "pandas", "msgspec", "httpx2", "genai_prices", "hashlib"}
print(sorted(heavy & set(sys.modules)), sorted(m for m in sys.modules if m == "analyzer"))
instrument.record(sys.argv[1], checkpoint_seconds=None)
instrument.tool(print)("recorded")
print(sorted((heavy - {"hashlib"}) & set(sys.modules)))
import os
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-u", "-c", program, "/dev/null/x.duckdb"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == ["[] []", "recorded", "[]"], done.stderr


def test_the_front_door() -> None:
    assert instrument.__all__ == [
        *("record", "Recorder", "Stats", "Redactor", "agent", "tool", "model", "watch", "usage", "current"),
        *("user", "conversation", "in_context", "ContextThreadPool", "Policy", "load_policy"),
        *("GuardedRunner", "RunResult", "StopReason", "Intervention", "Tool", "limited"),
        *("run", "GuardedRun", "guard", "tool_runner", "open_ledger", "FlyballError", "RunStopped", "CallRefused"),
    ]
    assert all(getattr(instrument, name) is not None for name in instrument.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        instrument.nothing  # noqa: B018


def test_without_a_provider_one_is_installed_that_keeps_long_conversations(tmp_path: Path) -> None:
    program = """
import sys, instrument
from opentelemetry import trace
with instrument.record(sys.argv[1], checkpoint_seconds=None) as recorder:
    with trace.get_tracer("a.library").start_as_current_span("long") as span:
        for n in range(500):
            span.set_attribute(f"k{n}", n)
    print(recorder.stats.spans)
"""
    assert run_alone(program, str(tmp_path / "t.duckdb")) == "1\n"
    with reading(tmp_path / "t.duckdb") as con:
        ((kept,),) = con.execute("SELECT attributes::JSON::VARCHAR FROM attribute_sets").fetchall()
    assert len([k for k in json.loads(kept) if k.startswith("k")]) == 500


def test_the_applications_own_provider_stays_and_is_listened_to(tmp_path: Path) -> None:
    program = """
import sys, instrument
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
provider = TracerProvider()
trace.set_tracer_provider(provider)
recorder = instrument.record(sys.argv[1], checkpoint_seconds=None)
assert trace.get_tracer_provider() is provider
with trace.get_tracer("theirs").start_as_current_span("theirs"):
    instrument.tool(lambda: None)()
recorder.close()
"""
    run_alone(program, str(tmp_path / "t.duckdb"))
    with reading(tmp_path / "t.duckdb") as con:
        names = con.execute("SELECT name, parent_span_id IS NULL FROM spans ORDER BY name").fetchall()
    assert names == [("execute_tool <lambda>", False), ("theirs", True)]


def test_other_exporters_see_the_spans_but_not_the_content(tmp_path: Path) -> None:
    provider, theirs = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(theirs))
    recorder = instrument.record(tmp_path / "t.duckdb", tracer_provider=provider, checkpoint_seconds=None)

    @instrument.tool
    def work(private: str) -> str:
        return private

    work("confidential")
    (span,) = theirs.get_finished_spans()
    assert dict(span.attributes or {}) == {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "work"}
    assert (
        span_named(tmp_path / "t.duckdb", "execute_tool work")["attributes"]["gen_ai.tool.call.result"]
        == "confidential"
    )
    stop(recorder)


def test_the_same_path_is_the_same_recorder_until_it_is_closed(tmp_path: Path) -> None:
    provider = TracerProvider()
    first = instrument.record(tmp_path / "a.duckdb", tracer_provider=provider, checkpoint_seconds=None)
    again = instrument.record(tmp_path / "x" / ".." / "a.duckdb", tracer_provider=provider)
    other = instrument.record(tmp_path / "b.duckdb", tracer_provider=provider, checkpoint_seconds=None)
    assert again is first
    assert other is not first
    provider.get_tracer("t").start_span("both").end()
    stop(first)
    provider.get_tracer("t").start_span("b only").end()
    stop(other)
    provider.get_tracer("t").start_span("nobody").end()
    assert [s["name"] for s in spans_in(tmp_path / "a.duckdb")] == ["both"]
    assert [s["name"] for s in spans_in(tmp_path / "b.duckdb")] == ["both", "b only"]
    later = instrument.record(tmp_path / "a.duckdb", tracer_provider=provider, checkpoint_seconds=None)
    assert later is not first
    stop(later)


def test_a_content_mode_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="full, hashed, none"):
        instrument.record(tmp_path / "t.duckdb", content="some")  # type: ignore[arg-type]


def test_everything_about_a_foreign_span_is_kept(tmp_path: Path) -> None:
    provider = TracerProvider()
    recorder = instrument.record(tmp_path / "t.duckdb", tracer_provider=provider, checkpoint_seconds=None)
    tracer = provider.get_tracer("their.library", "1.2")
    cause = tracer.start_span("cause")
    cause.end()
    values: dict[str, Any] = {
        "s": "x\ud83dy",
        "i": 7,
        "big": 2**70,
        "f": 0.5,
        "nan": float("nan"),
        "b": True,
        "l": ["a", "b"],
        "m": {"k": [1]},
        "raw": b"\x00\xff",
    }
    with tracer.start_as_current_span("theirs", attributes=values, links=[Link(cause.get_span_context())]) as span:
        span.add_event("seen", {"what": "it"}, timestamp=5)
        span.set_status(Status(StatusCode.ERROR, "went wrong"))
    theirs = span_named(tmp_path / "t.duckdb", "theirs")
    assert theirs["scope"] == "their.library"
    assert theirs["status"] == {"code": 2, "message": "went wrong"}
    assert theirs["events"] == [
        {"name": "seen", "timeUnixNano": "5", "attributes": [{"key": "what", "value": {"stringValue": "it"}}]}
    ]
    assert theirs["links"][0]["spanId"] == f"{cause.get_span_context().span_id:016x}"
    facts = theirs["attributes"]
    assert (facts["s"], facts["i"], facts["big"], facts["f"], facts["nan"]) == ("x?y", 7, str(2**70), 0.5, "NaN")
    assert (facts["b"], facts["l"], facts["raw"]) == (True, ["a", "b"], "AP8=")
    stop(recorder)


def one_of_each(database: Path, content: str) -> list[dict[str, Any]]:
    """A run with a loop, a failure and a model call, recorded in a content mode; its spans in the store."""
    provider = TracerProvider()
    foreign = provider.get_tracer("their.library")

    @instrument.tool
    def read(path: str) -> str:
        if "missing" in path:
            raise FileNotFoundError(f"no file {path!r} for password=hunter22")
        return f"contents of {path} by sk-ant-secret-0123456789abcd"

    @instrument.model(name="m")
    def ask(messages: list[Any], tools: list[Any]) -> dict[str, Any]:
        return {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me read."},
                {"type": "tool_use", "id": "t1", "name": "read", "input": {"path": "a"}},
            ],
            "stop_reason": "tool_use",
        }

    @instrument.agent
    def run() -> None:
        ask([{"role": "user", "content": "confidential question"}], tools=[{"name": "read", "input_schema": {}}])
        read("a")
        read("a")
        with pytest.raises(FileNotFoundError):
            read("/missing/17")
        with foreign.start_as_current_span(
            "page", attributes={"unheard.of": "confidential " * 50, "port": 8080}
        ) as span:
            span.record_exception(ValueError("confidential"))
            span.set_status(Status(StatusCode.ERROR, "confidential"))

    with instrument.record(database, content=content, tracer_provider=provider, checkpoint_seconds=None) as recorder:  # type: ignore[arg-type]
        run()
        raw = b"".join(p.read_bytes() for p in journal_folder(database).iterdir())
        assert recorder.stats.errors == 0, recorder.stats.last_error
    assert b"hunter22" not in raw
    assert b"secret-0123456789abcd" not in raw
    assert (b"confidential" in raw) == (content == "full")
    assert (b"contents of" in raw) == (content == "full")
    assert (b"no file" in raw) == (content == "full")
    columns = (
        "kind, name, tool_name, failed, error_type, failure_kind, call_key, loose_call_key, result_key, result_chars, output_key, "
        "loose_output_key, requested_calls, content_state"
    )
    with reading(database) as con:
        found = con.execute(f"SELECT {columns} FROM spans WHERE NOT inferred ORDER BY start_ns").fetchall()
        requests = con.execute(
            "SELECT tool_call_id, tool_name, call_key, loose_call_key, declared FROM tool_requests"
        ).fetchall()
    return [dict(zip(columns.split(", "), row, strict=True)) for row in found] + [{"requests": requests}]


def test_hashed_content_has_the_same_keys_as_full_content_and_none_has_none(tmp_path: Path) -> None:
    full, hashed, none = (one_of_each(tmp_path / f"{mode}.duckdb", mode) for mode in ("full", "hashed", "none"))
    states = [row.pop("content_state", None) for row in hashed]
    for row in (*full, *none):
        row.pop("content_state", None)
    # Of a tool's error there is the type and a key of the text, of other spans' errors the type.
    assert hashed[4].pop("failure_kind").startswith("FileNotFoundError #")
    assert hashed[5].pop("failure_kind") == "ValueError"
    kinds = [row.pop("failure_kind", None) for row in full]
    assert kinds[:4] == [row.pop("failure_kind") for row in hashed[:4]] == [None] * 4
    assert hashed == full
    assert states[1:5] == ["hashed"] * 4
    reads = [row for row in full if row.get("name") == "execute_tool read"]
    assert reads[0]["result_key"] == reads[1]["result_key"] is not None
    assert kinds[4].startswith("FileNotFoundError: no file")
    assert full[-1]["requests"][0][:2] == ("t1", "read")
    assert all(row.get("call_key") is None and row.get("result_key") is None for row in none)
    assert [row.get("failed") for row in none] == [row.get("failed") for row in full]


def test_hashed_failures_say_nothing_and_equal_ones_stay_equal(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    recorder = instrument.record(path, content="hashed", tracer_provider=TracerProvider(), checkpoint_seconds=None)

    @instrument.tool
    def read(path: str, reason: str) -> str:
        if path == "odd":
            return f"Error: {reason}"
        raise OSError(f"{path} is {reason}")

    for given in ("/a/1.txt", "/b/2.txt"):
        for reason in ("confidential", "secret"):
            with pytest.raises(OSError, match=reason):
                read(given, reason)
    read("odd", "confidential")
    kinds = [s["attributes"]["flyball.failure.kind"] for s in spans_in(path)]
    assert all(re.fullmatch(r"OSError #[0-9a-f]{8}", k) for k in kinds[:4]), kinds
    assert kinds[0] == kinds[2] != kinds[1] == kinds[3]
    assert re.fullmatch(r"error #[0-9a-f]{8}", kinds[4])
    stop(recorder)


def test_a_message_changed_after_it_was_sent_is_recorded_as_it_was_each_time(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    recorder = instrument.record(path, tracer_provider=TracerProvider(), checkpoint_seconds=None)

    @instrument.model
    def ask(messages: list[Any]) -> None:
        """Says nothing."""

    block = {"type": "text", "text": "one"}
    history: list[dict[str, Any]] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": [block]}]
    ask(history)
    history[0]["content"], block["text"] = "b", "two"
    ask(history)
    ask(history)
    said = [
        [p["content"] for m in json.loads(s["attributes"]["gen_ai.input.messages"]) for p in m["parts"]]
        for s in spans_in(path)
    ]
    assert said == [["a", "one"], ["b", "two"], ["b", "two"]]
    stop(recorder)


def test_a_secret_in_the_history_is_replaced_and_counted_every_time(tmp_path: Path) -> None:
    provider = TracerProvider()
    careful = instrument.record(tmp_path / "a.duckdb", tracer_provider=provider, checkpoint_seconds=None)
    open_ = instrument.record(tmp_path / "b.duckdb", tracer_provider=provider, redact=False, checkpoint_seconds=None)

    @instrument.model
    def ask(messages: list[Any], system: str) -> None:
        """Says nothing."""

    for _ in range(3):
        ask([{"role": "user", "content": "password=hunter22 and more"}], system="api_key=abcd1234")
    for span in spans_in(tmp_path / "a.duckdb"):
        facts = span["attributes"]
        assert json.loads(facts["gen_ai.input.messages"])[0]["parts"][0]["content"] == "password=[redacted] and more"
        assert json.loads(facts["gen_ai.system_instructions"]) == [{"type": "text", "content": "api_key=[redacted]"}]
        assert facts["flyball.content.redacted"] == 2
    (whole,) = {s["attributes"]["gen_ai.input.messages"] for s in spans_in(tmp_path / "b.duckdb")}
    assert json.loads(whole)[0]["parts"][0]["content"] == "password=hunter22 and more"
    assert (careful.stats.redacted, open_.stats.redacted) == (6, 0)
    stop(careful)
    stop(open_)
