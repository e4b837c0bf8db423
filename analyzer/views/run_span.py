"""One span as it lies in the store: every column that says something, its attributes, events and texts, as JSON of bounded size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import duckdb

TEXT_CHARS: Final = 8_000
"""Where each text is cut."""
LIST_ITEMS: Final = 200
"""Where each list is: a request may name thousands of messages."""
MESSAGES_SHOWN: Final = 20
"""Messages of a request: the last of them."""
RAW_CHARS: Final = 200_000
"""Where the whole is."""

_SPAN: Final = """
SELECT s.* EXCLUDE (attributes_key), a.attributes::JSON::VARCHAR AS attributes, c.* EXCLUDE (span_key), o.name AS source
FROM (SELECT * FROM spans WHERE list_contains($runs, run_key) AND span_id = $span_id ORDER BY duplicate_of IS NOT NULL, step LIMIT 1) s
    LEFT JOIN contents c ON c.span_key = s.span_key LEFT JOIN attribute_sets a ON a.attributes_key = s.attributes_key
    LEFT JOIN sources o ON o.source_key = s.source_key
"""
_JSON: Final = ("attributes", "events", "arguments", "result")
_LONG: Final = ("system_key", "input_keys", "output_keys", "result_message_key")


@dataclass(frozen=True, slots=True)
class Raw:
    """A span as text."""

    json: str
    run_key: int
    run_id: str
    step: int
    turn: int
    label: str
    left_out_chars: int
    """Characters of its texts that are not shown."""


def span_at(con: duckdb.DuckDBPyConnection, run_key: int, step: int) -> str | None:
    """Id of the span at a step of a run."""
    found = con.execute("SELECT span_id FROM spans WHERE run_key = ? AND step = ?", [run_key, step]).fetchall()
    return str(found[0][0]) if found else None


def raw(con: duckdb.DuckDBPyConnection, runs: list[int], span_id: str) -> Raw | None:
    """The span of that id in one of these runs (the report that counts, where there are several); None where there is none.

    Messages are those of a model call, of its input the last `MESSAGES_SHOWN`. Texts beyond `TEXT_CHARS`, and what goes beyond
    `RAW_CHARS` in all, are left out, and how many characters that is said.
    """
    cursor = con.execute(_SPAN, {"runs": runs, "span_id": span_id})
    names = [column[0] for column in cursor.description or ()]
    rows = cursor.fetchall()
    if not rows:
        return None
    row = dict(zip(names, rows[0], strict=True))
    shown = {name: value for name, value in row.items() if value is not None and name not in (*_JSON, *_LONG)}
    shown |= {name: _parsed(row[name]) for name in _JSON if row[name] is not None}
    shown |= _messages(con, row)
    cut = _Cut()
    text = json.dumps(cut.of(shown), ensure_ascii=False, indent=2, default=str)
    label = row["tool_name"] or row["response_model"] or row["request_model"] or row["agent_name"] or row["name"] or ""
    return Raw(
        text[:RAW_CHARS],
        row["run_key"],
        row["run_id"],
        row["step"],
        row["turn"],
        str(label),
        cut.left_out + max(0, len(text) - RAW_CHARS),
    )


def _messages(con: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> dict[str, Any]:
    """The messages of a model call under `system`, `input` and `output`, and the one that holds a tool's result."""
    sent = row["input_keys"] or []
    groups = {
        "system": [row["system_key"]],
        "input": sent[-MESSAGES_SHOWN:],
        "output": row["output_keys"] or [],
        "result_message": [row["result_message_key"]],
    }
    keys = sorted({key for group in groups.values() for key in group if key is not None})
    if not keys:
        return {}
    sql = "SELECT message_key, substr(body, 1, ?) FROM messages WHERE message_key IN (SELECT unnest(?::UBIGINT[]))"
    bodies = dict(con.execute(sql, [RAW_CHARS, keys]).fetchall())
    found: dict[str, Any] = {
        name: [_parsed(bodies[key]) for key in group if key in bodies] for name, group in groups.items()
    }
    earlier = len(sent) - len(groups["input"])
    return {name: told for name, told in found.items() if told} | (
        {"earlier_input_messages": earlier} if earlier else {}
    )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # what is no JSON is shown as the text it is
        return text


class _Cut:
    """Cuts long texts and lists, and counts what it leaves out."""

    def __init__(self) -> None:
        self.left_out = 0

    def of(self, value: Any, depth: int = 0) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if depth > 40:  # nested on purpose
            return self._text(str(value)[: TEXT_CHARS + 1])
        if isinstance(value, dict):
            return {self._text(str(name)): self.of(one, depth + 1) for name, one in value.items()}
        if isinstance(value, list):
            more = value[LIST_ITEMS:]
            self.left_out += sum(len(str(one)) for one in more)
            return [self.of(one, depth + 1) for one in value[:LIST_ITEMS]] + ([f"… {len(more):,} more"] if more else [])
        return value

    def _text(self, text: str) -> str:
        if len(text) <= TEXT_CHARS:
            return text
        self.left_out += len(text) - TEXT_CHARS
        return f"{text[:TEXT_CHARS]}… {len(text) - TEXT_CHARS:,} more characters"
