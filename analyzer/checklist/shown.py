"""What no database can show: the tests of an agent and the rules of its monitoring, read from the folders that the user names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from analyzer.alerts.baselines import FILE as BASELINES_FILE
from analyzer.alerts.baselines import read
from analyzer.alerts.prometheus import RULES_FILE, generate
from analyzer.checklist.state import Found, Shown, State
from analyzer.report.amounts import counted
from instrument.errors import FlyballError
from instrument.policy import Policy

_ALL: Final = frozenset({"check_all_failure_modes", "FAILURE_MODES"})


def shown(policy: Policy, *, tests: Path | None = None, alerts: Path | None = None) -> Shown:
    """What the folders hold; None: not shown. Raises `FlyballError` where one is no folder."""
    return Shown(_tests(tests), _alerts(alerts, policy))


def _tests(folder: Path | None) -> Found:
    if folder is None:
        return State.CANNOT_SEE, ("a database does not show tests: name their folder with --tests",)
    from instrument.testing import FAILURE_MODES

    checks = {check.__name__: mode for mode, check in FAILURE_MODES.items()}
    files, named = 0, set[str]()
    for path in sorted(_folder(folder).rglob("*.py")):
        found = _names(path) & (_ALL | checks.keys())
        files += bool(found)
        named |= found
    tested = set(checks.values()) if named & _ALL else {checks[name] for name in named}
    missing = ", ".join(mode.replace("_", " ") for mode in FAILURE_MODES if mode not in tested)
    if not tested:
        return State.NO, (f"no test in {folder.name} uses a check of instrument.testing",)
    said = (
        f"{counted(files, 'file')} in {folder.name} with checks of instrument.testing; whether they pass, your CI says"
    )
    if missing:
        return State.PARTLY, (said, f"not among them: {missing}")
    return State.YES, (said,)


def _names(path: Path) -> set[str]:
    """Every name that a file uses; none where it is no Python that we can read."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):  # a broken file tests nothing
        return set()
    return set(_used(tree))


def _used(tree: ast.AST) -> Iterator[str]:
    # An import alone tests nothing.
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def _alerts(folder: Path | None, policy: Policy) -> Found:
    if folder is None:
        return State.CANNOT_SEE, ("a database does not show alert rules: name their folder with --alerts",)
    path = _folder(folder) / RULES_FILE
    try:
        there = path.read_text("utf-8")
    except FileNotFoundError:
        return State.NO, (f"{folder.name} holds no {RULES_FILE}",)
    except (OSError, UnicodeDecodeError) as e:
        raise FlyballError(f"{path}: cannot be read ({e}); choose another folder with --alerts") from None
    recorded = path.with_name(BASELINES_FILE)
    baselines = read(recorded) if recorded.exists() else ()
    if there == generate(policy, baselines=baselines)[RULES_FILE]:
        return State.YES, (f"{RULES_FILE} carries the numbers of this policy; whether it is loaded, Prometheus says",)
    return State.PARTLY, (f"{RULES_FILE} has other numbers than this policy: make it anew",)


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise FlyballError(f"{path}: is no folder; name the folder that holds them")
    return path
