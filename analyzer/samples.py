"""Where the bundled samples are."""

from __future__ import annotations

from pathlib import Path

NAME = "sample_traces"


def samples_folder() -> Path:
    """The bundled samples: inside an installed wheel, or beside the packages in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / NAME
    return inside if inside.is_dir() else package.parent / NAME
