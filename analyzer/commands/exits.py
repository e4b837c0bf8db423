"""What the exit status of `flyball` says."""

from __future__ import annotations

from typing import Final

FINE: Final = 0
"""Nothing at or above --fail-on."""
FINDINGS: Final = 1
"""Findings at or above --fail-on."""
UNUSABLE: Final = 2
"""Input that could not be read, or bad usage; argparse exits with the same."""
CUT_PIPE: Final = 141
"""Whoever read our output stopped: 128 + SIGPIPE, as a shell reports it."""
INTERRUPTED: Final = 130
"""Stopped from the keyboard: 128 + SIGINT."""
