"""Pieces of the pages as HTML: pure functions, the only place that writes markup. What comes from a trace is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from analyzer.findings import Finding, GuardAction, Outcome, State
from analyzer.guarding import COMPLETED
from analyzer.pages import words
from instrument.ledger import Review

_CODE = re.compile("`([^`]+)`")
ACTIONS_SHOWN = 20
_ACTIONS = {"nudge": "warning", "block": "warning", "stop": "error"}

_STATES = {
    State.COMPLETE: ("good", "saw everything"),
    State.PARTIAL: ("warning", "saw a part"),
    State.BLIND: ("error", "could not look"),
    State.NOTHING_TO_CHECK: ("", "nothing to check"),
}


def text(value: object) -> str:
    """Anything recorded, as text inside markup."""
    return escape(words.visible(str(value)))


def prose(value: str) -> str:
    """A sentence of ours: what stands between backticks in it, often a name from the trace, is set as code."""
    return _CODE.sub(r"<code>\1</code>", text(value))


def page(*parts: str) -> str:
    """Parts under the page's own style."""
    return f'<div class="fb">{"".join(parts)}</div>'


def muted(value: str) -> str:
    """A quiet line of plain text."""
    return page(f'<p class="fb-muted">{text(value)}</p>')


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of plain text whose long cells wrap."""
    head = "".join(f"<th>{text(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{prose(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return page(f'<table class="fb-table"><tr>{head}</tr>{body}</table>')


def tile(label: str, value: str, note: str = "", tone: str = "") -> str:
    """A number with its name above and a remark below."""
    remark = text(note) or "&nbsp;"
    return f'<div class="fb-tile {tone}"><span>{text(label)}</span><b>{text(value)}</b><span>{remark}</span></div>'


def run_head(run: Mapping[str, Any], findings: Sequence[Finding]) -> str:
    """Title and facts of a run, a row of `views.runs.with_findings`."""
    worst = max((f.severity for f in findings), key=lambda s: s.rank, default=None)
    outcome = {"failed": "error", "unfinished": "warning"}.get(run["outcome"], "good")
    facts = [
        chip(run["outcome"], outcome),
        _stop(run["stop_reason"]),
        chip(f"task {run['status']}", "good" if run["status"] == "completed" else "warning") if run["status"] else "",
        text(run["model"]) if run["model"] else "",
        "start not recorded" if run["start_ns"] is None else f"started {text(words.when(run['start_ns']))} UTC",
        f'<span class="fb-mono fb-muted">run {text(run["run_id"])}</span>',
        f'<span class="fb-mono fb-muted">trace {text(run["trace_id"])}</span>'
        if run["trace_id"] != run["run_id"]
        else "",
    ]
    numbers = [
        tile(
            "Findings",
            f"{len(findings):,}",
            f"worst: {worst.value}" if worst else "nothing found",
            worst.value if worst else "",
        ),
        tile("Cost", words.money(run["cost_usd"]), _priced(run)),
        tile("Wasted", words.money(run["wasted_usd"]), _of_cost(run, len(findings))),
        tile(
            "Duration",
            words.duration(run["seconds"]),
            "not recorded" if run["seconds"] is None else "first start to last end",
        ),
        tile("Turns", words.count(run["model_calls"]), words.plural(run["spans"], "span")),
        tile("Tool calls", words.count(run["tool_calls"]), f"{run['failed_tool_calls']:,} failed"),
        tile("Peak context", words.count(run["peak_input_tokens"]), "tokens in one request"),
    ]
    title = f"<h1>{text(run['agent_name'] or 'Unnamed agent')}</h1>"
    return page(title, line(facts), f'<div class="fb-tiles">{"".join(numbers)}</div>')


def _stop(reason: str | None) -> str:
    """Why a guarded run ended."""
    if reason is None:
        return ""
    return chip("completed", "good") if reason == COMPLETED else chip(f"stopped: {reason}", "warning")


def _priced(run: Mapping[str, Any]) -> str:
    unpriced = int(run["unpriced_calls"])
    if unpriced:
        return f"{words.plural(unpriced, 'call')} of unknown price"
    return f"of the {words.money(run['limit_usd'])} it may" if run["limit_usd"] else "every call priced"


def _of_cost(run: Mapping[str, Any], findings: int) -> str:
    if run["wasted_usd"] is not None and run["cost_usd"]:
        return f"{words.share(run['wasted_usd'], run['cost_usd'])} of its cost"
    return "size not known" if findings else "nothing found"


def tiles(items: Iterable[str]) -> str:
    """Tiles in a row that wraps."""
    return page(f'<div class="fb-tiles">{"".join(items)}</div>')


def chip(label: object, tone: str = "") -> str:
    """A word in a coloured box."""
    return f'<span class="fb-chip {tone}">{text(label)}</span>'


def line(parts: Iterable[str]) -> str:
    """Facts side by side; each is markup already."""
    return f'<div class="fb-line">{"".join(f"<span>{part}</span>" for part in parts if part)}</div>'


def wasted(finding: Finding) -> str:
    """What a finding cost, as far as it is known; empty where nothing is."""
    known = [
        f"{words.money(finding.wasted_cost_usd)}" if finding.wasted_cost_usd is not None else "",
        f"{words.count(finding.wasted_tokens)} tokens" if finding.wasted_tokens is not None else "",
        words.duration(finding.wasted_seconds) if finding.wasted_seconds is not None else "",
    ]
    return " · ".join(part for part in known if part)


def finding_card(finding: Finding, *, with_run: bool) -> str:
    """A finding: how bad, what happened, what it cost, what to do; `with_run` names the run's agent too."""
    cost = wasted(finding)
    facts = [
        chip(finding.severity.value, finding.severity.value),
        f'<span class="fb-mono">{text(finding.detector)}</span>',
        text(finding.agent_name) if with_run and finding.agent_name else "",
        text(words.stretch(finding.first_turn, finding.last_turn)) if finding.first_step else "whole run",
        f"<b>{text(cost)}</b> wasted" if cost else "",
        f'<span class="fb-muted">{finding.confidence:.0%} sure</span>',
    ]
    body = f'<p class="fb-said">{prose(finding.message)}</p><p class="fb-muted">{prose(finding.advice)}</p>'
    return page(f'<div class="fb-card {finding.severity.value}">{line(facts)}{body}</div>')


def guard_actions(actions: Sequence[GuardAction]) -> str:
    """What guards did in a run, in order, each with the turn it was done in."""
    shown = actions[:ACTIONS_SHOWN]
    more = len(actions) - len(shown)
    rest = f'<p class="fb-muted">and {words.plural(more, "more action")}, beside their turns below</p>' if more else ""
    return page("".join(map(_action, shown)), rest)


def _action(action: GuardAction) -> str:
    facts = [
        chip(action.action + (" (observed)" if action.observed else ""), _ACTIONS.get(action.action, "info")),
        f'<b class="fb-mono">{text(action.guard)}</b>',
        f"turn {action.turn:,}",
        f'<span class="fb-mono fb-muted">{text(action.setting)}{_threshold(action)}</span>' if action.setting else "",
    ]
    return f'<div class="fb-part guard">{line(facts)}<p class="fb-said">{prose(action.reason or "")}</p></div>'


def _threshold(action: GuardAction) -> str:
    return "" if action.threshold is None else f" = {action.threshold:,.6g}"


def review(asked: Review, now: datetime) -> str:
    """A question of a run: who asks, what it has cost, what it wants to spend, and what it was asked to do."""
    left = (asked.deadline_at - now).total_seconds()
    facts = [
        f"<b>{text(asked.agent_name)}</b>",
        text(asked.model),
        f"user {text(asked.user_id)}" if asked.user_id else "",
        f'<span class="fb-mono fb-muted">{text(asked.review_id)}</span>',
        chip(f"waits {words.duration(left)} more" if left > 0 else "no longer waits", "" if left > 0 else "warning"),
    ]
    numbers = [
        tile("May cost now", words.money(asked.asked_usd), "the next request, at most"),
        tile("Spent so far", words.money(asked.spent_usd), _of_limit(asked.limit_usd)),
    ]
    prompt = f'<p class="fb-said">{text(asked.prompt)}</p>' if asked.prompt else ""
    return page(line(facts), f'<div class="fb-tiles fb-few">{"".join(numbers)}</div>', prompt)


def _of_limit(limit_usd: float | None) -> str:
    return f"of the {words.money(limit_usd)} it may" if limit_usd else "without a limit"


def outcomes(rows: Sequence[Outcome]) -> str:
    """What each detector could see, as a table."""
    lines = "".join(_outcome(row) for row in rows)
    return page(f'<table class="fb-table"><tr><th>Detector</th><th>Could it look?</th><th>Saw</th></tr>{lines}</table>')


def _outcome(row: Outcome) -> str:
    tone, label = _STATES[row.state]
    known = words.UNKNOWN if row.known is None else words.percent(row.known)
    reason = f'<div class="fb-muted">{text(row.reason)}</div>' if row.reason else ""
    name = f'<td class="fb-mono">{text(row.detector)}</td>'
    return f"<tr>{name}<td>{chip(label, tone)}{reason}</td><td>{text(known)}</td></tr>"
