"""What models were told and what they answered: messages, tools declared, tool calls asked for. Fills `Group.out`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from instrument import sameness
from instrument.otlp import plain
from instrument.store import families
from instrument.store.clipping import clipped_rows, is_cut
from instrument.store.columns import dumps
from instrument.store.group import Group
from instrument.store.memory import CallFacts
from instrument.store.messages import Call, Message, Response
from instrument.store.plain_columns import key_of_hex
from instrument.store.tool_content import stated

_CONTENT: Final = frozenset(
    (
        "system", "input_messages", "output_messages", "tool_definitions", "declared_tools", "requested_tools",
        "answer_text", "answer_calls", "io_input", "io_output",
    )
)  # fmt: skip


@dataclass
class _Said:
    """What the spans of a group carry, column by column."""

    system: list[str | None]
    sent: list[str | None]
    answered: list[str | None]
    tools: list[str | None]
    declared: list[str | None]
    requested: list[str | None]


@dataclass
class _Facts:
    """What follows for one span."""

    toolset_key: int | None = None
    names: frozenset[str] | None = None
    system_key: int | None = None
    input_keys: list[int] | None = None
    output_keys: list[int] | None = None
    text: str | None = None
    requested_calls: int | None = None


_NONE: Final = _Facts()


def fill(group: Group) -> None:
    """Fills message keys, `content_state` and what an answer holds; adds requests, responses, messages and toolsets."""
    out, states = group.out, group.column("content_state")
    if "response_id" not in out and "io_output" in group.shape.text:
        out["response_id"] = [_json_id(v) for v in group.text("io_output") or ()]
    rows = [row for row, kind in enumerate(out["kind"]) if kind == "model"]
    if not group.shape.family and not _CONTENT & group.shape.text.keys():
        for row in rows:
            states[row] = "none"
        return
    said, modes, clipped = _said(group), group.text("content_mode"), clipped_rows(group)
    facts = [_NONE] * len(group.spans)
    for row in rows:
        fact = facts[row] = _facts(group, row, said)
        recorded = fact.system_key is not None or fact.input_keys is not None or fact.output_keys is not None
        cut = row in clipped or is_cut(said.sent[row]) or is_cut(said.answered[row]) or is_cut(said.tools[row])
        states[row] = stated(modes[row] if modes else None, recorded, cut)
        if states[row] == "clipped":
            group.clipped.append(row)
    for name in ("toolset_key", "system_key", "input_keys", "output_keys", "requested_calls"):
        out[name] = [getattr(f, name) for f in facts]
    # An empty answer of hashed content has a length, nought, and no key.
    if "output_key" not in out and "output_chars" not in out:
        _output_keys(out, [f.text for f in facts])


def _output_keys(out: dict[str, Any], texts: list[str | None]) -> None:
    out["output_key"] = [sameness.output_key(t) for t in texts]
    out["loose_output_key"] = [sameness.loose_output_key(t) for t in texts]
    out["output_chars"] = [None if t is None else len(t) for t in texts]


def _said(group: Group) -> _Said:
    columns = ("system", "input_messages", "output_messages", "tool_definitions", "declared_tools", "requested_tools")
    said = _Said(*(list(group.text(c) or group.unknown()) for c in columns))
    if not group.shape.family:
        _said_otherwise(group, said)
        return said
    names = [group.names[p] for p in group.shape.family]
    for row, span in enumerate(group.spans):
        found = families.gather(names, [plain(span.attributes[p].value) for p in group.shape.family])
        said.sent[row] = said.sent[row] or found.input_messages
        said.answered[row] = said.answered[row] or found.output_messages
        said.tools[row] = said.tools[row] or found.tool_definitions
    return said


def _said_otherwise(group: Group, said: _Said) -> None:
    """Messages of producers that write an answer's text and calls (Vercel) or just what went in and came out (Langfuse, Traceloop)."""
    names = ("answer_text", "answer_calls", "io_input", "io_output")
    texts, calls, went_in, came_out = (group.text(name) or group.unknown() for name in names)
    for row in range(len(group.spans)):
        said.sent[row] = said.sent[row] or went_in[row]
        if said.answered[row] is not None:
            continue
        if texts[row] is not None or calls[row] is not None:
            said.answered[row] = dumps([{"role": "assistant", "content": [*_words(texts[row]), *_calls(calls[row])]}])
        elif came_out[row] is not None:
            said.answered[row] = came_out[row]


def _words(text: str | None) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}] if text else []


def _calls(calls: str | None) -> list[dict[str, Any]]:
    try:
        found = orjson.loads(calls or "[]")
    except ValueError:
        return _words(calls)
    return (
        [{**call, "type": "tool-call"} for call in found if isinstance(call, dict)] if isinstance(found, list) else []
    )


def _facts(group: Group, row: int, said: _Said) -> _Facts:
    fact = _Facts()
    system, sent, answered = said.system[row], said.sent[row], said.answered[row]
    definitions = said.tools[row] if said.tools[row] is not None else said.declared[row]
    toolset = None if definitions is None else group.memory.toolset(definitions, group.extras)
    if toolset is not None:
        fact.toolset_key, fact.names = toolset
    if system is not None:
        parts = dumps([{"role": "system", "parts": _system_parts(system)}])
        fact.system_key = group.memory.conversations.messages(parts)[0].key
    if sent is not None:
        fact.input_keys = _sent(group, row, sent)
    if answered is not None:
        _answered(group, row, fact, answered)
    requested = said.requested[row]
    if requested is not None:
        _requested(group, row, fact, requested)
    return fact


def _sent(group: Group, row: int, sent: str) -> list[int]:
    trace = group.out["trace_id"][row]
    keys, fresh = group.memory.conversations.history(trace, sent)
    for message in fresh:
        for response in message.responses:
            group.extras.responses.append(_response_row(trace, message, response))
            group.memory.sent_back(trace, message.key, response)
    return keys


def _response_row(trace_id: str, m: Message, r: Response) -> tuple[Any, ...]:
    return (trace_id, r.id, r.result_key, r.chars, r.failed, r.failure_inferred, r.failure_kind, r.text, m.key)


def _answered(group: Group, row: int, fact: _Facts, answered: str) -> None:
    messages = group.memory.conversations.messages(answered, "assistant")
    fact.output_keys = [m.key for m in messages]
    if is_cut(answered):
        return  # what is left of it says neither all that was said nor all that was asked for
    fact.text = "\n".join(m.text for m in messages if m.text)
    calls = [c for m in messages for c in m.calls]
    fact.requested_calls = len(calls)
    for position, call in enumerate(calls):
        _request(group, row, position, call, group.memory.call_facts(call.name, call.arguments), fact.names)


def _requested(group: Group, row: int, fact: _Facts, requested: str) -> None:
    """Calls asked for, as our recorder writes them where content is hashed: a list of [id, name, key, loose key, null input]."""
    try:
        calls = [(Call(c[0], c[1], None), _recorded(*c[2:5])) for c in orjson.loads(requested)]
    except (ValueError, TypeError, IndexError):
        return  # not what we write: the span stays without requests, and its content state says `hashed`
    fact.requested_calls = len(calls)
    for position, (call, facts) in enumerate(calls):
        _request(group, row, position, call, facts, fact.names)


def _recorded(call_key: Any, loose_call_key: Any, null_input: Any = None) -> CallFacts:
    return key_of_hex(call_key), key_of_hex(loose_call_key), null_input if isinstance(null_input, bool) else None


def _request(
    group: Group,
    row: int,
    position: int,
    call: Call,
    facts: CallFacts,
    names: frozenset[str] | None,
) -> None:
    out = group.out
    declared = None if names is None or call.name is None else call.name in names
    asked = (out["span_key"][row], out["trace_id"][row], out["span_id"][row])
    exact, loose, null_input = facts
    group.extras.requests.append(
        (*asked, position, call.id, call.name, exact, loose, call.arguments, declared, null_input)
    )


def _system_parts(system: str) -> list[Any]:
    try:
        value = orjson.loads(system)
    except ValueError:
        value = system
    parts = value if isinstance(value, list) else [value]
    return [p if isinstance(p, dict) else {"type": "text", "content": p} for p in parts]


def _json_id(text: str | None) -> str | None:
    """The response's id out of a provider's response as JSON (OpenInference keeps it nowhere else)."""
    if text is None or text[:1] != "{":
        return None
    try:
        found = orjson.loads(text).get("id")
    except ValueError:
        return None
    return found if isinstance(found, str) else None
