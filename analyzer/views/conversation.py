"""The turns of a run as people read them: what the model was told, what it answered, which tools ran and what they returned.

Content is fetched for the turns asked for and cut where it is long, so a page costs the same whatever the run's size.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb

from analyzer.findings import GuardAction
from analyzer.views.known_times import KNOWN
from analyzer.views.run import TURN
from instrument import sameness

CHARS_SHOWN: Final = 2_000
"""A text longer than this is cut unless whole texts are asked for."""
CHARS_AT_MOST: Final = 200_000
"""Where even whole texts are cut: a browser message stays small."""
_PARSED_CHARS: Final = 2_000_000
"""A message longer than this is shown as its raw JSON, cut: parsing it only to throw most of it away is not worth it."""

_LINE_CHARS: Final = 90
"""JSON no longer than this stays on one line."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text that may be cut: what is shown and how many characters are not."""

    shown: str
    left_out_chars: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One part of a message. `kind` is `text`, `reasoning`, `tool_call`, `tool_result` or the producer's own word."""

    role: str
    kind: str
    text: Text
    name: str | None = None
    """The tool's, where it is about one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One tool call of a turn; None: not recorded."""

    step: int
    span_id: str
    tool_name: str | None
    arguments: Text | None
    result: Text | None
    failed: bool
    failure_inferred: bool
    error: str | None
    rejected: str | None
    declared: bool | None
    inferred: bool
    """Known only from the messages around it."""
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One model call with the messages new in it, and the tool calls that followed. Turn 0 has no model call."""

    number: int
    model: str | None = None
    span_id: str | None = None
    seconds: float | None = None
    pending: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    finish_reason: str | None = None
    error: str | None = None
    content_state: str | None = None
    heard: tuple[Said, ...] = ()
    answered: tuple[Said, ...] = ()
    calls: tuple[Call, ...] = ()


_MODEL_CALLS: Final = f"""
SELECT s.turn, s.step, s.span_id, coalesce(s.response_model, s.request_model) AS model,
       CASE WHEN {KNOWN} THEN (s.end_ns - s.start_ns) / 1e9 END AS seconds,
       s.end_ns IS NULL AS pending, s.input_tokens, s.output_tokens, s.cost_usd, s.finish_reason,
       CASE WHEN s.failed THEN coalesce(s.error_message, s.error_type, 'failed') END AS error, s.content_state::VARCHAR AS content_state,
       c.system_key, c.input_keys, c.output_keys
FROM spans s LEFT JOIN contents c USING (span_key)
WHERE s.run_key = $run_key AND s.kind = 'model' AND s.duplicate_of IS NULL AND s.turn BETWEEN $first - 1 AND $last
ORDER BY s.turn, s.step
"""
# What a span does not hold itself, the messages around it may: the request that asked for the call, the one that answered it.
_TOOL_CALLS: Final = f"""
WITH calls AS (
    SELECT {TURN} AS turn, * EXCLUDE (turn) FROM spans
    WHERE run_key = $run_key AND kind = 'tool' AND duplicate_of IS NULL AND {TURN} BETWEEN $first AND $last
), own AS (
    SELECT span_key, arguments, result, result_message_key FROM contents
    WHERE rowid IN (SELECT rowid FROM contents WHERE span_key IN (SELECT span_key FROM calls))
), asked AS (
    SELECT trace_id, tool_call_id, any_value(arguments) AS arguments FROM tool_requests
    WHERE tool_call_id IN (SELECT tool_call_id FROM calls) GROUP BY ALL
), answered AS (
    SELECT trace_id, tool_call_id, any_value(message_key) AS message_key FROM tool_responses
    WHERE tool_call_id IN (SELECT tool_call_id FROM calls) GROUP BY ALL
)
SELECT turn, step, span_id, tool_name, tool_call_id, call_key, result_key,
       coalesce(own.arguments, asked.arguments) AS all_arguments,
       substr(all_arguments, 1, $chars) AS arguments, length(all_arguments) AS arguments_chars,
       substr(own.result, 1, $chars) AS result, length(own.result) AS result_chars,
       coalesce(own.result_message_key, answered.message_key) AS result_message_key,
       coalesce(failed, false) AS failed, coalesce(failure_inferred, false) AS failure_inferred,
       CASE WHEN failed THEN coalesce(error_message, error_type) END AS error,
       rejected, declared, coalesce(inferred, false) AS inferred, CASE WHEN {KNOWN} THEN (end_ns - start_ns) / 1e9 END AS seconds
FROM calls LEFT JOIN own USING (span_key)
    LEFT JOIN asked USING (trace_id, tool_call_id) LEFT JOIN answered USING (trace_id, tool_call_id)
ORDER BY step
"""
_MESSAGES: Final = f"""
SELECT message_key, role, CASE WHEN length(body) <= {_PARSED_CHARS} THEN body ELSE substr(body, 1, {CHARS_AT_MOST}) END AS body,
       length(body) AS body_chars
FROM messages WHERE message_key IN (SELECT unnest($keys::UBIGINT[]))
"""

Row = Mapping[str, Any]


def conversation(
    con: duckdb.DuckDBPyConnection,
    run_key: int,
    first: int,
    last: int,
    *,
    lonely: bool = False,
    chars: int = CHARS_SHOWN,
) -> tuple[Turn, ...]:
    """Turns `first` to `last` of a run, in order; turns of which nothing was recorded are not there.

    Of what a request sent, only messages that the request before did not have are shown, without the model's own earlier
    answers (but for those the first request brings along) and without results that stand beside their tool call.
    `chars` is where texts are cut, at most `CHARS_AT_MOST`; for `lonely` see `views.run.turns`.
    """
    chars = min(chars, CHARS_AT_MOST)
    params: dict[str, Any] = {"run_key": run_key, "first": first, "last": last}
    models = _rows(con, _MODEL_CALLS, params)
    # One turn more: its results are what the first request shown sends back.
    tools = _rows(con, _TOOL_CALLS, {**params, "first": first - 1, "chars": chars, "lonely": lonely})
    new = _new_keys(models)
    opening = models[0]["turn"] if models else None
    wanted = {key for row in models for key in (*new[row["turn"]], *(row["output_keys"] or ()))}
    wanted |= {
        row["result_message_key"] for row in tools if row["result"] is None and row["result_message_key"] is not None
    }
    bodies = {row["message_key"]: row for row in _rows(con, _MESSAGES, {"keys": sorted(wanted)})} if wanted else {}
    tools = [_with_result(row, bodies, chars) for row in tools]
    results = _named(row for row in tools if row["result"] is not None)
    by_turn = {row["turn"]: row for row in reversed(models)}
    numbers = sorted({row["turn"] for row in (*models, *tools) if first <= row["turn"] <= last})
    return tuple(
        _turn(
            number,
            by_turn.get(number),
            tuple(
                said
                for key in new.get(number, ())
                if key in bodies and (bodies[key]["role"] != "assistant" or number == opening)
                for said in _said(bodies[key], chars, results)
            ),
            [row for row in tools if row["turn"] == number],
            bodies,
            chars,
        )
        for number in numbers
    )


def _rows(con: duckdb.DuckDBPyConnection, sql: str, params: dict[str, Any]) -> list[Row]:
    cursor = con.execute(sql, params)
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _new_keys(models: Sequence[Row]) -> dict[int, list[int]]:
    """Turn -> keys of the messages its request had and the request before had not, system instructions first."""
    new: dict[int, list[int]] = {}
    before: set[int] = set()
    for row in models:
        sent = [key for key in (row["system_key"], *(row["input_keys"] or ())) if key is not None]
        new[row["turn"]] = [key for key in dict.fromkeys(sent) if key not in before]
        before |= set(sent)
    return new


def _turn(
    number: int, model: Row | None, heard: tuple[Said, ...], tools: Iterable[Row], bodies: Mapping[int, Row], chars: int
) -> Turn:
    rows = list(tools)
    calls = tuple(_call(row) for row in rows)
    asked = _named(rows)
    if model is None:
        return Turn(number=number, calls=calls)
    answered = tuple(
        said for key in model["output_keys"] or () if key in bodies for said in _said(bodies[key], chars, asked)
    )
    facts = (
        "model", "span_id", "seconds", "pending", "input_tokens", "output_tokens", "cost_usd", "finish_reason", "error",
        "content_state",
    )  # fmt: skip
    return Turn(number=number, heard=heard, answered=answered, calls=calls, **{name: model[name] for name in facts})


def _with_result(row: Row, bodies: Mapping[int, Row], chars: int) -> Row:
    """The row of a tool call with its result out of the message that sent it back, where the span itself holds none."""
    message = bodies.get(row["result_message_key"])
    if row["result"] is not None or message is None:
        return row
    for part in _parts(message["body"]) or ():
        if (
            isinstance(part, dict)
            and part.get("type") == "tool_call_response"
            and part.get("id") == row["tool_call_id"]
        ):
            text = _part("tool", part, chars).text
            return {**row, "result": text.shown, "result_chars": len(text.shown) + text.left_out_chars}
    return row


def _parts(body: str) -> list[Any] | None:
    """The parts of a message; None where it was cut by us or has a shape of its own."""
    try:
        parts = json.loads(body)["parts"]
    except (ValueError, KeyError, TypeError, RecursionError):  # the text as it is then says more than nothing
        return None
    return parts if isinstance(parts, list) else None


def _call(row: Row) -> Call:
    names = (
        "step", "span_id", "tool_name", "failed", "failure_inferred", "error", "rejected", "declared", "inferred", "seconds",
    )  # fmt: skip
    return Call(
        arguments=_stored(row["arguments"], row["arguments_chars"]),
        result=_stored(row["result"], row["result_chars"]),
        **{name: row[name] for name in names},
    )


def _stored(text: str | None, all_chars: int | None) -> Text | None:
    return None if text is None else Text(text, (all_chars or len(text)) - len(text))


def cut(text: str, chars: int) -> Text:
    """The first `chars` characters of a text."""
    return Text(text[:chars], max(0, len(text) - chars))


def pretty(value: Text) -> Text:
    """A text that is whole and a JSON object or list, laid out over lines where it is long; any other as it is."""
    if value.left_out_chars or not value.shown.lstrip().startswith(("{", "[")):
        return value
    try:
        parsed = json.loads(value.shown)
        line = json.dumps(parsed, ensure_ascii=False)
        return Text(line if len(line) <= _LINE_CHARS else json.dumps(parsed, ensure_ascii=False, indent=2))
    except (ValueError, RecursionError):  # it only begins like JSON
        return value


def said_by_guard(text: str, actions: Iterable[GuardAction]) -> GuardAction | None:
    """The guard's action whose words a message to the model repeats; None where it is a user's own.

    A nudge is sent in the user's name, and begins with the reason that was recorded.
    """
    told = " ".join(text.split())
    reasons = ((" ".join(a.reason.split()), a) for a in actions if a.reason and not a.observed)
    return next((action for reason, action in reasons if reason and told.startswith(reason)), None)


def _said(message: Row, chars: int, elsewhere: frozenset[str | int]) -> list[Said]:
    """The parts of a message, but for the tool calls and results that are shown `elsewhere` (see `_named`)."""
    body = message["body"]
    role = message["role"] or "unknown"
    parts = _parts(body)
    if parts is None:
        return [Said(role=role, kind="raw", text=Text(body[:chars], message["body_chars"] - len(body[:chars])))]
    return [_part(role, part, chars) for part in parts if not _shown_elsewhere(part, elsewhere)]


def _named(calls: Iterable[Row]) -> frozenset[str | int]:
    """What tells a call in a message from others: its id; where its span has none, what was asked and what came back."""
    names: set[str | int] = set()
    for row in calls:
        known = [row["tool_call_id"]] if row["tool_call_id"] else [row["call_key"], row["result_key"]]
        names.update(name for name in known if name is not None)
    return frozenset(names)


def _shown_elsewhere(part: Any, elsewhere: frozenset[str | int]) -> bool:
    if not isinstance(part, dict) or part.get("type") not in ("tool_call", "tool_call_response"):
        return False
    if isinstance(part.get("id"), str) and part["id"] in elsewhere:
        return True
    if part["type"] == "tool_call":
        return sameness.call_key(_name(part), part.get("arguments")) in elsewhere
    return sameness.result_key(_response(part)) in elsewhere


def _response(part: Mapping[str, Any]) -> Any:
    return part.get("response", part.get("result", part.get("content")))


def _part(role: str, part: Any, chars: int) -> Said:
    if not isinstance(part, dict):
        return Said(role=role, kind="text", text=cut(_text(part), chars))
    kind = str(part.get("type") or "text")
    if kind == "tool_call":
        return Said(role=role, kind=kind, name=_name(part), text=cut(_text(part.get("arguments")), chars))
    if kind == "tool_call_response":
        return Said(role=role, kind="tool_result", name=_name(part), text=cut(_text(_response(part)), chars))
    content = part.get("content", part.get("text"))
    return Said(role=role, kind=kind, text=cut(_text(part if content is None else content), chars))


def _name(part: Mapping[str, Any]) -> str | None:
    name = part.get("name")
    return None if name is None else str(name)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
