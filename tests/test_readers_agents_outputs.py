"""What command lines of agents print, opencode's sessions, group chats and further forms of messages as spans; counts are by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from agent_spans import Spans, heard, of, operation, read, seconds
from kept_sink import reading_of
from small_agent_logs import lines
from small_agent_logs_more import EVENTS
from small_agent_outputs import (
    AUTOGEN,
    BLAMED,
    CLAUDE_OUTPUT,
    CODEX_OUTPUT,
    CURSOR_OUTPUT,
    GEMINI_OUTPUT,
    HAIKU,
    LANGCHAIN,
    OPENCODE,
    RESPONSES,
    RESULT,
    SONNET,
)

from analyzer.readers import chat_forms, load, resolve
from instrument.store.connect import reading

TOKENS = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
TOOL = ("gen_ai.tool.name", "gen_ai.tool.call.id", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result")
TIMES = "flyball.times.inferred"
DATA = Path(__file__).parent / "data"
CAPTURES, BLAME = DATA / "outputs", DATA / "who_and_when"


def failures(spans: Spans) -> list[str | None]:
    return [(s["status"] or {}).get("message") for s in spans if operation(s) == "execute_tool"]


def said(span: dict[str, dict[str, str]]) -> list[str]:
    [message] = json.loads(span["values"]["gen_ai.output.messages"])
    return [p.get("content") or p["type"] for p in message["parts"]]


def test_the_sums_of_claude_code_s_output_are_those_of_its_result(tmp_path: Path) -> None:
    spans, kept = read(tmp_path, lines(CLAUDE_OUTPUT))
    assert sorted(of(spans, "model", "gen_ai.request.model", *TOKENS)) == sorted(
        [(SONNET, 13_004, 1), (SONNET, 13_205, 2), (HAIKU, 7, 3), (SONNET, 0, 237), (HAIKU, 0, 27)]
    )
    assert sum(given for _, given, _ in of(spans, "model", "", *TOKENS)) == 9 + 1_200 + 25_000 + 7
    assert sum(output for _, _, output in of(spans, "model", "", *TOKENS)) == 240 + 30
    assert of(spans, "tool", *TOOL)[0] == ("Bash", "t1", '{"command":"ls"}', "Exit code 1")
    assert failures(spans) == ["Exit code 1", None]
    agent = ("gen_ai.agent.name", "flyball.run.reported_cost_usd", "flyball.outcome", TIMES)
    assert sorted(of(spans, "agent", *agent)) == [
        ("claude-code", 0.0125, None, "both"),
        ("claude-code sub-agent", None, None, "both"),
    ]
    below, main = sorted((s for s in spans if operation(s) == "invoke_agent"), key=lambda s: s["parentSpanId"] == "")
    assert below["parentSpanId"] == main["spanId"]
    assert next(i.count for i in kept.issues if i.kind == "unassigned_usage") == 2


def test_a_list_of_the_same_lines_gives_the_same_spans(tmp_path: Path) -> None:
    once, again = (
        read(tmp_path, content)[0] for content in (lines(CLAUDE_OUTPUT), json.dumps(CLAUDE_OUTPUT, indent=1))
    )
    assert once == again


def test_a_result_alone_costs_what_it_says(tmp_path: Path) -> None:
    spans, _ = read(tmp_path, {**RESULT, "is_error": True, "subtype": "error_max_turns"})
    cost = ("gen_ai.request.model", *TOKENS, "flyball.cost_usd", "flyball.cost.source")
    assert of(spans, "model", *cost) == [(SONNET, 26_209, 240, 0.012, "reported"), (HAIKU, 7, 30, 0.0005, "reported")]
    assert of(spans, "agent", "flyball.outcome", "flyball.outcome.reason") == [("failure", "error_max_turns")]
    old = {k: v for k, v in RESULT.items() if k != "modelUsage"}
    spans, _ = read(tmp_path, old)
    assert of(spans, "model", *cost) == [(None, 26_209, 240, 0.0125, "reported")]


def test_cursor_s_tool_calls_are_part_of_its_answers(tmp_path: Path) -> None:
    spans, _ = read(tmp_path, lines(CURSOR_OUTPUT))
    assert [said(s) for s in spans if operation(s) == "chat"] == [["I read.", "tool_call"], ["It is gone."]]
    [tool] = of(spans, "tool", *TOOL)
    assert tool[:3] == ("read", "c1", '{"path":"a.py"}')
    assert "no such file" in str(failures(spans)[0])
    assert of(spans, "agent", "gen_ai.agent.name") == [("cursor",)]


def test_turns_of_codex_s_output_use_what_the_counters_grew_by(tmp_path: Path) -> None:
    spans, _ = read(tmp_path, lines(CODEX_OUTPUT))
    assert of(spans, "model", *TOKENS) == [(None, None), (None, None), (None, None), (900, 40), (400, 5)]
    assert of(spans, "tool", *TOOL) == [
        ("shell", "item_1", '{"command":"ls"}', "no"),
        ("docs__find", "item_2", '{"q":1}', '{"content":[]}'),
    ]
    assert failures(spans) == ["exit code 2", None]
    assert of(spans, "agent", "flyball.outcome", "flyball.outcome.reason", TIMES) == [
        ("failure", "stream disconnected", "both")
    ]


def test_gemini_s_output_puts_its_pieces_together_and_counts_thoughts_as_output(tmp_path: Path) -> None:
    spans, _ = read(tmp_path, lines(GEMINI_OUTPUT))
    models = [s for s in spans if operation(s) == "chat"]
    assert [said(s) for s in models[:2]] == [["tool_call"], ["It is gone."]]
    assert of(spans, "model", *TOKENS) == [(None, None), (None, None), (600, 60)]
    assert [seconds(s)[1] for s in models] == [3.0, 7.0, 8.0]
    assert of(spans, "tool", *TOOL, "error.type") == [("shell", "c1", '{"command":"ls"}', "no", "shell_error")]
    assert failures(spans) == ["no"]
    document = {
        "response": "It is gone.",
        "stats": {"models": {"m": {"tokens": {"prompt": 5, "candidates": 2, "thoughts": 1, "total": 8}}}},
    }
    spans, _ = read(tmp_path, document)
    assert of(spans, "model", "gen_ai.request.model", *TOKENS) == [(None, None, None), ("m", 5, 3)]


def test_each_step_of_opencode_is_a_call_with_its_own_tokens_and_cost(tmp_path: Path) -> None:
    spans, kept = read(tmp_path, {**OPENCODE, "info": {**OPENCODE["info"], "parentID": "ses_0"}})
    usage = (*TOKENS, "gen_ai.usage.cache_read.input_tokens", "flyball.cost_usd", "gen_ai.request.model")
    assert of(spans, "model", *usage) == [
        (515, 12, 500, 0.01, "claude-sonnet-4-5"),
        (617, 22, 600, 0.02, "claude-sonnet-4-5"),
    ]
    assert [t[1:] for t in of(spans, "tool", *TOOL)] == [
        ("t1", '{"command":"t1"}', "no"),
        ("t2", '{"command":"t2"}', "not allowed"),
    ]
    assert failures(spans) == ["exit code 2", "not allowed"]
    [agent] = [s for s in spans if operation(s) == "invoke_agent"]
    assert (agent["values"]["gen_ai.agent.name"], agent["parentSpanId"] != "") == ("opencode sub-agent", True)
    assert [round(s["endTimeUnixNano"] / 1e9 - 1_741_369_900) for s in spans if operation(s) == "chat"] == [3, 6]
    assert "odd_record" not in kept.kinds


def test_events_that_opencode_prints_are_the_same_calls(tmp_path: Path) -> None:
    parts = [{**p, "messageID": "msg_2"} for p in OPENCODE["messages"][1]["parts"]]
    events = [{"type": p["type"], "timestamp": 1_741_369_900_000, "sessionID": "ses_1", "part": p} for p in parts]
    spans, _ = read(tmp_path, lines(events))
    assert of(spans, "model", *TOKENS, "flyball.cost_usd") == [(515, 12, 0.01), (617, 22, 0.02)]
    assert failures(spans) == ["exit code 2", "not allowed"]


def test_agents_of_a_group_chat_are_runs_that_hear_each_other(tmp_path: Path) -> None:
    spans, _ = read(tmp_path, AUTOGEN)
    assert of(spans, "model", "gen_ai.agent.name", *TOKENS) == [("coder", 60, 15), ("critic", 80, 5)]
    assert of(spans, "tool", *TOOL) == [("run", "c1", '{"x":1}', "no")]
    assert failures(spans) == ["no"]
    critic = [s for s in spans if operation(s) == "chat"][1]
    assert [text for _, text in heard(critic)] == ["Fix it.", "Hm.", "tool_call", "no", "no"]


def test_a_blamed_chat_tells_what_ran_and_what_went_wrong(tmp_path: Path) -> None:
    spans, _ = read(tmp_path, BLAMED)
    assert of(spans, "model", "gen_ai.agent.name", TIMES) == [("Coder", "both"), ("Critic", "both")]
    assert of(spans, "tool", *TOOL[::2])[0] == ("Computer_terminal", "print(1/0)")
    assert failures(spans) == ["exit code 1"]
    ended = of(spans, "agent", "flyball.outcome", "flyball.outcome.reason", "flyball.task.id")
    assert ("failure", "It divides by zero.", "q1") in ended


def test_messages_of_langchain_keep_usage_model_and_failures(tmp_path: Path) -> None:
    wrapped = [{"type": m["type"], "data": m} for m in LANGCHAIN["messages"]]
    names = {"human": "HumanMessage", "ai": "AIMessage", "tool": "ToolMessage"}
    serialised = [
        {"lc": 1, "type": "constructor", "id": ["langchain", "schema", names[m["type"]]], "kwargs": m}
        for m in LANGCHAIN["messages"]
    ]
    for content in (LANGCHAIN, wrapped, serialised):
        spans, _ = read(tmp_path, content)
        usage = ("gen_ai.response.model", *TOKENS, "gen_ai.usage.cache_read.input_tokens")
        assert of(spans, "model", *usage) == [("gpt-4o-2024-08-06", 80, 17, 64), (None, None, None, None)]
        assert of(spans, "tool", *TOOL) == [("find", "c1", '{"x":1}', "no")]
        assert failures(spans) == ["no"]


def test_a_response_of_openai_is_one_call_after_the_items_of_its_request(tmp_path: Path) -> None:
    spans, _ = read(tmp_path, RESPONSES)
    usage = (
        "gen_ai.response.model",
        *TOKENS,
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.reasoning.output_tokens",
    )
    assert of(spans, "model", *usage) == [("gpt-5-2025-08-07", 120, 30, 100, 20)]
    [call] = [s for s in spans if operation(s) == "chat"]
    assert [text for _, text in heard(call)] == ["Fix it.", "Hm.", "tool_call", "no"]
    assert (said(call), seconds(call)[1] - seconds(call)[0]) == (["It is gone."], 4.0)


def test_items_of_responses_alone_are_calls_and_results(tmp_path: Path) -> None:
    items = [*RESPONSES["request"]["input"], *RESPONSES["response"]["output"]]
    spans, kept = read(tmp_path, items)
    assert [said(s) for s in spans if operation(s) == "chat"] == [["Hm.", "tool_call"], ["It is gone."]]
    assert of(spans, "tool", *TOOL) == [("find", "c1", '{"x":1}', "no")]
    assert "odd_record" not in kept.kinds


@pytest.mark.parametrize(
    "content",
    [
        [
            {"role": "user", "created": 1_741_369_900, "content": [{"type": "text", "text": "Fix it."}]},
            {
                "role": "assistant",
                "created": 1_741_369_902,
                "content": [
                    {
                        "type": "toolRequest",
                        "id": "c1",
                        "toolCall": {"status": "success", "value": {"name": "find", "arguments": {"x": 1}}},
                    }
                ],
            },
            {
                "role": "user",
                "created": 1_741_369_903,
                "content": [{"type": "toolResponse", "id": "c1", "toolResult": {"status": "error", "error": "no"}}],
            },
        ],
        [
            {"role": "user", "parts": [{"type": "text", "text": "Fix it."}]},
            {
                "role": "assistant",
                "createdAt": "2025-03-07T17:51:42Z",
                "parts": [
                    {
                        "type": "tool-find",
                        "toolCallId": "c1",
                        "state": "output-error",
                        "input": {"x": 1},
                        "errorText": "no",
                    }
                ],
            },
        ],
    ],
    ids=["goose", "vercel"],
)
def test_other_forms_of_messages_keep_times_calls_and_failures(tmp_path: Path, content: object) -> None:
    spans, _ = read(tmp_path, content)
    assert of(spans, "tool", *TOOL) == [("find", "c1", '{"x":1}', "no")]
    assert failures(spans) == ["no"]
    assert [seconds(s)[1] for s in spans if operation(s) == "chat"] == [42.0]


def test_without_times_no_date_is_made_up_and_no_price_that_changed_is_taken(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100}
    for model in ("o3", "gpt-4o"):
        talk = [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Yes.", "model": model, "usage": usage},
        ]
        (tmp_path / f"{model}.json").write_text(json.dumps(talk))
    load(resolve([str(tmp_path)]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        rows = con.execute(
            "SELECT kind, response_model, inferred_times, cost_usd FROM spans ORDER BY kind, response_model"
        ).fetchall()
    assert rows == [
        ("agent", None, "both", None),
        ("agent", None, "both", None),
        ("model", "gpt-4o", "both", pytest.approx(1_000 * 2.5e-6 + 100 * 1e-5)),
        ("model", "o3", "both", None),  # its price fell to a fifth in 2025
    ]


def _captured() -> dict[str, tuple[str | None, int, int, float | None]]:
    """Model, input and output tokens and dollars of each capture, counted from the raw lines."""
    lines_of = {p.stem: [json.loads(line) for line in p.read_text().splitlines()] for p in CAPTURES.glob("*.jsonl")}
    claude = lines_of["claude"][-1]
    used = claude["usage"]
    given = used["input_tokens"] + used["cache_creation_input_tokens"] + used["cache_read_input_tokens"]
    codex = lines_of["codex"][-1]["usage"]
    opencode = lines_of["opencode"][-1]["part"]["tokens"]
    pi = lines_of["pi"][-1]["message"]
    return {
        "claude": ("claude-opus-4-8", given, used["output_tokens"], claude["total_cost_usd"]),
        "codex": (None, codex["input_tokens"], codex["output_tokens"], None),
        "opencode": (None, opencode["input"], opencode["output"] + opencode["reasoning"], None),
        "pi": (pi["model"], pi["usage"]["input"], pi["usage"]["output"], pi["usage"]["cost"]["total"]),
    }


@pytest.mark.parametrize("name", ["claude", "codex", "opencode", "pi"])
def test_what_command_lines_really_printed_counts_as_they_say(tmp_path: Path, name: str) -> None:
    load(resolve([str(CAPTURES / f"{name}.jsonl")]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        [found] = con.execute(
            "SELECT any_value(request_model), sum(input_tokens), sum(output_tokens), sum(cost_usd) FROM spans WHERE kind = 'model'"
        ).fetchall()
    model, given, output, cost_usd = _captured()[name]
    assert found[:3] == (model, given, output)
    # Of Claude Code the list price of the calls comes to what it says itself, to the last digit.
    assert found[3] == (cost_usd if cost_usd is None else pytest.approx(cost_usd, abs=1e-9))


@pytest.mark.parametrize(("name", "counts"), [("algorithm_generated_69", (5, 4, 3)), ("hand_crafted_29", (9, 0, 0))])
def test_failures_of_who_and_when_count_as_they_read(tmp_path: Path, name: str, counts: tuple[int, int, int]) -> None:
    spans, kept = read(tmp_path, (BLAME / f"{name}.json").read_text())
    failed = [f for f in failures(spans) if f is not None]
    assert (len(of(spans, "model", "")), len(of(spans, "tool", "")), len(failed)) == counts
    assert [o for (o,) in of(spans, "agent", "flyball.outcome") if o] == ["failure"]
    assert "odd_record" not in kept.kinds


def test_events_that_pi_prints_are_its_session(tmp_path: Path) -> None:
    usage = {"input": 5, "output": 7, "cacheRead": 100, "cacheWrite": 0, "cost": {"total": 0.25}}
    answer = {
        "role": "assistant",
        "content": [{"type": "text", "text": "Done."}],
        "model": "m",
        "usage": usage,
        "stopReason": "stop",
    }
    begun = {**answer, "timestamp": 1_741_369_902_000}
    events: list[dict[str, Any]] = [
        {"type": "agent_start"},
        {"type": "message_end", "message": {"role": "user", "content": "Fix it.", "timestamp": 1_741_369_900_000}},
        {"type": "message_start", "message": begun},
        {"type": "message_update", "message": begun},
        {"type": "message_end", "message": begun},
        {"type": "turn_end", "message": begun},
        {"type": "agent_end", "messages": [begun]},
    ]
    spans, kept = read(tmp_path, lines(events))
    assert of(spans, "model", *TOKENS, "flyball.cost_usd") == [(105, 7, 0.25)]
    other, _ = read(tmp_path, lines([*events[:1], {**events[4], "message": answer}]))
    assert {s["traceId"] for s in spans}.isdisjoint(s["traceId"] for s in other)
    assert kept.kinds == ["no_tool_definitions"]


def test_sub_agents_whose_files_are_not_there_are_named(tmp_path: Path) -> None:
    told = {"type": "progress", "sessionId": "s", "uuid": "p", "data": {"type": "agent_progress", "agentId": "a1"}}
    answer = {
        "id": "m",
        "role": "assistant",
        "model": SONNET,
        "content": [],
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    main = {"type": "assistant", "sessionId": "s", "uuid": "u", "requestId": "r", "message": answer}
    below = {**main, "uuid": "v", "isSidechain": True, "agentId": "a1", "message": {**answer, "id": "n"}}
    _, kept = read(tmp_path, lines([main, told, told]))
    assert [i.count for i in kept.issues if i.kind == "other_files"] == [1]
    _, kept = read(tmp_path, lines([main, told, below]))
    assert "other_files" not in kept.kinds


def test_a_folder_with_a_file_for_each_event_is_one_conversation(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    whole, _ = read(tmp_path / "one", lines(EVENTS))
    store = tmp_path / "conversation" / "events"
    store.mkdir(parents=True)
    for number, event in enumerate(EVENTS):
        (store / f"event-{number:05}-e{number}.json").write_text(json.dumps(event))
    (store.parent / "base_state.json").write_text('{"confirmation_policy": {}}')
    for given in (tmp_path / "conversation", store, f"{store}/*.json"):
        kept, reading_ = reading_of(given)
        assert reading_.traces == 1
        assert {s["spanId"] for s in kept.spans} == {s["spanId"] for s in whole}
        assert "lone_event" not in kept.kinds


def test_sub_agents_of_atif_in_other_files_are_runs_below(tmp_path: Path) -> None:
    step = {
        "step_id": 1,
        "source": "agent",
        "message": "Done.",
        "tool_calls": [{"tool_call_id": "c", "function_name": "ask"}],
    }
    refers = {
        "source_call_id": "c",
        "content": "ok",
        "subagent_trajectory_ref": [{"session_id": "s-below"}, {"session_id": "s"}],
    }
    agent = {"name": "a", "version": "1"}
    main = {
        "schema_version": "ATIF-v1.5",
        "session_id": "s",
        "agent": agent,
        "steps": [{**step, "observation": {"results": [refers]}}],
    }
    below = {"schema_version": "ATIF-v1.5", "session_id": "s-below", "agent": {**agent, "name": "b"}, "steps": [step]}
    (tmp_path / "trajectory.json").write_text(json.dumps(main))
    (tmp_path / "trajectory.sub.json").write_text(json.dumps(below))
    kept, _ = reading_of(tmp_path)
    roots = {s["name"]: s for s in kept.spans if s["name"].startswith("invoke_agent")}
    assert roots["invoke_agent b"]["parentSpanId"] == roots["invoke_agent a"]["spanId"]
    assert {s["traceId"] for s in kept.spans} == {roots["invoke_agent a"]["traceId"]}
    alone, _ = reading_of(tmp_path / "trajectory.sub.json")
    assert len({s["traceId"] for s in alone.spans}) == 1


def test_counters_that_are_all_zero_are_no_counts(tmp_path: Path) -> None:
    usage = {"input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": 0}
    message = {
        "id": "m",
        "role": "assistant",
        "model": "glm-4.7",
        "content": [{"type": "text", "text": "Done."}],
        "usage": usage,
    }
    spans, kept = read(tmp_path, lines([{"type": "assistant", "sessionId": "s", "uuid": "u", "message": message}]))
    assert of(spans, "model", *TOKENS) == [(None, None)]
    assert "no_usage" in kept.kinds


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([{"ts": 1, "type": "say", "say": "api_req_started", "text": "{}"}], "api_conversation_history.json"),
        ({"type": "assistant.message", "data": {"content": "Hi"}}, "Copilot"),
        ({"hook_event_name": "Stop", "session_id": "s"}, "transcript_path"),
        ({"id": "msg_1", "sessionID": "ses_1", "role": "assistant", "modelID": "m"}, "opencode export"),
        ({"type": "content_block_delta", "index": 0, "delta": {"text": "Hi"}}, "over the network"),
    ],
)
def test_files_of_agents_that_are_not_read_say_which_to_give(tmp_path: Path, content: object, sentence: str) -> None:
    (tmp_path / "log").write_text(json.dumps(content))
    _, reading_ = reading_of(tmp_path / "log")
    assert [sentence in str(r) for r in reading_.refusals] == [True]


def test_token_counts_that_are_none_are_unknown_and_the_others_are_kept() -> None:
    assert chat_forms.usage({"input_tokens": {"a": 1}, "output_tokens": 5, "cache_read_input_tokens": [1]}) == {
        "gen_ai.usage.output_tokens": 5
    }
    assert chat_forms.usage({"input_tokens": 3, "cache_creation_input_tokens": {"a": 1}}) == {
        "gen_ai.usage.input_tokens": 3
    }
