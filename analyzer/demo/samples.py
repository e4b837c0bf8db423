"""`make samples`: records the samples of `sample_traces/` that are ours, anew. The public ones are never touched."""

from __future__ import annotations

import tempfile
from pathlib import Path

from analyzer.demo.recording import record_all
from analyzer.demo.scenarios import scenarios
from analyzer.samples import samples_folder


def write(folder: Path) -> list[Path]:
    """Writes one OTLP JSON Lines file per scenario into `folder` and returns their paths."""
    written = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, runs in scenarios().items():
            path = folder / f"{name}.otlp.jsonl"
            record_all(runs, Path(scratch) / f"{name}.duckdb", copy=path)
            written.append(path)
    return written


if __name__ == "__main__":
    write(samples_folder())
