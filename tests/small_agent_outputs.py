"""Smallest outputs of agents and chats (see `small_agent_logs`): what command lines print, opencode, group chats, other messages."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
SONNET, HAIKU = "claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001"


def _used(given: int, output: int, written: int, read: int) -> Json:
    return {
        "input_tokens": given,
        "output_tokens": output,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
    }


def _answer(name: str, block: Json, usage: Json, model: str = SONNET, below: str | None = None) -> Json:
    message = {
        "id": name,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [block],
        "stop_reason": None,
    }
    return {
        "type": "assistant",
        "message": {**message, "usage": usage},
        "parent_tool_use_id": below,
        "session_id": "s1",
    }


def _heard(block: Json, below: str | None = None) -> Json:
    message = {"role": "user", "content": [block]}
    return {"type": "user", "message": message, "parent_tool_use_id": below, "session_id": "s1"}


def _total(given: int, output: int, written: int, read: int, cost_usd: float) -> Json:
    return {
        "inputTokens": given,
        "outputTokens": output,
        "cacheCreationInputTokens": written,
        "cacheReadInputTokens": read,
        "costUSD": cost_usd,
    }


RESULT: Json = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "duration_ms": 61_234,
    "num_turns": 3,
    "session_id": "s1",
    "total_cost_usd": 0.0125,
    "usage": _used(9, 240, 1_200, 25_000),
    "modelUsage": {SONNET: _total(9, 240, 1_200, 25_000, 0.012), f"{HAIKU}[1m]": _total(7, 30, 0, 0, 0.0005)},
}
CLAUDE_OUTPUT: list[Json] = [
    {"type": "system", "subtype": "init", "session_id": "s1", "model": SONNET, "tools": ["Bash", "Task"]},
    _answer("m1", {"type": "text", "text": "I look."}, _used(4, 1, 1_000, 12_000)),
    _answer(
        "m1", {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}, _used(4, 1, 1_000, 12_000)
    ),
    _heard({"type": "tool_result", "tool_use_id": "t1", "content": "Exit code 1", "is_error": True}),
    _answer("m2", {"type": "tool_use", "id": "t2", "name": "Task", "input": {"prompt": "p"}}, _used(5, 2, 200, 13_000)),
    _heard({"type": "text", "text": "Fix it."}, below="t2"),
    _answer("m3", {"type": "text", "text": "Found."}, _used(7, 3, 0, 0), HAIKU, below="t2"),
    _heard({"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "Found."}]}),
    RESULT,
]


def _cursor(subtype: str, **more: Json) -> Json:
    call = {"readToolCall": {"args": {"path": "a.py"}, **more}}
    return {"type": "tool_call", "subtype": subtype, "call_id": "c1", "tool_call": call, "session_id": "s2"}


def _cursor_said(text: str) -> Json:
    return {
        "type": "assistant",
        "message": {"role": "assistant", "content": [{"type": "text", "text": text}]},
        "session_id": "s2",
    }


CURSOR_OUTPUT: list[Json] = [
    {"type": "system", "subtype": "init", "session_id": "s2", "model": "GPT-5"},
    {"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": "Fix it."}]}, "session_id": "s2"},
    _cursor_said("I read."),
    _cursor("started"),
    _cursor("completed", result={"error": {"errorMessage": "no such file"}}),
    _cursor_said("It is gone."),
    {"type": "result", "subtype": "success", "is_error": False, "duration_ms": 9, "session_id": "s2"},
]


def _item(event: str, number: int, kind: str, **more: Any) -> Json:
    return {"type": f"item.{event}", "item": {"id": f"item_{number}", "type": kind, **more}}


CODEX_OUTPUT: list[Json] = [
    {"type": "thread.started", "thread_id": "th1"},
    {"type": "turn.started"},
    _item("completed", 0, "reasoning", text="Hm."),
    _item("started", 1, "command_execution", command="ls", aggregated_output="", exit_code=None, status="in_progress"),
    _item("completed", 1, "command_execution", command="ls", aggregated_output="no", exit_code=2, status="failed"),
    _item(
        "completed",
        2,
        "mcp_tool_call",
        server="docs",
        tool="find",
        arguments={"q": 1},
        result={"content": []},
        status="completed",
    ),
    _item("completed", 3, "todo_list", items=[]),
    _item("completed", 4, "agent_message", text="It is gone."),
    {"type": "turn.completed", "usage": {"input_tokens": 900, "cached_input_tokens": 500, "output_tokens": 40}},
    {"type": "turn.started"},
    _item("completed", 5, "agent_message", text="Done."),
    {"type": "turn.completed", "usage": {"input_tokens": 1_300, "cached_input_tokens": 900, "output_tokens": 45}},
    {"type": "turn.started"},
    {"type": "turn.failed", "error": {"message": "stream disconnected"}},
]


def _gemini(second: int, kind: str, **more: Any) -> Json:
    return {"type": kind, "timestamp": f"2026-01-01T10:00:{second:02}Z", **more}


GEMINI_OUTPUT: list[Json] = [
    _gemini(0, "init", session_id="g9", model="gemini-2.5-pro"),
    _gemini(1, "message", role="user", content="Fix it."),
    _gemini(3, "tool_use", tool_name="shell", tool_id="c1", parameters={"command": "ls"}),
    _gemini(4, "tool_result", tool_id="c1", status="error", error={"type": "shell_error", "message": "no"}),
    _gemini(6, "message", role="assistant", content="It is ", delta=True),
    _gemini(7, "message", role="assistant", content="gone.", delta=True),
    _gemini(
        8,
        "result",
        status="success",
        stats={
            "total_tokens": 660,
            "models": {
                "gemini-2.5-pro": {
                    "total_tokens": 660,
                    "input_tokens": 600,
                    "output_tokens": 50,
                    "cached": 100,
                    "input": 500,
                }
            },
        },
    ),
]
_MS = 1_741_369_900_000


def _tokens(given: int, output: int, read: int) -> Json:
    return {"input": given, "output": output, "reasoning": 2, "cache": {"read": read, "write": 10}}


def _tool(call_id: str, begin: int, **state: Any) -> Json:
    found = {"input": {"command": call_id}, "time": {"start": _MS + begin, "end": _MS + begin + 500}, **state}
    return {"id": f"p-{call_id}", "type": "tool", "callID": call_id, "tool": "bash", "state": found}


OPENCODE: Json = {
    "info": {"id": "ses_1", "title": "T", "time": {"created": _MS}},
    "messages": [
        {
            "info": {"id": "msg_1", "sessionID": "ses_1", "role": "user", "time": {"created": _MS}},
            "parts": [{"type": "text", "text": "Fix it."}],
        },
        {
            "info": {
                "id": "msg_2",
                "sessionID": "ses_1",
                "role": "assistant",
                "modelID": "claude-sonnet-4-5",
                "providerID": "anthropic",
                "cost": 0.03,
                "tokens": _tokens(7, 20, 600),
                "time": {"created": _MS + 1_000, "completed": _MS + 9_000},
            },
            "parts": [
                {"type": "step-start"},
                {"type": "reasoning", "text": "Hm."},
                _tool("t1", 3_000, status="completed", output="no", metadata={"exit": 2}),
                {"type": "step-finish", "reason": "tool-calls", "cost": 0.01, "tokens": _tokens(5, 10, 500)},
                {"type": "step-start"},
                {"type": "text", "text": "It is gone."},
                _tool("t2", 6_000, status="error", error="not allowed"),
                _tool("t3", 7_000, status="running"),
                {"type": "step-finish", "reason": "stop", "cost": 0.02, "tokens": _tokens(7, 20, 600)},
            ],
        },
    ],
}


def _autogen(second: int, source: str, kind: str, content: Any, used: Json | None = None) -> Json:
    return {
        "source": source,
        "models_usage": used,
        "created_at": f"2026-01-01T10:00:{second:02}Z",
        "content": content,
        "type": kind,
    }


AUTOGEN: Json = {
    "messages": [
        _autogen(0, "user", "TextMessage", "Fix it."),
        _autogen(2, "coder", "ThoughtEvent", "Hm."),
        _autogen(
            2,
            "coder",
            "ToolCallRequestEvent",
            [{"id": "c1", "name": "run", "arguments": '{"x":1}'}],
            {"prompt_tokens": 60, "completion_tokens": 15},
        ),
        _autogen(
            3, "coder", "ToolCallExecutionEvent", [{"call_id": "c1", "name": "run", "content": "no", "is_error": True}]
        ),
        _autogen(3, "coder", "ToolCallSummaryMessage", "no"),
        _autogen(5, "critic", "TextMessage", "It is gone.", {"prompt_tokens": 80, "completion_tokens": 5}),
    ],
    "stop_reason": "Text 'gone' mentioned",
}
BLAMED: Json = {
    "is_correct": False,
    "question_ID": "q1",
    "history": [
        {"role": "assistant", "name": "Coder", "content": "Fix it."},
        {"role": "assistant", "name": "Coder", "content": "print(1/0)"},
        {"role": "user", "name": "Computer_terminal", "content": "exitcode: 1 (execution failed)\nCode output: no"},
        {"role": "user", "name": "Critic", "content": "It is gone."},
    ],
    "mistake_agent": "Coder",
    "mistake_step": "1",
    "mistake_reason": "It divides by zero.",
    "system_prompt": {"Coder": "Be brief.", "Critic": "Be kind."},
    "question": "Q",
    "ground_truth": "A",
    "level": "2",
    "labels": [{"name": "a", "value": 1}, {"name": "b", "value": 2}, {"name": "c", "value": 3}],
}
LANGCHAIN: Json = {
    "messages": [
        {"type": "human", "additional_kwargs": {}, "content": "Fix it."},
        {
            "type": "ai",
            "content": "",
            "additional_kwargs": {"tool_calls": [{"id": "c1", "function": {"name": "find", "arguments": '{"x":1}'}}]},
            "tool_calls": [{"name": "find", "args": {"x": 1}, "id": "c1", "type": "tool_call"}],
            "response_metadata": {"model_name": "gpt-4o-2024-08-06", "finish_reason": "tool_calls"},
            "usage_metadata": {
                "input_tokens": 80,
                "output_tokens": 17,
                "total_tokens": 97,
                "input_token_details": {"cache_read": 64},
            },
        },
        {
            "type": "tool",
            "content": "no",
            "name": "find",
            "tool_call_id": "c1",
            "status": "error",
            "additional_kwargs": {},
        },
        {"type": "ai", "content": "It is gone.", "additional_kwargs": {}, "response_metadata": {}},
    ]
}
RESPONSES: Json = {
    "request": {
        "model": "gpt-5",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": "Fix it."},
            {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "Hm."}]},
            {"type": "function_call", "call_id": "c1", "name": "find", "arguments": '{"x":1}'},
            {"type": "function_call_output", "call_id": "c1", "output": "no"},
        ],
    },
    "response": {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_741_369_900,
        "completed_at": 1_741_369_904,
        "status": "completed",
        "model": "gpt-5-2025-08-07",
        "output": [
            {"type": "reasoning", "id": "rs2", "summary": []},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It is gone."}]},
        ],
        "usage": {
            "input_tokens": 120,
            "input_tokens_details": {"cached_tokens": 100},
            "output_tokens": 30,
            "output_tokens_details": {"reasoning_tokens": 20},
            "total_tokens": 150,
        },
    },
}

OUTPUTS: dict[str, Any] = {
    "Claude Code output": CLAUDE_OUTPUT,
    "Claude Code output: Cursor": CURSOR_OUTPUT,
    "Codex output": CODEX_OUTPUT,
    "Gemini CLI output": GEMINI_OUTPUT,
    "opencode session": OPENCODE,
    "group chat of agents": AUTOGEN,
    "group chat of agents: blame": BLAMED,
    "list of chat messages: LangChain": LANGCHAIN,
    "list of chat messages: Responses": RESPONSES,
}
"""As `small_agent_logs_more.MORE`, which holds them too."""
