"""Which runs did their task, as a file of the user's says."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

from instrument.errors import UnreadableTrace

SUCCESS: Final = frozenset({"success", "succeeded", "completed", "passed", "resolved", "true", "yes", "1", "1.0"})
FAILURE: Final = frozenset({"failure", "failed", "partial", "unresolved", "false", "no", "0", "0.0"})


def succeeded(said: object) -> bool | None:
    """What a word for an outcome means; None where it means nothing we know."""
    word = str(said).strip().lower()
    return True if word in SUCCESS else False if word in FAILURE else None


def read_outcomes(path: Path) -> dict[str, bool]:
    """Run id or trace id -> success, from a CSV file of two columns; a first line that is a heading is passed over.

    Raises `UnreadableTrace`, naming the line, for what cannot be read.
    """
    found: dict[str, bool] = {}
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            for number, row in enumerate(csv.reader(lines), 1):
                if not row or not row[0].strip():
                    continue
                outcome = succeeded(row[1]) if len(row) > 1 else None
                if outcome is not None:
                    found[row[0].strip()] = outcome
                elif number > 1:
                    raise UnreadableTrace(str(path), f"line {number} says no outcome; write ID,success or ID,failure")
    except OSError as e:
        raise UnreadableTrace(str(path), f"cannot be read ({e.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as e:
        raise UnreadableTrace(str(path), f"is no CSV file: {e}") from None
    return found
