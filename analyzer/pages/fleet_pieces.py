"""Tables of many runs as markup: failure modes, agents, what is new since a deploy, what a finding proves. Pure functions."""

from __future__ import annotations

import polars as pl

from analyzer.findings import Finding
from analyzer.pages import links, pieces, words
from analyzer.report.charts import MONEY_COLORS, SEVERITY_COLORS
from analyzer.report.charts_fleet import MODE_COLORS
from analyzer.views import failures

_VALUE_CHARS = 300


def modes(rows: pl.DataFrame) -> str:
    """The six failure modes with how often they occurred; `rows` from `views.failures.by_mode`. Each number leads to its runs."""
    return links.table(
        ["Failure mode", "Findings", "Runs", "Wasted"], [_mode(row) for row in rows.iter_rows(named=True)], numbers=3
    )


def _mode(row: dict[str, object]) -> list[str]:
    detectors = [str(slug) for slug in row["detectors"]]  # type: ignore[attr-defined]  # a list of text
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


def _agent(row: dict[str, object]) -> list[str]:
    name = row["agent_name"]
    known = str(name) if name is not None else None
    label = words.visible(known) if known else "no name recorded"
    here = (
        links.link(label, links.to("runs", agent=known))
        if known
        else f'<span class="fb-muted">{pieces.text(label)}</span>'
    )
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


def _new(row: dict[str, object]) -> list[str]:
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


def affected(rows: pl.DataFrame, detector: str) -> str:
    """Agents that a detector found something in; `rows` from `views.failures.affected`."""
    heads = ["Agent", "Findings", "Runs with one", "Wasted"]
    return links.table(heads, [_affected(row, detector) for row in rows.iter_rows(named=True)], numbers=3)


def _affected(row: dict[str, object], detector: str) -> list[str]:
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
    """The proof of a finding as a table of names and values."""
    rows = []
    for name, value in failures.evidence(finding):
        said = _said(value)
        more = (
            f' <span class="fb-cut">{len(said) - _VALUE_CHARS:,} more characters</span>'
            if len(said) > _VALUE_CHARS
            else ""
        )
        rows.append(
            [
                f'<span class="fb-muted">{pieces.text(name)}</span>',
                f'<span class="fb-mono">{pieces.text(said[:_VALUE_CHARS])}</span>{more}',
            ]
        )
    return links.table(["Evidence", ""], rows) if rows else ""


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
