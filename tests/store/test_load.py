"""Reading OTLP lines: every dialect's names, every spelling of ids and numbers, and what is broken."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instrument.otlp import AnyValue, Event, any_value, attributes, plain
from instrument.store import columns
from instrument.store.connect import in_memory
from instrument.store.dialects import FLAG, REAL, TEXT, WHOLE
from instrument.store.load import Loader, decode_carefully
from tests.store.build import answer, document, loaded, model, rows, span, span_id, tool, trace_id

GENERATED = Path(__file__).parents[3] / "shared" / "traces" / "otlp" / "generated"
needs_shared = pytest.mark.skipif(
    not GENERATED.exists(), reason="the shared trace collection is not beside this checkout"
)


def read(data: bytes, source: str = "file.jsonl") -> Any:
    con = in_memory()
    with Loader(con) as loader:
        loader.add_lines(data, source)
        loader.finish()
    return con


def line(**span_fields: Any) -> dict[str, Any]:
    fields = {
        "traceId": trace_id("t"),
        "spanId": span_id("s"),
        "name": "s",
        "startTimeUnixNano": "1790000000000000000",
        "endTimeUnixNano": "1790000001000000000",
        **span_fields,
    }
    return {
        "resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {"name": "x"}, "spans": [fields]}]}]
    }


# Columns that are kept as they are; what becomes of the others is told by tests of their own.
KEPT = {
    "provider",
    "request_model",
    "response_model",
    "response_id",
    "request_id",
    "tool_call_id",
    "conversation_id",
    "user_id",
    "agent_name",
    "rejected",
    "error_type",
}


@pytest.mark.parametrize(("column", "name"), [(c, n) for c, names in TEXT.items() if c in KEPT for n in names])
def test_every_alias_of_a_text_column_fills_it(column: str, name: str):
    kind = "execute_tool" if column in ("tool_call_id", "rejected") else "chat"
    con = loaded(document(span("s", gen_ai__operation__name=kind, **{name.replace(".", "__"): "value"}), scope="x"))
    assert rows(con, f"SELECT {column} FROM spans") == [("value",)]


@pytest.mark.parametrize(
    ("column", "name"),
    [
        (c, n)
        for c, names in WHOLE.items()
        if c in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
        for n in names
    ],
)
@pytest.mark.parametrize("value", [7, "7", 7.0])
def test_every_alias_of_a_counter_fills_it_however_it_is_written(column: str, name: str, value: Any):
    con = loaded(document(span("s", gen_ai__operation__name="chat", **{name.replace(".", "__"): value}), scope="x"))
    assert rows(con, f"SELECT {column} FROM spans") == [(7,)]


def test_no_name_is_listed_twice_for_one_column():
    for table in (TEXT, WHOLE, REAL, FLAG):
        for column, names in table.items():
            assert len(names) == len(set(names)), column


def test_what_has_no_column_is_kept():
    con = loaded(
        document(
            span("s", my__own="kept", gen_ai__operation__name="chat", gen_ai__system="a", gen_ai__provider__name="b"),
            scope="x",
        )
    )
    assert rows(
        con,
        "SELECT provider, attributes::JSON->>'my.own', attributes::JSON->>'gen_ai.system' "
        "FROM spans JOIN attribute_sets USING (attributes_key)",
    ) == [("b", "kept", "a")]


def test_attribute_sets_that_differ_only_in_type_are_two():
    con = loaded(document(span("a", v=1), span("b", v=1.0), span("c", v=True), span("d", v="1"), scope="x"))
    assert rows(con, "SELECT count(DISTINCT attributes_key) FROM spans") == [(4,)]


@pytest.mark.parametrize(
    ("trace", "one"),
    [
        ("5B8EFFF798038103D269B633813FC60C", "EEE19B7EC3C1B174"),
        (
            base64.b64encode(bytes.fromhex("5b8efff798038103d269b633813fc60c")).decode(),
            base64.b64encode(bytes.fromhex("eee19b7ec3c1b174")).decode(),
        ),
        ("5b8efff7-9803-8103-d269-b633813fc60c", "0xeee19b7ec3c1b174"),
    ],
)
def test_ids_in_any_common_spelling_are_the_same_ids(trace: str, one: str):
    con = read(json.dumps(line(traceId=trace, spanId=one)).encode())
    assert rows(con, "SELECT trace_id, span_id FROM spans") == [
        ("5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174")
    ]
    assert rows(con, "SELECT count(*) FROM issues") == [(0,)]


def test_foreign_ids_stay_apart_keep_their_parents_and_are_reported():
    spans = [line(traceId="run-1", spanId="a"), line(traceId="run-1", spanId="b", parentSpanId="a")]
    con = read(b"\n".join(json.dumps(s).encode() for s in spans))
    assert rows(con, "SELECT count(*), count(DISTINCT span_id), count(DISTINCT trace_id) FROM spans") == [(2, 2, 1)]
    assert rows(con, "SELECT count(*) FROM spans c JOIN spans p ON c.parent_span_id = p.span_id") == [(1,)]
    assert rows(con, "SELECT DISTINCT kind, error FROM issues") == [("foreign_id", False)]


def test_spans_of_one_shape_from_several_files_keep_their_file_and_so_do_their_issues():
    said = {"gen_ai.tool.name": "search", "gen_ai.tool.call.arguments": "{}"}
    call = {"attributes": [{"key": key, "value": {"stringValue": value}} for key, value in said.items()]}
    files = {
        "a": [line(traceId="run-1", spanId="a", parentSpanId="p", **call), line(traceId=trace_id("a"), **call)],
        "b": [line(traceId=trace_id("b"), droppedAttributesCount=1, **call), line(traceId=trace_id("c"), **call)],
        "c": [line(traceId=trace_id("d"), spanId="a", droppedAttributesCount=1, **call)],
    }
    con = in_memory()
    with Loader(con) as loader:
        for name, lines in files.items():
            loader.add_lines(b"\n".join(json.dumps(each).encode() for each in lines), name)
        loader.finish()
    traces = rows(con, "SELECT sources.name, trace_id FROM spans JOIN sources USING (source_key) ORDER BY ALL")
    assert [source for source, _ in traces] == ["a", "a", "b", "b", "c"]
    assert {("a", trace_id("a")), ("b", trace_id("b")), ("b", trace_id("c")), ("c", trace_id("d"))} <= set(traces)
    assert rows(con, "SELECT kind, source, count FROM issues ORDER BY ALL") == [
        ("clipped", "b", 1),
        ("clipped", "c", 1),
        ("foreign_id", "a", 3),
        ("foreign_id", "c", 1),
    ]


@pytest.mark.parametrize(("broken", "service"), [("scope", "desk"), ("resource", None)])
def test_spans_whose_scope_or_resource_is_none_are_kept_and_it_is_said(broken: str, service: str | None):
    found = line()
    found["resourceSpans"][0]["resource"] = {"attributes": [{"key": "service.name", "value": {"stringValue": "desk"}}]}
    place = found["resourceSpans"][0] if broken == "resource" else found["resourceSpans"][0]["scopeSpans"][0]
    place[broken] = 7
    con = read(json.dumps(found).encode(), "a.jsonl")
    assert rows(con, "SELECT service_name FROM spans") == [(service,)]
    assert rows(con, "SELECT kind, source, count, error FROM issues") == [("odd_record", "a.jsonl", 1, False)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [('["stop"]', "stop"), ("stop", "stop"), ('["stop"] ["x"]', None), ('["a\\"]', None), ('["stop", "x"]', "stop")],
)
def test_finish_reasons_written_as_json_are_read_and_what_only_looks_like_it_is_unknown(text: str, reason: str | None):
    con = loaded(document(model("m", **{"gen_ai.response.finish_reasons": text})))
    assert rows(con, "SELECT finish_reason FROM spans") == [(reason,)]


def test_broken_lines_are_issues_with_their_number_and_the_rest_is_read():
    good = json.dumps(line()).encode()
    con = read(b"\n".join([b"{nonsense", b"", b"   ", b'{"resourceLogs": []}', b"[1]", good]), "a.jsonl")
    assert rows(con, "SELECT count(*) FROM spans") == [(1,)]
    assert rows(con, "SELECT source, line, kind FROM issues ORDER BY line") == [
        ("a.jsonl", n, "broken_line") for n in (1, 4, 5)
    ]
    assert "resourceLogs" in rows(con, "SELECT message FROM issues WHERE line = 4")[0][0]


def test_many_lines_read_at_once_are_the_same_as_read_one_by_one():
    good = [json.dumps(line(spanId=span_id(i), name="x" * 2_000)).encode() for i in range(1, 600)]
    broken = [*good[:400], b"{broken", *good[400:]]
    for data, issues in ((good, []), (broken, [(401,)])):
        con = read(b"\n".join(data))
        assert rows(con, "SELECT count(*), count(DISTINCT span_id) FROM spans") == [(599, 599)]
        assert rows(con, "SELECT line FROM issues") == issues


@pytest.mark.parametrize("data", [b'{\n"resourceSpans": []\n}', b'{"resourceSpans": []} {"resourceSpans": []}'])
def test_a_line_is_one_document_wherever_it_stands(data: bytes):
    assert rows(read(data), "SELECT DISTINCT kind FROM issues") == [("broken_line",)]


def test_lines_may_end_as_on_windows_and_be_empty():
    lines = [json.dumps(line(spanId=span_id(i))).encode() for i in (1, 2)]
    con = read(b"\r\n".join([lines[0], b"", b"  ", lines[1], b""]))
    assert rows(con, "SELECT (SELECT count(*) FROM spans), (SELECT count(*) FROM issues)") == [(2, 0)]


def test_many_broken_lines_are_counted_together():
    con = read(b"\n".join([b"{"] * 500))
    assert rows(con, "SELECT sum(count), count(*) FROM issues") == [(500, 21)]


def test_a_line_with_a_lone_surrogate_is_read():
    con = read(json.dumps(line(name="bad \ud83d name")).encode())
    assert rows(con, "SELECT name FROM spans") == [("bad ? name",)]


def test_snake_case_and_old_names_are_read():
    body = {
        "resource_spans": [
            {
                "instrumentation_library_spans": [
                    {
                        "spans": [
                            {
                                "trace_id": trace_id("t"),
                                "span_id": span_id("s"),
                                "name": "s",
                                "start_time_unix_nano": 1790000000000000000,
                                "attributes": [{"key": "gen_ai.operation.name", "value": {"string_value": "chat"}}],
                            }
                        ]
                    }
                ]
            }
        ]
    }
    assert rows(read(json.dumps(body).encode()), "SELECT kind, name, start_ns FROM spans") == [
        ("model", "s", 1790000000000000000)
    ]


@pytest.mark.parametrize("time", [0, -5, "18446744073709551615", "garbage"])
def test_absurd_times_are_unknown(time: Any):
    con = read(json.dumps(line(startTimeUnixNano=time)).encode())
    assert rows(con, "SELECT start_ns FROM spans") == [(None,)]


def test_a_kind_is_told_from_names_where_no_operation_is():
    con = loaded(
        document(
            span("m", gen_ai__request__model="x", gen_ai__usage__output_tokens=1),
            span("t", tool__name="f"),
            span("o", http__method="GET"),
            scope="x",
        )
    )
    assert dict(rows(con, "SELECT name, kind FROM spans")) == {"m": "model", "t": "tool", "o": "other"}


def test_failures_flagged_and_told_by_the_result_only():
    con = loaded(document(
        tool("flagged", error="boom"), tool("words", gen_ai__tool__call__result="Error: no such file '/a/b'"),
        tool("fine", gen_ai__tool__call__result="No errors found"), tool("json", gen_ai__tool__call__result='{"error": "bad"}'),
    ))  # fmt: skip
    assert dict(rows(con, "SELECT name, (failed, coalesce(failure_inferred, false)) FROM spans")) == {
        "flagged": (True, False),
        "words": (True, True),
        "fine": (False, False),
        "json": (True, True),
    }
    assert rows(con, "SELECT failure_kind FROM spans WHERE name = 'words'") == [("error: no such file …",)]


def test_the_same_error_with_other_values_is_one_kind():
    con = loaded(
        document(
            *(
                tool(
                    f"t{i}", at=i, gen_ai__tool__call__result=f"Error: file '/x/{i}.txt' missing at line {i}", error=""
                )
                for i in range(3)
            )
        )
    )
    assert rows(con, "SELECT count(DISTINCT failure_kind) FROM spans") == [(1,)]


def test_messages_are_kept_once_however_often_they_are_sent():
    first = [{"role": "user", "parts": [{"type": "text", "content": "hello"}]}]
    spans, history = [], list(first)
    for i in range(20):
        said = json.loads(answer(text=f"answer {i}"))
        spans.append(
            model(f"m{i}", at=i, gen_ai__input__messages=json.dumps(history), gen_ai__output__messages=json.dumps(said))
        )
        history += said
    con = loaded(document(*spans))
    assert rows(con, "SELECT count(*) FROM messages") == [(21,)]
    assert rows(con, "SELECT len(input_keys) FROM contents ORDER BY span_key") == [(i + 1,) for i in range(20)]
    texts = rows(
        con,
        "SELECT m.body FROM (SELECT unnest(input_keys) AS k, generate_subscripts(input_keys, 1) AS i FROM contents "
        "ORDER BY span_key DESC LIMIT 20) JOIN messages m ON m.message_key = k ORDER BY i",
    )
    assert [json.loads(t[0])["parts"][0]["content"] for t in texts] == ["hello", *(f"answer {i}" for i in range(19))]


def test_a_history_that_was_cut_is_read_anew():
    long = json.dumps(
        [
            {"role": "user", "parts": [{"type": "text", "content": "one"}]},
            {"role": "user", "parts": [{"type": "text", "content": "two"}]},
        ]
    )
    short = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "two"}]}])
    con = loaded(document(model("a", gen_ai__input__messages=long), model("b", at=1, gen_ai__input__messages=short)))
    assert rows(con, "SELECT len(input_keys) FROM contents ORDER BY span_key") == [(2,), (1,)]


def test_exceptions_in_events_are_the_error():
    thrown = Event(
        "exception", 1790000000000000000, attributes({"exception.type": "ValueError", "exception.message": "bad"})
    )
    con = loaded(document(tool("t", error="", events=[thrown])))
    assert rows(
        con, "SELECT failed, error_type, error_message, events IS NOT NULL FROM spans JOIN contents USING (span_key)"
    ) == [(True, "ValueError", "bad", True)]


@pytest.mark.parametrize("kind", ["invoke_agent", "chat", "execute_tool", "anything"])
def test_events_of_a_span_of_any_kind_are_kept(kind: str):
    event = Event("note", 1790000000000000000, attributes({"n": 1}))
    con = loaded(document(span("s", gen_ai__operation__name=kind, events=[event])))
    assert rows(con, "SELECT events FROM spans JOIN contents USING (span_key)") == [
        ('[{"name":"note","time_ns":1790000000000000000,"attributes":{"n":1}}]',)
    ]


@needs_shared
@pytest.mark.parametrize(
    ("name", "calls", "tokens"), [("openinference", 512, None), ("openllmetry", 512, None), ("pydantic_ai", 187, None)]
)
def test_real_files_are_read_whole_and_each_call_is_counted_once(name: str, calls: int, tokens: None):
    path = GENERATED / f"{name}.otlp.jsonl"
    spans = native = 0
    usage = {"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0}
    for text in path.read_text().splitlines():
        for resource in json.loads(text)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                spans += len(scope["spans"])
                if scope["scope"]["name"] == "com.anthropic.sdk.python":
                    native += len(scope["spans"])
                    for s in scope["spans"]:
                        for a in s["attributes"]:
                            if a["key"] in usage:
                                usage[a["key"]] += int(a["value"]["intValue"])
    con = read(path.read_bytes(), str(path))
    assert rows(con, "SELECT count(*) FROM spans WHERE NOT inferred") == [(spans,)]
    assert native == calls
    counted = rows(
        con,
        "SELECT count(*), sum(input_tokens), sum(output_tokens) FROM spans WHERE kind = 'model' AND duplicate_of IS NULL",
    )
    assert counted == [(calls, *usage.values())]


@needs_shared
def test_the_same_calls_from_two_instrumentors_in_one_database_cost_the_same():
    con = in_memory()
    with Loader(con) as loader:
        for name in ("openinference", "openllmetry"):
            loader.add_lines((GENERATED / f"{name}.otlp.jsonl").read_bytes(), name)
        loader.finish()
    per_file = rows(
        con,
        "SELECT source_key, count(*), round(sum(cost_usd), 9) FROM spans "
        "WHERE kind = 'model' AND duplicate_of IS NULL GROUP BY 1 ORDER BY 1",
    )
    assert [r[1:] for r in per_file] == [per_file[0][1:]] * 2
    assert per_file[0][1] == 512


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(VALUES, min_size=1, max_size=6))
def test_fast_and_careful_columns_agree(values: list[Any]):
    wrapped: list[AnyValue | None] = [any_value(v) for v in values]
    assert columns.texts(wrapped) == [columns.text_of(v) for v in wrapped]
    assert columns.whole(wrapped).to_pylist() == [columns.int_of(plain(v)) for v in wrapped]
    for read_column in (columns.real, columns.flags, columns.first_texts):
        assert len(read_column(wrapped)) == len(wrapped)


@settings(deadline=None, max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda i: (
            st.lists(i, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "resourceSpans",
                        "scopeSpans",
                        "spans",
                        "attributes",
                        "key",
                        "value",
                        "traceId",
                        "events",
                        "status",
                        "x",
                    ]
                ),
                i,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_json_whatever_breaks_the_reader(value: Any):
    text = json.dumps({"resourceSpans": value}).encode()
    found = decode_carefully(text)
    assert isinstance(found, str) or msgspec.json.encode(found)
    read(text)


def test_what_went_in_and_came_out_of_agents_and_models_is_kept():
    con = loaded(
        document(
            span("agent", openinference__span__kind="AGENT", input__value="question", output__value="answer"),
            span("gen", langfuse__observation__type="generation", langfuse__observation__input='[{"role":"user","content":"hi"}]',
                 langfuse__observation__output="plain words"),
            scope="x",
        )
    )  # fmt: skip
    assert rows(con, "SELECT arguments, result FROM spans JOIN contents USING (span_key) WHERE kind = 'agent'") == [
        ("question", "answer")
    ]
    assert rows(
        con, "SELECT output_chars, len(input_keys) FROM spans JOIN contents USING (span_key) WHERE kind = 'model'"
    ) == [(11, 1)]
    assert rows(con, "SELECT role FROM messages ORDER BY role") == [("assistant",), ("user",)]


def test_the_vercel_sdks_answers_and_calls_are_read():
    con = loaded(
        document(
            span(
                "m", ai__operationId="ai.generateText.doGenerate", ai__model__id="gpt-4o-mini", ai__response__text="Looking.",
                ai__response__toolCalls='[{"toolCallId":"c1","toolName":"serach","input":{"q":1}}]',
                ai__prompt__tools=['{"type":"function","name":"search"}'],
            ),
            scope="ai",
        )
    )  # fmt: skip
    assert rows(con, "SELECT tool_name, tool_call_id, declared, inferred FROM spans WHERE kind = 'tool'") == [
        ("serach", "c1", False, True)
    ]
    assert rows(con, "SELECT output_chars FROM spans WHERE kind = 'model'") == [(8,)]


def test_traceloop_names_its_agents():
    con = loaded(
        document(span("s", traceloop__span__kind="agent", traceloop__entity__name="planner"), scope="traceloop")
    )
    assert rows(con, "SELECT kind, agent_name FROM spans") == [("agent", "planner")]


def test_a_load_in_parts_gives_the_same_rows(monkeypatch: pytest.MonkeyPatch):
    """Committed after every settled part, a file is read as in one transaction, runs across parts included."""
    from instrument.store import load

    spans = [model(f"m{i}", trace=f"t{i % 7}", at=i, gen_ai__input__messages=answer(text=f"{i}")) for i in range(60)]
    lines = b"\n".join(msgspec.json.encode(document(s)) for s in spans)
    wanted = rows(read(lines), "SELECT trace_id, step, turn, span_id FROM spans ORDER BY ALL")
    monkeypatch.setattr(load, "_STAGED_SPANS", 8)
    con = in_memory()
    with Loader(con, in_parts=True) as loader:
        con.execute("BEGIN")
        for line_of_spans in lines.split(b"\n"):
            loader.add_lines(line_of_spans, "file")
            loader._reader.flush()  # a batch for every line, as a file of many megabytes has many
        loaded_parts = loader.finish()
        con.execute("COMMIT")
    assert loaded_parts.spans == 60
    assert rows(con, "SELECT trace_id, step, turn, span_id FROM spans ORDER BY ALL") == wanted


def test_running_numbers_written_in_two_ways_are_put_together_all_the_same():
    said = {
        "openinference.span.kind": "LLM",
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": "one",
        "llm.input_messages.00.message.role": "user",
        "llm.input_messages.00.message.content": "two",
    }
    con = loaded(document(span("m", **said), scope="openinference.instrumentation.anthropic"))
    bodies = [body for (body,) in rows(con, "SELECT body FROM messages ORDER BY ALL")]
    assert [word in " ".join(bodies) for word in ("one", "two")] == [True, True]
