"""The smallest export of each format that holds everything a reader looks at."""

from __future__ import annotations

from typing import Any

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_TOOL = '{"type": "function", "function": {"name": "search"}}'

TREE: dict[str, Any] = {
    "trace_id": TRACE,
    "spans": [
        {
            "timestamp": "2025-03-19T16:39:50.049109Z",
            "trace_id": TRACE,
            "span_id": "00000000000000a1",
            "parent_span_id": None,
            "span_name": "CodeAgent.run",
            "span_kind": "Internal",
            "service_name": "bench",
            "scope_name": "openinference.instrumentation.smolagents",
            "resource_attributes": {"service.name": "bench"},
            "span_attributes": {
                "openinference.span.kind": "AGENT",
                "llm.token_count.prompt": "120",
                "session.id": "s1",
            },
            "duration": "PT2M3.5S",
            "status_code": "Unset",
            "status_message": "",
            "events": [],
            "logs": [],
            "child_spans": [
                {
                    "timestamp": "2025-03-19T16:39:51Z",
                    "span_id": "00000000000000a2",
                    "span_name": "LiteLLMModel.__call__",
                    "span_attributes": {
                        "openinference.span.kind": "LLM",
                        "llm.model_name": "gpt-4o",
                        "llm.provider": "openai",
                        "llm.token_count.prompt": "120",
                        "llm.token_count.completion": "30",
                        "llm.token_count.prompt_details.cache_read": "100",
                        "llm.token_count.completion_details.reasoning": "10",
                        "llm.input_messages.0.message.role": "user",
                        "llm.input_messages.0.message.contents.0.message_content.type": "text",
                        "llm.input_messages.0.message.contents.0.message_content.text": "Find it.",
                        "llm.output_messages.0.message.role": "assistant",
                        "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1",
                        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "search",
                        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"q": "it"}',
                        "llm.tools.0.tool.json_schema": _TOOL,
                    },
                    "duration": "PT1.5S",
                    "status_code": "Ok",
                    "child_spans": [],
                },
                {
                    "timestamp": "2025-03-19T16:39:53Z",
                    "span_id": "00000000000000a3",
                    "span_name": "search",
                    "span_attributes": {
                        "openinference.span.kind": "TOOL",
                        "tool.name": "search",
                        "input.value": '{"q": "it"}',
                        "output.value": "gone",
                    },
                    "duration": "PT0.25S",
                    "status_code": "Error",
                    "status_message": "not found",
                    "events": [
                        {
                            "Name": "exception",
                            "Timestamp": "2025-03-19T16:39:53.2Z",
                            "Attributes": {"exception.type": "KeyError", "exception.message": "it"},
                        }
                    ],
                    "child_spans": [],
                },
            ],
        }
    ],
}

FLAT: list[dict[str, Any]] = [
    {
        "id": "U3Bhbjox",
        "name": "ChatCompletion",
        "context": {"trace_id": TRACE, "span_id": "00000000000000b1"},
        "span_kind": "LLM",
        "parent_id": None,
        "start_time": "2026-09-01T10:00:00.250000+00:00",
        "end_time": "2026-09-01T10:00:00.900000+00:00",
        "status_code": "OK",
        "status_message": "",
        "events": [],
        "attributes": {
            "llm": {
                "model_name": "gpt-4o",
                "token_count": {"prompt": 120, "completion": 30, "prompt_details": {"cache_read": 100}},
                "input_messages": [{"message": {"role": "user", "content": "Find it."}}],
                "output_messages": [
                    {
                        "message": {
                            "role": "assistant",
                            "tool_calls": [
                                {"tool_call": {"id": "c1", "function": {"name": "search", "arguments": '{"q": "it"}'}}}
                            ],
                        }
                    }
                ],
                "tools": [{"tool": {"json_schema": _TOOL}}],
                "invocation_parameters": {"temperature": 0},
            },
            "session": {"id": "s1"},
            "metadata": {"a.b": {"c": 1}},
        },
    },
    {
        "name": "search",
        "context": {"trace_id": TRACE, "span_id": "00000000000000b2"},
        "span_kind": "TOOL",
        "parent_id": "00000000000000b1",
        "start_time": "2026-09-01T10:00:01+00:00",
        "end_time": "2026-09-01T10:00:02+00:00",
        "status_code": "ERROR",
        "status_message": "not found",
        "events": [
            {
                "name": "exception",
                "timestamp": "2026-09-01T10:00:02+00:00",
                "attributes": {"exception.type": "KeyError"},
            }
        ],
        "attributes": {"tool": {"name": "search"}, "input": {"value": '{"q": "it"}'}, "output": {"value": "gone"}},
    },
]

COLUMNS: list[dict[str, Any]] = [
    {
        "name": "ChatCompletion",
        "span_kind": "LLM",
        "parent_id": None,
        "start_time": 1788256800250,
        "end_time": 1788256800900,
        "status_code": "OK",
        "context.trace_id": TRACE,
        "context.span_id": "00000000000000c1",
        "attributes.llm.model_name": "gpt-4o",
        "attributes.llm.token_count.prompt": 120.0,
        "attributes.llm.token_count.completion": 30.0,
        "attributes.llm.input_messages": [{"message.role": "user", "message.content": "Find it."}],
        "attributes.llm.output_messages": [{"message.role": "assistant", "message.content": "Here."}],
        "attributes.tool.name": None,
    },
    {
        "name": "embed",
        "span_kind": "EMBEDDING",
        "parent_id": "00000000000000c1",
        "start_time": 1788256801000,
        "end_time": 1788256801500,
        "status_code": "OK",
        "context.trace_id": TRACE,
        "context.span_id": "00000000000000c2",
        "attributes.embedding.model_name": "text-embedding-3-small",
        "attributes.llm.token_count.prompt": 5.0,
    },
]


def _observation(number: int, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "id": f"{number:016x}",
        "traceId": TRACE,
        "projectId": "p",
        "type": kind,
        "name": f"o{number}",
        "parentObservationId": None if number == 1 else f"{1:016x}",
        "startTime": f"2026-09-01T10:00:{number:02}.000Z",
        "endTime": f"2026-09-01T10:00:{number:02}.500Z",
        "level": "DEFAULT",
        "statusMessage": None,
        "metadata": {},
        "input": None,
        "output": None,
        **more,
    }


LANGFUSE: dict[str, Any] = {
    "trace": {"id": TRACE, "projectId": "p", "name": "find", "userId": "u1", "sessionId": "s1"},
    "observations": [
        _observation(1, "AGENT", name="finder"),
        _observation(
            2,
            "GENERATION",
            model="claude-opus-4-5",
            completionStartTime="2026-09-01T10:00:02.200Z",
            input={
                "system": "Be kind.",
                "messages": [{"role": "user", "content": "Find it."}],
                "tools": [{"name": "search"}],
            },
            output={
                "id": "msg_1",
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "c1", "name": "search", "input": {"q": "it"}}],
                "stop_reason": "tool_use",
            },
            usageDetails={"input": 20, "cache_read_input_tokens": 100, "output": 30, "total": 150},
            costDetails={"input": 0.1, "output": 0.15, "total": 0.25},
        ),
        _observation(
            3,
            "TOOL",
            name="search",
            input={"q": "it"},
            output="gone",
            level="ERROR",
            statusMessage="not found",
            metadata={"attributes": {"gen_ai.tool.call.id": "c1"}},
        ),
        _observation(
            4,
            "GENERATION",
            model="claude-opus-4-5",
            input=[{"role": "user", "content": "Find it."}],
            output="It is gone.",
            usageDetails={"input": 50, "output": 5, "total": 55},
            costDetails={"total": 0.05},
        ),
    ],
}


def _event(name: str, at: int, **values: Any) -> dict[str, Any]:
    shared = {"event.name": name, "session.id": "s1", "prompt.id": "p1", "user.id": "u1", **values}
    return {
        "timeUnixNano": str(1_788_256_800_000_000_000 + at * 1_000_000_000),
        "body": {"stringValue": f"claude_code.{name}"},
        "attributes": [{"key": k, "value": _value(v)} for k, v in shared.items()],
    }


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}


LOGS: dict[str, Any] = {
    "resourceLogs": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "claude-code"}}]},
            "scopeLogs": [
                {
                    "scope": {"name": "com.anthropic.claude_code.events", "version": "2.1.330"},
                    "logRecords": [
                        _event("user_prompt", 0, prompt="Find it.", prompt_length=8),
                        _event(
                            "api_request",
                            3,
                            model="claude-opus-4-5",
                            cost_usd=0.25,
                            duration_ms=2000,
                            input_tokens=20,
                            output_tokens=30,
                            cache_read_tokens=100,
                            cache_creation_tokens=7,
                            request_id="req_1",
                        ),
                        _event("tool_decision", 3, tool_name="Bash", decision="accept"),
                        _event(
                            "tool_result",
                            5,
                            tool_name="Bash",
                            tool_use_id="c1",
                            success="false",
                            error="gone",
                            duration_ms="1500",
                            tool_input='{"command": "ls"}',
                        ),
                        # Some versions write numbers as texts.
                        _event("api_request", 7, model="claude-haiku-4-5", cost_usd="0.05", duration_ms="500", input_tokens="50",
                               output_tokens="5", cache_read_tokens="0", cache_creation_tokens="0"),
                        _event("api_error", 9, model="claude-opus-4-5", error="Overloaded", status_code=529, duration_ms=100, attempt=3),
                    ],
                }
            ],
        }
    ]
}  # fmt: skip

RECORD: dict[str, Any] = {
    "scopeName": "ai",
    "spanName": "ai.streamText.doStream",
    "attributes": {
        "ai.operationId": "ai.streamText.doStream",
        "ai.model.id": "claude-haiku-4-5",
        "ai.prompt.messages": '[{"role": "user", "content": "Find it."}]',
        "ai.prompt.tools": {"values": [{"stringValue": '{"type": "function", "name": "search"}'}]},
        "ai.response.text": "Here.",
        "ai.usage.inputTokens": 5,
        "ai.usage.outputTokens": 7,
    },
}
