"""One observation of Langfuse as a span in GenAI conventions."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from analyzer.readers.agent_runs import written
from analyzer.readers.exported import Exported
from analyzer.readers.langfuse_tree import EVENT, Observation, Part
from analyzer.readers.langfuse_usage import cost, usage
from analyzer.readers.logged_messages import Logged, call_id_of, logged
from analyzer.readers.loose import dumps, listing, mapping, moment_ns, text
from analyzer.readers.openai_messages import decoded
from instrument import semconv
from instrument.store import families
from instrument.store.dialects import FAMILIES, OPERATIONS

_SCOPE: Final = "langfuse"
_OPERATION: Final = {"model": semconv.CHAT, "tool": semconv.EXECUTE_TOOL, "agent": semconv.INVOKE_AGENT}
_NOT_METADATA: Final = frozenset(("attributes", "resourceAttributes", "scope"))


def exported(one: Observation, part: Part, made: Counter[str]) -> Exported:
    """The span of an observation. What is missing or was worked out is counted in `made`."""
    found, kind = one.found, part.kind
    start, end = moment_ns(found.get("startTime")), moment_ns(found.get("endTime"))
    made["no_times"] += start is None
    facts = _common(one)
    if end is None and start is not None:
        made["no_end_time"] += text(found.get("type")) != "EVENT"
        # What has an answer has ended, and is not at work to this day.
        if found.get("output") is not None or text(found.get("type")) == "EVENT":
            end, facts[semconv.TIMES_INFERRED] = start, "end"
    if kind == "model":
        facts |= _model(one, part, made) | _waited(start, moment_ns(found.get("completionStartTime")))
    elif kind == "tool":
        facts |= _tool(one)
    elif kind == "agent":
        facts[semconv.AGENT_NAME] = _attribute(one, "gen_ai.agent.name", "agent_name", "agent.name") or text(
            found.get("name")
        )
    facts[semconv.OPERATION] = _OPERATION.get(kind) or _other(found)
    return Exported(
        one.trace_id,
        one.name,
        text(found.get("name")) or "",
        facts,
        parent_id=text(found.get("parentObservationId")),
        start_ns=start,
        end_ns=end if end is None or start is None else max(start, end),
        error=(text(found.get("statusMessage")) or "") if one.failed else None,
        scope=_SCOPE,
        resource=mapping(decoded(one.metadata.get("resourceAttributes"))),
    )


def _other(found: dict[str, Any]) -> str:
    """The operation of what is no call: its type, unless that would make it one."""
    written_type = (text(found.get("type")) or "span").lower()
    return written_type if OPERATIONS.get(written_type, "other") == "other" else "span"


def _common(one: Observation) -> dict[str, Any]:
    metadata = {k: v for k, v in one.metadata.items() if k not in _NOT_METADATA}
    session = text(one.trace.get("sessionId")) or text(one.found.get("sessionId"))
    return {
        semconv.CONVERSATION_ID: session or _attribute(one, "gen_ai.conversation.id", "session.id"),
        semconv.USER_ID: text(one.trace.get("userId")) or text(one.found.get("userId")) or _attribute(one, "user.id"),
        "langfuse.observation.type": text(one.found.get("type")),
        "langfuse.observation.metadata": dumps(metadata) if metadata else None,
        "langfuse.trace.name": text(one.trace.get("name")) or text(one.found.get("traceName")),
        "langfuse.environment": text(one.found.get("environment")),
        "langfuse.observation.prompt.name": text(one.found.get("promptName")),
    }


def _model(one: Observation, part: Part, made: Counter[str]) -> dict[str, Any]:
    sent, answer = (_better(one, part.also, *side) for side in (("input", "user"), ("output", "assistant")))
    made["plain_texts"] += bool(sent.messages and not sent.structured) + bool(answer.messages and not answer.structured)
    counts = usage(one.found)
    made["no_usage"] += not counts and not one.failed
    model = text(one.found.get("model")) or text(one.found.get("providedModelName"))
    finish = _attribute(one, "gen_ai.response.finish_reasons", "llm.finish_reason") or answer.facts.get("finish_reason")
    tools = sent.tools or answer.tools
    return {
        semconv.PROVIDER: _attribute(one, "gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
        or text(one.metadata.get("ls_provider")),
        semconv.REQUEST_MODEL: _attribute(one, "gen_ai.request.model", "llm.model_name") or model,
        semconv.RESPONSE_MODEL: _attribute(one, "gen_ai.response.model") or answer.facts.get("model") or model,
        semconv.RESPONSE_ID: None
        if part.shares_id
        else _attribute(one, "gen_ai.response.id") or answer.facts.get("id"),
        semconv.FINISH_REASONS: [finish] if finish else None,
        semconv.INPUT_MESSAGES: dumps(sent.messages) if sent.messages else None,
        semconv.OUTPUT_MESSAGES: dumps(answer.messages) if answer.messages else None,
        semconv.TOOL_DEFINITIONS: dumps(tools) if tools else None,
        **counts,
        **cost(one.found),
    }


def _better(one: Observation, also: Observation | None, side: str, speaker: str) -> Logged:
    """What was said, by the observation or by the other report of the call."""
    own = _said(one, side, speaker)
    other = None if own.structured or also is None else _said(also, side, speaker)
    return other if other is not None and other.structured else own


def _said(one: Observation, side: str, speaker: str) -> Logged:
    """What went in or came out: from the observation, or from the attributes it was made from where those say it better."""
    found = logged(decoded(one.found.get(side)), speaker)
    names = [n for n in one.attributes if n.startswith(FAMILIES)]
    gathered = families.gather(names, [_as_text(n, one.attributes[n]) for n in names])
    spelled = decoded(gathered.input_messages if side == "input" else gathered.output_messages)
    held = decoded(one.attributes.get(f"gen_ai.{side}.messages"))
    if not found.structured:
        for other in (held, spelled):
            better = logged(other, speaker)
            if better.structured and any(m["parts"] for m in better.messages):
                better.tools = better.tools or found.tools
                better.facts = {**better.facts, **found.facts}
                found = better
                break
    if side == "input" and not found.tools:
        held_tools = decoded(one.attributes.get("gen_ai.tool.definitions"))
        declared = (decoded(gathered.tool_definitions), held_tools, _of_pydantic_ai(one))
        found.tools = next((d for d in declared if isinstance(d, list) and d), [])
    return found


def _of_pydantic_ai(one: Observation) -> list[dict[str, Any]]:
    """The tools of a request of pydantic-ai; answers of a given form are tools there too."""
    request = mapping(decoded(one.attributes.get("model_request_parameters")))
    tools = [mapping(t) for name in ("function_tools", "output_tools") for t in listing(request.get(name))]
    return [
        {
            "type": "function",
            "name": tool.get("name"),
            "description": tool.get("description"),
            "parameters": tool.get("parameters_json_schema"),
        }
        for tool in tools
    ]


def _as_text(name: str, value: Any) -> Any:
    """Langfuse decodes attributes that are JSON texts."""
    return dumps(value) if name.endswith("json_schema") and isinstance(value, dict) else value


def _tool(one: Observation) -> dict[str, Any]:
    output = decoded(one.found.get("output"))
    answer = mapping(output)
    if answer.get("type") == "tool" and "content" in answer:  # LangChain's message of a tool
        output = answer["content"]
    # LangChain's handler gives the input as a text of Python's, and what it was in the metadata.
    given = (one.metadata.get("inputs"), one.found.get("input"), one.attributes.get("tool.parameters"))
    arguments = next((g for g in (*given, one.attributes.get("tool_arguments")) if g is not None), None)
    own_name = text(one.found.get("name"))
    own_name = EVENT.sub("", own_name) if own_name and one.of_beeai else own_name
    name = _attribute(one, "gen_ai.tool.name", "tool.name") or text(answer.get("name")) or own_name
    return {
        semconv.TOOL_NAME: name or "unknown",
        semconv.TOOL_CALL_ID: call_id_of(one.attributes.get("gen_ai.tool.call.id")) or text(answer.get("tool_call_id")),
        semconv.TOOL_ARGUMENTS: written(arguments),
        semconv.TOOL_RESULT: written(output),
    }


def _attribute(one: Observation, *names: str) -> str | None:
    """The first of these attributes that is a text, or a list of texts."""
    for name in names:
        value = one.attributes.get(name)
        if found := text(value[0] if isinstance(value, list) and value else value):
            return found
    return None


def _waited(start_ns: int | None, first_ns: int | None) -> dict[str, Any]:
    if start_ns is None or first_ns is None or first_ns < start_ns:
        return {}
    return {semconv.TIME_TO_FIRST_CHUNK: (first_ns - start_ns) / 1e9}
