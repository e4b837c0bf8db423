"""What filled the context: each request cut by who put the text there, and where the context was made smaller."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import duckdb
import polars as pl

from analyzer.findings import GuardAction

REQUESTS_SHOWN: Final = 160
"""Of a longer run so many requests are looked at, each the largest of its stretch of turns."""
TOOLS_SHOWN: Final = 5
"""Tools whose results have a colour of their own; the results of the rest are one part."""
SYSTEM, DECLARED, USER, ASSISTANT = "system", "tools declared", "user", "assistant"
OTHER_RESULTS: Final = "results of other tools"
UNKNOWN: Final = "not recorded"
_KINDS: Final = {
    SYSTEM: "system", DECLARED: "declared", USER: "user", ASSISTANT: "assistant", OTHER_RESULTS: "other", UNKNOWN: "unknown",
}  # fmt: skip
_FELL_TO: Final = 0.5
_FELL_FROM_TOKENS: Final = 5_000
_NAME_CHARS: Final = 40

# What a message holds of tool results is known per call; the rest of it belongs to its role.
_PARTS: Final = """
WITH asked AS MATERIALIZED (
    SELECT s.turn, s.toolset_key, c.system_key, c.input_keys FROM spans s JOIN contents c USING (span_key)
    WHERE s.run_key = $run_key AND s.kind = 'model' AND s.duplicate_of IS NULL AND list_contains($steps, s.step)
), sent AS MATERIALIZED (
    SELECT turn, unnest(list_concat(coalesce(input_keys, []), CASE WHEN system_key IS NULL THEN [] ELSE [system_key] END)) AS message_key
    FROM asked
), keys AS MATERIALIZED (SELECT DISTINCT message_key FROM sent
), told AS MATERIALIZED (
    SELECT message_key, role, chars FROM messages WHERE message_key IN (SELECT message_key FROM keys)
), results AS MATERIALIZED (
    SELECT DISTINCT message_key, tool_call_id, result_chars FROM tool_responses
    WHERE message_key IN (SELECT message_key FROM keys)
), calls AS MATERIALIZED (
    SELECT tool_call_id, tool_name FROM spans WHERE run_key = $run_key AND kind = 'tool' AND tool_call_id IS NOT NULL
    UNION ALL
    SELECT tool_call_id, tool_name FROM tool_requests WHERE tool_call_id IN (SELECT tool_call_id FROM results)
        AND trace_id IN (SELECT trace_id FROM spans WHERE run_key = $run_key)
), named AS MATERIALIZED (SELECT tool_call_id, any_value(tool_name) AS tool FROM calls GROUP BY ALL
), of_tools AS MATERIALIZED (
    SELECT message_key, coalesce(tool, 'unnamed tool') AS tool, sum(result_chars) AS chars
    FROM results LEFT JOIN named ON named.tool_call_id = results.tool_call_id GROUP BY ALL
), taken AS MATERIALIZED (SELECT message_key, sum(chars) AS chars FROM of_tools GROUP BY ALL
), parts AS MATERIALIZED (
    SELECT message_key, 'result' AS part, tool, chars FROM of_tools
    UNION ALL
    SELECT told.message_key, CASE WHEN role = 'tool' THEN 'result' ELSE role END, NULL, greatest(told.chars - coalesce(taken.chars, 0), 0)
    FROM told LEFT JOIN taken ON taken.message_key = told.message_key
), summed AS MATERIALIZED (
    SELECT turn, part, tool, sum(chars) AS chars FROM sent JOIN parts ON parts.message_key = sent.message_key GROUP BY ALL
)
SELECT turn, part, tool, chars::BIGINT AS chars FROM summed WHERE chars > 0
UNION ALL
SELECT turn, 'declared', NULL, toolsets.chars FROM asked JOIN toolsets ON toolsets.toolset_key = asked.toolset_key
WHERE toolsets.chars > 0 AND definitions IS NOT NULL
ORDER BY ALL
"""
_REQUESTS: Final = """
SELECT turn, step, input_tokens, coalesce(compaction_input_tokens, 0) > 0 AS compacted, toolset_key IS NOT NULL AS declared,
    system_key IS NOT NULL AS system
FROM spans s LEFT JOIN contents c USING (span_key)
WHERE run_key = $run_key AND kind = 'model' AND duplicate_of IS NULL ORDER BY step
"""
_COMPACTIONS: Final = (
    "SELECT turn FROM spans WHERE run_key = ? AND kind = 'other' AND name = 'compaction' ORDER BY step"
)


@dataclass(frozen=True, slots=True)
class Composition:
    """The requests of a run by what they were made of."""

    parts: pl.DataFrame
    """One part of one request a row: `turn`, `last_turn` (it stands for those up to it), `part`, `kind` (`system`, `declared`,
    `user`, `assistant`, `result`, `other` results, `unknown`), `rank` (of the part, from 0), `amount` (in `unit`),
    `chars` (null where not recorded)."""
    unit: str
    """`tokens`: recorded totals, split by characters of text; `characters` where no request has a count of tokens."""
    compactions: pl.DataFrame
    """One a row: `turn` before which the context was made smaller, `how`."""
    no_system: bool
    """No request recorded its system instructions."""
    no_declared: bool
    """No request recorded the tools it declared."""
    unknown_requests: int
    """Of those looked at, requests of which no message was recorded."""


def composition(
    con: duckdb.DuckDBPyConnection, run_key: int, actions: Iterable[GuardAction] = (), requests: int = REQUESTS_SHOWN
) -> Composition:
    """What the requests of a run were made of; of at most `requests` of them, each the largest of as many turns.

    No tokenizer is asked: a request's recorded tokens are split as its characters are, so a part's tokens are an estimate
    and the total is exact. What was not recorded (often system instructions and declared tools) is inside the other parts.
    """
    asked = con.sql(_REQUESTS, params={"run_key": run_key}).pl()
    chosen = _largest(asked, requests)
    params = {"run_key": run_key, "steps": chosen["step"].to_list()}
    found = con.sql(_PARTS, params=params).pl() if chosen.height else _NOTHING
    by_tokens = chosen["input_tokens"].count() > 0
    parts = _scaled(_named(found), chosen, by_tokens=by_tokens)
    known = set(found["turn"])
    return Composition(
        parts,
        "tokens" if by_tokens else "characters",
        _compactions(con, run_key, asked, actions),
        no_system=not (asked["system"].any() or (found["part"] == SYSTEM).any()),
        no_declared=not asked["declared"].any(),
        unknown_requests=chosen.filter(~pl.col("turn").is_in(list(known))).height,
    )


_NOTHING: Final = pl.DataFrame(schema={"turn": pl.Int32, "part": pl.String, "tool": pl.String, "chars": pl.Int64})


def _largest(asked: pl.DataFrame, most: int) -> pl.DataFrame:
    """One request per stretch of turns, the one with most tokens, with `turn` the first and `last_turn` the last of the stretch."""
    group = max(1, -(-asked.height // most))
    return (
        asked.with_row_index("at")
        .with_columns(group=pl.col("at") // group, first=pl.col("turn").min().over(pl.col("at") // group))
        .with_columns(last_turn=pl.col("turn").max().over("group"))
        .sort(pl.col("input_tokens").fill_null(-1), "at", descending=[True, True])
        .unique("group", keep="first", maintain_order=True)
        .sort("group")
    )


def _named(found: pl.DataFrame) -> pl.DataFrame:
    """`found` with parts as they are shown: tools with the most text by name, the others together."""
    results = found.filter(pl.col("tool").is_not_null())
    peaks = results.group_by("tool").agg(pl.col("chars").max()).sort(["chars", "tool"], descending=[True, False])
    shown = peaks["tool"].head(TOOLS_SHOWN).to_list()
    tool = pl.format("result: {}", pl.col("tool").str.slice(0, _NAME_CHARS))
    part = (
        pl.when(pl.col("tool").is_in(shown)).then(tool)
        .when(pl.col("part") == "result").then(pl.lit(OTHER_RESULTS))
        .when(pl.col("part") == "declared").then(pl.lit(DECLARED))
        .when(pl.col("part").is_in([SYSTEM, USER, ASSISTANT])).then("part")
        .otherwise(pl.lit(USER))
    )  # fmt: skip
    return found.with_columns(part=part).group_by("turn", "part").agg(pl.col("chars").sum())


def _scaled(parts: pl.DataFrame, chosen: pl.DataFrame, *, by_tokens: bool) -> pl.DataFrame:
    whole = pl.col("chars").sum().over("turn")
    amount = (pl.col("input_tokens") * pl.col("chars") / whole) if by_tokens else pl.col("chars")
    blank = chosen.join(parts, on="turn", how="anti").filter(pl.col("input_tokens").is_not_null())
    rows = pl.concat(
        [
            parts.join(chosen, on="turn").with_columns(amount=amount.cast(pl.Float64)),
            blank.with_columns(
                part=pl.lit(UNKNOWN), amount=pl.col("input_tokens").cast(pl.Float64), chars=pl.lit(None, pl.Int64)
            ),
        ],
        how="diagonal_relaxed",
    ).filter(pl.col("amount").is_not_null())
    fixed = [SYSTEM, DECLARED, USER, ASSISTANT]
    totals = rows.group_by("part").agg(pl.col("amount").sum()).sort(["amount", "part"], descending=[True, False])
    tools = [name for name in totals["part"] if name not in (*fixed, OTHER_RESULTS, UNKNOWN)]
    order = [name for name in (*fixed, *tools, OTHER_RESULTS, UNKNOWN) if name in set(totals["part"])]
    rank = pl.col("part").replace_strict(order, range(len(order)), return_dtype=pl.Int64)
    kind = pl.col("part").replace_strict(_KINDS, default="result", return_dtype=pl.String)
    return rows.select("part", "amount", "chars", "last_turn", turn="first", rank=rank, kind=kind).sort("turn", "rank")


def _compactions(
    con: duckdb.DuckDBPyConnection, run_key: int, asked: pl.DataFrame, actions: Iterable[GuardAction]
) -> pl.DataFrame:
    """Recorded compactions, those of guards and of the API, and falls by half of which nothing says why."""
    found: dict[int, str] = {}
    for turn, tokens, before in zip(asked["turn"], asked["input_tokens"], asked["input_tokens"].shift(), strict=True):
        if tokens is not None and before is not None and before >= _FELL_FROM_TOKENS and tokens < before * _FELL_TO:
            found[turn] = f"fell from {before:,} to {tokens:,} tokens; no compaction was recorded"
    for turn in asked.filter("compacted")["turn"]:
        found[turn] = "compacted by the API"
    for (turn,) in con.execute(_COMPACTIONS, [run_key]).fetchall():
        for fell in (turn, turn + 1, turn + 2):  # the fall is the compaction's own, in the request after it
            found.pop(fell, None)
        found[turn + 1] = "compacted"
    for action in actions:
        if action.action == "compact" and not action.observed:
            found[action.turn] = action.reason or "compacted by the guard"
    return pl.DataFrame(sorted(found.items()), schema={"turn": pl.Int64, "how": pl.String}, orient="row")
