"""Spans of one shape, to rows: the facts of every column, before anything is known of the spans around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

import orjson
import pyarrow as pa

from instrument import sameness
from instrument.otlp import AnyValue, KeyValue, Span, plain
from instrument.store import columns, families
from instrument.store.dialects import OPERATIONS
from instrument.store.messages import Call, Conversations, Message, Response
from instrument.store.shapes import Shape

MESSAGE_CHARS: Final = 500
"""How much of an error's text stands in `error_message`."""
_STATUS: Final = {
    0: "unset",
    1: "ok",
    2: "error",
    "STATUS_CODE_UNSET": "unset",
    "STATUS_CODE_OK": "ok",
    "STATUS_CODE_ERROR": "error",
}
_REMEMBERED: Final = 100_000
_ATTRIBUTES: Final = attrgetter("attributes")
_VALUE: Final = attrgetter("value")
_STRING: Final = attrgetter("stringValue")
_EVENTS: Final = attrgetter("events")

STAGE: Final[dict[str, pa.DataType]] = {
    **dict.fromkeys(
        (
            "trace_id",
            "span_id",
            "parent_span_id",
            "kind",
            "name",
            "agent_name",
            "conversation_id",
            "user_id",
            "service_name",
        ),
        pa.string(),
    ),
    **dict.fromkeys(("span_key", "start_ns", "end_ns"), pa.int64()),
    "status": pa.string(),
    **dict.fromkeys(("failed", "failure_inferred", "pending", "streaming"), pa.bool_()),
    **dict.fromkeys(
        ("error_type", "error_message", "failure_kind", "provider", "request_model", "response_model", "response_id"),
        pa.string(),
    ),
    **dict.fromkeys(("request_id", "finish_reason", "service_tier", "speed", "inference_geo"), pa.string()),
    **dict.fromkeys(
        ("max_tokens", "input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens"), pa.int64()
    ),
    **dict.fromkeys(
        ("cache_write_1h_tokens", "output_tokens", "reasoning_tokens", "web_searches", "retries"), pa.int64()
    ),
    **dict.fromkeys(("compaction_input_tokens", "compaction_output_tokens", "time_to_first_token_ns"), pa.int64()),
    "reported_usd": pa.float64(),
    **dict.fromkeys(("tool_name", "tool_call_id", "rejected"), pa.string()),
    **dict.fromkeys(
        ("call_key", "loose_call_key", "result_key", "output_key", "loose_output_key", "toolset_key", "attributes_key"),
        pa.uint64(),
    ),
    **dict.fromkeys(("result_chars", "output_chars", "requested_calls"), pa.int64()),
    **dict.fromkeys(("content_state", "stamped_run_id", "dialect"), pa.string()),
    "source_key": pa.int32(),
}
"""What is known of a span by itself; `settle` adds what follows from the others."""


@dataclass
class Extras:
    """Rows of the other tables, collected on the way."""

    contents: list[tuple[Any, ...]] = field(default_factory=list)
    requests: list[tuple[Any, ...]] = field(default_factory=list)
    responses: list[tuple[Any, ...]] = field(default_factory=list)
    attribute_sets: list[tuple[int, str]] = field(default_factory=list)
    toolsets: list[tuple[int, list[str], str | None, int | None]] = field(default_factory=list)


@dataclass
class Memory:
    """What one load has already worked out: the same values come again and again. Bounded."""

    conversations: Conversations = field(default_factory=Conversations)
    _attribute_sets: dict[Any, dict[Any, int]] = field(default_factory=dict)
    _calls: dict[tuple[str | None, str | None], tuple[int | None, int | None]] = field(default_factory=dict)
    _toolsets: dict[str, tuple[int, frozenset[str]] | None] = field(default_factory=dict)

    def call_keys(self, tool: str | None, arguments: str | None) -> tuple[int | None, int | None]:
        """`call_key` and `loose_call_key`."""
        found = self._calls.get((tool, arguments))
        if found is None:
            found = (sameness.call_key(tool, arguments), sameness.loose_call_key(tool, arguments))
            remember(self._calls, (tool, arguments), found)
        return found

    def toolset(self, definitions: str, extras: Extras) -> tuple[int, frozenset[str]] | None:
        """Key and names of declared tools; None where the declarations cannot be read."""
        if definitions not in self._toolsets:
            names = tool_names(definitions)
            found = None
            if names is not None:
                found = (sameness.key_of(definitions.encode("utf-8", "replace")), frozenset(names))
                extras.toolsets.append((found[0], names, definitions, len(definitions)))
            remember(self._toolsets, definitions, found)
        return self._toolsets[definitions]

    def attribute_sets(self, names: tuple[str, ...], resource: str) -> dict[Any, int]:
        """Keys already given to the values of the attributes `names` of spans of `resource`."""
        if (names, resource) not in self._attribute_sets:
            remember(self._attribute_sets, (names, resource), {})
        return self._attribute_sets[names, resource]


def remember(memory: dict[Any, Any], key: Any, value: Any, most: int = _REMEMBERED) -> None:
    """Keeps what was worked out; forgets everything rather than growing beyond `most`."""
    if len(memory) >= most:
        memory.clear()
    memory[key] = value


def tool_names(definitions: str) -> list[str] | None:
    """Names of the tools in a JSON list of declarations, OpenAI's nesting under `function` included; None where it is no such list."""
    try:
        tools = orjson.loads(definitions)
    except ValueError:
        return None
    if not isinstance(tools, list):
        return None
    names = []
    for tool in tools:
        if isinstance(tool, str):
            names.append(tool)
        elif isinstance(tool, dict):
            inner = tool.get("function")
            name = tool.get("name") or (inner.get("name") if isinstance(inner, dict) else None)
            if isinstance(name, str):
                names.append(name)
    return names


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What the spans of one resource and scope share."""

    scope: str
    service_name: str | None
    resource: str
    """Its attributes as JSON."""
    source_key: int


class Group:
    """Spans of one shape from one context, on their way to columns."""

    def __init__(
        self,
        shape: Shape,
        names: tuple[str, ...],
        context: Context,
        spans: list[Span],
        first_key: int,
        memory: Memory,
        extras: Extras,
    ) -> None:
        self.shape, self.names, self.context, self.spans = shape, names, context, spans
        self.memory, self.extras = memory, extras
        self.foreign_ids = 0
        self._by_position: list[tuple[KeyValue, ...]] | None = None
        self.out: dict[str, Any] = {"span_key": list(range(first_key, first_key + len(spans)))}

    def table(self) -> pa.Table:
        """One row per span, columns as `STAGE`."""
        self._identity()
        self._plain_columns()
        kinds = self._kinds()
        self._events()
        self._failures()
        if "tool" in kinds:
            self._tool_content(kinds)
        if "model" in kinds:
            self._model_content(kinds)
        self._rest()
        n = len(self.spans)
        arrays = []
        for name, dtype in STAGE.items():
            values = self.out.get(name)
            if values is None:
                arrays.append(pa.nulls(n, dtype))
            elif isinstance(values, (pa.Array, pa.ChunkedArray)):
                arrays.append(values)
            else:
                arrays.append(
                    pa.array(values, dtype) if isinstance(values, list) else pa.repeat(pa.scalar(values, dtype), n)
                )
        return pa.table(arrays, names=list(STAGE))

    # --- columns that every span has ---------------------------------------------------------------------------------

    def _identity(self) -> None:
        spans, out = self.spans, self.out
        out["trace_id"], made_traces = columns.ids([s.traceId for s in spans], 32)
        out["span_id"], made_spans = columns.ids([s.spanId for s in spans], 16)
        parents = [s.parentSpanId for s in spans]
        present = [p for p in parents if p]
        fixed, made_parents = columns.ids(present, 16) if present else ([], 0)
        hexed = iter(fixed)
        out["parent_span_id"] = [next(hexed) if p else None for p in parents] if len(present) < len(parents) else fixed
        self.foreign_ids = made_traces + made_spans + made_parents
        out["name"] = [s.name for s in spans]
        out["start_ns"] = columns.times([s.startTimeUnixNano for s in spans])
        out["end_ns"] = columns.times([s.endTimeUnixNano for s in spans])
        out["status"] = [_STATUS.get(s.status.code, "unset") if s.status is not None else "unset" for s in spans]
        out["service_name"] = self.context.service_name
        out["dialect"] = self.shape.dialect
        out["source_key"] = self.context.source_key

    def _values(self, position: int) -> list[AnyValue | None]:
        """The values at one position, span by span."""
        if self._by_position is None:
            self._by_position = list(zip(*map(_ATTRIBUTES, self.spans), strict=True))
        return list(map(_VALUE, self._by_position[position]))

    def _text(self, column: str) -> list[str | None] | None:
        position = self.shape.text.get(column)
        return None if position is None else columns.texts(self._values(position))

    _TEXTS: Final = (
        "agent_name",
        "conversation_id",
        "user_id",
        "error_type",
        "error_message",
        "provider",
        "request_model",
        "response_model",
        "response_id",
        "request_id",
        "tool_name",
        "tool_call_id",
        "rejected",
        "failure_kind",
        "service_tier",
        "speed",
        "inference_geo",
    )
    _KEYS: Final = ("call_key", "loose_call_key", "result_key", "output_key", "loose_output_key")

    def _plain_columns(self) -> None:
        shape, out = self.shape, self.out
        for column in self._TEXTS:
            if column in shape.text:
                out[column] = self._text(column)
        if "finish_reason" in shape.text:
            out["finish_reason"] = columns.first_texts(self._values(shape.text["finish_reason"]))
        if "run_id" in shape.text:
            out["stamped_run_id"] = self._text("run_id")
        for column in self._KEYS:
            if column in shape.text:
                out[column] = [_key(v) for v in self._text(column) or ()]
        for column, position in shape.whole.items():
            if column in STAGE:
                out[column] = columns.whole(self._values(position))
        for column, position in shape.flag.items():
            if column in STAGE:
                out[column] = columns.flags(self._values(position))
        if "cost_usd" in shape.real:
            out["reported_usd"] = columns.real(self._values(shape.real["cost_usd"]))
        for column, factor in (("first_token_ms", 1e6), ("first_token_seconds", 1e9)):
            if column in shape.real:
                seconds = columns.real(self._values(shape.real[column]))
                out["time_to_first_token_ns"] = [
                    None if v is None or abs(v) > 1e7 else int(v * factor) for v in seconds
                ]

    def _kinds(self) -> list[str]:
        shape = self.shape
        operations = self._text("operation")
        if operations is None:
            kind = "other"
            if "tool_name" in shape.text and "request_model" not in shape.text:
                kind = "tool"
            elif ("request_model" in shape.text or "response_model" in shape.text) and (
                "output_tokens" in shape.whole or "output_messages" in shape.text or shape.family
            ):
                kind = "model"
            kinds = [kind] * len(self.spans)
        else:
            known = {o: OPERATIONS.get(o.lower(), "other") if o else "other" for o in set(operations)}
            kinds = [known[o] for o in operations]
        self.out["kind"] = kinds
        return kinds

    # --- failures -----------------------------------------------------------------------------------------------------

    def _events(self) -> None:
        """Span events into `contents`, and the exception among them into the error columns."""
        self._event_json: dict[int, str] = {}
        if not any(map(_EVENTS, self.spans)):
            return
        for i, span in enumerate(self.spans):
            if not span.events:
                continue
            events = [
                {
                    "name": e.name,
                    "time_ns": columns.int_of(e.timeUnixNano),
                    "attributes": {a.key: plain(a.value) for a in e.attributes},
                }
                for e in span.events
            ]
            self._event_json[i] = columns.dumps(events)
            thrown = next((e["attributes"] for e in events if e["name"] == "exception"), None)
            if isinstance(thrown, dict):
                self._set("error_type", i, thrown.get("exception.type"))
                self._set("error_message", i, thrown.get("exception.message"))

    def _set(self, column: str, row: int, value: Any) -> None:
        """Sets one value of a text column where the span itself had none."""
        if value is None:
            return
        values = self.out.get(column)
        if values is None:
            values = self.out[column] = [None] * len(self.spans)
        if values[row] is None:
            values[row] = str(value)

    def _failures(self) -> None:
        """Flagged failures; a tool's own words are looked at later."""
        out, n = self.out, len(self.spans)
        pending = out.get("pending") or [None] * n
        kinds_given = out.get("failure_kind")
        if (
            all(s == "ok" for s in out["status"])
            and "error_type" not in out
            and kinds_given is None
            and True not in pending
        ):
            out["failed"] = [False] * n
            return
        for i, span in enumerate(self.spans):
            if span.status is not None and span.status.message:
                self._set("error_message", i, span.status.message)
        types = out.get("error_type") or [None] * n
        texts = out.get("error_message") or [None] * n
        # An exception event on a span that ended well was handled: it counts only where the status does not deny it.
        failed = [
            s == "error" or (t is not None and s == "unset") or (kinds_given is not None and kinds_given[i] is not None)
            for i, (s, t) in enumerate(zip(out["status"], types, strict=True))
        ]
        out["failed"] = [None if pending[i] else f for i, f in enumerate(failed)]
        given = kinds_given or [None] * n
        out["failure_kind"] = [
            (given[i] or sameness.failure_kind(types[i], texts[i])) if failed[i] else None for i in range(n)
        ]
        out["error_message"] = [None if t is None else t[:MESSAGE_CHARS] for t in texts]

    # --- tools --------------------------------------------------------------------------------------------------------

    def _tool_content(self, kinds: list[str]) -> None:
        out, n = self.out, len(self.spans)
        if "tool_name" not in out:
            out["tool_name"] = self._text("entity_name") or [s.name for s in self.spans]
        arguments = self._text("arguments") or self._text("io_input")
        results = self._text("result") or self._text("io_output")
        modes = self._text("content_mode") or [None] * n
        state = out.setdefault("content_state", [None] * n)
        if arguments is None and results is None:
            out["content_state"] = [
                ("hashed" if modes[i] == "hashed" else "none") if k == "tool" else state[i] for i, k in enumerate(kinds)
            ]
            if self._event_json:
                self._contents(None, None)
            return
        none: list[Any] = [None] * n
        calls, loose = list(out.get("call_key") or none), list(out.get("loose_call_key") or none)
        keys, chars = list(out.get("result_key") or none), [None] * n
        inferred: list[bool | None] = [None] * n
        read = list(results) if results is not None else none
        for i, kind in enumerate(kinds):
            if kind != "tool":
                continue
            if arguments is not None and arguments[i] is not None:
                calls[i], loose[i] = self.memory.call_keys(out["tool_name"][i], arguments[i])
            if results is not None and results[i] is not None:
                text = read[i] = sameness.result_text(results[i]) or ""
                keys[i], chars[i] = sameness.key_of(sameness.canonical(text)), len(text)
                inferred[i] = self._judge_result(i, text)
            state[i] = (
                modes[i]
                if modes[i] in ("hashed", "none")
                else "full"
                if calls[i] is not None or keys[i] is not None
                else "none"
            )
        out["call_key"], out["loose_call_key"], out["result_key"] = calls, loose, keys
        if "result_chars" not in out:
            out["result_chars"] = chars
        out["failure_inferred"] = inferred
        self._contents(arguments, read if results is not None else None)

    def _judge_result(self, row: int, text: str) -> bool | None:
        """Whether only the result's own words say that the call failed; completes the failure of a flagged one."""
        out = self.out
        if out["failed"][row]:
            if (out.get("error_message") or [None] * (row + 1))[row] is None:
                out["failure_kind"][row] = sameness.failure_kind(
                    (out.get("error_type") or [None] * (row + 1))[row], text
                )
                self._set("error_message", row, text[:MESSAGE_CHARS])
            return False
        if not sameness.says_error(text):
            return None
        out["failed"][row] = True
        out.setdefault("failure_kind", [None] * len(self.spans))[row] = sameness.failure_kind(None, text)
        self._set("error_message", row, text[:MESSAGE_CHARS])
        return True

    def _contents(self, arguments: Sequence[str | None] | None, results: Sequence[str | None] | None) -> None:
        keys = self.out["span_key"]
        for i in range(len(self.spans)):
            one = arguments[i] if arguments is not None else None
            two = results[i] if results is not None else None
            events = self._event_json.get(i)
            if self.out["kind"][i] != "model" and (one is not None or two is not None or events is not None):
                self.extras.contents.append((keys[i], one, two, None, None, None, events))

    # --- models -------------------------------------------------------------------------------------------------------

    _CONTENT: Final = frozenset(
        ("system", "input_messages", "output_messages", "tool_definitions", "declared_tools", "requested_tools")
    )

    def _model_content(self, kinds: list[str]) -> None:
        out, n = self.out, len(self.spans)
        if "response_id" not in out and "io_output" in self.shape.text:
            out["response_id"] = [_json_id(v) for v in self._text("io_output") or ()]
        none: list[Any] = [None] * n
        system, sent = self._text("system") or none, list(self._text("input_messages") or none)
        answered, tools = list(self._text("output_messages") or none), list(self._text("tool_definitions") or none)
        modes = self._text("content_mode") or none
        if self.shape.family:
            self._family(sent, answered, tools)
        state = out.setdefault("content_state", [None] * n)
        if not self.shape.family and not self._CONTENT & self.shape.text.keys():
            out["content_state"] = ["none" if k == "model" else state[i] for i, k in enumerate(kinds)]
            self.extras.contents.extend(
                (out["span_key"][i], *[None] * 5, e) for i, e in self._event_json.items() if kinds[i] == "model"
            )
            return
        facts = [_ModelFacts() if k == "model" else None for k in kinds]
        declared, asked = self._text("declared_tools"), self._text("requested_tools")
        for i, fact in enumerate(facts):
            if fact is None:
                continue
            names = self._declared(i, fact, tools[i], declared)
            keys = self._said(i, fact, system[i], sent[i], answered[i], names)
            if asked is not None and asked[i] is not None:
                self._hashed_requests(i, fact, asked[i], names)
            state[i] = modes[i] if modes[i] in ("hashed", "none") else "full" if keys else "none"
            if keys or i in self._event_json:
                self.extras.contents.append(
                    (out["span_key"][i], None, None, *(keys or (None, None, None)), self._event_json.get(i))
                )
        out["toolset_key"] = [f.toolset if f else None for f in facts]
        out["requested_calls"] = [f.requested if f else None for f in facts]
        if "output_key" not in out:
            out["output_key"] = [sameness.output_key(f.text) if f and f.text else None for f in facts]
            out["loose_output_key"] = [sameness.loose_output_key(f.text) if f and f.text else None for f in facts]
            out["output_chars"] = [None if f is None or f.text is None else len(f.text) for f in facts]

    def _family(self, sent: list[Any], answered: list[Any], tools: list[Any]) -> None:
        names = [self.names[p] for p in self.shape.family]
        for i, span in enumerate(self.spans):
            found = families.gather(names, [plain(span.attributes[p].value) for p in self.shape.family])
            sent[i], answered[i], tools[i] = (
                sent[i] or found.input_messages,
                answered[i] or found.output_messages,
                tools[i] or found.tool_definitions,
            )

    def _declared(
        self, row: int, fact: _ModelFacts, tools: str | None, hashed: list[str | None] | None
    ) -> frozenset[str] | None:
        definitions = tools if tools is not None else hashed[row] if hashed is not None else None
        found = self.memory.toolset(definitions, self.extras) if definitions is not None else None
        if found is None:
            return None
        fact.toolset = found[0]
        return found[1]

    def _said(
        self,
        row: int,
        fact: _ModelFacts,
        system: str | None,
        sent: str | None,
        answered: str | None,
        names: frozenset[str] | None,
    ) -> tuple[Any, ...] | None:
        if system is None and sent is None and answered is None:
            return None
        conversations, trace = self.memory.conversations, self.out["trace_id"][row]
        system_key = input_keys = output_keys = None
        if system is not None:
            parts = [{"role": "system", "parts": _system_parts(system)}]
            system_key = conversations.messages(columns.dumps(parts))[0].key
        if sent is not None:
            input_keys, fresh = conversations.history(trace, sent)
            self.extras.responses.extend(_response_row(trace, r) for m in fresh for r in m.responses)
        if answered is not None:
            messages = conversations.messages(answered)
            output_keys = [m.key for m in messages]
            fact.text = "\n".join(m.text for m in messages if m.text)
            self._requests(row, fact, messages, names)
        return system_key, input_keys, output_keys

    def _requests(self, row: int, fact: _ModelFacts, messages: list[Message], names: frozenset[str] | None) -> None:
        calls = [c for m in messages for c in m.calls]
        fact.requested = len(calls)
        for position, call in enumerate(calls):
            key, loose = self.memory.call_keys(call.name, call.arguments)
            self._request_row(row, position, call, key, loose, names)

    def _request_row(
        self, row: int, position: int, call: Call, key: int | None, loose: int | None, names: frozenset[str] | None
    ) -> None:
        out = self.out
        declared = None if names is None or call.name is None else call.name in names
        self.extras.requests.append(
            (
                out["span_key"][row],
                out["trace_id"][row],
                out["span_id"][row],
                position,
                call.id,
                call.name,
                key,
                loose,
                call.arguments,
                declared,
            )
        )

    def _hashed_requests(self, row: int, fact: _ModelFacts, asked: str, names: frozenset[str] | None) -> None:
        try:
            calls = orjson.loads(asked)
            rows = [(Call(c[0], c[1], None), _key(c[2]), _key(c[3])) for c in calls]
        except (ValueError, TypeError, IndexError):
            return  # not what we write: the span stays without requests, and its content state says `hashed`
        fact.requested = len(rows)
        for position, (call, key, loose) in enumerate(rows):
            self._request_row(row, position, call, key, loose, names)

    # --- everything else ----------------------------------------------------------------------------------------------

    def _rest(self) -> None:
        positions, names, resource = self.shape.rest, self.names, self.context.resource
        if not positions and resource == "{}":
            return
        rest_names = tuple(names[p] for p in positions)
        values = [self._values(p) for p in positions]
        signatures = zip(*map(_signatures, values), strict=True) if positions else [()] * len(self.spans)
        known = self.memory.attribute_sets(rest_names, resource)
        keys = []
        for row, signature in enumerate(signatures):
            key = known.get(signature)
            if key is None:
                body = columns.dumps(_bag(rest_names, [v[row] for v in values], resource))
                key = sameness.key_of(body.encode("utf-8", "replace"))
                self.extras.attribute_sets.append((key, body))
                remember(known, signature, key)
            keys.append(key)
        self.out["attributes_key"] = keys


@dataclass
class _ModelFacts:
    toolset: int | None = None
    text: str | None = None
    requested: int | None = None


def _signatures(values: list[AnyValue | None]) -> Sequence[Any]:
    """Something hashable for each value, that differs where the value or its type does."""
    try:
        found = list(map(_STRING, values))
    except AttributeError:
        return [_signature(v) for v in values]
    return [_signature(v) for v in values] if None in found else found


def _signature(value: AnyValue | None) -> Any:
    if value is None:
        return None
    if value.stringValue is not None:
        return value.stringValue
    if value.arrayValue is None and value.kvlistValue is None:
        # With the names of the types: 1, 1.0 and true are equal in Python.
        return (value.intValue, value.doubleValue, repr(value.boolValue), value.bytesValue)
    return (columns.dumps(plain(value)),)


def _bag(names: tuple[str, ...], values: list[AnyValue | None], resource: str) -> dict[str, Any]:
    bag: dict[str, Any] = {name: plain(value) for name, value in zip(names, values, strict=True)}
    if resource != "{}":
        bag["resource"] = orjson.loads(resource)
    return bag


def _response_row(trace_id: str, r: Response) -> tuple[Any, ...]:
    return (trace_id, r.id, r.result_key, r.chars, r.failed, r.failure_inferred, r.failure_kind, r.text)


def _system_parts(system: str) -> list[Any]:
    try:
        value = orjson.loads(system)
    except ValueError:
        value = system
    parts = value if isinstance(value, list) else [value]
    return [p if isinstance(p, dict) else {"type": "text", "content": p} for p in parts]


def _key(hexed: Any) -> int | None:
    try:
        key = int(hexed, 16)
    except (TypeError, ValueError):
        return None
    return key if 0 <= key < 2**64 else None


def _json_id(text: str | None) -> str | None:
    """The response's id out of a provider's response as JSON (OpenInference keeps it nowhere else)."""
    if text is None or text[:1] != "{":
        return None
    try:
        found = orjson.loads(text).get("id")
    except ValueError:
        return None
    return found if isinstance(found, str) else None
