"""Which runs did their task: as a file of the user's says, or an attribute that was recorded on their spans."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import orjson
import polars as pl

from instrument.errors import UnreadableTrace

SUCCESS: Final = frozenset(
    {"success", "succeeded", "completed", "passed", "pass", "resolved", "true", "yes", "1", "1.0"}
)
FAILURE: Final = frozenset({"failure", "failed", "fail", "partial", "unresolved", "false", "no", "0", "0.0"})
_JSON_LINES: Final = (".jsonl", ".ndjson")
_THERE: Final = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'outcomes'"
_ATTRIBUTE: Final = """
SELECT s.run_id, any_value(a.attributes[?]::VARCHAR) FROM spans s JOIN attribute_sets a USING (attributes_key)
WHERE a.attributes[?] IS NOT NULL GROUP BY s.run_id ORDER BY s.run_id
"""
_RUNS: Final = "SELECT DISTINCT run_id, trace_id, conversation_id FROM spans"


@dataclass(frozen=True, slots=True)
class Told:
    """Where a file says which run, and how it ended; None: the first and the second column."""

    id_column: str | None = None
    outcome_column: str | None = None
    at_least: float | None = None
    """A number from which on a run succeeded; None: only words and 0 or 1 are understood."""


def succeeded(said: object, at_least: float | None = None) -> bool | None:
    """What a word or a number for an outcome means; None where it means nothing we know."""
    word = str(said).strip().strip('"').lower()
    if at_least is not None:
        try:
            return float(word) >= at_least
        except ValueError:
            pass  # a word, then
    return True if word in SUCCESS else False if word in FAILURE else None


def read_outcomes(path: Path, told: Told | None = None) -> dict[str, bool]:
    """Id -> success, from a CSV file or JSON Lines. An empty outcome is passed over: of that run nobody says.

    Without column names the file has two columns, and a first line that says no outcome is a heading.
    Raises `UnreadableTrace`, naming the line, for what cannot be read.
    """
    told = told or Told()
    found: dict[str, bool] = {}
    for number, run, said in _rows(path, told):
        if said is not None and not said.strip():
            continue
        outcome = None if said is None else succeeded(said, told.at_least)
        if outcome is not None:
            found[run] = outcome
        elif number > 1 or told.outcome_column is not None:
            hint = "write success or failure, 1 or 0" + (
                "" if told.at_least is not None else "; for a score name --at-least"
            )
            raise UnreadableTrace(str(path), f"line {number} says no outcome; {hint}")
    return found


def outcomes_of_attribute(con: duckdb.DuckDBPyConnection, name: str, at_least: float | None = None) -> dict[str, bool]:
    """Run id -> success, from the attribute of that name on any span of a run; what means nothing we know is left out."""
    rows = con.execute(_ATTRIBUTE, [name, name]).fetchall()
    read = {run_id: succeeded(said, at_least) for run_id, said in rows}
    return {run_id: outcome for run_id, outcome in read.items() if outcome is not None}


def keep(con: duckdb.DuckDBPyConnection, outcomes: Mapping[str, bool], source: str) -> None:
    """Writes them into the store, in place of what it held of the same ids."""
    told = pl.DataFrame(
        {"id": list(outcomes), "succeeded": list(outcomes.values()), "source": [source] * len(outcomes)},
        schema={"id": pl.String, "succeeded": pl.Boolean, "source": pl.String},
    )
    con.register("told_outcomes", told.to_arrow())
    con.execute("BEGIN")
    con.execute("DELETE FROM outcomes WHERE id IN (SELECT id FROM told_outcomes)")
    con.execute("INSERT INTO outcomes SELECT id, succeeded, source FROM told_outcomes")
    con.execute("COMMIT")
    con.unregister("told_outcomes")


def kept(con: duckdb.DuckDBPyConnection) -> dict[str, bool]:
    """What `keep` wrote into this store; nothing where it is older than that."""
    ((there,),) = con.execute(_THERE).fetchall()
    return dict(con.execute("SELECT id, succeeded FROM outcomes").fetchall()) if there else {}


def unknown_ids(con: duckdb.DuckDBPyConnection, ids: Iterable[str]) -> list[str]:
    """Those that name no run, trace or conversation of the store, in order."""
    there = {one for row in con.execute(_RUNS).fetchall() for one in row}
    return sorted(set(ids) - there)


def _rows(path: Path, told: Told) -> Iterator[tuple[int, str, str | None]]:
    """Line number, id and outcome of each line that has an id; an outcome of None: the line has no such column."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            found = (
                _json_rows(path, lines, told) if path.suffix.lower() in _JSON_LINES else _csv_rows(path, lines, told)
            )
            for number, run, said in found:
                if run.strip():
                    yield number, run.strip(), said
    except OSError as e:
        raise UnreadableTrace(str(path), f"cannot be read ({e.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as e:
        raise UnreadableTrace(str(path), f"is no CSV file: {e}") from None


def _csv_rows(path: Path, lines: Iterable[str], told: Told) -> Iterator[tuple[int, str, str | None]]:
    rows = csv.reader(lines)
    places: tuple[int, int] = (0, 1)
    if told.id_column is not None or told.outcome_column is not None:
        head = next(rows, [])
        places = _place(path, head, told.id_column, 0), _place(path, head, told.outcome_column, 1)
    for row in rows:
        run, said = (row[place] if place < len(row) else None for place in places)
        if run is not None:
            yield rows.line_num, run, said


def _place(path: Path, head: Sequence[str], name: str | None, otherwise: int) -> int:
    if name is None:
        return otherwise
    if name not in head:
        raise UnreadableTrace(str(path), f"has no column {name!r}; it has {', '.join(head[:20])}")
    return head.index(name)


def _json_rows(path: Path, lines: Iterable[str], told: Told) -> Iterator[tuple[int, str, str]]:
    names = told.id_column or "run_id", told.outcome_column or "outcome"
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise UnreadableTrace(str(path), f"line {number} is no JSON") from None
        if not isinstance(found, dict) or names[0] not in found:
            raise UnreadableTrace(
                str(path), f"line {number} has no {names[0]!r}; name the fields with --id and --column"
            )
        said = found.get(names[1])
        yield number, str(found[names[0]]), "" if said is None else str(said)
