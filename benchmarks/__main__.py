"""`make bench`: runs every benchmark, prints it, and writes what was printed to docs/benchmarks.md.

    python -m benchmarks [NAME ...]

With names only these are run, and what the page says of the others stays.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
BENCHMARKS = (
    "recording",
    "recording 15 20",
    "importing",
    "detectors --spans 10000000",
    "guards",
    "ledger",
    "estimates",
    "app",
    "serving",
)
_SECTION = "## benchmarks."
_HEAD = (
    "# Benchmarks\n\nWritten by `make bench` (or `python -m benchmarks NAME`, one of them). Figures are ratios to a floor measured in "
    "the same run where they can be, because seconds differ from machine to machine.\n"
)


def main(chosen: Sequence[str]) -> int:
    """Runs them one after the other; returns 1 when one of them failed to run."""
    failed = False
    sections = _written()
    for name in BENCHMARKS:
        if chosen and name.split()[0] not in chosen:
            continue
        print(f"--- benchmarks.{name}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", *f"benchmarks.{name}".split()], stdout=subprocess.PIPE, text=True, check=False
        )
        print(done.stdout, flush=True)
        failed |= done.returncode != 0
        sections[name] = f"{datetime.now(UTC):%Y-%m-%d}, {_machine()}\n\n```\n{done.stdout.strip()}\n```\n"
    told = (
        f"{_SECTION}{name}\n\n{sections[name]}" for name in dict.fromkeys((*BENCHMARKS, *sections)) if name in sections
    )
    PAGE.write_text("\n".join([_HEAD, *told]), encoding="utf-8")
    return 1 if failed else 0


def _written() -> dict[str, str]:
    """What the page says, by benchmark."""
    _, *sections = PAGE.read_text("utf-8").split(_SECTION) if PAGE.exists() else [""]
    return {name: text.strip() + "\n" for name, _, text in (s.partition("\n") for s in sections)}


def _machine() -> str:
    versions = ", ".join(
        f"{name} {metadata.version(name)}" for name in ("duckdb", "polars", "pyarrow", "opentelemetry-sdk", "streamlit")
    )
    return f"Python {platform.python_version()}, {os.cpu_count()} cores, {versions}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
