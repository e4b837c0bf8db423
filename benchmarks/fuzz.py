"""Mutated inputs, as many as asked for, through every reader into a store: `make fuzz`, which writes docs/fuzzing.md.

Usage: python -m benchmarks.fuzz [--inputs N] [--seconds S] [--seed TEXT] [--failures FOLDER] [--write]

Inputs are made in batches, each from a seed of its own, so that any of them can be made again. A process of its own works on
them, since one that breaks the interpreter or never returns must not end the run: this one watches it, writes down what it was
at, and starts another.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import resource
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Generator
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.fuzzing.mutations import Mutator
from benchmarks.fuzzing.seeds import ROOT, Seed, seeds
from benchmarks.fuzzing.target import Target, within

FIGURES: Final = ROOT / "docs" / "fuzzing.json"
PAGE: Final = ROOT / "docs" / "fuzzing.md"
BATCH: Final = 5_000
"""Inputs that go into one store, which is then settled and judged."""
INPUT_SECONDS: Final = 10.0
FINISH_SECONDS: Final = 120.0
MEMORY_MB: Final = 1_500
"""What the working process may hold at any time."""
_WORKER_BATCHES: Final = 20
"""After which the working process is followed by a new one."""
_KNOWN: Final = set[str]()
"""Failures of whole batches of which the inputs were looked for already, which takes minutes."""
_Input = tuple[Seed, bytes]


def work(chance: str, batches: range, failures: Path) -> None:
    """The working process: tells a line of JSON for each batch."""
    mutator_seeds = seeds()
    for number in batches:
        mutator = Mutator(mutator_seeds, Random(f"{chance}-{number}"))
        inputs = [mutator.one() for _ in range(BATCH)]
        began = time.perf_counter()
        counts, broken = run_batch(inputs, failures)
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        if peak > MEMORY_MB:
            broken.append({"what": f"memory: {peak} MB", "file": ""})
        told = {"batch": number, "counts": counts, "failures": broken, "peak_mb": peak, "seconds": seconds}
        print(json.dumps(told), flush=True)
        if peak > MEMORY_MB:
            return


def run_batch(inputs: list[_Input], failures: Path) -> tuple[Counter[str], list[dict[str, str]]]:
    """Gives all inputs to one store and judges it. Returns the counts, and what went wrong with which input."""
    broken: list[dict[str, str]] = []
    target = Target()
    sound: list[_Input] = []
    with (failures / "current").open("wb", buffering=0) as current:
        for seed, data in inputs:
            current.seek(0)
            current.truncate(current.write(data))  # what a process was at that does not come back
            try:
                with within(INPUT_SECONDS):
                    target.give(seed, data)
                sound.append((seed, data))
            except Exception as problem:  # noqa: BLE001 - finding any of them is what this is for
                broken.append(_kept(problem, data, failures))
    try:
        with within(FINISH_SECONDS):
            target.finish()
    except Exception as problem:  # noqa: BLE001 - as above
        told = _kept(problem, b"", failures)["what"]
        culprits = [] if told in _KNOWN else _culprits(sound)
        _KNOWN.add(told)
        broken += [_kept(problem, data, failures) for _, data in culprits] or [_kept(problem, b"", failures)]
    target.close()
    return target.counts, broken


def _culprits(inputs: list[_Input]) -> list[_Input]:
    """Few of `inputs` that cannot be settled or judged together: halves are tried as long as one of them fails alone."""
    while len(inputs) > 1:
        half = len(inputs) // 2
        failing = next((part for part in (inputs[:half], inputs[half:]) if _fails(part)), None)
        if failing is None:
            return inputs if len(inputs) <= 8 else []
        inputs = failing
    return inputs


def _fails(inputs: list[_Input]) -> bool:
    target = Target()
    try:
        with within(FINISH_SECONDS):
            for seed, data in inputs:
                target.give(seed, data)
            target.finish()
    except Exception:  # noqa: BLE001 - whether is all that is asked
        return True
    finally:
        target.close()
    return False


def _kept(problem: BaseException, data: bytes, failures: Path) -> dict[str, str]:
    """What is told of a failure; the input and the trace of the calls are kept beside it."""
    name = blake2b(data, digest_size=8).hexdigest()
    frames = traceback.extract_tb(problem.__traceback__)
    ours = [
        f"{Path(f.filename).name}:{f.lineno}" for f in frames if str(ROOT) in f.filename and "fuzz" not in f.filename
    ]
    (failures / name).write_bytes(data)
    (failures / f"{name}.txt").write_text(
        "".join(traceback.format_exception(problem)), encoding="utf-8", errors="replace"
    )
    return {
        "what": f"{type(problem).__name__} at {' < '.join(reversed(ours[-3:]))}: {str(problem)[:200]}",
        "file": name,
    }


# --- the watching process ---------------------------------------------------------------------------------------------


def watch(inputs: int, seconds: float, chance: str, failures: Path) -> dict[str, Any]:
    """Has so many inputs worked on, or as many as there is time for; returns the figures."""
    failures.mkdir(parents=True, exist_ok=True)
    batches, counts, broken, peak, done = -(-inputs // BATCH), Counter[str](), Counter[str](), 0, 0
    began = time.perf_counter()
    while done < batches and time.perf_counter() - began < seconds:
        part = range(done, min(batches, done + _WORKER_BATCHES))
        for told in (worked := _worked(chance, part, failures)):
            done = told["batch"] + 1
            counts.update(told.get("counts", {}))
            broken.update(f["what"] for f in told["failures"])
            peak = max(peak, told.get("peak_mb", 0))
            _progress(done, batches, time.perf_counter() - began, broken)
            if time.perf_counter() - began >= seconds:
                worked.close()
                break
    return {
        "inputs": done * BATCH,
        "seconds": round(time.perf_counter() - began),
        "chance": chance,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "peak_mb": peak,
        "counts": dict(sorted(counts.items())),
        "failures": dict(broken.most_common()),
    }


def _worked(chance: str, batches: range, failures: Path) -> Generator[dict[str, Any]]:
    """What the working process tells of `batches`; where it dies or falls silent, that instead, as the last."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.fuzz",
        "--work",
        chance,
        str(batches.start),
        str(batches.stop),
        str(failures),
    ]
    last = batches.start - 1
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        lines: queue.Queue[str] = queue.Queue()
        reader = threading.Thread(target=lambda: [*map(lines.put, process.stdout or ()), lines.put("")], daemon=True)
        reader.start()
        while True:
            try:
                line = lines.get(timeout=BATCH * 0.05 + 4 * FINISH_SECONDS)
            except queue.Empty:
                process.kill()
                yield _died(last + 1, "fell silent", failures)
                return
            if not line:
                break
            told = json.loads(line)
            last = told["batch"]
            try:
                yield told
            except GeneratorExit:  # the time is up
                process.kill()
                raise
    if process.returncode:
        yield _died(last + 1, f"ended with {process.returncode}", failures)


def _died(batch: int, how: str, failures: Path) -> dict[str, Any]:
    name = f"died-{batch}"
    current = failures / "current"
    if current.exists():
        current.replace(failures / name)
    return {"batch": batch, "failures": [{"what": f"the process {how}", "file": name}]}


def _progress(done: int, batches: int, seconds: float, broken: Counter[str]) -> None:
    rate = done * BATCH / seconds
    print(
        f"{done * BATCH:,} of {batches * BATCH:,} inputs, {rate:,.0f}/s, {len(broken)} kinds of failures",
        file=sys.stderr,
    )


def page(figures: dict[str, Any]) -> str:
    """docs/fuzzing.md."""
    counts = figures["counts"]
    forms = sorted((n.removeprefix("read as "), c) for n, c in counts.items() if n.startswith("read as "))
    rows = "".join(f"| {name} | {count:,} |\n" for name, count in forms if name not in ("none", "container"))
    failures = "".join(f"- {what} ({count:,})\n" for what, count in figures["failures"].items()) or "None.\n"
    bodies = counts.get("bodies accepted", 0) + counts.get("bodies refused", 0)
    return (
        "# Fuzzing\n\nWritten by `make fuzz`. Each input is a small trace with some of it changed, as JSON (other values in any place, "
        "keys twice or gone, half characters, numbers beyond 64 bits, lists within lists without end, parts of other formats) or as "
        "bytes (bits, cuts, splices), one in sixteen inside an archive or Parquet. All go through `analyzer.readers.read` into a real "
        "store, those that look like it through the decoders of `flyball serve` too; every five thousand are settled and judged "
        f"together. A failure is an exception, more than {INPUT_SECONDS:.0f} s for one input, or more than {MEMORY_MB:,} MB.\n\n"
        f"Last run {figures['date']}: {figures['inputs']:,} inputs in {figures['seconds']:,} s on one core at low priority; "
        f"{counts.get('read', 0):,} read, {counts.get('refused', 0):,} refused, {counts.get('spans', 0):,} spans, "
        f"{counts.get('issues', 0):,} issues, {counts.get('findings', 0):,} findings; {bodies:,} times a body was given to a decoder of "
        f"`flyball serve`, which refused {counts.get('bodies refused', 0):,}. Peak of memory {figures['peak_mb']:,} MB.\n\n"
        f"| made from | still read |\n|---|---|\n{rows}\n## Failures\n\n{failures}"
    )


def main() -> int:
    """Returns 1 where anything failed."""
    if sys.argv[1:2] == ["--work"]:
        chance, start, stop, failures = sys.argv[2:6]
        work(chance, range(int(start), int(stop)), Path(failures))
        return 0
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no further batch after so long")
    parser.add_argument("--seed", default="flyball")
    parser.add_argument("--failures", type=Path, default=ROOT / "build" / "fuzz")
    parser.add_argument("--write", action="store_true", help="write docs/fuzzing.json and docs/fuzzing.md")
    given = parser.parse_args()
    os.nice(10)
    figures = watch(given.inputs, given.seconds, given.seed, given.failures)
    print(json.dumps(figures, indent=1))
    if given.write:
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(page(figures), encoding="utf-8")
    return 1 if figures["failures"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
