"""Failures of which nobody recorded the words, as SQL over `spans`: detectors that know a failure by its words cannot judge them."""

from __future__ import annotations

from typing import Final

UNWORDED: Final = "(coalesce(failed, false) AND error_message IS NULL)"
"""The call failed, and its error's text was not recorded (hashed content, or no content, for instance)."""
