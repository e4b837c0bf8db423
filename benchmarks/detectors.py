"""What judging costs, as ratios to one scan of the columns that the detectors read.

    python -m benchmarks.detectors [--spans 1000000] [--db FILE]

Builds databases of generated runs (`benchmarks.generated_runs`) and measures each in a process of its own, so that peak memory is of the
judging alone: the six first detectors, all of them, and how the cost of a span changes with the number of spans (a tenth of them is
judged, too) and with the length of runs (one run of 100,000 steps beside as many spans in ordinary runs).

Two floors are given. The first is one aggregate over the columns that detectors share (`Detector.reads`), inside DuckDB; the second one
over everything that they look through in every row, with times, errors and arguments.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import duckdb

from benchmarks.generated_runs import FAILURES, ODDS, build

__all__ = ["build"]

SIX: Final = ("error_cascade", "repeated_call", "context_growth", "unknown_tool", "repeated_output", "cost_outlier")
GOAL_SIX, GOAL_ALL, GOAL_BYTES = 8, 25, 2_000_000_000
LONG_TURNS: Final = 50_000
_LOOKED_THROUGH: Final = (
    "SELECT max(start_ns), max(end_ns), max(tool_name), max(declared), max(rejected), max(failure_kind), max(error_type), max(inferred) "
    "FROM spans WHERE kind = 'tool' AND duplicate_of IS NULL",
    "SELECT max(start_ns), max(end_ns), max(request_model), max(response_model), max(failure_kind), max(error_type), max(error_message), "
    "max(finish_reason), max(retries), max(content_state) FROM spans WHERE kind = 'model' AND duplicate_of IS NULL",
    "SELECT max(call_key), max(tool_name), max(arguments) FROM tool_requests",
)
"""What single detectors read of every row beside the shared columns."""


def best(rounds: int, *works: Callable[[], object]) -> list[float]:
    """Seconds of the fastest of `rounds` of each; they take turns, so that a machine that slows down slows all of them."""
    times = [[seconds(work) for work in works] for _ in range(rounds)]
    return [min(of_one) for of_one in zip(*times, strict=True)]


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(path: Path, rounds: int) -> dict[str, Any]:
    """Times, findings and the peak memory of this process."""
    from analyzer.detectors import DETECTORS
    from analyzer.frames import columns_of, scans
    from analyzer.run import judge

    with duckdb.connect(str(path), read_only=True) as con:
        con.execute("SET enable_progress_bar = false")
        shared = scans(columns_of(d.reads for d in DETECTORS.values()))
        of_six = scans(columns_of(DETECTORS[slug].reads for slug in SIX))
        works = ((of_six, None), (shared, None), ((*shared, *_LOOKED_THROUGH), None), ((), SIX), ((), tuple(DETECTORS)))
        times = best(rounds, *(partial(_do, con, sql, judge if slugs else None, slugs) for sql, slugs in works))
        ((spans,),) = con.execute("SELECT count(*) FROM spans").fetchall()
        report = judge(con)
    return {
        **dict(zip(("six_floor", "floor", "whole_floor", "six", "all"), times, strict=True)),
        "spans": spans,
        "runs": report.totals.runs,
        "findings": Counter(f.detector for f in report.findings),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _do(con: duckdb.DuckDBPyConnection, sql: Sequence[str], judge: Any, slugs: tuple[str, ...] | None) -> None:
    for scan in sql:
        con.execute(scan).fetchall()
    if judge is not None:
        judge(con, select=slugs)


def measured(path: Path, rounds: int) -> dict[str, Any]:
    """`measure` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.detectors", "--measure", str(rounds), "--db", str(path)],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def show(told: dict[str, Any]) -> None:
    """Prints one database's figures."""
    six, every = told["six"] / told["six_floor"], told["all"] / told["floor"]
    print(f"{told['spans']:,} spans, {told['runs']:,} runs; findings: {told['findings']}")
    print(
        f"  six first detectors   {told['six']:8.3f} s  {six:6.1f} times one scan of their columns (goal: {GOAL_SIX})"
    )
    print(
        f"  all detectors         {told['all']:8.3f} s  {every:6.1f} times one scan of the shared columns (goal: {GOAL_ALL}),"
    )
    print(f"{'':34}{told['all'] / told['whole_floor']:6.1f} times one scan of all that they look through")
    print(f"  per span              {told['all'] / told['spans'] * 1e6:8.3f} us")
    print(f"  peak memory           {told['peak_bytes'] / 1e6:8.0f} MB (goal: {GOAL_BYTES / 1e6:,.0f})", flush=True)


def lengths(folder: Path) -> None:
    """Prints what a span costs in one very long run and in ordinary ones, where a ninth of the turns goes wrong, and where all do."""
    for name, odds in (("a ninth of the stretches fails", ODDS), ("every stretch fails", FAILURES)):
        costs = []
        for turns in (LONG_TURNS, None):
            path = folder / f"{odds}_{turns}.duckdb"
            build(path, 2 * LONG_TURNS, turns=turns, odds=odds)
            told = measured(path, 3)
            costs.append(told["all"] / told["spans"] * 1e6)
            path.unlink()
        print(
            f"one run of {2 * LONG_TURNS:,} steps, {name}: {costs[0]:.3f} us per span; ordinary runs {costs[1]:.3f}: "
            f"{costs[0] / costs[1]:.2f} times (goal: 1)",
            flush=True,
        )


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
    with tempfile.TemporaryDirectory() as folder:
        if given.db is not None:
            show(measured(given.db, 3))
            return
        costs = []
        for spans in (given.spans // 10, given.spans):
            path = Path(folder) / "traces.duckdb"
            build(path, spans)
            told = measured(path, 5 if spans <= 1_000_000 else 2)
            show(told)
            costs.append(told["all"] / told["spans"])
            path.unlink()
        print(f"ten times the spans: a span costs {costs[1] / costs[0]:.2f} times as much (goal: 1)", flush=True)
        lengths(Path(folder))


if __name__ == "__main__":
    main()
