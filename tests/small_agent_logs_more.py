"""More smallest logs (see `small_agent_logs`): Codex, Gemini CLI, Inspect, ATIF, OpenHands, OpenClaw."""

from __future__ import annotations

import json
from typing import Any

from small_agent_outputs import OUTPUTS

Json = dict[str, Any]


def _rollout(at: int, kind: str, payload: Json) -> Json:
    return {"timestamp": f"2026-05-13T09:00:{at:02}Z", "type": kind, "payload": payload}


def _used(at: int, given: int, output: int) -> Json:
    """A count of everything so far."""
    counts = {
        "input_tokens": given,
        "cached_input_tokens": given // 2,
        "output_tokens": output,
        "reasoning_output_tokens": 1,
    }
    info = {
        "total_token_usage": {**counts, "total_tokens": given + output},
        "last_token_usage": {**counts, "input_tokens": given},
    }
    return _rollout(at, "event_msg", {"type": "token_count", "info": info})


def _spoken(role: str, text: str) -> Json:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


CODEX: list[Json] = [
    _rollout(0, "session_meta", {"id": "cx", "model_provider": "openai", "base_instructions": {"text": "Be brief."}}),
    _rollout(0, "turn_context", {"model": "gpt-5.2-codex"}),
    _rollout(1, "response_item", _spoken("user", "Fix it.")),
    _rollout(2, "response_item", {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}),
    _rollout(
        3, "response_item", {"type": "function_call", "name": "shell", "arguments": '{"cmd": "ls"}', "call_id": "c1"}
    ),
    _used(3, 100, 10),
    _used(3, 100, 10),
    _rollout(
        5, "response_item", {"type": "function_call_output", "call_id": "c1", "output": "Exit code: 2\nOutput:\nno"}
    ),
    _rollout(8, "response_item", _spoken("assistant", "It is gone.")),
    _used(8, 250, 15),
    _rollout(9, "compacted", {"message": "So far.", "replacement_history": None}),
    _rollout(20, "response_item", _spoken("user", "Go on.")),
    _rollout(22, "response_item", _spoken("assistant", "Done.")),
    _used(22, 300, 18),
]

GEMINI: Json = {
    "sessionId": "g1",
    "projectHash": "abc",
    "startTime": "2026-01-01T10:00:00Z",
    "lastUpdated": "2026-01-01T10:00:09Z",
    "messages": [
        {"id": "u1", "timestamp": "2026-01-01T10:00:01Z", "type": "user", "content": [{"text": "Read it."}]},
        {
            "id": "a1",
            "timestamp": "2026-01-01T10:00:04Z",
            "type": "gemini",
            "model": "gemini-2.5-pro",
            "content": "I read.",
            "thoughts": [{"subject": "Plan", "description": "Read."}],
            "tokens": {"input": 100, "output": 10, "cached": 40, "thoughts": 5, "tool": 2, "total": 117},
            "toolCalls": [
                {
                    "id": "t1",
                    "name": "read_file",
                    "args": {"path": "a"},
                    "status": "error",
                    "timestamp": "2026-01-01T10:00:05Z",
                    "result": [{"functionResponse": {"id": "t1", "response": {"error": "no such file"}}}],
                }
            ],
        },
        {"id": "i1", "timestamp": "2026-01-01T10:00:06Z", "type": "info", "content": "Note."},
        {"id": "a2", "timestamp": "2026-01-01T10:00:08Z", "type": "gemini", "content": "It is gone."},
    ],
}


def _span(kind: str | None, name: str, parent: str | None = None) -> Json:
    begin = {"event": "span_begin", "id": name, "name": name, "parent_id": parent, "timestamp": "2026-01-01T10:00:00Z"}
    return begin if kind is None else {**begin, "type": kind}


def _model(at: int, span: str, say: Json, usage: Json, **more: Any) -> Json:
    return {
        "event": "model",
        "uuid": f"m{at}",
        "span_id": span,
        "model": "anthropic/claude-opus-4-5",
        "timestamp": f"2026-01-01T10:00:{at:02}Z",
        "completed": f"2026-01-01T10:00:{at + 1:02}Z",
        "input": [{"role": "user", "content": "attachment://t"}],
        "tools": [{"name": "bash", "description": "d", "parameters": {"type": "object"}}],
        "output": {"model": "claude-opus-4-5", "usage": usage, "choices": [{"message": say, "stop_reason": "stop"}]},
        **more,
    }


_CACHED = {
    "input_tokens": 3,
    "output_tokens": 5,
    "input_tokens_cache_read": 90,
    "input_tokens_cache_write": 7,
    "total_tokens": 105,
}
_PLAIN = {"input_tokens": 20, "output_tokens": 4, "total_tokens": 24}
_ASK = {
    "role": "assistant",
    "content": "Look.",
    "tool_calls": [{"id": "c1", "function": "bash", "arguments": {"cmd": "ls"}}],
}

INSPECT: Json = {
    "version": 2,
    "status": "success",
    "eval": {"task": "ctf", "model": "anthropic/claude-opus-4-5"},
    "samples": [
        {
            "id": 7,
            "epoch": 1,
            "uuid": "s7",
            "input": "Find it.",
            "target": "x",
            "messages": [],
            "scores": {"includes": {"value": "C"}},
            "model_usage": {
                "anthropic/claude-opus-4-5": {**_CACHED, "input_tokens": 23, "output_tokens": 9, "total_tokens": 129}
            },
            "attachments": {"t": "Find it."},
            "events": [
                _span("agent", "solver"),
                _model(1, "solver", _ASK, _CACHED),
                {
                    "event": "tool",
                    "uuid": "t1",
                    "span_id": "solver",
                    "id": "c1",
                    "function": "bash",
                    "arguments": {"cmd": "ls"},
                    "result": "no",
                    "error": {"type": "timeout", "message": "took too long"},
                    "timestamp": "2026-01-01T10:00:03Z",
                    "completed": "2026-01-01T10:00:05Z",
                },
                _span("scorers", "scorers"),
                _model(6, "scorers", {"role": "assistant", "content": "C"}, _PLAIN),
            ],
        }
    ],
}

ATIF: Json = {
    "schema_version": "ATIF-v1.7",
    "session_id": "at",
    "agent": {"name": "terminus-2", "version": "2", "model_name": "gpt-4o", "tool_definitions": [{"type": "function"}]},
    "steps": [
        {"step_id": 1, "source": "user", "message": "Make it.", "timestamp": "2026-01-01T10:00:00Z"},
        {
            "step_id": 2,
            "source": "agent",
            "message": "Old.",
            "is_copied_context": True,
            "metrics": {"prompt_tokens": 999},
        },
        {
            "step_id": 3,
            "source": "agent",
            "message": "I make.",
            "reasoning_content": "Hm.",
            "timestamp": "2026-01-01T10:00:04Z",
            "tool_calls": [{"tool_call_id": "c1", "function_name": "bash", "arguments": {"cmd": "ls"}}],
            "observation": {"results": [{"source_call_id": "c1", "content": "a.py"}]},
            "metrics": {"prompt_tokens": 100, "completion_tokens": 10, "cached_tokens": 60, "cost_usd": 0.25},
        },
        {
            "step_id": 4,
            "source": "system",
            "message": "Compacted.",
            "extra": {"context_management": {"type": "compaction"}},
        },
    ],
    "final_metrics": {"total_prompt_tokens": 100, "total_completion_tokens": 10, "total_cost_usd": 0.25},
    "subagent_trajectories": [
        {
            "agent": {"name": "helper"},
            "steps": [
                {
                    "step_id": 1,
                    "source": "agent",
                    "message": "Helped.",
                    "metrics": {"prompt_tokens": 5, "completion_tokens": 1},
                }
            ],
        }
    ],
}

_RESPONSE = {
    "id": "r1",
    "model": "gpt-5",
    "usage": {"prompt_tokens": 50, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 20}},
    "choices": [
        {
            "finish_reason": "tool_calls",
            "message": {
                "content": "Look.",
                "tool_calls": [
                    {"id": n, "function": {"name": "bash", "arguments": '{"cmd": "ls"}'}} for n in ("c1", "c2")
                ],
            },
        }
    ],
}


def _act(n: int, call: str) -> Json:
    meta = {"function_name": "bash", "tool_call_id": call, "model_response": _RESPONSE}
    stamp = f"2026-01-23T16:27:{n:02}"
    return {
        "id": n,
        "timestamp": stamp,
        "source": "agent",
        "action": "run",
        "tool_call_metadata": meta,
        "args": {"command": "ls"},
    }


def _observed(n: int, cause: int, code: int) -> Json:
    seen = {"id": n, "timestamp": f"2026-01-23T16:27:{n:02}", "source": "agent", "cause": cause, "observation": "run"}
    return {**seen, "content": "out", "extras": {"metadata": {"exit_code": code}}}


OPENHANDS: Json = {
    "instance_id": "repo-1",
    "metadata": {"agent_class": "CodeActAgent", "llm_config": {"model": "openai/gpt-5"}},
    "history": [
        {
            "id": 0,
            "timestamp": "2026-01-23T16:27:01",
            "source": "user",
            "action": "message",
            "args": {"content": "Fix it."},
        },
        _act(10, "c1"),
        _act(11, "c2"),
        _observed(12, 10, 0),
        _observed(13, 11, 1),
    ],
    "metrics": {
        "accumulated_cost": 0.75,
        "costs": [{"model": "openai/gpt-5", "cost": 0.5}, {"model": "openai/gpt-5", "cost": 0.25}],
        "response_latencies": [{"latency": 4.0, "response_id": "r1"}, {"latency": 1.0, "response_id": "condenser"}],
    },
    "test_result": {"report": {"resolved": True}},
    "error": None,
}


def _event(n: int, kind: str, source: str, **more: Any) -> Json:
    return {"id": f"e{n}", "timestamp": f"2026-06-16T05:39:{n:02}", "source": source, "kind": kind, **more}


def _stats(n: int, given: int, output: int, cost: float) -> Json:
    counts = {"prompt_tokens": given, "completion_tokens": output, "cache_read_tokens": given // 2}
    metrics = {"model_name": "m", "accumulated_cost": cost, "accumulated_token_usage": counts}
    return _event(
        n, "ConversationStateUpdateEvent", "environment", key="stats", value={"usage_to_metrics": {"default": metrics}}
    )


EVENTS: list[Json] = [
    _event(1, "SystemPromptEvent", "agent", system_prompt={"text": "Be brief."}, tools=[{"title": "bash"}]),
    _event(2, "MessageEvent", "user", llm_message={"role": "user", "content": [{"type": "text", "text": "Fix it."}]}),
    _stats(4, 100, 10, 0.5),
    _event(
        5,
        "ActionEvent",
        "agent",
        thought=[{"type": "text", "text": "Look."}],
        tool_call_id="c1",
        tool_call={"name": "bash", "arguments": '{"cmd": "ls"}'},
        llm_response_id="r1",
    ),
    _event(
        8,
        "ObservationEvent",
        "environment",
        tool_call_id="c1",
        observation={"content": [{"text": "no"}], "exit_code": 1},
    ),
    _stats(9, 300, 15, 0.75),
    _stats(12, 450, 20, 1.0),
    _event(
        13, "MessageEvent", "agent", llm_message={"role": "assistant", "content": [{"type": "text", "text": "Gone."}]}
    ),
]

_CALL = {"type": "toolCall", "id": "t1", "name": "exec", "arguments": {"cmd": "ls"}}
_USAGE = {"input": 5, "output": 7, "cacheRead": 100, "cacheWrite": 10, "cost": {"total": 0.25}}
_SAID: list[Json] = [
    {"role": "user", "content": "Look.", "timestamp": 1772831320000},
    {"role": "assistant", "content": [_CALL], "timestamp": 1772831321000, "usage": _USAGE, "stopReason": "toolUse"},
    {
        "role": "toolResult",
        "toolCallId": "t1",
        "toolName": "exec",
        "content": [{"type": "text", "text": "a"}],
        "timestamp": 1772831323000,
    },
]
_MAIN, _BELOW = "agent:main:main", "agent:main:subagent:9"
OPENCLAW: list[Json] = [
    {"type": "message.in", "channel": "chat", "content": "Look.", "contentLength": 5, "ts": 1772831319000},
    {"type": "tool.start", "toolName": "exec", "params": {"cmd": "ls"}, "sessionKey": _MAIN, "ts": 1772831321500},
    {
        "type": "tool.end",
        "toolName": "exec",
        "durationMs": 500,
        "success": True,
        "sessionKey": _MAIN,
        "ts": 1772831322000,
    },
    {"type": "agent.start", "sessionKey": _MAIN, "prompt": "More.", "messages": _SAID},
    {"type": "agent.end", "sessionKey": _MAIN, "messages": _SAID, "success": True},
    {"type": "agent.start", "sessionKey": _BELOW, "prompt": "Help."},
    {"type": "tool.start", "toolName": "read", "params": {"path": "b"}, "sessionKey": _BELOW, "ts": 1772831330000},
    {
        "type": "tool.end",
        "toolName": "read",
        "durationMs": 2000,
        "success": False,
        "sessionKey": _BELOW,
        "ts": 1772831332000,
    },
]

MORE: dict[str, Any] = {
    "Codex session": CODEX,
    "Gemini CLI session": GEMINI,
    "Inspect log": INSPECT,
    "Inspect log: sample": {**INSPECT["samples"][0], "uuid": "s8"},
    "ATIF trajectory": ATIF,
    "OpenHands log": OPENHANDS,
    "OpenHands log: events": EVENTS,
    "OpenClaw telemetry": OPENCLAW,
    **OUTPUTS,
}
"""By the name of the format, and what of it this is where there are several; lists are one record a line."""


def more_as_text(name: str) -> str:
    value = MORE[name]
    return "".join(json.dumps(v) + "\n" for v in value) if isinstance(value, list) else json.dumps(value)
