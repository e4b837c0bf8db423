"""What the recording promises when the worst happens, shown at length: `python -m benchmarks.endurance`.

1. A recording process is killed with SIGKILL at random moments, many times: every span that ended is in the store afterwards, once, and the
   run that was cut shows as unfinished.
2. Several processes record into one database while a reader polls it: no lock error anywhere, no span lost, none twice.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import instrument
from instrument.store.checkpoint import adopt
from instrument.store.connect import reading


def record_until_told(database: Path, ledger: Path, until: float | None) -> None:
    """The recording process: endless runs of one agent, each ended tool call noted in `ledger` after it ended."""
    note = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    @instrument.tool
    def work(n: int) -> str:
        return f"result {n} " + "x" * (n % 500)

    @instrument.agent(name="endless")
    def endless() -> None:
        for n in range(40):
            work(n)
            os.write(note, b"ended\n")
            time.sleep(0.002)

    with instrument.record(database, checkpoint_seconds=0.2) as recorder:
        print("recording", flush=True)
        while until is None or time.time() < until:
            endless()
    lost = recorder.stats.lost_spans
    if lost:
        print(f"lost {lost}", file=sys.stderr)


def _start(database: Path, ledger: Path, seconds: float | None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.endurance", "--record", str(database), str(ledger)]
    process = subprocess.Popen(
        command + ([str(seconds)] if seconds else []), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "recording\n"
    return process


def kills(times: int, folder: Path, chance: random.Random) -> list[str]:
    """Kills a recording process `times` times; returns what went wrong."""
    wrong = []
    database = folder / "kills.duckdb"
    ended_before = runs_before = 0
    for n in range(times):
        ledger = folder / f"ledger-{n}"
        process = _start(database, ledger, None)
        time.sleep(chance.uniform(0.0, 1.2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        noted = ledger.read_bytes().count(b"\n")
        adopt(database)
        with reading(database) as con:
            ended, distinct, open_runs, runs = con.execute(
                """SELECT count(*) FILTER (kind = 'tool' AND end_ns IS NOT NULL), count(DISTINCT (trace_id, span_id)) = count(*),
                    count(*) FILTER (kind = 'agent' AND end_ns IS NULL), count(*) FILTER (kind = 'agent') FROM spans"""
            ).fetchall()[0]
        new = ended - ended_before
        # The process may die between the end of a span and the note of it.
        if not noted <= new <= noted + 1:
            wrong.append(f"kill {n}: {noted} spans ended, {new} are in the store")
        if not distinct:
            wrong.append(f"kill {n}: a span is in the store twice")
        if runs > runs_before and open_runs < 1:
            wrong.append(f"kill {n}: the run that was cut does not show as unfinished")
        ended_before, runs_before = ended, runs
        ledger.unlink(missing_ok=True)
    left = [p.name for p in database.with_name(database.name + ".journal").iterdir()]
    if left:
        wrong.append(f"journal segments were left behind: {left[:3]}")
    print(f"{times} kills: {ended_before:,} ended spans in the store, {len(wrong)} broken promises")
    return wrong


def crowd(processes: int, seconds: float, folder: Path) -> list[str]:
    """Lets `processes` record while a reader polls twice a second; returns what went wrong."""
    database, wrong, polls = folder / "crowd.duckdb", [], 0
    until = time.time() + seconds
    children = [_start(database, folder / f"crowd-{n}", until) for n in range(processes)]
    while time.time() < until:
        try:
            if database.exists():
                with reading(database) as con:
                    con.execute("SELECT count(*), max(run_key) FROM spans").fetchall()
                polls += 1
        except Exception as e:  # noqa: BLE001 - any error is the finding
            wrong.append(f"reader: {e!r}")
        time.sleep(0.5)
    for child in children:
        _, errors = child.communicate(timeout=120)
        if errors or child.returncode:
            wrong.append(f"recorder: {errors.strip()[-500:]} (exit {child.returncode})")
    adopt(database)
    noted = sum((folder / f"crowd-{n}").read_bytes().count(b"\n") for n in range(processes))
    with reading(database) as con:
        rows, distinct, tools = con.execute(
            "SELECT count(*), count(DISTINCT (trace_id, span_id)), count(*) FILTER (kind = 'tool') FROM spans"
        ).fetchall()[0]
    if rows != distinct:
        wrong.append(f"{rows - distinct} spans are in the store twice")
    if tools != noted:
        wrong.append(f"{noted} tool spans ended, {tools} are in the store")
    print(
        f"{processes} processes for {seconds:.0f} s: {tools:,} tool spans, {polls} polls, {len(wrong)} broken promises"
    )
    return wrong


def main() -> int:
    """Runs both and says what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.record:
        database, ledger, *until = args.record
        record_until_told(Path(database), Path(ledger), float(until[0]) if until else None)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        wrong = kills(args.kills, Path(folder), random.Random(args.seed)) + crowd(
            args.processes, args.seconds, Path(folder)
        )
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
