"""Pages that show what agents record as they record it: they look whether the database has changed, and are drawn anew when it has."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import streamlit as st

from analyzer.pages.data import Snapshot

LEAST_SECONDS: Final = 5.0
_SPANS_PER_SECOND: Final = 50_000
"""A large database takes longer to judge, so it is looked at less often; else the page would do nothing else."""


def version(shown: Snapshot) -> tuple[str, int]:
    """What tells a snapshot from others: for caches of what is worked out from one."""
    return str(shown.path), shown.changed_ns


def refresh(shown: Snapshot) -> None:
    """Draws this page anew when the database is no longer what `shown` is of. To be called once, last."""
    st.fragment(_look, run_every=max(LEAST_SECONDS, shown.report.totals.spans / _SPANS_PER_SECOND))(
        shown.path, shown.changed_ns, [True]
    )


def _look(path: Path, changed_ns: int, fresh: list[bool]) -> None:
    if fresh:  # the page has just been drawn: were it drawn again at once, a busy database would never let it end
        fresh.clear()
        return
    try:
        now_ns = path.stat().st_mtime_ns
    except OSError:  # moved or gone; the next click says so
        return
    if now_ns != changed_ns:
        st.rerun(scope="app")
