"""Logs of agents as spans: one small log of each format, and the whole of what it becomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from agent_spans import heard, of, operation, read, seconds
from small_agent_logs import ANTHROPIC, CLAUDE, MINI, OPENAI, PI, SMALL, SWE, TAU2, lines

from analyzer.readers.formats import format_of


@pytest.mark.parametrize("name", SMALL)
def test_each_format_is_known_by_its_content(name: str) -> None:
    found = format_of(SMALL[name].encode())
    assert found is not None
    assert found.name == name


def test_tau2_gives_a_run_to_the_agent_and_one_to_the_simulated_user(tmp_path: Path) -> None:
    spans, kept = read(tmp_path, TAU2)
    agent, user = spans[-2:]
    assert [s["values"]["gen_ai.agent.name"] for s in (agent, user)] == ["llm_agent", "user_simulator"]
    outcome = ("flyball.outcome", "flyball.outcome.score", "flyball.outcome.reason", "flyball.task.id")
    assert of(spans, "agent", *outcome) == [("success", 1.0, "user_stop", "7"), (None, None, None, "7")]
    usage = ("gen_ai.agent.name", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "flyball.cost_usd")
    assert of(spans, "model", *usage) == [("user_simulator", 10, 3, 0.01), ("llm_agent", 20, 5, 0.03)]
    asked, answered = (s for s in spans if operation(s) == "chat")
    assert heard(asked) == [("user", "Hi!")]
    assert heard(answered) == [("assistant", "Hi!"), ("user", "My order?")]
    assert [seconds(s) for s in (asked, answered)] == [(0.5, 2.0), (2.0, 4.0)]
    names = ("gen_ai.tool.name", "gen_ai.tool.call.id", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result")
    assert of(spans, "tool", *names) == [("get_order", "c1", '{"id":1}', "Error: no such order")]
    [tool] = [s for s in spans if operation(s) == "execute_tool"]
    assert (tool["parentSpanId"], tool["traceId"]) == (agent["spanId"], agent["traceId"])
    assert tool["status"] == {"code": 2, "message": "Error: no such order"}
    assert agent["traceId"] != user["traceId"]
    assert agent["values"]["gen_ai.conversation.id"] == user["values"]["gen_ai.conversation.id"] == "s1"
    assert [(i.kind, i.error) for i in kept.issues] == [
        ("inferred_times", False),
        ("no_time_zone", False),
        ("no_tool_definitions", False),
    ]


@pytest.mark.parametrize(("reward", "outcome"), [(1.0, "success"), (0.0, "failure"), (0.5, "failure"), (None, None)])
def test_the_reward_is_the_outcome_and_no_reward_is_none(tmp_path: Path, reward: Any, outcome: str | None) -> None:
    simulation = {**TAU2["simulations"][0], "reward_info": {"reward": reward}}
    spans, _ = read(tmp_path, {**TAU2, "simulations": [simulation]})
    assert of(spans, "agent", "flyball.outcome")[0] == (outcome,)


def test_simulations_of_one_id_are_two_and_the_same_one_again_is_one(tmp_path: Path) -> None:
    one = TAU2["simulations"][0]
    other = {**one, "messages": one["messages"][:3]}
    spans, _ = read(tmp_path, {**TAU2, "simulations": [one, other, one]})
    assert len({s["traceId"] for s in spans}) == 4
    assert len({(s["traceId"], s["spanId"]) for s in spans}) == len(spans) - 5


def test_a_cut_document_gives_the_simulations_before_the_cut(tmp_path: Path) -> None:
    one = TAU2["simulations"][0]
    text = json.dumps({**TAU2, "simulations": [one, {**one, "id": "s2"}]})
    spans, kept = read(tmp_path, text[:-200])
    assert {s["values"]["gen_ai.conversation.id"] for s in spans} == {"s1"}
    assert [i.message[:30] for i in kept.issues if i.error] == ["entry 1 of `simulations` and w"]


def test_mini_swe_agent_takes_the_command_in_the_text_as_a_call(tmp_path: Path) -> None:
    spans, kept = read(tmp_path, MINI)
    first, second = (s for s in spans if operation(s) == "chat")
    names = (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.reasoning.output_tokens",
    )
    assert of(spans, "model", *names, "flyball.cost_usd") == [(100, 60, 8, 0.02), (None, None, None, None)]
    assert of(spans, "tool", "gen_ai.tool.name", "gen_ai.tool.call.arguments") == [("bash", '{"command":"ls"}')]
    [tool] = [s for s in spans if operation(s) == "execute_tool"]
    assert tool["status"] == {"code": 2, "message": "exit code 2"}
    # Reasoning is not sent back; what the harness says of an answer without a command is no result.
    assert [p["type"] for p in json.loads(first["values"]["gen_ai.output.messages"])[0]["parts"]] == [
        "reasoning",
        "text",
        "tool_call",
    ]
    told = heard(second)
    assert told[:2] == [("system", "You can use a shell."), ("user", "Fix it.")]
    assert [role for role, _ in told] == ["system", "user", "assistant", "assistant", "tool"]
    assert of(spans, "agent", "flyball.outcome", "flyball.outcome.reason") == [("failure", "LimitsExceeded")]
    assert {i.kind: i.count for i in kept.issues} == {
        "inferred_calls": 1,
        "no_times": 2,
        "inferred_times": 1,
        "no_usage": 1,
    }


def test_mini_swe_agent_of_the_second_version_has_calls_and_times(tmp_path: Path) -> None:
    calls = [{"id": "t1", "type": "function", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}]
    answer = {
        "role": "assistant",
        "content": "Look.",
        "tool_calls": calls,
        "extra": {"timestamp": 1763511240.5, "cost": 0.1},
    }
    result = {
        "role": "tool",
        "tool_call_id": "t1",
        "content": "a",
        "extra": {"returncode": 0, "timestamp": 1763511242.0},
    }
    end = {"role": "exit", "content": "", "extra": {"exit_status": "Submitted"}}
    spans, kept = read(tmp_path, {**MINI, "messages": [*MINI["messages"][:2], answer, result, end]})
    assert [seconds(s)[1] for s in spans if operation(s) != "invoke_agent"] == [0.5, 2.0]
    assert of(spans, "tool", "gen_ai.tool.call.id", "gen_ai.tool.call.result") == [("t1", "a")]
    assert [i.kind for i in kept.issues] == ["no_usage"]


def test_swe_agent_tells_every_step_also_those_its_history_dropped(tmp_path: Path) -> None:
    spans, kept = read(tmp_path, SWE)
    names = ("gen_ai.tool.name", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result")
    assert of(spans, "tool", *names) == [
        ("bash", '{"command":"ls"}', "a.py\nbash-$"),
        ("bash", '{"command":"oops"}', "refused"),
        ("submit", "{}", "diff"),
    ]
    models = [s for s in spans if operation(s) == "chat"]
    assert [len(heard(s)) for s in models] == [3, 6, 6]  # the refused answer is not in the next request
    assert [round(b - a, 3) for a, b in map(seconds, spans) if b > a][:1] == [0.5]
    roll_up = ("flyball.run.reported_cost_usd", "flyball.run.reported_input_tokens", "flyball.outcome")
    assert of(spans, "agent", *roll_up) == [(0.5, 900, None)]
    assert {i.kind: i.count for i in kept.issues} == {"no_times": 3, "no_usage": 3, "inferred_calls": 2}


def test_swe_agent_without_a_history_is_read_from_its_steps(tmp_path: Path) -> None:
    steps = [{**SWE["trajectory"][0], "messages": SWE["history"][:3]}, SWE["trajectory"][2]]
    spans, _ = read(tmp_path, {"trajectory": steps, "info": SWE["info"]})
    assert [len(heard(s)) for s in spans if operation(s) == "chat"] == [3, 6]
    assert of(spans, "tool", "gen_ai.tool.call.result") == [("a.py",), ("diff",)]


def test_swe_agents_own_exit_is_an_answer_that_nobody_recorded_and_no_call(tmp_path: Path) -> None:
    ended = {"thought": "Exit due to cost limit", "action": "exit_cost"}
    step = {**ended, "response": "Exit due to cost limit", "observation": "Exited (autosubmitted)"}
    history = [*SWE["history"], {"role": "assistant", "content": "Exit due to cost limit", **ended}]
    before, _ = read(tmp_path, SWE)
    spans, _ = read(tmp_path, {**SWE, "trajectory": [*SWE["trajectory"], step], "history": history})
    calls = [s["values"].get("gen_ai.tool.name") for s in spans if operation(s) == "execute_tool"]
    assert calls == [s["values"].get("gen_ai.tool.name") for s in before if operation(s) == "execute_tool"]
    answers = of(spans, "model", "gen_ai.output.messages")
    assert len(answers) == 1 + len(of(before, "model", "gen_ai.output.messages"))
    assert answers[-1] == (None,)


def test_pi_has_usage_cost_and_times_of_every_answer(tmp_path: Path) -> None:
    spans, kept = read(tmp_path, lines(PI))
    usage = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "flyball.cost_usd", "flyball.cost.source")
    whole = (115, 7, 0.25, "reported")
    assert of(spans, "model", *usage) == [whole, whole, (None, None, None, None)]
    first, second, cut = (s for s in spans if operation(s) == "chat")
    assert seconds(first) == (2.0, 2.5)
    assert (cut["status"], cut["values"]["error.type"]) == ({"code": 2, "message": "Request was aborted."}, "aborted")
    assert heard(first) == [("user", "Read it.")]
    # After the compaction: the summary, and what it kept.
    assert heard(second) == [("user", "So far."), ("user", "Go on.")]
    assert of(spans, "compaction", "flyball.compaction.tokens_before") == [(9,)]
    [tool] = [s for s in spans if operation(s) == "execute_tool"]
    assert tool["status"] == {"code": 2, "message": "gone"}
    assert of(spans, "tool", "gen_ai.tool.name", "gen_ai.tool.call.arguments") == [("read", '{"path":"a"}')]
    assert {i.kind for i in kept.issues} == {
        "inferred_times",
        "no_tool_definitions",
        "partial_usage",
        "unrecorded_calls",
    }


def test_going_back_in_a_pi_session_leaves_the_other_branch_out(tmp_path: Path) -> None:
    ids = [("e1", None), ("e2", "e1"), ("e3", "e2"), ("e4", "e1")]
    entries = [{**e, "id": i, "parentId": p} for e, (i, p) in zip(PI[1:5], ids, strict=True)]
    last = {**PI[6], "id": "e5", "parentId": "e4"}
    spans, _ = read(tmp_path, lines([PI[0], *entries, last]))
    assert heard([s for s in spans if operation(s) == "chat"][1]) == [("user", "Read it."), ("user", "Go on.")]


def test_a_pi_tree_that_goes_in_a_circle_ends(tmp_path: Path) -> None:
    entries = [
        {**PI[1], "id": "a", "parentId": "b"},
        {**PI[2], "id": "b", "parentId": "a"},
        {**PI[6], "id": "a", "parentId": "b"},
    ]
    spans, _ = read(tmp_path, lines([PI[0], *entries, {**PI[6], "id": "c", "parentId": "a"}]))
    assert len(of(spans, "model", "x")) == 3


def test_lines_of_one_claude_code_answer_are_one_call_with_the_usage_of_the_last(tmp_path: Path) -> None:
    spans, kept = read(tmp_path, lines(CLAUDE))
    usage = ("gen_ai.response.id", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
    assert of(spans, "model", *usage) == [("m1", 113, 40), ("m2", 113, 9), ("m3", 113, 5)]
    assert of(spans, "tool", "gen_ai.tool.name", "gen_ai.tool.call.result") == [("Task", "found"), ("Read", "text")]
    models = [s for s in spans if operation(s) == "chat"]
    assert heard(models[2]) == [("user", "Summary.")]
    assert of(spans, "compaction", "flyball.compaction.tokens_before") == [(50,)]
    assert {i.kind: i.count for i in kept.issues} == {
        "inferred_times": 5,
        "no_tool_definitions": 2,
        "unrecorded_calls": 1,
        "other_records": 1,
    }


def test_a_sub_agent_of_claude_code_is_a_run_below_its_session(tmp_path: Path) -> None:
    spans, _ = read(tmp_path, lines(CLAUDE))
    main, sub = (s for s in spans if operation(s) == "invoke_agent")
    assert (sub["parentSpanId"], sub["traceId"]) == (main["spanId"], main["traceId"])
    [call] = [s for s in spans if s["values"].get("gen_ai.response.id") == "m2"]
    assert call["parentSpanId"] == sub["spanId"]
    assert heard(call) == [("user", "You explore.")]
    # In a file of its own it has the same ids.
    alone, _ = read(tmp_path, lines(CLAUDE[7:9]))
    assert [s["spanId"] for s in alone if operation(s) == "invoke_agent"] == [sub["spanId"]]


def test_an_api_failure_in_claude_code_is_a_failed_call(tmp_path: Path) -> None:
    message = {"role": "assistant", "model": "<synthetic>", "content": [{"type": "text", "text": "API Error: 529"}]}
    failure = {**CLAUDE[-1], "uuid": "x", "message": message, "isApiErrorMessage": True}
    spans, _ = read(tmp_path, lines([*CLAUDE[:2], failure]))
    [call] = [s for s in spans if operation(s) == "chat"]
    assert (call["status"]["message"], call["values"]["error.type"]) == ("API Error: 529", "api_error")
    quiet = {**failure, "isApiErrorMessage": False}
    assert of(read(tmp_path, lines([*CLAUDE[:2], quiet]))[0], "model", "x") == []


@pytest.mark.parametrize("content", [ANTHROPIC, OPENAI, lines(OPENAI), [ANTHROPIC]])
def test_every_answer_in_a_list_of_messages_is_a_call(tmp_path: Path, content: Any) -> None:
    spans, kept = read(tmp_path, content)
    assert len(of(spans, "model", "x")) == 2
    assert of(spans, "tool", "gen_ai.tool.name", "gen_ai.tool.call.result") == [("get", "no")]
    assert {i.kind: i.count for i in kept.issues} == {"inferred_calls": 2, "no_times": 3, "no_usage": 2}


def test_a_request_tells_its_model_system_prompt_and_tools(tmp_path: Path) -> None:
    spans, _ = read(tmp_path, ANTHROPIC)
    told = (
        "gen_ai.request.model",
        "gen_ai.request.max_tokens",
        "gen_ai.system_instructions",
        "gen_ai.tool.definitions",
    )
    model, limit, system, tools = of(spans, "model", *told)[0]
    assert (model, limit, json.loads(system)) == ("claude-opus-4-5", 100, [{"type": "text", "content": "Be brief."}])
    assert [(t["name"], t["parameters"]) for t in json.loads(tools)] == [("get", {"type": "object"})]


def test_beside_a_response_only_that_is_a_call(tmp_path: Path) -> None:
    message = {"role": "assistant", "content": "It is gone."}
    usage = {"prompt_tokens": 9, "completion_tokens": 2}
    response = {"id": "r1", "model": "m", "choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}
    spans, _ = read(tmp_path, {"messages": OPENAI, "response": response})
    names = ("gen_ai.response.id", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
    assert of(spans, "model", *names) == [("r1", 9, 2)]
    assert of(read(tmp_path, response)[0], "model", *names) == [("r1", 9, 2)]


def test_a_trajectory_of_tau_bench_has_its_reward(tmp_path: Path) -> None:
    spans, _ = read(tmp_path, [{"task_id": 3, "reward": 0.0, "info": {}, "traj": OPENAI, "trial": 0}])
    assert of(spans, "agent", "flyball.outcome", "flyball.outcome.score", "flyball.task.id") == [("failure", 0.0, "3")]


@pytest.mark.parametrize("name", SMALL)
def test_reading_again_gives_the_same_spans(tmp_path: Path, name: str) -> None:
    once, again = (read(tmp_path, SMALL[name])[0] for _ in range(2))
    assert once == again
    assert len({(s["traceId"], s["spanId"]) for s in once}) == len(once)
    agents = {s["spanId"] for s in once if operation(s) == "invoke_agent"}
    assert {s["parentSpanId"] for s in once if operation(s) != "invoke_agent"} <= agents
    assert all(0 < s["startTimeUnixNano"] <= s["endTimeUnixNano"] for s in once)


def test_copies_of_a_session_that_went_different_ways_are_kept_apart(tmp_path: Path) -> None:
    other = {**PI[6], "timestamp": "2025-12-08T22:41:07.000Z"}
    here, there = (read(tmp_path, lines([*PI[:6], last]))[0] for last in (PI[6], other))
    ids = [{s["spanId"] for s in spans} for spans in (here, there)]
    assert [len(i) for i in ids] == [5, 5]
    assert len(ids[0] & ids[1]) == 4


@pytest.mark.parametrize("content", [ANTHROPIC, json.dumps(MINI)])
def test_a_failed_call_is_flagged_in_the_next_request_too(tmp_path: Path, content: Any) -> None:
    spans, _ = read(tmp_path, content)
    [tool] = [s for s in spans if operation(s) == "execute_tool"]
    assert tool["status"]["code"] == 2
    last = [s for s in spans if operation(s) == "chat"][-1]
    parts = [p for m in json.loads(last["values"]["gen_ai.input.messages"]) for p in m["parts"]]
    assert [p.get("is_error") for p in parts if p["type"] == "tool_call_response"] == [True]


def test_an_answer_with_two_commands_was_refused_and_is_no_call(tmp_path: Path) -> None:
    two = {**MINI["messages"][2], "content": "```bash\nls\n```\n```bash\npwd\n```"}
    spans, _ = read(tmp_path, {**MINI, "messages": [*MINI["messages"][:2], two, *MINI["messages"][5:]]})
    assert of(spans, "tool", "x") == []


def test_usage_of_an_answer_without_a_stop_reason_is_that_of_a_stream_that_may_go_on(tmp_path: Path) -> None:
    spans, kept = read(tmp_path, lines(CLAUDE[:4]))
    names = ("gen_ai.usage.output_tokens", "gen_ai.request.stream", "gen_ai.response.finish_reasons")
    assert of(spans, "model", *names) == [(1, True, None)]
    assert "partial_usage" in kept.kinds
