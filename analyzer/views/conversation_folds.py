"""Turns that did the same again, folded: "this call, 14 times"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb

from analyzer.views.run import TURN

FOLDED_FROM: Final = 3
"""Fewer repeats are shown one by one."""
PERIODS: Final = 4
"""The longest cycle of turns that is looked for."""

Signature = tuple[object, ...] | None
"""What a turn did: its calls and their results, or its text where it called nothing; None where that is not known."""

# A call that a guard refused has the guard's words as its result, and they count up.
_SIGNATURES: Final = f"""
SELECT {TURN} AS turn,
    list([call_key, CASE WHEN rejected = 'blocked' THEN 0 ELSE result_key END] ORDER BY step)
        FILTER (kind = 'tool' AND duplicate_of IS NULL) AS calls,
    list(DISTINCT coalesce(tool_name, 'unnamed tool') ORDER BY coalesce(tool_name, 'unnamed tool'))
        FILTER (kind = 'tool' AND duplicate_of IS NULL) AS tools,
    max(output_key) FILTER (kind = 'model' AND duplicate_of IS NULL) AS output_key,
    bool_or(rejected = 'blocked') FILTER (kind = 'tool' AND duplicate_of IS NULL) AS blocked,
    bool_or(failed) FILTER (kind = 'tool' AND duplicate_of IS NULL) AS failed,
    bool_or(kind = 'other' AND name = 'compaction') AS compacted
FROM spans WHERE run_key = $run_key AND (NOT $lonely OR kind = 'tool')
GROUP BY 1 HAVING count(*) FILTER (kind IN ('model', 'tool') AND duplicate_of IS NULL) > 0 ORDER BY 1
"""
_SPOKEN: Final = """
WITH asked AS MATERIALIZED (
    SELECT s.turn, c.input_keys FROM spans s JOIN contents c USING (span_key)
    WHERE s.run_key = $run_key AND s.kind = 'model' AND s.duplicate_of IS NULL AND s.turn IN ($first, $last)
), new AS MATERIALIZED (
    SELECT unnest(input_keys) AS message_key FROM asked WHERE turn = $last
    EXCEPT SELECT unnest(input_keys) FROM asked WHERE turn = $first
)
SELECT count(*) FROM messages WHERE role = 'user' AND message_key IN (SELECT message_key FROM new)
    AND message_key NOT IN (SELECT message_key FROM tool_responses WHERE message_key IN (SELECT message_key FROM new))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A turn, or a stretch of turns that did the same `times` times over."""

    first: int
    last: int
    """Turns."""
    times: int = 1
    period: int = 1
    """Turns of one round."""
    tools: tuple[str, ...] = ()
    """Tools of a round, by name; empty where it called nothing."""
    blocked: bool = False
    """A guard refused calls of it."""
    failed: bool = False


def entries(con: duckdb.DuckDBPyConnection, run_key: int, *, lonely: bool = False) -> list[Entry]:
    """The turns of a run in order, folded; `lonely` as for `views.run.turns`.

    Only stretches in which each turn is known to have done what the one before did (or the one a cycle before): the same calls
    with the same arguments and results, or the same words. What is not known never counts as equal.
    """
    rows = con.execute(_SIGNATURES, {"run_key": run_key, "lonely": lonely}).fetchall()
    signed = [_signature(calls, output_key, compacted=compacted) for _, calls, _, output_key, _, _, compacted in rows]
    return [_entry(rows[start : start + times * period], times, period) for start, times, period in folds(signed)]


def _signature(calls: list[list[int | None]] | None, output_key: int | None, *, compacted: bool) -> Signature:
    if compacted:  # the turn after which the context was made smaller is not one like the others
        return None
    if not calls:
        return None if output_key is None else (output_key,)
    known = all(key is not None for call in calls for key in call)
    return tuple(map(tuple, calls)) if known else None


def _entry(rows: Sequence[tuple[Any, ...]], times: int, period: int) -> Entry:
    tools = dict.fromkeys(tool for row in rows[:period] for tool in row[2] or ())
    return Entry(
        first=rows[0][0],
        last=rows[-1][0],
        times=times,
        period=period,
        tools=tuple(tools),
        blocked=any(row[4] for row in rows),
        failed=any(row[5] for row in rows),
    )


def folds(signed: Sequence[Signature]) -> list[tuple[int, int, int]]:
    """Where stretches begin, how often they repeat and how many turns a round has; `(start, 1, 1)` for a turn that stands alone.

    From the left, the period that covers most; of equal ones the shortest.
    """
    found, start = [], 0
    while start < len(signed):
        best = (1, 1)
        for period in range(1, PERIODS + 1):
            times = _repeats(signed, start, period)
            if times >= FOLDED_FROM and times * period > best[0] * best[1]:
                best = times, period
        found.append((start, *best))
        start += best[0] * best[1]
    return found


def _repeats(signed: Sequence[Signature], start: int, period: int) -> int:
    """How often the round of `period` turns from `start` on comes, itself included."""
    at = start + period
    while at < len(signed) and signed[at] is not None and signed[at] == signed[at - period]:
        at += 1
    return (at - start) // period


def spoken_within(con: duckdb.DuckDBPyConnection, run_key: int, entry: Entry) -> int:
    """How many messages of users came between the first and the last request of a folded stretch, words of guards included."""
    params = {"run_key": run_key, "first": entry.first, "last": entry.last}
    return int(con.execute(_SPOKEN, params).fetchall()[0][0])


def page_with(found: Sequence[Entry], turn: int, per_page: int) -> int:
    """The page, from 1, of the entry that holds a turn; the last one where the turn comes after all of them."""
    before = sum(entry.last < turn for entry in found)
    return max(1, min(before // per_page + 1, -(-len(found) // per_page)))
