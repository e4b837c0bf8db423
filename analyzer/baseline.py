"""Findings that are known and accepted: reported again only when something new is found."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
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
    _write(path, map(_known, findings))


@dataclass(frozen=True, slots=True, order=True)
class Known:
    """One accepted finding, as the baseline tells it; what an older file does not say is None."""

    detector: str
    fingerprint: str
    agent_name: str | None = field(default=None, compare=False)
    message: str | None = field(default=None, compare=False)


def read_known(path: Path) -> tuple[Known, ...]:
    """What the baseline at `path` accepts; nothing where there is none. Raises `BaselineError`."""
    if not path.exists():
        return ()
    fingerprints = read_baseline(path)
    said = [item for item in json.loads(path.read_text("utf-8"))[_KEY] if item["fingerprint"] in fingerprints]
    return tuple(
        sorted(
            Known(str(item.get("detector", "")), item["fingerprint"], item.get("agent_name"), item.get("message"))
            for item in said
        )
    )


def accept(path: Path, findings: Iterable[Finding]) -> None:
    """Adds `findings` to the baseline at `path`, which need not be there yet. Raises `BaselineError`."""
    with _CHANGING:
        known = {entry.fingerprint: entry for entry in (*read_known(path), *map(_known, findings))}
        _write(path, known.values())


def withdraw(path: Path, fingerprints: Collection[str]) -> None:
    """Takes findings out of the baseline at `path` again. Raises `BaselineError`."""
    with _CHANGING:
        _write(path, [entry for entry in read_known(path) if entry.fingerprint not in fingerprints])


_CHANGING: Final = Lock()  # visitors of the app may accept at the same time


def _known(finding: Finding) -> Known:
    return Known(finding.detector, finding.fingerprint, finding.agent_name, finding.message)


def _write(path: Path, known: Iterable[Known]) -> None:
    entries = [
        {"fingerprint": k.fingerprint, "detector": k.detector, "agent_name": k.agent_name, "message": k.message}
        for k in sorted(known)
    ]
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # In one step: a check that reads it meanwhile finds the old one or the new one, whole.
        beside.write_text(json.dumps({_KEY: entries}, indent=2, ensure_ascii=True) + "\n", "utf-8")
        beside.replace(path)
    except OSError as e:
        raise BaselineError(path, f"cannot be written ({e.strerror})") from None


def only_new(report: Report, known: frozenset[str]) -> Report:
    """The report without the findings that are known; its totals still count all runs."""
    return replace(report, findings=tuple(f for f in report.findings if f.fingerprint not in known))
