"""The smallest export of each product that holds everything its reader looks at: a run of an agent with two model calls and a failing tool.

All but Zipkin's say the same: 220 + 300 tokens in (100 and 200 of them from the cache), 20 + 5 out.
"""

from __future__ import annotations

import json
from typing import Any

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is it raining in Ulm?"}]
_CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
_TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
_CALLS = {"role": "assistant", "content": "", "tool_calls": [_CALL]}
_ANSWERED = {"role": "tool", "tool_call_id": "c1", "content": "no such city"}
_SAYS = {"role": "assistant", "content": "I do not know."}
_REQUESTS: tuple[dict[str, Any], ...] = (
    {"messages": _ASKED, "tools": _TOOLS},
    {"messages": [*_ASKED, _CALLS, _ANSWERED], "tools": _TOOLS},
)
_RESPONSES: tuple[dict[str, Any], ...] = tuple(
    {"id": f"chatcmpl-{n}", "model": "gpt-4o-2024-08-06", "choices": [{"finish_reason": why, "message": message}]}
    for n, (why, message) in enumerate((("tool_calls", _CALLS), ("stop", _SAYS)))
)


def _langsmith(number: int, kind: str, seconds: tuple[int, int], **more: Any) -> dict[str, Any]:
    name = f"00000000-0000-0000-0000-00000000000{number}"
    start, end = (f"2025-03-19T16:39:{s:02}.000000" for s in seconds)
    run: dict[str, Any] = {
        "id": name,
        "run_type": kind,
        "start_time": start,
        "end_time": end,
        "error": None,
        "status": "success",
        "extra": {},
    }
    return {**run, "child_runs": [], "dotted_order": f"20250319T1639{seconds[0]:02}000000Z{name}", **more}


def _langsmith_model(number: int, seconds: tuple[int, int], usage: tuple[int, int, int]) -> dict[str, Any]:
    turn, (sent, cached, out) = number // 3, usage
    metadata = {"ls_provider": "openai", "ls_model_name": "gpt-4o", "thread_id": "t1", "user_id": "u1"}
    return _langsmith(
        number, "llm", seconds, name="ChatOpenAI", inputs=_REQUESTS[turn], outputs=_RESPONSES[turn], extra={"metadata": metadata},
        prompt_tokens=sent, completion_tokens=out, total_tokens=sent + out, prompt_token_details={"cache_read": cached},
        total_cost="0.001", first_token_time=f"2025-03-19T16:39:{seconds[0]:02}.500000",
    )  # fmt: skip


LANGSMITH: dict[str, Any] = _langsmith(
    1, "chain", (50, 59), name="LangGraph", inputs={"messages": _ASKED}, outputs={"messages": [_SAYS]}, total_cost="0.002",
    prompt_tokens=520, completion_tokens=25, total_tokens=545, trace_id="00000000-0000-0000-0000-000000000001",
    child_runs=[
        _langsmith_model(2, (51, 53), (220, 100, 20)),
        _langsmith(
            3, "tool", (53, 54), name="weather", inputs={"city": "Ulm"}, error="ValueError('no such city')", status="error",
            outputs={"output": {"content": "no such city", "type": "tool", "tool_call_id": "c1", "name": "weather", "status": "error"}},
        ),
        _langsmith_model(4, (55, 58), (300, 200, 5)),
    ],
)  # fmt: skip


def _mlflow(number: int, kind: str, seconds: tuple[int, int], given: Any, output: Any, **more: Any) -> dict[str, Any]:
    said = {"mlflow.spanType": kind, "mlflow.spanInputs": given, "mlflow.spanOutputs": output, **more}
    return {
        "name": {"CHAT_MODEL": "Completions", "TOOL": "weather"}.get(kind, "predict"),
        "context": {"span_id": f"0x{number:016x}", "trace_id": f"0x{TRACE}"},
        "parent_id": None if number == 1 else f"0x{1:016x}",
        "start_time": 1_742_402_390_000_000_000 + seconds[0] * 10**9,
        "end_time": 1_742_402_390_000_000_000 + seconds[1] * 10**9,
        "status_code": "ERROR" if kind == "TOOL" else "OK",
        "status_message": "no such city" if kind == "TOOL" else "",
        "attributes": {name: json.dumps(value) for name, value in said.items()},
        "events": [
            {"name": "exception", "timestamp": 1_742_402_394_000_000, "attributes": {"exception.type": "ValueError"}}
        ]
        if kind == "TOOL"
        else [],
    }


def _mlflow_usage(sent: int, cached: int, out: int) -> dict[str, Any]:
    usage = {"input_tokens": sent, "output_tokens": out, "total_tokens": sent + out, "cache_read_input_tokens": cached}
    return {"mlflow.chat.tokenUsage": usage, "mlflow.llm.provider": "openai", "mlflow.llm.model": "gpt-4o"}


MLFLOW: dict[str, Any] = {
    "info": {
        "request_id": "tr-1",
        "request_metadata": {
            "mlflow.trace.session": "t1",
            "mlflow.trace.user": "u1",
            "mlflow.trace.tokenUsage": '{"input_tokens": 520}',
        },
    },
    "data": {
        "spans": [
            _mlflow(1, "AGENT", (0, 9), {"question": "?"}, "I do not know."),
            _mlflow(2, "CHAT_MODEL", (1, 3), _REQUESTS[0], _RESPONSES[0], **_mlflow_usage(220, 100, 20)),
            _mlflow(3, "TOOL", (3, 4), {"city": "Ulm"}, "no such city"),
            _mlflow(4, "CHAT_MODEL", (5, 8), _REQUESTS[1], _RESPONSES[1], **_mlflow_usage(300, 200, 5)),
        ]
    },
}


def mlflow_3() -> dict[str, Any]:
    """The same trace in version 3 of MLflow's form."""
    spans = [
        {
            "trace_id": "S/kvNXezTaajzpKdDg5HNg==",
            "span_id": span["context"]["span_id"],
            "parent_span_id": span["parent_id"],
            "name": span["name"],
            "start_time_unix_nano": span["start_time"],
            "end_time_unix_nano": span["end_time"],
            "status": {"code": f"STATUS_CODE_{span['status_code']}", "message": span["status_message"]},
            "attributes": span["attributes"],
            "events": [{**e, "time_unix_nano": e["timestamp"] * 1_000, "timestamp": None} for e in span["events"]],
        }
        for span in MLFLOW["data"]["spans"]
    ]
    info = {"trace_id": "tr-1", "trace_metadata": MLFLOW["info"]["request_metadata"]}
    return {"info": info, "data": {"spans": spans}}


def _braintrust(number: int, kind: str, name: str, seconds: tuple[int, int], **more: Any) -> dict[str, Any]:
    metrics = {"start": 1_742_402_390.5 + seconds[0], "end": 1_742_402_390.5 + seconds[1], **more.pop("metrics", {})}
    return {
        "id": f"row{number}", "span_id": f"s{number}", "root_span_id": "s1", "span_parents": None if number == 1 else ["s1"],
        "created": "2025-03-19T16:39:50.500Z", "span_attributes": {"name": name, "type": kind}, "metrics": metrics,
        "metadata": {"session_id": "t1", "user_id": "u1"}, "error": None, **more,
    }  # fmt: skip


def _braintrust_model(number: int, seconds: tuple[int, int], usage: tuple[int, int, int]) -> dict[str, Any]:
    turn, (sent, cached, out) = number // 3, usage
    metrics = {
        "prompt_tokens": sent, "completion_tokens": out, "tokens": sent + out, "prompt_cached_tokens": cached, "time_to_first_token": 0.5,
    }  # fmt: skip
    metadata = {"model": "gpt-4o", "provider": "openai", "tools": _TOOLS, "session_id": "t1", "user_id": "u1"}
    given, output = _REQUESTS[turn]["messages"], _RESPONSES[turn]["choices"]
    return _braintrust(
        number, "llm", "Chat Completion", seconds, input=given, output=output, metrics=metrics, metadata=metadata
    )


BRAINTRUST: list[dict[str, Any]] = [
    _braintrust(1, "task", "weather agent", (0, 9), input="?", output="I do not know."),
    _braintrust_model(2, (1, 3), (220, 100, 20)),
    _braintrust(3, "tool", "weather", (3, 4), input={"city": "Ulm"}, output="no such city", error="no such city"),
    _braintrust_model(4, (5, 8), (300, 200, 5)),
]


def _weave(number: int, op: str, seconds: tuple[int, int], **more: Any) -> dict[str, Any]:
    start, end = (f"2025-03-19T16:39:{50 + s:02}.000000Z" for s in seconds)
    return {
        "id": f"call-{number}", "project_id": "a/b", "op_name": f"weave:///a/b/op/{op}:v1abc", "trace_id": "trace-1",
        "parent_id": None if number == 1 else "call-1", "thread_id": "t1", "wb_user_id": "u1", "started_at": start, "ended_at": end,
        "exception": None, "attributes": {}, "summary": {}, **more,
    }  # fmt: skip


def _weave_usage(sent: int, cached: int, out: int, requests: int = 1) -> dict[str, Any]:
    usage = {"requests": requests, "prompt_tokens": sent, "completion_tokens": out, "total_tokens": sent + out}
    return {
        "usage": {"gpt-4o-2024-08-06": {**usage, "prompt_tokens_details": {"cached_tokens": cached}}},
        "weave": {"status": "success"},
    }


WEAVE: list[dict[str, Any]] = [
    _weave(1, "run_agent", (0, 9), inputs={"q": "?"}, output="I do not know.", summary=_weave_usage(520, 300, 25, 2)),
    _weave(
        2, "openai.chat.completions.create", (1, 3), inputs=_REQUESTS[0], output=_RESPONSES[0], summary=_weave_usage(220, 100, 20)
    ),
    _weave(
        3, "weather", (3, 4), inputs={"city": "Ulm"}, output="no such city", exception="ValueError: no such city",
        attributes={"weave": {"kind": "tool"}},
    ),
    _weave(
        4, "openai.chat.completions.create", (5, 8), inputs=_REQUESTS[1], output=_RESPONSES[1], summary=_weave_usage(300, 200, 5)
    ),
]  # fmt: skip


def _agents(number: int, data: dict[str, Any], seconds: tuple[int, int], error: Any = None) -> dict[str, Any]:
    start, end = (f"2025-03-19T16:39:{50 + s:02}.000000+00:00" for s in seconds)
    return {
        "object": "trace.span", "id": f"span_{number}", "trace_id": "trace_1", "parent_id": None if number == 1 else "span_1",
        "started_at": start, "ended_at": end, "span_data": data, "error": error,
    }  # fmt: skip


def _agents_model(turn: int, sent: int, cached: int, out: int) -> dict[str, Any]:
    usage = {"input_tokens": sent, "output_tokens": out, "input_tokens_details": {"cached_tokens": cached}}
    given, output = _REQUESTS[turn]["messages"], [_RESPONSES[turn]["choices"][0]["message"]]
    return {"type": "generation", "model": "gpt-4o", "input": given, "output": output, "usage": usage}


OPENAI_TRACES: list[dict[str, Any]] = [
    {"object": "trace", "id": "trace_1", "workflow_name": "Weather", "group_id": "t1", "metadata": None},
    _agents(2, _agents_model(0, 220, 100, 20), (1, 3)),
    _agents(
        3,
        {"type": "function", "name": "weather", "input": '{"city": "Ulm"}', "output": "no such city", "mcp_data": None},
        (3, 4),
        {"message": "Error running tool", "data": {"error": "no such city"}},
    ),
    _agents(4, _agents_model(1, 300, 200, 5), (5, 8)),
    _agents(
        5, {"type": "custom", "name": "turn", "data": {"usage": {"input_tokens": 520, "output_tokens": 25}}}, (1, 9)
    ),
    _agents(
        1,
        {"type": "agent", "name": "weather agent", "handoffs": [], "tools": ["weather"], "output_type": "str"},
        (0, 9),
    ),
]


def _zipkin(number: int, name: str, seconds: tuple[int, int], **tags: str) -> dict[str, Any]:
    return {
        "traceId": TRACE, "id": f"{number:016x}", "parentId": f"{1:016x}" if number > 1 else None, "name": name, "kind": "CLIENT",
        "timestamp": 1_742_402_390_000_000 + seconds[0] * 10**6, "duration": (seconds[1] - seconds[0]) * 10**6,
        "localEndpoint": {"serviceName": "bot"}, "annotations": [{"timestamp": 1_742_402_391_000_000, "value": "sent"}],
        "tags": {tag.replace("__", "."): value for tag, value in tags.items()},
    }  # fmt: skip


ZIPKIN: list[dict[str, Any]] = [
    _zipkin(1, "invoke_agent bot", (0, 9), gen_ai__operation__name="invoke_agent", gen_ai__agent__name="bot"),
    _zipkin(
        2, "chat gpt-4o", (1, 3), gen_ai__operation__name="chat", gen_ai__request__model="gpt-4o", gen_ai__usage__input_tokens="220",
        gen_ai__usage__output_tokens="20", gen_ai__response__finish_reasons='["tool_calls"]', otel__scope__name="pydantic-ai",
    ),
    _zipkin(3, "execute_tool weather", (3, 4), gen_ai__operation__name="execute_tool", gen_ai__tool__name="weather", error="no such city"),
]  # fmt: skip


def _datadog(number: int, kind: str, name: str, seconds: tuple[int, int], **more: Any) -> dict[str, Any]:
    meta = {"span": {"kind": kind}, **more.pop("meta", {})}
    return {
        "trace_id": TRACE, "span_id": f"{number}", "parent_id": "undefined" if number == 1 else "1", "name": name, "session_id": "t1",
        "start_ns": 1_742_402_390_000_000_000 + seconds[0] * 10**9, "duration": (seconds[1] - seconds[0]) * 10**9,
        "status": "ok", "ml_app": "bot", "meta": meta, "metrics": {}, **more,
    }  # fmt: skip


def _datadog_model(number: int, seconds: tuple[int, int], usage: tuple[int, int, int]) -> dict[str, Any]:
    turn, (sent, cached, out) = number // 3, usage
    metrics = {
        "input_tokens": sent,
        "output_tokens": out,
        "total_tokens": sent + out,
        "cache_read_input_tokens": cached,
    }
    meta = {
        "model_name": "gpt-4o", "model_provider": "openai", "tool_definitions": _TOOLS,
        "input": {"messages": _REQUESTS[turn]["messages"]}, "output": {"messages": [_RESPONSES[turn]["choices"][0]["message"]]},
    }  # fmt: skip
    return _datadog(
        number,
        "llm",
        "OpenAI.createChatCompletion",
        seconds,
        meta=meta,
        metrics={**metrics, "estimated_total_cost": 10**6},
    )


DATADOG: list[dict[str, Any]] = [
    _datadog(1, "agent", "weather agent", (0, 9), meta={"input": {"value": "?"}, "output": {"value": "I do not know."}}),
    _datadog_model(2, (1, 3), (220, 100, 20)),
    _datadog(
        3, "tool", "weather", (3, 4), status="error",
        meta={
            "input": {"value": '{"city": "Ulm"}'}, "output": {"value": "no such city"},
            "error": {"type": "ValueError", "message": "no such city"},
        },
    ),
    _datadog_model(4, (5, 8), (300, 200, 5)),
]  # fmt: skip


def _insights(number: int, name: str, seconds: tuple[int, int], *, success: bool = True, **said: str) -> dict[str, Any]:
    return {
        "timestamp": f"2025-03-19T16:39:{50 + seconds[0]:02}.000Z", "id": f"{number:016x}", "operation_Id": TRACE,
        "operation_ParentId": TRACE if number == 1 else f"{1:016x}", "name": name, "duration": (seconds[1] - seconds[0]) * 1_000.0,
        "success": success, "resultCode": "0", "customDimensions": json.dumps({k.replace("__", "."): v for k, v in said.items()}),
    }  # fmt: skip


def _insights_model(number: int, seconds: tuple[int, int], usage: tuple[int, int, int]) -> dict[str, Any]:
    turn, (sent, cached, out) = number // 3, usage
    return _insights(
        number, "chat gpt-4o", seconds, gen_ai__operation__name="chat", gen_ai__request__model="gpt-4o",
        gen_ai__response__model="gpt-4o-2024-08-06", gen_ai__usage__input_tokens=str(sent), gen_ai__usage__output_tokens=str(out),
        gen_ai__usage__cache_read__input_tokens=str(cached), gen_ai__conversation__id="t1", user__id="u1",
        gen_ai__response__finish_reasons=json.dumps([_RESPONSES[turn]["choices"][0]["finish_reason"]]),
        gen_ai__input__messages=json.dumps(_REQUESTS[turn]["messages"]),
        gen_ai__output__messages=json.dumps([_RESPONSES[turn]["choices"][0]["message"]]),
    )  # fmt: skip


APP_INSIGHTS: list[dict[str, Any]] = [
    _insights(1, "invoke_agent", (0, 9), gen_ai__operation__name="invoke_agent", gen_ai__agent__name="weather agent"),
    _insights_model(2, (1, 3), (220, 100, 20)),
    _insights(
        3, "execute_tool weather", (3, 4), success=False, gen_ai__operation__name="execute_tool", gen_ai__tool__name="weather",
        gen_ai__tool__call__arguments='{"city": "Ulm"}', gen_ai__tool__call__result="no such city", error__message="no such city",
    ),
    _insights_model(4, (5, 8), (300, 200, 5)),
]  # fmt: skip
