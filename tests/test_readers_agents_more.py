"""More logs of agents as spans (see `test_readers_agents`): Codex, Gemini CLI, Inspect, ATIF, OpenHands, OpenClaw; sessions told twice."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from agent_spans import Spans, heard, of, operation, read, seconds
from kept_sink import Kept, reading_of
from small_agent_logs import CLAUDE, lines
from small_agent_logs_more import ATIF, CODEX, EVENTS, GEMINI, INSPECT, MORE, OPENCLAW, OPENHANDS, more_as_text

from analyzer.readers.formats import format_of
from analyzer.readers.seen import first_time

TOKENS = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
CACHED = (*TOKENS, "gen_ai.usage.cache_read.input_tokens")
TOOL = ("gen_ai.tool.name", "gen_ai.tool.call.id", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result")
SAMPLE = INSPECT["samples"][0]


def failures(spans: Spans) -> list[str | None]:
    return [(s["status"] or {}).get("message") for s in spans if operation(s) == "execute_tool"]


def calls(spans: Spans) -> Spans:
    return [s for s in spans if operation(s) == "chat"]


@pytest.mark.parametrize("name", MORE)
def test_each_further_format_is_known_by_its_content(name: str) -> None:
    found = format_of(more_as_text(name).encode())
    assert found is not None
    assert found.name == name.split(":", maxsplit=1)[0]


@pytest.mark.parametrize("name", MORE)
def test_reading_again_gives_the_same_spans(tmp_path: Path, name: str) -> None:
    once, again = (read(tmp_path, more_as_text(name))[0] for _ in range(2))
    assert once == again
    assert len({(s["traceId"], s["spanId"]) for s in once}) == len(once)
    agents = {s["spanId"]: s for s in once if operation(s) == "invoke_agent"}
    for span in once:
        above = agents.get(span["parentSpanId"])
        assert above is not None or span["parentSpanId"] in ("", None)
        assert 0 < span["startTimeUnixNano"] <= span["endTimeUnixNano"]
        assert above is None or above["startTimeUnixNano"] <= span["startTimeUnixNano"]


def test_what_codex_counts_in_all_becomes_what_each_call_used(tmp_path: Path) -> None:
    spans, kept = read(tmp_path, lines(CODEX))
    assert of(spans, "model", *CACHED) == [(100, 10, 50), (150, 5, 75), (50, 3, 25)]
    assert of(spans, "model", "gen_ai.request.model", "gen_ai.provider.name")[0] == ("gpt-5.2-codex", "openai")
    assert of(spans, "tool", *TOOL) == [("shell", "c1", '{"cmd":"ls"}', "Exit code: 2\nOutput:\nno")]
    assert failures(spans) == ["exit code 2"]
    first, second, third = calls(spans)
    assert heard(first) == [("system", "Be brief."), ("user", "Fix it.")]
    assert heard(second)[-1] == ("tool", "Exit code: 2\nOutput:\nno")
    # After the compaction the summary is all there is; and the time the user took is none of the model's.
    assert heard(third) == [("user", "So far."), ("user", "Go on.")]
    assert [round(s, 3) for s in seconds(third)] == [20.0, 22.0]
    assert {i.kind: i.count for i in kept.issues} == {"inferred_times": 4, "no_tool_definitions": 1, "other_records": 1}


def test_a_codex_file_that_begins_in_the_middle_counts_from_there(tmp_path: Path) -> None:
    late = [*CODEX[:5], {**CODEX[9]}, *CODEX[7:9], CODEX[13]]
    late[5]["payload"]["info"] = {
        **CODEX[9]["payload"]["info"],
        "last_token_usage": {"input_tokens": 40, "output_tokens": 2},
    }
    spans, kept = read(tmp_path, lines(late))
    assert of(spans, "model", *TOKENS) == [(40, 2), (50, 3)]
    assert "usage_before" in {i.kind for i in kept.issues}


def test_a_fork_of_a_codex_session_repeats_it_and_counts_only_what_is_new(tmp_path: Path) -> None:
    fork = [{**CODEX[0], "payload": {"id": "cx2", "forked_from_id": "cx"}}, *CODEX]
    (tmp_path / "1.jsonl").write_text(lines(CODEX[:10]))
    (tmp_path / "2.jsonl").write_text(lines(fork))
    kept, _ = reading_of(tmp_path)
    names = [s["name"].split()[0] for s in kept.spans]
    assert (names.count("chat"), names.count("execute_tool")) == (3, 1)
    assert [(i.source[-7:], i.count) for i in kept.issues if i.kind == "repeated_calls"] == [("2.jsonl", 2)]
    # Alone it counts all.
    assert len(calls(read(tmp_path, lines(fork))[0])) == 3


def test_a_sub_agent_of_codex_is_a_run_below_the_thread_that_spawned_it(tmp_path: Path) -> None:
    source = {"subagent": {"thread_spawn": {"parent_thread_id": "cx", "depth": 1}}}
    below = [{**CODEX[0], "payload": {"id": "sub", "source": source}}, *CODEX[1:]]
    (main,) = (s for s in read(tmp_path, lines(CODEX))[0] if operation(s) == "invoke_agent")
    (sub,) = (s for s in read(tmp_path, lines(below))[0] if operation(s) == "invoke_agent")
    assert (sub["parentSpanId"], sub["traceId"]) == (main["spanId"], main["traceId"])
    assert sub["spanId"] != main["spanId"]


def test_gemini_counts_thoughts_beside_the_output_and_its_tools_beside_the_input(tmp_path: Path) -> None:
    spans, kept = read(tmp_path, GEMINI)
    assert of(spans, "model", *CACHED) == [(102, 15, 40), (None, None, None)]
    assert of(spans, "tool", *TOOL) == [("read_file", "t1", '{"path":"a"}', "no such file")]
    assert failures(spans) == ["no such file"]
    assert heard(calls(spans)[1]) == [
        ("user", "Read it."),
        ("assistant", "I read."),
        ("assistant", "tool_call"),
        ("tool", "no such file"),
    ]
    assert {i.kind: i.count for i in kept.issues} == {
        "inferred_times": 3,
        "no_tool_definitions": 1,
        "no_usage": 1,
        "other_records": 1,
    }


def test_a_gemini_session_of_json_lines_gives_the_last_form_of_each_message(tmp_path: Path) -> None:
    meta = {k: v for k, v in GEMINI.items() if k != "messages"}
    user, answer, *_, last = GEMINI["messages"]
    records = [meta, user, {**answer, "tokens": None}, answer, last, {"$set": {"lastUpdated": "2026-01-01T10:00:30Z"}}]
    spans, _ = read(tmp_path, lines(records))
    assert of(spans, "model", *TOKENS) == [(102, 15), (None, None)]
    assert seconds(spans[-1])[1] == 30.0


def test_an_inspect_sample_is_a_run_with_its_agents_and_its_scorers_below_it(tmp_path: Path) -> None:
    spans, kept = read(tmp_path, INSPECT)
    root = next(s for s in spans if not s["parentSpanId"])
    outcome = ("gen_ai.agent.name", "flyball.outcome", "flyball.outcome.score", "flyball.task.id")
    assert of([root], "agent", *outcome) == [("ctf", "success", 1.0, "7")]
    below = {s["values"]["gen_ai.agent.name"]: s for s in spans if s["parentSpanId"] == root["spanId"]}
    assert sorted(below) == ["scorer", "solver"]
    look, grade = calls(spans)
    assert (look["parentSpanId"], grade["parentSpanId"]) == (below["solver"]["spanId"], below["scorer"]["spanId"])
    # Anthropic counts cached tokens beside the input: the total says so.
    assert of(spans, "model", *CACHED) == [(100, 5, 90), (20, 4, None)]
    roll_up = ("flyball.run.reported_input_tokens", "flyball.run.reported_output_tokens")
    assert of([root], "agent", *roll_up) == [(120, 9)]
    assert of(spans, "tool", *TOOL, "error.type") == [("bash", "c1", '{"cmd":"ls"}', "no", "timeout")]
    assert failures(spans) == ["took too long"]
    assert heard(look) == [("user", "Find it.")]
    assert (seconds(look), seconds(root)) == ((1.0, 2.0), (1.0, 7.0))
    definitions = json.loads(look["values"]["gen_ai.tool.definitions"])
    assert definitions == [{"type": "function", "name": "bash", "description": "d", "parameters": {"type": "object"}}]
    assert kept.issues == []


@pytest.mark.parametrize(
    ("usage", "given"),
    [
        ({"input_tokens": 100, "output_tokens": 5, "input_tokens_cache_read": 60, "total_tokens": 105}, 100),
        ({"input_tokens": 100, "output_tokens": 5, "input_tokens_cache_read": 60, "total_tokens": 165}, 160),
        ({"input_tokens": 100, "output_tokens": 5, "input_tokens_cache_read": 60}, 100),
        ({"input_tokens": 3, "output_tokens": 5, "input_tokens_cache_read": 60}, 63),
    ],
)
def test_the_total_tells_whether_cached_tokens_are_inside_the_input(tmp_path: Path, usage: Any, given: int) -> None:
    model = {**SAMPLE["events"][1], "output": {**SAMPLE["events"][1]["output"], "usage": usage}}
    assert of(read(tmp_path, {**SAMPLE, "events": [model]})[0], "model", TOKENS[0]) == [(given,)]


def test_an_eval_archive_gives_its_samples_and_nothing_of_what_tells_of_them(tmp_path: Path) -> None:
    header = {k: v for k, v in INSPECT.items() if k != "samples"}
    summary = [{"id": 7, "epoch": 1, "input": "Find it.", "target": "x", "completed": True}]
    members: dict[str, Any] = {
        "_journal/start.json": {"version": 2, "eval": INSPECT["eval"], "plan": {}},
        "_journal/summaries/1.json": summary,
        "samples/7_epoch_1.json": SAMPLE,
        "summaries.json": summary,
        "reductions.json": [{"scorer": "includes", "reducer": "mean", "samples": []}],
        "header.json": header,
    }
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as archive:
        for name, value in members.items():
            archive.writestr(name, json.dumps(value))
    kept, reading = reading_of(tmp_path / "log.eval")
    assert (reading.refusals, kept.issues) == ([], [])
    whole = read(tmp_path, INSPECT)[0]
    assert {s["spanId"] for s in kept.spans} == {s["spanId"] for s in whole}
    # Alone, a log without its samples says what is missing.
    _, alone = read(tmp_path, {**header, "stats": {"model_usage": {"m": {"total_tokens": 1234}}}})
    assert [(i.kind, "1,234 tokens" in i.message) for i in alone.issues] == [("no_samples", True)]


def test_agents_that_are_called_as_tools_are_runs_of_their_own(tmp_path: Path) -> None:
    inner = {**SAMPLE["events"][1], "uuid": "m9", "span_id": None}
    deeper = {**SAMPLE["events"][2], "uuid": "t9", "span_id": None, "agent": "reader", "events": [inner]}
    tool = {**SAMPLE["events"][2], "agent": "helper", "events": [deeper], "span_id": None, "id": "c9"}
    spans, _ = read(tmp_path, {**SAMPLE, "events": [tool]})
    names = {s["spanId"]: s["values"]["gen_ai.agent.name"] for s in spans if operation(s) == "invoke_agent"}
    parents = {
        s["values"]["gen_ai.agent.name"]: names.get(s["parentSpanId"]) for s in spans if operation(s) == "invoke_agent"
    }
    assert parents == {"inspect": None, "helper": "inspect", "reader": "helper"}
    assert names[calls(spans)[0]["parentSpanId"]] == "reader"


def test_messages_kept_in_a_pool_are_in_the_requests_that_name_them(tmp_path: Path) -> None:
    pool = [{"role": "user", "content": f"number {n}"} for n in range(4)]
    model = {**SAMPLE["events"][1], "input": [], "input_refs": [[0, 1], [2, 4]]}
    spans, _ = read(tmp_path, {**SAMPLE, "events": [model], "message_pool": pool})
    assert [text for _, text in heard(calls(spans)[0])] == ["number 0", "number 2", "number 3"]


def test_an_answer_from_inspects_own_cache_was_not_paid_for(tmp_path: Path) -> None:
    spans, kept = read(tmp_path, {**SAMPLE, "events": [{**SAMPLE["events"][1], "cache": "read"}]})
    assert of(spans, "model", *TOKENS) == [(None, None)]
    assert [i.kind for i in kept.issues] == ["from_cache"]


@pytest.mark.parametrize(
    ("more", "ended"),
    [
        ({"scores": {"a": {"value": "I"}}}, ("failure", 0.0, None)),
        ({"scores": {"a": {"value": 0.4}}}, (None, 0.4, None)),
        ({"scores": {"a": {"value": float("nan")}}}, (None, None, None)),
        ({"scores": {"a": {"value": "C"}, "b": {"value": "I"}}}, (None, 1.0, None)),
        ({"scores": {}, "limit": {"type": "message"}}, (None, None, "message limit")),
        ({"scores": {}, "error": {"message": "boom", "traceback": "..."}}, ("failure", None, "boom")),
    ],
)
def test_scores_limits_and_errors_are_the_outcome(tmp_path: Path, more: Any, ended: tuple[Any, ...]) -> None:
    spans, _ = read(tmp_path, {**SAMPLE, **more})
    root = next(s for s in spans if not s["parentSpanId"])
    assert of([root], "agent", "flyball.outcome", "flyball.outcome.score", "flyball.outcome.reason") == [ended]


def test_atif_counts_no_copied_step_and_has_sub_agents_below_it(tmp_path: Path) -> None:
    spans, kept = read(tmp_path, ATIF)
    assert of(spans, "model", *CACHED, "flyball.cost_usd") == [(100, 10, 60, 0.25), (5, 1, None, None)]
    assert of(spans, "tool", *TOOL) == [("bash", "c1", '{"cmd":"ls"}', "a.py")]
    assert heard(calls(spans)[0]) == [("user", "Make it."), ("assistant", "Old.")]
    main, helper = (next(s for s in spans if s["values"].get("gen_ai.agent.name") == n and operation(s) == "invoke_agent")
                    for n in ("terminus-2", "helper"))  # fmt: skip
    assert (helper["parentSpanId"], helper["traceId"]) == (main["spanId"], main["traceId"])
    assert main["values"]["flyball.run.reported_cost_usd"] == 0.25
    assert len(of(spans, "compaction", "x")) == 1
    assert {i.kind: i.count for i in kept.issues} == {"no_times": 1, "inferred_times": 1, "copied_steps": 1}


def test_atif_says_when_its_own_totals_are_above_its_steps(tmp_path: Path) -> None:
    _, kept = read(tmp_path, {**ATIF, "final_metrics": {"total_prompt_tokens": 101}})
    assert "unrecorded_usage" in {i.kind for i in kept.issues}


def test_openhands_actions_of_one_response_are_one_call_with_its_cost_and_latency(tmp_path: Path) -> None:
    spans, kept = read(tmp_path, lines([OPENHANDS]))
    names = ("gen_ai.response.id", *CACHED, "flyball.cost_usd")
    assert of(spans, "model", *names) == [("r1", 50, 5, 20, 0.5), ("condenser", None, None, None, 0.25)]
    assert seconds(calls(spans)[0]) == (6.0, 10.0)
    assert [t[:3] for t in of(spans, "tool", *TOOL)] == [("bash", n, '{"cmd":"ls"}') for n in ("c1", "c2")]
    assert failures(spans) == [None, "exit code 1"]
    agent = ("gen_ai.agent.name", "flyball.outcome", "flyball.task.id", "flyball.run.reported_cost_usd")
    assert of(spans, "agent", *agent) == [("CodeActAgent", "success", "repo-1", 0.75)]
    assert {i.kind: i.count for i in kept.issues} == {"inferred_times": 2, "no_time_zone": 1, "no_answer": 1}


def test_costs_that_nothing_names_are_not_given_to_calls_by_guess(tmp_path: Path) -> None:
    metrics = {"accumulated_cost": 3.0, "costs": [1.0, 1.0, 1.0]}
    spans, kept = read(tmp_path, lines([{**OPENHANDS, "metrics": metrics}]))
    assert of(spans, "model", "flyball.cost_usd") == [(None,)]
    assert of(spans, "agent", "flyball.run.reported_cost_usd") == [(3.0,)]
    assert [i.count for i in kept.issues if i.kind == "unassigned_costs"] == [3]


def test_counters_of_an_openhands_event_store_become_what_each_call_used(tmp_path: Path) -> None:
    spans, kept = read(tmp_path, lines(EVENTS))
    assert of(spans, "model", *CACHED, "flyball.cost_usd") == [
        (100, 10, 50, 0.5),
        (200, 5, 100, 0.25),
        (150, 5, 75, 0.25),
    ]
    assert of(spans, "tool", *TOOL) == [("bash", "c1", '{"cmd":"ls"}', "no")]
    assert failures(spans) == ["exit code 1"]
    assert [k for (k,) in of(spans, "model", "gen_ai.response.id")] == ["r1", None, None]
    assert heard(calls(spans)[0]) == [("system", "Be brief."), ("user", "Fix it.")]
    assert {i.kind: i.count for i in kept.issues}["no_answer"] == 1


def test_one_event_of_a_store_says_how_to_read_the_rest(tmp_path: Path) -> None:
    _, kept = read(tmp_path, EVENTS[3])
    assert [("give the folder" in i.remedy) for i in kept.issues if i.kind == "lone_event"] == [True]


def test_openclaw_counts_what_later_events_repeat_once(tmp_path: Path) -> None:
    spans, kept = read(tmp_path, lines(OPENCLAW))
    assert of(spans, "model", *CACHED, "flyball.cost_usd") == [(115, 7, 100, 0.25)]
    assert [(t[0], t[2]) for t in of(spans, "tool", *TOOL)] == [("exec", '{"cmd":"ls"}'), ("read", '{"path":"b"}')]
    assert failures(spans) == [None, "failed"]
    main, sub = (s for s in spans if operation(s) == "invoke_agent")
    assert (sub["parentSpanId"], sub["traceId"]) == (main["spanId"], main["traceId"])
    found = {i.kind: i.count for i in kept.issues}
    assert (found["repeated_messages"], found["unseen_calls"]) == (3, 1)


def test_a_claude_code_session_resumed_under_another_id_counts_what_is_new(tmp_path: Path) -> None:
    copied = [{**r, "sessionId": "cc2", "uuid": f"{r.get('uuid')}b"} for r in CLAUDE]
    (tmp_path / "1.jsonl").write_text(lines(CLAUDE[:8]))
    (tmp_path / "2.jsonl").write_text(lines(copied))
    kept, _ = reading_of(tmp_path)
    names = [s["name"].split()[0] for s in kept.spans]
    assert (names.count("chat"), names.count("execute_tool")) == (3, 2)
    assert [(i.source[-7:], i.count) for i in kept.issues if i.kind == "repeated_calls"] == [("2.jsonl", 1)]
    # What was copied is still what the next request holds.
    [new] = [s for s in kept.spans if s["name"].startswith("chat") and "m3" in json.dumps(s)]
    assert "Summary." in json.dumps(new)


def test_a_copy_that_is_read_before_what_it_was_copied_from_takes_nothing_away(tmp_path: Path) -> None:
    copied = [{**r, "sessionId": "cc2"} for r in CLAUDE[:4]]
    (tmp_path / "1.jsonl").write_text(lines(copied))
    (tmp_path / "2.jsonl").write_text(lines(CLAUDE))
    kept, _ = reading_of(tmp_path)
    names = [s["name"].split()[0] for s in kept.spans]
    assert (names.count("chat"), names.count("execute_tool")) == (3, 2)


def test_two_readings_have_nothing_in_common(tmp_path: Path) -> None:
    once, again = (len(read(tmp_path, lines(CLAUDE))[0]) for _ in range(2))
    assert once == again


def test_a_completion_log_has_its_cost_and_the_time_the_request_took(tmp_path: Path) -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 9,
        "cache_read_input_tokens": 60,
        "cache_creation_input_tokens": 7,
    }
    response = {
        "id": "r",
        "model": "m",
        "choices": [{"message": {"role": "assistant", "content": "Hi."}}],
        "usage": usage,
    }
    log = {"messages": [{"role": "user", "content": "Hello."}], "response": response}
    spans, kept = read(tmp_path, {**log, "cost": 0.5, "timestamp": 1757015025.5, "latency_sec": 1.5})
    names = (*CACHED, "gen_ai.usage.cache_write.input_tokens", "flyball.cost_usd", "flyball.cost.source")
    assert of(spans, "model", *names) == [(100, 9, 60, 7, 0.5, "reported")]
    assert [round(s, 3) for s in seconds(calls(spans)[0])] == [44.0, 45.5]
    assert kept.issues == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"messages_display": "user: Hi\\nassistant: None\\ntool: Error"}', "holds talks as text for display"),
        (
            '{"id": "1", "execution_status": "idle", "confirmation_policy": {"kind": "NeverConfirm"}}',
            "is the state of an OpenHands",
        ),
    ],
)
def test_files_beside_traces_are_refused_by_what_they_are(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "file").write_text(text)
    _, reading = reading_of(tmp_path / "file")
    assert [sentence in str(problem) for problem in reading.refusals] == [True]


def test_what_a_reading_has_seen_goes_with_its_sink() -> None:
    for _ in range(100):  # a sink that is gone leaves its place in memory to the next
        sink = Kept()
        assert [first_time(sink, "a"), first_time(sink, "b", "c"), first_time(sink, "c")] == [True, True, False]
        del sink
