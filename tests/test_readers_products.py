"""Exports of products with forms of their own, and of tracing systems: the store holds what a count by hand, or by a few lines, says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kept_sink import reading_of
from small_products import APP_INSIGHTS, BRAINTRUST, DATADOG, LANGSMITH, MLFLOW, OPENAI_TRACES, WEAVE, ZIPKIN, mlflow_3
from test_readers_exports import held

from analyzer.readers import load, resolve
from instrument.store.connect import reading

DATA = Path(__file__).parent / "data"
CALLS = """
    SELECT kind, coalesce(tool_name, agent_name), input_tokens, cache_read_tokens, output_tokens, status, (end_ns - start_ns) / 1e9
    FROM spans WHERE kind <> 'other' AND NOT inferred ORDER BY start_ns, end_ns DESC
"""
SEEN = """
    SELECT response_model, finish_reason, conversation_id, user_id, len(c.input_keys), left(m.body, 18)
    FROM spans s JOIN contents c USING (span_key) JOIN messages m ON m.message_key = c.output_keys[1] ORDER BY start_ns
"""
TOOLS = "SELECT arguments, result, error_message FROM spans s JOIN tool_texts('spans') t USING (run_key, step) WHERE NOT s.inferred"
SMALL: dict[str, Any] = {
    "langsmith": LANGSMITH,
    "mlflow": MLFLOW,
    "mlflow 3": mlflow_3(),
    "braintrust": BRAINTRUST,
    "weave": WEAVE,
    "openai agents": OPENAI_TRACES,
    "datadog": DATADOG,
    "app insights": APP_INSIGHTS,
}


def answers(tmp_path: Path, value: Any, *queries: str) -> list[list[tuple[Any, ...]]]:
    """What each query says of a database with this file in it."""
    first = held(tmp_path, value, queries[0])
    with reading(tmp_path / "t.duckdb") as con:
        return [first, *(con.execute(sql).fetchall() for sql in queries[1:])]


@pytest.mark.parametrize("name", SMALL)
def test_a_run_is_the_same_out_of_every_product(name: str, tmp_path: Path) -> None:
    agent = {"langsmith": "LangGraph", "mlflow": "predict", "mlflow 3": "predict", "weave": "run_agent"}
    calls, (first, second), tools = answers(tmp_path, SMALL[name], CALLS, SEEN, TOOLS)
    assert [c[0] for c in calls] == ["agent", "model", "tool", "model"]
    assert [c[2:5] for c in calls] == [(None, None, None), (220, 100, 20), (None, None, None), (300, 200, 5)]
    assert (calls[0][1], calls[2][1]) == (agent.get(name, "weather agent"), "weather")
    assert [c[5] == "error" for c in calls] == [False, False, True, False]
    assert [c[6] for c in calls] == [9, 2, 1, 3]
    assert (first[2], first[4], second[4]) == ("t1", 2, 4)
    assert "assistant" in first[5]
    if name not in ("openai agents", "datadog"):  # whose spans hold messages and no answers
        assert first[0] == (None if name == "braintrust" else "gpt-4o-2024-08-06")
        assert (*first[1:4], second[1]) == ("tool_calls", "t1", "u1", "stop")
    ((arguments, result, error),) = tools
    assert (json.loads(arguments), result) == ({"city": "Ulm"}, "no such city")
    assert "no such city" in error


@pytest.mark.parametrize("form", ["lines", "list", "answer"])
def test_products_are_read_one_a_line_in_lists_and_in_answers(form: str, tmp_path: Path) -> None:
    for number, (small, place) in enumerate(((BRAINTRUST, "events"), (WEAVE, "calls"), (OPENAI_TRACES, "data"))):
        text = {
            "lines": "".join(json.dumps(v) + "\n" for v in small),
            "list": json.dumps(small),
            "answer": json.dumps({place: small}),
        }[form]
        (tmp_path / f"{number}").write_text(text)
    load(resolve([str(tmp_path)]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        found = con.execute(
            "SELECT count(*), sum(input_tokens), sum(output_tokens) FROM spans WHERE kind = 'model'"
        ).fetchall()
    assert found == [(6, 3 * 520, 3 * 25)]


def test_runs_of_langsmith_are_one_in_trees_lists_and_batches(tmp_path: Path) -> None:
    root = {**LANGSMITH, "child_runs": None}
    children = [
        {**c, "parent_run_id": LANGSMITH["id"], "trace_id": LANGSMITH["trace_id"]} for c in LANGSMITH["child_runs"]
    ]
    ended = {
        "end_time",
        "outputs",
        "error",
        "status",
        "total_tokens",
        "prompt_tokens",
        "completion_tokens",
        "prompt_token_details",
    }
    sent = [{k: v for k, v in run.items() if k not in ended} for run in (root, *children)]
    rest = [
        {k: v for k, v in run.items() if k in ended or k in ("id", "dotted_order", "run_type")}
        for run in (root, *children)
    ]
    forms = [LANGSMITH, [root, *children], {"runs": [*children, root]}, {"post": sent, "patch": rest}]
    found = []
    for number, form in enumerate(forms):
        (tmp_path / f"{number}").mkdir()
        found.append(
            held(
                tmp_path / f"{number}", form, f"{CALLS.replace('SELECT', 'SELECT trace_id, span_id, parent_span_id,')}"
            )
        )
    assert all(f == found[0] for f in found)
    assert len(found[0]) == 4


def test_costs_of_langsmith_are_those_of_its_model_calls_alone(tmp_path: Path) -> None:
    assert held(tmp_path, LANGSMITH, "SELECT sum(cost_usd), any_value(price_source) FROM spans") == [
        (0.002, "reported")
    ]


def test_zipkin_is_read_whose_tags_are_texts(tmp_path: Path) -> None:
    more = "SELECT finish_reason, dialect, error_message FROM spans WHERE kind <> 'agent' ORDER BY start_ns"
    (agent, model, tool), others = answers(tmp_path, [ZIPKIN], CALLS, more)
    assert (agent[:2], agent[6]) == (("agent", "bot"), 9)
    assert model[2:5] == (220, None, 20)
    assert tool[5] == "error"
    assert others == [("tool_calls", "pydantic-ai", None), (None, "gen_ai", "no such city")]


def jaeger_count(path: Path) -> tuple[int, int, int, int]:
    spans = [s for trace in json.loads(path.read_bytes())["data"] for s in trace["spans"]]
    tags: list[dict[str, Any]] = [{t["key"]: t["value"] for t in s["tags"]} for s in spans]
    # OpenLLMetry's spans have the answer's id; the ADK's around them report the same calls.
    calls = [t for t in tags if "gen_ai.response.id" in t]
    sent = sum(c.get("gen_ai.usage.input_tokens") or c["gen_ai.usage.prompt_tokens"] for c in calls)
    came = sum(c.get("gen_ai.usage.output_tokens") or c["gen_ai.usage.completion_tokens"] for c in calls)
    return len(spans), len(calls), sent, came


def tempo_count(path: Path) -> tuple[int, int, int, int]:
    libraries = [lib for b in json.loads(path.read_bytes())["batches"] for lib in b["instrumentationLibrarySpans"]]
    spans = [s for lib in libraries for s in lib["spans"]]
    pairs: list[dict[str, Any]] = [{a["key"]: a["value"] for a in s["attributes"]} for s in spans]
    calls = [p for p in pairs if "gen_ai.response.id" in p]
    sent, came = (sum(c[f"gen_ai.usage.{side}_tokens"]["intValue"] for c in calls) for side in ("input", "output"))
    return len(spans), len(calls), sent, came


def rows_count(path: Path) -> tuple[int, int, int, int]:
    document = json.loads(path.read_bytes())
    rows = document["spans"] if isinstance(document, dict) else document
    calls = [
        r["attributes"] for r in rows if r["attributes"].get("gen_ai.operation.name") in ("chat", "generate_content")
    ]
    sent, came = (sum(c[f"gen_ai.usage.{side}_tokens"] for c in calls) for side in ("input", "output"))
    return len(rows), len(calls), sent, came


def langsmith_count(path: Path) -> tuple[int, int, int, int]:
    (run,) = json.loads(path.read_bytes())["patch"]
    usage = run["outputs"].get("usage_metadata") or run["outputs"]["choices"][0].get("usage_metadata")
    return 1, 1, usage["input_tokens"], usage["output_tokens"]


REAL = {
    "jaeger/helm.json": jaeger_count,
    "tempo/batches.json": tempo_count,
    "span_rows/adk.json": rows_count,
    "span_rows/agentcore.json": rows_count,
    "langsmith/stream_js.json": langsmith_count,
    "langsmith/reasoning_py.json": langsmith_count,
}


@pytest.mark.parametrize("name", REAL)
def test_every_excerpt_is_stored_as_it_counts(name: str, tmp_path: Path) -> None:
    _, refused = load(resolve([str(DATA / name)]), tmp_path / "t.duckdb")
    assert refused == []
    with reading(tmp_path / "t.duckdb") as con:
        found = con.execute(
            """
            SELECT count(*) FILTER (NOT inferred), count(*) FILTER (kind = 'model' AND duplicate_of IS NULL),
                sum(input_tokens) FILTER (kind = 'model' AND duplicate_of IS NULL),
                sum(output_tokens) FILTER (kind = 'model' AND duplicate_of IS NULL)
            FROM spans
            """
        ).fetchall()
    assert found == [REAL[name](DATA / name)]


def test_scope_and_failure_of_rows_are_known_where_they_are_maps(tmp_path: Path) -> None:
    value = json.loads((DATA / "span_rows" / "agentcore.json").read_bytes())
    failed = sum(span["status"]["code"] == "ERROR" for span in value["spans"])
    assert failed == 1
    sql = "SELECT count(*) FILTER (status = 'error'), count(DISTINCT dialect), any_value(dialect) FROM spans"
    assert held(tmp_path, value, sql) == [(failed, 1, "openllmetry")]


def test_the_tool_of_an_adk_agent_has_arguments_and_result(tmp_path: Path) -> None:
    ((arguments, result, _),) = held(tmp_path, json.loads((DATA / "span_rows" / "adk.json").read_bytes()), TOOLS)
    assert (json.loads(arguments), json.loads(result)) == ({"expression": "15 * 37"}, {"result": "555"})


def test_otlp_from_before_its_scopes_were_called_so_loses_no_span(tmp_path: Path) -> None:
    span = {
        "traceId": "0" * 31 + "1",
        "spanId": "0" * 15 + "1",
        "name": "chat",
        "startTimeUnixNano": "1742402390000000000",
    }
    library = {"instrumentationLibrary": {"name": "pydantic-ai"}, "spans": [span]}
    document = {"resourceSpans": [{"instrumentationLibrarySpans": [library]}]}
    for number, form in enumerate((document, [document], {"trace": document})):
        (tmp_path / f"{number}").mkdir()
        found = held(tmp_path / f"{number}", form, "SELECT name, dialect FROM spans")
        assert found == [("chat", "pydantic-ai")], form


def test_two_equal_calls_with_a_tool_between_stay_two(tmp_path: Path) -> None:
    rows = json.loads((DATA / "span_rows" / "adk.json").read_bytes())
    tool = next(r for r in rows if r["name"].startswith("execute_tool"))
    outer = next(r for r in rows if r["span_id"] == tool["parent_span_id"])
    inner = {**outer, "span_id": "00000000000000aa", "parent_span_id": tool["span_id"]}
    found = held(
        tmp_path, [tool, outer, inner], "SELECT count(*) FROM spans WHERE kind = 'model' AND duplicate_of IS NULL"
    )
    assert found == [(2,)]


def test_lists_written_one_after_the_other_are_all_read(tmp_path: Path) -> None:
    (tmp_path / "appended").write_text(json.dumps(WEAVE[:2], indent=1) + "\n" + json.dumps(WEAVE[2:], indent=1) + "\n")
    load(resolve([str(tmp_path / "appended")]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        assert con.execute("SELECT count(*) FROM spans WHERE NOT inferred").fetchall() == [(4,)]


def constructor(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", kind], "kwargs": kwargs}


def test_messages_as_langchain_serialises_them_are_messages(tmp_path: Path) -> None:
    call = {"name": "weather", "args": {"city": "Ulm"}, "id": "c1", "type": "tool_call"}
    said = {"response_metadata": {"finish_reason": "tool_calls", "model_name": "gpt-4o-2024-08-06"}}
    counts = {"input_tokens": 220, "output_tokens": 20, "total_tokens": 240, "input_token_details": {"cache_read": 100}}
    answer = constructor(
        "AIMessageChunk", content="", type="AIMessageChunk", tool_calls=[call], usage_metadata=counts, **said
    )
    asked = [constructor("SystemMessage", content="Be brief."), constructor("HumanMessage", content="?", type="human")]
    run = {
        **LANGSMITH["child_runs"][0],
        **dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 0),
        "inputs": {"messages": [asked]},
        "outputs": {"generations": [[{"text": "", "message": answer}]], "llm_output": None, "type": "LLMResult"},
    }
    calls, seen = answers(tmp_path, [run], CALLS, SEEN)
    assert calls[0][2:5] == (220, 100, 20)
    assert seen[0][:2] == ("gpt-4o-2024-08-06", "tool_calls")
    sql = (
        "SELECT list(m.body ORDER BY m.body), any_value(r.tool_name) FROM contents c JOIN tool_requests r USING (span_key) \
        JOIN messages m ON list_contains(c.input_keys, m.message_key)"
    )
    with reading(tmp_path / "t.duckdb") as con:
        ((bodies, tool),) = con.execute(sql).fetchall()
    assert ([json.loads(b)["role"] for b in bodies], tool) == (["system", "user"], "weather")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"schemaType": "ModelInvocationLog", "modelId": "m"}', "Bedrock"),
        ('{"id": "1", "total_estimated_cost": 0.1, "usage": {}}', "Opik"),
        ('{"spans": [{"type": "llm", "timestamps": {"started_at": 1}}]}', "LangWatch"),
        ('{"Traces": [{"Segments": [{"Id": "1", "Document": "{}"}]}]}', "X-Ray"),
    ],
)
def test_what_is_not_read_is_called_by_its_name(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "export").write_text(text)
    _, found = reading_of(tmp_path / "export")
    assert [says in str(r) and "flyball knows" not in str(r) for r in found.refusals] == [True]


def test_answers_of_query_apis_are_rows(tmp_path: Path) -> None:
    names = list(APP_INSIGHTS[0])
    table = {
        "name": "PrimaryResult",
        "columns": [{"name": n} for n in names],
        "rows": [list(r.values()) for r in APP_INSIGHTS],
    }
    (tmp_path / "azure").write_text(json.dumps({"tables": [table]}))
    spans = [
        {"id": str(n), "type": "span", "attributes": {**s, "span_kind": s["meta"]["span"]["kind"]}}
        for n, s in enumerate(DATADOG)
    ]
    (tmp_path / "datadog").write_text(json.dumps({"data": spans, "meta": {}}))
    load(resolve([str(tmp_path)]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        found = con.execute(
            "SELECT kind, count(*), sum(input_tokens), sum(output_tokens) FROM spans WHERE NOT inferred GROUP BY kind ORDER BY kind"
        ).fetchall()
    assert found == [("agent", 2, None, None), ("model", 4, 1040, 50), ("tool", 2, None, None)]
