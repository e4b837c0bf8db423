"""What filled a context: system instructions, declarations, results by tool, the model's own words, the user's."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec
import polars as pl

from analyzer.frames import Frames

_SHARES_SHOWN: Final = 6
_MESSAGES: Final = """
SELECT s.run_key, s.step, role, body, chars, 1 AS part FROM wanted w JOIN spans s USING (run_key, step) JOIN contents c USING (span_key)
JOIN messages m ON m.message_key = c.system_key OR list_contains(c.input_keys, m.message_key)
UNION ALL
SELECT s.run_key, s.step, 'tools', NULL, t.chars, 1 FROM wanted w JOIN spans s USING (run_key, step) JOIN toolsets t USING (toolset_key)
"""
_NAMES: Final = "SELECT DISTINCT run_key, tool_call_id, tool_name FROM spans WHERE kind = 'tool' AND tool_call_id IS NOT NULL AND run_key IN (SELECT run_key FROM wanted)"


def fillings(patterns: pl.DataFrame, frames: Frames) -> pl.DataFrame:
    """`patterns` (with `run_key` and `peak_step`) plus `filled_by`: a list of {what, share}, largest first, shares of the request's characters.

    Null where the request's messages were not recorded.
    """
    if patterns.is_empty():
        return patterns.with_columns(filled_by=pl.lit(None, pl.List(pl.Struct({"what": pl.String, "share": pl.Float64}))))
    wanted = patterns.select("run_key", pl.col("peak_step").alias("step"))
    names = {(r, c): n for r, c, n in frames.ask(_NAMES, wanted=wanted).iter_rows()}
    totals: dict[int, Counter[str]] = {}
    for run_key, _, role, body, chars, _ in frames.ask(_MESSAGES, wanted=wanted).iter_rows():
        counts = totals.setdefault(run_key, Counter())
        if body is None:
            counts["tool definitions"] += chars or 0
        else:
            counts.update(_parts(run_key, role, body, names))
    rows = [_shares(totals.get(run_key)) for run_key in patterns["run_key"]]
    return patterns.with_columns(filled_by=pl.Series(rows, dtype=pl.List(pl.Struct({"what": pl.String, "share": pl.Float64}))))


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
    return [{"what": what, "share": round(n / whole, 3)} for what, n in counts.most_common(_SHARES_SHOWN)] if counts and whole else None
