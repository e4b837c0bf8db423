"""The command line that serves the app, for `flyball app`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

FLAGS: Final = (
    "--server.headless=true",
    "--server.address=127.0.0.1",
    "--server.fileWatcherType=none",
    "--browser.gatherUsageStats=false",
)
"""Also in `.streamlit/config.toml`; given here too, so that no configuration of the user's own opens traces to the network."""


def app_path() -> Path:
    """`app.py`: inside the package in a wheel, beside it in a clone. Raises `FileNotFoundError` where it is in neither."""
    package = Path(__file__).resolve().parents[1]
    for path in (package / "app.py", package.parent / "app.py"):
        if path.is_file():
            return path
    raise FileNotFoundError(package / "app.py")


def command(db: Path | None = None, paths: Sequence[str] = (), *, port: int | None = None) -> list[str]:
    """What to run to serve the app on `db`, on trace files, or on the samples; `port` None: Streamlit's own (8501)."""
    chosen = [f"--server.port={port}"] if port is not None else []
    arguments = [*(["--db", str(db)] if db else []), *paths]
    return [sys.executable, "-m", "streamlit", "run", str(app_path()), *FLAGS, *chosen, "--", *arguments]
