"""`make bench`: runs every benchmark, prints it, and writes what was printed to docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
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


def main() -> int:
    """Runs them one after the other; returns 1 when one of them failed to run."""
    failed = False
    sections = []
    for name in BENCHMARKS:
        print(f"--- benchmarks.{name}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", *f"benchmarks.{name}".split()], stdout=subprocess.PIPE, text=True, check=False
        )
        print(done.stdout, flush=True)
        failed |= done.returncode != 0
        sections.append(f"## benchmarks.{name}\n\n```\n{done.stdout.strip()}\n```\n")
    PAGE.write_text("\n".join([_head(), *sections]), encoding="utf-8")
    return 1 if failed else 0


def _head() -> str:
    versions = ", ".join(
        f"{name} {metadata.version(name)}" for name in ("duckdb", "polars", "pyarrow", "opentelemetry-sdk", "streamlit")
    )
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, {versions}"
    return (
        "# Benchmarks\n\nWritten by `make bench`; every figure is a ratio to a floor measured in the same run, because seconds differ "
        f"from machine to machine.\nLast run {datetime.now(UTC):%Y-%m-%d}: {machine}.\n"
    )


if __name__ == "__main__":
    raise SystemExit(main())
