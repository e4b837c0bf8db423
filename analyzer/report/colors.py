"""Colours with one meaning everywhere: amber and red are severities, blue is the model and money, green a tool, violet an agent.

Grey is the rest. All of them read on a white and on a near-black page, so a chart needs no theme of its own.
"""

from __future__ import annotations

from typing import Final

SEVERITY_COLORS: Final = {"error": "#d64550", "warning": "#e0a030", "info": "#7c93b2"}
KIND_COLORS: Final = {
    "model": "#5b85d6", "tool": "#3fa68c", "other": "#98a2ae", "agent": "#9b8bd0", "failed": SEVERITY_COLORS["error"],
    "blocked": "#b5713a",
}  # fmt: skip
MONEY_COLORS: Final = {"useful": "#5b85d6", "wasted": SEVERITY_COLORS["warning"]}
TOKEN_COLORS: Final = {"read from cache": "#a9c1ea", "written to cache": "#7fa1e0", "uncached": "#4673c8"}
ACCENT_COLOR: Final = "#5b85d6"
LIMIT_COLOR: Final = "#8a8f98"
QUIET_COLOR: Final = "#98a2ae"
TEXT_COLOR: Final = "#727d8b"
"""Of names and numbers that a chart draws itself."""
