"""What judging costs, as ratios to one scan of the columns that the detectors read.

    python -m benchmarks.detectors [--spans 1000000] [--db FILE]

Builds databases of generated runs (`benchmarks.generated_runs`) and measures each in a process of its own, opened as `flyball check` opens
it, so that peak memory is of the judging alone: the six first detectors, all of them, and how the cost of a span changes with the number of
spans (a tenth of them is judged, too) and with the length of runs (one run of 100,000 steps beside as many spans in ordinary runs). Ratios
are given by processor time, which other work on the machine changes less, and by the clock.

Two floors are given, each one aggregate inside DuckDB. The narrow one is over the columns that detectors share (`Detector.reads`), of the
rows of their kind. The whole one is over every column of all rows that is named in a statement which no list of runs limits; those
statements are listened to while patterns are looked for. Some of them read
a text of a few rows only (those that failed, the first of each run), so that this floor flatters; the narrow one leaves out what the first
look at every row needs. Looking for patterns, which grows with the spans, is told apart from what comes after: findings with their texts
and their waste, totals and issues.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import duckdb

from benchmarks.generated_runs import FAILURES, ODDS, build
from instrument.store.connect import reading
from instrument.store.schema import REQUESTS, SPANS

__all__ = ["build"]

SIX: Final = ("error_cascade", "repeated_call", "context_growth", "unknown_tool", "repeated_output", "cost_outlier")
GOAL_SIX, GOAL_ALL, GOAL_BYTES = 8, 25, 2_000_000_000
LONG_TURNS: Final = 50_000


class Seconds(NamedTuple):
    """What something took."""

    cpu: float
    wall: float

    def over(self, floor: Seconds) -> str:
        """`12.3 (13.1)`: times as much as `floor` by processor time, and by the clock."""
        return f"{self.cpu / floor.cpu:6.1f} ({self.wall / floor.wall:.1f})"


def best(rounds: int, *works: Callable[[], object]) -> list[Seconds]:
    """The fastest of `rounds` of each; they take turns, so that a machine that slows down slows all of them."""
    times = [[seconds(work) for work in works] for _ in range(rounds)]
    return [Seconds(*(min(of_one) for of_one in zip(*rows, strict=True))) for rows in zip(*times, strict=True)]


def seconds(work: Callable[[], object]) -> Seconds:
    """How long `work` takes."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Seconds(time.process_time() - cpu, time.perf_counter() - wall)


class Listening:
    """A connection that notes what it is asked, but for what names a table that was lent to it: a list of runs or rows."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self._con = con
        self._lent: set[str] = set()
        self.statements: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._con, name)

    def register(self, name: str, table: object) -> object:
        """Lends a table."""
        self._lent.add(name)
        return self._con.register(name, table)

    def sql(self, query: str, **more: Any) -> Any:
        """As the connection's own."""
        self._note(query)
        return self._con.sql(query, **more)

    def execute(self, query: str, *more: Any) -> Any:
        """As the connection's own."""
        self._note(query)
        return self._con.execute(query, *more)

    def _note(self, query: str) -> None:
        if not any(re.search(rf"\b{name}\b", query) for name in self._lent):
            self.statements.append(query)


def whole_floor(con: duckdb.DuckDBPyConnection, slugs: Sequence[str]) -> list[str]:
    """SQL that reads every value of the columns that these detectors look through in all rows, a statement for each table.

    A column of which a statement only asks whether it is null is not read for it.
    """
    listening = Listening(con)
    look(cast(duckdb.DuckDBPyConnection, listening), slugs)
    named: dict[str, set[str]] = {}
    for statement in listening.statements:
        words = set(re.findall(r"\w+", re.sub(r"'(?:[^']|'')*'|\w+ IS (NOT )?NULL", " ", statement)))
        for table in (SPANS, REQUESTS):
            if table.name in words:
                named.setdefault(table.name, set()).update(words & {c.name for c in table.columns})
    return [
        f"SELECT {', '.join(f'max({c})' for c in sorted(columns))} FROM {table}"
        for table, columns in named.items()
        if columns
    ]


def look(con: duckdb.DuckDBPyConnection, slugs: Sequence[str]) -> None:
    """Looks for patterns and does nothing with them."""
    import polars as pl

    from analyzer.detectors import chosen
    from analyzer.frames import columns_of, partitions
    from instrument.policy import Policy

    policy, detectors, runs = Policy(), chosen(slugs), []
    for frames in partitions(con, columns_of(d.reads for d in detectors)):
        for detector in detectors:
            detector.sight(frames, policy)
            if detector.find is not None:
                detector.find(frames, policy)
        runs.append(frames.runs)
    for detector in detectors:
        if detector.compare is not None:
            detector.compare(pl.concat(runs), policy)


def measure(path: Path, rounds: int) -> dict[str, Any]:
    """Times, findings and the peak memory of this process."""
    from analyzer.detectors import DETECTORS
    from analyzer.frames import columns_of, scans
    from analyzer.run import judge

    every = tuple(DETECTORS)
    with reading(path) as con:
        con.execute("SET enable_progress_bar = false")
        report = judge(con)
        # Before the floors: an aggregate over texts takes memory, too, and is nobody's wish.
        peak_bytes = _peak_bytes()
        narrow = [scans(columns_of(DETECTORS[slug].reads for slug in slugs)) for slugs in (SIX, every)]
        whole = [whole_floor(con, slugs) for slugs in (SIX, every)]
        works: list[Callable[[], object]] = [
            *(partial(_ask, con, sql) for sql in (*narrow, *whole)),
            partial(judge, con, select=SIX),
            partial(judge, con),
            partial(look, con, SIX),
            partial(look, con, every),
        ]
        names = ("six_floor", "all_floor", "six_whole", "all_whole", "six", "all", "six_look", "all_look")
        times = best(rounds, *works)
    return {
        "times": dict(zip(names, times, strict=True)),
        "spans": report.totals.spans,
        "runs": report.totals.runs,
        "failing": len({f.run_id for f in report.findings}),
        "findings": Counter(f.detector for f in report.findings),
        "columns": [sum(sql.count("max(") for sql in statements) for statements in (*narrow, *whole)],
        "peak_bytes": peak_bytes,
    }


def _peak_bytes() -> int:
    """Of this program alone: what `getrusage` tells of a child begins with the memory of the parent that forked it."""
    told = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    if told is None:
        raise RuntimeError("the system does not tell the peak of memory")
    return int(told[1]) * 1024


def _ask(con: duckdb.DuckDBPyConnection, statements: Sequence[str]) -> None:
    for sql in statements:
        con.execute(sql).fetchall()


def measured(path: Path, rounds: int) -> dict[str, Any]:
    """`measure` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.detectors", "--measure", str(rounds), "--db", str(path)],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    result: dict[str, Any] = json.loads(done.stdout)
    result["times"] = {name: Seconds(*of_one) for name, of_one in result["times"].items()}
    return result


def show(told: dict[str, Any]) -> None:
    """Prints one database's figures."""
    took, spans = told["times"], told["spans"]
    print(
        f"{spans:,} spans, {told['runs']:,} runs, {told['failing'] / told['runs']:.1%} of them with findings: {told['findings']}"
    )
    print(f"  load average {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores; ratios by processor time (by the clock)")
    for name, title, goal, floors in (
        ("six", "six first detectors", GOAL_SIX, (0, 2)),
        ("all", "all detectors", GOAL_ALL, (1, 3)),
    ):
        print(
            f"  {title}: {took[name].cpu:.3f} s of processor time, {took[name].cpu / spans * 1e6:.3f} us per span (goal: {goal} floors)"
        )
        for floor, number in zip(("floor", "whole"), floors, strict=True):
            scan = took[f"{name}_{floor}"]
            print(
                f"    {took[name].over(scan)} times one scan of {told['columns'][number]} columns "
                f"({'shared' if floor == 'floor' else 'all that are looked through'}), "
                f"looking for patterns alone {took[f'{name}_look'].over(scan)}"
            )
    print(f"  peak memory {told['peak_bytes'] / 1e6:.0f} MB (goal: {GOAL_BYTES / 1e6:,.0f})", flush=True)


def _cost_us(told: dict[str, Any]) -> float:
    return cast(float, told["times"]["all"].cpu / told["spans"] * 1e6)


def lengths(folder: Path) -> None:
    """Prints what a span costs in one very long run and in ordinary ones, where few of the stretches go wrong, and where all do."""
    for name, odds in ((f"one in {ODDS / FAILURES:.0f} stretches fails", ODDS), ("every stretch fails", FAILURES)):
        costs = []
        for turns in (LONG_TURNS, None):
            path = folder / f"{odds}_{turns}.duckdb"
            build(path, 2 * LONG_TURNS, turns=turns, odds=odds)
            costs.append(_cost_us(measured(path, 3)))
            path.unlink()
        print(
            f"one run of {2 * LONG_TURNS:,} steps, {name}: {costs[0]:.3f} us per span; ordinary runs {costs[1]:.3f}: "
            f"{costs[0] / costs[1]:.2f} times (goal: 1)",
            flush=True,
        )


def built(folder: Path, spans: int) -> dict[str, Any]:
    """Figures of a database of so many spans, which is gone afterwards."""
    path = folder / "traces.duckdb"
    build(path, spans)
    told = measured(path, 3 if spans <= 1_000_000 else 1)
    path.unlink()
    return told


def main() -> None:
    """Builds in this process and measures in others."""
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--spans", type=int, default=1_000_000)
    args.add_argument("--db", type=Path)
    args.add_argument("--measure", type=int, metavar="ROUNDS", help=argparse.SUPPRESS)
    given = args.parse_args()
    if given.measure:
        print(json.dumps(measure(given.db, given.measure)))
        return
    if given.db is not None:
        show(measured(given.db, 1))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few = built(folder, given.spans // 10)
        show(few)
        many = built(folder, given.spans)
        show(many)
        print(
            f"ten times the spans: a span costs {_cost_us(many) / _cost_us(few):.2f} times as much (goal: 1)",
            flush=True,
        )
        lengths(folder)


if __name__ == "__main__":
    main()
