"""Each run of `outside_scenarios` raises the alarm it should, and no other, as spans and as a bare list of chat messages."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson

from analyzer.cases import Case, Turn, User, load
from analyzer.findings import Report
from analyzer.run import judge
from analyzer.testing import judged
from tests.detectors.outside_scenarios import FAILING, HEALTHY

SCRIPTS = {name: script for name, (_, script) in FAILING.items()} | HEALTHY


def _alarms(report: Report) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for finding in report.findings:
        if finding.severity.rank > 0:
            found[finding.agent_name or ""].append(finding.detector)
    return found


def _expected(leave_out: frozenset[str] = frozenset()) -> dict[str, list[str]]:
    return {name: [slug] for name, (slug, _) in FAILING.items() if name not in leave_out}


def test_as_spans() -> None:
    cases = [Case(name, script, []) for name, script in SCRIPTS.items()]
    assert _alarms(judge(load(cases))) == _expected()


def test_as_chat_messages(tmp_path: Path) -> None:
    path = tmp_path / "talks.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps({"agent": n, "messages": _messages(s)}) for n, s in SCRIPTS.items()))
    # A bare list of messages says neither why an answer ended nor which tools there were.
    untold = frozenset(n for n, (slug, _) in FAILING.items() if slug == "truncated_response")
    assert _alarms(judged(path)) == _expected(untold)


def _messages(script: Any) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = [{"role": "user", "content": "Do the task."}]
    for number, entry in enumerate(script):
        if isinstance(entry, User):
            told.append({"role": "user", "content": entry.text})
            continue
        spoken = entry if isinstance(entry, Turn) else Turn((entry,))
        calls = [(f"call_{number}_{place}", call) for place, call in enumerate(spoken.calls)]
        asked = [
            {"id": i, "type": "function", "function": {"name": c.name, "arguments": _text(c.arguments)}}
            for i, c in calls
        ]
        told.append({"role": "assistant", "content": spoken.text, **({"tool_calls": asked} if asked else {})})
        told += [{"role": "tool", "tool_call_id": i, "content": _text(c.result)} for i, c in calls]
    return told


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
