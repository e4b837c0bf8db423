"""Pieces of the page Compare as HTML: pure functions; what comes from a trace is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from analyzer.diff import Change
from analyzer.pages import words
from analyzer.pages.pieces import chip, line, page, text
from analyzer.report.charts_more import STATUS_COLORS
from analyzer.views.compare import Delta, Pair, Status, Step, Told
from analyzer.views.conversation import Text

STATUSES: Final[Mapping[Status, str]] = {
    "same": "same",
    "result": "other result",
    "arguments": "other arguments",
    "unknown": "not recorded",
    "left": "left only",
    "right": "right only",
}
"""What a row is called, on the page and in its chart."""
_MONEY: Final = ("cost_usd", "wasted_usd")
MEASURES: Final = {
    "cost_usd": "Cost", "input_tokens": "Tokens in", "output_tokens": "Tokens out", "model_calls": "Turns", "tool_calls": "Tool calls",
    "seconds": "Duration",
}  # fmt: skip


def amount(measure: str, value: float | None) -> str:
    """A value of a measure as people read it."""
    if measure in _MONEY:
        return words.money(value)
    return words.duration(value) if measure == "seconds" else words.count(value)


def change(measure: str, value: float | None) -> str:
    """The same with its sign; `0` for none."""
    if value is None:
        return words.UNKNOWN
    if not value:
        return "0"
    return ("\u2212" if value < 0 else "+") + amount(measure, abs(value))


def mean(measure: str, value: float | None) -> str:
    """A mean: small counts with a decimal."""
    whole = value is None or measure in ("cost_usd", "seconds") or abs(value) >= 1_000
    return amount(measure, value) if whole else f"{value:.1f}"


def mean_change(measure: str, value: float | None) -> str:
    """The same with its sign."""
    if value is None:
        return words.UNKNOWN
    return ("\u2212" if value < 0 else "+") + mean(measure, abs(value))


def part(some: int, whole: int) -> str:
    """`3 (0.9 %)`."""
    return f"{some:,} ({some / whole * 100:.2g} %)" if whole else f"{some:,}"


def totals(deltas: Iterable[Delta]) -> str:
    """The totals of two runs beside each other, as a table."""
    rows = "".join(_delta(delta) for delta in deltas)
    return page(
        '<table class="fb-table"><tr><th></th><th class="num">Left</th><th class="num">Right</th><th class="num">Right less left</th>'
        f'<th class="num">Ratio</th></tr>{rows}</table>'
    )


def _delta(delta: Delta) -> str:
    both = (amount(delta.measure, value) for value in (delta.left, delta.right))
    cells = (*both, change(delta.measure, delta.change), _ratio(delta))
    return f"<tr><td>{text(delta.label)}</td>{''.join(map(_num, cells))}</tr>"


def changes(rows: Iterable[Change], left: str, right: str) -> str:
    """Means per run of two groups with the 95 % interval of their difference, as a table; certain ones stand out."""
    body = "".join(_change(row) for row in rows)
    heads = (
        ("A run on average", ""),
        (left, "num"),
        (right, "num"),
        ("Change", "num"),
        ("95 % interval", "num"),
        ("Runs", "num"),
    )
    head = "".join(f'<th class="{style}">{text(name)}</th>' for name, style in heads)
    return page(f'<table class="fb-table"><tr>{head}</tr>{body}</table>')


def _change(row: Change) -> str:
    gap = None if row.before is None or row.after is None else row.after - row.before
    interval = (
        "too few runs"
        if row.low is None
        else f"{mean_change(row.measure, row.low)} to {mean_change(row.measure, row.high)}"
    )
    cells = (
        mean(row.measure, row.before), mean(row.measure, row.after), mean_change(row.measure, gap), interval,
        f"{row.runs_before:,} and {row.runs_after:,}",
    )  # fmt: skip
    return f'<tr class="{"yes" if row.certain else ""}"><td>{text(MEASURES[row.measure])}</td>{"".join(map(_num, cells))}</tr>'


def _num(value: str) -> str:
    return f'<td class="num">{text(value)}</td>'


def _ratio(delta: Delta) -> str:
    return f"{delta.right / delta.left:.3g} \u00d7" if delta.left and delta.right is not None else ""


def heads(left: str, right: str) -> str:
    """What stands over the two columns."""
    return page(f'<div class="fb-pair head"><div></div><div>{text(left)}</div><div>{text(right)}</div></div>')


def pairs(rows: Sequence[tuple[int, Pair]], left: Mapping[int, Told], right: Mapping[int, Told]) -> str:
    """Rows of a comparison with their number, from 1; `left` and `right` say what each step said at length, by step."""
    return page("".join(_pair(number, pair, left, right) for number, pair in rows))


def _pair(number: int, pair: Pair, left: Mapping[int, Told], right: Mapping[int, Told]) -> str:
    name = STATUSES[pair.status]
    # Texts that are the same say nothing about the difference.
    brief = pair.status == "same"
    sides = [_side(step, told, brief) for step, told in ((pair.left, left), (pair.right, right))]
    status = f'<div class="fb-status">{text(name)}<small>row {number:,}</small></div>'
    return f'<div class="fb-pair" style="--status: {STATUS_COLORS[name]}">{status}{"".join(f"<div>{side}</div>" for side in sides)}</div>'


def _side(step: Step | None, told: Mapping[int, Told], brief: bool) -> str:
    if step is None:
        return '<span class="fb-missing">\u2013</span>'
    said = told.get(step.step)
    facts = [
        f'<span class="fb-muted">turn {step.turn:,}</span>',
        "model" if step.kind == "model" else "calls",
        f'<b class="fb-mono">{text((step.name or "unnamed")[:120])}</b>',
        chip("failed", "error") if step.failed else "",
        text(words.duration(step.seconds)) if step.seconds is not None else "",
        f"{text(words.count(step.tokens))} tokens" if step.tokens is not None else "",
        text(words.money(step.cost_usd)) if step.cost_usd is not None else "",
    ]
    body = (
        ""
        if brief or said is None
        else _said("arguments", said.asked) + _said("result" if step.kind == "tool" else "answer", said.got)
    )
    return line(facts) + body


def _said(what: str, value: Text | None) -> str:
    if value is None or not value.shown:
        return ""
    cut = f'<p class="fb-cut">{value.left_out_chars:,} more characters</p>' if value.left_out_chars else ""
    return f'<p class="fb-key">{what}</p><div class="fb-text fb-mono">{text(value.shown)}</div>{cut}'


def run_label(run: Mapping[str, Any]) -> str:
    """A run in a line of plain text, a row of `views.runs.with_findings`."""
    parts = [
        words.visible((run["agent_name"] or "unnamed agent")[:60]), words.when(run["start_ns"]), run["outcome"],
        words.money(run["cost_usd"]),
        words.plural(run["findings"], "finding") if run["findings"] else "no finding", words.visible(run["run_id"][:40]),
    ]  # fmt: skip
    return " \u00b7 ".join(parts)
