"""Findings that are known and accepted: reported again only when something new is found."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from analyzer.findings import Finding, Report
from instrument.errors import FlyballError

_KEY: Final = "findings"


class BaselineError(FlyballError):
    """The baseline at `path` cannot be read or written."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        super().__init__(f"{path}: {problem}")


def read_baseline(path: Path) -> frozenset[str]:
    """Fingerprints of the known findings. Raises `BaselineError`.

    Reads what `write_baseline` writes, and the report of `flyball check --format json`, which holds the same and more.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
        found = [item["fingerprint"] for item in document[_KEY]]
    except OSError as e:
        raise BaselineError(path, f"cannot be read ({e.strerror}); write it with --update-baseline") from None
    except (ValueError, TypeError, KeyError):
        raise BaselineError(path, "is no baseline; write it anew with --update-baseline") from None
    if not all(isinstance(fingerprint, str) for fingerprint in found):
        raise BaselineError(path, "is no baseline; write it anew with --update-baseline")
    return frozenset(found)


def write_baseline(path: Path, findings: Iterable[Finding]) -> None:
    """Accepts `findings`, in an order that makes a short diff. Raises `BaselineError`."""
    known = [
        {"fingerprint": f.fingerprint, "detector": f.detector, "agent_name": f.agent_name, "message": f.message}
        for f in sorted(findings, key=lambda f: (f.detector, f.fingerprint))
    ]
    try:
        path.write_text(json.dumps({_KEY: known}, indent=2, ensure_ascii=True) + "\n", "utf-8")
    except OSError as e:
        raise BaselineError(path, f"cannot be written ({e.strerror})") from None


def only_new(report: Report, known: frozenset[str]) -> Report:
    """The report without the findings that are known; its totals still count all runs."""
    return replace(report, findings=tuple(f for f in report.findings if f.fingerprint not in known))
