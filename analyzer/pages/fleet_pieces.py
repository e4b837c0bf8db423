"""Tables of many runs as markup: failure modes, agents, what is new since a deploy, what a finding proves. Pure functions."""

from __future__ import annotations

from typing import Any

import polars as pl

from analyzer.detectors.detector import Detector
from analyzer.findings import Finding
from analyzer.pages import links, pieces, words
from analyzer.report.charts_fleet import MODE_COLORS
from analyzer.report.colors import MONEY_COLORS, SEVERITY_COLORS
from analyzer.views import failures

_VALUE_CHARS = 120


def modes(rows: pl.DataFrame) -> str:
    """The six failure modes with how often they occurred; `rows` from `views.failures.by_mode`. Each number leads to its runs."""
    return links.table(
        ["Failure mode", "Findings", "Runs", "Wasted"], [_mode(row) for row in rows.iter_rows(named=True)], numbers=3
    )


def _mode(row: dict[str, Any]) -> list[str]:
    detectors = [str(slug) for slug in row["detectors"]]
    name = f"{links.dot(MODE_COLORS.get(str(row['mode']), SEVERITY_COLORS['info']))}{pieces.text(row['mode'])}"
    if not row["findings"]:
        return [name, '<span class="fb-muted">0</span>', '<span class="fb-muted">0</span>', ""]
    return [
        name,
        links.link(words.count(_number(row["findings"])), links.to("failures", mode=str(row["mode"]))),
        links.link(words.count(_number(row["runs"])), links.to("runs", detector=detectors)),
        pieces.text(words.money(_number(row["wasted_usd"]))),
    ]


def agents(rows: pl.DataFrame) -> str:
    """Agents with what they wasted and how often they went wrong; `rows` from `views.overview.worst_agents`."""
    heads = ["Agent", "Runs", "Failed", "With a warning or error", "Spend", "Wasted"]
    return links.table(heads, [_agent(row) for row in rows.iter_rows(named=True)], numbers=5)


def _agent(row: dict[str, Any]) -> list[str]:
    name = row["agent_name"]
    known = str(name) if name is not None else None
    label = words.visible(known) if known else "no name recorded"
    here = links.link(label, links.to("runs", agent=known or ""))
    share, failed = _number(row["troubled_share"]), _number(row["failed"])
    return [
        here,
        pieces.text(words.count(_number(row["runs"]))),
        links.link(words.count(failed), links.to("runs", agent=known, outcome="failed"))
        if failed and known
        else pieces.text(words.count(failed)),
        links.bar(share, SEVERITY_COLORS["warning"])
        + pieces.text(words.share(_number(row["troubled"]), _number(row["runs"]))),
        pieces.text(words.money(_number(row["cost_usd"]))),
        links.bar(_number(row["wasted_share"]), MONEY_COLORS["wasted"])
        + pieces.text(words.money(_number(row["wasted_usd"]))),
    ]


def deploys(rows: pl.DataFrame) -> str:
    """The newest version of each agent; `rows` from `views.overview.deploys`."""
    heads = ["Agent", "Version", "Before", "First run (UTC)", "Runs since", "Runs before"]
    return links.table(
        heads,
        [
            [
                pieces.text(row["agent_name"] or "no name recorded"),
                f'<span class="fb-mono">{pieces.text(row["version"])}</span>',
                f'<span class="fb-mono">{pieces.text(row["before"] or words.UNKNOWN)}</span>',
                pieces.text(words.when(row["deployed_ns"])),
                pieces.text(words.count(row["runs_since"])),
                pieces.text(words.count(row["runs_before"])),
            ]
            for row in rows.iter_rows(named=True)
        ],
        numbers=2,
    )


def news(rows: pl.DataFrame) -> str:
    """Kinds of findings that did not occur before a deploy; `rows` from `views.overview.new_since`."""
    heads = ["", "What is new", "Tool", "Agent", "Version", "Findings", "Runs", "Wasted"]
    return links.table(heads, [_new(row) for row in rows.iter_rows(named=True)], numbers=3)


def _new(row: dict[str, Any]) -> list[str]:
    agent = str(row["agent_name"]) if row["agent_name"] is not None else None
    detector, tool = str(row["detector"]), str(row["tool_name"]) if row["tool_name"] is not None else None
    return [
        pieces.chip(row["severity"], str(row["severity"])),
        f'<span class="fb-mono">{links.link(detector, links.to("failures", detector=detector, agent=agent, tool=tool))}</span>',
        f'<span class="fb-mono">{pieces.text(tool)}</span>' if tool else "",
        pieces.text(agent or "no name recorded"),
        f'<span class="fb-mono">{pieces.text(row["version"])}</span>',
        pieces.text(words.count(_number(row["findings"]))),
        links.link(words.count(_number(row["runs"])), links.to("runs", detector=detector, agent=agent)),
        pieces.text(words.money(_number(row["wasted_usd"]))),
    ]


def price_sources(rows: pl.DataFrame) -> str:
    """Where prices come from, and why some calls have none; `rows` from `views.cost.sources`."""
    return links.table(
        ["Source", "Models", "Calls", "Cost"],
        [
            [
                f'<span class="fb-source">{_source(row)}</span>',
                pieces.text(", ".join(row["models"] or []) or words.UNKNOWN),
                pieces.text(words.count(row["calls"])),
                pieces.text(words.money(row["cost_usd"]) if row["priced"] else "not known"),
            ]
            for row in rows.iter_rows(named=True)
        ],
        numbers=2,
    )


def _source(row: dict[str, Any]) -> str:
    if row["priced"]:
        return pieces.text(row["source"])
    return f"{pieces.chip('no price', 'warning')} {pieces.text(row['source'].removeprefix('unknown: '))}"


def needs(rows: pl.DataFrame) -> str:
    """Calls without a price, and what would give them one: `problem`, `remedy`, `calls`."""
    return links.table(
        ["Not in the spend", "What to do", "Calls"],
        [
            [pieces.prose(problem), pieces.text(remedy), pieces.text(words.count(calls))]
            for problem, remedy, calls in rows.iter_rows()
        ],
        numbers=1,
    )


def tool_failures(rows: pl.DataFrame) -> str:
    """The ways in which a tool failed, each with its last call; `rows` from `views.tools.failures`."""
    heads = ["Failure", "What it said last", "Last (UTC)", "Calls", "Runs"]
    return links.table(heads, [_failure(row) for row in rows.iter_rows(named=True)], numbers=2)


def _failure(row: dict[str, Any]) -> list[str]:
    marks = [pieces.chip("time-out", "warning")] if row["timed_out"] else []
    marks += [pieces.chip("known by its text")] if row["inferred_calls"] else []
    address = links.to("run", run=row["run_id"], span=row["span_id"])
    return [
        f'<span class="fb-mono">{pieces.text(_cut(row["failure"] or "no reason recorded"))}</span> {" ".join(marks)}',
        pieces.text(_cut(row["said"] or words.UNKNOWN)),
        f'<span class="fb-when">{links.link(words.when(row["last_ns"]), address)}</span>',
        pieces.text(words.count(row["calls"])),
        pieces.text(words.count(row["runs"])),
    ]


def _cut(said: str) -> str:
    return said if len(said) <= _VALUE_CHARS else f"{said[:_VALUE_CHARS]}…"


def about(detector: Detector, severity: str) -> str:
    """What a detector finds, why that matters, and what to do about it."""
    facts = [
        pieces.chip(severity, severity),
        f'<span class="fb-mono">{pieces.text(detector.slug)}</span>',
        f"{links.dot(MODE_COLORS.get(detector.failure_mode, SEVERITY_COLORS['info']))}{pieces.text(detector.failure_mode)}",
    ]
    said = (
        f'<p class="fb-said">{pieces.prose(detector.finds)}</p><p class="fb-muted">{pieces.prose(detector.matters)}</p>'
    )
    advice = f'<p class="fb-do"><b>What to do</b> {pieces.prose(detector.advice)}</p>'
    return pieces.page(f'<div class="fb-card {pieces.text(severity)}">{pieces.line(facts)}{said}{advice}</div>')


def sentences(value: str) -> str:
    """Prose of ours."""
    return pieces.page(f"<p>{pieces.prose(value)}</p>")


def affected(rows: pl.DataFrame, detector: str) -> str:
    """Agents that a detector found something in; `rows` from `views.failures.affected`."""
    heads = ["Agent", "Findings", "Runs with one", "Wasted"]
    return links.table(heads, [_affected(row, detector) for row in rows.iter_rows(named=True)], numbers=3)


def _affected(row: dict[str, Any], detector: str) -> list[str]:
    agent = str(row["agent_name"]) if row["agent_name"] is not None else None
    runs, every = _number(row["runs"]), _number(row["of_runs"])
    share = words.share(runs, every)
    label = f"{words.count(runs)} of {words.count(every)}" if every is not None else words.count(runs)
    return [
        pieces.text(words.visible(agent) if agent else "no name recorded"),
        pieces.text(words.count(_number(row["findings"]))),
        links.bar(runs / every if runs is not None and every else None, SEVERITY_COLORS["info"])
        + links.link(label, links.to("runs", detector=detector, agent=agent))
        + f' <span class="fb-muted">{pieces.text(share)}</span>',
        pieces.text(words.money(_number(row["wasted_usd"]))),
    ]


def evidence(finding: Finding) -> str:
    """The proof of a finding: names and values side by side; long values are cut, and copying gives more of them."""
    facts = [_fact(name, _said(value)) for name, value in failures.evidence(finding)]
    return pieces.page(f'<div class="fb-proof">{pieces.line(facts)}</div>') if facts else ""


def _fact(name: str, said: str) -> str:
    return f'<span class="fb-muted">{pieces.text(name)}</span> <span class="fb-mono">{pieces.text(_cut(said))}</span>'


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(part)}" for key, part in value.items())
    return str(value)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
