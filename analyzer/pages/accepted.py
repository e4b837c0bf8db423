"""Findings that people accept as known: where that is written, and whether it can be."""

from __future__ import annotations

import os
from pathlib import Path

from analyzer.pages.options import Options

SUFFIX = ".baseline.json"


def place(options: Options) -> Path | None:
    """The baseline of the database that was opened, in its folder; None where nothing can be written there.

    Traces that were read into a temporary database have none: it would go when the server does.
    """
    if options.db is None:
        return None
    path = options.db.with_suffix(SUFFIX)
    able = os.access(path if path.exists() else path.parent, os.W_OK) and os.access(path.parent, os.W_OK)
    return path if able else None
