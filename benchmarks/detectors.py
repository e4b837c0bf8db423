"""The six first detectors against one scan of the columns they read.

    python benchmarks/detectors.py [--spans 1000000] [--db FILE]

Builds a database of generated runs (or takes the one given), then prints three times and their ratios: one aggregate
over every column the detectors read, inside DuckDB (the floor); the same columns into Polars; the whole judgement. Peak
memory is that of the judging process alone.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb

from instrument.store.schema import MACROS, TABLES

ROUNDS = 5

# Shaped like the recorded coding agents in the project's test data: some twenty turns a run, one or two tools a turn, a dozen tools, one
# call in twenty-five failing. Of a hundred runs three loop, one fails the same way again and again, two fill their context and one is far
# dearer than the rest; recorded runs have fewer findings.
_ROWS = """
INSERT INTO spans BY NAME
WITH runs AS (
    SELECT r, 6 + (hash(r) % 30)::INT AS turns, hash(r, 1) % 100 AS dice FROM range({runs}) t(r)
), turns AS (
    SELECT r, turns, dice, unnest(range(turns)) AS t FROM runs
), calls AS (
    SELECT r, 0 AS turn, 0 AS part, 'agent' AS kind, dice, turns FROM runs
    UNION ALL SELECT r, t + 1, 1, 'model', dice, turns FROM turns
    UNION ALL SELECT r, t + 1, 2, 'tool', dice, turns FROM turns WHERE t < turns - 1
    UNION ALL SELECT r, t + 1, 3, 'tool', dice, turns FROM turns WHERE t < turns - 1 AND hash(r, t) % 3 = 0
), placed AS (
    SELECT *, row_number() OVER (PARTITION BY r ORDER BY turn, part) - 1 AS step,
        dice < 3 AND turn BETWEEN 3 AND 12 AND part = 2 AS loops,
        (dice = 4 AND turn > 4 OR hash(r, turn, part, 5) % 25 = 0) AND kind = 'tool' AS fails
    FROM calls
)
SELECT (r * 100 + step)::BIGINT AS span_key, r::INT AS run_key, step::INT AS step, turn::INT AS turn,
    printf('%016x', r * 1000) AS run_id, printf('%032x', r + 7) AS trace_id, printf('%016x', r * 1000 + step) AS span_id,
    if(step = 0, NULL, printf('%016x', r * 1000)) AS parent_span_id, kind,
    CASE kind WHEN 'agent' THEN 'invoke_agent coder' WHEN 'model' THEN 'chat claude-sonnet-4-5' ELSE 'execute_tool' END AS name,
    'coder-' || (r % 3) AS agent_name,
    1790000000000000000 + r * 1000000000 + turn * 3000000 + part * 1000000 AS start_ns,
    1790000000000000000 + r * 1000000000 + turn * 3000000 + part * 1000000 + 900000 AS end_ns,
    if(fails, 'error', 'unset') AS status, fails AS failed, false AS failure_inferred, if(fails, 'ToolError', NULL) AS error_type,
    if(fails, 'ToolError: file … not found ' || if(dice = 4, 0, hash(r, step, 9) % 50), NULL) AS failure_kind,
    if(kind = 'model', 'claude-sonnet-4-5', NULL) AS request_model,
    if(kind = 'model', 'claude-sonnet-4-5-20250929', NULL) AS response_model,
    if(kind = 'model', (2000 + turn * if(dice IN (10, 11), 6000, 1500))::BIGINT, NULL) AS input_tokens,
    if(kind = 'model', (100 + hash(r, turn, 3) % 400)::BIGINT, NULL) AS output_tokens,
    if(kind = 'model', 'complete', NULL) AS usage_state,
    if(kind = 'model', 0.01 + turn * if(dice = 20, 0.05, 0.002), NULL) AS cost_usd,
    if(kind = 'tool', (['read','grep','bash','edit','write','ls','fetch','search','test','plan','glob','ask'])[if(dice
    = 4 OR loops, 1, 1 + hash(r, step) % 12)::INT], NULL)
        AS tool_name,
    if(kind = 'tool', 'toolu_' || r || '_' || step, NULL) AS tool_call_id, if(kind = 'tool', true, NULL) AS declared,
    if(kind = 'tool', if(loops, hash(r, 'loop'), hash(r, step, 'call')), NULL) AS call_key,
    if(kind = 'tool', if(loops, hash(r, 'same'), hash(r, step, 'result')), NULL) AS result_key,
    if(kind = 'model', hash(r, turn, 'text'), NULL) AS output_key, if(kind = 'model', hash(r, turn, 'words'), NULL) AS loose_output_key,
    if(kind = 'model', (20 + hash(r, turn, 4) % 500)::BIGINT, NULL) AS output_chars,
    if(kind = 'model', 1, NULL) AS requested_calls, 'full' AS content_state, false AS inferred, 'anthropic-sdk' AS dialect, 1 AS source_key
FROM placed ORDER BY run_key, step
"""


def build(path: Path, spans: int) -> None:
    """A database of about `spans` spans at `path`."""
    with duckdb.connect(str(path)) as con:
        for table in (*TABLES, *MACROS):
            con.execute(table.ddl)
        con.execute(_ROWS.format(runs=max(1, round(spans / 48.5))))
        con.execute(
            "INSERT INTO contents BY NAME SELECT span_key, '{\"path\": \"/src/module_' || span_key || '.py\"}' AS arguments, "
            "'contents of ' || span_key AS result FROM spans WHERE kind = 'tool'"
        )
        con.execute(
            "INSERT INTO runs SELECT run_key, first(run_id), first(trace_id) FROM spans GROUP BY run_key ORDER BY run_key"
        )


def best(rounds: int, *works: Callable[[], object]) -> list[float]:
    """Seconds of the fastest of `rounds` of each; they take turns, so that a machine that slows down slows all of them."""
    times = [[seconds(work) for work in works] for _ in range(rounds)]
    return [min(of_one) for of_one in zip(*times, strict=True)]


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(path: Path) -> None:
    """Prints the times, their ratios and the peak memory of this process."""
    from analyzer import frames
    from analyzer.detectors import DETECTORS
    from analyzer.run import judge

    with duckdb.connect(str(path), read_only=True) as con:
        (spans,) = con.execute("SELECT count(*) FROM spans").fetchone() or (0,)
        views = frames.columns_of(d.reads for d in DETECTORS.values())
        floor, loaded, whole = best(
            ROUNDS,
            lambda: [con.execute(sql).fetchall() for sql in frames.scans(views)],
            lambda: [len(part.tool_calls) + len(part.model_calls) for part in frames.partitions(con, views)],
            lambda: judge(con),
        )
        report = judge(con)
        found = {s: sum(f.detector == s for f in report.findings) for s in DETECTORS}
        for slug in DETECTORS:
            (alone,) = best(2, partial(judge, con, select=(slug,)))
            print(f"  {slug:16} {alone:7.3f} s alone")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{spans:,} spans, {report.totals.runs:,} runs, findings {found}")
    print(f"scan inside DuckDB    {floor:7.3f} s   1.0")
    print(f"columns into Polars   {loaded:7.3f} s   {loaded / floor:.1f}")
    print(
        f"six detectors         {whole:7.3f} s   {whole / floor:.1f} of the scan, {whole / loaded:.1f} of the load (goal: 8)"
    )
    print(f"peak memory           {peak:7.0f} MB        (goal: 1,024)")


def main() -> None:
    """Builds in one process and measures in another, so that peak memory is of the judging alone."""
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--spans", type=int, default=1_000_000)
    args.add_argument("--db", type=Path)
    args.add_argument("--measure", action="store_true")
    given = args.parse_args()
    if given.measure:
        measure(given.db)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = given.db or Path(folder) / "traces.duckdb"
        if not path.exists():
            build(path, given.spans)
        subprocess.run(
            [sys.executable, __file__, "--measure", "--db", str(path)],
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )


if __name__ == "__main__":
    main()
