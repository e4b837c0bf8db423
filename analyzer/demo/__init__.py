"""The demonstration: an agent that goes wrong, recorded for real, beside the bundled samples."""

from __future__ import annotations

from pathlib import Path

from analyzer.samples import samples_folder
from instrument.prices import Prices


def prepare(database: Path) -> None:
    """Records the demonstration's agent into `database`, which must not exist, and loads the samples beside it. Raises `FlyballError`."""
    from analyzer.demo.recording import record_all
    from analyzer.demo.scenarios import on_call
    from analyzer.readers import load, resolve

    record_all([on_call()], database, reply_seconds=0.1)
    load(resolve([str(samples_folder())]), database, prices=Prices())
