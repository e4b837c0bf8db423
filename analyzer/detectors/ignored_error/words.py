"""What a model said after a failure, and the words by which it owns up or claims success."""

from __future__ import annotations

from typing import Final

import polars as pl

from analyzer.frames import Frames

_OWNS_UP: Final = (
    # English
    r"error|fail|could ?n[o'\x{2019}]t|can(no|['\x{2019}]?)t\b|can not|unable|not able|unsuccessful|impossible|not possible|unfortunately",
    r"sorry|apolog|timed? ?-?out|denied|refused|rejected|unavailable|unreachable|went wrong|without success|gave up|give up",
    r"not (found|available|exist|work|reach|send|sent|done)|did(n['\x{2019}]t| not) (work|go)|try again|workaround",
    # German, French, Spanish, Portuguese, Italian
    r"fehl|konnte|leider|erreur|échou|echou|échec|pas pu|malheureusement|fall[oóa]|no (se )?(pud|fue)|lamenta",
    r"erro\b|falh|infelizmente|fallit|purtroppo|impossibile",
    # Chinese, Japanese, Russian
    r"错误|失败|无法|不能|抱歉|未能|エラー|失敗|できません|できなかっ|申し訳|ошибк|не удалось|к сожалению|невозможно",
)
_MAY_OWN_UP: Final = (
    r"n['\x{2019}]t\b|\bnot?\b|problem|issue|trouble|however|although|instead|missing|incomplete|blocked|invalid|crash|broken|yet\b",
    r"nicht|n['\x{2019}]a pas|\bne\b|não|non (è|sono|ho)|没有",
)
OWNS_UP: Final = f"(?i){'|'.join(_OWNS_UP)}"
"""Words of failure, wherever they were said afterwards."""
MAY_OWN_UP: Final = f"(?i){'|'.join(_MAY_OWN_UP)}"
"""Words that may speak of one, if they were said next or at the end. Both are wide on purpose: a doubt is no finding.
"""
_DID: Final = (
    "sent|saved|booked|updated|created|deleted|removed|written|wrote|fixed|added|changed|cancel\\w+|refunded|submitted|deployed"
    "|pushed|scheduled|published|posted|applied|installed"
)
_CLAIMS: Final = (
    r"done|success\w*|completed?|finished|has been|have been|all set",
    rf"(is|are) (now )?(up to date|in place|ready|{_DID})|(I|we)(['\x{{2019}}]ve| have)? (\w+ )?({_DID})",
    r"erledigt|erfolgreich|terminé|réussi|listo|completado|concluído|completato",
)
CLAIMS: Final = rf"(?i)\b({'|'.join(_CLAIMS)})\b|已完成|成功|完了"

# MATERIALIZED: DuckDB 2.0.0 fails on joins of joins over some stores ("dict-surviving join", duckdb#24807), and then the database is lost.
_SAID: Final = """
WITH calls AS MATERIALIZED (
    SELECT w.run_key, w.step, s.step AS said_at, s.span_key FROM wanted w
        JOIN spans s ON s.run_key = w.run_key AND s.step > w.step AND s.kind = 'model' AND s.duplicate_of IS NULL
), later AS MATERIALIZED (
    SELECT run_key, step, said_at, unnest(c.output_keys) AS message_key FROM calls JOIN contents c USING (span_key)
), parts AS (
    SELECT l.run_key, l.step, l.said_at,
        array_to_string(TRY(list_transform(
            list_filter((m.body->'$.parts')::JSON[], lambda p: p->>'$.type' = 'text'), lambda p: p->>'$.content'
        )), chr(10)) AS said -- TRY: a message is what somebody recorded
    FROM later l JOIN messages m USING (message_key)
)
SELECT run_key, step, string_agg(said, chr(10) ORDER BY said_at) AS said, first(said ORDER BY said_at) AS next,
    last(said ORDER BY said_at) AS answer
FROM parts WHERE said <> '' GROUP BY run_key, step
"""


def said_after(frames: Frames, calls: pl.DataFrame) -> pl.DataFrame:
    """One row is one of the `calls` (`run_key`, `step`) after which the model's words were recorded: all it
    `said` since, what it said `next`, and its last `answer`."""
    return frames.ask(_SAID, wanted=calls.select("run_key", "step")).with_columns(
        pl.col("run_key", "step").cast(pl.Int32)
    )
