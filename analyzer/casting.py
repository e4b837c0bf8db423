"""A script's turns as OTLP spans, in the attribute names of one producer or another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Final

import orjson

from instrument import semconv as sc
from instrument.content import keys_of, without
from instrument.otlp import Event, ResourceSpans, Scope, ScopeSpans, Span, Status, TracesData, attributes

_START_NS: Final = 1_790_000_000_000_000_000
_RUN_NS: Final = 3_600_000_000_000
_TURN_NS: Final = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Calling:
    """One model call with the messages it held and the tools it asked for."""

    model: str
    history: list[dict[str, Any]]
    answer: dict[str, Any] | None
    input_tokens: int | None
    output_tokens: int
    error: tuple[str, str] | None
    calls: Sequence[tuple[str, Any]]
    """Id and `analyzer.cases.Call`."""
    finish: str | None = None
    cached: tuple[int, int] | None = None
    """Tokens read from the prompt cache and written to it."""
    pause_seconds: float = 0.0
    system: str | None = None
    declared: list[str] | None = None
    seconds: float = 1.0
    retries: int | None = None


@dataclass(frozen=True, slots=True)
class Speaking:
    """One agent run."""

    agent: str
    turns: Sequence[Calling]
    declared: list[str] | None
    ended: bool
    facts: Mapping[str, Any] = field(default_factory=dict)
    schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """JSON Schema of the input, by tool."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one producer writes a span of each kind; `tool` None: it writes no tool spans."""

    scope: str
    agent: Callable[[Speaking], dict[str, Any]]
    model: Callable[[Speaking, Calling], dict[str, Any]]
    tool: Callable[[str, Any], dict[str, Any]] | None
    quotes: bool = True
    """Whether it writes the words of errors."""


def render(runs: Sequence[Speaking], dialect: str, seed: str) -> TracesData:
    """The spans of `runs`, a trace each, in `dialect` (a key of `DIALECTS`); ids depend on `seed` and position, times on position alone."""
    words = DIALECTS[dialect]
    spans = [span for number, run in enumerate(runs) for span in _spans(run, seed, number, words)]
    return TracesData([ResourceSpans(scopeSpans=[ScopeSpans(Scope(words.scope), spans)])])


def _spans(run: Speaking, seed: str, number: int, words: Dialect) -> list[Span]:
    trace, root = trace_id(seed, number), _id(8, seed, number, "agent")
    begin = start = _START_NS + number * _RUN_NS
    out = []
    for place, calling in enumerate(run.turns, 1):
        start += int(calling.pause_seconds * 1e9)
        at = start + place * _TURN_NS
        answered = at + _ns(calling.seconds)
        facts = words.model(replace(run, declared=calling.declared), calling)
        own = _id(8, seed, number, place)
        status, events = _flag(calling.error, words)
        out.append(
            _span(
                trace,
                own,
                root,
                f"chat {calling.model}",
                at,
                answered,
                facts | {"http.request.resend_count": calling.retries},
                status,
                events,
            )
        )
        for position, (call_id, call) in enumerate(calling.calls):
            if words.tool is None or not call.ran:
                continue
            begins = answered + (position + 1) * 1_000_000
            status, events = _flag((call.error, str(call.result)) if call.error else None, words)
            facts = words.tool(call_id, call)
            if call.seconds is None:
                facts = {**facts, sc.PENDING: True}
            if call.rejected:
                # As our own runner writes it, whoever recorded the rest of the run.
                status, facts = (
                    Status(2, str(call.result) if words.quotes else ""),
                    {**facts, sc.REJECTED: call.rejected},
                )
            out.append(
                _span(
                    trace,
                    _id(8, seed, number, place, position),
                    root,
                    f"execute_tool {call.name}",
                    begins,
                    0 if call.seconds is None else begins + _ns(call.seconds),
                    facts,
                    status,
                    events,
                )
            )
        longest = max((c.seconds for _, c in calling.calls if c.ran and c.seconds is not None), default=0.0)
        start += max(0, _ns(calling.seconds - 1)) + max(0, _ns(longest - 0.5))
    end = start + (len(run.turns) + 1) * _TURN_NS
    facts = words.agent(run) | ({} if run.ended else {sc.PENDING: True}) | dict(run.facts)
    return [_span(trace, root, "", f"invoke_agent {run.agent}", begin, end if run.ended else 0, facts, None, []), *out]


def _span(
    trace: str,
    own: str,
    parent: str,
    name: str,
    start: int,
    end: int,
    facts: dict[str, Any],
    status: Status | None,
    events: list[Event],
) -> Span:
    return Span(
        trace,
        own,
        parent,
        name,
        1,
        start,
        end,
        attributes({k: v for k, v in facts.items() if v is not None}),
        events,
        status,
    )


def _ns(seconds: float) -> int:
    return round(seconds * 1_000_000_000)


def _flag(error: tuple[str, str] | None, words: Dialect) -> tuple[Status | None, list[Event]]:
    if error is None:
        return None, []
    if not words.quotes:
        return Status(2), [Event("exception", 0, attributes({"exception.type": error[0]}))]
    return Status(2, error[1]), [
        Event("exception", 0, attributes({"exception.type": error[0], "exception.message": error[1]}))
    ]


def trace_id(seed: str, number: int) -> str:
    """Trace id of the run of that number."""
    return _id(16, seed, number)


def _id(size: int, *parts: Any) -> str:
    return blake2b("/".join(map(str, parts)).encode(), digest_size=size).hexdigest()


def _json(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


# --- the conventions as they are now -----------------------------------------------------------------------------------


def _agent(run: Speaking) -> dict[str, Any]:
    return {sc.OPERATION: sc.INVOKE_AGENT, sc.AGENT_NAME: run.agent}


def _model(run: Speaking, calling: Calling) -> dict[str, Any]:
    return {**_request(calling), **_usage(calling), **_messages(calling), sc.TOOL_DEFINITIONS: _definitions(run)}


def _request(calling: Calling) -> dict[str, Any]:
    finish = None if calling.error else [calling.finish or ("tool_use" if calling.calls else "end_turn")]
    return {
        sc.OPERATION: sc.CHAT,
        sc.PROVIDER: "anthropic",
        sc.REQUEST_MODEL: calling.model,
        sc.RESPONSE_MODEL: None if calling.error else calling.model,
        sc.FINISH_REASONS: finish,
        sc.ERROR_TYPE: calling.error[0] if calling.error else None,
    }


def _usage(calling: Calling) -> dict[str, Any]:
    if calling.error or calling.input_tokens is None:
        return {}
    read, written = calling.cached or (None, None)
    return {
        sc.INPUT_TOKENS: calling.input_tokens,
        sc.OUTPUT_TOKENS: calling.output_tokens,
        sc.CACHE_READ_TOKENS: read,
        sc.CACHE_WRITE_TOKENS: written,
    }


def _messages(calling: Calling) -> dict[str, Any]:
    return {
        sc.INPUT_MESSAGES: _json(calling.history),
        sc.OUTPUT_MESSAGES: None if calling.answer is None else _json([calling.answer]),
        sc.SYSTEM_INSTRUCTIONS: calling.system and _json([{"type": "text", "content": calling.system}]),
    }


def _definitions(run: Speaking) -> str | None:
    return (
        None
        if run.declared is None
        else _json(
            [{"type": "function", "name": name, "parameters": run.schemas.get(name, {})} for name in run.declared]
        )
    )


def _tool(call_id: str, call: Any) -> dict[str, Any]:
    return {
        sc.OPERATION: sc.EXECUTE_TOOL,
        sc.TOOL_NAME: call.name,
        sc.TOOL_CALL_ID: call_id,
        sc.TOOL_ARGUMENTS: _json(call.arguments),
        sc.TOOL_RESULT: None if call.error else _json(call.result),
        sc.ERROR_TYPE: call.error,
    }


# --- the Anthropic SDK's own spans: results under another name, no declarations ------------------------------------------


def _sdk_model(_: Speaking, calling: Calling) -> dict[str, Any]:
    facts = {**_request(calling), **_usage(calling), **_messages(calling)}
    reason = facts.pop(sc.FINISH_REASONS)
    return {**facts, "anthropic.message.stop_reason": reason[0] if reason else None}


def _sdk_tool(call_id: str, call: Any) -> dict[str, Any]:
    facts = _tool(call_id, call)
    facts["anthropic.tool_result.content"] = facts.pop(sc.TOOL_RESULT)
    return facts


# --- the conventions as they were ----------------------------------------------------------------------------------------


def _old_model(run: Speaking, calling: Calling) -> dict[str, Any]:
    facts: dict[str, Any] = {sc.OPERATION: sc.CHAT, "gen_ai.system": "anthropic", sc.REQUEST_MODEL: calling.model}
    if not calling.error and calling.input_tokens is not None:
        facts |= {
            "gen_ai.usage.prompt_tokens": calling.input_tokens,
            "gen_ai.usage.completion_tokens": calling.output_tokens,
        }
        if calling.cached:
            facts |= dict(
                zip(
                    ("gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.cache_creation_input_tokens"),
                    calling.cached,
                    strict=True,
                )
            )
    if calling.finish:
        facts["gen_ai.completion.0.finish_reason"] = calling.finish
    for number, message in enumerate(calling.history):
        facts |= _numbered(f"gen_ai.prompt.{number}", message)
    if calling.answer is not None:
        facts |= _numbered("gen_ai.completion.0", calling.answer)
    for number, name in enumerate(run.declared or ()):
        facts[f"llm.request.functions.{number}.name"] = name
        if name in run.schemas:
            facts[f"llm.request.functions.{number}.parameters"] = _json(run.schemas[name])
    return facts


def _numbered(prefix: str, message: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {f"{prefix}.role": message["role"]}
    for part in message["parts"]:
        if part["type"] == "text":
            facts[f"{prefix}.content"] = part["content"]
        elif part["type"] == "tool_call_response":
            facts |= {f"{prefix}.content": _json(part["response"]), f"{prefix}.tool_call_id": part["id"]}
    asked = [p for p in message["parts"] if p["type"] == "tool_call"]
    for place, part in enumerate(asked):
        call = f"{prefix}.tool_calls.{place}"
        facts |= {f"{call}.id": part["id"], f"{call}.name": part["name"], f"{call}.arguments": _json(part["arguments"])}
    return facts


def _old_tool(call_id: str, call: Any) -> dict[str, Any]:
    facts = {
        sc.OPERATION: sc.EXECUTE_TOOL,
        sc.TOOL_NAME: call.name,
        sc.TOOL_CALL_ID: call_id,
        "tool_arguments": _json(call.arguments),
    }
    return facts if call.error else {**facts, "tool_response": _json(call.result)}


# --- OpenInference ---------------------------------------------------------------------------------------------------------


def _oi_agent(run: Speaking) -> dict[str, Any]:
    return {"openinference.span.kind": "AGENT", "agent.name": run.agent}


def _oi_model(run: Speaking, calling: Calling) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "openinference.span.kind": "LLM",
        "llm.model_name": calling.model,
        "llm.provider": "anthropic",
    }
    if not calling.error and calling.input_tokens is not None:
        facts |= {"llm.token_count.prompt": calling.input_tokens, "llm.token_count.completion": calling.output_tokens}
        if calling.cached:
            details = "llm.token_count.prompt_details.cache"
            facts |= {f"{details}_read": calling.cached[0], f"{details}_write": calling.cached[1]}
    if calling.finish:
        facts["llm.finish_reason"] = calling.finish
    for number, message in enumerate(calling.history):
        facts |= _oi_message(f"llm.input_messages.{number}.message", message)
    if calling.answer is not None:
        facts |= _oi_message("llm.output_messages.0.message", calling.answer)
    for number, name in enumerate(run.declared or ()):
        facts[f"llm.tools.{number}.tool.json_schema"] = _json({"name": name, "input_schema": run.schemas.get(name, {})})
    return facts


def _oi_message(prefix: str, message: dict[str, Any]) -> dict[str, Any]:
    facts = _numbered(prefix, message)
    renamed = {}
    for name, value in facts.items():
        head, call, tail = name.partition(".tool_calls.")
        place, _, leaf = tail.partition(".")
        renamed[f"{head}{call}{place}.tool_call.{leaf if leaf == 'id' else 'function.' + leaf}" if call else name] = (
            value
        )
    return renamed


def _oi_tool(call_id: str, call: Any) -> dict[str, Any]:
    facts = {
        "openinference.span.kind": "TOOL",
        "tool.name": call.name,
        "tool.id": call_id,
        "input.value": _json(call.arguments),
    }
    return facts if call.error else {**facts, "output.value": _json(call.result)}


# --- OpenLLMetry: GenAI messages on model spans, Traceloop's own names on tools --------------------------------------------


def _tl_agent(run: Speaking) -> dict[str, Any]:
    return {"traceloop.span.kind": "agent", "traceloop.entity.name": run.agent}


def _tl_tool(_: str, call: Any) -> dict[str, Any]:
    facts = {
        "traceloop.span.kind": "tool",
        "traceloop.entity.name": call.name,
        "traceloop.entity.input": _json(call.arguments),
    }
    return facts if call.error else {**facts, "traceloop.entity.output": _json(call.result)}


# --- flyball with hashed content: keys instead of words ----------------------------------------------------------------------


def _hashed_model(run: Speaking, calling: Calling) -> dict[str, Any]:
    keys = keys_of(_model(run, calling), failed=calling.error is not None, error_type=None, message=None)
    return {**_request(calling), **_usage(calling), **keys, sc.CONTENT_MODE: "hashed"}


def _hashed_tool(call_id: str, call: Any) -> dict[str, Any]:
    # What the runner hands back to the model is recorded as the result, whether it is an error or not.
    facts = {**_tool(call_id, call), sc.TOOL_RESULT: _json(call.result)}
    failed = bool(call.error or call.rejected)
    return {
        **without(facts),
        **keys_of(facts, failed=failed, error_type=call.error, message=str(call.result) if failed else None),
        sc.CONTENT_MODE: "hashed",
    }


DIALECTS: Final[dict[str, Dialect]] = {
    "gen_ai": Dialect("opentelemetry.instrumentation.genai.anthropic", _agent, _model, _tool),
    "anthropic_sdk": Dialect("com.anthropic.sdk.python", _agent, _sdk_model, _sdk_tool),
    "gen_ai_old": Dialect("", _agent, _old_model, _old_tool),
    "openinference": Dialect("openinference.instrumentation.anthropic", _oi_agent, _oi_model, _oi_tool),
    "openllmetry": Dialect("opentelemetry.instrumentation.anthropic", _tl_agent, _model, _tl_tool),
    "messages_only": Dialect("opentelemetry.instrumentation.genai.anthropic", _agent, _model, None),
    "hashed": Dialect(sc.SCOPE, _agent, _hashed_model, _hashed_tool, quotes=False),
}
"""Who writes how. `messages_only` has no tool spans: calls and results are known from the messages alone."""
