"""The database that somebody imported here, which the app then shows instead of the one it was started on.

It holds for the whole server, because links and reloads make new sessions; the page Import says so and leads back.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st


@dataclass(slots=True)
class Opened:
    """What is shown instead; None: what the app was started on."""

    path: Path | None = None


@st.cache_resource(show_spinner=False)
def instead() -> Opened:
    """The one value of this server."""
    return Opened()
