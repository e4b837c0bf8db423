"""What filled a context: system instructions, declarations, results by tool, the model's own words, the user's."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec
import polars as pl

from analyzer.frames import Frames

_SHARES_SHOWN: Final = 6
# MATERIALIZED: DuckDB 2.0.0 fails on joins of joins over some stores ("dict-surviving join", duckdb#24807), and then the database is lost.
_MESSAGES: Final = """
WITH held AS MATERIALIZED (
    SELECT span_key, input_keys, system_key FROM contents WHERE span_key IN (SELECT span_key FROM wanted)
), sent AS MATERIALIZED (
    SELECT run_key, unnest(list_append(coalesce(c.input_keys, []), c.system_key)) AS message_key
    FROM wanted w JOIN held c ON c.span_key = w.span_key
), told AS MATERIALIZED (
    SELECT message_key, role, body, chars FROM messages WHERE rowid IN (
        SELECT rowid FROM messages WHERE message_key IN (SELECT message_key FROM sent)
    ) -- row numbers first: a scan that only filters would unpack every text there is
)
SELECT run_key, role, body, chars FROM sent JOIN told USING (message_key)
UNION ALL
SELECT run_key, 'tools', NULL, t.chars FROM wanted JOIN toolsets t USING (toolset_key)
"""
_NAMES: Final = """
SELECT run_key, tool_call_id, any_value(tool_name) FROM spans
WHERE kind = 'tool' AND tool_call_id IS NOT NULL AND run_key IN (SELECT run_key FROM wanted) GROUP BY ALL
"""


def fillings(patterns: pl.DataFrame, frames: Frames) -> pl.DataFrame:
    """`patterns` (with `run_key` and `peak_step`) plus `filled_by`: a list of {what, share}, largest first, shares of
    the request's characters.

    Null where the request's messages were not recorded.
    """
    if patterns.is_empty():
        return patterns.with_columns(
            filled_by=pl.lit(None, pl.List(pl.Struct({"what": pl.String, "share": pl.Float64})))
        )
    wanted = frames.at(patterns.select("run_key", step="peak_step"), ["span_key", "toolset_key"])
    messages = frames.ask(_MESSAGES, wanted=wanted)
    names = (
        {(r, c): n for r, c, n in frames.ask(_NAMES, wanted=messages.select("run_key").unique()).iter_rows()}
        if len(messages)
        else {}
    )
    totals: dict[int, Counter[str]] = {}
    for run_key, role, body, chars in messages.iter_rows():
        counts = totals.setdefault(run_key, Counter())
        if body is None:
            counts["tool definitions"] += chars or 0
        else:
            counts.update(_parts(run_key, role, body, names))
    rows = [_shares(totals.get(run_key)) for run_key in patterns["run_key"]]
    return patterns.with_columns(
        filled_by=pl.Series(rows, dtype=pl.List(pl.Struct({"what": pl.String, "share": pl.Float64})))
    )


def _parts(run_key: int, role: str, body: str, names: dict[tuple[int, str], str]) -> Counter[str]:
    """Characters of one message by what they are."""
    counts: Counter[str] = Counter()
    message: dict[str, Any] = msgspec.json.decode(body)
    for part in message.get("parts") or ():
        size = len(msgspec.json.encode(part))
        if isinstance(part, dict) and part.get("type") == "tool_call_response":
            counts[f"results of {names.get((run_key, str(part.get('id'))), 'a tool')}"] += size
        else:
            counts[role] += size
    return counts


def _shares(counts: Counter[str] | None) -> list[dict[str, Any]] | None:
    whole = sum(counts.values()) if counts else 0
    return (
        [{"what": what, "share": round(n / whole, 3)} for what, n in counts.most_common(_SHARES_SHOWN)]
        if counts and whole
        else None
    )
