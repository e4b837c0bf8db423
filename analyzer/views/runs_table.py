"""The list of all runs as a table in DuckDB: filtered, sorted by any column and cut into pages there, a million runs or ten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import duckdb
import polars as pl

from analyzer.views.runs_wanted import Wanted

WORST: Final = "worst"
SORTS: Final = {
    WORST: ("rank", "wasted_usd", "cost_usd"),
    "agent": ("agent_name",),
    "model": ("model",),
    "user": ("user_id",),
    "started": ("start_ns",),
    "outcome": ("outcome",),
    "stop": ("stop_reason",),
    "findings": ("findings",),
    "cost": ("cost_usd",),
    "wasted": ("wasted_usd",),
    "duration": ("seconds",),
    "turns": ("model_calls",),
    "calls": ("tool_calls",),
    "failed": ("failed_tool_calls",),
    "context": ("peak_input_tokens",),
    "input": ("input_tokens",),
    "output": ("output_tokens",),
    "spans": ("spans",),
}
"""What the list may be sorted by, as an address says it -> the columns that decide."""
NAMES_OFFERED: Final = 500
"""In one filter; the browser does not like more."""
_NAMED: Final = {
    "agents": "agent_name",
    "models": "model",
    "users": "user_id",
    "outcomes": "outcome",
    "stops": "stop_reason",
}
_SUMS: Final = """
SELECT count(*) AS runs, count(*) FILTER (findings > 0) AS with_findings, sum(findings)::BIGINT AS findings, sum(cost_usd) AS cost_usd,
       count(*) FILTER (cost_usd IS NULL) AS unknown_costs, sum(unpriced_calls)::BIGINT AS unpriced_calls,
       sum(wasted_usd) AS wasted_usd, sum(input_tokens)::BIGINT AS input_tokens, sum(output_tokens)::BIGINT AS output_tokens,
       sum(model_calls)::BIGINT AS model_calls, sum(tool_calls)::BIGINT AS tool_calls,
       sum(failed_tool_calls)::BIGINT AS failed_tool_calls, sum(seconds) AS seconds,
       count(*) FILTER (outcome = 'failed') AS failed, count(*) FILTER (outcome = 'unfinished') AS unfinished,
       min(start_ns) AS first_ns, max(start_ns) AS last_ns
FROM runs WHERE {where}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What the runs that a filter lets through come to; None: not known of any of them."""

    runs: int
    with_findings: int
    findings: int
    cost_usd: float | None
    unknown_costs: int
    """Runs that are not in `cost_usd`, because nothing in them has a known price."""
    unpriced_calls: int
    wasted_usd: float | None
    """What is known of it, each useless turn once."""
    input_tokens: int | None
    output_tokens: int | None
    model_calls: int
    tool_calls: int
    failed_tool_calls: int
    seconds: float | None
    failed: int
    unfinished: int
    first_ns: int | None
    """Start of the earliest of them, nanoseconds since 1970."""
    last_ns: int | None


class RunTable:
    """The rows of `views.runs.with_findings`; may be asked by several threads at once."""

    def __init__(self, runs: pl.DataFrame) -> None:
        self._con = duckdb.connect(":memory:")
        self._con.register("given", runs.to_arrow())
        self._con.execute("CREATE TABLE runs AS SELECT * FROM given")
        self._con.unregister("given")
        self._schema = runs.schema
        self._names: dict[str, list[str]] = {}

    def page(
        self, wanted: Wanted, sort: str = WORST, *, descending: bool = True, offset: int = 0, limit: int = 50
    ) -> pl.DataFrame:
        """So many of the wanted runs in the order that `SORTS` names, from the `offset`th on; what is not known comes last either way, and
        equals in order of `run_key`.
        """
        where, params = _conditions(wanted)
        way = "DESC" if descending else "ASC"
        order = ", ".join(f"{column} {way} NULLS LAST" for column in SORTS[sort])
        params |= {"offset": offset, "limit": limit}
        sql = f"SELECT * FROM runs WHERE {where} ORDER BY {order}, run_key LIMIT $limit OFFSET $offset"
        found = self._ask(sql, params)
        return found.cast(dict(self._schema))  # type: ignore[arg-type]  # a mapping of names to types

    def matching(self, wanted: Wanted) -> pl.DataFrame:
        """All wanted runs, the newest first."""
        where, params = _conditions(wanted)
        found = self._ask(f"SELECT * FROM runs WHERE {where} ORDER BY start_ns DESC NULLS LAST, run_key", params)
        return found.cast(dict(self._schema))  # type: ignore[arg-type]  # as above

    def sums(self, wanted: Wanted) -> Sums:
        """What they come to."""
        where, params = _conditions(wanted)
        row = self._ask(_SUMS.format(where=where), params).row(0, named=True)
        filled: dict[str, Any] = {name: _nothing(name) if value is None else value for name, value in row.items()}
        return Sums(**filled)

    def names(self, column: str) -> list[str]:
        """The `NAMES_OFFERED` commonest values of a text column of the runs; what is not known left out."""
        if column not in self._schema:
            raise ValueError(column)
        if column not in self._names:
            sql = f"SELECT {column} AS name FROM runs WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT $limit"
            self._names[column] = self._ask(sql, {"limit": NAMES_OFFERED})["name"].to_list()
        return self._names[column]

    def _ask(self, sql: str, params: dict[str, Any]) -> pl.DataFrame:
        with self._con.cursor() as cursor:
            found: pl.DataFrame = cursor.sql(sql, params=params).pl()
            return found


def _nothing(name: str) -> int | None:
    """A sum over no rows: nothing where it counts, not known where it measures."""
    return None if name.endswith(("_usd", "tokens", "seconds", "_ns")) else 0


def _conditions(wanted: Wanted) -> tuple[str, dict[str, Any]]:
    """A condition in SQL over `runs`, and its parameters."""
    parts, params = ["true"], dict[str, Any]()
    for field, column in _NAMED.items():
        values = list(getattr(wanted, field))
        if values:
            unknown = f" OR {column} IS NULL" if "" in values else ""
            parts.append(f"(coalesce(list_contains(${field}::VARCHAR[], {column}), false){unknown})")
            params[field] = values
    if wanted.detectors:
        parts.append("list_has_any(detectors, $detectors::VARCHAR[])")
        params["detectors"] = list(wanted.detectors)
    if wanted.since_ns is not None:
        parts.append("start_ns >= $since")
        params["since"] = wanted.since_ns
    if wanted.until_ns is not None:
        parts.append("start_ns < $until")
        params["until"] = wanted.until_ns
    if wanted.text:
        parts.append(
            "(contains(run_id, $text) OR contains(trace_id, $text) OR coalesce(contains(user_id, $text), false))"
        )
        params["text"] = wanted.text
    parts.extend(_costs(wanted, params))
    return " AND ".join(parts), params


def _costs(wanted: Wanted, params: dict[str, Any]) -> list[str]:
    cost = wanted.cost
    if cost is None:
        return []
    if cost.unknown:
        return ["cost_usd IS NULL"]
    parts = []
    if cost.low is not None:
        parts.append("cost_usd >= $cost_low")
        params["cost_low"] = cost.low
    if cost.high is not None:
        parts.append("cost_usd <= $cost_high")
        params["cost_high"] = cost.high
    return parts
