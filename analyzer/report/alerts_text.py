"""What alert rules did over history, and what fires now, in words and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from analyzer.alerts.backtest import Backtest, Tested
from analyzer.alerts.checking import Alert
from analyzer.alerts.checking import Look as Seen
from analyzer.alerts.firing import Firing
from analyzer.report.amounts import counted
from analyzer.report.clean import one_line
from analyzer.report.layout import Look, drawn, titled

_NAME_CHARS = 60
_SHOWN = 10


def backtest_as_text(result: Backtest, look: Look) -> str:
    """One line per rule that fired or could have, then what no rule saw; lines of at most `look.width` columns."""
    return drawn(_backtest(result), look)


def backtest_as_json(result: Backtest) -> str:
    """`{"rules": [{"alert", "severity", "fired", "with_finding", "without_finding", "firings": [...]}], "findings", "unseen", ...}`."""
    found = {
        "rules": [_rule(t) for t in result.tested],
        "not_testable": [rule.alert for rule in result.not_testable],
        "findings": result.findings,
        "unseen": [
            {"detector": f.detector, "severity": f.severity, "run_id": f.run_id, "message": f.message, "fingerprint": f.fingerprint}
            for f in result.unseen
        ],
        "evaluations": len(result.instants),
    }  # fmt: skip
    return json.dumps(found, indent=2, ensure_ascii=True, allow_nan=False, default=str) + "\n"


def _rule(tested: Tested) -> dict[str, Any]:
    return {
        "alert": tested.rule.alert,
        "severity": tested.rule.severity,
        "fired": len(tested.firings),
        "with_finding": tested.with_finding,
        "without_finding": tested.without_finding,
        "firings": [_firing(f) for f in tested.firings],
    }


def _firing(fired: Firing) -> dict[str, Any]:
    return {
        "labels": dict(fired.labels),
        "since": _time(fired.since_ns),
        "fired": _time(fired.fired_ns),
        "resolved": None if fired.resolved_ns is None else _time(fired.resolved_ns),
        "value": fired.rule.unit.shown(fired.value),
    }


def _backtest(result: Backtest) -> Iterable[RenderableType]:
    instants = result.instants
    when = f" from {_time(int(instants[0]))} to {_time(int(instants[-1]))}" if len(instants) else ""
    yield Text(f"{counted(len(result.tested), 'rule')} over {counted(len(instants), 'evaluation')}{when}", style="bold")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("rule")
    for name in ("fired", "with a finding", "without"):
        table.add_column(name, justify="right")
    for tested in result.tested:
        if tested.firings:
            table.add_row(f"{tested.rule.alert} ({tested.rule.severity})", *_counts(tested))
    if any(t.firings for t in result.tested):
        yield table
    quiet = sum(not t.firings for t in result.tested)
    yield Text(f"{counted(quiet, 'rule')} never fired.", style="dim")
    if result.not_testable:
        names = ", ".join(dict.fromkeys(r.alert for r in result.not_testable))
        yield Text(f"Not in the record, so not tried: {names}.", style="dim")
    if result.unseen:
        yield titled(f"{len(result.unseen)} of {counted(result.findings, 'finding')} that no rule saw")
        for finding in result.unseen[:_SHOWN]:
            yield Text(f"  {finding.detector}: {one_line(finding.message, 200)}")
        if len(result.unseen) > _SHOWN:
            yield Text(f"  and {len(result.unseen) - _SHOWN} more (--format json)", style="dim")


def _counts(tested: Tested) -> tuple[str, ...]:
    """Nothing where no detector looks at the same thing."""
    behind = (tested.with_finding, tested.without_finding)
    return str(len(tested.firings)), *("" if n is None else str(n) for n in behind)


def look_as_text(seen: Seen, look: Look) -> str:
    """What fires, what of it is new, and what is resolved."""
    return drawn(_look(seen), look)


def _look(seen: Seen) -> Iterable[RenderableType]:
    new = {a.key for a in seen.new}
    if not seen.firing:
        yield Text("Nothing fires.")
    for alert in seen.firing:
        yield _alert(alert, "new" if alert.key in new else "")
    for alert in seen.resolved:
        yield _alert(alert, "resolved")


def _alert(alert: Alert, state: str) -> RenderableType:
    style = "dim" if state == "resolved" else "bold red" if alert.severity == "critical" else "yellow"
    since = f"since {_time(alert.since_ns)}"
    line = Text(f"{state or alert.severity:<9} ", style=style)
    return line + Text(f"{alert.alert}: {one_line(alert.summary, 300)} ({since})")


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
