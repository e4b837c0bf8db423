"""The smallest log of each format that holds everything a reader looks at."""

from __future__ import annotations

import json
from typing import Any

TAU2: dict[str, Any] = {
    "info": {
        "user_info": {"implementation": "user_simulator", "llm": "gpt-4.1"},
        "agent_info": {"implementation": "llm_agent", "llm": "gpt-4.1"},
        "environment_info": {"domain_name": "retail", "policy": "Be kind.", "tool_defs": None},
        "num_trials": 1,
    },
    "tasks": [],
    "simulations": [
        {
            "id": "s1",
            "task_id": "7",
            "start_time": "2025-08-01T16:00:00",
            "end_time": "2025-08-01T16:00:09",
            "termination_reason": "user_stop",
            "agent_cost": 0.03,
            "user_cost": 0.01,
            "reward_info": {"reward": 1.0},
            "messages": [
                {
                    "role": "assistant",
                    "content": "Hi!",
                    "timestamp": "2025-08-01T16:00:00.5",
                    "usage": None,
                    "cost": 0.0,
                },
                {
                    "role": "user",
                    "content": "My order?",
                    "timestamp": "2025-08-01T16:00:02",
                    "cost": 0.01,
                    "usage": {"prompt_tokens": 10, "completion_tokens": 3},
                    "raw_data": {"finish_reason": "stop"},
                },
                {
                    "role": "assistant",
                    "content": None,
                    "timestamp": "2025-08-01T16:00:04",
                    "cost": 0.03,
                    "usage": {"prompt_tokens": 20, "completion_tokens": 5},
                    "tool_calls": [{"id": "c1", "name": "get_order", "arguments": {"id": 1}, "requestor": "assistant"}],
                    "raw_data": {"finish_reason": "tool_calls"},
                },
                {
                    "role": "tool",
                    "id": "c1",
                    "content": "Error: no such order",
                    "requestor": "assistant",
                    "error": True,
                    "timestamp": "2025-08-01T16:00:05",
                },
            ],
        }
    ],
}

MINI: dict[str, Any] = {
    "info": {
        "exit_status": "LimitsExceeded",
        "model_stats": {"instance_cost": 0.02, "api_calls": 2},
        "mini_version": "1.15.0",
        "config": {"model": {"model_name": "google/gemini-3-pro-preview"}},
    },
    "instance_id": "django-1",
    "trajectory_format": "mini-swe-agent-1",
    "messages": [
        {"role": "system", "content": "You can use a shell."},
        {"role": "user", "content": "Fix it."},
        {
            "role": "assistant",
            "content": "Look.\n\n```bash\nls\n```",
            "extra": {
                "response": {
                    "id": "gen-1",
                    "model": "google/gemini-3-pro-preview",
                    "created": 1763511239,
                    "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "reasoning": "Hm."}}],
                    "usage": {
                        "prompt_tokens": 100,
                        "completion_tokens": 20,
                        "cost": 0.02,
                        "prompt_tokens_details": {"cached_tokens": 60},
                        "completion_tokens_details": {"reasoning_tokens": 8},
                    },
                }
            },
        },
        {"role": "user", "content": "<returncode>2</returncode>\n<output>\nno\n</output>"},
        {"role": "assistant", "content": "No command here."},
        {"role": "user", "content": "Please give one command."},
    ],
}

SWE: dict[str, Any] = {
    "environment": "main",
    "trajectory": [
        {
            "action": "ls\n",
            "observation": "a.py",
            "response": "I look.\n```\nls\n```",
            "thought": "I look.",
            "execution_time": 0.5,
        },
        {
            "action": "oops",
            "observation": "refused",
            "response": "Refused answer",
            "thought": "x",
            "execution_time": 0.1,
        },
        {"action": "submit", "observation": "diff", "response": "Done.", "thought": "Done.", "execution_time": 0.1},
    ],
    "history": [
        {"role": "system", "content": "You are.", "agent": "main"},
        {"role": "user", "content": "A demonstration", "agent": "main", "is_demo": True},
        {"role": "user", "content": "Fix it.", "agent": "main"},
        {
            "role": "assistant",
            "content": "I look.\n```\nls\n```",
            "thought": "I look.",
            "action": "ls\n",
            "agent": "main",
        },
        {"role": "user", "content": "a.py\nbash-$", "agent": "main"},
        {
            "role": "assistant",
            "content": "Done.",
            "action": "submit",
            "agent": "main",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "submit", "arguments": "{}"}}],
        },
    ],
    "info": {
        "exit_status": "submitted",
        "submission": "diff",
        "model_stats": {"instance_cost": 0.5, "tokens_sent": 900, "tokens_received": 30, "api_calls": 3},
    },
}


def _answer(at: int, blocks: list[dict[str, Any]], stop: str, **more: Any) -> dict[str, Any]:
    usage = {"input": 5, "output": 7, "cacheRead": 100, "cacheWrite": 10, "cost": {"total": 0.25}}
    message = {
        "role": "assistant",
        "content": blocks,
        "provider": "anthropic",
        "model": "claude-opus-4-5",
        "usage": usage,
    }
    stamp = {"type": "message", "timestamp": f"2025-12-08T22:41:{at:02}.500Z"}
    return {**stamp, "message": {**message, "stopReason": stop, "timestamp": 1765233660000 + at * 1000, **more}}


def _user(at: int, text: str) -> dict[str, Any]:
    message = {"role": "user", "content": [{"type": "text", "text": text}]}
    return {"type": "message", "timestamp": f"2025-12-08T22:41:{at:02}.000Z", "message": message}


_CUT = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "cost": {"total": 0}}
PI: list[dict[str, Any]] = [
    {"type": "session", "id": "p1", "timestamp": "2025-12-08T22:41:00Z", "cwd": "/x", "provider": "anthropic"},
    _user(1, "Read it."),
    _answer(2, [{"type": "toolCall", "id": "t1", "name": "read", "arguments": {"path": "a"}}], "toolUse"),
    {
        "type": "message",
        "timestamp": "2025-12-08T22:41:03.000Z",
        "message": {
            "role": "toolResult",
            "toolCallId": "t1",
            "toolName": "read",
            "content": [{"type": "text", "text": "gone"}],
            "isError": True,
        },
    },
    _user(4, "Go on."),
    {
        "type": "compaction",
        "timestamp": "2025-12-08T22:41:05Z",
        "summary": "So far.",
        "firstKeptEntryIndex": 4,
        "tokensBefore": 9,
    },
    _answer(6, [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Done."}], "stop"),
    _answer(8, [], "aborted", errorMessage="Request was aborted.", usage=_CUT),
]

_ANTHROPIC = {"input_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 10}


def _said(n: int, parent: int | None, role: str, message: dict[str, Any], **more: Any) -> dict[str, Any]:
    ancestry = {"uuid": f"u{n}", "parentUuid": None if parent is None else f"u{parent}", "isSidechain": False}
    return {
        **ancestry,
        "sessionId": "cc",
        "type": role,
        "timestamp": f"2026-01-31T10:00:{n:02}Z",
        "message": message,
        **more,
    }


def _block(n: int, parent: int, message_id: str, block: dict[str, Any], output: int, **more: Any) -> dict[str, Any]:
    usage = {**_ANTHROPIC, "output_tokens": output}
    message = {"id": message_id, "role": "assistant", "model": "claude-opus-4-5", "content": [block], "usage": usage}
    stop = "tool_use" if output > 1 else None
    return _said(n, parent, "assistant", {**message, "stop_reason": stop}, requestId=f"req_{message_id}", **more)


def _result(n: int, parent: int, call: str, text: str, **more: Any) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": call, "content": text, **more.pop("flags", {})}
    return _said(n, parent, "user", {"role": "user", "content": [block]}, **more)


def _use(call: str, name: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": call, "name": name, "input": {"x": 1}}


CLAUDE: list[dict[str, Any]] = [
    {"type": "summary", "summary": "A session", "leafUuid": "u9"},
    _said(1, None, "user", {"role": "user", "content": "Explore."}),
    _block(2, 1, "m1", {"type": "text", "text": "I will."}, 1),
    _block(3, 2, "m1", _use("t1", "Task"), 1),
    _result(4, 3, "t1", "found", flags={"is_error": True}),
    # The last line of the answer comes after the result of its first call, and has the usage that counts.
    _block(5, 3, "m1", _use("t2", "Read"), 40),
    _result(6, 5, "t2", "text"),
    _said(7, None, "user", {"role": "user", "content": "You explore."}, isSidechain=True),
    _block(8, 7, "m2", {"type": "text", "text": "There."}, 9, isSidechain=True),
    {**_said(9, 6, "system", {}), "subtype": "compact_boundary", "compactMetadata": {"preTokens": 50}},
    _said(10, 9, "user", {"role": "user", "content": "Summary."}, isCompactSummary=True),
    _block(11, 10, "m3", {"type": "text", "text": "Done."}, 5),
]

ANTHROPIC: dict[str, Any] = {
    "model": "claude-opus-4-5",
    "max_tokens": 100,
    "system": "Be brief.",
    "tools": [{"name": "get", "description": "d", "input_schema": {"type": "object"}}],
    "messages": [
        {"role": "user", "content": "Get it."},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "get", "input": {"n": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": True}]},
        {"role": "assistant", "content": [{"type": "text", "text": "It is not there."}]},
    ],
}

OPENAI: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Get it."},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "get", "arguments": '{"n": 1}'}}],
    },
    {"role": "tool", "tool_call_id": "t1", "content": "no"},
    {"role": "assistant", "content": "It is not there."},
]


def lines(records: list[dict[str, Any]]) -> str:
    """JSON Lines."""
    return "".join(json.dumps(r) + "\n" for r in records)


SMALL: dict[str, str] = {
    "tau2-bench results": json.dumps(TAU2),
    "mini-swe-agent trajectory": json.dumps(MINI),
    "SWE-agent trajectory": json.dumps(SWE),
    "pi session": lines(PI),
    "Claude Code session": lines(CLAUDE),
    "list of chat messages": json.dumps(ANTHROPIC),
}
"""By the name of the format."""
