"""What `flyball export` and `flyball convert` write is read back as the same rows, whatever format it came from."""

from __future__ import annotations

import json
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from analyzer.cli import main
from analyzer.export.attributes import scope_of
from analyzer.export.stored import Stored, stored_spans
from analyzer.export.writing import CannotWrite, write
from analyzer.readers import load, resolve
from analyzer.serve.redaction import Redaction
from instrument import semconv
from instrument.content import Mode
from instrument.journal import Journal, folder_of
from instrument.otlp_line import encoded
from instrument.store.connect import reading, writing
from instrument.store.dialects import SCOPES
from instrument.store.load import Loader
from instrument.store.schema import SPANS
from instrument.store.shapes import shape_of

ROOT = Path(__file__).parents[1]
_NUMBERED = ("span_key", "run_key", "source_key", "toolset_key", "attributes_key", "dialect")
"""Numbers that a database gives, keys of texts that are compared themselves, and who reported a span (`scope_of` says what is kept)."""


def rows(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All that a database says, without the numbers it gives: rows name spans by their ids and texts by themselves."""
    with reading(database) as con:
        columns = [c.name for c in SPANS.columns if c.name not in _NUMBERED]
        kept = ", ".join(f"s.{c}" for c in columns)
        spans = con.execute(f"SELECT {kept} FROM spans s ORDER BY ALL").fetchall()
        span = "(SELECT trace_id || span_id FROM spans WHERE spans.span_key = {0}.span_key)"
        bodies = dict(con.execute("SELECT message_key, body FROM messages").fetchall())
        contents = con.execute(
            f"SELECT {span.format('c')}, arguments, result, result_message_key, system_key, input_keys, output_keys, events FROM contents c"
        ).fetchall()
        texts = {
            (run, step): (arguments, result)
            for run, step, arguments, result in con.execute("FROM tool_texts('spans')").fetchall()
        }
        tools = con.execute("SELECT trace_id || span_id, run_key, step FROM spans WHERE kind = 'tool'").fetchall()
        found = {
            "spans": [tuple(zip(columns, row, strict=True)) for row in spans],
            "contents": [
                (
                    name,
                    arguments,
                    result if message is None else None,
                    _parsed(bodies.get(system)),
                    [_parsed(bodies[k]) for k in sent or ()],
                    [_parsed(bodies[k]) for k in answered or ()],
                    _parsed(events),
                )
                for name, arguments, result, message, system, sent, answered, events in contents
            ],
            "texts": [(name, *texts[run, step]) for name, run, step in tools],
            "attributes": [
                (name, _parsed(bag))
                for name, bag in con.execute(
                    "SELECT s.trace_id || s.span_id, a.attributes::JSON::VARCHAR FROM spans s JOIN attribute_sets a USING (attributes_key)"
                ).fetchall()
            ],
            "toolsets": con.execute(
                "SELECT s.trace_id || s.span_id, t.names, t.definitions FROM spans s JOIN toolsets t USING (toolset_key)"
            ).fetchall(),
            "requests": con.execute("SELECT * EXCLUDE (span_key) FROM tool_requests").fetchall(),
            "responses": con.execute("SELECT * EXCLUDE (message_key) FROM tool_responses").fetchall(),
            "guarded": con.execute(f"SELECT {span.format('g')}, * EXCLUDE (span_key) FROM guarded_runs g").fetchall(),
            "actions": con.execute(f"SELECT {span.format('g')}, * EXCLUDE (span_key) FROM guard_actions g").fetchall(),
            "runs": con.execute("SELECT run_id, trace_id FROM runs").fetchall(),
        }
    return {name: sorted(table, key=repr) for name, table in found.items()}


def _parsed(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def loaded(database: Path, *paths: str) -> Path:
    """A database with what is at `paths`."""
    _, refusals = load(resolve(paths), database)
    assert refusals == []
    return database


def differing(one: Any, other: Any) -> list[Any]:
    """What is only in one of two lists of rows, to be read by a person."""
    left, right = Counter(map(repr, one)), Counter(map(repr, other))
    return [*(left - right).elements(), *(right - left).elements()][:4]


@pytest.mark.parametrize("folder", ["sample_traces", "tests/data"])
def test_reading_back_what_was_exported_gives_the_same_rows(tmp_path: Path, folder: str) -> None:
    before = loaded(tmp_path / "before.duckdb", str(ROOT / folder))
    expected = rows(before)
    assert len(expected["spans"]) > 100, "an empty database would be equal to anything"
    for name in ("out.jsonl", "out.parquet"):
        assert main(["export", "--db", str(before), "--out", str(tmp_path / name)]) == 0
        found = rows(loaded(tmp_path / f"{name}.duckdb", str(tmp_path / name)))
        for table in expected:
            assert differing(expected[table], found[table]) == [], f"{table} of {name}"


def tool_call(number: int, **said: Any) -> dict[str, Any]:
    """A tool span in OTLP JSON; its ids come from `number`."""
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t", **said}
    return {
        "traceId": f"{number // 100 + 1:032x}",
        "spanId": f"{number + 1:016x}",
        "name": f"t{number}",
        "startTimeUnixNano": str(1_790_000_000_000_000_000 + number),
        "endTimeUnixNano": str(1_790_000_000_000_000_100 + number),
        "attributes": encoded(attributes),
    }


def database_of(path: Path, spans: list[dict[str, Any]]) -> Path:
    """A database with these spans."""
    line = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode() + b"\n"
    with writing(path) as con, Loader(con) as loader:
        con.execute("BEGIN")
        loader.add_lines(line, "test")
        loader.finish()
        con.execute("COMMIT")
    return path


HOSTILE = [
    {"gen_ai.tool.call.arguments": '{"q": "</script>\\u0000"}', "gen_ai.tool.call.result": '["a list"]'},
    {"gen_ai.tool.call.result": '"quoted"', "own.attribute": "'; DROP TABLE spans; --"},
    {"gen_ai.tool.call.result": "line\nline\r\n\t\x00", "a": [1, 2.5, True, "x"], "b": {"c": [{"d": 1.0}]}},
    {"gen_ai.tool.call.arguments": "", "gen_ai.tool.call.result": ""},
    {"error.type": "E" * 300, "error.message": "m" * 2_000},
    {"gen_ai.tool.call.result": "Error: " + "x" * 3_000},
    {"gen_ai.operation.name": "embeddings", "openinference.span.kind": "LLM", "gen_ai.request.model": "m"},
    {"gen_ai.operation.name": "chat", "gen_ai.response.time_to_first_chunk": 1.1, "gen_ai.request.model": "nobody's"},
    {"gen_ai.operation.name": "chat", "gen_ai.request.stream": True, "gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 1},
    {"gen_ai.operation.name": "chat", "gen_ai.request.model": "claude-sonnet-4-5", "gen_ai.usage.input_tokens": 5,
     "gen_ai.usage.output_tokens": 7, "anthropic.response.service_tier": "batch"},
    {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5, "flyball.cost_usd": 0.1 + 0.2},
    {"gen_ai.operation.name": "invoke_agent", "input.value": "in", "output.value": "out", "flyball.stop_reason": "completed"},
    {"span.type": "llm_request", "gen_ai.operation.name": "chat", "model": "claude-sonnet-4-5", "input_tokens": 1,
     "cache_read_tokens": 900, "output_tokens": 2},
]  # fmt: skip


def test_odd_spans_come_back_as_they_were(tmp_path: Path) -> None:
    spans = [tool_call(number, **said) for number, said in enumerate(HOSTILE)]
    spans[4]["status"] = {"code": 2, "message": "n" * 2_000}
    spans[0]["endTimeUnixNano"] = "0"
    spans[1]["events"] = [{"name": "exception", "timeUnixNano": "5", "attributes": encoded({"exception.type": "T"})}]
    del spans[2]["startTimeUnixNano"]
    before = database_of(tmp_path / "before.duckdb", spans)
    expected = rows(before)
    for name in ("out.jsonl", "out.parquet"):
        assert main(["export", "--db", str(before), "--out", str(tmp_path / name)]) == 0
        found = rows(loaded(tmp_path / f"{name}.duckdb", str(tmp_path / name)))
        for table in expected:
            assert differing(expected[table], found[table]) == [], f"{table} of {name}"


@pytest.mark.parametrize("mode", ["hashed", "none"])
def test_recorded_without_content_it_comes_back_the_same(tmp_path: Path, mode: Mode) -> None:
    lines = (ROOT / "sample_traces" / "errors_cascade.otlp.jsonl").read_bytes().splitlines(keepends=True)
    redaction, before = Redaction(mode), tmp_path / "before.duckdb"
    with writing(before) as con, Loader(con) as loader:
        con.execute("BEGIN")
        loader.add_lines(b"".join(map(redaction.of, lines)), "test")
        loader.finish()
        con.execute("COMMIT")
    expected = rows(before)
    assert main(["export", "--db", str(before), "--out", str(tmp_path / "out.jsonl")]) == 0
    found = rows(loaded(tmp_path / "after.duckdb", str(tmp_path / "out.jsonl")))
    for table in expected:
        assert differing(expected[table], found[table]) == [], table


def test_a_run_longer_than_a_batch_is_written_whole_and_in_order(tmp_path: Path) -> None:
    spans = [{**tool_call(n), "traceId": "1" * 32} for n in range(2_500)]
    with reading(database_of(tmp_path / "t.duckdb", spans)) as con:
        batches = list(stored_spans(con))
    assert max(map(len, batches)) <= 1_000
    assert [s.row["name"] for batch in batches for s in batch] == [f"t{n}" for n in range(2_500)]


def test_one_run_can_be_exported_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = database_of(tmp_path / "t.duckdb", [tool_call(n) for n in range(250)])
    run_id = f"{2:032x}"
    out = tmp_path / "one.jsonl"
    assert main(["export", "--db", str(database), "--run", run_id, "--out", str(out)]) == 0
    assert "wrote 100 spans" in capsys.readouterr().out
    assert {row[0] for row in rows(loaded(tmp_path / "one.duckdb", str(out)))["runs"]} == {run_id}
    assert main(["export", "--db", str(database), "--run", "nobody's", "--out", str(tmp_path / "none.jsonl")]) == 2
    assert not (tmp_path / "none.jsonl").exists()
    assert "holds no run nobody's" in capsys.readouterr().err


def test_what_the_journal_still_holds_is_exported_too(tmp_path: Path) -> None:
    journal = Journal(folder_of(tmp_path / "t.duckdb"))
    journal.write(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [tool_call(1)]}]}]}).encode() + b"\n")
    journal.close()
    assert main(["export", "--db", str(tmp_path / "t.duckdb"), "--out", str(tmp_path / "o.jsonl")]) == 0
    assert len((tmp_path / "o.jsonl").read_bytes().splitlines()) == 1


def test_the_parquet_file_has_one_row_per_span_with_the_promised_columns(tmp_path: Path) -> None:
    database = database_of(tmp_path / "t.duckdb", [tool_call(0, n=1)])
    assert main(["export", "--db", str(database), "--out", str(tmp_path / "o"), "--format", "parquet"]) == 0
    (row,) = pq.read_table(tmp_path / "o").to_pylist()
    assert list(row) == [
        "trace_id", "span_id", "parent_span_id", "name", "kind", "start_time_unix_nano", "end_time_unix_nano", "status_code",
        "status_message", "attributes", "events", "links", "resource_attributes", "scope_name", "scope_version",
    ]  # fmt: skip
    assert (row["trace_id"], row["parent_span_id"], row["kind"]) == (f"{1:032x}", None, 1)
    assert json.loads(row["attributes"]) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "t",
        "n": 1,
    }


def test_a_file_that_cannot_be_finished_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("before")

    def batches() -> Iterator[list[Stored]]:
        raise OSError(28, "No space left on device")
        yield []

    with pytest.raises(CannotWrite, match="No space left"):
        write(batches(), str(out), "jsonl")
    assert (out.read_text(), list(tmp_path.iterdir())) == ("before", [out])
    with pytest.raises(CannotWrite, match="No such file"):
        write([], str(tmp_path / "missing" / "out.jsonl"), "jsonl")


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write([], str(tmp_path / "out.jsonl"), "jsonl")
    assert stat.S_IMODE((tmp_path / "out.jsonl").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_the_database_is_not_overwritten(tmp_path: Path) -> None:
    database = database_of(tmp_path / "t.duckdb", [tool_call(0)])
    for command in (["export", "--db"], ["convert"]):
        with pytest.raises(SystemExit):
            main([*command, str(database), "--out", f"{tmp_path}/./t.duckdb"])
    assert rows(database)["spans"]


@pytest.mark.parametrize("dialect", sorted({d for _, d in SCOPES} - {"claude-code"}))
def test_the_scope_tells_the_loader_whose_report_it_is(dialect: str) -> None:
    span = Stored({"dialect": dialect}, {}, {})
    assert shape_of(scope_of(span), (semconv.OPERATION,)).dialect == dialect
