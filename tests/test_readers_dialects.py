"""What each library writes of a model call, a tool call and an agent becomes the same columns, by the names of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from analyzer.readers import load, resolve
from instrument.store.connect import reading


@dataclass
class Case:
    name: str
    scope: str
    attributes: dict[str, Any]
    expected: dict[str, Any]
    """Column of the row to its value."""
    said: list[str] = field(default_factory=list)
    """Texts of the messages sent and answered, in order."""


OLD_OPENLLMETRY = {
    "llm.request.type": "chat",
    "gen_ai.system": "OpenAI",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.prompt.0.role": "system",
    "gen_ai.prompt.0.content": "Be kind.",
    "gen_ai.prompt.1.role": "user",
    "gen_ai.prompt.1.content": "Find it.",
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.content": "Here.",
    "gen_ai.completion.0.finish_reason": "stop",
    "gen_ai.usage.prompt_tokens": 90,
    "gen_ai.usage.completion_tokens": 8,
    "gen_ai.usage.cache_read_input_tokens": 60,
    "gen_ai.usage.reasoning_tokens": 3,
    "llm.usage.total_tokens": 98,
    "traceloop.association.properties.session_id": "s1",
    "traceloop.association.properties.user_id": "u1",
}
CLAUDE_CODE = "com.anthropic.claude_code.tracing"
CASES = [
    Case(
        "old OpenLLMetry: a model call",
        "opentelemetry.instrumentation.openai.v1",
        OLD_OPENLLMETRY,
        {"kind": "model", "dialect": "openllmetry", "input_tokens": 90, "uncached_input_tokens": 30, "output_tokens": 8,
         "reasoning_tokens": 3, "finish_reason": "stop", "conversation_id": "s1", "user_id": "u1"},
        ["Be kind.", "Find it.", "Here."],
    ),
    Case(
        "Traceloop: a tool",
        "traceloop.tracer",
        {"traceloop.span.kind": "tool", "traceloop.entity.name": "search", "traceloop.entity.input": "{}", "traceloop.entity.output": "[]"},
        {"kind": "tool", "tool_name": "search", "arguments": "{}", "result": "[]"},
    ),
    Case(
        "Traceloop: an agent",
        "traceloop.tracer",
        {"traceloop.span.kind": "agent", "traceloop.entity.name": "finder"},
        {"kind": "agent", "agent_name": "finder"},
    ),
    Case(
        "GenAI conventions of 2024: prompt and completion in one attribute each",
        "x",
        {"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o",
         "gen_ai.prompt": '[{"role": "user", "content": "Find it."}]', "gen_ai.completion": '[{"role": "assistant", "content": "Here."}]',
         "gen_ai.usage.prompt_tokens": 9, "gen_ai.usage.completion_tokens": 1},
        {"kind": "model", "dialect": "gen_ai", "provider": "openai", "input_tokens": 9, "output_tokens": 1},
        ["Find it.", "Here."],
    ),
    Case(
        "Vercel AI SDK 4 and 5: a model call",
        "ai",
        {"ai.operationId": "ai.generateText.doGenerate", "ai.model.id": "gpt-4o", "ai.model.provider": "openai.chat",
         "ai.prompt.messages": '[{"role": "user", "content": [{"type": "text", "text": "Find it."}]}]',
         "ai.response.text": "Here.", "ai.response.finishReason": "stop", "ai.usage.promptTokens": 9, "ai.usage.completionTokens": 1,
         "ai.usage.cachedInputTokens": 4},
        {"kind": "model", "dialect": "vercel-ai", "input_tokens": 9, "uncached_input_tokens": 5, "finish_reason": "stop"},
        ["Find it.", "Here."],
    ),
    Case(
        "Vercel AI SDK: the call around it is a roll-up",
        "ai",
        {"ai.operationId": "ai.streamText", "ai.model.id": "gpt-4o", "ai.usage.inputTokens": 9, "ai.usage.outputTokens": 1,
         "ai.telemetry.functionId": "finder", "ai.telemetry.metadata.sessionId": "s1", "ai.telemetry.metadata.userId": "u1"},
        {"kind": "agent", "input_tokens": None, "agent_name": "finder", "conversation_id": "s1", "user_id": "u1"},
    ),
    Case(
        "Vercel AI SDK: an object answered",
        "ai",
        {"ai.operationId": "ai.generateObject.doGenerate", "ai.model.id": "gpt-4o",
         "ai.prompt.messages": '[{"role": "user", "content": "Find it."}]', "ai.response.object": '{"it": 1}',
         "ai.usage.inputTokens": 9, "ai.usage.outputTokens": 1},
        {"kind": "model", "input_tokens": 9},
        ["Find it.", '{"it": 1}'],
    ),
    Case(
        "Vercel AI SDK: a tool",
        "ai",
        {"ai.operationId": "ai.toolCall", "ai.toolCall.name": "search", "ai.toolCall.id": "c1", "ai.toolCall.args": '{"q":1}',
         "ai.toolCall.result": '"gone"'},
        {"kind": "tool", "tool_name": "search", "tool_call_id": "c1", "arguments": '{"q":1}', "result": "gone"},
    ),
    Case(
        "pydantic-ai before 1.0: a tool",
        "pydantic-ai",
        {"gen_ai.tool.name": "search", "gen_ai.tool.call.id": "c1", "tool_arguments": '{"q":1}', "tool_response": "gone",
         "logfire.msg": "running tool: search"},
        {"kind": "tool", "dialect": "pydantic-ai", "tool_name": "search", "tool_call_id": "c1", "arguments": '{"q":1}', "result": "gone"},
    ),
    Case(
        "Claude Code: a request, whose input leaves the cache out",
        CLAUDE_CODE,
        {"span.type": "llm_request", "model": "claude-opus-4-5", "gen_ai.system": "anthropic", "input_tokens": 20, "output_tokens": 30,
         "cache_read_tokens": 7, "cache_creation_tokens": 5, "ttft_ms": 250, "stop_reason": "end_turn", "session.id": "s1",
         "request_id": "req_1"},
        {"kind": "model", "dialect": "claude-code", "input_tokens": 32, "uncached_input_tokens": 20, "cache_write_tokens": 5,
         "time_to_first_token_ns": 250_000_000, "finish_reason": "end_turn", "conversation_id": "s1", "request_id": "req_1"},
    ),
    Case(
        "Claude Code: a tool",
        CLAUDE_CODE,
        {"span.type": "tool", "tool_name": "Bash", "tool_use_id": "c1", "gen_ai.operation.name": "execute_tool"},
        {"kind": "tool", "dialect": "claude-code", "tool_name": "Bash", "tool_call_id": "c1"},
    ),
    Case(
        "Claude Code: waiting for leave is no call",
        CLAUDE_CODE,
        {"span.type": "tool.blocked_on_user", "tool_name": "Bash"},
        {"kind": "other"},
    ),
    Case("Claude Code: an interaction", CLAUDE_CODE, {"span.type": "interaction", "session.id": "s1"}, {"kind": "agent"}),
    Case(
        "Codex: a response",
        "codex_otel",
        {"model": "gpt-5.5", "gen_ai.usage.input_tokens": 90, "gen_ai.usage.output_tokens": 8, "gen_ai.usage.cache_read.input_tokens": 60,
         "codex.usage.reasoning_output_tokens": 3, "conversation.id": "s1"},
        {"kind": "model", "input_tokens": 90, "uncached_input_tokens": 30, "reasoning_tokens": 3, "conversation_id": "s1"},
    ),
    Case(
        "Gemini CLI: a model call, parts without types",
        "gemini-cli",
        {"gen_ai.operation.name": "llm_call", "gen_ai.request.model": "gemini-3-pro", "gen_ai.usage.input_tokens": 9,
         "gen_ai.usage.output_tokens": 1, "gen_ai.input.messages": '[{"role": "user", "parts": [{"text": "Find it."}]}]',
         "gen_ai.output.messages": '{"parts": [{"text": "Hm.", "thought": true}, {"text": "Here."}]}'},
        {"kind": "model", "input_tokens": 9, "output_tokens": 1},
        ["Find it.", "Here."],
    ),
    Case(
        "Gemini CLI: a tool",
        "gemini-cli",
        {"gen_ai.operation.name": "tool_call", "gen_ai.tool.name": "ls"},
        {"kind": "tool", "tool_name": "ls"},
    ),
    Case(
        "Monocle over OTLP is not taken for Claude Code",
        "monocle",
        {"monocle_apptrace.version": "0.7", "span.type": "agentic.invocation"},
        {"kind": "agent", "dialect": "monocle"},
    ),
]  # fmt: skip
COLUMNS = sorted({column for case in CASES for column in case.expected} - {"arguments", "result"})


Held = dict[str, tuple[dict[str, Any], list[str]]]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Held:
    """By the name of a case its row, and the texts of its messages."""
    folder = tmp_path_factory.mktemp("dialects")
    records = [{"scopeName": c.scope, "spanName": c.name, "attributes": c.attributes} for c in CASES]
    (folder / "spans").write_text(json.dumps(records))
    load(resolve([str(folder / "spans")]), folder / "t.duckdb")
    with reading(folder / "t.duckdb") as con:
        columns = ", ".join(f"s.{c}" for c in COLUMNS)
        sql = f"SELECT s.name, input_keys || output_keys, {columns}, arguments, result FROM spans s LEFT JOIN contents USING (span_key)"
        found = con.execute(sql).fetchall()
        bodies = dict(con.execute("SELECT message_key, body FROM messages").fetchall())
    return {
        name: (dict(zip([*COLUMNS, "arguments", "result"], v, strict=True)), _texts(keys, bodies))
        for name, keys, *v in found
    }


def _texts(keys: list[int] | None, bodies: dict[int, str]) -> list[str]:
    parts = [part for key in keys or () for part in json.loads(bodies[key])["parts"]]
    return [p["content"] for p in parts if p["type"] == "text"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_meaning_under_many_names(case: Case, held: Held) -> None:
    row, said = held[case.name]
    assert {column: row[column] for column in case.expected} == case.expected
    assert said == case.said
