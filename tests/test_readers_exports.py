"""Exports of observability products: what readers make of each file equals a second count of it, and what the database then holds."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from agent_logs import Totals, told
from export_counts import COUNTS
from small_exports import COLUMNS, FLAT, LANGFUSE, LOGS, RECORD, TRACE, TREE

from analyzer.cli import main
from analyzer.readers import load, resolve
from instrument.store.connect import reading

DATA = Path(__file__).parent / "data"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "traces"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared traces are not on this machine")

# Model calls, tool calls, input tokens, output tokens, dollars by the export's own account.
LANGFUSE_TABLE = {
    "agno-2025-06-11": (2, 1, 826, 245, 0.000270899999),
    "autogen-2025-06-06": (1, 0, 41, 3, 0.000025),
    "beeai-2025-08-01": (3, 1, 5542, 0, 0.0008313),
    "google-adk-2025-08-28": (2, 1, 67, 9, 0.0000103),
    "google-gemini-2025-08-01": (1, 0, 6, 2055, 0.005139299999),
    "google-vertex-tools-langchain-2025-09-19": (1, 0, 1200, 15, 0.00011),
    "koog-2025-08-26": (2, 2, 215, 125, 0.0017875),
    "langgraph-2025-08-22": (2, 1, 168, 66, 0.000234),
    "llamaindex-2025-06-05": (1, 0, 13, 81, 0.000842499999),
    "microsoft-agent-2025-10-14": (2, 1, 656, 105, 0.002689999999),
    "openai-agents-2025-09-30": (2, 1, 140, 44, 0.000632),
    "openai-assistants-2024-05-29": (1, 0, 49, 40, 0.00387),
    "pydantic-ai-tools-2025-12-04": (4, 3, 1315, 209, 0.0003226499999),
}
# Files, model calls, tool calls, input tokens, output tokens, dollars.
OTHERS = {"openinference": (13, 8, 1, 530, 505, 0), "otel_dialects": (3, 2, 0, 13_399, 43, 0)}
OF_EXCERPTS = {
    "langfuse": (8, 14, 6, 8633, 618, 0.007189199997),
    "openinference": (4, 3, 0, 209, 216, 0),
    "otel_dialects": (3, 2, 0, 13_399, 43, 0),
}
NO_SPANS = {"capture-results.json", "gen-ai-input-messages.json", "gen-ai-output-messages.json"}

IN_STORE = """
    SELECT o.name, count(*) FILTER (kind = 'model' AND duplicate_of IS NULL), count(*) FILTER (kind = 'tool' AND NOT inferred),
        coalesce(sum(input_tokens) FILTER (duplicate_of IS NULL), 0), coalesce(sum(output_tokens) FILTER (duplicate_of IS NULL), 0),
        coalesce(sum(cost_usd) FILTER (duplicate_of IS NULL AND price_source = 'reported'), 0)
    FROM spans s JOIN sources o USING (source_key) GROUP BY ALL
"""


def files(folder: Path, name: str) -> list[Path]:
    found = [p for p in sorted((folder / name).rglob("*.json")) if p.name not in NO_SPANS]
    return [p for p in found if "responses_stream" not in p.name]


def stored(db: Path, *paths: Path) -> dict[str, Totals]:
    """What the database holds of each file after all were loaded, twice: the second time adds nothing."""
    inputs = resolve([str(p) for p in paths])
    _, refused = load(inputs, db)
    again, _ = load(inputs, db)
    with reading(db) as con:
        rows = con.execute(IN_STORE).fetchall()
    assert (refused, again.spans) == ([], 0)
    return {name: Totals(*found) for name, *found in rows}


def row(totals: Totals) -> Any:
    return pytest.approx(tuple(vars(totals).values()), abs=1e-12)


@needs_shared
def test_every_langfuse_export_is_read_as_it_counts_and_its_dollars_stand(tmp_path: Path) -> None:
    paths = files(SHARED, "langfuse")
    sink, in_store = told(*paths), stored(tmp_path / "t.duckdb", *paths)
    assert [p.stem for p in paths] == list(LANGFUSE_TABLE)
    for path in paths:
        found = (COUNTS["langfuse"](path), sink.totals(str(path)), in_store[str(path)])
        assert [LANGFUSE_TABLE[path.stem]] * 3 == [row(f) for f in found], path.name
    assert not [i for i in sink.issues if i.error]


def counted(folder: Path, name: str, db: Path) -> tuple[float, ...]:
    """The row of the table, after what the database holds of each file was held against a second count of it."""
    # Two files hold the spans of all others again.
    paths = [p for p in files(folder, name) if p.stem not in ("all-spans", "spans-by-operation")]
    in_store, total = stored(db, *paths), Totals()
    for path in paths:
        own = COUNTS[name](path)
        assert tuple(vars(in_store[str(path)]).values()) == row(own), path.name
        total += own
    return (len(paths), *vars(total).values())


@needs_shared
@pytest.mark.parametrize("name", OTHERS)
def test_every_other_export_is_stored_as_it_counts(name: str, tmp_path: Path) -> None:
    assert counted(SHARED, name, tmp_path / "t.duckdb") == OTHERS[name]


@needs_shared
@pytest.mark.parametrize("name", ["all-spans", "spans-by-operation"])
def test_a_file_of_all_spans_of_a_test_is_stored_as_it_counts(name: str, tmp_path: Path) -> None:
    (path,) = SHARED.glob(f"openinference/**/{name}.json")
    assert stored(tmp_path / "t.duckdb", path) == {str(path): COUNTS["openinference"](path)}
    assert COUNTS["openinference"](path) == Totals(4, 0, 142, 297)


@pytest.mark.parametrize("name", OF_EXCERPTS)
def test_every_excerpt_is_stored_as_it_counts(name: str, tmp_path: Path) -> None:
    assert counted(DATA, name, tmp_path / "t.duckdb") == pytest.approx(OF_EXCERPTS[name], abs=1e-12)


def held(tmp_path: Path, value: Any, sql: str, *, lines: bool = False) -> list[tuple[Any, ...]]:
    """What `sql` says of a database with this file in it."""
    text = "".join(json.dumps(v) + "\n" for v in value) if lines else json.dumps(value)
    (tmp_path / "export").write_text(text)
    _, refused = load(resolve([str(tmp_path / "export")]), tmp_path / "t.duckdb")
    assert refused == []
    with reading(tmp_path / "t.duckdb") as con:
        return con.execute(sql).fetchall()


SPANS = """
    SELECT kind, name, parent_span_id IS NULL, status, (end_ns - start_ns) / 1e6 AS ms, input_tokens, output_tokens, tool_name, dialect
    FROM spans WHERE NOT inferred ORDER BY start_ns
"""
SAID = """
    SELECT m.body, r.tool_name, r.tool_call_id, r.declared
    FROM contents c JOIN messages m ON m.message_key = c.input_keys[1] JOIN tool_requests r ON r.span_key = c.span_key
"""


def test_a_tree_of_openinference_spans_is_read_to_its_leaves(tmp_path: Path) -> None:
    assert held(tmp_path, TREE, SPANS) == [
        ("agent", "CodeAgent.run", True, "unset", 123_500.0, None, None, None, "openinference"),
        ("model", "LiteLLMModel.__call__", False, "unset", 1_500.0, 120, 30, None, "openinference"),
        ("tool", "search", False, "error", 250.0, None, None, "search", "openinference"),
    ]


@pytest.mark.parametrize(
    ("value", "lines"), [(TREE, False), (FLAT, False), (FLAT, True)], ids=["tree", "list", "lines"]
)
def test_messages_calls_and_definitions_of_openinference_come_out_however_they_lie(
    tmp_path: Path, value: Any, lines: bool
) -> None:
    ((sent, *asked),) = held(tmp_path, value, SAID, lines=lines)
    assert json.loads(sent)["parts"] == [{"type": "text", "content": "Find it."}]
    assert asked == ["search", "c1", True]


def test_usage_of_openinference_counts_the_cache_inside(tmp_path: Path) -> None:
    sql = (
        "SELECT input_tokens, uncached_input_tokens, cache_read_tokens, conversation_id FROM spans WHERE kind = 'model'"
    )
    assert held(tmp_path, FLAT, sql) == [(120, 20, 100, "s1")]


def test_a_failed_tool_tells_why(tmp_path: Path) -> None:
    sql = "SELECT failed, error_type, error_message FROM spans WHERE kind = 'tool'"
    assert held(tmp_path, TREE, sql) == [(True, "KeyError", "it")]


@pytest.mark.parametrize("lines", [False, True])
def test_columns_of_a_data_frame_are_spans_and_an_embedding_is_no_model_call(tmp_path: Path, lines: bool) -> None:
    assert held(tmp_path, COLUMNS, SPANS, lines=lines) == [
        ("model", "ChatCompletion", True, "unset", 650.0, 120, 30, None, "openinference"),
        ("other", "embed", False, "unset", 500.0, None, None, None, "openinference"),
    ]


def test_a_table_of_traces_holds_trees_as_texts(tmp_path: Path) -> None:
    rows = [{"trace": json.dumps(TREE), "labels": "{}"}]
    assert [f[0] for f in held(tmp_path, rows, SPANS, lines=True)] == ["agent", "model", "tool"]


def test_exports_in_parquet_are_the_same_spans(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(COLUMNS), tmp_path / "phoenix.parquet")
    # Of what differs from observation to observation a table has texts; ClickHouse writes whole numbers as texts too.
    texts = ("input", "output", "metadata", "usageDetails", "costDetails")
    flat = [{**o, **{name: json.dumps(o.get(name)) for name in texts}} for o in LANGFUSE["observations"]]
    flat[3]["usageDetails"] = json.dumps({k: str(v) for k, v in LANGFUSE["observations"][3]["usageDetails"].items()})
    pq.write_table(pa.Table.from_pylist(flat), tmp_path / "langfuse.parquet")
    totals = stored(tmp_path / "t.duckdb", tmp_path / "phoenix.parquet", tmp_path / "langfuse.parquet")
    assert totals[str(tmp_path / "phoenix.parquet")] == Totals(1, 0, 120, 30)
    assert tuple(vars(totals[str(tmp_path / "langfuse.parquet")]).values()) == row(Totals(2, 1, 170, 35, 0.30))


def test_langfuse_says_who_what_when_and_for_how_much(tmp_path: Path) -> None:
    sql = """
        SELECT kind, agent_name, conversation_id, user_id, input_tokens, uncached_input_tokens, output_tokens, cost_usd, price_source,
            response_id, finish_reason, time_to_first_token_ns, error_message
        FROM spans WHERE NOT inferred ORDER BY start_ns
    """
    who = ("finder", "s1", "u1")
    assert held(tmp_path, LANGFUSE, sql) == [
        ("agent", *who, *[None] * 9),
        ("model", *who, 120, 20, 30, 0.25, "reported", "msg_1", "tool_use", 200_000_000, None),
        ("tool", *who, *[None] * 8, "not found"),
        ("model", *who, 50, 50, 5, 0.05, "reported", None, None, None, None),
    ]


SNAKE = {
    "traceId": "trace_id",
    "parentObservationId": "parent_observation_id",
    "startTime": "start_time",
    "endTime": "end_time",
    "usageDetails": "usage_details",
    "costDetails": "cost_details",
    "statusMessage": "status_message",
}


@pytest.mark.parametrize("form", ["of the API", "a page of the API", "a batch", "lines", "names of the blob storage"])
def test_langfuse_is_the_same_in_every_form(tmp_path: Path, form: str) -> None:
    observations = LANGFUSE["observations"]
    renamed = [{SNAKE.get(k, k): v for k, v in o.items()} for o in observations]
    value: Any = {
        "of the API": {**LANGFUSE["trace"], "htmlPath": "/x", "observations": observations},
        "a page of the API": {"data": observations, "meta": {"page": 1}},
        "a batch": observations,
        "lines": observations,
        "names of the blob storage": [{**o, "output": json.dumps(o["output"])} for o in renamed],
    }[form]
    found = held(
        tmp_path, value, SPANS.replace("dialect", "cost_usd"), lines=form in ("lines", "names of the blob storage")
    )
    assert [f[0] for f in found] == ["agent", "model", "tool", "model"]
    assert [f[-1] for f in found] == [None, 0.25, None, 0.05]
    assert sum(f[5] or 0 for f in found) == 170


def usage_of(tmp_path: Path, **usage: int) -> tuple[Any, ...]:
    trace = json.loads(json.dumps(LANGFUSE))
    trace["observations"] = [{**trace["observations"][1], "usageDetails": usage}]
    (found,) = held(
        tmp_path,
        trace,
        "SELECT input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens FROM spans WHERE NOT inferred",
    )
    return found


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input": 2, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 7, "output": 3, "total": 22}, (19, 3, 10, 7, None)),
        ({"input": 127, "input_cached_tokens": 100, "output": 30, "total": 157}, (127, 30, 100, None, None)),
        ({"input": 27, "input_cached_tokens": 100, "output": 20, "output_reasoning_tokens": 10, "total": 157}, (127, 30, 100, None, 10)),
        ({"input": 127, "output": 30, "completion_details.reasoning": 10, "total": 157}, (127, 30, None, None, 10)),
        ({"input": 27, "input_cache_read": 100, "output": 30}, (127, 30, 100, None, None)),
        ({"input": 127, "total": 127}, (127, None, None, None, None)),
        ({"input": 0, "output": 0, "total": 0}, (None, None, None, None, None)),
        ({"input": 5, "input_cache_creation": 9, "input_cache_creation_1h": 9, "output": 1, "total": 15}, (14, 1, None, 9, None)),
    ],
)  # fmt: skip
def test_the_total_tells_whether_langfuse_counts_details_inside_or_beside(
    tmp_path: Path, usage: dict[str, int], expected: tuple[Any, ...]
) -> None:
    assert usage_of(tmp_path, **usage) == expected


def test_what_goes_around_a_generation_is_not_counted_and_lends_it_its_messages(tmp_path: Path) -> None:
    sink = told(DATA / "langfuse" / "agno-2025-06-11.json")
    calls = [s for s in sink.spans if s["gen_ai.operation.name"] == "chat"]
    assert [s["gen_ai.response.id"][:9] for s in calls] == ["chatcmpl-", "chatcmpl-"]
    asking = min(calls, key=lambda s: s["span"].startTimeUnixNano)
    assert json.loads(asking["gen_ai.output.messages"])[0]["parts"][0]["name"] == "duckduckgo_search"
    assert [(i.kind, i.count, i.error) for i in sink.issues if i.kind == "roll_up"] == [("roll_up", 2, False)]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize("known", ["outermost", "all", "innermost"])
def test_of_generations_around_each_other_one_counts(tmp_path: Path, order: tuple[int, ...], known: str) -> None:
    call = LANGFUSE["observations"][3]
    three = [{**call, "id": f"{n:016x}", "parentObservationId": f"{n - 1:016x}" if n else None} for n in range(3)]
    for number, found in enumerate(three):
        told_usage = known == "all" or number == {"outermost": 0, "innermost": 2}[known]
        found["usageDetails"] = {"input": 50, "output": 5} if told_usage else {}
        found["costDetails"] = {"total": 0.05} if told_usage else {}
    (tmp_path / "export").write_text(json.dumps({**LANGFUSE, "observations": [three[n] for n in order]}))
    sink = told(tmp_path / "export")
    assert sink.totals(str(tmp_path / "export")) == Totals(1, 0, 50, 5, 0.05)
    assert [(i.kind, i.count) for i in sink.issues if i.kind == "roll_up"] == [("roll_up", 2)]


def test_a_run_id_that_two_calls_share_is_no_response_id(tmp_path: Path) -> None:
    sink = told(DATA / "langfuse" / "microsoft-agent-2025-10-14.json")
    assert not [s for s in sink.spans if "gen_ai.response.id" in s]


def test_an_answer_without_an_end_is_not_at_work_to_this_day(tmp_path: Path) -> None:
    trace = json.loads(json.dumps(LANGFUSE))
    for found in trace["observations"]:
        found["endTime"] = None
    rows = held(
        tmp_path, trace, "SELECT kind, end_ns IS NULL, inferred_times FROM spans WHERE NOT inferred ORDER BY start_ns"
    )
    assert rows == [("agent", True, None), ("model", False, "end"), ("tool", False, "end"), ("model", False, "end")]


def test_spans_without_any_times_are_judged(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(DATA / "otel_dialects"), "--fail-on", "never"]) == 0
    assert "spans have neither ids nor times" in capsys.readouterr().out


def test_tools_of_pydantic_ai_are_declared_and_so_are_forms_of_answers(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"q": {"type": "string"}}}
    request = {
        "function_tools": [{"name": "search", "parameters_json_schema": schema}],
        "output_tools": [{"name": "final_result"}],
    }
    trace = json.loads(json.dumps(LANGFUSE))
    trace["observations"][3]["metadata"] = {"attributes": {"model_request_parameters": json.dumps(request)}}
    found = held(
        tmp_path, {**trace, "observations": trace["observations"][3:]}, "SELECT names, definitions FROM toolsets"
    )
    ((names, definitions),) = found
    assert names == ["search", "final_result"]
    assert json.loads(definitions)[0]["parameters"] == schema


def test_events_of_claude_code_are_calls_of_one_run(tmp_path: Path) -> None:
    sql = """
        SELECT kind, (start_ns - 1788256800000000000) / 1e9, (end_ns - 1788256800000000000) / 1e9, request_model, input_tokens,
            uncached_input_tokens, cache_write_tokens, output_tokens, cost_usd, tool_call_id, failed, error_message
        FROM spans ORDER BY start_ns, kind
    """
    assert held(tmp_path, LOGS, sql) == [
        ("agent", 0.0, 9.0, *[None] * 7, False, None),
        ("model", 1.0, 3.0, "claude-opus-4-5", 127, 20, 7, 30, 0.25, None, False, None),
        ("tool", 3.5, 5.0, *[None] * 6, "c1", True, "gone"),
        ("model", 6.5, 7.0, "claude-haiku-4-5", 50, 50, 0, 5, 0.05, None, False, None),
        ("model", 8.9, 9.0, "claude-opus-4-5", *[None] * 6, True, "Overloaded"),
    ]


def test_events_exported_twice_are_counted_once(tmp_path: Path) -> None:
    found = held(
        tmp_path, [LOGS, LOGS], "SELECT count(*), count(DISTINCT run_key), sum(cost_usd) FROM spans", lines=True
    )
    assert found == [(5, 1, pytest.approx(0.30))]


def record(product: str, at: int, **values: Any) -> dict[str, Any]:
    attributes = [{"key": k.replace("__", "."), "value": {"stringValue": str(v)}} for k, v in values.items()]
    return {
        "timeUnixNano": str(at * 10**9),
        "attributes": [{"key": "event.name", "value": {"stringValue": product}}, *attributes],
    }


def test_events_of_codex_and_gemini_cli_count_as_their_providers_do(tmp_path: Path) -> None:
    codex, gemini = (
        {"conversation__id": "c", "model": "gpt-5.5"},
        {"session__id": "g", "model": "gemini-3-pro", "prompt_id": "p"},
    )
    records = [
        record("codex.user_prompt", 100, **codex),
        record("codex.sse_event", 101, **codex, event__kind="response.output_item.done"),
        record("codex.sse_event", 102, **codex, event__kind="response.completed", input_token_count=90, output_token_count=8,
               cached_token_count=60, reasoning_token_count=3),
        record("codex.tool_result", 103, **codex, tool_name="shell", call_id="c1", output="ok", success="true", duration_ms=9),
        record("gemini_cli.api_response", 104, **gemini, input_token_count=90, output_token_count=8, cached_content_token_count=60,
               thoughts_token_count=3, tool_token_count=5, duration_ms=10),
        record("gemini_cli.tool_call", 105, **gemini, function_name="ls", function_args="{}", success="false", error="no"),
    ]  # fmt: skip
    document = {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}
    sql = """
        SELECT kind, agent_name, input_tokens, cache_read_tokens, output_tokens, reasoning_tokens, tool_name, failed, inferred_times
        FROM spans WHERE kind <> 'agent' ORDER BY end_ns
    """
    assert held(tmp_path, document, sql) == [
        ("model", "codex", 90, 60, 8, 3, None, False, "start"),
        ("tool", "codex", *[None] * 4, "shell", False, None),
        ("model", "gemini-cli", 95, 60, 11, 3, None, False, None),
        ("tool", "gemini-cli", *[None] * 4, "ls", True, "start"),
    ]


def test_logs_and_spans_of_one_request_are_one_call(tmp_path: Path) -> None:
    """Claude Code may export both; then its log records belong to a trace."""
    logs = json.loads(json.dumps(LOGS))
    for found in logs["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
        found["traceId"], found["spanId"] = TRACE, "00000000000000d0"
    attributes = {"span.type": "llm_request", "model": "claude-opus-4-5", "input_tokens": "20", "output_tokens": "30",
                  "cache_read_tokens": "100", "cache_creation_tokens": "7", "gen_ai.response.id": "req_1"}  # fmt: skip
    span = {"traceId": TRACE, "spanId": "00000000000000d1", "name": "claude_code.llm_request", "startTimeUnixNano": "1788256801000000000",
            "endTimeUnixNano": "1788256803000000000",
            "attributes": [{"key": k, "value": {"stringValue": v}} for k, v in attributes.items()]}  # fmt: skip
    scoped = {"scope": {"name": "com.anthropic.claude_code.tracing"}, "spans": [span]}
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "logs.jsonl").write_text(json.dumps(logs))
    (tmp_path / "both" / "spans.jsonl").write_text(json.dumps({"resourceSpans": [{"scopeSpans": [scoped]}]}) + "\n")
    both = sum(stored(tmp_path / "t.duckdb", tmp_path / "both").values(), Totals())
    assert (both.model_calls, both.input_tokens, both.output_tokens) == (3, 177, 35)


@pytest.mark.parametrize(
    ("metadata", "counted_input", "expected"),
    [
        (
            {"usage": {"input_tokens": 3, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 10}},
            33,
            (33, 3, 10, 20),
        ),
        (
            {"usage": {"input_tokens": 50, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 10}},
            50,
            (80, 50, 10, 20),
        ),
        ({"cacheCreationInputTokens": 20, "cacheReadInputTokens": 10}, 50, (80, 50, 10, 20)),
        ({}, 50, (50, 50, None, None)),
    ],
    ids=["version 6", "version 5", "version 4", "nothing said"],
)
def test_the_vercel_sdks_input_is_what_the_provider_counted(
    tmp_path: Path, metadata: dict[str, Any], counted_input: int, expected: tuple[Any, ...]
) -> None:
    said = json.dumps({"anthropic": metadata})
    record = {
        **RECORD,
        "attributes": {
            **RECORD["attributes"],
            "ai.usage.inputTokens": counted_input,
            "ai.response.providerMetadata": said,
        },
    }
    sql = "SELECT input_tokens, uncached_input_tokens, cache_read_tokens, cache_write_tokens FROM spans"
    assert held(tmp_path, record, sql) == [expected]


def test_an_agent_of_old_pydantic_ai_is_one_though_it_names_no_operation(tmp_path: Path) -> None:
    attributes = {
        "agent_name": "joker",
        "model_name": "gpt-4o",
        "gen_ai.usage.input_tokens": 682,
        "pydantic_ai.all_messages": "[]",
    }
    found = held(
        tmp_path,
        {**RECORD, "scopeName": "pydantic-ai", "attributes": attributes},
        "SELECT kind, agent_name, input_tokens FROM spans",
    )
    assert found == [("agent", "joker", None)]


def test_a_turn_of_codex_is_a_roll_up_and_gemini_thinks_apart(tmp_path: Path) -> None:
    load(resolve([str(DATA / "otel_dialects")]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        kinds = con.execute("SELECT kind, dialect, input_tokens FROM spans ORDER BY 1, 3").fetchall()
        answers = con.execute(
            "SELECT body FROM contents c JOIN messages m ON m.message_key = c.output_keys[1] JOIN spans s ON s.span_key = c.span_key "
            "WHERE s.dialect = 'gen_ai'"
        ).fetchall()
    assert kinds == [("agent", "other", None), ("model", "gen_ai", 767), ("model", "vercel-ai", 12_632)]
    ((answer,),) = answers
    assert {p["type"] for p in json.loads(answer)["parts"]} == {"reasoning", "text"}


def test_every_format_says_what_it_sees_and_cannot_see() -> None:
    from analyzer.readers.formats import FORMATS

    ours = {"Langfuse export", "OpenInference spans", "log events of a coding agent", "span record"}
    found = [f for f in FORMATS if f.name in ours]
    assert len(found) == len(ours)
    assert all(f.about and f.sees and f.cannot_see for f in found)
