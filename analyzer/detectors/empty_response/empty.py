"""Answers that hold neither words nor a tool call."""

from __future__ import annotations

from typing import Final

import polars as pl

from analyzer.frames import Frames

_OTHERWISE: Final = (
    "('refusal', 'content_filter', 'safety', 'pause_turn', 'compaction', 'tool_use', 'tooluse', 'tool_call', 'tool_calls', 'tool-calls', "
    "'function_call', 'max_tokens', 'length', 'max_output_tokens', 'model_context_window_exceeded', 'error')"
)
"""Reasons to stop that explain why there are no words, or that are another detector's."""
_SILENT: Final = f"""coalesce(output_chars IS NOT NULL AND output_key IS NULL AND requested_calls = 0
    AND coalesce(lower(finish_reason), '') NOT IN {_OTHERWISE}, false)"""
_FEW_TOKENS: Final = 16
"""What saying nothing costs at most. An answer that was billed more and shows no thinking was not recorded whole."""
_PAID_FOR: Final = (
    f"coalesce(output_tokens - coalesce(reasoning_tokens, 0) > {_FEW_TOKENS}, false) AND content_state != 'hashed'"
)
# Images, files and what tools on the server found are answers too. MATERIALIZED: see `context_growth.filling`.
_PARTS: Final = """
WITH keys AS MATERIALIZED (
    SELECT w.run_key, w.step, unnest(c.output_keys) AS message_key FROM wanted w JOIN contents c USING (span_key)
), told AS MATERIALIZED (
    SELECT message_key, body FROM messages WHERE rowid IN (SELECT rowid FROM messages WHERE message_key IN (SELECT message_key FROM keys))
), parts AS MATERIALIZED (
    SELECT run_key, step, unnest(json_extract_string(m.body, '$.parts[*].type')) AS part FROM keys JOIN told m USING (message_key)
)
SELECT run_key, step, bool_or(part = 'reasoning') AS thought, bool_or(part NOT IN ('text', 'reasoning')) AS shown
FROM parts GROUP BY ALL
"""


def answers(frames: Frames, runs: pl.Series) -> pl.DataFrame:
    """One row is one answer of the `runs`, in order, with `empty`; requests that failed or are pending have none."""
    columns = ["span_key", f"silent: {_SILENT}", f"paid_for: {_PAID_FOR}"]
    found = frames.rows("kind = 'model' AND NOT coalesce(failed, false) AND end_ns IS NOT NULL", columns, runs)
    parts = frames.ask(_PARTS, wanted=found.filter("silent").select("run_key", "step", "span_key"))
    thought, shown = pl.col("thought").fill_null(False), pl.col("shown").fill_null(False)
    return (
        found.join(parts, on=["run_key", "step"], how="left", maintain_order="left")
        .with_columns(empty=pl.col("silent") & ~shown & (thought | ~pl.col("paid_for").fill_null(False)))
        .select("run_key", "step", "turn", "empty")
    )
